"""BPR's loss in one kernel, its gradient in one.

Plain version, on a CPU: `tasks.TopNTask.loss`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Users = Float[Tensor, "users dim"]
Pairs = Float[Tensor, "2 users dim"]
Biases = Float[Tensor, "2 users 1"]
"""The bias of each user's positive and of her negative."""
ROWS = 4


@jit
def margins(users, pairs, biases, rows, cols, inside, n, dim):
    """Score of each user's positive less that of her negative; and what it is made of."""
    at = rows[:, None] * dim + cols[None, :]
    user = tl.load(users + at, mask=inside, other=0.0)
    difference = tl.load(pairs + at, mask=inside, other=0.0)
    difference -= tl.load(pairs + n * dim + at, mask=inside, other=0.0)
    bias = tl.load(biases + rows, mask=rows < n, other=0.0)
    bias -= tl.load(biases + n + rows, mask=rows < n, other=0.0)
    return tl.sum(user * difference, 1) + bias, user, difference


@jit
def forward_kernel(users, pairs, biases, losses, n, dim, ROWS: tl.constexpr, COLS: tl.constexpr):
    """One program for `ROWS` users."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    margin, _, _ = margins(users, pairs, biases, rows, cols, inside, n, dim)
    # Why float64: in float32, 1 + x rounds a small x away.
    small = tl.exp(-tl.abs(margin)).to(tl.float64)
    loss = tl.maximum(-margin, 0.0) + tl.log(1.0 + small).to(tl.float32)
    tl.store(losses + rows, loss, mask=rows < n)


@jit
def backward_kernel(
    of_loss, users, pairs, biases, of_users, of_pairs, of_biases, n, dim,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for `ROWS` users."""
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (rows < n)[:, None] & (cols < dim)[None, :]
    margin, user, difference = margins(users, pairs, biases, rows, cols, inside, n, dim)
    small = tl.exp(-tl.abs(margin))
    slope = -tl.where(margin > 0.0, small, 1.0) / (1.0 + small) * (tl.load(of_loss) / n)
    at = rows[:, None] * dim + cols[None, :]
    of_pair = slope[:, None] * user
    tl.store(of_users + at, slope[:, None] * difference, mask=inside)
    tl.store(of_pairs + at, of_pair, mask=inside)
    tl.store(of_pairs + n * dim + at, -of_pair, mask=inside)
    tl.store(of_biases + rows, slope, mask=rows < n)
    tl.store(of_biases + n + rows, -slope, mask=rows < n)


@operator(
    "(Tensor users, Tensor pairs, Tensor biases) -> Tensor",
    lambda users, *_: users.new_empty(len(users)),
)
def bpr_forward(users: Users, pairs: Pairs, biases: Biases) -> Float[Tensor, " users"]:
    """Loss of each user."""
    losses = users.new_empty(len(users))
    n, dim = users.shape
    forward_kernel[(triton.cdiv(n, ROWS),)](
        users, pairs, biases, losses, n, dim, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return losses


def gradients_like(_: Any, *given: Tensor) -> tuple[Tensor, ...]:
    """Room for the gradients."""
    return tuple(map(torch.empty_like, given))


@operator(
    "(Tensor of_loss, Tensor users, Tensor pairs, Tensor biases) -> (Tensor, Tensor, Tensor)",
    gradients_like,
)
def bpr_backward(
    of_loss: Float[Tensor, ""], users: Users, pairs: Pairs, biases: Biases
) -> tuple[Users, Pairs, Biases]:
    """Gradients of all that was given."""
    gradients = gradients_like(of_loss, users, pairs, biases)
    n, dim = users.shape
    backward_kernel[(triton.cdiv(n, ROWS),)](
        of_loss, users, pairs, biases, *gradients, n, dim, ROWS=ROWS, COLS=power_of_two(dim)
    )
    return gradients


class BPR(torch.autograd.Function):
    """The mean loss and its gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        """One kernel, and a mean."""
        ctx.save_for_backward(*given)
        return bpr_forward(*given).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, ...]:
        """One kernel."""
        return bpr_backward(of_loss, *ctx.saved_tensors)


def bpr(users: Users, pairs: Pairs, biases: Biases) -> Float[Tensor, ""]:
    """Mean of -log sigmoid(score of the positive - score of the negative)."""
    return BPR.apply(users, pairs, biases)
