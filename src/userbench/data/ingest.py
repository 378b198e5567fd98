"""Read a raw file into arrays: behaviours, or the examples of a task.

userbench ingest behaviours --format ttl --raw RAW --out STORE/behaviours
userbench ingest task --format ttl --raw RAW --source click
    --behaviours STORE/behaviours --out STORE/tasks/click

Each call reads one raw file, by its format (`data/formats/`). A task is joined to the users in the
arrays, not in the pre-training file. `bad_rows.tsv` lists the lines that were left out, and why.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from userbench import command_line
from userbench.command_line import string_mapping
from userbench.data import arrays as on_disk
from userbench.data import ragged
from userbench.data.corpus import (
    Corpus,
    corpus_counts,
    find_users,
    first_user,
    sorted_by_hash,
)
from userbench.data.examples import label_arrays, target_arrays
from userbench.data.format import (
    BadRows,
    RawFile,
    Rows,
    find_file,
    find_source,
    format_names,
    is_named_after,
    listed,
    load_format,
)
from userbench.data.raw_bytes import check_raw
from userbench.errors import command


class Joined(NamedTuple):
    """Rows of a task file with the user each belongs to."""

    users: Int64[np.ndarray, " rows"]
    tail_values: Int32[np.ndarray, " tails"]
    tail_lengths: Int64[np.ndarray, " rows"]


class RawInput(NamedTuple):
    """A raw file with its format, the bad lines so far, and the checksums that are expected."""

    file: RawFile
    format: ModuleType
    bad: BadRows
    checksums: dict[str, str]
    """Expected SHA-256 by file name."""


def write_behaviours(
    raw_path: Path,
    format: str,
    out: Path,
    max_bad_rows: int = 0,
    checksums: dict[str, str] | None = None,
) -> None:
    """Write the users of a corpus and their items, from its pre-training file.

    `checksums` holds the expected SHA-256 of raw files by name.

    Raises:
        ValueError: the file has a fault, or more than `max_bad_rows` bad lines; nothing is written.
    """
    started = time.perf_counter()
    found = find(raw_path, format, "pretrain", out, max_bad_rows, checksums or {})
    corpus = read_corpus(found)
    first = first_user(corpus)
    item_ids = np.concatenate([[0], np.unique(corpus.items)])
    arrays = {
        "items.npy": renumbered(corpus.items, item_ids),
        "offsets.npy": corpus.offsets,
        "item_ids.npy": item_ids,
    }
    counts = {**corpus_counts(corpus, first), "items": len(item_ids) - 1}
    meaning = {name: counts[name] for name in ("users", "items")}
    manifest = described(format, "pretrain", found, counts)
    on_disk.write_arrays(out, arrays, meaning, manifest, texts=listed(found.bad), started=started)


def write_task(
    raw_path: Path,
    format: str,
    source: str,
    behaviours: Path,
    out: Path,
    max_bad_rows: int = 0,
    checksums: dict[str, str] | None = None,
) -> None:
    """Write the examples of a task, from its raw source, joined to the users of `behaviours`.

    Arguments and errors are as in `write_behaviours`; a row that matches no user is a bad row, too.
    """
    started = time.perf_counter()
    on_disk.check_task_name(out.name)
    if find_source(format, source).tail == "none":
        raise ValueError(f"source {source!r} has no labels or targets. Name that of a task")
    found = find(raw_path, format, source, out, max_bad_rows, checksums or {})
    check_raw(behaviours)
    corpus = corpus_of(behaviours)
    first = first_user(corpus)
    is_duplicated = np.zeros(len(first), bool)
    is_duplicated[first[first != np.arange(len(first))]] = True
    joined = read_task(found, corpus)
    to_arrays = joined_labels if found.file.source.tail == "label" else joined_targets
    arrays, counts = to_arrays(joined)
    counts |= {
        "users_with_several_rows": int((np.bincount(joined.users) > 1).sum()),
        "ambiguous_joins": int(is_duplicated[joined.users].sum()),
    }
    on_disk.write_arrays(
        out,
        {f"{name}.npy": array for name, array in arrays.items()},
        {"behaviours": on_disk.identity(behaviours)},
        described(format, source, found, counts),
        inputs=[behaviours],
        texts=listed(found.bad),
        started=started,
    )


def find(
    raw_path: Path,
    format: str,
    source: str,
    out: Path,
    max_bad_rows: int,
    checksums: dict[str, str],
) -> RawInput:
    """Find the file of a source; ValueError for what is wrong before it is read."""
    if max_bad_rows < 0:
        raise ValueError(f"{max_bad_rows} bad rows cannot be allowed. Give 0 or more")
    module = load_format(format)
    find_source(format, source)
    known = module.SOURCES.values()
    for name in checksums:
        if not any(is_named_after(source, name) for source in known):
            stems = ", ".join(f"{source.stem}.csv" for source in known)
            raise ValueError(f"checksum given for unknown file {name!r}. Known files: {stems}")
    on_disk.check_out(out)
    file = find_file(raw_path, format, source)
    return RawInput(file, module, BadRows(max_bad_rows), checksums)


def described(format: str, source: str, found: RawInput, counts: dict[str, Any]) -> dict[str, Any]:
    """The part of a manifest that describes a raw file that was read."""
    return {
        "format": format,
        "max_bad_rows": found.bad.limit,
        "bad_rows": len(found.bad.rows),
        "counts": counts,
        "raw": {source: found.file.described()},
    }


def read_corpus(found: RawInput) -> Corpus:
    """Read the pre-training file; ValueError when no good row is left."""
    items, lengths, hashes = [], [], []
    for rows in reported_rows(found):
        items.append(rows.items)
        lengths.append(np.diff(rows.offsets))
        hashes.append(ragged.hash_rows(rows.items, rows.offsets))
    offsets = ragged.offsets_of(np.concatenate(lengths))
    return sorted_by_hash(np.concatenate(items), offsets, np.concatenate(hashes))


def corpus_of(behaviours: Path) -> Corpus:
    """The corpus that was read into these arrays, with raw ids again."""
    items, offsets, item_ids = (
        on_disk.read_array(behaviours, name)
        for name in ("items.npy", "offsets.npy", "item_ids.npy")
    )
    for begin in range(0, len(items), ragged.ITEMS_AT_ONCE):
        some = slice(begin, begin + ragged.ITEMS_AT_ONCE)
        items[some] = item_ids[items[some]]
    return sorted_by_hash(items, offsets, ragged.hash_in_blocks(items, offsets))


def reported_rows(found: RawInput) -> Iterator[Rows]:
    """Rows of a file; prints one line at its end. ValueError for a wrong checksum."""
    start, n_rows, file = time.perf_counter(), 0, found.file
    for rows in found.format.read_rows(file, found.bad):
        n_rows += len(rows.lines)
        yield rows
    for name, expected in found.checksums.items():
        if is_named_after(file.source, name) and file.sha256 != expected.lower():
            raise ValueError(
                f"{file}: SHA-256 is {file.sha256}, expected {expected}. Fetch the file again"
            )
    if not n_rows:
        raise ValueError(f"{file}: no good line. Fetch the file again")
    seconds = time.perf_counter() - start
    print(f"{file.name}: {n_rows:,} rows in {seconds:.1f} s", file=sys.stderr, flush=True)


def renumbered(
    items: Int32[np.ndarray, " interactions"], item_ids: Int64[np.ndarray, " ids"]
) -> Int32[np.ndarray, " interactions"]:
    """Index of each raw id among the ascending `item_ids`, whose first is the padding's 0."""
    indices = np.empty_like(items)
    for begin in range(0, len(items), ragged.ITEMS_AT_ONCE):
        some = slice(begin, begin + ragged.ITEMS_AT_ONCE)
        indices[some] = np.searchsorted(item_ids, items[some])
    return indices


def read_task(found: RawInput, corpus: Corpus) -> Joined:
    """Read a task file and join it to the users; a row that matches no user is a bad row."""
    users, tail_values, tail_lengths = [], [], []
    for rows in reported_rows(found):
        owners = find_users(corpus, rows.items, rows.offsets)
        for line in rows.lines[owners < 0].tolist():
            reason = "sequence not among the pre-training rows. Use files of one release"
            found.bad.add(str(found.file), line, reason)
        lengths = np.diff(rows.tail_offsets)
        users.append(owners[owners >= 0])
        tail_values.append(rows.tail_values[np.repeat(owners >= 0, lengths)])
        tail_lengths.append(lengths[owners >= 0])
    joined = Joined(
        np.concatenate(users), np.concatenate(tail_values), np.concatenate(tail_lengths)
    )
    if not len(joined.users):
        raise ValueError(
            f"{found.file}: no row belongs to a pre-training row. Use files of one release"
        )
    return joined


def joined_labels(joined: Joined) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and counts of a task with one label per row, in file order."""
    return label_arrays(joined.users, joined.tail_values)


def joined_targets(joined: Joined) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and counts of a task with targets, the rows of a user merged."""
    target_ids, targets = np.unique(joined.tail_values, return_inverse=True)
    owners = np.repeat(joined.users, joined.tail_lengths)
    arrays, counts = target_arrays(owners, targets, target_ids)
    counts |= {
        "merged_rows": len(joined.users) - counts["rows"],
        "repeated_targets": len(targets) - counts["pairs"],
    }
    return arrays, counts


@command
def main(argv: list[str] | None = None) -> None:
    """Write one folder of the array store from a raw file."""
    parser = command_line.parser("ingest", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    behaviours = commands.add_parser("behaviours", help="users and their items")
    task = commands.add_parser("task", help="examples of a task, named as the folder that it gets")
    task.add_argument("--source", required=True, help="which raw file it reads, e.g. age")
    task.add_argument("--behaviours", type=Path, required=True, help="folder of its users")
    for one in (behaviours, task):
        one.add_argument("--format", required=True, choices=format_names(), help="of raw files")
        one.add_argument("--raw", type=Path, required=True, help="folder or zip of the raw files")
        one.add_argument("--out", type=Path, required=True, help="folder to write")
        one.add_argument("--max-bad-rows", type=int, default=0, help="lines that may be skipped")
        one.add_argument("--sha256", default="{}", help="JSON: raw file name -> expected SHA-256")
    args = parser.parse_args(argv)
    allowed = args.max_bad_rows, string_mapping("--sha256", args.sha256)
    if args.what == "task":
        write_task(args.raw, args.format, args.source, args.behaviours, args.out, *allowed)
    else:
        write_behaviours(args.raw, args.format, args.out, *allowed)
