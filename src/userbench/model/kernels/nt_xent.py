"""NT-Xent in one kernel, its gradient in one: the scores are made twice and never kept.

Plain version, on a CPU: `losses.nt_xent`. All sums are in float64, as there.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton
from userbench.model.kernels.logistic import log1p
from userbench.model.kernels.products import AT_ONCE, paired_products, products, row_values

Views = Float[Tensor, "views width"]
Saved = Float64[Tensor, "4 views"]
"""Of each row: its loss, its positive score, the softmax of its negatives, 1 / its length."""
EPS = 1e-12
ROWS, CANDIDATES, WIDTH = 2, 32, 64
# Why: the gradient adds up more per candidate, which must fit into registers.
CANDIDATES_AGAIN, WARPS_AGAIN = 16, 8


@jit
def scale_of(
    views, rows, n, DIM: tl.constexpr,
    COSINE: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """What each row is multiplied by before its products: 1, or 1 / its length."""
    if COSINE:
        squares = paired_products(views, rows, rows, n, DIM, ROWS, AT_ONCE)
        scale = 1.0 / tl.maximum(tl.sqrt(squares), EPS)
    else:
        scale = tl.full((ROWS,), 1.0, tl.float64)
    return scale


@jit
def are_negatives(excluded, rows, others, n, EXCLUDED: tl.constexpr):
    """Of which row which of the `others` are negatives; one are a column, the other a row."""
    users = n // 2
    user, other = rows % users, others % users
    real = (user != other) & (rows < n) & (others < n)
    if EXCLUDED:
        real = real & (tl.load(excluded + user * users + other, mask=real, other=1) == 0)
    return real


@jit
def forward_kernel(
    views, excluded, losses, saved, n, DIM: tl.constexpr,
    TEMPERATURE: tl.constexpr, COSINE: tl.constexpr, EXCLUDED: tl.constexpr, EPS: tl.constexpr,
    ROWS: tl.constexpr, CANDIDATES: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    known = rows < n
    own = scale_of(views, rows, n, DIM, COSINE, EPS, ROWS, AT_ONCE)
    twins = (rows + n // 2) % n
    twin = scale_of(views, twins, n, DIM, COSINE, EPS, ROWS, AT_ONCE)
    positive = paired_products(views, rows, twins, n, DIM, ROWS, AT_ONCE) * own * twin
    positive = positive / TEMPERATURE
    # log(1 + sum exp(margin)): the first term has margin 0, so the highest is 0 at least.
    highest, total = tl.zeros((ROWS,), tl.float64), tl.zeros((ROWS,), tl.float64)
    for start in range(0, n, CANDIDATES):
        others = start + tl.arange(0, CANDIDATES)
        scores = products(views, rows, others, n, DIM, ROWS, CANDIDATES, AT_ONCE)
        of_others = scale_of(views, others, n, DIM, COSINE, EPS, CANDIDATES, AT_ONCE)
        margins = scores * (own / TEMPERATURE)[:, None] * of_others[None, :] - positive[:, None]
        negative = are_negatives(excluded, rows[:, None], others[None, :], n, EXCLUDED)
        margins = tl.where(negative, margins, 0.0)
        before = highest
        highest = tl.maximum(before, tl.max(margins, 1))
        terms = tl.where(negative, tl.exp(margins - highest[:, None]), 0.0)
        total = total * tl.exp(before - highest) + tl.sum(terms, 1)
    first = tl.exp(-highest)
    loss = tl.where(highest == 0.0, log1p(total), highest + tl.log(first + total))
    tl.store(losses + rows, loss.to(tl.float32), mask=known)
    tl.store(saved + rows, loss, mask=known)
    tl.store(saved + n + rows, positive, mask=known)
    tl.store(saved + 2 * n + rows, total / (first + total), mask=known)
    tl.store(saved + 3 * n + rows, own, mask=known)


@jit
def backward_kernel(
    of_loss, views, excluded, saved, of_views, n, DIM: tl.constexpr,
    TEMPERATURE: tl.constexpr, COSINE: tl.constexpr, EXCLUDED: tl.constexpr, EPS: tl.constexpr,
    ROWS: tl.constexpr, CANDIDATES: tl.constexpr, WIDTH: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows and `WIDTH` columns of their gradients.

    A score is part of the loss of both of its rows: of the row's own, and of the candidate's.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    known = rows < n
    own_loss = tl.load(saved + rows, mask=known, other=0.0)
    own_positive = tl.load(saved + n + rows, mask=known, other=0.0)
    own = tl.load(saved + 3 * n + rows, mask=known, other=0.0)
    twins = (rows + n // 2) % n
    twin = tl.load(saved + 3 * n + twins)
    softmax = tl.load(saved + 2 * n + rows, mask=known, other=0.0) + tl.load(saved + 2 * n + twins)
    parts = tl.zeros((ROWS, CANDIDATES, WIDTH), tl.float64)
    along = -softmax * own_positive
    for start in range(0, n, CANDIDATES):
        others = start + tl.arange(0, CANDIDATES)
        inside = others < n
        loss = tl.load(saved + others, mask=inside, other=0.0)
        positive = tl.load(saved + n + others, mask=inside, other=0.0)
        other = tl.load(saved + 3 * n + others, mask=inside, other=0.0)
        scores = products(views, rows, others, n, DIM, ROWS, CANDIDATES, AT_ONCE)
        scores = scores * (own / TEMPERATURE)[:, None] * other[None, :]
        of_own = tl.exp(scores - (own_positive + own_loss)[:, None])
        mine = are_negatives(excluded, rows[:, None], others[None, :], n, EXCLUDED)
        of_other = tl.exp(scores - (positive + loss)[None, :])
        theirs = are_negatives(excluded, others[None, :], rows[:, None], n, EXCLUDED)
        share = tl.where(mine, of_own, 0.0) + tl.where(theirs, of_other, 0.0)
        along += tl.sum(share * scores, 1)
        values = row_values(views, others, columns, n, DIM)
        parts += (share * other[None, :])[:, :, None] * values[None, :, :]
    of_rows = tl.sum(parts, 1)
    of_rows -= (softmax * twin)[:, None] * row_values(views, twins, columns, n, DIM)
    of_rows = of_rows / TEMPERATURE
    if COSINE:
        # Along a vector that is only scaled, its length does not count.
        unit = row_values(views, rows, columns, n, DIM) * own[:, None]
        of_rows -= tl.where(own * EPS < 1.0, along, 0.0)[:, None] * unit
    of_rows = of_rows * own[:, None] * (tl.load(of_loss).to(tl.float64) / n)
    inside = known[:, None] & (columns < DIM)[None, :]
    at = rows.to(tl.int64)[:, None] * DIM + columns[None, :]
    tl.store(of_views + at, of_rows.to(tl.float32), mask=inside)


def results_like(views: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Room for the losses of the rows, and for what the gradient needs."""
    return views.new_empty(len(views)), views.new_empty(4, len(views), dtype=torch.float64)


@operator(
    "(Tensor views, Tensor? excluded, bool cosine, float temperature) -> (Tensor, Tensor)",
    results_like,
)
def nt_xent_forward(
    views: Views, excluded: Bool[Tensor, "users users"] | None, cosine: bool, temperature: float
) -> tuple[Float[Tensor, " views"], Saved]:
    """The loss of every row, and what the gradient needs."""
    losses, saved = results_like(views)
    n, dim = views.shape
    forward_kernel[(triton.cdiv(n, ROWS),)](
        views, views if excluded is None else excluded.view(torch.uint8), losses, saved, n,
        DIM=dim, TEMPERATURE=temperature, COSINE=cosine, EXCLUDED=excluded is not None, EPS=EPS,
        ROWS=ROWS, CANDIDATES=CANDIDATES, AT_ONCE=AT_ONCE,
    )  # fmt: skip
    return losses, saved


@operator(
    "(Tensor of_loss, Tensor views, Tensor? excluded, Tensor saved, bool cosine,"
    " float temperature) -> Tensor",
    lambda _, views, *__: torch.empty_like(views),
)
def nt_xent_backward(
    of_loss: Float[Tensor, ""], views: Views, excluded: Bool[Tensor, "users users"] | None,
    saved: Saved, cosine: bool, temperature: float,
) -> Views:  # fmt: skip
    """Gradient of the views."""
    of_views = torch.empty_like(views)
    n, dim = views.shape
    width = min(WIDTH, power_of_two(dim))
    backward_kernel[(triton.cdiv(n, ROWS), triton.cdiv(dim, width))](
        of_loss, views, views if excluded is None else excluded.view(torch.uint8), saved, of_views,
        n,
        DIM=dim, TEMPERATURE=temperature, COSINE=cosine, EXCLUDED=excluded is not None, EPS=EPS,
        ROWS=ROWS, CANDIDATES=CANDIDATES_AGAIN, WIDTH=width, AT_ONCE=AT_ONCE,
        num_warps=WARPS_AGAIN,
    )  # fmt: skip
    return of_views


class NTXent(torch.autograd.Function):
    """The mean of the rows' losses and its gradient."""

    @staticmethod
    def forward(ctx: Any, views: Tensor, excluded: Tensor | None, *options: Any) -> Tensor:
        """One kernel, and a mean."""
        losses, saved = nt_xent_forward(views, excluded, *options)
        ctx.save_for_backward(views, excluded, saved)
        ctx.options = options
        return losses.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, None, None, None]:
        """One kernel."""
        return nt_xent_backward(of_loss, *ctx.saved_tensors, *ctx.options), None, None, None


def nt_xent(
    views: Views, excluded: Bool[Tensor, "users users"] | None, cosine: bool, temperature: float
) -> Float[Tensor, ""]:
    """The loss of both views of all users: first those of all first views, then of the second."""
    return NTXent.apply(views, excluded, cosine, temperature)
