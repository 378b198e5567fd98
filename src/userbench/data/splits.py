"""Which part of an experiment each example belongs to, as one file per task.

`pretrain.npy` holds a part per user (90% train, 10% validation), `<task>.npy` one per example
(60% train, 20% validation, 20% test). An example is a row of a label task or a (user, target) pair.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from userbench.artifact import again, atomic, environment, write_json
from userbench.chance import generator_of
from userbench.data import store
from userbench.mistakes import command

TRAIN, VALIDATION, TEST = 0, 1, 2
PRETRAIN_CUTS = (0.9,)
TASK_CUTS = (0.6, 0.8)  # the paper's 6:2:2


def write_splits(folder: Path, tasks: list[str], by: str, seed: int, out: Path) -> None:
    """Write the splits of a store; ValueError, and nothing written, when it lacks a task.

    `by` "interaction" draws examples, as the paper's code does: one user may be in several parts.
    `by` "user" draws users: all examples of a user are in one part.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is negative. Give 0 or more")
    store.check_out(out)
    store.check_raw(folder)
    n_users = store.read_manifest(folder)["counts"]["users"]
    parts = {"pretrain": draw(n_users, PRETRAIN_CUTS, generator(seed, "pretrain"))}
    for task in tasks:
        store.check_task_name(task)
        users = example_users(folder, task)
        if by == "user":
            owners, owner = np.unique(users, return_inverse=True)
            parts[task] = draw(len(owners), TASK_CUTS, generator(seed, task))[owner]
        else:
            parts[task] = draw(len(users), TASK_CUTS, generator(seed, task))
    counts = {name: count_parts(name, part) for name, part in parts.items()}
    with atomic(out) as partial:
        for name, part in parts.items():
            store.save_array(partial / f"{name}.npy", part)
        manifest = {
            "seed": seed,
            "by": by,
            "store": store.identity(folder),
            "counts": counts,
            "arrays": store.describe_arrays(partial),
            **environment(),
        }
        write_json(partial / "manifest.json", manifest)


def example_users(folder: Path, task: str) -> Int[np.ndarray, " examples"]:
    """User of each example of a task."""
    users = store.read_array(folder, f"tasks/{task}/users.npy")
    offsets = f"tasks/{task}/target_offsets.npy"
    if offsets in store.read_manifest(folder)["arrays"]:
        return np.repeat(users, np.diff(store.read_array(folder, offsets)))
    return users


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each name, so that no task's split depends on another's."""
    # Deviation: the paper's code shuffles by Python's `random`, seeds 2309 (pre-training), 1730
    # (labels), 1354 (click, like): other examples are in each part (ledger: exact_splits).
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def draw(
    n: int, cuts: tuple[float, ...], generator: np.random.Generator
) -> UInt8[np.ndarray, " n"]:
    """Part of each of n examples: a random order, cut at int(cut * n) as the paper's code does."""
    parts = np.zeros(n, np.uint8)
    order = generator.permutation(n)
    for cut in cuts:
        parts[order[int(cut * n) :]] += 1
    return parts


def count_parts(name: str, part: UInt8[np.ndarray, " n"]) -> dict[str, int]:
    """Number of examples in each part; ValueError when one is empty."""
    counts = np.bincount(part).tolist()
    if 0 in counts:
        raise ValueError(f"{name}: {len(part)} examples are too few to split. Use more data")
    return dict(zip(("train", "validation", "test"), counts, strict=False))


def load_split(folder: Path, name: str) -> UInt8[Tensor, " examples"]:
    """Part of each example of a task, or of each user for "pretrain".

    ValueError when the file is missing or not as written.
    """
    return torch.from_numpy(store.read_array(folder, f"{name}.npy"))


def labelled_part(
    examples: Int[Tensor, " examples"],
    strata: Int[Tensor, " examples"],
    share: float,
    *of: int | str,
) -> Int[Tensor, " labelled"]:
    """A `share` of these examples, in their order.

    Of each stratum it is its share, rounded, but at least one. It is drawn anew for all that it is
    `of`, the run's seed and what is labelled; the same for every method. A smaller share is a part
    of every larger one. The share is read in thousandths.
    """
    order = torch.randperm(len(examples), generator=generator_of(*of, "labelled"))
    _, stratum, sizes = strata.cpu().unique(return_inverse=True, return_counts=True)
    wanted = ((sizes * round(share * 1000) + 500) // 1000).clamp(min=1)
    grouped = order[stratum[order].argsort(stable=True)]
    own = stratum[grouped]
    place = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[own]
    kept = grouped[place < wanted[own]].sort().values
    return examples[kept.to(examples.device)]


def stages_of(
    parts: UInt8[Tensor, " examples"],
    train: Int[Tensor, " train"],
    validation: Int[Tensor, " validation"],
) -> UInt8[Tensor, " examples"]:
    """The part of each example in a fine-tuning that is given these: from when it is known.

    Examples of these splits whose labels are not used are known in the test alone.
    """
    # Why: the test ranks alike for all shares, and nothing before it meets what it is not to see.
    stages = torch.full_like(parts, TEST)
    stages[train], stages[validation] = TRAIN, VALIDATION
    return stages


def order_of_epoch(
    numbers: Int[Tensor, " some"], order: str, epoch: int, *of: int | str
) -> Int[Tensor, " some"]:
    """Users or examples in the order in which one epoch walks them.

    "reshuffled": anew in every epoch and for all that it is `of`, which is the run's seed and what
    is walked; the same for every method. "fixed": the same for every seed, one order for each value
    of `epoch` (the release has such orders in files).
    """
    if order == "reshuffled":
        generator = generator_of(*of, epoch)
    elif order == "fixed":
        generator = torch.Generator().manual_seed(epoch)
    else:
        raise ValueError(f"order {order!r}: use reshuffled or fixed")
    return numbers[torch.randperm(len(numbers), generator=generator).to(numbers.device)]


def order_of_labelled(
    labelled: Int[Tensor, " labelled"], length: int, order: str, *of: int | str
) -> Int[Tensor, " length"]:
    """An epoch of `length` examples, all of them labelled: walk after walk, the last one cut off.

    Few labels then get as many steps as many, and what differs is what there is to learn from.
    """
    walks = range(-(-length // len(labelled)))
    return torch.cat([order_of_epoch(labelled, order, walk, *of) for walk in walks])[:length]


def check_store(folder: Path, store_folder: Path) -> None:
    """ValueError unless the splits in `folder` were drawn for this store's content.

    And unless that is still what the raw files say, where they are still there.
    """
    store.check_raw(store_folder)
    if store.read_manifest(folder)["store"] != store.identity(store_folder):
        remedy = again(folder, store.read_manifest(folder))
        raise ValueError(f"{folder}: drawn for another store than {store_folder}. {remedy}")


@command
def main(argv: list[str] | None = None) -> None:
    """Write the splits of a store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="folder of the array store")
    parser.add_argument("--tasks", nargs="*", default=[], help="tasks of the store")
    parser.add_argument("--by", choices=["interaction", "user"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    write_splits(args.store, args.tasks, args.by, args.seed, args.out)


if __name__ == "__main__":
    main()
