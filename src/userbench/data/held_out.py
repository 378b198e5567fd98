"""Users left out of pre-training: those of downstream test splits, or as many others.

Without the test users there are also fewer users to learn from. The control leaves out as many
other users, of training and of validation: the two differ in whether the behaviours of the test
users were seen, not in the number of users.
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
from userbench.data.limits import check_users
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

PART_OF = {"train": TRAIN, "validation": VALIDATION}


class Parts(NamedTuple):
    """The part of each user in pre-training, TEST for users left out; and their numbers."""

    parts: UInt8[Tensor, " users"]
    counts: dict[str, Any]
    """`tested`: users in a test split; `alike`: others with the same behaviours as one of them.
    `removed`, `left` and `missing` (too few to remove) by part; `tasks`: for each, the users with
    test examples, and how many of them also have training examples. Empty where nobody is left
    out."""


def pretraining_parts(splits: Path) -> Parts:
    """The split of all users; ValueError for fewer than two to train on, or to validate on."""
    parts = load_user_split(splits)
    check_users(parts.numpy(), f"{splits} is of too few users: use more data")
    return Parts(parts, {})


def without_test_users(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore
) -> Parts:
    """The split without the users in a test split of the tasks, or with the same behaviours.

    Raises:
        ValueError: fewer than two users are left to train on, or to validate on.
    """
    parts, held, counts = tested_or_alike(store, splits, tasks, behaviours)
    return removed(parts, held, counts, dict.fromkeys(PART_OF, 0))


def without_as_many_others(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore, seed: int
) -> Parts:
    """The split without as many users as `without_test_users` leaves out, drawn from the others.

    Where there are too few others, all of them are left out, with a warning.

    Raises:
        ValueError: fewer than two users are left to train on, or to validate on.
    """
    parts, held, counts = tested_or_alike(store, splits, tasks, behaviours)
    others, missing = torch.zeros_like(held), {}
    for name, part in PART_OF.items():
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
    """The split without these users, and how many of each part these are."""
    left = parts.masked_fill(held, TEST)
    found = {
        "removed": {n: int((held & (parts == part)).sum()) for n, part in PART_OF.items()},
        "left": {n: int((left == part).sum()) for n, part in PART_OF.items()},
        "missing": missing,
    }
    check_users(
        left.numpy(), "Leave out the test users of fewer tasks, or set test_users: included"
    )
    return Parts(left, {**counts, **found})


def tested_or_alike(
    store: Path, splits: Path, tasks: Sequence[str], behaviours: BehaviourStore
) -> tuple[UInt8[Tensor, " users"], Bool[Tensor, " users"], dict[str, Any]]:
    """Parts of all users; which are in a test split, or equal to such a user; and counts.

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
    """The picked users, and all with the same sequence as one of them.

    Sequences are compared by hash: a collision of 64 bits would leave out one user too many.
    """
    return np.isin(hashes, hashes[picked])
