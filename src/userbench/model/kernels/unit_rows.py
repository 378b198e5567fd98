"""Rows as unit vectors, times a number, in one kernel; backward in one, too.

Plain version, on a CPU: `F.normalize(values, dim=-1) * scale`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl

Rows = Float[Tensor, "*rows dim"]
SHORTEST = 1e-12


@jit
def unit_rows_kernel(
    values, given, out, dim, scale,
    BACKWARD: tl.constexpr, SHORTEST: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a row: its unit vector, or its gradient."""
    cols = tl.arange(0, COLS)
    at = tl.program_id(0).to(tl.int64) * dim + cols
    value = tl.load(values + at, mask=cols < dim, other=0.0)
    length = tl.sqrt(tl.sum(value * value, 0))
    shrink = scale / tl.maximum(length, SHORTEST)
    if BACKWARD:
        gradient = tl.load(given + at, mask=cols < dim, other=0.0)
        # A vector shorter than the least length is divided by a constant.
        squared = tl.where(length > SHORTEST, length * length, float("inf"))
        along = tl.sum(gradient * value, 0) / squared
        tl.store(out + at, (gradient - along * value) * shrink, mask=cols < dim)
    else:
        tl.store(out + at, value * shrink, mask=cols < dim)


@operator("(Tensor values, float scale) -> Tensor", lambda values, _: torch.empty_like(values))
def unit_rows_forward(values: Rows, scale: float) -> Rows:
    """The unit vectors, times `scale`."""
    out, dim = torch.empty_like(values), values.shape[-1]
    unit_rows_kernel[(values.numel() // dim,)](
        values, values, out, dim, scale,
        BACKWARD=False, SHORTEST=SHORTEST, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


@operator(
    "(Tensor given, Tensor values, float scale) -> Tensor",
    lambda _, values, __: torch.empty_like(values),
)
def unit_rows_backward(given: Rows, values: Rows, scale: float) -> Rows:
    """Gradients of the values."""
    out, dim = torch.empty_like(values), values.shape[-1]
    unit_rows_kernel[(values.numel() // dim,)](
        values, given, out, dim, scale,
        BACKWARD=True, SHORTEST=SHORTEST, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


class UnitRows(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:
        """The unit vectors, times `scale`."""
        ctx.save_for_backward(values)
        ctx.scale = scale
        return unit_rows_forward(values, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        """One kernel."""
        return unit_rows_backward(given.contiguous(), *ctx.saved_tensors, ctx.scale), None


def unit_rows(values: Rows, scale: float = 1.0) -> Rows:
    """Each row divided by its length, times `scale`."""
    return UnitRows.apply(values.contiguous(), scale)
