"""Batch norm of several views, each by its own statistics, and ReLU, in one kernel; backward too.

Plain version, on a CPU: `nn.BatchNorm1d` without running statistics, and ReLU, view by view.
"""

from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Rows = Float[Tensor, "rows dim"]
"""All users in the first view, then in the second, and so on."""
Vector = Float[Tensor, " dim"]
EPS = 1e-5
COLS = 4


@jit
def normalised(rows, users, cols, view, dim, EPS: tl.constexpr, USERS: tl.constexpr):
    """Where the values of a view are, which there are, unit columns, 1 / standard deviation."""
    user = tl.arange(0, USERS)
    inside = (user < users)[:, None] & (cols < dim)[None, :]
    at = (view * users + user)[:, None] * dim + cols[None, :]
    values = tl.load(rows + at, mask=inside, other=0.0)
    centred = tl.where(inside, values - tl.sum(values, 0)[None, :] / users, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / users + EPS)
    return at, inside, centred * rstd[None, :], rstd


@jit
def forward_kernel(
    rows, gamma, beta, out, users, dim,
    RELU: tl.constexpr, EPS: tl.constexpr, USERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `COLS` columns of a view."""
    cols = tl.program_id(0) * COLS + tl.arange(0, COLS)
    at, inside, unit, _ = normalised(rows, users, cols, tl.program_id(1), dim, EPS, USERS)
    scale = tl.load(gamma + cols, mask=cols < dim, other=0.0)
    values = unit * scale[None, :] + tl.load(beta + cols, mask=cols < dim, other=0.0)[None, :]
    if RELU:
        values = tl.maximum(values, 0.0)
    tl.store(out + at, values, mask=inside)


@jit
def backward_kernel(
    of_out, rows, gamma, beta, of_rows, of_gamma, of_beta, users, views, dim,
    RELU: tl.constexpr, EPS: tl.constexpr, USERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `COLS` columns of all views."""
    cols = tl.program_id(0) * COLS + tl.arange(0, COLS)
    known = cols < dim
    scale = tl.load(gamma + cols, mask=known, other=0.0)
    shift = tl.load(beta + cols, mask=known, other=0.0)
    by_unit, total = tl.zeros((COLS,), tl.float32), tl.zeros((COLS,), tl.float32)
    for view in range(0, views):
        at, inside, unit, rstd = normalised(rows, users, cols, view, dim, EPS, USERS)
        given = tl.load(of_out + at, mask=inside, other=0.0)
        if RELU:
            given = tl.where(unit * scale[None, :] + shift[None, :] > 0.0, given, 0.0)
        along, sums = tl.sum(given * unit, 0), tl.sum(given, 0)
        values = given - sums[None, :] / users - unit * along[None, :] / users
        tl.store(of_rows + at, values * (rstd * scale)[None, :], mask=inside)
        by_unit += along
        total += sums
    tl.store(of_gamma + cols, by_unit, mask=known)
    tl.store(of_beta + cols, total, mask=known)


@operator(
    "(Tensor rows, Tensor gamma, Tensor beta, int views, bool relu) -> Tensor",
    lambda rows, *_: torch.empty_like(rows),
)
def batch_norm_forward(rows: Rows, gamma: Vector, beta: Vector, views: int, relu: bool) -> Rows:
    """Each view by its own statistics."""
    out = torch.empty_like(rows)
    users, dim = len(rows) // views, rows.shape[1]
    forward_kernel[(triton.cdiv(dim, COLS), views)](
        rows, gamma, beta, out, users, dim,
        RELU=relu, EPS=EPS, USERS=power_of_two(users), COLS=COLS,
    )  # fmt: skip
    return out


def gradients_like(_: Any, rows: Tensor, gamma: Tensor, beta: Tensor, *__: Any) -> tuple:
    """Room for the gradients."""
    return tuple(map(torch.empty_like, (rows, gamma, beta)))


@operator(
    "(Tensor of_out, Tensor rows, Tensor gamma, Tensor beta, int views, bool relu)"
    " -> (Tensor, Tensor, Tensor)",
    gradients_like,
)
def batch_norm_backward(
    of_out: Rows, rows: Rows, gamma: Vector, beta: Vector, views: int, relu: bool
) -> tuple[Rows, Vector, Vector]:
    """Gradients of all that was given."""
    gradients = gradients_like(of_out, rows, gamma, beta)
    users, dim = len(rows) // views, rows.shape[1]
    backward_kernel[(triton.cdiv(dim, COLS),)](
        of_out, rows, gamma, beta, *gradients, users, views, dim,
        RELU=relu, EPS=EPS, USERS=power_of_two(users), COLS=COLS,
    )  # fmt: skip
    return gradients


class BatchNorm(torch.autograd.Function):
    """The operator and its gradient; nothing is kept but what was given."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """One kernel."""
        ctx.save_for_backward(*given[:3])
        ctx.options = given[3:]
        return batch_norm_forward(*given)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        """One kernel."""
        gradients = batch_norm_backward(of_out.contiguous(), *ctx.saved_tensors, *ctx.options)
        return *gradients, None, None


def batch_norm(rows: Rows, gamma: Vector, beta: Vector, views: int, relu: bool) -> Rows:
    """Batch norm of each of `views` equal parts of the rows, then ReLU where `relu`."""
    return BatchNorm.apply(rows, gamma, beta, views, relu)


def side_by_side(layers: nn.Sequential, rows: Rows, views: int) -> Rows:
    """Linear layers, norms and ReLUs on all views at once; a norm has statistics of each view."""
    for layer, following in zip_longest(layers, layers[1:]):
        if isinstance(layer, nn.BatchNorm1d):
            relu = isinstance(following, nn.ReLU)
            rows = batch_norm(rows, layer.weight, layer.bias, views, relu)
        elif isinstance(layer, nn.Linear):
            rows = layer(rows)
    return rows
