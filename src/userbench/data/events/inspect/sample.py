"""The first rows of a file: its format, separator and columns, and examples of their values."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from userbench.data.events.containers import Content, TableFile, opened, readable
from userbench.data.events.inspect.roles import MOVIELENS, guesses, plain
from userbench.data.events.layout import (
    SEPARATORS,
    TYPES,
    fields_of,
    listed,
    spoken,
    without_type,
)

LINES = 200
LIMIT = 4 << 30


class Sample(NamedTuple):
    """A file as its first rows show it."""

    format: str
    columns: list[str]
    has_names: bool
    """Whether the file names its columns itself."""
    examples: dict[str, list[str]]

    @property
    def roles(self) -> dict[str, str]:
        """Columns of user, item and time, guessed by their names."""
        return guesses(self.columns)


def sample_of(file: TableFile, columns: list[str] | None) -> Sample:
    """The first rows of a file; `columns` are the names that it does not have itself.

    Raises:
        ValueError: it cannot be read, or its columns have no names.
    """
    with opened(file, LIMIT) as content:
        if content.kind == "parquet":
            return parquet_sample(content)
        return text_sample(content, columns)


def parquet_sample(content: Content) -> Sample:
    """The first rows of a Parquet file."""
    packed = not content.is_plain
    source = pa.BufferReader(b"".join(content.chunks())) if packed else content.file.path
    with readable(content.file):
        table = pq.ParquetFile(source)
        types = dict(zip(table.schema_arrow.names, table.schema_arrow.types, strict=True))
        rows = next(table.iter_batches(LINES), None)
    values = {
        name: [] if rows is None else [str(value) for value in rows[name].to_pylist()]
        for name in types
    }
    return Sample("Parquet", list(types), True, values)


def text_sample(content: Content, names: list[str] | None) -> Sample:
    """The first lines of a text file."""
    file = content.file
    start = next(content.chunks())
    text = start.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
    lines = [line for line in islice(text.split("\n"), LINES) if line.strip()]
    if not lines or "\0" in lines[0]:
        raise ValueError(f"{file}:1: blank line, NUL byte or UTF-16. Save the file as UTF-8")
    separator = separator_of(lines)
    rows = [fields_of(line, separator) for line in lines]
    first, rows = rows[0], [row for row in rows[:-1] or rows if len(row) == len(rows[0])]
    layout = MOVIELENS.get((file.name.removesuffix(".gz"), separator))
    has_names = is_header(rows)
    if has_names:
        columns, rows = [without_type(name) for name in first], rows[1:]
    else:
        columns = names or layout or []
        if len(columns) != len(first):
            raise ValueError(
                f"{file}:1: has no header: {listed(first)}. Name its {len(first)} columns: "
                "--columns user,item,time (in their order; any name for the others)"
            )
    examples = {name: [row[at] for row in rows] for at, name in enumerate(columns)}
    return Sample(f"text, separated by {spoken(separator)}", columns, has_names, examples)


def separator_of(lines: list[str]) -> str:
    """The separator that splits most lines into as many columns as the first, and into most."""

    def score(separator: str) -> tuple[bool, int]:
        widths = [len(fields_of(line, separator)) for line in lines[:50]]
        alike = sum(width == widths[0] for width in widths)
        return (widths[0] > 1 and alike > 0.8 * len(widths), widths[0])

    return max(SEPARATORS, key=score)


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: no number is in it, and a role or a type is."""
    first = rows[0]
    if any(name.endswith(TYPES) for name in first):
        return True
    if any(is_number(name) for name in first) or len(set(first)) < len(first):
        return False
    numbers_below = any(is_number(value) for row in rows[1:] for value in row)
    return bool(guesses(first)) or numbers_below


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def column_named(name: str, sample: Sample, path: Path) -> str:
    """The column of a file that a flag names; ValueError where there is none."""
    known = {plain(column): column for column in reversed(sample.columns)}
    known |= {column: column for column in sample.columns}
    found = known.get(without_type(name)) or known.get(plain(name))
    if found is None:
        raise ValueError(
            f"{path}: no column {name!r}; there are: {listed(sample.columns)}. Name one of them"
        )
    return found
