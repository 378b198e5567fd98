"""Raw files as people keep them: in folders with links in them, in zips of any system."""

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn


@dataclass
class FileOrMember:
    """A file, or a member of a zip; reading it fills in size, checksum and time."""

    path: Path
    member: str  # name inside the zip `path`; empty for a plain file
    size: int = field(default=0, init=False)
    sha256: str = field(default="", init=False)
    modified: int = field(default=0, init=False)  # when it was read; nanoseconds since 1970

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(self.member.replace("\\", "/") or self.path).name

    def described(self) -> dict[str, Any]:
        """The entry of this file in a manifest, after it was read."""
        return {
            "name": self.name,
            "path": str(self.path),
            "member": self.member,
            "modified": self.modified,
            "size": self.size,
            "sha256": self.sha256,
        }

    def __str__(self) -> str:
        """Path, that of the zip included; characters that do not print are escaped."""
        return printable(f"{self.path}/{self.member}" if self.member else str(self.path))


def printable(text: str) -> str:
    """The text in one line, with characters that do not print escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def files_in(folder: Path) -> Iterator[Path]:
    """Files at any depth; links to folders are followed, and no folder is read twice.

    Raises:
        OSError: a folder cannot be listed; `Path.rglob` would leave out what is in it.
    """
    seen: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0), onerror=refuse):
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            # Why last: what is reached without a link has the name without one.
            waiting += [
                f"{place}/{name}" for name in sorted(folders) if Path(place, name).is_symlink()
            ]
            yield from (path for name in names if (path := Path(place, name)).is_file())


def refuse(problem: OSError) -> NoReturn:
    """Raise what `os.walk` leaves out."""
    raise problem


def zip_members(path: Path) -> dict[str, str]:
    """Names of the files inside a zip by their places in it, which have `/` between folders."""
    with zipfile.ZipFile(path) as archive:
        names = sorted({info.filename for info in archive.infolist()})
    # Why: some programs of Windows write `\`.
    places = {name.replace("\\", "/"): name for name in names}
    return {place: name for place, name in places.items() if not place.endswith("/")}
