"""Rows of an item table whose updates by Adam are deferred: looked up with what they have missed.

Plain version, on a CPU: `DeferredAdam.apply_deferred` of `training/optimizer.py`. The sum over
missed steps is made as it stands there, step by step, up to `FADED` of them. A look-up writes
nothing, and its gradient is no larger than what was looked up: `pending`, for the optimizer.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Table = Float[Tensor, "rows dim"]
Moments = Float[Tensor, "rows twice_dim"]
MovedAt = Int32[Tensor, " rows"]
Steps = Int32[Tensor, "1"]
Corrections = Float[Tensor, "steps 2"]

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
# Why: a momentum that had no gradient for so long is 5e-8 of what it was.
FADED = 160
# Why: from this step on, both corrections of bias are 1 in fp32.
LAST = 18_000
# Why few: a program takes as long as the row that has missed most.
ROWS = 4
ROWS_OF_ALL = 16
MISSED = {
    **{"BETA1": BETA1, "ROOT_BETA2": math.sqrt(BETA2), "EPS": EPS, "FADED": FADED, "LAST": LAST},
    **{"LOG_BETA1": math.log2(BETA1), "LOG_BETA2": math.log2(BETA2)},
}
WRITTEN = ("table", "moments", "moved_at")


class RowState(NamedTuple):
    """What Adam keeps of an item table, all of it on the device."""

    moments: Moments
    """Mean and square of the gradients, side by side."""
    moved_at: MovedAt
    """The step after which a row's value and moments are those that are stored."""
    steps: Steps
    """How many steps were made."""
    corrections: Corrections
    """Of step t: lr / (1 - b1^t) and 1 / sqrt(1 - b2^t)."""


class Pending(NamedTuple):
    """The gradient of one look-up."""

    ids: Int32[Tensor, "..."]
    gradient: Float[Tensor, "... dim"]


def new_row_state(table: Table, lr: float) -> RowState:
    """The state before the first step."""
    t = torch.arange(LAST + 1, dtype=torch.float64)
    corrections = torch.stack([lr / (1 - BETA1**t), (1 - BETA2**t).rsqrt()], dim=1)
    return RowState(
        torch.zeros_like(table, requires_grad=False).repeat(1, 2),
        torch.zeros(len(table), dtype=torch.int32, device=table.device),
        torch.zeros(1, dtype=torch.int32, device=table.device),
        corrections.float().to(table.device),
    )


@jit
def up_to_date(
    table, moments, corrections, now, rows, since, known, moved, cols, dim,
    BETA1: tl.constexpr, ROOT_BETA2: tl.constexpr, EPS: tl.constexpr, FADED: tl.constexpr,
    LAST: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr,
):  # fmt: skip
    """Values, means and squares after step `now` of the `known` rows, stored after step `since`.

    Moments are read of the `moved` ones alone; of the others they come as zeros.
    """
    inside = cols[None, :] < dim
    rows = rows.to(tl.int64)[:, None]
    value = tl.load(table + rows * dim + cols[None, :], mask=known[:, None] & inside, other=0.0)
    at = moments + rows * (2 * dim) + cols[None, :]
    mean = tl.load(at, mask=moved[:, None] & inside, other=0.0)
    square = tl.load(at + dim, mask=moved[:, None] & inside, other=0.0)
    missed = tl.where(moved, now - since, 0)
    # Why: a row without momentum, such as that of padding, would be the slowest and go nowhere.
    counted = tl.where(tl.max(tl.abs(mean), 1) > 0, tl.minimum(missed, FADED), 0)
    root = tl.sqrt(square)
    total = tl.zeros_like(mean)
    later = tl.zeros_like(missed)
    momentum, fading = tl.full([], 1.0, tl.float32), tl.full([], 1.0, tl.float32)
    for _ in range(tl.max(counted, 0)):
        later += 1
        momentum *= BETA1
        fading *= ROOT_BETA2
        correction = corrections + 2 * tl.minimum(since + later, LAST)
        size = tl.load(correction, mask=later <= counted, other=0.0) * momentum
        spread = tl.load(correction + 1, mask=later <= counted, other=0.0) * fading
        total += size[:, None] / (root * spread[:, None] + EPS)
    value -= mean * total
    faded = missed.to(tl.float32)[:, None]
    return value, mean * tl.exp2(faded * LOG_BETA1), square * tl.exp2(faded * LOG_BETA2)


@jit
def store_rows(table, moments, moved_at, now, rows, known, cols, dim, value, mean, square):
    """Write the `known` rows as they are after step `now`."""
    inside = known[:, None] & (cols[None, :] < dim)
    wide = rows.to(tl.int64)[:, None]
    tl.store(table + wide * dim + cols[None, :], value, mask=inside)
    at = moments + wide * (2 * dim) + cols[None, :]
    tl.store(at, mean, mask=inside)
    tl.store(at + dim, square, mask=inside)
    tl.store(moved_at + rows, tl.zeros_like(rows).to(tl.int32) + now, mask=known)


@jit
def read_kernel(
    table, moments, moved_at, steps, corrections, ids, out, ids_out, n, dim,
    BETA1: tl.constexpr, ROOT_BETA2: tl.constexpr, EPS: tl.constexpr, FADED: tl.constexpr,
    LAST: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` places."""
    places = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = places < n
    now = tl.load(steps)
    rows = tl.load(ids + places, mask=known, other=0)
    since = tl.load(moved_at + rows, mask=known, other=0)
    value, _, _ = up_to_date(
        table, moments, corrections, now, rows, since, known, known & (since < now), cols, dim,
        BETA1, ROOT_BETA2, EPS, FADED, LAST, LOG_BETA1, LOG_BETA2,
    )  # fmt: skip
    at = places.to(tl.int64)[:, None] * dim + cols[None, :]
    tl.store(out + at, value, mask=known[:, None] & (cols[None, :] < dim))
    tl.store(ids_out + places, rows.to(tl.int32), mask=known)


@jit
def apply_kernel(
    table, moments, moved_at, steps, corrections, n, dim,
    BETA1: tl.constexpr, ROOT_BETA2: tl.constexpr, EPS: tl.constexpr, FADED: tl.constexpr,
    LAST: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows of the table; those that have missed nothing are left alone."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    now = tl.load(steps)
    since = tl.load(moved_at + rows, mask=rows < n, other=now)
    late = since < now
    value, mean, square = up_to_date(
        table, moments, corrections, now, rows, since, late, late, cols, dim,
        BETA1, ROOT_BETA2, EPS, FADED, LAST, LOG_BETA1, LOG_BETA2,
    )  # fmt: skip
    store_rows(table, moments, moved_at, now, rows, late, cols, dim, value, mean, square)


class Read(NamedTuple):
    """What a look-up gives."""

    values: Float[Tensor, "... dim"]
    ids: Int32[Tensor, "..."]
    """Half as many digits to sort by as in int64."""


def room(table: Tensor, ids: Tensor) -> Read:
    """Room for what is looked up."""
    values = table.new_empty(*ids.shape, table.shape[1])
    return Read(values, torch.empty_like(ids, dtype=torch.int32))


def bytes_read(table: Tensor, moments: Tensor, moved_at: Tensor, *others: Tensor) -> int:
    """The ids, and for each a row, its moments and its time; the row and the id are written."""
    ids = others[-1]
    return ids.numel() * (ids.element_size() + 8 + 4 * (2 * table.shape[1] + moments.shape[1]))


@operator(
    "(Tensor table, Tensor moments, Tensor moved_at, Tensor steps, Tensor corrections, Tensor ids)"
    " -> (Tensor, Tensor)",
    lambda table, *others: tuple(room(table, others[-1])),
    bytes_read,
)
def item_rows_read(
    table: Table, moments: Moments, moved_at: MovedAt, steps: Steps, corrections: Corrections,
    ids: Int[Tensor, "..."],
) -> tuple[Float[Tensor, "... dim"], Int32[Tensor, "..."]]:  # fmt: skip
    """The rows of these ids with what they have missed, and the ids."""
    ids = ids.contiguous()
    out, n, dim = room(table, ids), ids.numel(), table.shape[1]
    read_kernel[(triton.cdiv(n, ROWS),)](
        table, moments, moved_at, steps, corrections, ids, *out, n, dim,
        **MISSED, ROWS=ROWS, COLS=power_of_two(dim), num_warps=1,
    )  # fmt: skip
    return tuple(out)


@operator(
    "(Tensor(a!) table, Tensor(b!) moments, Tensor(c!) moved_at, Tensor steps, Tensor corrections)"
    " -> ()",
    lambda *_: None,
    # Why no more: a step that reads all rows is followed by one that does, and none is late.
    lambda table, moments, moved_at, *_: moved_at.nbytes,
    WRITTEN,
)
def item_rows_apply(
    table: Table, moments: Moments, moved_at: MovedAt, steps: Steps, corrections: Corrections
) -> None:
    """Apply the deferred updates of all rows."""
    n, dim = table.shape
    apply_kernel[(triton.cdiv(n, ROWS_OF_ALL),)](
        table, moments, moved_at, steps, corrections, n, dim,
        **MISSED, ROWS=ROWS_OF_ALL, COLS=power_of_two(dim),
    )  # fmt: skip


class LookUp(torch.autograd.Function):
    """The operator; what its gradient is goes to a list, for the optimizer."""

    @staticmethod
    def forward(
        ctx: Any, table: Table, ids: Int[Tensor, "..."], state: RowState, pending: list[Pending]
    ) -> Float[Tensor, "... dim"]:
        """The rows as dense Adam would have left them."""
        values, ids = item_rows_read(table, *state, ids)
        ctx.save_for_backward(ids)
        ctx.pending = pending
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "... dim"]) -> tuple[None, None, None, None]:
        """No gradient as large as the table."""
        ctx.pending.append(Pending(*ctx.saved_tensors, gradient))
        return None, None, None, None


def look_up(
    table: Table, ids: Int[Tensor, "..."], state: RowState, pending: list[Pending]
) -> Float[Tensor, "... dim"]:
    """The rows of these ids; their gradient becomes the last of `pending`."""
    return LookUp.apply(table, ids, state, pending)
