"""The part of each user and each example in an experiment, and their order in an epoch.

The parts are read from files, which `data/draw_splits.py` writes once.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from userbench.data.arrays import (
    PARTS_FILE,
    behaviours_folder,
    examples_folder,
    identity,
    read_array,
    read_checksums,
    remedy,
    task_split_folder,
    user_split_folder,
)
from userbench.data.raw_bytes import check_raw
from userbench.seeds import generator_of

TRAIN, VALIDATION, TEST = 0, 1, 2


def load_user_split(splits: Path) -> UInt8[Tensor, " users"]:
    """Part of each user in pre-training; ValueError when it is missing or not as written."""
    return torch.from_numpy(read_array(user_split_folder(splits), PARTS_FILE))


def load_split(splits: Path, task: str) -> UInt8[Tensor, " examples"]:
    """Part of each example of a task; ValueError when it is missing or not as written."""
    return torch.from_numpy(read_array(task_split_folder(splits, task), PARTS_FILE))


def labelled_part(
    examples: Int[Tensor, " examples"],
    strata: Int[Tensor, " examples"],
    share: float,
    *of: int | str,
) -> Int[Tensor, " labelled"]:
    """A random `share` of these examples, in their order.

    It takes that share of each stratum, rounded, but at least one example. `of` (the run's seed,
    the task, the part) seeds the draw, which is the same for every method. A smaller share is a
    subset of every larger one. The share is rounded to thousandths.
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
    """The stage of fine-tuning from which the target of each example counts as known.

    `train` and `validation` are the examples that are used; those of these parts that are not used
    count as known in the test alone.
    """
    # Why: the test ranks the same candidates for all shares, and no earlier stage sees more targets
    # than its labels.
    stages = torch.full_like(parts, TEST)
    stages[train], stages[validation] = TRAIN, VALIDATION
    return stages


def order_of_epoch(
    numbers: Int[Tensor, " some"], order: str, epoch: int, *of: int | str
) -> Int[Tensor, " some"]:
    """Users or examples in the order of one epoch.

    "reshuffled": a random order for each `epoch` and each `of` (the run's seed and what is
    ordered); the same for every method. "fixed": one order for each `epoch`, the same for every
    seed (the authors' code has such orders in files).
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
    """An epoch of `length` labelled examples: as many passes as needed, the last one cut off.

    Few labels then get as many steps as many labels; only the examples differ.
    """
    passes = range(-(-length // len(labelled)))
    return torch.cat([order_of_epoch(labelled, order, number, *of) for number in passes])[:length]


def user_data(store_folder: Path, splits: Path) -> list[Path]:
    """The folders that hold the users and their split."""
    return [behaviours_folder(store_folder), user_split_folder(splits)]


def task_data(store_folder: Path, splits: Path, tasks: Iterable[str]) -> list[Path]:
    """The folders that hold the examples of these tasks, their splits, and the users' own ids."""
    of_each = [
        [examples_folder(store_folder, task), task_split_folder(splits, task)]
        for task in dict.fromkeys(tasks)
    ]
    ids = store_folder / "ids"
    joined_by = [ids] if of_each and ids.exists() else []
    return [*(folder for folders in of_each for folder in folders), *joined_by]


def check_user_split(splits: Path, store_folder: Path) -> None:
    """ValueError unless the split of users was drawn for the content of this store.

    Also where the raw file of the store still exists and has changed since (`check_raw`).
    """
    check_origin(user_split_folder(splits), "of", behaviours_folder(store_folder), store_folder)


def check_task_splits(splits: Path, store_folder: Path, tasks: Iterable[str]) -> None:
    """`check_user_split` for the examples of these tasks and their splits."""
    for task in dict.fromkeys(tasks):
        examples = examples_folder(store_folder, task)
        others = [key for key in ("ids", "held_out") if key in read_checksums(examples)]
        for key in ("behaviours", *others):  # each the name of a folder of the store
            check_origin(examples, key, store_folder / key, store_folder)
        check_origin(task_split_folder(splits, task), "of", examples, store_folder)


def check_origin(folder: Path, key: str, origin: Path, store_folder: Path) -> None:
    """ValueError unless `folder` was made of what `origin` and its raw file contain now."""
    check_raw(origin)
    if read_checksums(folder).get(key) != identity(origin):
        what = f"{folder}: drawn for another store than {store_folder}"
        raise ValueError(f"{what}. {remedy(folder)}")
