"""A layer's end in one kernel: bias, dropout, residual and LayerNorm; backward in one, too.

Plain version, on a CPU: `norm(residual + dropout(product + bias))` of `encoder.TransformerLayer`.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import (
    Seed,
    jit,
    operator,
    power_of_two,
    tl,
    triton,
)

Rows = Float[Tensor, "rows dim"]
Vector = Float[Tensor, " dim"]
EPS = 1e-12
ROWS = 16


class Twice(NamedTuple):
    """One tensor for its two readers, so that their gradients are added in the kernel."""

    first: Rows
    second: Rows


@jit
def normalised(
    product, bias, residual, seed, rows, cols, inside, place, rate, dim, EPS: tl.constexpr
):
    """Normalised sum, 1 / its standard deviation, and what dropout multiplied each value by."""
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    value = tl.load(product + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + cols, mask=cols < dim, other=0.0)[None, :]
    keep = tl.rand(tl.load(seed) + place, at.to(tl.int32)) >= rate
    scale = tl.where(keep, 1.0 / (1.0 - rate), 0.0)
    total = value * scale + tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(total, 1) / dim
    centred = tl.where(inside, total - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / dim + EPS)
    return centred * rstd[:, None], rstd, scale


@jit
def residual_norm_kernel(
    product, bias, residual, gamma, beta, seed, out, n, place, rate, dim,
    EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    unit, _, _ = normalised(
        product, bias, residual, seed, rows, cols, inside, place, rate, dim, EPS
    )
    scale = tl.load(gamma + cols, mask=cols < dim, other=0.0)
    shift = tl.load(beta + cols, mask=cols < dim, other=0.0)
    values = unit * scale[None, :] + shift[None, :]
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


@jit
def residual_norm_gradient_kernel(
    of_first, of_second, product, bias, residual, gamma, seed,
    of_product, of_residual, of_vectors, n, place, rate, dim,
    BOTH: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` rows; their sums for gamma, beta and bias go to a row of their own."""
    program = tl.program_id(0)
    rows = program * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    known = cols < dim
    inside = (rows < n)[:, None] & known[None, :]
    at = rows.to(tl.int64)[:, None] * dim + cols[None, :]
    unit, rstd, scale = normalised(
        product, bias, residual, seed, rows, cols, inside, place, rate, dim, EPS
    )
    given = tl.load(of_first + at, mask=inside, other=0.0).to(tl.float32)
    if BOTH:
        given += tl.load(of_second + at, mask=inside, other=0.0).to(tl.float32)
    inner = given * tl.load(gamma + cols, mask=known, other=0.0)[None, :]
    along = tl.sum(inner * unit, 1) / dim
    of_total = (inner - tl.sum(inner, 1)[:, None] / dim - unit * along[:, None]) * rstd[:, None]
    of_total = tl.where(inside, of_total, 0.0)
    tl.store(of_residual + at, of_total.to(of_residual.dtype.element_ty), mask=inside)
    of_value = of_total * scale
    tl.store(of_product + at, of_value.to(of_product.dtype.element_ty), mask=inside)
    sums = of_vectors + program * 3 * dim + cols
    tl.store(sums, tl.sum(given * unit, 0), mask=known)
    tl.store(sums + dim, tl.sum(given, 0), mask=known)
    tl.store(sums + 2 * dim, tl.sum(of_value, 0), mask=known)


@operator(
    "(Tensor product, Tensor bias, Tensor residual, Tensor gamma, Tensor beta, Tensor seed,"
    " int place, float rate) -> Tensor",
    lambda product, *_: torch.empty_like(product),
)
def residual_norm_forward(
    product: Rows, bias: Vector, residual: Rows, gamma: Vector, beta: Vector,
    seed: Seed, place: int, rate: float,
) -> Rows:  # fmt: skip
    """The layer's end."""
    out = torch.empty_like(product)
    n, dim = product.shape
    residual_norm_kernel[(triton.cdiv(n, ROWS),)](
        product, bias, residual, gamma, beta, seed, out, n, place, rate, dim,
        EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return out


def gradients_like(of_first: Any, of_second: Any, product: Tensor, *_: Any) -> tuple[Tensor, ...]:
    """Room for the gradients of product, residual, and (by program) gamma, beta and bias."""
    programs = -(-len(product) // ROWS)
    vectors = product.new_empty(programs, 3, product.shape[1], dtype=torch.float32)
    return torch.empty_like(product), torch.empty_like(product), vectors


@operator(
    "(Tensor of_first, Tensor? of_second, Tensor product, Tensor bias, Tensor residual,"
    " Tensor gamma, Tensor seed, int place, float rate) -> (Tensor, Tensor, Tensor)",
    gradients_like,
)
def residual_norm_backward(
    of_first: Rows, of_second: Rows | None, product: Rows, bias: Vector, residual: Rows,
    gamma: Vector, seed: Seed, place: int, rate: float,
) -> tuple[Rows, Rows, Float[Tensor, "programs 3 dim"]]:  # fmt: skip
    """Gradients of product and residual, and of gamma, beta and bias, by program."""
    of_product, of_residual, of_vectors = gradients_like(of_first, of_second, product)
    n, dim = product.shape
    residual_norm_gradient_kernel[(triton.cdiv(n, ROWS),)](
        of_first, of_first if of_second is None else of_second, product, bias, residual, gamma,
        seed, of_product, of_residual, of_vectors, n, place, rate, dim,
        BOTH=of_second is not None, EPS=EPS, ROWS=ROWS, COLS=power_of_two(dim),
    )  # fmt: skip
    return of_product, of_residual, of_vectors


class ResidualNorm(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        """The layer's end, for two readers."""
        ctx.set_materialize_grads(False)
        product, bias, residual, gamma, _, seed, place, rate = given
        ctx.save_for_backward(product, bias, residual, gamma, seed)
        ctx.drawn = place, rate
        out = residual_norm_forward(*given)
        return out, out.view_as(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_first: Tensor | None, of_second: Tensor | None) -> tuple:
        """One kernel, and the sum over its programs."""
        if of_first is None:
            of_first, of_second = of_second, None
        of_product, of_residual, by_program = residual_norm_backward(
            of_first, of_second, *ctx.saved_tensors, *ctx.drawn
        )
        of_gamma, of_beta, of_bias = by_program.sum(0)
        return of_product, of_bias, of_residual, of_gamma, of_beta, None, None, None


def residual_norm(
    product: Rows, bias: Vector, residual: Rows, gamma: Vector, beta: Vector,
    seed: Seed, place: int, rate: float,
) -> Twice:  # fmt: skip
    """LayerNorm(residual + dropout(product + bias)); sums and norm in fp32, result as `product`."""
    return Twice(*ResidualNorm.apply(product, bias, residual, gamma, beta, seed, place, rate))
