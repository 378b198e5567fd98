"""Files that flags name -> one raw folder or zip, and their names below it."""

import os
import zipfile
from pathlib import Path
from typing import NamedTuple


class Places(NamedTuple):
    """The folder or zip that holds all files, and the name of each below it."""

    raw: Path
    names: dict[Path, str]


def places_of(paths: list[Path]) -> Places:
    """Where files are, some of which may be inside one zip (`ml.zip/ratings.dat`).

    Raises:
        ValueError: a file does not exist, or a zip is not the only place.
    """
    zips = {path: zip_above(path) for path in paths}
    inside = {found for found in zips.values() if found is not None}
    if inside:
        if len(inside) > 1 or None in zips.values():
            raise ValueError(f"{paths[0]}: files inside and outside of a zip. Unpack the zip")
        raw = inside.pop()
        return Places(raw.absolute(), {path: path.relative_to(raw).as_posix() for path in paths})
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: does not exist. Name a file or a folder of files")
        if zipfile.is_zipfile(path):
            raise ValueError(
                f"{path}: is a zip. Name a file inside it, such as {path}/{example(path)}"
            )
    absolute = {path: path.absolute() for path in paths}
    raw = Path(os.path.commonpath([path.parent for path in absolute.values()]))
    return Places(raw, {path: full.relative_to(raw).as_posix() for path, full in absolute.items()})


def zip_above(path: Path) -> Path | None:
    """The zip inside which a path is; None where it is in none."""
    for above in path.parents:
        if above.is_file():
            return above if zipfile.is_zipfile(above) else None
    return None


def example(path: Path) -> str:
    """The largest file inside a zip."""
    with zipfile.ZipFile(path) as archive:
        return max(archive.infolist(), key=lambda info: info.file_size).filename
