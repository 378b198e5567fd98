"""The contract of a way to make two views of each user: one file in `views/` with its `Options`.

A way to make views is independent of the loss that compares them: any two-view method takes any of
them by `set: {views: {kind: <file>}}`, options of the way beside `kind`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore, Bounds
from userbench.model.encoder import Items, UserEncoder


class Pair(NamedTuple):
    """Two views of each user."""

    first: Items
    second: Items


class Views:
    """Makes two views of each user of a batch."""

    changing: tuple[str, ...] = ()
    """Attributes that change in training: numbers or tensors, saved with the method."""

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Compute statistics of the corpus before the first step, of the training `users` alone."""

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two views of each user; `progress` runs from 0 to 1 over training, for curricula."""
        raise NotImplementedError

    def bounds(self, batch: Batch) -> Bounds | None:
        """Bounds of the views for the encoder: those of the batch where no view is longer."""
        return None


@dataclass(frozen=True)
class ViewOptions:
    """Hyper-parameters of a way to make views; each file in `views/` extends it."""

    kind: str

    def views(self, encoder: UserEncoder) -> Views:
        """What makes the views; `encoder` is the one being pre-trained."""
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
        return importlib.import_module(path)
    except ModuleNotFoundError as missing:
        if not (path == missing.name or path.startswith(f"{missing.name}.")):
            raise  # the file is there; what it imports is not
        raise ValueError(f"no {part} {name!r} ({missing}). See src/userbench/{part}s/") from None
