"""How kernels read a catalogue: blocks of predictions meet blocks of items, logits stay inside.

The catalogue is cut into at most `PARTS` parts, so that there are programs enough for a GPU though
there are few blocks of predictions; each program walks through the items of its part.
"""

from typing import NamedTuple

import torch

from userbench.model.kernels.language import jit, power_of_two, tl

ROWS = ITEMS = 128
"""Of a block, where the states have at most `SIDE` dimensions; more dimensions, smaller blocks."""
SIDE = 64
PARTS = 64
LOWEST = -1e30  # below every logit, and finite: the difference of two of them is a number


class Tiling(NamedTuple):
    """Sizes that a kernel is compiled for, and what a program walks through."""

    rows: int
    items: int
    cols: int
    width: int
    """Items of a part, in whole blocks."""
    parts: int


def tiling(n_items: int, dim: int, sums: int = 0) -> Tiling:
    """Blocks for states of `dim` dimensions, in which no part is empty.

    `sums`: 1 where a program adds up vectors, too, which leaves half the room.
    """
    cols = max(16, power_of_two(dim))
    shrunk = max(1, cols // SIDE)
    rows, items = max(16, ROWS // shrunk), max(16, ITEMS // shrunk >> sums)
    width = -(-n_items // (PARTS * items)) * items
    return Tiling(rows, items, cols, width, -(-n_items // width))


def products() -> str:
    """How `tl.dot` multiplies fp32: as exactly as torch is asked to."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@jit
def rows_of(matrix, rows, inside, DIM: tl.constexpr, COLS: tl.constexpr):
    """Some rows of a matrix; zeros where they are not `inside`, and behind the last column."""
    cols = tl.arange(0, COLS)
    at = rows.to(tl.int64)[:, None] * DIM + cols[None, :]
    return tl.load(matrix + at, mask=inside[:, None] & (cols < DIM)[None, :], other=0.0)


@jit
def logits_of(states, vectors, bias, items, inside, PRECISION: tl.constexpr):
    """Logits of a block of items; -inf where they are not `inside`."""
    shift = tl.load(bias + items, mask=inside, other=-float("inf"))
    return tl.dot(states, tl.trans(vectors), input_precision=PRECISION) + shift[None, :]
