"""Counts of a log: how many events, users and items, how long sequences are, what repeats."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int32, Int64, Shaped

from userbench.data.events.inspect.roles import UNITS, unit_of
from userbench.data.events.settings import Table
from userbench.data.events.tables import Block, read_table
from userbench.data.format import BadRow, BadRows

MOST_BAD_ROWS = 100_000
AT_ONCE = 20_000_000  # events whose order is looked at; of larger logs those of some users


class Codes:
    """Numbers of ids in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[object, int] = {}

    def of(self, ids: pa.Array) -> Int32[np.ndarray, " rows"]:
        """The number of each id."""
        encoded = ids.dictionary_encode()
        known = self.known
        numbers = [known.setdefault(one, len(known)) for one in encoded.dictionary.to_pylist()]
        return np.array(numbers, np.int32)[encoded.indices.to_numpy()]


class Log(NamedTuple):
    """The good rows of a log: numbers of users and items, and times as numbers."""

    users: Int32[np.ndarray, " events"]
    items: Int32[np.ndarray, " events"]
    times: Shaped[np.ndarray, " events"] | None
    is_number: bool
    """Whether times are numbers in the files, and not dates."""
    user_codes: Codes
    bad: list[BadRow]


class Counts(NamedTuple):
    """What a log holds."""

    events: int
    users: int
    items: int
    lengths: Int64[np.ndarray, " users"]
    item_events: Int64[np.ndarray, " items"]
    repeats: float
    """Share of events whose item the user had before."""
    consecutive: float
    """Share of events whose item is that of the event before."""
    tied: float | None
    """Share of events at whose time the user has another one."""
    span: tuple[str, str] | None
    """The first and the last time."""
    time_unit: str | None
    bad: list[BadRow]


def read_log(raw: Path, tables: dict[str, Table]) -> Log:
    """Read all kinds of events of a log; bad rows are left out.

    Raises:
        ValueError: a file cannot be read, or too many rows are bad.
    """
    users, items = Codes(), Codes()
    bad = BadRows(MOST_BAD_ROWS)
    found: list[tuple[np.ndarray, ...]] = []
    is_number = True
    for kind, block in blocks_of(raw, tables, bad):
        ids = block.columns["item"]
        if len(tables) > 1:
            ids = pc.binary_join_element_wise(kind, ids.cast(pa.string()), "\0")
        row = [users.of(block.columns["user"]), items.of(ids)]
        if "time" in block.columns:
            times = block.columns["time"]
            is_number = not pa.types.is_timestamp(times.type)
            row.append((times if is_number else times.cast(pa.int64())).to_numpy())
        found.append(tuple(row))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    times = columns[2] if len(columns) > 2 else None
    return Log(columns[0], columns[1], times, is_number, users, bad.rows)


def blocks_of(raw: Path, tables: dict[str, Table], bad: BadRows) -> Iterator[tuple[str, Block]]:
    """The blocks of all kinds of events."""
    for kind, table in tables.items():
        for block in read_table(raw, table, bad):
            yield kind, block


def counts_of(log: Log) -> Counts:
    """What a log holds."""
    n_items = int(log.items.max()) + 1
    lengths = np.bincount(log.users)
    # Why a sample: sorting is what takes long; every k-th user is one of no choice.
    step = -(-len(log.users) // AT_ONCE)
    some = log.users % step == 0 if step > 1 else slice(None)
    users, items = log.users[some].astype(np.int64), log.items[some]
    order = np.argsort(users, kind="stable")
    tied = span = unit = None
    if log.times is not None:
        times = log.times[some]
        order = np.lexsort((times, users))
        tied = tied_share(users[order], times[order])
        ends = log.times.min(), log.times.max()
        unit = unit_of(float(ends[1])) if log.is_number else None
        span = tuple(time_text(end, unit if log.is_number else "us") for end in ends)
    of_user, in_order = users[order], items[order]
    same = (of_user[1:] == of_user[:-1]) & (in_order[1:] == in_order[:-1])
    return Counts(
        events=len(log.users),
        users=len(lengths),
        items=n_items,
        lengths=lengths,
        item_events=np.bincount(log.items),
        repeats=1 - len(np.unique(users * n_items + items)) / len(users),
        consecutive=float(same.sum() / len(users)),
        tied=tied,
        span=span,
        time_unit=unit,
        bad=log.bad,
    )


def tied_share(users: Int64[np.ndarray, " events"], times: Shaped[np.ndarray, " events"]) -> float:
    """Share of events at whose time their user has another one; both are sorted."""
    tied = np.zeros(len(users) + 1, bool)
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied[1:-1] |= same
    of_either = tied[1:] | tied[:-1]
    return float(of_either.mean())


def time_text(time: float | np.number, unit: str | None) -> str:
    """A time as a date where its unit is known, else as its number."""
    if unit is None:
        return str(time)
    try:
        return datetime.fromtimestamp(float(time) / UNITS[unit], UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return str(time)


class LabelCounts(NamedTuple):
    """What a table of labels holds."""

    classes: dict[str, int]
    users: int
    """Users of the log who have a label."""
    strangers: int
    """Rows of users who are not in the log."""
    bad: list[BadRow]
    conflicts: int
    """Rows with another label than the first one of their user."""


def label_counts(raw: Path, table: Table, users: Codes) -> LabelCounts:
    """Count labels, and the users who have one."""
    bad = BadRows(MOST_BAD_ROWS)
    known = {str(one) for one in users.known}
    labels: dict[str, str] = {}
    strangers = conflicts = 0
    for block in read_table(raw, table, bad):
        pairs = zip(
            block.columns["user"].cast(pa.string()).to_pylist(),
            block.columns["label"].to_pylist(),
            strict=True,
        )
        for user, label in pairs:
            if user not in known:
                strangers += 1
            elif labels.setdefault(user, label) != label:
                conflicts += 1
    classes: dict[str, int] = {}
    for label in labels.values():
        classes[label] = classes.get(label, 0) + 1
    return LabelCounts(classes, len(labels), strangers, bad.rows, conflicts)


class TargetCounts(NamedTuple):
    """What a table of targets holds."""

    targets: int
    users: int
    strangers: int
    bad: list[BadRow]


def target_counts(raw: Path, table: Table, users: Codes) -> TargetCounts:
    """Count targets, and the users who have one."""
    bad = BadRows(MOST_BAD_ROWS)
    known = {str(one) for one in users.known}
    targets: set[object] = set()
    owners: set[str] = set()
    strangers = 0
    for block in read_table(raw, table, bad):
        targets.update(block.columns["item"].unique().to_pylist())
        for user in block.columns["user"].cast(pa.string()).to_pylist():
            if user in known:
                owners.add(user)
            else:
                strangers += 1
    return TargetCounts(len(targets), len(owners), strangers, bad.rows)
