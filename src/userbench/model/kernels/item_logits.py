"""How kernels read a catalogue: blocks of predictions meet blocks of items, logits stay inside.

The catalogue is cut into at most `PARTS` parts, so that there are programs enough for a GPU though
there are few blocks of predictions; each program walks through the items of its part.
"""

from typing import NamedTuple

import torch

from userbench.model.kernels.language import jit, power_of_two, tl

# Of a block, where the states have at most `SIDE` dimensions; of more, fewer. Why so few: two
# programs of eight warps have their registers on one multiprocessor of an H100.
ROWS, ITEMS, SIDE = 128, 64, 64
WARPS = 8
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


def tiling(n_items: int, dim: int) -> Tiling:
    """Blocks for states of `dim` dimensions, and parts of which none is empty."""
    cols = max(16, power_of_two(dim))
    shrunk = max(1, cols // SIDE)
    rows, items = max(16, ROWS // shrunk), max(16, ITEMS // shrunk)
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
def block_of(matrix, first, end, ROWS: tl.constexpr, DIM: tl.constexpr, COLS: tl.constexpr):
    """The rows of a matrix from `first` on; zeros from `end` on, and behind the last column."""
    # Why not `rows_of`: offsets that are the same in every block cost a loop few registers.
    rows, cols = tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (rows < end - first)[:, None] & (cols < DIM)[None, :]
    start = matrix + tl.cast(first, tl.int64) * DIM
    return tl.load(start + rows[:, None] * DIM + cols[None, :], mask=inside, other=0.0)


@jit
def logits_of(states, vectors, bias, items, inside, PRECISION: tl.constexpr):
    """Logits of a block of items; -inf where they are not `inside`."""
    shift = tl.load(bias + items, mask=inside, other=-float("inf"))
    return tl.dot(states, tl.trans(vectors), input_precision=PRECISION) + shift[None, :]
