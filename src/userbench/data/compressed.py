"""The content of raw files that are kept compressed, read as a stream; its first bytes show how."""

import hashlib
import io
from typing import Any

import pyarrow as pa

CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
SUFFIXES = ("gz", "zst", "bz2")


class Tap(io.RawIOBase):
    """The raw bytes of a file as they are read, with their number and SHA-256."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self.stream, self.size, self.digest = stream, 0, hashlib.sha256()

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        chunk = self.stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.digest.update(chunk)
        self.size += len(chunk)
        return len(chunk)


class Unpacked(io.RawIOBase):
    """The content of a compressed stream."""

    def __init__(self, stream: io.BufferedIOBase, codec: str) -> None:
        self.stream = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        chunk = self.stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def codec_of(start: bytes) -> str | None:
    """The compression that the first bytes of a file show; None where they show none."""
    return next((name for magic, name in CODECS.items() if start.startswith(magic)), None)
