"""Raw TTL and App files -> NumPy rows, block by block.

A line is `x_1,...,x_n` (oldest to newest, zeros on the left), in task files followed by `,,` and
a label or targets. A block of good lines is parsed at once; only a block with a bad line is gone
through line by line, to say which line is bad and why.
"""

import hashlib
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, Int64

BLOCK = 4 << 20  # bytes read at once; parsing larger blocks is slower, they leave the cache
LINE_LIMIT = 1 << 20  # bytes; a line of 100 ids has at most 1,100
INT32_MAX = 2**31 - 1
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
OTHER_SEPARATORS = b";\t |"
# What zipfile and its decompressors raise of damaged bytes; a name may be empty, or no UTF-8.
ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OverflowError, LookupError, ValueError),
)


class Source(NamedTuple):
    """One kind of raw file: the stem of its name, what follows the sequence, its legal range."""

    stem: str
    tail: Literal["none", "label", "targets"]
    low: int = 1
    high: int = INT32_MAX


FORMATS = {
    "ttl": {
        "pretrain": Source("original_desen_pretrain", "none"),
        "age": Source("original_desen_age", "label", 1, 255),
        "life_status": Source("original_desen_lifestatus", "label", 1, 255),
        "gender": Source("original_desen_gender", "label", 1, 255),
        "click": Source("original_desen_finetune_click_nouserID", "targets"),
        "like": Source("original_desen_finetune_like_nouserID", "targets"),
    },
    "app": {
        "pretrain": Source("app_pretrain", "none"),
        "gender": Source("app_gender", "label", 0, 1),
        "cvr": Source("app_cvr", "label", 0, 1),
    },
}


class Rows(NamedTuple):
    """Consecutive rows of a file: items without padding, tails (label or targets), line numbers."""

    items: Int32[np.ndarray, " interactions"]
    offsets: Int64[np.ndarray, " bounds"]  # row i holds items[offsets[i] : offsets[i + 1]]
    tail_values: Int32[np.ndarray, " tails"]
    tail_offsets: Int64[np.ndarray, " bounds"]
    lines: Int64[np.ndarray, " rows"]


class BadRow(NamedTuple):
    """A line that was left out, and why."""

    file: str
    line: int
    reason: str


@dataclass
class BadRows:
    """The bad lines of a corpus, over all its files; one more than `limit` is an error."""

    limit: int = 0
    rows: list[BadRow] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        """Record a bad line; ValueError when it is one too many."""
        self.rows.append(BadRow(file, line, reason))
        if len(self.rows) > self.limit:
            surplus = f" ({len(self.rows)} bad lines, {self.limit} allowed)" if self.limit else ""
            raise ValueError(f"{file}:{line}: {reason}{surplus}")


@dataclass
class RawFile:
    """A raw file in a folder or inside a zip; size and checksum are known once it was read."""

    path: Path
    member: str  # name inside the zip `path`; empty for a plain file
    source: Source
    size: int = 0
    sha256: str = ""
    modified: int = 0  # when it was read; nanoseconds since 1970

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(self.member or self.path).name

    def described(self) -> dict[str, Any]:
        """What a manifest says of the file, once it was read."""
        return {
            "name": self.name,
            "path": str(self.path),
            "member": self.member,
            "modified": self.modified,
            "size": self.size,
            "sha256": self.sha256,
        }

    def __str__(self) -> str:
        """Path, that of the zip included; in one line whatever signs a name has."""
        path = f"{self.path}/{self.member}" if self.member else str(self.path)
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in path)


def find_source(format: str, source: str) -> Source:
    """Facts about one source of a format; ValueError when either name is unknown."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}. Choose one of: {', '.join(FORMATS)}")
    if source not in FORMATS[format]:
        known = ", ".join(FORMATS[format])
        raise ValueError(f"format {format!r} has no source {source!r}. Choose one of: {known}")
    return FORMATS[format][source]


def find_file(raw: Path, format: str, source: str) -> RawFile:
    """Find a source's file in a folder or a zip, at any depth, whatever suffix its stem has.

    ValueError when `raw` is neither folder nor zip, or holds no such file or more than one.
    """
    facts = find_source(format, source)
    if raw.is_dir():
        found = [RawFile(path, "", facts) for path in sorted(raw.rglob("*.csv")) if path.is_file()]
    elif zipfile.is_zipfile(raw):
        with explained(raw), zipfile.ZipFile(raw) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
            found = [RawFile(raw, member, facts) for member in sorted(members)]
    elif raw.exists():
        raise ValueError(f"{raw}: neither a folder nor a zip. Pass the folder of the raw files")
    else:
        raise ValueError(f"{raw}: does not exist. Pass the folder or zip of the raw files")
    found = [file for file in found if is_named_after(facts, file.name)]
    if not found:
        raise ValueError(f"{raw}: holds no {facts.stem}.csv. Pass the folder or zip that has it")
    if len(found) > 1:
        names = " and ".join(str(file) for file in found)
        raise ValueError(
            f"{raw}: more than one file is named {facts.stem}: {names}. Remove all but one"
        )
    return found[0]


def is_named_after(source: Source, name: str) -> bool:
    """Whether a file name is the source's stem, with or without a suffix such as `_3`."""
    return re.fullmatch(rf"{re.escape(source.stem)}([^A-Za-z].*)?\.csv", name) is not None


def read_rows(file: RawFile, bad: BadRows) -> Iterator[Rows]:
    """Read a file in blocks of rows, in file order; bad lines go to `bad` and are left out.

    ValueError names file and line of the first bad line too many; also for a file that is empty
    or cannot be read.
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
    digest, size, rest = hashlib.sha256(), 0, b""
    file.modified = file.path.stat().st_mtime_ns if file.path.exists() else 0
    with explained(file), open_raw(file.path, file.member) as stream:
        while chunk := stream.read(BLOCK):
            digest.update(chunk)
            size += len(chunk)
            cut = chunk.rfind(b"\n") + 1
            if cut:
                yield rest + chunk[:cut]
                rest = chunk[cut:]
            else:
                # Why: bounds memory; what is left of an endless line is still too long.
                rest = (rest + chunk)[: LINE_LIMIT + 2]
    if not size:
        raise ValueError(f"{file}:1: the file is empty. Fetch it again")
    if rest:
        yield rest + b"\n"
    file.size, file.sha256 = size, digest.hexdigest()


@contextmanager
def open_raw(path: Path, member: str) -> Iterator[BinaryIO]:
    """Bytes of a raw file; a zip's member is unpacked on the fly."""
    if member:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def checksum(path: Path, member: str) -> str:
    """SHA-256 of a raw file as it is now; empty where the zip has no such member any more."""
    with explained(path):
        try:
            with open_raw(path, member) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except KeyError:
            return ""


@contextmanager
def explained(file: RawFile | Path) -> Iterator[None]:
    """Turn what a file that cannot be read raises into a ValueError that names it."""
    try:
        yield
    except ZIP_FAULTS as error:
        raise ValueError(f"{file}: not a readable zip ({error}). Fetch it again") from error
    except OSError as error:  # that of a damaged bzip2 stream has no number
        reason = error.strerror or error
        raise ValueError(f"{file}: cannot be read ({reason}). Check the file") from error


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


def offsets_of(lengths: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " bounds"]:
    """Where each row begins and ends in a flat array of rows of these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)])


def sequence_width(line: bytes) -> int:
    """Columns of a line before `,,`."""
    return line.partition(b",,")[0].count(b",") + 1


def fault(line: bytes, source: Source, width: int | None) -> str | None:
    """What is wrong with a line, and the remedy; None for a good line.

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
    """What is wrong with a field that shall be an integer in low..high; None for a good one."""
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
