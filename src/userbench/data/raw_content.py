"""The content of a raw file as one text, by which the workflow tells whether it was read before.

Where the file lies, when it was written and what lies beside it do not matter. Checksums of large
files are remembered by path, size and time of change.
"""

import json
from pathlib import Path

from userbench.data.raw import RawFile, checksum, find_file, is_named_after
from userbench.results.artifact import MANIFEST, write_json


def raw_content(
    raw: Path,
    format: str,
    source: str,
    made: Path,
    max_bad_rows: int,
    checksums: dict[str, str],
    memory: Path,
) -> str:
    """SHA-256 of the raw file of a source, marked where reading it again would now be refused.

    It would where the folder `made` of it lacks more bad lines than `max_bad_rows`, or where
    `checksums` has another one for it. ValueError where there is no such file.
    """
    file = find_file(raw, format, source)
    content = remembered(file, memory)
    expected = {sum.lower() for name, sum in checksums.items() if is_named_after(file.source, name)}
    if expected - {content}:
        return f"{content}, another one is expected"
    if bad_rows_of(made, content) > max_bad_rows:
        return f"{content}, too many bad lines"
    return content


def remembered(file: RawFile, memory: Path) -> str:
    """SHA-256 of a raw file; computed only if it was changed since `memory` was written."""
    known = read_memory(memory)
    path = file.path.absolute()
    name = f"{path}/{file.member}" if file.member else str(path)
    stat = path.stat()
    is_now = [stat.st_size, stat.st_mtime_ns]
    *was_then, content = known.get(name, [""])
    if was_then != is_now:
        content = checksum(file.path, file.member)
        write_json(memory, {**read_memory(memory), name: [*is_now, content]})
    return content


def read_memory(memory: Path) -> dict[str, list]:
    """Size, time and checksum by path; empty where nothing, or nothing readable, is remembered."""
    try:
        known = json.loads(memory.read_bytes())
        return {name: [*told] for name, told in known.items() if len(told) == 3}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def bad_rows_of(made: Path, content: str) -> int:
    """How many lines were left out of what was made of this content; 0 of any other."""
    try:
        manifest = json.loads((made / MANIFEST).read_bytes())
        (file,) = manifest["raw"].values()
        return manifest["bad_rows"] if file["sha256"] == content else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
