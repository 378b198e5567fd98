"""What the examples of a task, or the users of a corpus, are too few for: known from the splits.

A task that cannot be scored is no error: its cells stay empty, with the reason, and other tasks
are scored.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from userbench.data import arrays
from userbench.data.arrays import PARTS_FILE, SEEN_OFFSETS_FILE, read_array, read_checksums

PARTS = ("train", "validation", "test")
LEFT_OUT = len(PARTS)
"""The part of an example that is neither trained on nor scored."""
LEAST_USERS = 2  # of a batch: the negatives of one user are the others


class TaskParts(NamedTuple):
    """The part of each example of a task, and what that leaves to be scored."""

    parts: UInt8[np.ndarray, " examples"]
    """LEFT_OUT for (user, target) pairs without a rival."""
    without_rival: dict[str, int]
    """How many of these there are, by part; only parts with some."""
    limit: str
    """Why the task cannot be scored; empty where it can."""


def described(parts: TaskParts) -> dict[str, Any]:
    """The facts of a score file on the limits of its task; none where it has none."""
    facts = {"limit": parts.limit, "without_rival": parts.without_rival}
    return {name: value for name, value in facts.items() if value}


def check_users(parts: UInt8[np.ndarray, " users"], remedy: str) -> None:
    """ValueError for fewer than two users to pre-train on, or to validate on."""
    for name, part in (("training", 0), ("validation", 1)):
        count = int((parts == part).sum())
        if count < LEAST_USERS:
            raise ValueError(
                f"pre-training: of {len(parts)} users {count} are left for {name}, and "
                f"{LEAST_USERS} are needed: a user's negatives are the others. {remedy}"
            )


def check_behaviours(behaviours: Path) -> None:
    """ValueError for users of whom nothing can be predicted: of one item, or of one behaviour."""
    ids = read_array(behaviours, "item_ids.npy")
    if len(ids) < 3:  # the first is padding
        raise ValueError(
            f"{behaviours}: its only item is {ids[-1]}, and two are needed. Use more data"
        )
    lengths = np.diff(read_array(behaviours, "offsets.npy"))
    if lengths.max() < 2:
        raise ValueError(
            f"{behaviours}: each of its {len(lengths):,} users has one behaviour, from which no "
            "other can be predicted. Use more data"
        )


def check_classes(kind: str, n_classes: int) -> None:
    """ValueError for a binary task whose data have not two classes."""
    if kind == "binary" and n_classes != 2:
        raise ValueError(
            f"a binary task needs 2 classes, the data has {n_classes}. Write kind: classification"
        )


def task_parts(store: Path, splits: Path, task: str, kind: str, known_targets: str) -> TaskParts:
    """`usable_parts` of a task, by the part of each example in its split."""
    parts = read_array(arrays.task_split_folder(splits, task), PARTS_FILE)
    return usable_parts(arrays.examples_folder(store, task), parts, kind, known_targets)


def usable_parts(
    examples: Path, parts: UInt8[np.ndarray, " examples"], kind: str, known_targets: str
) -> TaskParts:
    """The parts of the examples in a folder of the store, without pairs that nothing rivals.

    A binary task needs both classes to validate and to test, as its metric is the AUC.
    """
    if kind != "top_n":
        return TaskParts(parts, {}, limit_of_labels(examples, parts, kind))
    alone = without_rival(examples, parts, known_targets)
    left = np.where(alone, np.uint8(LEFT_OUT), parts)
    counts = np.bincount(parts[alone], minlength=len(PARTS)).tolist()
    named = {name: count for name, count in zip(PARTS, counts, strict=True) if count}
    return TaskParts(left, named, limit_of_targets(examples, parts, left))


def limit_of_labels(examples: Path, parts: UInt8[np.ndarray, " examples"], kind: str) -> str:
    """Why a task with classes cannot be scored; empty where it can.

    Raises:
        ValueError: a binary task has more than two classes.
    """
    counts, names = class_counts(examples, parts), class_names(examples)
    if empty := empty_part(parts):
        return empty
    if len(names) == 1:
        return f"all {len(parts):,} examples are of class {names[0]}, and a task needs two classes"
    check_classes(kind, len(names))
    for part, own in zip(PARTS, counts, strict=True):
        if (own > 0).sum() == 1 and (part == "train" or kind == "binary"):
            only = int(own.argmax())
            examples_of = (
                f"{own[only]:,} example{'s' if own[only] > 1 else ''} of class {names[only]}"
            )
            what = f"{part} has {examples_of} and none of another"
            return what if part == "train" else f"{what}, so that there is no AUC"
    return ""


def absent_classes(examples: Path, parts: UInt8[np.ndarray, " examples"]) -> Iterator[str]:
    """A text on each class of which a part has no example."""
    for name, own in zip(class_names(examples), class_counts(examples, parts).T, strict=True):
        if lacking := [part for part, count in zip(PARTS, own, strict=True) if not count]:
            yield f"of class {name}, {own.sum():,} examples, none is in {' or '.join(lacking)}"


def limit_of_targets(
    examples: Path, parts: UInt8[np.ndarray, " examples"], left: UInt8[np.ndarray, " examples"]
) -> str:
    """Why a task with targets cannot be scored; empty where it can. `left` are its usable parts."""
    candidates = len(read_array(examples, "target_ids.npy"))
    if candidates < 2:
        return f"it has {candidates} candidate, so that every target ranks first"
    if empty := empty_part(parts):
        return empty
    for number, part in enumerate(PARTS):
        if not (left == number).any():
            return (
                f"in {part}, all {(parts == number).sum():,} pairs are of users for whom no other "
                f"of the {candidates} candidates is left"
            )
    return ""


def without_rival(
    examples: Path, parts: UInt8[np.ndarray, " examples"], known_targets: str
) -> Bool[np.ndarray, " examples"]:
    """The (user, target) pairs beside which no candidate is left: they would always rank first.

    Neither known positives of the user, `known_targets` as in `Task`, nor seen ones are left.
    """
    n_candidates = len(read_array(examples, "target_ids.npy"))
    lengths = np.diff(read_array(examples, "target_offsets.npy"))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = rows * len(PARTS) + parts
    by_part = np.bincount(places, minlength=len(lengths) * len(PARTS)).reshape(-1, len(PARTS))
    last = {"all": np.full_like(parts, 2), "train": np.zeros_like(parts)}.get(known_targets, parts)
    known = by_part.cumsum(1)[rows, last] + (parts > last)  # the target itself, too
    if SEEN_OFFSETS_FILE in read_checksums(examples)["arrays"]:
        known += np.diff(read_array(examples, SEEN_OFFSETS_FILE))[rows]
    return known >= n_candidates


def empty_part(parts: UInt8[np.ndarray, " examples"]) -> str:
    """Which part has no example; empty where each has some."""
    counts = np.bincount(parts, minlength=len(PARTS)).tolist()
    empty = [part for part, count in zip(PARTS, counts, strict=True) if not count]
    return f"{' and '.join(empty)} has none of the {len(parts):,} examples" if empty else ""


def class_counts(
    examples: Path, parts: UInt8[np.ndarray, " examples"]
) -> Int[np.ndarray, "parts classes"]:
    """The number of examples of each class in each part."""
    labels, n_classes = read_array(examples, "labels.npy"), len(read_array(examples, "classes.npy"))
    places = parts.astype(np.int64) * n_classes + labels
    return np.bincount(places, minlength=len(PARTS) * n_classes).reshape(len(PARTS), n_classes)


def class_names(examples: Path) -> list[str]:
    """The classes as the raw file names them."""
    texts = examples / "classes.parquet"
    if texts.exists():
        import pyarrow.parquet as pq  # Why here: pre-training, without classes, needs no pyarrow

        return [repr(text) for text in pq.read_table(texts)["id"].to_pylist()]
    return [str(value) for value in read_array(examples, "classes.npy").tolist()]
