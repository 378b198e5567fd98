"""Attention pooling of each user's behaviours, side by side: one vector per query.

Plain version, on a CPU: `encoder.AttentionPooling`, sum_t softmax_t(h_t . q) h_t over padded rows.
"""

from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Hidden = Float[Tensor, "rows dim"]
Queries = Float[Tensor, "queries dim"]
Pooled = Float[Tensor, "users queries dim"]
Normaliser = Float[Tensor, "users queries"]
BLOCK = 64


@jit
def pooling_kernel(
    hidden, starts, queries, pooled, normaliser, number, dim,
    BLOCK: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a user and a query."""
    user, which = tl.program_id(0), tl.program_id(1)
    cols = tl.arange(0, COLS)
    known = cols < dim
    query = tl.load(queries + which * dim + cols, mask=known, other=0.0)
    start, end = tl.load(starts + user), tl.load(starts + user + 1)
    top, total = -float("inf"), 0.0
    sums = tl.zeros((COLS,), tl.float32)
    for block in range(start, end, BLOCK):
        rows = block + tl.arange(0, BLOCK)
        inside = (rows < end)[:, None] & known[None, :]
        at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
        values = tl.load(hidden + at, mask=inside, other=0.0).to(tl.float32)
        scores = tl.where(rows < end, tl.sum(values * query[None, :], 1), -float("inf"))
        higher = tl.maximum(top, tl.max(scores, 0))
        faded, shares = tl.exp(top - higher), tl.exp(scores - higher)
        total = total * faded + tl.sum(shares, 0)
        sums = sums * faded + tl.sum(shares[:, None] * values, 0)
        top = higher
    place = user * number + which
    # A user without behaviours has the vector 0.
    total = tl.where(end > start, total, 1.0)
    tl.store(pooled + place.to(tl.int64) * dim + cols, sums / total, mask=known)
    tl.store(normaliser + place, top + tl.log(total))


@jit
def pooling_gradient_kernel(
    given, hidden, starts, queries, pooled, normaliser, of_hidden, of_queries,
    users, capacity, number, dim, BLOCK: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a user; programs behind the last clear a block of what is left each."""
    user, cols = tl.program_id(0), tl.arange(0, COLS)
    known = cols < dim
    if user >= users:
        left = tl.load(starts + users) + (user - users) * BLOCK + tl.arange(0, BLOCK)
        at = left.to(tl.int64)[:, None] * dim + cols[None, :]
        nothing = tl.zeros((BLOCK, COLS), tl.float32).to(of_hidden.dtype.element_ty)
        tl.store(of_hidden + at, nothing, mask=(left < capacity)[:, None] & known[None, :])
    else:
        start, end = tl.load(starts + user), tl.load(starts + user + 1)
        for which in range(number):
            place = (user * number + which).to(tl.int64)
            tl.store(of_queries + place * dim + cols, tl.zeros((COLS,), tl.float32), mask=known)
        for block in range(start, end, BLOCK):
            rows = block + tl.arange(0, BLOCK)
            inside = (rows < end)[:, None] & known[None, :]
            at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
            values = tl.load(hidden + at, mask=inside, other=0.0).to(tl.float32)
            by_value = tl.zeros((BLOCK, COLS), tl.float32)
            for which in range(number):
                place = (user * number + which).to(tl.int64)
                query = tl.load(queries + which * dim + cols, mask=known, other=0.0)
                gradient = tl.load(given + place * dim + cols, mask=known, other=0.0)
                came_out = tl.load(pooled + place * dim + cols, mask=known, other=0.0)
                log_sum = tl.load(normaliser + place)
                scores = tl.sum(values * query[None, :], 1)
                shares = tl.where(rows < end, tl.exp(scores - log_sum), 0.0)
                along = tl.sum(values * gradient[None, :], 1) - tl.sum(gradient * came_out, 0)
                by_score = shares * along
                by_value += shares[:, None] * gradient[None, :] + by_score[:, None] * query[None, :]
                sums = of_queries + place * dim + cols
                so_far = tl.load(sums, mask=known, other=0.0)
                tl.store(sums, so_far + tl.sum(by_score[:, None] * values, 0), mask=known)
            tl.store(of_hidden + at, by_value.to(of_hidden.dtype.element_ty), mask=inside)


def pooled_like(hidden: Hidden, starts: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
    """Room for what comes out and for the normalisers of its softmaxes."""
    sizes = len(starts) - 1, len(queries)
    return queries.new_empty(*sizes, queries.shape[1]), queries.new_empty(*sizes)


@operator("(Tensor hidden, Tensor starts, Tensor queries) -> (Tensor, Tensor)", pooled_like)
def pooling_forward(
    hidden: Hidden, starts: Int32[Tensor, " ends"], queries: Queries
) -> tuple[Pooled, Normaliser]:
    """Vectors of each user and the softmaxes' normalisers."""
    pooled, normaliser = pooled_like(hidden, starts, queries)
    number, dim = queries.shape
    pooling_kernel[(len(starts) - 1, number)](
        hidden, starts, queries, pooled, normaliser, number, dim,
        BLOCK=BLOCK, COLS=power_of_two(dim),
    )  # fmt: skip
    return pooled, normaliser


def gradients_like(given: Pooled, hidden: Hidden, *_: Any) -> tuple[Tensor, Tensor]:
    """Room for the gradients of hidden states and (by user) of queries."""
    return torch.empty_like(hidden), torch.empty_like(given)


@operator(
    "(Tensor given, Tensor hidden, Tensor starts, Tensor queries, Tensor pooled,"
    " Tensor normaliser) -> (Tensor, Tensor)",
    gradients_like,
)
def pooling_backward(
    given: Pooled, hidden: Hidden, starts: Int32[Tensor, " ends"], queries: Queries,
    pooled: Pooled, normaliser: Normaliser,
) -> tuple[Hidden, Pooled]:  # fmt: skip
    """Gradients of hidden states, and of queries, by user."""
    of_hidden, of_queries = gradients_like(given, hidden)
    users, (number, dim) = len(starts) - 1, queries.shape
    pooling_gradient_kernel[(users + triton.cdiv(len(hidden), BLOCK),)](
        given, hidden, starts, queries, pooled, normaliser, of_hidden, of_queries,
        users, len(hidden), number, dim, BLOCK=BLOCK, COLS=power_of_two(dim),
    )  # fmt: skip
    return of_hidden, of_queries


class Pooling(torch.autograd.Function):
    """The operator and its gradient; shares are made again."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, starts: Tensor, queries: Tensor) -> Tensor:
        """Vectors of each user."""
        pooled, normaliser = pooling_forward(hidden, starts, queries)
        ctx.save_for_backward(hidden, starts, queries, pooled, normaliser)
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None, Tensor]:
        """One kernel, and the sum over users."""
        of_hidden, by_user = pooling_backward(given.contiguous(), *ctx.saved_tensors)
        return of_hidden, None, by_user.sum(0)


def pooling(hidden: Hidden, starts: Int32[Tensor, " ends"], queries: Queries) -> Pooled:
    """Of each user and query the mean hidden state, weighted by the softmax of h . q, in fp32."""
    return Pooling.apply(hidden, starts, queries)
