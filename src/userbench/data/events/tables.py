"""Tables of rows in files -> blocks of good rows with a column per role; bad rows are reported.

A role is what a column is: user, item, time, label or part. Files are read one after the other,
never whole, and in the order of their names; what is in them is not converted by guess.
"""

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64

from userbench.data.events.conditions import condition_fault, conditions_of, meets
from userbench.data.events.containers import TableFile, find_files, opened
from userbench.data.events.identifiers import Converted, converted_ids, id_fault
from userbench.data.events.parquet import read_parquet
from userbench.data.events.settings import Table
from userbench.data.events.text import Columns, Fault, read_text
from userbench.data.events.times import Times
from userbench.data.format import BadRows

GIB = 1 << 30


class Block(NamedTuple):
    """Consecutive good rows of one file, a column per role that the table names."""

    columns: dict[str, pa.Array]
    lines: Int64[np.ndarray, " rows"]
    """Line of a text file, row of a Parquet file, from 1."""
    file: TableFile


def read_table(
    raw: Path, table: Table, bad: BadRows, files: list[TableFile] | None = None
) -> Iterator[Block]:
    """Read the rows of a table that meet its filter, in file order; bad rows go to `bad`.

    Users, items, labels and parts are texts, or whole numbers where a Parquet file has them; times
    are whole numbers, decimals or timestamps. `files` are those of `find_files`, where the caller
    wants to know of them: each knows its size, checksum and number of rows when it has been read.

    Raises:
        ValueError: a file is missing, damaged, too large or has no such column, files disagree, no
            good row is there, or one row more is bad than is allowed.
    """
    reader = RoleReader(table)
    files = find_files(raw, table.files) if files is None else files
    for file in files:
        with opened(file, int(table.max_unpacked_gib * GIB)) as content:
            read = read_parquet if content.kind == "parquet" else read_text
            for columns in read(content, table):
                block = reader.block(columns, file, bad)
                if len(block.lines):
                    yield block
    if not reader.rows:
        kept = " that meets the filter" if table.filter else ""
        raise ValueError(f"{files[0]}: no good row{kept}. Check the file and its settings")


class Wrong(NamedTuple):
    """Rows that are wrong in some way, and why, by their index."""

    rows: Bool[np.ndarray, " rows"]
    reason: Callable[[int], str]


class RoleReader:
    """Makes blocks of the columns of files, and remembers what all of them must share."""

    def __init__(self, table: Table) -> None:
        roles = {role: getattr(table, role) for role in ("user", "item", "time", "label", "part")}
        self.names: dict[str, str] = {role: name for role, name in roles.items() if name}
        self.conditions = conditions_of(table.filter)
        self.max_rows = table.max_rows
        self.times = Times()
        self.first: dict[str, tuple[pa.DataType, TableFile]] = {}
        """Type of each id, and the file that had it first."""
        self.rows = 0

    def block(self, columns: Columns, file: TableFile, bad: BadRows) -> Block:
        """The good rows among those of a file; the others are counted or go to `bad`."""
        columns, wrong = self.filtered(columns, file)
        found = {}
        for role, name in self.names.items():
            converted = self.converted(role, columns.values[name], file)
            reason = self.times.fault if role == "time" else partial(id_fault, role=role)
            wrong.append(Wrong(converted.wrong, reason_of(columns.values[name], reason)))
            found[role] = converted.values
        is_bad = np.logical_or.reduce([one.rows for one in wrong])
        # Why lazily: the first one too many ends the reading, however many there are.
        faults = (
            Fault(int(columns.lines[at]), next(one.reason(at) for one in wrong if one.rows[at]))
            for at in np.flatnonzero(is_bad).tolist()
        )
        for fault in heapq.merge(columns.faults, faults):
            bad.add(str(file), fault.line, fault.reason)
        lines = columns.lines[~is_bad]
        self.count(len(lines), file)
        return Block({role: only(array, ~is_bad) for role, array in found.items()}, lines, file)

    def filtered(self, columns: Columns, file: TableFile) -> tuple[Columns, list[Wrong]]:
        """The rows that meet all conditions, and those that cannot be compared."""
        if not self.conditions:
            return columns, []
        values = [columns.values[condition.column] for condition in self.conditions]
        for column, condition in zip(values, self.conditions, strict=True):
            if pa.types.is_nested(column.type):
                what = f"column {condition.column!r} has type {column.type}"
                raise ValueError(f"{file}: {what}. Filter by a column of numbers or texts")
        met = [meets(*pair) for pair in zip(values, self.conditions, strict=True)]
        unlike = np.logical_or.reduce([one.wrong for one in met])
        kept = np.logical_and.reduce([one.rows for one in met]) | unlike
        file.filtered += len(kept) - int(kept.sum())
        wrong = [
            Wrong(one.wrong[kept], reason_of(only(column, kept), partial(condition_fault, of=of)))
            for one, column, of in zip(met, values, self.conditions, strict=True)
        ]
        left = {name: only(column, kept) for name, column in columns.values.items()}
        return Columns(left, columns.lines[kept], columns.faults), wrong

    def converted(self, role: str, values: pa.Array, file: TableFile) -> Converted:
        """The column of a role; ValueError for one of another type than that of other files."""
        try:
            if role == "time":
                return self.times.converted(values)
            converted = converted_ids(values, role)
        except TypeError as problem:
            raise ValueError(f"{file}: {problem}") from None
        found = converted.values.type
        type, first = self.first.setdefault(role, (found, file))
        if found != type:
            raise ValueError(
                f"{file}: {role} is {found}, in {first} {type}. Write both with one type"
            )
        return converted

    def count(self, rows: int, file: TableFile) -> None:
        """Count good rows; ValueError for more than are allowed."""
        file.rows += rows
        self.rows += rows
        if self.rows > self.max_rows:
            raise ValueError(
                f"{file}: more than {self.max_rows:,} rows. Raise max_rows if this is right"
            )


def reason_of(values: pa.Array, reason: Callable[[object], str]) -> Callable[[int], str]:
    """Why a value is wrong, by its index."""
    return lambda at: reason(values[at].as_py())


def only(values: pa.Array, kept: Bool[np.ndarray, " rows"]) -> pa.Array:
    """The values that are kept."""
    return values if kept.all() else values.filter(pa.array(kept))
