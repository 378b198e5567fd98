"""The contract of an augmentation strategy (views): one file in `views/` with its `Options`.

A strategy makes two views of each user, whatever the loss that compares them. Any method that
contrasts views takes any strategy: `overrides: {views: {kind: <file>}}`, its options beside `kind`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore, Bounds
from userbench.fields import check_values
from userbench.model.encoder import Items, UserEncoder
from userbench.results.loaded_code import OWN


class Pair(NamedTuple):
    """Two views of each user."""

    first: Items
    second: Items


class Views:
    """Makes two views of each user of a batch."""

    changing: tuple[str, ...] = ()
    """Attributes that change during training: numbers or tensors, saved with the method."""

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Compute statistics of the training `users`, and of nobody else, before the first step."""

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two views of each user; `progress` runs from 0 to 1 over training, for curricula."""
        raise NotImplementedError

    def bounds(self, batch: Batch) -> Bounds | None:
        """Bounds of the views for the encoder: those of the batch where no view is longer."""
        return None


@dataclass(frozen=True)
class ViewOptions:
    """Hyper-parameters of an augmentation strategy; each file in `views/` extends it."""

    kind: str

    def __post_init__(self) -> None:
        check_values(self)

    def build(self, encoder: UserEncoder) -> Views:
        """The views with these options; `encoder` is the one being pre-trained."""
        raise NotImplementedError


def load_views(kind: str) -> ModuleType:
    """The file views/<kind>.py, or an importable module where the name has a dot.

    ValueError for a name that is neither.
    """
    return load_part("view", kind)


def load_part(part: str, name: str) -> ModuleType:
    """The file <part>s/<name>.py of this package, or an importable module for a dotted name."""
    path = name if "." in name else f"userbench.{part}s.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as missing:
        if not (path == missing.name or path.startswith(f"{missing.name}.")):
            raise  # the file exists; a module that it imports does not
        raise ValueError(f"no {part} {name!r} ({missing}). See src/userbench/{part}s/") from None
    OWN.add(path.partition(".")[0])
    return module
