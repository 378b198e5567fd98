"""The bytes of a raw file, plain or inside a zip: how to read them, and whether they have changed.

Every command that reads arrays checks by this file that they still belong to their raw file. What
the bytes mean is in `formats/`.
"""

import hashlib
import io
import lzma
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


# Names of methods by which other programs pack zips.
METHODS = {9: "Deflate64", 93: "Zstandard", 95: "xz", 98: "PPMd", 99: "AES"}
ENCRYPTED = 1  # a bit of the flags of a member


class UnsupportedZip(ValueError):
    """A zip that is whole, but cannot be unpacked here; the message says what to do."""


@contextmanager
def open_raw(path: Path, member: str) -> Iterator[BinaryIO]:
    """Yield the bytes of a raw file; a member of a zip is unpacked on the fly.

    Raises:
        UnsupportedZip: the member is encrypted, or packed by a method that Python does not have.
    """
    if member:
        with zipfile.ZipFile(path) as archive, opened_member(archive, member) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def opened_member(archive: zipfile.ZipFile, name: str) -> io.BufferedIOBase:
    """A member of a zip, to be read; UnsupportedZip for one that is whole and cannot be."""
    member = archive.getinfo(name)
    try:
        if member.flag_bits & ENCRYPTED:
            raise UnsupportedZip(
                f"{archive.filename}: is encrypted. Unpack it with its password, pass the folder"
            )
        return archive.open(member)
    except NotImplementedError:
        if (method := METHODS.get(member.compress_type)) is None:
            raise
        problem = f"is packed by {method}, which Python cannot unpack"
        remedy = "Unpack it with unzip or 7z, pass the folder"
        raise UnsupportedZip(f"{archive.filename}: {problem}. {remedy}") from None


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
    except UnsupportedZip:
        raise
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
