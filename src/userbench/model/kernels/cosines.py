"""Cosines of each user's predicted view with the other view, and how far vectors spread.

Plain versions, on a CPU: `F.cosine_similarity` with a target that gets no gradient, and
`spread` of methods/clue.py.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Views = Float[Tensor, "views_of_users dim"]
SHORTEST_COSINE, SHORTEST_UNIT = 1e-8, 1e-12
ROWS, SLICE = 32, 16


@jit
def cosine_kernel(
    predicted, targets, given, out, rows, users, dim,
    BACKWARD: tl.constexpr, SHORTEST: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a row: its cosine with the other view's target, or its gradient."""
    row, cols = tl.program_id(0), tl.arange(0, COLS)
    other = (row + users) % rows
    inside = cols < dim
    one = tl.load(predicted + row * dim + cols, mask=inside, other=0.0)
    two = tl.load(targets + other * dim + cols, mask=inside, other=0.0)
    length = tl.sqrt(tl.sum(one * one, 0))
    scale = 1.0 / tl.maximum(length, SHORTEST)
    target = two / tl.maximum(tl.sqrt(tl.sum(two * two, 0)), SHORTEST)
    unit = one * scale
    cosine = tl.sum(unit * target, 0)
    if BACKWARD:
        # A vector shorter than the least length is divided by a constant.
        along = tl.where(length > SHORTEST, cosine, 0.0)
        gradient = tl.load(given + row) * (target - along * unit) * scale
        tl.store(out + row * dim + cols, gradient, mask=inside)
    else:
        tl.store(out + row, cosine)


@operator("(Tensor predicted, Tensor targets) -> Tensor", lambda one, _: one.new_empty(len(one)))
def cosine_forward(predicted: Views, targets: Views) -> Float[Tensor, " views_of_users"]:
    """The cosines."""
    rows, dim = predicted.shape
    out = predicted.new_empty(rows)
    cosine_kernel[(rows,)](
        predicted, targets, out, out, rows, rows // 2, dim,
        BACKWARD=False, SHORTEST=SHORTEST_COSINE, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


@operator(
    "(Tensor given, Tensor predicted, Tensor targets) -> Tensor",
    lambda _, predicted, __: torch.empty_like(predicted),
)
def cosine_backward(
    given: Float[Tensor, " views_of_users"], predicted: Views, targets: Views
) -> Views:
    """Gradients of what is predicted."""
    rows, dim = predicted.shape
    out = torch.empty_like(predicted)
    cosine_kernel[(rows,)](
        predicted, targets, given, out, rows, rows // 2, dim,
        BACKWARD=True, SHORTEST=SHORTEST_COSINE, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


class Cosine(torch.autograd.Function):
    """The operator and its gradient; targets have none."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, targets: Tensor) -> Tensor:
        """The cosines."""
        ctx.save_for_backward(predicted, targets)
        return cosine_forward(predicted, targets)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        """One kernel."""
        return cosine_backward(given.contiguous(), *ctx.saved_tensors), None


def cosine_with_other_view(predicted: Views, targets: Views) -> Float[Tensor, " views_of_users"]:
    """Of two views of each user: cos(predicted, target of the other view), which is held fixed."""
    return Cosine.apply(predicted, targets.detach())


@jit
def spread_kernel(
    vectors, out, n, dim, scale, SHORTEST: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """One program for some columns: their standard deviation over unit vectors, scaled."""
    all_cols = tl.arange(0, COLS)
    cols = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    mean = tl.zeros((SLICE,), tl.float32)
    squares = tl.zeros((SLICE,), tl.float32)
    for second in range(2):
        for block in range(0, n, ROWS):
            rows = block + tl.arange(0, ROWS)
            first = rows.to(tl.int64)[:, None] * dim
            known = (rows < n)[:, None]
            whole = tl.load(
                vectors + first + all_cols[None, :],
                mask=known & (all_cols < dim)[None, :],
                other=0.0,
            )
            length = tl.maximum(tl.sqrt(tl.sum(whole * whole, 1)), SHORTEST)
            inside = known & (cols < dim)[None, :]
            unit = tl.load(vectors + first + cols[None, :], mask=inside, other=0.0)
            unit = unit / length[:, None]
            if second == 0:
                mean += tl.sum(unit, 0) / n
            else:
                away = tl.where(inside, unit - mean[None, :], 0.0)
                squares += tl.sum(away * away, 0)
    tl.store(out + cols, tl.sqrt(squares / (n - 1)) * scale, mask=cols < dim)


@operator("(Tensor vectors) -> Tensor", lambda vectors: vectors.new_empty(vectors.shape[1]))
def spread_by_column(vectors: Views) -> Float[Tensor, " dim"]:
    """Standard deviation of each column of the unit vectors, times sqrt(dim)."""
    n, dim = vectors.shape
    out = vectors.new_empty(dim)
    spread_kernel[(triton.cdiv(dim, SLICE),)](
        vectors, out, n, dim, dim**0.5,
        SHORTEST=SHORTEST_UNIT, ROWS=ROWS, SLICE=SLICE, COLS=power_of_two(dim),
    )  # fmt: skip
    return out
