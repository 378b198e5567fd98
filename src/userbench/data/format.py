"""The contract of a raw format: one file in `formats/` with its `SOURCES` and `read_rows`.

SOURCES    its raw files by short name: "pretrain" holds the users, each other one a task
read_rows  (file, bad) -> the rows of one of them, block by block; lines that cannot be read go to
           `bad` and are left out

A format is found by the name of its file. What formats have in common is in files of its own:
`padded_lines.py` reads lines of ids.
"""

import importlib
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from userbench.data.compressed import SUFFIXES
from userbench.data.raw_bytes import explained
from userbench.data.raw_files import FileOrMember, files_in, zip_members
from userbench.errors import check_readable

FOLDER = Path(__file__).with_name("formats")
INT32_MAX = 2**31 - 1


class Source(NamedTuple):
    """One kind of raw file: the stem of its name, what follows the items, the range of that."""

    stem: str
    tail: Literal["none", "label", "targets"]
    low: int = 1
    high: int = INT32_MAX


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
    """The lines that were left out; one more than `limit` is an error."""

    limit: int = 0
    rows: list[BadRow] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        """Record a bad line; ValueError when it is one too many."""
        self.rows.append(BadRow(file, line, reason))
        if len(self.rows) > self.limit:
            surplus = f" ({len(self.rows)} bad lines, {self.limit} allowed)" if self.limit else ""
            raise ValueError(f"{file}:{line}: {reason}{surplus}")


def listed(bad: BadRows) -> dict[str, str]:
    """Name and text of the file that lists the bad rows; empty where there are none."""
    if not bad.rows:
        return {}
    lines = ["\t".join(map(str, row)) for row in [BadRow._fields, *bad.rows]]
    return {"bad_rows.tsv": "\n".join(lines) + "\n"}


@dataclass
class RawFile(FileOrMember):
    """A raw file of a source."""

    source: Source


def format_names() -> list[str]:
    """The files of formats/."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def load_format(name: str) -> ModuleType:
    """The file formats/<name>.py; ValueError, with the names there are, for another name."""
    if name not in format_names():
        raise ValueError(f"unknown format {name!r}. Choose one of: {', '.join(format_names())}")
    return importlib.import_module(f"userbench.data.formats.{name}")


def find_source(format: str, source: str) -> Source:
    """Facts about one source of a format; ValueError when either name is unknown."""
    sources = load_format(format).SOURCES
    if source not in sources:
        known = ", ".join(sources)
        raise ValueError(f"format {format!r} has no source {source!r}. Choose one of: {known}")
    return sources[source]


def find_file(raw: Path, format: str, source: str) -> RawFile:
    """Find a source's file in a folder or a zip, at any depth, whatever suffix its stem has.

    One that is compressed, or ends in .CSV, counts where there is no other.

    Raises:
        ValueError: `raw` is neither folder nor zip, or holds no such file or more than one.
    """
    facts = find_source(format, source)
    if raw.is_dir():
        found = [RawFile(path, "", facts) for path in sorted(files_in(raw))]
    elif zipfile.is_zipfile(raw):
        with explained(raw):
            found = [RawFile(raw, member, facts) for member in zip_members(raw).values()]
    elif raw.exists():
        check_readable(raw)
        raise ValueError(f"{raw}: neither a folder nor a zip. Pass the folder of the raw files")
    else:
        raise ValueError(f"{raw}: does not exist. Pass the folder or zip of the raw files")
    found = [file for file in found if is_named_after(facts, file.name)]
    found = [file for file in found if file.name.endswith(".csv")] or found
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
    ending = rf"(?i:\.csv(\.({'|'.join(SUFFIXES)}))?)"
    return re.fullmatch(rf"{re.escape(source.stem)}([^A-Za-z].*)?{ending}", name) is not None
