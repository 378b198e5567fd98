"""AdaptSSR's loss by the hardest pairs in one kernel, its gradient in one; no matrix is kept.

Plain version, on a CPU: `methods/adaptssr.py` with `hardest_pairs`. The anchors are the rows of
the first and third view; an anchor's pairs are numbered as in `IMPLICIT` and so on.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float32, Float64, Int32
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton
from userbench.model.kernels.logistic import log1p
from userbench.model.kernels.products import AT_ONCE, paired_products, products, row_values

Views = Float[Tensor, "views width"]
"""All users' vectors in one view, its dropout twin, the other view, its twin."""
Saved = tuple[Float64[Tensor, "2 4 anchors"], Int32[Tensor, " anchors"], Float64[Tensor, " views"]]
"""Of each anchor the slope of its loss in the cosine of each pair, and this cosine; which row is
its hardest other; of each row 1 / its length."""
EPS = 1e-12
ROWS, CANDIDATES, WIDTH = 2, 32, 64


@jit
def inverse_lengths(views, rows, n, DIM: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr,
                    AT_ONCE: tl.constexpr):  # fmt: skip
    """1 / the length of each row."""
    squares = paired_products(views, rows, rows, n, DIM, ROWS, AT_ONCE)
    return 1.0 / tl.maximum(tl.sqrt(squares), EPS)


@jit
def forward_kernel(
    views, losses, pairs, hardest, lengths, n, DIM: tl.constexpr,
    WEIGHT: tl.constexpr, CLAMPED: tl.constexpr, TEMPERATURE: tl.constexpr, EPS: tl.constexpr,
    ROWS: tl.constexpr, CANDIDATES: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` anchors."""
    anchors = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    users, of_anchors = n // 4, n // 2
    known = anchors < of_anchors
    # Behind the last anchor there is no row, either.
    rows = tl.where(known, anchors // users * 2 * users + anchors % users, n)
    twins = tl.where(known, rows + users, n)
    explicit = tl.where(known, (1 - anchors // users) * 2 * users + anchors % users, n)
    explicit_twins = tl.where(known, explicit + users, n)

    own = inverse_lengths(views, rows, n, DIM, EPS, ROWS, AT_ONCE)
    twin = inverse_lengths(views, twins, n, DIM, EPS, ROWS, AT_ONCE)
    other = inverse_lengths(views, explicit, n, DIM, EPS, ROWS, AT_ONCE)
    other_twin = inverse_lengths(views, explicit_twins, n, DIM, EPS, ROWS, AT_ONCE)
    implicit = paired_products(views, rows, twins, n, DIM, ROWS, AT_ONCE) * own * twin
    first = paired_products(views, rows, explicit, n, DIM, ROWS, AT_ONCE) * own * other
    second = paired_products(views, rows, explicit_twins, n, DIM, ROWS, AT_ONCE)
    second = second * own * other_twin

    far = tl.full((ROWS,), -2.0, tl.float64)
    far_row = tl.zeros((ROWS,), tl.int32)
    for start in range(0, n, CANDIDATES):
        others = start + tl.arange(0, CANDIDATES)
        cosines = products(views, rows, others, n, DIM, ROWS, CANDIDATES, AT_ONCE)
        scale = inverse_lengths(views, others, n, DIM, EPS, CANDIDATES, AT_ONCE)
        cosines = cosines * own[:, None] * scale[None, :]
        different = (anchors % users)[:, None] != (others % users)[None, :]
        cosines = tl.where(different & (others < n)[None, :], cosines, -2.0)
        nearest = tl.max(cosines, 1)
        # Of equal ones the first; the plain version divides the gradient among them.
        place = tl.min(tl.where(cosines == nearest[:, None], others[None, :], n), 1)
        far_row = tl.where(nearest > far, place, far_row)
        far = tl.maximum(far, nearest)

    if WEIGHT is None:
        third = paired_products(views, twins, explicit, n, DIM, ROWS, AT_ONCE) * twin * other
        fourth = paired_products(views, twins, explicit_twins, n, DIM, ROWS, AT_ONCE)
        fourth = fourth * twin * other_twin
        if CLAMPED:
            crossed = tl.maximum(first, 0.0) + tl.maximum(second, 0.0)
            crossed += tl.maximum(third, 0.0) + tl.maximum(fourth, 0.0)
        else:
            crossed = first + second + third + fourth
        weight = 1.0 - crossed / 4.0
    else:
        weight = tl.full((ROWS,), WEIGHT, tl.float64)

    near, middle = tl.maximum(first, second), tl.minimum(first, second)
    margin = (weight * (implicit - near) + (1.0 - weight) * (middle - far)) / TEMPERATURE
    small = tl.exp(-tl.abs(margin))
    loss = tl.maximum(-margin, 0.0) + log1p(small)
    slope = -tl.where(margin > 0.0, small, 1.0) / (1.0 + small) / TEMPERATURE
    # Equal ones share the gradient, as in the plain version.
    is_near = tl.where(first == second, 0.5, tl.where(first > second, 1.0, 0.0))
    above = tl.where(implicit > first, 0.5, 0.0) + tl.where(implicit > second, 0.5, 0.0)
    above_far = tl.where(first > far, 0.5, 0.0) + tl.where(second > far, 0.5, 0.0)
    tl.store(losses + anchors, loss.to(tl.float32), mask=known)
    tl.store(losses + of_anchors + anchors, above.to(tl.float32), mask=known)
    tl.store(losses + 2 * of_anchors + anchors, above_far.to(tl.float32), mask=known)

    of_near, of_middle = -slope * weight, slope * (1.0 - weight)
    of_first = is_near * of_near + (1.0 - is_near) * of_middle
    of_second = (1.0 - is_near) * of_near + is_near * of_middle
    tl.store(pairs + anchors, slope * weight, mask=known)
    tl.store(pairs + of_anchors + anchors, of_first, mask=known)
    tl.store(pairs + 2 * of_anchors + anchors, of_second, mask=known)
    tl.store(pairs + 3 * of_anchors + anchors, -of_middle, mask=known)
    tl.store(pairs + 4 * of_anchors + anchors, implicit, mask=known)
    tl.store(pairs + 5 * of_anchors + anchors, first, mask=known)
    tl.store(pairs + 6 * of_anchors + anchors, second, mask=known)
    tl.store(pairs + 7 * of_anchors + anchors, far, mask=known)
    tl.store(hardest + anchors, far_row, mask=known)
    tl.store(lengths + rows, own, mask=known)
    tl.store(lengths + twins, twin, mask=known)


@jit
def unit_rows(views, lengths, rows, columns, n, DIM: tl.constexpr):
    """Some columns of rows divided by their lengths."""
    scale = tl.load(lengths + rows, mask=rows < n, other=0.0)
    return row_values(views, rows, columns, n, DIM) * scale[:, None]


@jit
def backward_kernel(
    of_loss, views, pairs, hardest, lengths, of_views, n, DIM: tl.constexpr,
    EPS: tl.constexpr, ROWS: tl.constexpr, CANDIDATES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows and `WIDTH` columns of their gradients.

    A row is in pairs as an anchor, as its twin's, as an explicit view of the other anchor of the
    user, and as the hardest other of any anchors, which it looks for.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    users, of_anchors = n // 4, n // 2
    known = rows < n
    view, user = rows // users, rows % users
    anchor = view % 2 == 0
    mine, theirs = view // 2 * users + user, (1 - view // 2) * users + user
    as_explicit = (1 + view % 2) * of_anchors + theirs
    cosines = 4 * of_anchors

    of_twin = tl.load(pairs + mine, mask=known, other=0.0)
    of_explicit = tl.load(pairs + as_explicit, mask=known, other=0.0)
    along = of_twin * tl.load(pairs + cosines + mine, mask=known, other=0.0)
    along += of_explicit * tl.load(pairs + cosines + as_explicit, mask=known, other=0.0)
    is_anchor = known & anchor
    of_first = tl.load(pairs + of_anchors + mine, mask=is_anchor, other=0.0)
    of_second = tl.load(pairs + 2 * of_anchors + mine, mask=is_anchor, other=0.0)
    of_far = tl.load(pairs + 3 * of_anchors + mine, mask=is_anchor, other=0.0)
    at = pairs + cosines + mine
    along += of_first * tl.load(at + of_anchors, mask=is_anchor, other=0.0)
    along += of_second * tl.load(at + 2 * of_anchors, mask=is_anchor, other=0.0)
    along += of_far * tl.load(at + 3 * of_anchors, mask=is_anchor, other=0.0)

    twin = tl.where(anchor, rows + users, rows - users)
    other = (1 - view // 2) * 2 * users + user
    far = tl.load(hardest + mine, mask=is_anchor, other=0)
    total = of_twin[:, None] * unit_rows(views, lengths, twin, columns, n, DIM)
    crossed = (of_explicit + of_first)[:, None]
    total += crossed * unit_rows(views, lengths, other, columns, n, DIM)
    total += of_second[:, None] * unit_rows(views, lengths, other + users, columns, n, DIM)
    total += of_far[:, None] * unit_rows(views, lengths, far, columns, n, DIM)

    parts = tl.zeros((ROWS, CANDIDATES, WIDTH), tl.float64)
    for start in range(0, of_anchors, CANDIDATES):
        anchors = start + tl.arange(0, CANDIDATES)
        inside = anchors < of_anchors
        found = tl.load(hardest + anchors, mask=inside, other=-1)[None, :] == rows[:, None]
        share = tl.load(pairs + 3 * of_anchors + anchors, mask=inside, other=0.0)
        share = tl.where(found, share[None, :], 0.0)
        cosine = tl.load(pairs + 7 * of_anchors + anchors, mask=inside, other=0.0)
        along += tl.sum(share * cosine[None, :], 1)
        of_them = tl.where(inside, anchors // users * 2 * users + anchors % users, n)
        values = unit_rows(views, lengths, of_them, columns, n, DIM)
        parts += share[:, :, None] * values[None, :, :]
    total += tl.sum(parts, 1)

    scale = tl.load(lengths + rows, mask=known, other=0.0)
    # Along a vector that is only scaled, its length does not count.
    along = tl.where(scale * EPS < 1.0, along, 0.0)
    total -= along[:, None] * unit_rows(views, lengths, rows, columns, n, DIM)
    total = total * scale[:, None] * (tl.load(of_loss).to(tl.float64) / of_anchors)
    to = rows.to(tl.int64)[:, None] * DIM + columns[None, :]
    inside = known[:, None] & (columns < DIM)[None, :]
    tl.store(of_views + to, total.to(tl.float32), mask=inside)


def results_like(views: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for losses and logs of all anchors, and for what the gradient needs."""
    rows, anchors = len(views), len(views) // 2
    return (
        views.new_empty(3, anchors),
        views.new_empty(2, 4, anchors, dtype=torch.float64),
        views.new_empty(anchors, dtype=torch.int32),
        views.new_empty(rows, dtype=torch.float64),
    )


@operator(
    "(Tensor views, float? weight, bool clamped, float temperature)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    results_like,
)
def ranking_forward(
    views: Views, weight: float | None, clamped: bool, temperature: float
) -> tuple[Float32[Tensor, "3 anchors"], Tensor, Tensor, Tensor]:
    """Of each anchor its loss and shares of orders that hold; and what the gradient needs."""
    results = results_like(views)
    n, dim = views.shape
    forward_kernel[(triton.cdiv(n // 2, ROWS),)](
        views, *results, n,
        DIM=dim, WEIGHT=weight, CLAMPED=clamped, TEMPERATURE=temperature, EPS=EPS,
        ROWS=ROWS, CANDIDATES=CANDIDATES, AT_ONCE=AT_ONCE,
    )  # fmt: skip
    return results


@operator(
    "(Tensor of_loss, Tensor views, Tensor pairs, Tensor hardest, Tensor lengths) -> Tensor",
    lambda _, views, *__: torch.empty_like(views),
)
def ranking_backward(
    of_loss: Float[Tensor, ""], views: Views,
    pairs: Float64[Tensor, "2 4 anchors"], hardest: Int32[Tensor, " anchors"],
    lengths: Float64[Tensor, " views"],
) -> Views:  # fmt: skip
    """Gradient of the views."""
    of_views = torch.empty_like(views)
    n, dim = views.shape
    width = min(WIDTH, power_of_two(dim))
    backward_kernel[(triton.cdiv(n, ROWS), triton.cdiv(dim, width))](
        of_loss, views, pairs, hardest, lengths, of_views, n,
        DIM=dim, EPS=EPS, ROWS=ROWS, CANDIDATES=CANDIDATES, WIDTH=width,
    )  # fmt: skip
    return of_views


class HardestPairs(torch.autograd.Function):
    """Means over anchors, and the gradient of the first of them, the loss."""

    @staticmethod
    def forward(ctx: Any, views: Tensor, *options: Any) -> tuple[Tensor, ...]:
        """One kernel, and a mean."""
        ctx.set_materialize_grads(False)
        losses, *saved = ranking_forward(views, *options)
        ctx.save_for_backward(views, *saved)
        loss, *logs = losses.mean(1).unbind()
        ctx.mark_non_differentiable(*logs)
        return loss, *logs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_loss: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        """One kernel."""
        return ranking_backward(of_loss, *ctx.saved_tensors), None, None, None


def hardest_pairs(
    views: Sequence[Float[Tensor, "users width"]], coefficient: str | float, temperature: float
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Loss, and how often each order holds; `coefficient`: "paper", "unclamped" or a number."""
    weight = None if isinstance(coefficient, str) else float(coefficient)
    loss, implicit_above, explicit_above = HardestPairs.apply(
        torch.cat(list(views)), weight, coefficient == "paper", temperature
    )
    logs = {
        "implicit_above_explicit": implicit_above,
        "explicit_above_others": explicit_above,
    }
    return loss, logs
