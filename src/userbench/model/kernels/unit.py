"""Vectors scaled to one length in one kernel, and their gradient in one.

Plain version, on a CPU: `F.normalize(vectors, dim=-1) * length`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Vectors = Float[Tensor, "vectors dim"]
EPS = 1e-12
ROWS = 8


@jit
def scaled(vectors, rows, cols, inside, dim, EPS: tl.constexpr):
    """Vectors of length 1, and what they were multiplied by."""
    values = tl.load(vectors + rows[:, None] * dim + cols[None, :], mask=inside, other=0.0)
    scale = 1.0 / tl.maximum(tl.sqrt(tl.sum(values * values, 1)), EPS)
    return values * scale[:, None], scale


@jit
def forward_kernel(
    vectors, out, n, dim, length, EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):
    """One program for `ROWS` vectors."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    values, _ = scaled(vectors, rows, cols, inside, dim, EPS)
    tl.store(out + rows[:, None] * dim + cols[None, :], values * length, mask=inside)


@jit
def backward_kernel(
    of_out, vectors, of_vectors, n, dim, length,
    EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` vectors."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    values, scale = scaled(vectors, rows, cols, inside, dim, EPS)
    at = rows[:, None] * dim + cols[None, :]
    given = tl.load(of_out + at, mask=inside, other=0.0)
    along = tl.where(scale * EPS < 1.0, tl.sum(given * values, 1), 0.0)
    found = (given - values * along[:, None]) * (scale * length)[:, None]
    tl.store(of_vectors + at, found, mask=inside)


@operator("(Tensor vectors, float length) -> Tensor", lambda vectors, _: torch.empty_like(vectors))
def unit_forward(vectors: Vectors, length: float) -> Vectors:
    """Vectors of this length."""
    out = torch.empty_like(vectors)
    n, dim = vectors.shape
    forward_kernel[(triton.cdiv(n, ROWS),)](
        vectors, out, n, dim, length, EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return out


@operator(
    "(Tensor of_out, Tensor vectors, float length) -> Tensor",
    lambda _, vectors, __: torch.empty_like(vectors),
)
def unit_backward(of_out: Vectors, vectors: Vectors, length: float) -> Vectors:
    """Gradient of the vectors."""
    of_vectors = torch.empty_like(vectors)
    n, dim = vectors.shape
    backward_kernel[(triton.cdiv(n, ROWS),)](
        of_out, vectors, of_vectors, n, dim, length,
        EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return of_vectors


class Unit(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, length: float) -> Tensor:
        """One kernel."""
        ctx.save_for_backward(vectors)
        ctx.length = length
        return unit_forward(vectors, length)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor, None]:
        """One kernel."""
        return unit_backward(of_out.contiguous(), *ctx.saved_tensors, ctx.length), None


def of_length(vectors: Float[Tensor, "... dim"], length: float) -> Float[Tensor, "... dim"]:
    """Vectors scaled to this length; one of zeros stays one."""
    return Unit.apply(vectors.flatten(0, -2), length).view_as(vectors)
