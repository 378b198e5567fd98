"""The start of the encoder in one kernel: item, position, LayerNorm, dropout; backward in two.

Plain version, on a CPU: `dropout(norm(items + positions))` of `encoder.UserEncoder.encode`.
"""

from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from userbench.model.kernels.language import Seed, jit, operator, power_of_two, tl, triton

Rows = Float[Tensor, "rows dim"]
Vector = Float[Tensor, " dim"]
Positions = Float[Tensor, "longest dim"]
EPS = 1e-12
ROWS, USERS = 16, 32


@jit
def normalised(items, places, positions, rows, cols, inside, dim, EPS: tl.constexpr):
    """Normalised sum of items and positions, and 1 / its standard deviation."""
    place = tl.load(places + rows, mask=tl.sum(inside.to(tl.int32), 1) > 0, other=0)
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    total = tl.load(items + at, mask=inside, other=0.0)
    total += tl.load(positions + place[:, None] * dim + cols[None, :], mask=inside, other=0.0)
    mean = tl.sum(total, 1) / dim
    centred = tl.where(inside, total - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / dim + EPS)
    return centred * rstd[:, None], rstd


@jit
def embedding_kernel(
    items, places, positions, gamma, beta, seed, out, n, dim, place, rate,
    EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    unit, _ = normalised(items, places, positions, rows, cols, inside, dim, EPS)
    values = unit * tl.load(gamma + cols, mask=cols < dim, other=0.0)[None, :]
    values += tl.load(beta + cols, mask=cols < dim, other=0.0)[None, :]
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    keep = tl.rand(tl.load(seed) + place, at.to(tl.int32)) >= rate
    values = tl.where(keep, values / (1.0 - rate), 0.0)
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


@jit
def embedding_gradient_kernel(
    given, items, places, positions, gamma, seed, of_items, of_vectors, n, dim, place, rate,
    EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows; their sums for gamma and beta go to a row of their own."""
    program = tl.program_id(0)
    rows = program * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = cols < dim
    inside = (rows < n)[:, None] & known[None, :]
    unit, rstd = normalised(items, places, positions, rows, cols, inside, dim, EPS)
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    gradient = tl.load(given + at, mask=inside, other=0.0).to(tl.float32)
    keep = tl.rand(tl.load(seed) + place, at.to(tl.int32)) >= rate
    gradient = tl.where(keep & inside, gradient / (1.0 - rate), 0.0)
    inner = gradient * tl.load(gamma + cols, mask=known, other=0.0)[None, :]
    along = tl.sum(inner * unit, 1) / dim
    of_total = (inner - tl.sum(inner, 1)[:, None] / dim - unit * along[:, None]) * rstd[:, None]
    tl.store(of_items + at, of_total, mask=inside)
    sums = of_vectors + program * 2 * dim + cols
    tl.store(sums, tl.sum(gradient * unit, 0), mask=known)
    tl.store(sums + dim, tl.sum(gradient, 0), mask=known)


@jit
def positions_kernel(
    of_items, starts, of_positions, users, dim, USERS: tl.constexpr, COLS: tl.constexpr
):
    """One program for a position: the sum over all users who have it."""
    position, cols = tl.program_id(0), tl.arange(0, COLS)
    sums = tl.zeros((COLS,), tl.float32)
    for block in range(0, users, USERS):
        some = block + tl.arange(0, USERS)
        start = tl.load(starts + some, mask=some < users, other=0)
        end = tl.load(starts + some + 1, mask=some < users, other=0)
        at = (start + position).to(tl.int64)[:, None] * dim + cols[None, :]
        inside = (start + position < end)[:, None] & (cols < dim)[None, :]
        sums += tl.sum(tl.load(of_items + at, mask=inside, other=0.0), 0)
    tl.store(of_positions + position * dim + cols, sums, mask=cols < dim)


def embedded_like(items: Rows, *given: Any) -> Tensor:
    """Room for what comes out."""
    return torch.empty_like(items, dtype=torch.bfloat16 if given[-1] else torch.float32)


@operator(
    "(Tensor items, Tensor places, Tensor positions, Tensor gamma, Tensor beta, Tensor seed,"
    " int place, float rate, bool bf16) -> Tensor",
    embedded_like,
)
def embedding_forward(
    items: Rows, places: Int32[Tensor, " rows"], positions: Positions, gamma: Vector, beta: Vector,
    seed: Seed, place: int, rate: float, bf16: bool,
) -> Rows:  # fmt: skip
    """The first hidden states."""
    out = embedded_like(items, bf16)
    n, dim = items.shape
    embedding_kernel[(triton.cdiv(n, ROWS),)](
        items, places, positions, gamma, beta, seed, out, n, dim, place, rate,
        EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


def gradients_like(given: Rows, items: Rows, *_: Any) -> tuple[Tensor, Tensor]:
    """Room for the gradients of items and (by program) of gamma and beta."""
    n, dim = items.shape
    return torch.empty_like(items), items.new_empty(-(-n // ROWS), 2, dim)


@operator(
    "(Tensor given, Tensor items, Tensor places, Tensor positions, Tensor gamma, Tensor seed,"
    " int place, float rate) -> (Tensor, Tensor)",
    gradients_like,
)
def embedding_backward(
    given: Rows, items: Rows, places: Int32[Tensor, " rows"], positions: Positions, gamma: Vector,
    seed: Seed, place: int, rate: float,
) -> tuple[Rows, Float[Tensor, "programs 2 dim"]]:  # fmt: skip
    """Gradients of the items, and of gamma and beta, by program."""
    of_items, of_vectors = gradients_like(given, items)
    n, dim = items.shape
    embedding_gradient_kernel[(triton.cdiv(n, ROWS),)](
        given, items, places, positions, gamma, seed, of_items, of_vectors, n, dim, place, rate,
        EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return of_items, of_vectors


@operator(
    "(Tensor of_items, Tensor starts, int longest) -> Tensor",
    lambda of_items, _, longest: of_items.new_empty(longest, of_items.shape[1]),
)
def positions_backward(of_items: Rows, starts: Int32[Tensor, " ends"], longest: int) -> Positions:
    """Gradients of the positions, from those of the items that stand there."""
    dim = of_items.shape[1]
    of_positions = of_items.new_empty(longest, dim)
    positions_kernel[(longest,)](
        of_items, starts, of_positions, len(starts) - 1, dim, USERS=USERS, COLS=power_of_two(dim)
    )
    return of_positions


class Embedding(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """The first hidden states."""
        items, places, starts, positions, gamma, beta, seed, place, rate, bf16 = given
        ctx.save_for_backward(items, places, positions, gamma, seed, starts)
        ctx.drawn = place, rate
        return embedding_forward(items, places, positions, gamma, beta, seed, place, rate, bf16)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_hidden: Tensor) -> tuple:
        """A kernel for rows, one for positions, and the sum over programs."""
        *given, starts = ctx.saved_tensors
        of_items, by_program = embedding_backward(of_hidden.contiguous(), *given, *ctx.drawn)
        of_positions = positions_backward(of_items, starts, len(given[2]))
        of_gamma, of_beta = by_program.sum(0)
        return of_items, None, None, of_positions, of_gamma, of_beta, *[None] * 4


def embedding(
    items: Rows, places: Int32[Tensor, " rows"], starts: Int32[Tensor, " ends"],
    positions: Positions, gamma: Vector, beta: Vector,
    seed: Seed, place: int, rate: float, bf16: bool,
) -> Rows:  # fmt: skip
    """dropout(LayerNorm(items + positions[places])), of users who begin at `starts`."""
    return Embedding.apply(items, places, starts, positions, gamma, beta, seed, place, rate, bf16)
