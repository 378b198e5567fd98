"""Events of all users one after another, and which of them are kept."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from userbench.data.ragged import ITEMS_AT_ONCE


class Events(NamedTuple):
    """Events by user, then time; users are numbered from 0, items from 1."""

    users: Int32[np.ndarray, " events"]
    items: Int32[np.ndarray, " events"]
    tied: Bool[np.ndarray, " events"]
    """Whether the event before it has the same user and time; without times, the same user."""
    parts: UInt8[np.ndarray, " events"]
    """Part that asks for the event, or INPUT (`cut.py`)."""

    def only(self, kept: Bool[np.ndarray, " events"]) -> "Events":
        """The events that are kept."""
        return self if kept.all() else Events(*(column[kept] for column in self))

    @property
    def offsets(self) -> Int64[np.ndarray, " bounds"]:
        """Where each user begins and ends, users without events among them."""
        n_users = int(self.users[-1]) + 1 if len(self.users) else 0
        # Why the type: of another one, `users` would be copied.
        return np.searchsorted(self.users, np.arange(n_users + 1, dtype=np.int32))


def present(numbers: Int32[np.ndarray, " events"], most: int) -> Bool[np.ndarray, " all"]:
    """Which numbers from 0 to `most` are there."""
    found = np.zeros(most + 1, bool)
    for begin in range(0, len(numbers), ITEMS_AT_ONCE):  # an index array has eight bytes a number
        found[numbers[begin : begin + ITEMS_AT_ONCE]] = True
    return found


def first_of_each(
    groups: Int32[np.ndarray, " events"], items: Int32[np.ndarray, " events"]
) -> Bool[np.ndarray, " events"]:
    """Whether an event is the first of its group with its item; groups ascend."""
    is_first = np.zeros(len(groups), bool)
    for begin, end in whole_groups(groups):
        pairs = groups[begin:end].astype(np.int64) << 32 | items[begin:end]
        is_first[begin + np.unique(pairs, return_index=True)[1]] = True
    return is_first


def whole_groups(groups: Int32[np.ndarray, " events"]) -> Iterator[tuple[int, int]]:
    """Begin and end of blocks of events that no group reaches beyond."""
    begin = 0
    while begin < len(groups):
        end = begin + ITEMS_AT_ONCE
        if end < len(groups):
            end = int(np.searchsorted(groups, groups[end]))
            if end == begin:  # one group fills the block
                end = int(np.searchsorted(groups, groups[begin], side="right"))
        end = min(end, len(groups))
        yield begin, end
        begin = end


def repeats_left(events: Events, repeats: str) -> Bool[np.ndarray, " events"]:
    """Which events stay by `repeats`: all, the first, the last, or the first of each run."""
    if repeats == "first":
        return first_of_each(events.users, events.items)
    if repeats == "last":
        # The last of each is the first from the end.
        groups = events.users[-1:] - events.users[::-1] if len(events.users) else events.users
        return first_of_each(groups, events.items[::-1])[::-1]
    kept = np.ones(len(events.users), bool)
    if repeats == "consecutive":
        kept[1:] = (events.users[1:] != events.users[:-1]) | (events.items[1:] != events.items[:-1])
    return kept


def latest_left(
    offsets: Int64[np.ndarray, " bounds"], most: int | None
) -> Bool[np.ndarray, " events"]:
    """Which events are among the latest `most` of their user."""
    kept = np.ones(offsets[-1], bool)
    if most is not None:
        begins, ends = offsets[:-1], offsets[1:]
        longer = ends - begins > most
        # Why not a position per event: it would be eight bytes long.
        change = np.zeros(offsets[-1], np.int8)
        change[begins[longer]] = 1
        change[ends[longer] - most] -= 1
        kept = np.cumsum(change, dtype=np.int8) == 0
    return kept


def tied_events(events: Events) -> int:
    """How many events have a time that another of their user has, too."""
    also = np.append(events.tied[1:], False)
    return int((events.tied | also).sum())


def duplicated_rows(events: Events) -> int:
    """How many events equal an earlier one in user, item and time."""
    groups = np.cumsum(~events.tied, dtype=np.int32)
    return int((~first_of_each(groups, events.items)).sum())
