"""One item for each prediction, drawn from a softmax over all items in one pass over the catalogue.

Plain version, on a CPU: `losses.sample_items`. A program walks through a part of the catalogue and
keeps, for each row, one block of items: a new block replaces it with probability (its sum of
exponentials) / (that of all blocks so far), so every block is kept by its share. A second kernel
draws a part by its share, and an item of the block kept there; no logit is ever in memory.

Random numbers are those of Philox, keyed by seed, row and block or item. An event of probability p
is "a uniform number is below p", or decided by the smallest of exponential numbers: both ask for
numbers near 0, of which floats have plenty, down to 2^-31. Gumbel noise would ask for those near 1.
"""

from typing import Any

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from userbench.model.kernels.item_logits import (
    LOWEST,
    PARTS,
    WARPS,
    block_of,
    logits_of,
    products,
    rows_of,
    tiling,
)
from userbench.model.kernels.language import (
    Seed,
    Work,
    draw_seed,
    jit,
    operator,
    tl,
    triton,
)

States = Float[Tensor, "predictions dim"]
Table = Float[Tensor, "rows dim"]
Bias = Float[Tensor, " items"]
Banned = Int[Tensor, " predictions"]
Drawn = Int[Tensor, " predictions"]
ByPart = Float[Tensor, "parts predictions"]

ROUNDS = 7  # of Philox: as many as pass all tests (Salmon et al., SC 2011)
ROWS_AT_ONCE = 4  # of the second kernel: a block of items for each of them is read at once


@jit
def block_kernel(
    states, table, bias, banned, seed, tops, totals, blocks, n, n_items, width, sharpness,
    BANNED: tl.constexpr, DIM: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr,
    ITEMS: tl.constexpr, ROUNDS: tl.constexpr, LOWEST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` predictions and a part of the catalogue: largest logit, sum of
    exponentials, and where the block starts that is drawn by its share of them."""
    part = tl.program_id(1)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    known = rows < n
    own_states = rows_of(states, rows, known, DIM, COLS)
    own_seed = tl.load(seed)
    if BANNED:
        without = tl.load(banned + rows, mask=known, other=0)
    top = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    start = part * width
    block = tl.zeros((ROWS,), tl.int32) + start
    end = tl.minimum(start + width, n_items)
    in_all = (n_items + ITEMS - 1) // ITEMS
    for first in range(start, end, ITEMS):
        items = first + tl.arange(0, ITEMS)
        inside = items < end
        vectors = block_of(table, first, end, ITEMS, DIM, COLS)
        drawable = inside & (items > 0)
        logits = logits_of(own_states, vectors, bias, items, drawable, PRECISION) * sharpness
        if BANNED:
            logits = tl.where(items[None, :] == without[:, None], -float("inf"), logits)
        higher = tl.maximum(top, tl.max(logits, 1))
        mass = tl.sum(tl.exp(logits - higher[:, None]), 1)
        total = total * tl.exp(top - higher) + mass
        top = higher
        uniform = tl.rand(own_seed, rows * in_all + first // ITEMS, ROUNDS)
        taken = uniform * total < mass
        block = tl.where(taken, first, block)
    at = part.to(tl.int64) * n + rows
    tl.store(tops + at, top, mask=known)
    tl.store(totals + at, total, mask=known)
    tl.store(blocks + at, block, mask=known)


@jit
def drawn_by(weights, seed, at):
    """In each row, where the first of exponential waiting times ends: by its share of weights."""
    uniform = tl.rand(seed, at) + 2.0**-32
    # -log(1 - u), which alone would lose the digits of the small numbers that decide.
    waiting = tl.where(uniform < 0.001, uniform + 0.5 * uniform * uniform, -tl.log(1.0 - uniform))
    possible = weights > 0.0
    times = tl.where(possible, waiting / tl.where(possible, weights, 1.0), float("inf"))
    return tl.argmin(times, 1)


@jit
def item_kernel(
    states, table, bias, banned, seed, tops, totals, blocks, drawn, n, n_items, parts, sharpness,
    BANNED: tl.constexpr, DIM: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr,
    ITEMS: tl.constexpr, PARTS: tl.constexpr, LOWEST: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` predictions: a part for each, and an item of the block kept there."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    known = rows < n
    own_seed = tl.load(seed)
    part = tl.arange(0, PARTS)
    at = part.to(tl.int64)[None, :] * n + rows[:, None]
    inside = known[:, None] & (part < parts)[None, :]
    top = tl.load(tops + at, mask=inside, other=LOWEST)
    masses = tl.load(totals + at, mask=inside, other=0.0) * tl.exp(top - tl.max(top, 1)[:, None])
    chosen = drawn_by(masses, own_seed + 1, rows[:, None] * PARTS + part[None, :])
    first = tl.load(blocks + chosen.to(tl.int64) * n + rows, mask=known, other=0)
    offsets = tl.arange(0, ITEMS)
    items = first[:, None] + offsets[None, :]
    drawable = known[:, None] & (items < n_items) & (items > 0)
    if BANNED:
        drawable = drawable & (items != tl.load(banned + rows, mask=known, other=0)[:, None])
    cols = tl.arange(0, COLS)
    own_states = rows_of(states, rows, known, DIM, COLS).to(tl.float32)
    at = items.to(tl.int64)[:, :, None] * DIM + cols[None, None, :]
    vectors = tl.load(
        table + at, mask=drawable[:, :, None] & (cols < DIM)[None, None, :], other=0.0
    )
    logits = tl.sum(vectors.to(tl.float32) * own_states[:, None, :], 2)
    logits += tl.load(bias + items, mask=drawable, other=-float("inf"))
    logits *= sharpness
    weights = tl.exp(logits - tl.maximum(tl.max(logits, 1), LOWEST)[:, None])
    place = drawn_by(weights, own_seed + 2, rows[:, None] * ITEMS + offsets[None, :])
    tl.store(drawn + rows, first + place, mask=known)


def blocks_like(states: Tensor, table: Tensor, bias: Tensor, *_: Any) -> tuple[Tensor, ...]:
    """Room for largest logits, sums and blocks, by part."""
    by_part = tiling(len(bias), table.shape[1]).parts, len(states)
    tops = states.new_empty(by_part, dtype=torch.float32)
    return tops, torch.empty_like(tops), torch.empty_like(tops, dtype=torch.int32)


def one_pass(states: Tensor, table: Tensor, bias: Tensor, *_: Any) -> Work:
    """Every logit made once."""
    logits = len(states) * len(bias)
    return Work(2 * logits * table.shape[1], logits)


@operator(
    "(Tensor states, Tensor table, Tensor bias, Tensor? banned, Tensor seed, float temperature)"
    " -> (Tensor, Tensor, Tensor)",
    blocks_like,
    work=one_pass,
)
def item_draw_blocks(
    states: States, table: Table, bias: Bias, banned: Banned | None, seed: Seed, temperature: float
) -> tuple[ByPart, ByPart, Int32[Tensor, "parts predictions"]]:
    """Of every part of the catalogue: largest logit, sum of exponentials, and a block."""
    (n, dim), n_items = states.shape, len(bias)
    tiles = tiling(n_items, dim)
    tops, totals, blocks = blocks_like(states, table, bias)
    block_kernel[(triton.cdiv(n, tiles.rows), tiles.parts)](
        states, table, bias, seed if banned is None else banned, seed, tops, totals, blocks,
        n, n_items, tiles.width, 1.0 / temperature,
        BANNED=banned is not None, DIM=dim, COLS=tiles.cols, ROWS=tiles.rows, ITEMS=tiles.items,
        ROUNDS=ROUNDS, LOWEST=LOWEST, PRECISION=products(), num_warps=WARPS,
    )  # fmt: skip
    return tops, totals, blocks


def rows_read(states: Tensor, table: Tensor, bias: Tensor, *given: Any) -> int:
    """Bytes: of the catalogue, only the blocks drawn."""
    tiles = tiling(len(bias), table.shape[1])
    of_block = tiles.items * (table.shape[1] * table.element_size() + bias.element_size())
    others = [value for value in (states, *given) if isinstance(value, Tensor)]
    others_read = sum(value.numel() * value.element_size() for value in others)
    return len(states) * (of_block + 8) + others_read


@operator(
    "(Tensor states, Tensor table, Tensor bias, Tensor? banned, Tensor seed, float temperature,"
    " Tensor tops, Tensor totals, Tensor blocks) -> Tensor",
    lambda states, *_: torch.empty_like(states[:, 0], dtype=torch.int64),
    traffic=rows_read,
)
def item_draw_items(
    states: States, table: Table, bias: Bias, banned: Banned | None, seed: Seed, temperature: float,
    tops: ByPart, totals: ByPart, blocks: Int32[Tensor, "parts predictions"],
) -> Drawn:  # fmt: skip
    """An item of each row, from the block of one part."""
    (n, dim), n_items = states.shape, len(bias)
    drawn = torch.empty(n, dtype=torch.int64, device=states.device)
    tiles = tiling(n_items, dim)
    item_kernel[(triton.cdiv(n, ROWS_AT_ONCE),)](
        states, table, bias, seed if banned is None else banned, seed, tops, totals, blocks, drawn,
        n, n_items, len(tops), 1.0 / temperature,
        BANNED=banned is not None, DIM=dim, COLS=tiles.cols, ROWS=ROWS_AT_ONCE,
        ITEMS=tiles.items, PARTS=PARTS, LOWEST=LOWEST, num_warps=WARPS,
    )  # fmt: skip
    return drawn


def sample_items(
    states: States, table: Table, bias: Bias, temperature: float, banned: Banned | None
) -> Drawn:
    """One item per row from softmax(logits / temperature), never padding or the `banned` one.

    Products are made in the precision of the table: one that is never trained may be kept in bf16.
    """
    seed = draw_seed(states.device)
    given = states.to(table.dtype).contiguous(), table, bias, banned, seed, temperature
    return item_draw_items(*given, *item_draw_blocks(*given))
