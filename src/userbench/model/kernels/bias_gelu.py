"""Bias and exact GELU in one kernel; backward in one, too.

Plain version, on a CPU: `F.gelu(product + bias)`, of which `F.gelu(F.linear(..))` is made.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Rows = Float[Tensor, "rows dim"]
Vector = Float[Tensor, " dim"]
ROWS = 16


@jit
def gelu_kernel(
    product, bias, given, out, of_bias, n, dim, BACKWARD: tl.constexpr, ROWS: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows: values, or gradients and their sum."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    value = tl.load(product + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + cols, mask=cols < dim, other=0.0)[None, :]
    below = 0.5 * (1.0 + tl.erf(value * 0.7071067811865476))
    if BACKWARD:
        density = 0.3989422804014327 * tl.exp(-0.5 * value * value)
        gradient = tl.load(given + at, mask=inside, other=0.0).to(tl.float32)
        result = gradient * (below + value * density)
        sums = of_bias + tl.program_id(0) * dim + cols
        tl.store(sums, tl.sum(tl.where(inside, result, 0.0), 0), mask=cols < dim)
    else:
        result = value * below
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)


@operator("(Tensor product, Tensor bias) -> Tensor", lambda product, _: torch.empty_like(product))
def bias_gelu_forward(product: Rows, bias: Vector) -> Rows:
    """GELU(product + bias)."""
    out = torch.empty_like(product)
    n, dim = product.shape
    gelu_kernel[(triton.cdiv(n, ROWS),)](
        product, bias, product, out, out, n, dim, BACKWARD=False, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return out


def gradients_like(given: Tensor, product: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Room for the gradients of the product and (by program) of the bias."""
    by_program = product.new_empty(-(-len(product) // ROWS), product.shape[1], dtype=torch.float32)
    return torch.empty_like(product), by_program


@operator("(Tensor given, Tensor product, Tensor bias) -> (Tensor, Tensor)", gradients_like)
def bias_gelu_backward(
    given: Rows, product: Rows, bias: Vector
) -> tuple[Rows, Float[Tensor, "programs dim"]]:
    """Gradients of the product, and of the bias, by program."""
    of_product, of_bias = gradients_like(given, product)
    n, dim = product.shape
    gelu_kernel[(triton.cdiv(n, ROWS),)](
        product, bias, given, of_product, of_bias, n, dim,
        BACKWARD=True, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return of_product, of_bias


class BiasGelu(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, product: Tensor, bias: Tensor) -> Tensor:
        """GELU(product + bias)."""
        ctx.save_for_backward(product, bias)
        return bias_gelu_forward(product, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor]:
        """One kernel, and the sum over its programs."""
        of_product, by_program = bias_gelu_backward(given.contiguous(), *ctx.saved_tensors)
        return of_product, by_program.sum(0)


def bias_gelu(product: Rows, bias: Vector) -> Rows:
    """GELU(product + bias), in fp32 inside, as `product` outside."""
    return BiasGelu.apply(product, bias)
