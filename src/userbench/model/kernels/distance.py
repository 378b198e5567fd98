"""Minus the cosine of each view's rows with the other view's, in one kernel; gradient in one.

Plain version, on a CPU: `Heads.distance` of `methods/clue.py`, both ways.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Views = Float[Tensor, "views dim"]
"""All users in the first view, then in the second."""
EPS = 1e-8
ROWS = 4


@jit
def compared(one, other, rows, cols, n, dim, EPS: tl.constexpr):
    """Each row in unit length, the row of the other view too, 1 / the length of the first."""
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    twins = (rows + n // 2) % n
    row = tl.load(one + rows[:, None] * dim + cols[None, :], mask=inside, other=0.0)
    twin = tl.load(other + twins[:, None] * dim + cols[None, :], mask=inside, other=0.0)
    scale = 1.0 / tl.maximum(tl.sqrt(tl.sum(row * row, 1)), EPS)
    scale_of_twin = 1.0 / tl.maximum(tl.sqrt(tl.sum(twin * twin, 1)), EPS)
    return row * scale[:, None], twin * scale_of_twin[:, None], scale


@jit
def forward_kernel(
    one, other, distances, n, dim, EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):
    """One program for `ROWS` rows."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    row, twin, _ = compared(one, other, rows, cols, n, dim, EPS)
    tl.store(distances + rows, -tl.sum(row * twin, 1), mask=rows < n)


@jit
def backward_kernel(
    of_mean, one, other, of_one, n, dim,
    EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    row, twin, scale = compared(one, other, rows, cols, n, dim, EPS)
    along = tl.where(scale * EPS < 1.0, tl.sum(row * twin, 1), 0.0)
    values = (row * along[:, None] - twin) * (scale * (tl.load(of_mean) / n))[:, None]
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    tl.store(of_one + rows[:, None] * dim + cols[None, :], values, mask=inside)


@operator("(Tensor one, Tensor other) -> Tensor", lambda one, _: one.new_empty(len(one)))
def distance_forward(one: Views, other: Views) -> Float[Tensor, " views"]:
    """Minus the cosine of each row of `one` with the same user's in the other view of `other`."""
    distances = one.new_empty(len(one))
    n, dim = one.shape
    forward_kernel[(triton.cdiv(n, ROWS),)](
        one, other, distances, n, dim, EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return distances


@operator(
    "(Tensor of_mean, Tensor one, Tensor other) -> Tensor",
    lambda _, one, __: torch.empty_like(one),
)
def distance_backward(of_mean: Float[Tensor, ""], one: Views, other: Views) -> Views:
    """Gradient of the mean distance in `one`."""
    of_one = torch.empty_like(one)
    n, dim = one.shape
    backward_kernel[(triton.cdiv(n, ROWS),)](
        of_mean, one, other, of_one, n, dim, EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return of_one


class CrossedDistance(torch.autograd.Function):
    """The mean distance and its gradient; to be the other view is mutual."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        """One kernel, and a mean."""
        ctx.save_for_backward(one, other)
        return distance_forward(one, other).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_mean: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """One kernel for each that has a gradient."""
        one, other = ctx.saved_tensors
        needed = ctx.needs_input_grad
        of_one = distance_backward(of_mean, one, other) if needed[0] else None
        return of_one, distance_backward(of_mean, other, one) if needed[1] else None


def crossed_distance(one: Views, other: Views) -> Float[Tensor, ""]:
    """Mean of minus the cosine of each row with the same user's in the other view of `other`."""
    return CrossedDistance.apply(one, other)
