"""Text files of rows -> the columns that are read, as texts, with the line of each row.

A block of lines is parsed at once; a block with something unusual in it is read line by line, to
say which line is bad and why. No value is converted here.
"""

import csv
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from jaxtyping import Int64

from userbench.data.events.containers import Content
from userbench.data.events.layout import (
    QUOTED,
    SEPARATORS,
    Layout,
    fields_of,
    layout_of,
    spoken,
    unquoted,
)
from userbench.data.events.settings import Table

LINE_LIMIT = 4 << 20  # bytes
UNIT_SEPARATOR = b"\x1f"  # stands for a separator of several characters


class Fault(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    reason: str


class Columns(NamedTuple):
    """Consecutive rows of a file as they are in it, and the lines between them that are none."""

    values: dict[str, pa.Array]
    lines: Int64[np.ndarray, " rows"]
    faults: list[Fault]


def read_text(content: Content, table: Table) -> Iterator[Columns]:
    """Read the columns of a table from a text file, block by block, in file order.

    Raises:
        ValueError: a column is missing, a line is endless, or the file cannot be read.
    """
    layout, line, rest = None, 1, b""
    for block in whole_lines(content):
        if layout is None:
            end = block.index(b"\n")
            layout = layout_of(block[:end], table, content.file)
            block = block.removeprefix(b"\xef\xbb\xbf")
            if layout.has_header:
                block, line = block[block.index(b"\n") + 1 :], 2
        block = rest + block
        columns, rest = parse(block, layout, line)
        line += block.count(b"\n") - rest.count(b"\n")
        yield columns
    while rest:
        reason = "a quote is not closed before the end of the file. Close it, or fetch it again"
        yield no_rows(layout, [Fault(line, reason)])
        line, (_, _, block) = line + 1, rest.partition(b"\n")
        columns, rest = parse(block, layout, line)
        line += block.count(b"\n") - rest.count(b"\n")
        yield columns


def whole_lines(content: Content) -> Iterator[bytes]:
    """The text in blocks of whole lines, each with its end."""
    rest, line = b"", 1
    for chunk in content.chunks():
        cut = chunk.rfind(b"\n") + 1
        if cut:
            line += chunk.count(b"\n")
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
        if len(rest) > LINE_LIMIT:
            raise ValueError(
                f"{content.file}:{line}: line longer than {LINE_LIMIT:,} bytes. "
                "Check that the file is a table"
            )
    if rest:
        yield rest + b"\n"


def parse(block: bytes, layout: Layout, line: int) -> tuple[Columns, bytes]:
    """The rows of a block whose first line has this number, and the row it leaves unfinished."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    columns = parse_at_once(block, layout, line)
    return (columns, b"") if columns else parse_by_line(block, layout, line)


def parse_at_once(block: bytes, layout: Layout, line: int) -> Columns | None:
    """The rows of a block in which every line is one row; None where that is not so."""
    separator = layout.separator.encode()
    quoted = layout.separator in QUOTED and b'"' in block
    if b"\r" in block or b"\0" in block or (quoted and not has_simple_quotes(block, layout)):
        return None
    if len(separator) > 1 or not separator.isascii():
        if UNIT_SEPARATOR in block:
            return None
        block, separator = block.replace(separator, UNIT_SEPARATOR), UNIT_SEPARATOR
    n_lines = block.count(b"\n")
    if not n_lines:
        return no_rows(layout, [])
    names = [str(place) for place in range(layout.width)]
    read = {name: names[place] for name, place in layout.places.items()}
    try:
        found = pa.csv.read_csv(
            pa.BufferReader(block),
            pa.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=separator.decode(),
                quote_char='"' if quoted else False,
                ignore_empty_lines=True,
            ),
            pa.csv.ConvertOptions(
                include_columns=list(dict.fromkeys(read.values())),
                column_types=dict.fromkeys(read.values(), pa.string()),
            ),
        )
    except pa.ArrowInvalid:
        return None
    if found.num_rows != n_lines:
        return None
    values = {name: found[place].combine_chunks() for name, place in read.items()}
    if layout.separator not in QUOTED and b'"' in block and any(map(has_quotes, values.values())):
        return None
    return Columns(values, np.arange(line, line + n_lines), [])


def has_quotes(values: pa.Array) -> bool:
    """Whether a text begins with a quote."""
    return bool(pc.any(pc.starts_with(values, '"')).as_py())


def has_simple_quotes(block: bytes, layout: Layout) -> bool:
    """Whether each quote of a block begins or ends a field and no field has quotes inside."""
    text = np.frombuffer(block, np.uint8)
    places = np.flatnonzero(text == ord('"'))
    if len(places) % 2:
        return False
    ends = (ord("\n"), ord(layout.separator))
    opening, closing = places[::2], places[1::2]
    before, after = text[opening[opening > 0] - 1], text[closing + 1]
    return bool(np.isin(before, ends).all() and np.isin(after, ends).all())


def parse_by_line(block: bytes, layout: Layout, line: int) -> tuple[Columns, bytes]:
    """The rows of a block, read one after the other, and the row it leaves unfinished."""
    values: dict[str, list[str]] = {name: [] for name in layout.places}
    lines: list[int] = []
    faults: list[Fault] = []
    if not block.strip(b"\n"):
        return no_rows(layout, []), b""
    unfinished = b""
    # Why latin-1: every byte is a character of it, those of columns that are not read included.
    texts = block.decode("latin-1").split("\n")[:-1]
    split = quoted_rows if layout.separator in QUOTED else plain_rows
    for at, fields, reason in split(texts, layout):
        if reason == UNFINISHED:
            unfinished = "\n".join([*texts[at:], ""]).encode("latin-1")
            break
        if reason is None and len(fields) != layout.width:
            reason = width_fault(texts[at], fields, layout)
        if reason is None:
            try:
                read = {name: decoded(fields[place]) for name, place in layout.places.items()}
            except ValueError as fault:
                reason = str(fault)
        if reason is not None:
            faults.append(Fault(line + at, reason))
            continue
        for name, value in read.items():
            values[name].append(value)
        lines.append(line + at)
    arrays = {name: pa.array(column, pa.string()) for name, column in values.items()}
    return Columns(arrays, np.array(lines, np.int64), faults), unfinished


UNFINISHED = "unfinished"


def plain_rows(texts: list[str], layout: Layout) -> Iterator[tuple[int, list[str], str | None]]:
    """Each line with its index and fields; blank lines are no rows."""
    separator = layout.separator.encode().decode("latin-1")
    for at, text in enumerate(texts):
        if text.strip("\r"):
            yield at, [unquoted(field) for field in text.split(separator)], None


def quoted_rows(texts: list[str], layout: Layout) -> Iterator[tuple[int, list[str], str | None]]:
    """Each row with the index of its first line and its fields, or what is wrong with it."""
    position = 0

    def following() -> Iterator[str]:
        nonlocal position
        while position < len(texts):
            position += 1
            yield texts[position - 1] + "\n"

    while position < len(texts):
        start = position
        try:
            for fields in csv.reader(following(), delimiter=layout.separator, strict=True):
                if fields:
                    yield start, fields, None
                start = position
        except csv.Error as error:
            if position == len(texts) and "unexpected end" in str(error):
                yield start, [], UNFINISHED
                return
            reason = "a quote is opened and not closed, or within a field. Double or remove it"
            if "new-line" in str(error):
                reason = "a carriage return within the line. Remove it"
            yield start, [], reason
            position = start + 1


def width_fault(text: str, fields: list[str], layout: Layout) -> str:
    """Why a line has another number of columns than those above it."""
    plural = "" if len(fields) == 1 else "s"
    head = f"{len(fields)} column{plural} where there should be {layout.width}"
    for other in SEPARATORS:
        if other != layout.separator and len(fields_of(text, other)) == layout.width > 1:
            return (
                f"{head}: the header is separated by {spoken(layout.separator)}, this line by "
                f"{spoken(other)}. Use one separator"
            )
    return f"{head}, separated by {spoken(layout.separator)}. Check that the line is whole"


def decoded(field: str) -> str:
    """The text of a field whose bytes were read as latin-1; ValueError where it is not UTF-8."""
    if "\0" in field:
        raise ValueError("NUL byte (damaged, or UTF-16). Fetch the file again, or save it as UTF-8")
    if field.isascii():
        return field
    try:
        return field.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        shown = repr(field[:32])
        raise ValueError(f"not UTF-8: {shown}. Save the file as UTF-8") from None


def no_rows(layout: Layout, faults: list[Fault]) -> Columns:
    """Columns without rows."""
    values = {name: pa.array([], pa.string()) for name in layout.places}
    return Columns(values, np.array([], np.int64), faults)
