"""Tables of rows in files -> blocks of good rows with a column per role; bad rows are reported.

A role is what a column is: user, item, time, label or part. Files are read one after the other,
never whole, and in the order of their names; what is in them is not converted by guess.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from userbench.data.events.conditions import Condition, conditions_of, meets
from userbench.data.events.containers import TableFile, find_files, opened
from userbench.data.events.identifiers import number_ids, text_ids
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
    conditions = conditions_of(table.filter)
    files = find_files(raw, table.files) if files is None else files
    reader = RoleReader(table)
    for file in files:
        with opened(file, int(table.max_unpacked_gib * GIB)) as content:
            read = read_parquet if content.kind == "parquet" else read_text
            for columns in read(content, table):
                block = reader.block(columns, conditions, file, bad)
                if len(block.lines):
                    yield block
    if not reader.rows:
        kept = " that meets the filter" if table.filter else ""
        raise ValueError(f"{files[0]}: no good row{kept}. Check the file and its settings")


class RoleReader:
    """Makes blocks of the columns of files, and remembers what all of them must share."""

    def __init__(self, table: Table) -> None:
        roles = {role: getattr(table, role) for role in ("user", "item", "time", "label", "part")}
        self.names: dict[str, str] = {role: name for role, name in roles.items() if name}
        self.max_rows = table.max_rows
        self.times = Times()
        self.first: dict[str, tuple[pa.DataType, TableFile]] = {}
        """Type of each id, and the file that had it first."""
        self.rows = 0

    def block(
        self, columns: Columns, conditions: list[Condition], file: TableFile, bad: BadRows
    ) -> Block:
        """The good rows among those of a file; the others are counted or go to `bad`."""
        faults = list(columns.faults)
        kept = np.ones(len(columns.lines), bool)
        for condition in conditions:
            met, unlike = meets(columns.values[condition.column], condition)
            faults += self.faults_of(columns.lines, unlike)
            kept &= met
            kept[list(unlike)] = True  # it is bad, and not left out by the filter
        file.filtered += int((~kept).sum())
        values = {name: only(array, kept) for name, array in columns.values.items()}
        lines = columns.lines[kept]
        good = np.ones(len(lines), bool)
        found = {}
        for role, name in self.names.items():
            found[role], wrong = self.converted(role, values[name], file)
            faults += self.faults_of(lines, wrong)
        wrong_lines = np.array([fault.line for fault in faults], np.int64)
        good &= ~np.isin(lines, wrong_lines)
        reported: set[int] = set()
        for fault in sorted(faults):
            if fault.line not in reported:
                bad.add(str(file), fault.line, fault.reason)
                reported.add(fault.line)
        lines = lines[good]
        self.rows += len(lines)
        file.rows += len(lines)
        if self.rows > self.max_rows:
            raise ValueError(
                f"{file}: more than {self.max_rows:,} rows. Raise max_rows if this is right"
            )
        return Block({role: only(array, good) for role, array in found.items()}, lines, file)

    def faults_of(self, lines: Int64[np.ndarray, " rows"], by_index: dict[int, str]) -> list[Fault]:
        """Faults of rows by their lines."""
        return [Fault(int(lines[at]), reason) for at, reason in by_index.items()]

    def converted(
        self, role: str, values: pa.Array, file: TableFile
    ) -> tuple[pa.Array, dict[int, str]]:
        """The column of a role, and the fault of each row that is none by its index."""
        try:
            if role == "time":
                return self.times.converted(values) if len(values) else (values, {})
            ids, faults = ids_of(role, values)
        except TypeError as problem:
            raise ValueError(f"{file}: {problem}") from None
        type, first = self.first.setdefault(role, (ids.type, file))
        if ids.type != type:
            raise ValueError(
                f"{file}: {role} is {ids.type}, in {first} {type}. Write both with one type"
            )
        return ids, faults


def ids_of(role: str, values: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """The ids, labels or parts in a column of a file, and the fault of each that is none."""
    if pa.types.is_string(values.type):
        return text_ids(pc.fill_null(values, ""), role)
    if role in ("user", "item") and not is_beyond_int64(values.type):
        return number_ids(values, role)
    return text_ids(pc.fill_null(as_text(values, role), ""), role)


def is_beyond_int64(kind: pa.DataType) -> bool:
    """Whether whole numbers of a type may be too large for int64, so that they are texts."""
    return kind == pa.uint64() or (pa.types.is_decimal(kind) and kind.scale == 0)


def as_text(values: pa.Array, role: str) -> pa.Array:
    """Values of a Parquet column as texts; whole floats as whole numbers."""
    kind = values.type
    if pa.types.is_floating(kind):
        texts = [
            None if one is None or one != one else f"{one:.0f}" if one.is_integer() else repr(one)
            for one in values.to_pylist()
        ]
        return pa.array(texts, pa.string())
    if pa.types.is_nested(kind):
        raise TypeError(f"{role} has type {kind}. Write numbers or texts")
    return values.cast(pa.string())


def only(values: pa.Array, kept: np.ndarray) -> pa.Array:
    """The values that are kept."""
    return values if kept.all() else values.filter(pa.array(kept))
