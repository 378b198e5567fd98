"""Where raw files lie, as people keep them: folders with links in them, zips of any system."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


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
