"""Which part of an experiment each user and each example belongs to, and in which order they come.

The parts are files, drawn once (`data/draw_splits.py`).
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from userbench.data.arrays import (
    PARTS,
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
    return torch.from_numpy(read_array(user_split_folder(splits), PARTS))


def load_split(splits: Path, task: str) -> UInt8[Tensor, " examples"]:
    """Part of each example of a task; ValueError when it is missing or not as written."""
    return torch.from_numpy(read_array(task_split_folder(splits, task), PARTS))


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


def user_data(store_folder: Path, splits: Path) -> list[Path]:
    """The folders that hold the users and their split."""
    return [behaviours_folder(store_folder), user_split_folder(splits)]


def task_data(store_folder: Path, splits: Path, tasks: Iterable[str]) -> list[Path]:
    """The folders that hold the examples of these tasks and their splits."""
    of_each = [
        [examples_folder(store_folder, task), task_split_folder(splits, task)]
        for task in dict.fromkeys(tasks)
    ]
    return [folder for folders in of_each for folder in folders]


def check_user_split(splits: Path, store_folder: Path) -> None:
    """ValueError unless the split of users was drawn for the content of this store.

    And unless that is still what the raw file says, where it is still there.
    """
    check_origin(user_split_folder(splits), "of", behaviours_folder(store_folder), store_folder)


def check_task_splits(splits: Path, store_folder: Path, tasks: Iterable[str]) -> None:
    """`check_user_split` of the examples of these tasks and their splits."""
    behaviours = behaviours_folder(store_folder)
    for task in dict.fromkeys(tasks):
        examples = examples_folder(store_folder, task)
        check_origin(examples, "behaviours", behaviours, store_folder)
        check_origin(task_split_folder(splits, task), "of", examples, store_folder)


def check_origin(folder: Path, key: str, origin: Path, store_folder: Path) -> None:
    """ValueError unless `folder` was made of what is in `origin`, and that of the raw file."""
    check_raw(origin)
    if read_checksums(folder).get(key) != identity(origin):
        what = f"{folder}: drawn for another store than {store_folder}"
        raise ValueError(f"{what}. {remedy(folder)}")
