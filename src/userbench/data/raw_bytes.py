"""The bytes of a raw file, plain or inside a zip: how to read them, and whether they have changed.

Every command that reads arrays checks by this file that they still belong to their raw file. What
the bytes mean is in `formats/`.
"""

import hashlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from userbench.data.arrays import read_manifest
from userbench.errors import OF_CONTENT
from userbench.results.artifact import again

# What zipfile and its decompressors raise on damaged bytes; a name may be empty, or not UTF-8.
ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OverflowError, LookupError, ValueError),
)


def files_in(folder: Path) -> list[Path]:
    """Files at any depth, in no order.

    Raises:
        OSError: a folder cannot be listed; `Path.rglob` would leave out what is in it.
    """

    def refuse(problem: OSError) -> None:
        raise problem

    walked = os.walk(folder, onerror=refuse)
    paths = [Path(at, name) for at, _, names in walked for name in names]
    return [path for path in paths if path.is_file()]


@contextmanager
def open_raw(path: Path, member: str) -> Iterator[BinaryIO]:
    """Yield the bytes of a raw file; a member of a zip is unpacked on the fly."""
    if member:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def checksum(path: Path, member: str) -> str:
    """SHA-256 of a raw file as it is now; empty where the zip no longer has such a member."""
    with explained(path):
        try:
            with open_raw(path, member) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except KeyError:
            return ""


@contextmanager
def explained(name: object) -> Iterator[None]:
    """Turn what a damaged file raises into a ValueError that begins with its name.

    Raises:
        OSError: the system refuses to read it; the name is that of the file.
    """
    try:
        yield
    except ZIP_FAULTS as error:
        raise ValueError(f"{name}: not a readable zip ({error}). Fetch it again") from error
    except OSError as error:
        if error.errno not in OF_CONTENT:
            raise OSError(error.errno, error.strerror, str(name)) from error
        raise ValueError(f"{name}: cannot be read ({error}). Check the file") from error


def check_raw(folder: Path) -> None:
    """Check that the raw files of a folder of arrays are those it was made from.

    A raw file that no longer exists is not checked. One with the recorded modification time counts
    as unchanged: raw files are large, and every command checks them.

    Raises:
        ValueError: a raw file has another checksum now.
    """
    manifest = read_manifest(folder)
    for recorded in manifest.get("raw", {}).values():
        path = Path(recorded.get("path", ""))
        if not path.is_file() or path.stat().st_mtime_ns == recorded["modified"]:
            continue
        if checksum(path, recorded["member"]) != recorded["sha256"]:
            what = f"{path}: changed since {folder} was read from it"
            raise ValueError(f"{what}. {again(folder, manifest)}")
