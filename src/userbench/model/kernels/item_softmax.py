"""Cross-entropy of a softmax over all items, exact, its logits never in memory.

Plain version, on a CPU: `losses.StreamedCrossEntropy`. Logits are made twice, block by block: for
the normalisers and, as in attention, the mean of the table by the softmax, which is the gradient of
the states but for the target's vector; and in the backward pass for table and bias, where a program
owns some items and reads all predictions, so that every sum has one order and every step repeats
bit for bit. A target of 0 is nothing to predict; blocks of nothing else cost no products.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
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
from userbench.model.kernels.language import Work, jit, operator, tl, triton

States = Float[Tensor, "predictions dim"]
Targets = Int[Tensor, " predictions"]
Table = Float[Tensor, "rows dim"]
Bias = Float[Tensor, " items"]
Each = Float[Tensor, " predictions"]
ByPart = Float[Tensor, "parts predictions"]
VectorsByPart = Float[Tensor, "parts predictions dim"]
Scalar = Float[Tensor, ""]

ROWS_MERGED, PARTS_MERGED, TARGETS_COUNTED = 8, 16, 1024  # of one program at a time


@jit
def parts_kernel(
    states, targets, table, bias, tops, totals, sums, n, n_items, width,
    DIM: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr,
    LOWEST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` predictions and a part of the catalogue: largest logit, sum of
    exponentials, and of the items' vectors by them."""
    part = tl.program_id(1)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = rows < n
    target = tl.load(targets + rows, mask=known, other=0)
    own_states = rows_of(states, rows, known, DIM, COLS)
    top = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    vector = tl.zeros((ROWS, COLS), tl.float32)
    start = part * width
    end = tl.where(tl.max(target, 0) > 0, tl.minimum(start + width, n_items), start)
    for first in range(start, end, ITEMS):
        items = first + tl.arange(0, ITEMS)
        inside = items < end
        vectors = block_of(table, first, end, ITEMS, DIM, COLS)
        logits = logits_of(own_states, vectors, bias, items, inside, PRECISION)
        higher = tl.maximum(top, tl.max(logits, 1))
        shrink = tl.exp(top - higher)
        weights = tl.exp(logits - higher[:, None])
        total = total * shrink + tl.sum(weights, 1)
        vector *= shrink[:, None]
        vector += tl.dot(weights.to(vectors.dtype), vectors, input_precision=PRECISION)
        top = higher
    at = part.to(tl.int64) * n + rows
    tl.store(tops + at, top, mask=known)
    tl.store(totals + at, total, mask=known)
    places = at[:, None] * DIM + cols[None, :]
    tl.store(sums + places, vector, mask=known[:, None] & (cols < DIM)[None, :])


@jit
def merge_kernel(
    states, targets, table, bias, tops, totals, sums, normalisers, losses, of_states, share, last,
    n, parts,
    DIM: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr,
    AT_ONCE: tl.constexpr, COUNTED: tl.constexpr, LOWEST: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` predictions: their normalisers, and their shares of the mean loss and
    of its gradient; how large a share is, and where the last prediction ends."""
    asked = tl.zeros((COUNTED,), tl.float32)
    ends = tl.zeros((COUNTED,), tl.int32)
    for first in range(0, n, COUNTED):
        counted = first + tl.arange(0, COUNTED)
        some = tl.load(targets + counted, mask=counted < n, other=0) != 0
        asked += tl.where(some, 1.0, 0.0)
        ends = tl.where(some, counted + 1, ends)
    each = 1.0 / tl.maximum(tl.sum(asked, 0), 1.0)

    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = rows < n
    target = tl.load(targets + rows, mask=known, other=0)
    real = target != 0
    part = tl.arange(0, PARTS)
    inside = (part < parts)[:, None] & known[None, :]
    at = part.to(tl.int64)[:, None] * n + rows[None, :]
    top = tl.load(tops + at, mask=inside, other=LOWEST)
    highest = tl.max(top, 0)
    total = tl.load(totals + at, mask=inside, other=0.0) * tl.exp(top - highest[None, :])
    total = tl.where(real, tl.sum(total, 0), 1.0)
    normaliser = highest + tl.log(total)
    mean = tl.zeros((ROWS, COLS), tl.float32)
    for first in range(0, parts, AT_ONCE):
        some_parts = first + tl.arange(0, AT_ONCE)
        here = (some_parts < parts)[:, None] & known[None, :]
        places = some_parts.to(tl.int64)[:, None] * n + rows[None, :]
        weight = tl.exp(tl.load(tops + places, mask=here, other=LOWEST) - highest[None, :])
        vector = tl.load(
            sums + places[:, :, None] * DIM + cols[None, None, :],
            mask=here[:, :, None] & (cols < DIM)[None, None, :], other=0.0,
        )  # fmt: skip
        mean += tl.sum(vector * weight[:, :, None], 0)
    vectors = rows_of(table, target, known, DIM, COLS).to(tl.float32)
    own = tl.sum(rows_of(states, rows, known, DIM, COLS).to(tl.float32) * vectors, 1)
    own += tl.load(bias + target, mask=known, other=0.0)
    gradient = tl.where(real[:, None], mean / total[:, None] - vectors, 0.0) * each
    # Of an infinite normaliser every share of the softmax is 0.
    tl.store(normalisers + rows, tl.where(real, normaliser, float("inf")), mask=known)
    tl.store(losses + rows, tl.where(real, normaliser - own, 0.0) * each, mask=known)
    at = rows.to(tl.int64)[:, None] * DIM + cols[None, :]
    tl.store(of_states + at, gradient, mask=known[:, None] & (cols < DIM)[None, :])
    if tl.program_id(0) == 0:
        tl.store(share, each)
        tl.store(last, tl.max(ends, 0))


@jit
def items_kernel(
    states, targets, table, bias, normalisers, share, last, scale, of_table, of_bias,
    n_items, n_rows,
    DIM: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for `ITEMS` items and all predictions: their whole gradient; 0 for rows of the
    table behind the last item."""
    items = tl.program_id(0) * ITEMS + tl.arange(0, ITEMS)
    cols = tl.arange(0, COLS)
    inside = items < n_items
    vectors = rows_of(table, items, inside, DIM, COLS)
    shift = tl.load(bias + items, mask=inside, other=-float("inf"))
    asked = tl.where(items == 0, -1, items)  # target 0 is nothing to predict
    total = tl.zeros((ITEMS, COLS), tl.float32)
    total_of_bias = tl.zeros((ITEMS,), tl.float32)
    end = tl.load(last)
    for first in range(0, end, ROWS):
        rows = first + tl.arange(0, ROWS)
        known = rows < end
        target = tl.load(targets + rows, mask=known, other=0).to(tl.int32)
        normaliser = tl.load(normalisers + rows, mask=known, other=float("inf"))
        some = block_of(states, first, end, ROWS, DIM, COLS)
        # Why not `logits_of`: items as rows are what the second product starts from.
        logits = tl.dot(vectors, tl.trans(some), input_precision=PRECISION) + shift[:, None]
        hit = asked[:, None] == target[None, :]
        of_logits = tl.exp(logits - normaliser[None, :]) - tl.where(hit, 1.0, 0.0)
        total += tl.dot(of_logits.to(some.dtype), some, input_precision=PRECISION)
        total_of_bias += tl.sum(of_logits, 1)
    factor = tl.load(share) * tl.load(scale)
    at = items.to(tl.int64)[:, None] * DIM + cols[None, :]
    tl.store(of_table + at, total * factor, mask=(items < n_rows)[:, None] & (cols < DIM)[None, :])
    tl.store(of_bias + items, total_of_bias * factor, mask=inside)


def parts_like(states: Tensor, _: Any, table: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Room for largest logits, sums of exponentials and of vectors, by part."""
    (n, dim), parts = states.shape, tiling(len(bias), table.shape[1]).parts
    tops = states.new_empty(parts, n, dtype=torch.float32)
    return tops, torch.empty_like(tops), tops.new_empty(parts, n, dim)


def two_products(states: Tensor, _: Any, table: Tensor, bias: Tensor, *__: Any) -> Work:
    """Every logit made, and what is multiplied by its exponential."""
    logits = len(states) * len(bias)
    return Work(4 * logits * table.shape[1], logits)


@operator(
    "(Tensor states, Tensor targets, Tensor table, Tensor bias) -> (Tensor, Tensor, Tensor)",
    parts_like,
    work=two_products,
)
def item_softmax_parts(
    states: States, targets: Targets, table: Table, bias: Bias
) -> tuple[ByPart, ByPart, VectorsByPart]:
    """Largest logit and sums of exponentials and of vectors, by part of the catalogue."""
    (n, dim), n_items = states.shape, len(bias)
    tiles = tiling(n_items, dim)
    tops, totals, sums = parts_like(states, targets, table, bias)
    parts_kernel[(triton.cdiv(n, tiles.rows), tiles.parts)](
        states, targets, table, bias, tops, totals, sums, n, n_items, tiles.width,
        DIM=dim, COLS=tiles.cols, ROWS=tiles.rows, ITEMS=tiles.items,
        LOWEST=LOWEST, PRECISION=products(), num_warps=WARPS,
    )  # fmt: skip
    return tops, totals, sums


def merged_like(states: Tensor, targets: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    """Room for normalisers, losses, the gradient of states, the share of each, and their end."""
    normalisers, share = (states.new_empty(size, dtype=torch.float32) for size in (len(states), ()))
    of_states = torch.empty_like(states, dtype=torch.float32)
    last = targets.new_empty((), dtype=torch.int32)
    return normalisers, torch.empty_like(normalisers), of_states, share, last


def rows_read(
    states: Tensor, targets: Tensor, table: Tensor, bias: Tensor, *by_part: Tensor
) -> int:
    """Bytes: of the catalogue, only the targets' vectors."""
    moved = (states, targets, *by_part, *merged_like(states, targets))
    of_targets = table.shape[1] * table.element_size() + bias.element_size()
    return len(states) * of_targets + sum(x.numel() * x.element_size() for x in moved)


@operator(
    "(Tensor states, Tensor targets, Tensor table, Tensor bias, Tensor tops, Tensor totals,"
    " Tensor sums) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    merged_like,
    traffic=rows_read,
)
def item_softmax_merge(
    states: States, targets: Targets, table: Table, bias: Bias,
    tops: ByPart, totals: ByPart, sums: VectorsByPart,
) -> tuple[Each, Each, States, Scalar, Int[Tensor, ""]]:  # fmt: skip
    """Normalisers; shares of the mean loss, and of its gradient for the states; how large a share
    is; where the last prediction ends."""
    made = merged_like(states, targets)
    (n, dim), cols = states.shape, tiling(len(bias), states.shape[1]).cols
    merge_kernel[(triton.cdiv(n, ROWS_MERGED),)](
        states, targets, table, bias, tops, totals, sums, *made, n, len(tops),
        DIM=dim, COLS=cols, ROWS=ROWS_MERGED, PARTS=PARTS, AT_ONCE=PARTS_MERGED,
        COUNTED=TARGETS_COUNTED, LOWEST=LOWEST, num_warps=WARPS,
    )  # fmt: skip
    return made


def items_like(_: Any, __: Any, table: Tensor, bias: Tensor, *___: Any) -> tuple[Tensor, Tensor]:
    """Room for the gradients of table and bias."""
    return torch.empty_like(table, dtype=torch.float32), torch.empty_like(bias)


@operator(
    "(Tensor states, Tensor targets, Tensor table, Tensor bias, Tensor normalisers, Tensor share,"
    " Tensor last, Tensor scale) -> (Tensor, Tensor)",
    items_like,
    work=two_products,
)
def item_softmax_of_items(
    states: States, targets: Targets, table: Table, bias: Bias,
    normalisers: Each, share: Scalar, last: Int[Tensor, ""], scale: Scalar,
) -> tuple[Table, Bias]:  # fmt: skip
    """Gradients of table and bias."""
    dim = states.shape[1]
    tiles = tiling(len(bias), dim)
    of_table, of_bias = items_like(states, targets, table, bias)
    # Why these sizes: here the items are the rows of both products.
    rows, items = max(16, tiles.items // 2), tiles.rows
    items_kernel[(triton.cdiv(len(table), items),)](
        states, targets, table, bias, normalisers, share, last, scale, of_table, of_bias,
        len(bias), len(table),
        DIM=dim, COLS=tiles.cols, ROWS=rows, ITEMS=items, PRECISION=products(), num_warps=WARPS,
    )  # fmt: skip
    return of_table, of_bias


class ItemCrossEntropy(torch.autograd.Function):
    """The operators; kept are the factors, the gradient of the states, and a number for each."""

    @staticmethod
    def forward(
        ctx: Any, states: States, targets: Targets, table: Table, bias: Bias, dtype: torch.dtype
    ) -> Scalar:
        """Two kernels and a sum, and two that round where `dtype` is narrower."""
        given = states.to(dtype).contiguous(), targets, table.to(dtype), bias
        made = item_softmax_merge(*given, *item_softmax_parts(*given))
        normalisers, losses, of_states, share, last = made
        ctx.save_for_backward(*given, normalisers, share, last, of_states)
        ctx.dtype = states.dtype
        return losses.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Scalar) -> tuple[Tensor, None, Tensor, Tensor, None]:
        """One kernel, and a product."""
        *given, of_states = ctx.saved_tensors
        of_states = (of_states * scale).to(ctx.dtype)
        return of_states, None, *item_softmax_of_items(*given, scale), None


def item_softmax(
    states: States, targets: Targets, table: Table, bias: Bias, dtype: torch.dtype
) -> Scalar:
    """Mean cross-entropy of the `targets` other than 0; factors of products rounded to `dtype`.

    Rows of the table behind the last of `bias` are no items. The gradient of the table is dense.
    """
    return ItemCrossEntropy.apply(states, targets, table, bias, dtype)
