"""The corpus of an event log, made slowly and obviously: lists, one step after another."""

from collections import Counter
from typing import Any, NamedTuple

PARTS = ("train", "validation", "test")


class Row(NamedTuple):
    """An event as it is in a file; `place` counts the rows of all files."""

    user: Any
    item: Any
    time: int
    place: int


class SlowCorpus(NamedTuple):
    """Ids of users and items in the order of their numbers; sequences and what is asked by user."""

    users: list
    items: list
    sequences: list[list]
    held_out: list[tuple[Any, Any, str]]


def slow_corpus(
    rows: list[Row],
    repeats: str = "all",
    min_user_events: int = 1,
    min_item_users: int = 1,
    hold_out: Any = None,
    max_length: int | None = None,
) -> SlowCorpus:
    """The corpus; `hold_out` is 3, three times, or None."""
    order = list(dict.fromkeys(row.user for row in rows))
    events = {user: sorted((r for r in rows if r.user == user), key=by_time) for user in order}
    events = {user: without_repeats(own, repeats) for user, own in events.items()}
    while True:
        users_of = Counter(item for own in events.values() for item in {row.item for row in own})
        left = {
            u: [r for r in own if users_of[r.item] >= min_item_users] for u, own in events.items()
        }
        left = {user: own for user, own in left.items() if len(own) >= max(min_user_events, 1)}
        if left == events:
            break
        events = left
    asked, inputs = [], {}
    for user, own in events.items():
        parts = parts_of(own, hold_out)
        inputs[user] = [row for row, part in zip(own, parts, strict=True) if part is None]
        asked += [(user, r.item, part) for r, part in zip(own, parts, strict=True) if part]
    inputs = {user: own[-(max_length or len(own)) :] for user, own in inputs.items() if own}
    items = sorted({row.item for own in inputs.values() for row in own})
    asked = [one for one in asked if one[0] in inputs and one[1] in items]
    sequences = [[row.item for row in own] for own in inputs.values()]
    return SlowCorpus(list(inputs), items, sequences, asked)


def by_time(row: Row) -> tuple[int, int]:
    """Time, and the place in the file where times are equal."""
    return row.time, row.place


def without_repeats(own: list[Row], repeats: str) -> list[Row]:
    """A user's events without those that repeat an item."""
    left = []
    for place, row in enumerate(own):
        before, after = own[:place], own[place + 1 :]
        others = {"first": before, "last": after, "consecutive": before[-1:], "all": []}[repeats]
        if row.item not in [other.item for other in others]:
            left.append(row)
    return left


def parts_of(own: list[Row], hold_out: Any) -> list[str | None]:
    """Part of each of a user's events; None: it is input."""
    if hold_out is None or (hold_out == 3 and len(own) <= 3):
        return [None] * len(own)
    if hold_out == 3:
        return [None] * (len(own) - 3) + [*PARTS]
    passed = [sum(row.time >= begin for begin in hold_out) for row in own]
    return [(None, *PARTS)[windows] for windows in passed]
