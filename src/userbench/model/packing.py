"""On a CPU, sequences without most of their padding: grouped by length, behaviours packed."""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Items = Int[Tensor, "users length"]
"""Item ids, oldest first, right-padded with 0; `mask_id` stands for the learned mask vector."""
Hidden = Float[Tensor, "users length dim"]
Packed = Float[Tensor, "positions dim"]
"""Hidden states of the positions that are computed, see `Places`."""

# Why: rows of one length group fit in a core's cache; measured, larger groups are slower per row.
ROWS_PER_GROUP = 64


class Groups(NamedTuple):
    """How many rows each group has, and how wide it is."""

    sizes: list[int]
    widths: list[int]


class Places:
    """The positions of some rows that are computed, side by side: padding only where it must be."""

    def __init__(self, items: Items, packed: bool):
        self.rows, self.length = items.shape
        # Why not on a GPU: to find the behaviours, one would have to wait for it.
        self.kept = (items != 0).flatten().nonzero()[:, 0] if packed else None

    def pack(self, values: Float[Tensor, "users length dim"]) -> Packed:
        """The values of the positions that are computed."""
        return self.pick(values.flatten(0, 1))

    def pick(self, values: Shaped[Tensor, "positions dim"]) -> Shaped[Tensor, "kept dim"]:
        """Those of the positions that are computed, out of all."""
        return values if self.kept is None else values.index_select(0, self.kept)

    def pad(self, values: Packed) -> Float[Tensor, "users length dim"]:
        """The values in their places among all positions; 0 at padding that was not computed."""
        if self.kept is not None:
            whole = values.new_zeros(self.rows * self.length, values.shape[1])
            values = whole.index_copy(0, self.kept, values)
        return values.view(self.rows, self.length, -1)


def groups_by_look(lengths: Int[Tensor, " rows"]) -> Groups:
    """Groups of `ROWS_PER_GROUP` of ascending `lengths`, and the longest of each."""
    sizes = [len(group) for group in lengths.split(ROWS_PER_GROUP)]
    return Groups(sizes, [int(group[-1]) for group in lengths.split(ROWS_PER_GROUP)])


def pad_to(hidden: Hidden, length: int) -> Float[Tensor, "users padded dim"]:
    """Zeros at the right, up to `length` positions."""
    return F.pad(hidden, (0, 0, 0, length - hidden.shape[1]))
