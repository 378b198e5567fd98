"""A step of Adam for the rows of an item table that were looked up, or for all of them.

Plain version, on a CPU: `DeferredAdam.step` of `training/optimizer.py`. Gradients of equal ids are
added in the order of their places, first within blocks of sorted places and then over the blocks,
so that a step repeats bit for bit and an item that is looked up in every sequence takes no longer
than others.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from userbench.model.kernels.item_rows import (
    BETA1,
    BETA2,
    MISSED,
    ROWS,
    ROWS_OF_ALL,
    WRITTEN,
    Corrections,
    Moments,
    MovedAt,
    Pending,
    RowState,
    Steps,
    Table,
    store_rows,
    up_to_date,
)
from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Keys = Int[Tensor, " places"]
"""Ids of what was looked up, sorted; 0, padding, has no gradient."""
Sums = Float[Tensor, "places dim"]
"""Of the places of a block with one key, at the first of them; elsewhere anything."""

# Why given and not made of the others in fp32: 1 - 0.999 would be off in the fifth digit.
NEW = {"NEW1": 1 - BETA1, "NEW2": 1 - BETA2}
PLACES = 32
BORDERS = 32


@jit
def sum_kernel(
    steps, keys, order, gradient, sums, n, dim, PLACES: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """One program for a block of `PLACES` sorted places; the first also counts the step."""
    if tl.program_id(0) == 0:
        tl.store(steps, tl.load(steps) + 1)
    start = tl.program_id(0) * PLACES
    places = start + tl.arange(0, PLACES)
    cols = tl.arange(0, COLS)
    inside = cols[None, :] < dim
    key = tl.load(keys + places, mask=places < n, other=0)
    before = tl.load(keys + places - 1, mask=(places < n) & (places > start), other=0)
    source = tl.load(order + places, mask=places < n, other=0)
    rows = tl.load(
        gradient + source[:, None] * dim + cols[None, :],
        mask=(key != 0)[:, None] & inside,
        other=0.0,
    )
    alike = (key[:, None] == key[None, :]).to(tl.float32)
    total = tl.dot(alike, rows, input_precision="ieee")
    at = places.to(tl.int64)[:, None] * dim + cols[None, :]
    tl.store(sums + at, total, mask=(key != before)[:, None] & inside)


@jit
def summed(
    keys, sums, n, start, cols, dim,
    ROWS: tl.constexpr, PLACES: tl.constexpr, BORDERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Keys of `ROWS` sorted places, which of them are the first of their key, their whole sums."""
    places = start + tl.arange(0, ROWS)
    inside = cols < dim
    key = tl.load(keys + places, mask=places < n, other=0)
    before = tl.load(keys + places - 1, mask=(places < n) & (places > 0), other=0)
    first = key != before
    at = places.to(tl.int64)[:, None] * dim + cols[None, :]
    total = tl.load(sums + at, mask=first[:, None] & inside[None, :], other=0.0)
    # Of these keys only the last one may go on in the next blocks.
    last = tl.load(keys + tl.minimum(start + ROWS, n) - 1)
    begins = tl.max((first & (key == last)).to(tl.int32), 0) > 0
    border = tl.where(begins, (start // PLACES + 1) * PLACES, n)
    rest = tl.zeros([COLS], tl.float32)
    while tl.load(keys + border, mask=border < n, other=-1) == last:
        borders = border + tl.arange(0, BORDERS) * PLACES
        alike = tl.load(keys + borders, mask=borders < n, other=-1) == last
        parts = sums + borders.to(tl.int64)[:, None] * dim + cols[None, :]
        rest += tl.sum(tl.load(parts, mask=alike[:, None] & inside[None, :], other=0.0), 0)
        border += BORDERS * PLACES
    return key, first, total + tl.where((key == last)[:, None], rest[None, :], 0.0)


@jit
def adam(
    value, mean, square, gradient, corrections, step,
    NEW1: tl.constexpr, NEW2: tl.constexpr, EPS: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """Adam's update (Kingma and Ba, ICLR 2015)."""
    correction = corrections + 2 * tl.minimum(step, LAST)
    mean += NEW1 * (gradient - mean)
    square += NEW2 * (gradient * gradient - square)
    value -= tl.load(correction) * mean / (tl.sqrt(square) * tl.load(correction + 1) + EPS)
    return value, mean, square


@jit
def step_rows_kernel(
    table, moments, moved_at, steps, corrections, keys, sums, n, dim,
    BETA1: tl.constexpr, ROOT_BETA2: tl.constexpr, EPS: tl.constexpr, FADED: tl.constexpr,
    LAST: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr,
    NEW1: tl.constexpr, NEW2: tl.constexpr,
    ROWS: tl.constexpr, PLACES: tl.constexpr, BORDERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for the keys that begin in `ROWS` sorted places."""
    cols = tl.arange(0, COLS)
    step = tl.load(steps)
    rows, known, gradient = summed(
        keys, sums, n, tl.program_id(0) * ROWS, cols, dim, ROWS, PLACES, BORDERS, COLS
    )
    since = tl.load(moved_at + rows, mask=known, other=0)
    value, mean, square = up_to_date(
        table, moments, corrections, step - 1, rows, since, known, known, cols, dim,
        BETA1, ROOT_BETA2, EPS, FADED, LAST, LOG_BETA1, LOG_BETA2,
    )  # fmt: skip
    value, mean, square = adam(
        value, mean, square, gradient, corrections, step, NEW1, NEW2, EPS, LAST
    )
    store_rows(table, moments, moved_at, step, rows, known, cols, dim, value, mean, square)


@jit
def step_all_kernel(
    table, moments, moved_at, steps, corrections, gradient, n, dim,
    BETA1: tl.constexpr, ROOT_BETA2: tl.constexpr, EPS: tl.constexpr, FADED: tl.constexpr,
    LAST: tl.constexpr, LOG_BETA1: tl.constexpr, LOG_BETA2: tl.constexpr,
    NEW1: tl.constexpr, NEW2: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows of the table."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = rows < n
    step = tl.load(steps)
    since = tl.load(moved_at + rows, mask=known, other=0)
    value, mean, square = up_to_date(
        table, moments, corrections, step - 1, rows, since, known, known, cols, dim,
        BETA1, ROOT_BETA2, EPS, FADED, LAST, LOG_BETA1, LOG_BETA2,
    )  # fmt: skip
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    given = tl.load(gradient + at, mask=known[:, None] & (cols[None, :] < dim), other=0.0)
    value, mean, square = adam(value, mean, square, given, corrections, step, NEW1, NEW2, EPS, LAST)
    store_rows(table, moments, moved_at, step, rows, known, cols, dim, value, mean, square)


@jit
def add_kernel(
    gradient, keys, sums, n, dim,
    ROWS: tl.constexpr, PLACES: tl.constexpr, BORDERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for the keys that begin in `ROWS` sorted places."""
    cols = tl.arange(0, COLS)
    rows, known, total = summed(
        keys, sums, n, tl.program_id(0) * ROWS, cols, dim, ROWS, PLACES, BORDERS, COLS
    )
    at = gradient + rows.to(tl.int64)[:, None] * dim + cols[None, :]
    inside = known[:, None] & (cols[None, :] < dim)
    tl.store(at, tl.load(at, mask=inside, other=0.0) + total, mask=inside)


def bytes_per_row(table: Tensor, *moved: Tensor) -> int:
    """Bytes of one row of each of these."""
    return sum(tensor.nbytes // len(tensor) for tensor in (table, *moved))


@operator(
    "(Tensor(a!) steps, Tensor keys, Tensor order, Tensor gradient) -> Tensor",
    lambda steps, keys, order, gradient: torch.empty_like(gradient),
    writes=("steps",),
)
def item_gradient_sums(
    steps: Steps, keys: Keys, order: Int[Tensor, " places"], gradient: Sums
) -> Sums:
    """Sums of the gradients of equal keys, by block; `order`: where each key was looked up.

    Counts the step that is about to be made: to count it alone would be a kernel more.
    """
    sums, (n, dim) = torch.empty_like(gradient), gradient.shape
    sum_kernel[(triton.cdiv(n, PLACES),)](
        steps, keys, order, gradient, sums, n, dim, PLACES=PLACES, COLS=max(16, power_of_two(dim))
    )
    return sums


@operator(
    "(Tensor(a!) table, Tensor(b!) moments, Tensor(c!) moved_at, Tensor steps, Tensor corrections,"
    " Tensor keys, Tensor sums) -> ()",
    lambda *_: None,
    # The rows of the table are read and written, one for each place at most.
    lambda table, moments, moved_at, steps, corrections, keys, sums: (
        keys.nbytes
        + min(len(keys), len(table))
        * (2 * bytes_per_row(table, moments, moved_at) + bytes_per_row(sums))
    ),
    WRITTEN,
)
def item_step_rows(
    table: Table, moments: Moments, moved_at: MovedAt, steps: Steps, corrections: Corrections,
    keys: Keys, sums: Sums,
) -> None:  # fmt: skip
    """The step of Adam that was counted, for the rows of these keys."""
    n, dim = sums.shape
    step_rows_kernel[(triton.cdiv(n, ROWS),)](
        table, moments, moved_at, steps, corrections, keys, sums, n, dim,
        **MISSED, **NEW, ROWS=ROWS, PLACES=PLACES, BORDERS=BORDERS,
        COLS=power_of_two(dim), num_warps=1,
    )  # fmt: skip


@operator(
    "(Tensor(a!) table, Tensor(b!) moments, Tensor(c!) moved_at, Tensor steps, Tensor corrections,"
    " Tensor gradient) -> ()",
    lambda *_: None,
    lambda table, moments, moved_at, steps, corrections, gradient: (
        2 * (table.nbytes + moments.nbytes + moved_at.nbytes) + gradient.nbytes
    ),
    WRITTEN,
)
def item_step_all(
    table: Table, moments: Moments, moved_at: MovedAt, steps: Steps, corrections: Corrections,
    gradient: Table,
) -> None:  # fmt: skip
    """The step of Adam that was counted, for all rows."""
    n, dim = table.shape
    step_all_kernel[(triton.cdiv(n, ROWS_OF_ALL),)](
        table, moments, moved_at, steps, corrections, gradient, n, dim,
        **MISSED, **NEW, ROWS=ROWS_OF_ALL, COLS=power_of_two(dim),
    )  # fmt: skip


@operator(
    "(Tensor(a!) gradient, Tensor keys, Tensor sums) -> ()",
    lambda *_: None,
    lambda gradient, keys, sums: (
        keys.nbytes
        + min(len(keys), len(gradient)) * (2 * bytes_per_row(gradient) + bytes_per_row(sums))
    ),
    ("gradient",),
)
def item_gradient_add(gradient: Table, keys: Keys, sums: Sums) -> None:
    """Add the sums to a gradient of all rows."""
    n, dim = sums.shape
    add_kernel[(triton.cdiv(n, ROWS),)](
        gradient, keys, sums, n, dim,
        ROWS=ROWS, PLACES=PLACES, BORDERS=BORDERS, COLS=power_of_two(dim), num_warps=1,
    )  # fmt: skip


class KeySums(NamedTuple):
    """Gradients by id: what `item_step_rows` and `item_gradient_add` take."""

    keys: Keys
    sums: Sums


def sums_by_id(steps: Steps, pending: list[Pending]) -> KeySums:
    """The gradients of all look-ups, added up by id; counts the step."""
    dim = pending[0].gradient.shape[-1]
    ids = joined([each.ids.flatten() for each in pending])
    gradient = joined([each.gradient.reshape(-1, dim) for each in pending])
    keys, order = ids.sort(stable=True)
    return KeySums(keys, item_gradient_sums(steps, keys, order, gradient))


def joined(parts: list[Tensor]) -> Tensor:
    """The parts one behind the other; one alone is not copied."""
    return torch.cat(parts) if len(parts) > 1 else parts[0].contiguous()


def step_rows(table: Table, state: RowState, pending: list[Pending]) -> None:
    """A step of Adam for the rows that were looked up."""
    item_step_rows(table, *state, *sums_by_id(state.steps, pending))


def step_all(table: Table, state: RowState, pending: list[Pending], gradient: Table) -> None:
    """A step of Adam for all rows: down `gradient`, to which that of look-ups is added."""
    if pending:
        item_gradient_add(gradient, *sums_by_id(state.steps, pending))
    else:
        state.steps.add_(1)
    item_step_all(table, *state, gradient)
