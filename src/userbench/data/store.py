"""The array store on a device: users as batches, and the examples of tasks (`data/arrays.py`)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int32, Int64, UInt64
from torch import Tensor

from userbench.data.arrays import (
    SEEN_FILE,
    SEEN_OFFSETS_FILE,
    behaviours_folder,
    examples_folder,
    read_array,
    read_checksums,
)
from userbench.data.ragged import hash_in_blocks, offsets_of

# Why: shapes that depend on values on a GPU make the host wait for it, and CUDA graphs need few
# different shapes.
LENGTH_MULTIPLE = 16
BEHAVIOURS_MULTIPLE = 512


class Bounds(NamedTuple):
    """Sizes of a batch that the host knows without waiting for the device, rounded up."""

    users: int
    longest: int
    """Length of the longest sequence."""
    behaviours: int
    """Of all users together."""


class Batch(NamedTuple):
    """Some users and their items, oldest first, right-padded with 0."""

    users: Int[Tensor, " users"]
    items: Int[Tensor, "users length"]
    bounds: Bounds | None = None
    """None: the host reads shapes that depend on the data from the device."""

    def at_most(self, ratio: float) -> int | None:
        """An upper bound of the sum over users of ceil(ratio * n); None without bounds."""
        if self.bounds is None:
            return None
        return self.bounds.behaviours * round(ratio * 1000) // 1000 + self.bounds.users


@dataclass(frozen=True)
class BehaviourStore:
    """Every user's most recent `max_length` items as flat tensors on one device."""

    items: Int[Tensor, " interactions"]  # item index 1..n_items
    offsets: Int[Tensor, " bounds"]
    lengths: Int[Tensor, " users"]
    n_items: int
    max_length: int

    @classmethod
    def open(cls, folder: Path, max_length: int, device: str | torch.device) -> "BehaviourStore":
        """Load the users of a store to a device; ValueError when a file is not as written."""
        behaviours = behaviours_folder(folder)
        return cls.of_arrays(
            read_array(behaviours, "items.npy"),
            read_array(behaviours, "offsets.npy"),
            read_checksums(behaviours)["items"],
            max_length,
            device,
        )

    @classmethod
    def of_arrays(
        cls,
        items: Int32[np.ndarray, " interactions"],
        offsets: Int64[np.ndarray, " bounds"],
        n_items: int,
        max_length: int,
        device: str | torch.device,
    ) -> "BehaviourStore":
        """Users whose items lie one after another, on a device."""
        lengths = np.diff(offsets)
        if lengths.max() > max_length:
            from_end = np.repeat(offsets[1:], lengths) - np.arange(len(items))
            items = items[from_end <= max_length]
            lengths = np.minimum(lengths, max_length)
            offsets = offsets_of(lengths)
        return cls(
            items=torch.from_numpy(items).to(device),
            offsets=torch.from_numpy(offsets).to(device),
            lengths=torch.from_numpy(lengths).to(device),
            n_items=n_items,
            max_length=max_length,
        )

    @property
    def n_users(self) -> int:
        """Number of users, duplicates included."""
        return len(self.lengths)

    def behaviours(self, users: Int[Tensor, " users"]) -> Int[Tensor, " behaviours"]:
        """Items of these users, one after another."""
        owned = torch.zeros(self.n_users, dtype=torch.bool, device=users.device)
        owned[users] = True
        return self.items[owned.repeat_interleave(self.lengths)]

    def hashes(self) -> UInt64[np.ndarray, " users"]:
        """Hash of each user's items (`hash_rows`): equal for equal sequences."""
        items, offsets = self.items.cpu().numpy(), self.offsets.cpu().numpy()
        return hash_in_blocks(items, offsets)

    @cached_property
    def lengths_on_host(self) -> Int[Tensor, " users"]:
        """The lengths on the host, where reading one does not wait for the device."""
        return self.lengths.cpu()

    @cached_property
    def longest(self) -> int:
        """Length of the longest sequence."""
        return int(self.lengths_on_host.max())

    def bounds(self, users: Int[Tensor, " users"]) -> Bounds:
        """Bounds of a batch of these users; `users` is on the host."""
        lengths = self.lengths_on_host[users]
        longest = min(round_up(int(lengths.max()), LENGTH_MULTIPLE), self.longest)
        return Bounds(len(users), longest, round_up(int(lengths.sum()), BEHAVIOURS_MULTIPLE))

    def batch(self, users: Int[Tensor, " users"]) -> Batch:
        """Items of these users, cut to the longest of them where that is known without waiting.

        On a CPU it is. On a GPU, a batch of users on the host is cut to its bounds, and one of
        users on the GPU is as long as the longest sequence of the corpus.
        """
        if users.device != self.lengths.device:
            return self.bounded_batch(users)
        width = self.longest if users.is_cuda else int(self.lengths[users].max())
        return Batch(users, self.padded(users, width))

    def bounded_batch(self, users: Int[Tensor, " users"]) -> Batch:
        """Items of these users, in one of few shapes; `users` is on the host."""
        bounds = self.bounds(users)
        users = users.to(self.lengths.device, non_blocking=True)
        return Batch(users, self.padded(users, bounds.longest), bounds)

    def padded(self, users: Int[Tensor, " users"], width: int) -> Int[Tensor, "users {width}"]:
        """Items of these users, cut or padded to `width`."""
        positions = torch.arange(width, device=users.device)
        is_item = positions < self.lengths[users][:, None]
        places = (self.offsets[users][:, None] + positions) * is_item
        return self.items[places].long() * is_item


def round_up(number: int, multiple: int) -> int:
    """The number, rounded up to a multiple of `multiple`."""
    return -(-number // multiple) * multiple


class LabelledExamples(NamedTuple):
    """A whole classification task: each row's user and class."""

    users: Int[Tensor, " examples"]
    labels: Int[Tensor, " examples"]
    n_classes: int


class TargetExamples(NamedTuple):
    """A whole recommendation task: one example per (user, target) pair.

    All targets of the user in row r: known_targets[known_offsets[r] : known_offsets[r + 1]].
    `seen` likewise, where there is any: candidates that are neither asked for nor ranked, at no
    stage, as they are among the user's behaviours.
    """

    users: Int[Tensor, " examples"]
    targets: Int[Tensor, " examples"]  # 0..n_candidates - 1
    rows: Int[Tensor, " examples"]
    n_candidates: int
    known_targets: Int[Tensor, " examples"]
    known_offsets: Int[Tensor, " bounds"]
    seen: Int[Tensor, " seen"] | None = None
    seen_offsets: Int[Tensor, " bounds"] | None = None


def load_labels(store: Path, task: str, device: str | torch.device) -> LabelledExamples:
    """Load a classification task; ValueError when a file is missing or not as written."""
    folder = examples_folder(store, task)
    users, labels = read_array(folder, "users.npy"), read_array(folder, "labels.npy")
    n_classes = len(read_array(folder, "classes.npy"))
    return LabelledExamples(
        torch.from_numpy(users).long().to(device), torch.from_numpy(labels).to(device), n_classes
    )


def load_targets(store: Path, task: str, device: str | torch.device) -> TargetExamples:
    """Load a recommendation task; ValueError when a file is missing or not as written."""
    folder = examples_folder(store, task)
    users = torch.from_numpy(read_array(folder, "users.npy")).long()
    targets = torch.from_numpy(read_array(folder, "targets.npy")).long().to(device)
    offsets = torch.from_numpy(read_array(folder, "target_offsets.npy"))
    rows = torch.repeat_interleave(torch.arange(len(users)), offsets.diff())
    seen = {}
    if SEEN_FILE in read_checksums(folder)["arrays"]:
        files = {"seen": SEEN_FILE, "seen_offsets": SEEN_OFFSETS_FILE}
        seen = {n: torch.from_numpy(read_array(folder, file)) for n, file in files.items()}
    return TargetExamples(
        users=users[rows].to(device),
        targets=targets,
        rows=rows.to(device),
        n_candidates=len(read_array(folder, "target_ids.npy")),
        known_targets=targets,
        known_offsets=offsets.to(device),
        **{name: values.to(device) for name, values in seen.items()},
    )
