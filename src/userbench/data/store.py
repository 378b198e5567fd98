"""The array store: a corpus as flat arrays, written once from raw files, read straight to a device.

    items.npy      int32 (interactions,)  item index 1..n_items, each user's oldest first
    offsets.npy    int64 (users + 1,)     user u holds items[offsets[u] : offsets[u + 1]]
    item_ids.npy   int64 (n_items + 1,)   raw id of each item index; [0] = 0 is padding
    tasks/<task>/  users.npy labels.npy classes.npy, or
                   users.npy targets.npy target_offsets.npy target_ids.npy
    manifest.json  counts, settings, checksums of the raw files and of every array
    bad_rows.tsv   lines that were left out and why; only if there are any

A user is a row of the pre-training file; a task row belongs to the user with the same sequence.
"""

import argparse
import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32, Int64, UInt64
from torch import Tensor

from userbench.artifact import (
    again,
    atomic,
    environment,
    fingerprint,
    sha256,
    write_json,
    write_text,
)
from userbench.data import raw
from userbench.mistakes import command

# Why: bounds temporaries that would be several times larger than the corpus.
USERS_AT_ONCE = 1 << 16
ITEMS_AT_ONCE = 1 << 22
# Why: a GPU is kept waiting by shapes that it has to tell the host, and wants few different ones.
# Two parts, because lengths of TTL are such that more of them would hardly save padding.
PARTS = 2
LENGTH_RUNG = 16
BEHAVIOURS_RUNG = 1024


class Corpus(NamedTuple):
    """Pre-training rows as flat arrays of raw ids, and their hashes in ascending order."""

    items: Int32[np.ndarray, " interactions"]
    offsets: Int64[np.ndarray, " bounds"]
    hashes: UInt64[np.ndarray, " users"]
    users: Int64[np.ndarray, " users"]  # user of each hash; ascending among equal hashes


class Joined(NamedTuple):
    """Rows of a task file with the user each belongs to."""

    users: Int64[np.ndarray, " rows"]
    tail_values: Int32[np.ndarray, " tails"]
    tail_lengths: Int64[np.ndarray, " rows"]


# ---------------------------------------------------------------- raw files -> arrays


def write_store(
    raw_path: Path,
    format: str,
    sources: dict[str, str],
    out: Path,
    max_bad_rows: int = 0,
    checksums: dict[str, str] | None = None,
) -> None:
    """Write the array store of a corpus; `sources` maps the name of each task to its raw source.

    `checksums` holds the expected SHA-256 of raw files by name. ValueError, and nothing written,
    for any fault of the raw files beyond `max_bad_rows` bad lines.
    """
    start = time.perf_counter()
    checksums = checksums or {}
    check_request(format, sources, out, max_bad_rows, checksums)
    files = {
        source: raw.find_file(raw_path, format, source)
        for source in ["pretrain", *dict.fromkeys(sources.values())]
    }
    bad = raw.BadRows(max_bad_rows)
    corpus = read_corpus(files["pretrain"], bad, checksums)
    first = first_user(corpus)
    is_duplicated = np.zeros(len(first), bool)
    is_duplicated[first[first != np.arange(len(first))]] = True

    arrays, task_counts = {}, {}
    for task, source in sources.items():
        joined = read_task(files[source], corpus, bad, checksums)
        to_arrays = label_arrays if files[source].source.tail == "label" else target_arrays
        task_arrays, counts = to_arrays(joined)
        arrays |= {f"tasks/{task}/{name}.npy": array for name, array in task_arrays.items()}
        task_counts[task] = {
            **counts,
            "users_with_several_rows": int((np.bincount(joined.users) > 1).sum()),
            "ambiguous_joins": int(is_duplicated[joined.users].sum()),
        }
    item_ids = np.concatenate([[0], np.unique(corpus.items)])
    counts = {**corpus_counts(corpus, first), "items": len(item_ids) - 1, "tasks": task_counts}
    arrays |= {
        "items.npy": renumbered(corpus.items, item_ids),
        "offsets.npy": corpus.offsets,
        "item_ids.npy": item_ids,
    }

    with atomic(out) as folder:
        for name, array in arrays.items():
            save_array(folder / name, array)
        if bad.rows:
            lines = ["\t".join(map(str, row)) for row in [raw.BadRow._fields, *bad.rows]]
            write_text(folder / "bad_rows.tsv", "\n".join(lines) + "\n")
        manifest = {
            "format": format,
            "sources": sources,
            "max_bad_rows": max_bad_rows,
            "bad_rows": len(bad.rows),
            "counts": counts,
            "raw": {source: file.described() for source, file in files.items()},
            "arrays": describe_arrays(folder),
            "seconds": round(time.perf_counter() - start, 3),
            "peak_memory_gib": round(peak_memory() / 2**30, 3),
            **environment(),
        }
        write_json(folder / "manifest.json", manifest)


def check_request(
    format: str,
    sources: dict[str, str],
    out: Path,
    max_bad_rows: int,
    checksums: dict[str, str],
) -> None:
    """ValueError for what can be known to be wrong before any file is read."""
    if max_bad_rows < 0:
        raise ValueError(f"{max_bad_rows} bad rows cannot be allowed. Give 0 or more")
    for task, source in sources.items():
        check_task_name(task)
        if raw.find_source(format, source).tail == "none":
            raise ValueError(f"task {task!r}: source {source!r} has no labels or targets")
    known = raw.FORMATS[format].values()
    for name in checksums:
        if not any(raw.is_named_after(source, name) for source in known):
            stems = ", ".join(f"{source.stem}.csv" for source in known)
            raise ValueError(f"checksum given for unknown file {name!r}. Known files: {stems}")
    check_out(out)


def check_task_name(task: str) -> None:
    """ValueError unless the name can be a folder, and a file beside `pretrain.npy`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", task) or task in ("pretrain", "manifest"):
        raise ValueError(f"{task!r} cannot name a task. Use letters, digits, '_' and '-'")


def check_out(out: Path) -> None:
    """ValueError when writing to `out` would replace something that is not an earlier result."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_result(out)):
        raise ValueError(f"{out}: exists and is not an earlier result. Name another folder")


def is_result(folder: Path) -> bool:
    """Whether a folder was written by a command of this package."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and '"arrays"' in manifest.read_text(encoding="utf-8")


def read_corpus(file: raw.RawFile, bad: raw.BadRows, checksums: dict[str, str]) -> Corpus:
    """Read the pre-training file; ValueError when no good row is left."""
    items, lengths, hashes = [], [], []
    for rows in reported_rows(file, bad, checksums):
        items.append(rows.items)
        lengths.append(np.diff(rows.offsets))
        hashes.append(hash_rows(rows.items, rows.offsets))
    offsets = raw.offsets_of(np.concatenate(lengths))
    hashed = np.concatenate(hashes)
    users = np.argsort(hashed, kind="stable")
    return Corpus(np.concatenate(items), offsets, hashed[users], users)


def reported_rows(
    file: raw.RawFile, bad: raw.BadRows, checksums: dict[str, str]
) -> Iterator[raw.Rows]:
    """Rows of a file, with a line of progress at its end; ValueError for a wrong checksum."""
    start, n_rows = time.perf_counter(), 0
    for rows in raw.read_rows(file, bad):
        n_rows += len(rows.lines)
        yield rows
    for name, expected in checksums.items():
        if raw.is_named_after(file.source, name) and file.sha256 != expected.lower():
            raise ValueError(
                f"{file}: SHA-256 is {file.sha256}, expected {expected}. Fetch the file again"
            )
    if not n_rows:
        raise ValueError(f"{file}: no good line. Fetch the file again")
    seconds = time.perf_counter() - start
    print(f"{file.name}: {n_rows:,} rows in {seconds:.1f} s", file=sys.stderr, flush=True)


def corpus_counts(corpus: Corpus, first: Int64[np.ndarray, " users"]) -> dict[str, Any]:
    """Statistics of the pre-training rows; `first` is the result of `first_user`."""
    lengths = np.diff(corpus.offsets)
    n_distinct = int((first == np.arange(len(first))).sum())
    return {
        "users": len(lengths),
        "interactions": len(corpus.items),
        "mean_length": float(lengths.mean()),
        "median_length": float(np.median(lengths)),
        "max_length": int(lengths.max()),
        "share_of_max_length": float((lengths == lengths.max()).mean()),
        "duplicate_users": len(first) - n_distinct,
        "hash_collisions": n_distinct - len(np.unique(corpus.hashes)),
    }


def renumbered(
    items: Int32[np.ndarray, " interactions"], item_ids: Int64[np.ndarray, " ids"]
) -> Int32[np.ndarray, " interactions"]:
    """Index of each raw id among the ascending `item_ids`, whose first is the padding's 0."""
    indices = np.empty_like(items)
    for begin in range(0, len(items), ITEMS_AT_ONCE):
        some = slice(begin, begin + ITEMS_AT_ONCE)
        indices[some] = np.searchsorted(item_ids, items[some])
    return indices


def read_task(
    file: raw.RawFile, corpus: Corpus, bad: raw.BadRows, checksums: dict[str, str]
) -> Joined:
    """Read a task file and join it to the users; rows of no user are bad rows."""
    users, tail_values, tail_lengths = [], [], []
    for rows in reported_rows(file, bad, checksums):
        found = find_users(corpus, rows.items, rows.offsets)
        for line in rows.lines[found < 0].tolist():
            reason = "sequence not among the pre-training rows. Use files of one release"
            bad.add(str(file), line, reason)
        lengths = np.diff(rows.tail_offsets)
        users.append(found[found >= 0])
        tail_values.append(rows.tail_values[np.repeat(found >= 0, lengths)])
        tail_lengths.append(lengths[found >= 0])
    joined = Joined(
        np.concatenate(users), np.concatenate(tail_values), np.concatenate(tail_lengths)
    )
    if not len(joined.users):
        raise ValueError(f"{file}: no row belongs to a pre-training row. Use files of one release")
    return joined


def label_arrays(joined: Joined) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and counts of a task with one label per row, in file order."""
    classes, labels = np.unique(joined.tail_values, return_inverse=True)
    arrays = {
        "users": joined.users.astype(np.int32),
        "labels": labels.astype(np.int64),
        "classes": classes.astype(np.int64),
    }
    by_class = dict(zip(map(str, classes.tolist()), np.bincount(labels).tolist(), strict=True))
    return arrays, {"rows": len(labels), "classes": by_class}


def target_arrays(joined: Joined) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and counts of a task with targets: one row per user, its targets distinct, sorted.

    Why: evaluation masks all targets of a user, so they have to be found in one place.
    """
    target_ids, targets = np.unique(joined.tail_values, return_inverse=True)
    owners = np.repeat(joined.users, joined.tail_lengths)
    pairs = np.unique(owners * len(target_ids) + targets)
    owners, kept = np.divmod(pairs, len(target_ids))
    users, lengths = np.unique(owners, return_counts=True)
    arrays = {
        "users": users.astype(np.int32),
        "targets": kept.astype(np.int32),
        "target_offsets": raw.offsets_of(lengths),
        "target_ids": target_ids.astype(np.int64),
    }
    counts = {
        "rows": len(users),
        "pairs": len(pairs),
        "candidates": len(target_ids),
        "merged_rows": len(joined.users) - len(users),
        "repeated_targets": len(targets) - len(pairs),
    }
    return arrays, counts


def hash_rows(
    items: Int32[np.ndarray, " interactions"], offsets: Int64[np.ndarray, " bounds"]
) -> UInt64[np.ndarray, " rows"]:
    """64-bit hash of each row: the sum of its (position, item) pairs, mixed by splitmix64.

    Constants: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    positions = np.arange(len(items)) - np.repeat(offsets[:-1], np.diff(offsets))
    mixed = (positions.astype(np.uint64) << np.uint64(32)) | items.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.add.reduceat(mixed, offsets[:-1])


def first_user(corpus: Corpus) -> Int64[np.ndarray, " users"]:
    """The first user with the same sequence as each user: itself, unless it is a duplicate."""
    first, begin = [], 0
    while begin < len(corpus.users):
        full = np.searchsorted(corpus.offsets, corpus.offsets[begin] + ITEMS_AT_ONCE) - 1
        end = max(begin + 1, min(begin + USERS_AT_ONCE, int(full)))
        bounds = corpus.offsets[begin : end + 1]
        items = corpus.items[bounds[0] : bounds[-1]]
        first.append(find_users(corpus, items, bounds - bounds[0]))
        begin = end
    return np.concatenate(first)


def find_users(
    corpus: Corpus,
    items: Int32[np.ndarray, " interactions"],
    offsets: Int64[np.ndarray, " bounds"],
) -> Int64[np.ndarray, " rows"]:
    """The first user with exactly each row's sequence; -1 where there is none."""
    hashes = hash_rows(items, offsets)
    places = np.searchsorted(corpus.hashes, hashes)
    found = np.full(len(hashes), -1)
    rows = np.arange(len(hashes))
    # Why a loop: users of equal hash are tried one by one. A collision costs a turn, no error.
    while len(rows):
        rows = rows[places[rows] < len(corpus.hashes)]
        rows = rows[corpus.hashes[places[rows]] == hashes[rows]]
        users = corpus.users[places[rows]]
        same = same_sequence(corpus, users, items, offsets, rows)
        found[rows[same]] = users[same]
        rows = rows[~same]
        places[rows] += 1
    return found


def same_sequence(
    corpus: Corpus,
    users: Int64[np.ndarray, " pairs"],
    items: Int32[np.ndarray, " interactions"],
    offsets: Int64[np.ndarray, " bounds"],
    rows: Int64[np.ndarray, " pairs"],
) -> Bool[np.ndarray, " pairs"]:
    """Whether each of these users has the same sequence as the row beside it."""
    lengths = offsets[rows + 1] - offsets[rows]
    same = corpus.offsets[users + 1] - corpus.offsets[users] == lengths
    starts, own, lengths = offsets[rows[same]], corpus.offsets[users[same]], lengths[same]
    if len(lengths):
        bounds = raw.offsets_of(lengths)
        steps = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        equal = (
            items[np.repeat(starts, lengths) + steps]
            == corpus.items[np.repeat(own, lengths) + steps]
        )
        same[same] = np.logical_and.reduceat(equal, bounds[:-1])
    return same


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Why not the file itself: what NumPy then raises does not say why it could not write.
        np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)


def describe_arrays(folder: Path) -> dict[str, Any]:
    """Shape, type and checksum of every array of a folder."""
    described = {}
    for path in sorted(folder.rglob("*.npy")):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        described[path.relative_to(folder).as_posix()] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": sha256(path),
        }
    return described


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# ---------------------------------------------------------------- arrays -> device


class Bounds(NamedTuple):
    """What the host knows of a batch without asking the device, rounded up to few values."""

    users: int
    longest: tuple[int, ...]
    """The longest sequence of each of `PARTS` equal parts of the users, in ascending order."""
    behaviours: int
    """Of all users together."""


class Batch(NamedTuple):
    """Some users and their items, oldest first, right-padded with 0."""

    users: Int[Tensor, " users"]
    items: Int[Tensor, "users length"]
    bounds: Bounds | None = None
    """None: shapes that depend on the data are asked of the device."""

    def at_most(self, ratio: float) -> int | None:
        """A bound of the sum over users of ceil(ratio * n), where there are bounds."""
        if self.bounds is None:
            return None
        return self.bounds.behaviours * round(ratio * 1000) // 1000 + self.bounds.users


@dataclass(frozen=True)
class BehaviourStore:
    """Every user's most recent `max_length` items as flat tensors on one device."""

    items: Int[Tensor, " interactions"]  # item index 1..n_items
    offsets: Int[Tensor, " bounds"]
    lengths: Int[Tensor, " users"]
    n_items: int
    max_length: int

    @classmethod
    def open(cls, folder: Path, max_length: int, device: str | torch.device) -> "BehaviourStore":
        """Load a store to a device; ValueError when a file is not as the manifest says."""
        items, offsets = read_array(folder, "items.npy"), read_array(folder, "offsets.npy")
        lengths = np.diff(offsets)
        if lengths.max() > max_length:
            from_end = np.repeat(offsets[1:], lengths) - np.arange(len(items))
            items = items[from_end <= max_length]
            lengths = np.minimum(lengths, max_length)
            offsets = raw.offsets_of(lengths)
        return cls(
            items=torch.from_numpy(items).to(device),
            offsets=torch.from_numpy(offsets).to(device),
            lengths=torch.from_numpy(lengths).to(device),
            n_items=read_manifest(folder)["counts"]["items"],
            max_length=max_length,
        )

    @property
    def n_users(self) -> int:
        """Number of users, duplicates included."""
        return len(self.lengths)

    def behaviours(self, users: Int[Tensor, " users"]) -> Int[Tensor, " behaviours"]:
        """Items of these users, one after another."""
        owned = torch.zeros(self.n_users, dtype=torch.bool, device=users.device)
        owned[users] = True
        return self.items[owned.repeat_interleave(self.lengths)]

    def hashes(self) -> UInt64[np.ndarray, " users"]:
        """Of every user the hash of her items (`hash_rows`): equal sequences have equal ones."""
        items, offsets = self.items.cpu().numpy(), self.offsets.cpu().numpy()
        found = []
        for begin in range(0, self.n_users, USERS_AT_ONCE):
            bounds = offsets[begin : begin + USERS_AT_ONCE + 1]
            found.append(hash_rows(items[bounds[0] : bounds[-1]], bounds - bounds[0]))
        return np.concatenate(found)

    @cached_property
    def lengths_on_host(self) -> Int[Tensor, " users"]:
        """The lengths, where asking for one does not wait for the device."""
        return self.lengths.cpu()

    @cached_property
    def longest(self) -> int:
        """Length of the longest sequence."""
        return int(self.lengths_on_host.max())

    def bounds(self, users: Int[Tensor, " users"]) -> Bounds:
        """Bounds of a batch of these users, who are given on the host."""
        lengths = self.lengths_on_host[users].sort().values
        last = [-(-len(users) * (part + 1) // PARTS) - 1 for part in range(PARTS)]
        longest = [min(round_up(n, LENGTH_RUNG), self.longest) for n in lengths[last].tolist()]
        behaviours = round_up(int(lengths.sum()), BEHAVIOURS_RUNG)
        return Bounds(len(users), tuple(longest), behaviours)

    def batch(self, users: Int[Tensor, " users"]) -> Batch:
        """Items of these users, cut to the longest of them.

        Only on a CPU is that asked of the device. A GPU is not waited for: of users given on the
        host the bounds are known, others are padded to the longest sequence of the corpus.
        """
        if users.device != self.lengths.device:
            return self.bounded_batch(users)
        width = self.longest if users.is_cuda else int(self.lengths[users].max())
        return Batch(users, self.padded(users, width))

    def bounded_batch(self, users: Int[Tensor, " users"]) -> Batch:
        """Items of these users, who are given on the host, in a shape of which there are few."""
        bounds = self.bounds(users)
        users = users.to(self.lengths.device, non_blocking=True)
        return Batch(users, self.padded(users, bounds.longest[-1]), bounds)

    def padded(self, users: Int[Tensor, " users"], width: int) -> Int[Tensor, "users {width}"]:
        """Items of these users, cut or padded to `width`."""
        positions = torch.arange(width, device=users.device)
        is_item = positions < self.lengths[users][:, None]
        places = (self.offsets[users][:, None] + positions) * is_item
        return self.items[places].long() * is_item


def round_up(number: int, rung: int) -> int:
    """The next multiple of `rung`."""
    return -(-number // rung) * rung


class LabelledExamples(NamedTuple):
    """A whole classification task: each row's user and class."""

    users: Int[Tensor, " examples"]
    labels: Int[Tensor, " examples"]
    n_classes: int


class TargetExamples(NamedTuple):
    """A whole recommendation task: one example per (user, target) pair.

    All targets of the user in row r: known_targets[known_offsets[r] : known_offsets[r + 1]].
    """

    users: Int[Tensor, " examples"]
    targets: Int[Tensor, " examples"]  # 0..n_candidates - 1
    rows: Int[Tensor, " examples"]
    n_candidates: int
    known_targets: Int[Tensor, " examples"]
    known_offsets: Int[Tensor, " bounds"]


def load_labels(folder: Path, task: str, device: str | torch.device) -> LabelledExamples:
    """Load a classification task; ValueError when a file is not as the manifest says."""
    users = read_array(folder, f"tasks/{task}/users.npy")
    labels = read_array(folder, f"tasks/{task}/labels.npy")
    n_classes = len(read_array(folder, f"tasks/{task}/classes.npy"))
    return LabelledExamples(
        torch.from_numpy(users).long().to(device), torch.from_numpy(labels).to(device), n_classes
    )


def load_targets(folder: Path, task: str, device: str | torch.device) -> TargetExamples:
    """Load a recommendation task; ValueError when a file is not as the manifest says."""
    users = torch.from_numpy(read_array(folder, f"tasks/{task}/users.npy")).long()
    targets = torch.from_numpy(read_array(folder, f"tasks/{task}/targets.npy")).long().to(device)
    offsets = torch.from_numpy(read_array(folder, f"tasks/{task}/target_offsets.npy"))
    rows = torch.repeat_interleave(torch.arange(len(users)), offsets.diff())
    return TargetExamples(
        users=users[rows].to(device),
        targets=targets,
        rows=rows.to(device),
        n_candidates=len(read_array(folder, f"tasks/{task}/target_ids.npy")),
        known_targets=targets,
        known_offsets=offsets.to(device),
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a store or of splits; ValueError when there is none."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{path}: does not exist. Run the command that writes {folder}")
    try:
        manifest = json.loads(path.read_bytes())
        if not {"arrays", "counts"} <= manifest.keys():
            raise ValueError("arrays or counts are missing")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}). {again(folder, {})}") from error
    return manifest


def read_array(folder: Path, name: str) -> np.ndarray:
    """Read one array of a store or of splits by its name in the manifest, e.g. `items.npy`.

    ValueError when the manifest does not know it or the file is not what the manifest says.
    """
    manifest = read_manifest(folder)
    expected = manifest["arrays"].get(name)
    path = folder / name
    if expected is None:
        raise ValueError(f"{path}: not in the manifest. Write {folder} again with this task")
    if not path.is_file() or sha256(path) != expected["sha256"]:
        raise ValueError(f"{path}: missing or not as written. {again(folder, manifest)}")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: is no array ({error}). {again(folder, manifest)}") from None


def check_raw(folder: Path) -> None:
    """ValueError where a raw file that is still there was changed since the store was read from it.

    A file of the same time is taken for the same: raw files are large, and every command asks.
    """
    manifest = read_manifest(folder)
    for told in manifest.get("raw", {}).values():
        path = Path(told.get("path", ""))
        if not path.is_file() or path.stat().st_mtime_ns == told["modified"]:
            continue
        if raw.checksum(path, told["member"]) != told["sha256"]:
            what = f"{path}: changed since {folder} was read from it"
            raise ValueError(f"{what}. {again(folder, manifest)}")


def identity(folder: Path) -> str:
    """Checksum of the content of a store: equal for stores with equal arrays."""
    read_manifest(folder)
    return fingerprint(folder)


def string_mapping(flag: str, text: str) -> dict[str, str]:
    """A JSON object of strings given on the command line; ValueError for anything else."""
    try:
        mapping = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{flag} {text}: not JSON ({error})") from error
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise ValueError(f'{flag} {text}: not a JSON object of strings, like {{"age": "age"}}')
    return mapping


@command
def main(argv: list[str] | None = None) -> None:
    """Write the array store of a corpus from its raw files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", required=True, choices=list(raw.FORMATS))
    parser.add_argument("--raw", type=Path, required=True, help="folder or zip of the raw files")
    parser.add_argument("--sources", required=True, help='JSON: task -> source, {"age": "age"}')
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--max-bad-rows", type=int, default=0, help="bad lines that may be skipped")
    parser.add_argument("--sha256", default="{}", help="JSON: raw file name -> expected SHA-256")
    args = parser.parse_args(argv)
    sources = string_mapping("--sources", args.sources)
    checksums = string_mapping("--sha256", args.sha256)
    write_store(args.raw, args.format, sources, args.out, args.max_bad_rows, checksums)


if __name__ == "__main__":
    main()
