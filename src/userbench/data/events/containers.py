"""Where the files of a table are, and their bytes: folders, zips and compressed files.

What a file is follows from its first bytes, not from its name. Nothing is unpacked to the disk.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from userbench.data.compressed import Tap, Unpacked, codec_of
from userbench.data.raw_bytes import UnsupportedZip, open_raw
from userbench.data.raw_files import FileOrMember, files_in, printable, zip_members
from userbench.errors import OF_CONTENT

CHUNK = 4 << 20  # bytes read at once; larger blocks of text leave the cache
START = 512  # bytes that show what a file is
PARQUET = b"PAR1"
# What a table is often kept in, and nothing here reads.
OTHER_KINDS = {
    **{b"PK\x03\x04": "a zip", b"\xfd7zXZ": "an xz file", b"\x04\x22\x4d\x18": "an lz4 file"},
    **{b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"\x89HDF": "an HDF5 file"},
    **{b"ARROW1": "an Arrow file", b"FEA1": "a Feather file", b"ORC": "an ORC file"},
    **{b"Obj\x01": "an Avro file", b"\x80\x04": "a pickle", b"\x80\x05": "a pickle"},
    **{b"\xd0\xcf\x11\xe0": "an Excel file", b"SQLite format 3": "a SQLite database"},
    **{b"%PDF": "a PDF", b'{"': "JSON", b"[{": "JSON", b"<!": "HTML", b"<h": "HTML"},
}
# Above both bounds a file is taken for one that was made to fill the machine.
EXPANSION_LIMIT = 200
UNREADABLE = (
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OverflowError, LookupError, NotImplementedError, UnicodeError),
)


@dataclass(eq=False)
class TableFile(FileOrMember):
    """A file of a table; reading it counts its rows, too."""

    member: str = ""
    rows: int = field(default=0, init=False)
    """Good rows that were read."""
    filtered: int = field(default=0, init=False)
    """Rows that did not meet the filter."""

    def described(self) -> dict[str, Any]:
        """The entry of this file in a manifest, after it was read."""
        return {**super().described(), "rows": self.rows, "filtered": self.filtered}


def find_files(raw: Path, names: list[str]) -> list[TableFile]:
    """The files of a table in the order of `names`, those of a folder in the order of their names.

    A name may leave out the folders above it, where only one file has it.

    Raises:
        ValueError: `raw` does not exist, or a name is that of no file, of several, or there twice.
    """
    if not raw.exists():
        raise ValueError(f"{raw}: does not exist. Name the folder, zip or file of the events")
    found: dict[str, TableFile] = {}
    for name in names:
        for place, file in named(raw, name).items():
            if place in found:
                raise ValueError(f"{raw}: {printable(place)} is named twice. Name each file once")
            found[place] = file
    if not found:
        raise ValueError(f"{raw}: no file is named. Name at least one in `files`")
    opened = []
    for file in found.values():
        is_zip = not file.member and zipfile.is_zipfile(file.path) and first_bytes(file) == b"PK"
        opened += members(file.path).values() if is_zip else [file]
    return opened


def named(raw: Path, name: str) -> dict[str, TableFile]:
    """The files that a name means, by their places below `raw`."""
    below = raw / name
    if raw.is_dir() and below.is_file():
        return {name: TableFile(below)}
    if raw.is_dir() and below.is_dir():
        found = files_below(below)
        return {(PurePosixPath(name) / place).as_posix(): file for place, file in found.items()}
    if raw.is_dir():
        known = files_below(raw)
    else:
        known = members(raw) if zipfile.is_zipfile(raw) else {raw.name: TableFile(raw)}
    return {place: known[place] for place in places_of(raw, name, known)}


def files_below(folder: Path) -> dict[str, TableFile]:
    """Files at any depth by the order of their names; not those that begin with a dot or `_`."""
    below = sorted((path.relative_to(folder).as_posix(), path) for path in files_in(folder))
    return {name: TableFile(path) for name, path in below if not is_hidden(name)}


def members(path: Path) -> dict[str, TableFile]:
    """The files inside a zip by their names, in the order of these."""
    with readable(path):
        found = zip_members(path)
    return {place: TableFile(path, name) for place, name in found.items() if not is_hidden(place)}


def is_hidden(name: str) -> bool:
    """Whether a file or a folder above it is one of those that programs leave beside tables."""
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts if part != "..")


def places_of(raw: Path, name: str, known: dict[str, TableFile]) -> list[str]:
    """Which of the known files a name means: one, or those of a folder."""
    asked = name.strip("/")
    if asked in known:
        return [asked]
    if below := [place for place in known if place.startswith(f"{asked}/") or asked in ("", ".")]:
        return below
    deep = [place for place in known if place.endswith(f"/{asked}")]
    if len(deep) == 1:
        return deep
    if len(deep) > 1:
        some = " and ".join(printable(place) for place in deep[:2])
        raise ValueError(f"{raw}: more than one file is named {name}: {some}. Name its folder, too")
    holds = ", ".join(printable(place) for place in list(known)[:8]) or "no file"
    holds += ", .." if len(known) > 8 else ""
    raise ValueError(f"{raw}: holds no file {printable(name)}; it holds: {holds}. Name one of them")


def check_checksums(files: list[TableFile], expected: Mapping[str, str]) -> None:
    """ValueError for a file, read already, with another SHA-256 than is expected of its name.

    Another one: a name that no file has.
    """
    for name, checksum in expected.items():
        named = [file for file in files if file.name == name]
        if not named:
            known = ", ".join(sorted({file.name for file in files}))
            raise ValueError(f"checksum given for unknown file {name!r}. Known files: {known}")
        for file in named:
            if file.sha256 != checksum.lower():
                raise ValueError(
                    f"{file}: SHA-256 is {file.sha256}, expected {checksum}. Fetch the file again"
                )


def first_bytes(file: TableFile) -> bytes:
    """The first two bytes of a file."""
    with readable(file), open_raw(file.path, file.member) as stream:
        return stream.read(2)


def packed_size(file: TableFile) -> int:
    """Bytes of a file as it is kept, those of a member within its zip."""
    if not file.member:
        return file.path.stat().st_size
    with zipfile.ZipFile(file.path) as archive:
        return archive.getinfo(file.member).compress_size


def kind_of(start: bytes) -> str:
    """What the first bytes of a file show: `parquet`, `text` or what cannot be read."""
    if start.startswith(PARQUET):
        return "parquet"
    if start[257:262] == b"ustar":
        return "a tar archive"
    if codec_of(start):
        return "compressed twice"
    known = (kind for magic, kind in OTHER_KINDS.items() if start.startswith(magic))
    return next(known, "text")


class Content:
    """The unpacked bytes of a file: their kind, and chunks of them."""

    def __init__(self, file: TableFile, stream: io.BufferedIOBase, limit: int) -> None:
        self.file, self.limit = file, max(limit, EXPANSION_LIMIT * packed_size(file))
        self.tap = Tap(stream)
        self.raw = io.BufferedReader(self.tap, max(CHUNK, START))
        start = self.raw.peek(START)
        codec = codec_of(start)
        self.is_plain = codec is None and not file.member
        self.unpacked = self.raw
        if codec:
            self.unpacked = io.BufferedReader(Unpacked(self.raw, codec), max(CHUNK, START))
            start = self.unpacked.peek(START)
        self.kind = kind_of(start)
        self.is_empty = not start

    def chunks(self) -> Iterator[bytes]:
        """All bytes, some MiB at a time; at their end the file knows its size and checksum."""
        size = 0
        while chunk := self.next_chunk():
            size += len(chunk)
            if not self.is_plain and size > self.limit:
                raise ValueError(
                    f"{self.file}: unpacks to more than {size - 1:,} bytes and {EXPANSION_LIMIT} "
                    "times its size. Raise max_unpacked_gib if the file is what it should be"
                )
            yield chunk
        self.file.size, self.file.sha256 = self.tap.size, self.tap.digest.hexdigest()

    def next_chunk(self) -> bytes:
        """The next bytes; ValueError where they cannot be read."""
        with readable(self.file):
            return self.unpacked.read(CHUNK)


@contextmanager
def opened(file: TableFile, limit: int) -> Iterator[Content]:
    """The content of a file that is to be read; `limit` bounds its unpacked bytes.

    Raises:
        ValueError: the file is empty, of a kind that is not read here, or damaged.
    """
    with ExitStack() as stack:
        with readable(file):
            file.modified = file.path.stat().st_mtime_ns
            content = Content(file, stack.enter_context(open_raw(file.path, file.member)), limit)
        if content.is_empty:
            raise ValueError(f"{file}:1: the file is empty. Fetch it again")
        if content.kind not in ("parquet", "text"):
            raise ValueError(f"{file}: is {content.kind}. Make it Parquet, CSV or TSV")
        yield content


@contextmanager
def readable(name: object) -> Iterator[None]:
    """Turn what a damaged file raises into a ValueError that begins with its name.

    Raises:
        OSError: the system refuses to read it; the name is that of the file.
    """
    try:
        yield
    except UnsupportedZip as problem:
        raise ValueError(str(problem)) from None
    except pa.ArrowMemoryError as error:
        raise MemoryError(f"{name}: {error}") from error
    except UNREADABLE as error:
        reason = printable(" ".join(str(error).split()))[:120].rstrip(". ") or type(error).__name__
        raise ValueError(f"{name}: damaged or cut off ({reason}). Fetch it again") from error
    except OSError as error:
        if error.errno not in OF_CONTENT:
            raise OSError(error.errno, error.strerror, str(name)) from error
        reason = printable(" ".join(str(error).split()))[:120].rstrip(". ")
        raise ValueError(f"{name}: damaged or cut off ({reason}). Fetch it again") from error
