"""The examples that a fine-tuning is given of a task: by its split, and by its share of labels."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from userbench.data.splits import TEST, TRAIN, VALIDATION, labelled_part, stages_of
from userbench.data.store import LabelledExamples, TargetExamples


class Split(NamedTuple):
    """Example numbers of the three parts of a task."""

    train: Int[Tensor, " train"]
    validation: Int[Tensor, " validation"]
    test: Int[Tensor, " test"]


class LabelledSplit(NamedTuple):
    """What a fine-tuning is given of a task: by its split, and by its share of the labels."""

    split: Split
    length: int
    """Examples of an epoch, however few of them are labelled."""
    stages: UInt8[Tensor, " examples"]
    """Part of each example, see `stages_of`."""


def labelled_split(
    task: str,
    label_share: float,
    examples: LabelledExamples | TargetExamples,
    parts: UInt8[np.ndarray, " examples"],
    seed: int,
) -> LabelledSplit:
    """The split of a task by `task_parts`, its labels drawn by the seed: the same for all runs.

    `label_share` is the share of the training and validation examples whose labels are used.
    """
    parts = torch.from_numpy(parts).to(examples.users.device)
    split = Split(*((parts == part).nonzero().squeeze(1) for part in (TRAIN, VALIDATION, TEST)))
    labelled = isinstance(examples, LabelledExamples)
    strata = examples.labels if labelled else torch.zeros_like(examples.targets)

    def drawn(some: Int[Tensor, " some"], part: str) -> Int[Tensor, " drawn"]:
        return labelled_part(some, strata[some], label_share, seed, task, part)

    few = split._replace(
        train=drawn(split.train, "train"), validation=drawn(split.validation, "validation")
    )
    return LabelledSplit(few, len(split.train), stages_of(parts, few.train, few.validation))
