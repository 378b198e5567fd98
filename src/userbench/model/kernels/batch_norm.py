"""Batch norm of several views at once, each by its own statistics, with the ReLU that follows.

Plain version, on a CPU: `relu(norm(view))` of one view after the other, `norm` a BatchNorm1d.
"""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from userbench.model.kernels.language import jit, operator, tl, triton

Rows = Float[Tensor, "views_of_users dim"]
Vector = Float[Tensor, " dim"]
ByView = Float[Tensor, "views dim"]
EPS = 1e-5
ROWS, COLS = 128, 16


@jit
def block(values, first, row, users, cols, dim, ROWS: tl.constexpr):
    """Some rows of a view and some columns, and which of them there are."""
    rows = row + tl.arange(0, ROWS)
    inside = (rows < users)[:, None] & (cols < dim)[None, :]
    at = (first + rows).to(tl.int64)[:, None] * dim + cols[None, :]
    return tl.load(values + at, mask=inside, other=0.0), inside, at


@jit
def moments(values, first, users, cols, dim, EPS: tl.constexpr, ROWS: tl.constexpr):
    """Mean of each column, and 1 / its standard deviation."""
    mean = tl.zeros_like(cols).to(tl.float32)
    for row in range(0, users, ROWS):
        some, _, _ = block(values, first, row, users, cols, dim, ROWS)
        mean += tl.sum(some, 0)
    mean = mean / users
    variance = tl.zeros_like(cols).to(tl.float32)
    for row in range(0, users, ROWS):
        some, inside, _ = block(values, first, row, users, cols, dim, ROWS)
        centred = tl.where(inside, some - mean[None, :], 0.0)
        variance += tl.sum(centred * centred, 0)
    return mean, 1.0 / tl.sqrt(variance / users + EPS)


@jit
def batch_norm_kernel(
    values, gamma, beta, out, users, dim,
    RELU: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a view and some columns."""
    first = tl.program_id(0) * users
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    mean, rstd = moments(values, first, users, cols, dim, EPS, ROWS)
    scale = rstd * tl.load(gamma + cols, mask=cols < dim, other=0.0)
    shift = tl.load(beta + cols, mask=cols < dim, other=0.0)
    for row in range(0, users, ROWS):
        some, inside, at = block(values, first, row, users, cols, dim, ROWS)
        result = (some - mean[None, :]) * scale[None, :] + shift[None, :]
        if RELU:
            result = tl.maximum(result, 0.0)
        tl.store(out + at, result, mask=inside)


@jit
def batch_norm_gradient_kernel(
    given, values, gamma, beta, out, of_gamma, of_beta, users, dim,
    RELU: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for a view and some columns."""
    view = tl.program_id(0)
    first = view * users
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    mean, rstd = moments(values, first, users, cols, dim, EPS, ROWS)
    scale = tl.load(gamma + cols, mask=cols < dim, other=0.0)
    shift = tl.load(beta + cols, mask=cols < dim, other=0.0)
    along = tl.zeros((COLS,), tl.float32)
    total = tl.zeros((COLS,), tl.float32)
    for row in range(0, users, ROWS):
        some, inside, _ = block(values, first, row, users, cols, dim, ROWS)
        gradient, _, _ = block(given, first, row, users, cols, dim, ROWS)
        unit = tl.where(inside, (some - mean[None, :]) * rstd[None, :], 0.0)
        if RELU:
            kept = unit * scale[None, :] + shift[None, :] > 0
            gradient = tl.where(kept, gradient, 0.0)
        along += tl.sum(gradient * unit, 0)
        total += tl.sum(gradient, 0)
    tl.store(of_gamma + view * dim + cols, along, mask=cols < dim)
    tl.store(of_beta + view * dim + cols, total, mask=cols < dim)
    for row in range(0, users, ROWS):
        some, inside, at = block(values, first, row, users, cols, dim, ROWS)
        gradient, _, _ = block(given, first, row, users, cols, dim, ROWS)
        unit = (some - mean[None, :]) * rstd[None, :]
        if RELU:
            kept = unit * scale[None, :] + shift[None, :] > 0
            gradient = tl.where(kept, gradient, 0.0)
        rest = gradient - (total[None, :] + unit * along[None, :]) / users
        tl.store(out + at, rest * (rstd * scale)[None, :], mask=inside)


@operator(
    "(Tensor values, Tensor gamma, Tensor beta, int views, bool relu) -> Tensor",
    lambda values, *_: torch.empty_like(values),
)
def batch_norm_forward(values: Rows, gamma: Vector, beta: Vector, views: int, relu: bool) -> Rows:
    """The normalised views."""
    out = torch.empty_like(values)
    users, dim = len(values) // views, values.shape[1]
    batch_norm_kernel[(views, triton.cdiv(dim, COLS))](
        values, gamma, beta, out, users, dim, RELU=relu, EPS=EPS, ROWS=ROWS, COLS=COLS
    )
    return out


def gradients_like(given: Rows, values: Rows, gamma: Vector, beta: Vector, views: int, *_: Any):
    """Room for the gradients of values, and by view of gamma and beta."""
    of_vectors = values.new_empty(2, views, values.shape[1])
    return torch.empty_like(values), of_vectors


@operator(
    "(Tensor given, Tensor values, Tensor gamma, Tensor beta, int views, bool relu)"
    " -> (Tensor, Tensor)",
    gradients_like,
)
def batch_norm_backward(
    given: Rows, values: Rows, gamma: Vector, beta: Vector, views: int, relu: bool
) -> tuple[Rows, Float[Tensor, "2 views dim"]]:
    """Gradients of the values, and by view of gamma and beta."""
    out, of_vectors = gradients_like(given, values, gamma, beta, views)
    users, dim = len(values) // views, values.shape[1]
    batch_norm_gradient_kernel[(views, triton.cdiv(dim, COLS))](
        given, values, gamma, beta, out, of_vectors[0], of_vectors[1], users, dim,
        RELU=relu, EPS=EPS, ROWS=ROWS, COLS=COLS,
    )  # fmt: skip
    return out, of_vectors


class BatchNorm(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gamma: Tensor, beta: Tensor, *of: Any) -> Tensor:
        """The normalised views."""
        ctx.save_for_backward(values, gamma, beta)
        ctx.of = of
        return batch_norm_forward(values, gamma, beta, *of)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple:
        """One kernel, and the sum over views."""
        out, by_view = batch_norm_backward(given.contiguous(), *ctx.saved_tensors, *ctx.of)
        of_gamma, of_beta = by_view.sum(1)
        return out, of_gamma, of_beta, None, None


def batch_norm(values: Rows, gamma: Vector, beta: Vector, views: int, relu: bool) -> Rows:
    """gamma (x - mean) / sqrt(var + eps) + beta by the statistics of each view, and its ReLU.

    `values`: the users of the first view, then those of the next.
    """
    return BatchNorm.apply(values, gamma, beta, views, relu)


def in_two_views(layers: nn.Sequential, values: Rows) -> Rows:
    """Both views through layers at once, batch norms by the statistics of each view."""
    for layer, after in pairwise([*layers, None]):
        if isinstance(layer, nn.Linear):
            values = layer(values)
        elif isinstance(layer, nn.BatchNorm1d):
            relu = isinstance(after, nn.ReLU)
            values = batch_norm(values, layer.weight, layer.bias, 2, relu)
    return values
