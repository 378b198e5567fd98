"""Lines of item ids with zeros on the left -> rows, block by block: the files of TTL and App.

A line is `x_1,...,x_n`, oldest to newest, and in task files `,,` with a label or targets. A block
without a bad line is parsed at once; a block with one is read line by line, to say which line is
bad and why.
"""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from userbench.data.compressed import Tap, Unpacked, codec_of
from userbench.data.format import INT32_MAX, BadRows, RawFile, Rows, Source
from userbench.data.ragged import offsets_of
from userbench.data.raw_bytes import explained, open_raw

BLOCK = 4 << 20  # bytes read at once; parsing larger blocks is slower, they leave the cache
LINE_LIMIT = 1 << 20  # bytes; a line of 100 ids has at most 1,100
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
OTHER_SEPARATORS = b";\t |"


def read_rows(file: RawFile, bad: BadRows) -> Iterator[Rows]:
    """Read a file in blocks of rows, in file order; bad lines go to `bad` and are left out.

    Raises:
        ValueError: there are too many bad lines (it names the first one too many), or the file is
            empty or cannot be read.
    """
    width = None  # columns of the sequence: those of the first good line
    line = 1
    for block in read_blocks(file):
        n_lines = block.count(b"\n")
        lines = np.arange(line, line + n_lines)
        line += n_lines
        if width is None:
            first = block[: block.index(b"\n")]
            if fault(first, file.source, None) is None:
                width = sequence_width(first)
        rows = parse(block, width, file.source, lines) if width else None
        if rows is None:
            good, good_lines = [], []
            for number, content in zip(lines.tolist(), block.split(b"\n"), strict=False):
                reason = fault(content, file.source, width)
                if reason is None:
                    good.append(content + b"\n")
                    good_lines.append(number)
                    width = width or sequence_width(content)
                else:
                    bad.add(str(file), number, reason)
            if not good:
                continue
            rows = parse(b"".join(good), width, file.source, np.array(good_lines))
            assert rows is not None, f"{file}: a block fails, but none of its lines does"
        yield rows


def read_blocks(file: RawFile) -> Iterator[bytes]:
    """Whole lines of a file, about `BLOCK` bytes at a time; fills in its size and checksum."""
    rest = b""
    file.modified = file.path.stat().st_mtime_ns if file.path.exists() else 0
    with explained(file), open_raw(file.path, file.member) as stream:
        tap = Tap(stream)
        content = io.BufferedReader(tap, BLOCK)
        if codec := codec_of(content.peek(4)):
            content = io.BufferedReader(Unpacked(content, codec), BLOCK)
        while chunk := content.read(BLOCK):
            cut = chunk.rfind(b"\n") + 1
            if cut:
                yield rest + chunk[:cut]
                rest = chunk[cut:]
            else:
                # Why: bounds memory; the rest that is kept of an endless line is still too long.
                rest = (rest + chunk)[: LINE_LIMIT + 2]
    if not tap.size:
        raise ValueError(f"{file}:1: the file is empty. Fetch it again")
    if rest:
        yield rest + b"\n"
    file.size, file.sha256 = tap.size, tap.digest.hexdigest()


def parse(
    block: bytes, width: int, source: Source, lines: Int64[np.ndarray, " rows"]
) -> Rows | None:
    """Rows of a block of lines, all at once; None when any line has a fault."""
    text = block.replace(b"\r\n", b"\n")
    if text.translate(None, b"0123456789,\n"):
        return None
    characters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(characters < ord("0"))  # a comma or a line end closes each field
    digits = np.diff(ends, prepend=-1) - 1  # of each field
    last = np.flatnonzero(characters[ends] == ord("\n"))  # field of each line
    fields = np.diff(last, prepend=-1)  # of each line
    if np.diff(ends[last], prepend=-1).max() > LINE_LIMIT + 1:
        return None

    empty = np.flatnonzero(digits == 0)
    if source.tail == "none":
        if len(empty) or (fields != width).any():
            return None
    else:
        # The one empty field of a line is the one inside `,,`.
        if not np.array_equal(empty, last - fields + 1 + width) or (fields < width + 2).any():
            return None
        if source.tail == "label" and (fields > width + 2).any():
            return None
        fields = fields - 1
        digits = digits[digits > 0]

    # Why: digits without separators, and where each field begins, are an Arrow string array.
    bounds = np.concatenate([[0], np.cumsum(digits)]).astype(np.int32)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(text.translate(None, b",\n"))]
    try:
        strings = pa.Array.from_buffers(pa.string(), len(digits), buffers)
        numbers = strings.cast(pa.int32())
    except pa.ArrowInvalid:
        return None
    # Why not to_numpy(): it imports pandas, a quarter of a second for nothing.
    values = np.frombuffer(numbers.buffers()[1], np.int32, len(numbers))

    starts = np.cumsum(fields) - fields
    n_tails = fields - width
    if (n_tails == n_tails[0]).all():
        table = values.reshape(len(fields), -1)
        sequences, tails = table[:, :width], table[:, width:].ravel()
    else:
        in_sequence = np.arange(len(values)) - np.repeat(starts, fields) < width
        sequences, tails = values[in_sequence].reshape(-1, width), values[~in_sequence]
    is_item = sequences > 0
    if not is_item[:, -1].all() or (is_item[:, :-1] > is_item[:, 1:]).any():
        return None
    if ((tails < source.low) | (tails > source.high)).any():
        return None
    return Rows(
        items=sequences[is_item],
        offsets=offsets_of(is_item.sum(1)),
        tail_values=tails,
        tail_offsets=offsets_of(n_tails),
        lines=lines,
    )


def sequence_width(line: bytes) -> int:
    """Columns of a line before `,,`."""
    return line.partition(b",,")[0].count(b",") + 1


def fault(line: bytes, source: Source, width: int | None) -> str | None:
    """The fault of a line, and the remedy; None for a good line.

    `width` is the number of columns of the sequences before it, None if there are none yet.
    """
    if len(line) > LINE_LIMIT:
        return f"line longer than {LINE_LIMIT:,} bytes. Check that each user has a line"
    line = line.removesuffix(b"\r")
    if not line:
        return "blank line. Delete it"
    if line.startswith(BYTE_ORDER_MARKS):
        return "starts with a byte-order mark. Save the file as ASCII, without the mark"
    if b"\0" in line:
        return "NUL byte (damaged, or UTF-16). Fetch the file again, or save it as ASCII"
    if not line.isascii():
        return f"not ASCII: {shorten(line)}. Save the file as ASCII"
    if b"," not in line and any(separator in line for separator in OTHER_SEPARATORS):
        return f"no comma: {shorten(line)}. Separate the columns by commas"

    head, separator, tail = line.partition(b",,")
    if source.tail == "none" and separator:
        return "',,' where a sequence alone is expected. Check that this is the pre-training file"
    columns = head.split(b",")
    if width is not None and len(columns) != width and (separator or source.tail == "none"):
        return (
            f"{len(columns)} columns where earlier lines have {width}. "
            "Check that the line is whole, and fetch the file again"
        )
    for number, column in enumerate(columns, 1):
        if reason := number_fault(column, 0, INT32_MAX):
            return f"column {number} {reason}"
    items = [int(column) for column in columns]
    if not any(items):
        return "empty sequence: all columns are 0. Delete the line"
    n_pads = next(i for i, item in enumerate(items) if item)
    if 0 in items[n_pads:]:
        column = items.index(0, n_pads) + 1
        return f"column {column} is 0 to the right of an item. Pad with 0 on the left only"
    if source.tail == "none":
        return None

    if not separator or not tail:
        return f"{source.tail} missing after the sequence. Check that the line is whole"
    values = tail.split(b",")
    if source.tail == "label" and len(values) > 1:
        return (
            f"{len(values)} values where one label is expected. Check that this is the right file"
        )
    for value in values:
        if reason := number_fault(value, source.low, source.high):
            return f"{source.tail.removesuffix('s')} {reason}"
    return None


def number_fault(field: bytes, low: int, high: int) -> str | None:
    """The fault of a field that should be an integer in low..high; None for a good one."""
    if not field:
        return "is empty. Check that the line is whole"
    if not field.removeprefix(b"-").isdigit():
        return f"is not an integer: {shorten(field)}. Write digits only"
    if field.startswith(b"-"):
        return f"is negative: {shorten(field)}. Check the file"
    digits = field.lstrip(b"0")
    if len(digits) > 10 or not low <= int(digits or b"0") <= high:
        return f"is outside {low}..{high}: {shorten(field)}. Check the file"
    return None


def shorten(content: bytes) -> str:
    """The beginning of a line or field, printable in an error message."""
    return repr(content[:32])[1:] + ("..." if len(content) > 32 else "")
