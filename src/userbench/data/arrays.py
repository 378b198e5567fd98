"""Folders of arrays: what a corpus and its splits are on disk.

STORE/behaviours/
    items.npy      int32 (interactions,)  item index 1..n_items, each user's oldest first
    offsets.npy    int64 (users + 1,)     user u holds items[offsets[u] : offsets[u + 1]]
    item_ids.npy   int64 (n_items + 1,)   raw id of each item index; [0] = 0 is padding
STORE/tasks/<task>/
    users.npy labels.npy classes.npy, or users.npy targets.npy target_offsets.npy target_ids.npy
    parts.npy      uint8 (examples,)      where the task brings its parts: they are not drawn
    seen.npy seen_offsets.npy             where a row's earlier items are no candidates: row r has
                                          seen[seen_offsets[r] : seen_offsets[r + 1]]
SPLITS/users/
    parts.npy      uint8 (users,)         part of each user in pre-training
SPLITS/tasks/<task>/
    parts.npy      uint8 (examples,)      part of each example of the task

Each folder also holds

    checksums.json  checksums of its arrays, and what else their meaning depends on. It is equal for
                    equal content, wherever, whenever and from whichever file that was made. What
                    reads the arrays depends on this file alone
    manifest.json   how the arrays were made: counts, settings, raw file, code, machine

A user is a row of the pre-training file; a task row belongs to the user with the same sequence. An
example is a row of a label task or a (user, target) pair.
"""

import errno
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Int

from userbench.errors import check_readable
from userbench.results.artifact import (
    CHECKSUMS,
    MANIFEST,
    again,
    atomic,
    environment,
    fingerprint,
    read_bytes,
    sha256,
    write_json,
)

PARTS_FILE = "parts.npy"
SEEN_FILE, SEEN_OFFSETS_FILE = "seen.npy", "seen_offsets.npy"


def behaviours_folder(store: Path) -> Path:
    """The folder of a store with its users and their items."""
    return store / "behaviours"


def examples_folder(store: Path, task: str) -> Path:
    """The folder of a store with the examples of a task."""
    check_task_name(task)
    return store / "tasks" / task


def user_split_folder(splits: Path) -> Path:
    """The folder of splits with the part of each user in pre-training."""
    return splits / "users"


def task_split_folder(splits: Path, task: str) -> Path:
    """The folder of splits with the part of each example of a task."""
    check_task_name(task)
    return splits / "tasks" / task


def write_arrays(
    out: Path,
    arrays: dict[str, np.ndarray],
    meaning: dict[str, Any],
    manifest: dict[str, Any],
    inputs: Iterable[Path] = (),
    texts: Mapping[str, str | bytes] | None = None,
    started: float = 0.0,
) -> None:
    """Write a folder of arrays atomically.

    `meaning` is added to checksums.json. manifest.json gets `manifest`, the folders that the arrays
    were made of (`inputs`, by their path from `out`) and the seconds since `started`. `texts` are
    further files, by name.
    """
    with atomic(out) as folder:
        folder.mkdir()
        for name, array in arrays.items():
            save_array(folder / name, array)
        for name, text in (texts or {}).items():
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        write_json(folder / CHECKSUMS, {**meaning, "arrays": describe_arrays(folder)})
        recorded = {
            **manifest,
            "checksums": sha256(folder / CHECKSUMS),
            "inputs": {os.path.relpath(path, out): identity(path) for path in inputs},
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_gib": round(peak_memory() / 2**30, 3),
            **environment(),
        }
        write_json(folder / MANIFEST, recorded)


def check_task_name(task: str) -> None:
    """ValueError unless the name can be that of a folder, and leads to no other."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", task):
        raise ValueError(f"{task!r} cannot name a task. Use letters, digits, '_' and '-'")


def check_out(out: Path) -> None:
    """ValueError when writing to `out` would replace something that is not an earlier result."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_result(out)):
        raise ValueError(
            f"{out}: exists and is not an earlier result of this version. Delete it, or name "
            "another folder"
        )


def is_result(folder: Path) -> bool:
    """Whether a folder was written by a command of this package."""
    manifest = folder / MANIFEST
    return manifest.is_file() and '"checksums"' in manifest.read_text(encoding="utf-8")


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Why not the file itself: the error that NumPy then raises lacks the system's reason.
        np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)


def map_array(path: Path) -> np.ndarray:
    """An array of a file, mapped, or read where the file system maps no files; nothing pickled."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as problem:
        if problem.errno != errno.ENODEV:  # of some file systems in user space
            raise
        return np.load(path, allow_pickle=False)


def describe_arrays(folder: Path) -> dict[str, Any]:
    """Shape, type and checksum of every array of a folder, and the checksum of every table."""
    described = {p.name: {"sha256": sha256(p)} for p in sorted(folder.glob("*.parquet"))}
    for path in sorted(folder.rglob("*.npy")):
        array = map_array(path)
        described[path.relative_to(folder).as_posix()] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": sha256(path),
        }
    return described


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    # Why not psutil: it knows the size now, not the largest one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_checksums(folder: Path) -> dict[str, Any]:
    """The checksums.json of a folder of arrays; ValueError when it is missing or damaged."""
    return read_object(folder, CHECKSUMS, "arrays")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest.json of a folder of arrays; ValueError when it is missing or damaged."""
    return read_object(folder, MANIFEST, "counts")


def read_object(folder: Path, name: str, needed: str) -> dict[str, Any]:
    """A JSON object in a folder of arrays; ValueError unless it has the needed key."""
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{path}: does not exist. Run the command that writes {folder}")
    try:
        content = json.loads(read_bytes(path))
        if not isinstance(content, dict) or needed not in content:
            raise ValueError(f"{needed} is missing")
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}). {remedy(folder)}") from error
    return content


def remedy(folder: Path) -> str:
    """How to make a folder of arrays again, with the command where its manifest can be read."""
    try:
        return again(folder, json.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError, TypeError):
        return again(folder, {})


def read_array(folder: Path, name: str) -> np.ndarray:
    """Read one array of a folder by its name in checksums.json, e.g. `items.npy`.

    Raises:
        ValueError: it is not listed there, or the file has another checksum.
    """
    expected = read_checksums(folder)["arrays"].get(name)
    path = folder / name
    if expected is None:
        raise ValueError(f"{path}: not in {CHECKSUMS}. {remedy(folder)}")
    if not path.is_file() or sha256(path) != expected["sha256"]:
        raise ValueError(f"{path}: missing or not as written. {remedy(folder)}")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        check_readable(path, error)
        raise ValueError(f"{path}: not an array ({error}). {remedy(folder)}") from None


def identity(folder: Path) -> str:
    """Checksum of a folder of arrays: equal for equal arrays."""
    read_checksums(folder)
    return fingerprint(folder)


def example_users(examples: Path) -> Int[np.ndarray, " examples"]:
    """User of each example of a task; `examples` is the folder of the task in the store."""
    users = read_array(examples, "users.npy")
    if "target_offsets.npy" in read_checksums(examples)["arrays"]:
        return np.repeat(users, np.diff(read_array(examples, "target_offsets.npy")))
    return users
