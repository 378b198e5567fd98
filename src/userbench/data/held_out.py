"""Who is left out of pre-training: the users of downstream test splits, or as many others.

Without the test users there are fewer users to learn from, too. The control leaves out as many
others, of training and of validation alike: what differs between both is whether the behaviours of
the test users were seen, and not how many users there were.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, UInt8, UInt64
from torch import Tensor

from userbench.data.arrays import example_users, examples_folder
from userbench.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    load_split,
    load_user_split,
)
from userbench.data.store import BehaviourStore
from userbench.seeds import generator_of

log = logging.getLogger("userbench")

PARTS = {"train": TRAIN, "validation": VALIDATION}


class Parts(NamedTuple):
    """The part of each user in pre-training, TEST of those left out, and how many they are."""

    parts: UInt8[Tensor, " users"]
    counts: dict[str, Any]
    """`tested`: users in a test split; `alike`: others whose behaviours are those of one of them.
    `removed`, `left` and `missing` (wanted, but not there) by part; `tasks`: of each the users with
    test examples, and how many of them have training examples, too. Empty where all take part."""


def pretraining_parts(splits: Path) -> Parts:
    """All users take part."""
    return Parts(load_user_split(splits), {})


def without_test_users(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore
) -> Parts:
    """Without the users in a test split of the tasks, and without those whose behaviours are equal.

    Raises:
        ValueError: fewer than two users are left to train on, or to validate on.
    """
    parts, held, counts = tested_or_alike(store, splits, tasks, behaviours)
    return removed(parts, held, counts, dict.fromkeys(PARTS, 0))


def without_as_many_others(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore, seed: int
) -> Parts:
    """Without as many users as `without_test_users` leaves out, drawn by the seed from the others.

    Where they are too few, all of them are left out, and a warning says so.

    Raises:
        ValueError: fewer than two users are left to train on, or to validate on.
    """
    parts, held, counts = tested_or_alike(store, splits, tasks, behaviours)
    others, missing = torch.zeros_like(held), {}
    for name, part in PARTS.items():
        wanted = int((held & (parts == part)).sum())
        there = (~held & (parts == part)).nonzero().squeeze(1)
        generator = generator_of(seed, "as many others", name)
        others[there[torch.randperm(len(there), generator=generator)[:wanted]]] = True
        missing[name] = max(wanted - len(there), 0)
        if missing[name]:
            log.warning(
                "%d users of %s are to be left out instead of test users, but only %d are in no "
                "test split. All of these are: the two sets of users differ in size",
                wanted,
                name,
                len(there),
            )
    return removed(parts, others, counts, missing)


def removed(
    parts: UInt8[Tensor, " users"],
    held: Bool[Tensor, " users"],
    counts: dict[str, Any],
    missing: dict[str, int],
) -> Parts:
    """The parts without these users, counted."""
    left = parts.masked_fill(held, TEST)
    found = {
        "removed": {n: int((held & (parts == part)).sum()) for n, part in PARTS.items()},
        "left": {n: int((left == part).sum()) for n, part in PARTS.items()},
        "missing": missing,
    }
    for name, number in found["left"].items():
        if number < 2:
            raise ValueError(
                f"--hold-out: {number} users are left of the {name} part of pre-training. Name "
                "fewer tasks, or set test_users: included"
            )
    return Parts(left, {**counts, **found})


def tested_or_alike(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore
) -> tuple[UInt8[Tensor, " users"], Bool[Tensor, " users"], dict[str, Any]]:
    """Parts of all users; who is in a test split, or has the behaviours of such a user; counts.

    Raises:
        ValueError: the splits lack a task.
    """
    tested, of_tasks = np.zeros(behaviours.n_users, bool), {}
    for task in tasks:
        users, split = example_users(examples_folder(store, task)), load_split(splits, task).numpy()
        own = np.unique(users[split == TEST])
        tested[own] = True
        also = int(np.isin(own, users[split == TRAIN]).sum())
        of_tasks[task] = {"test_users": len(own), "also_in_training": also}
    held = alike(behaviours.hashes(), tested)
    counts = {"tested": int(tested.sum()), "alike": int((held & ~tested).sum()), "tasks": of_tasks}
    return load_user_split(splits), torch.from_numpy(held), counts


def alike(
    hashes: UInt64[np.ndarray, " users"], picked: Bool[np.ndarray, " users"]
) -> Bool[np.ndarray, " users"]:
    """The picked users, and all whose sequence is that of one of them.

    By its hash: a collision of 64 bits, hardly ever to be met, would leave out one user too many.
    """
    return np.isin(hashes, hashes[picked])
