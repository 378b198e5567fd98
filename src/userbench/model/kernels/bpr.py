"""BPR's loss of a batch in one kernel, its negatives drawn inside; backward in two.

Plain version, on a CPU: `tasks.TopNTask.loss` with `tasks.unknown_candidates`, whose draws these
are: from the same uniform numbers, the same negatives.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton
from userbench.model.kernels.logistic import log1p

Hidden = Float[Tensor, "users dim"]
Weight = Float[Tensor, "candidates dim"]
Bias = Float[Tensor, " candidates"]
PerUser = Float[Tensor, " users"]
Ids = Int[Tensor, " users"]
CANDIDATES, USERS = 64, 32
# Why: what one program sums up for its candidates must fit into registers.
WIDEST = 256


class Positives(NamedTuple):
    """The examples of a task, and which positives of their users are known where."""

    targets: Int[Tensor, " examples"]
    rows: Int[Tensor, " examples"]
    """Of `known`."""
    last: UInt8[Tensor, " examples"]
    """The last split whose positives are known where the example is asked for."""
    known: Int[Tensor, "rows known"]
    """All positives of each user, ascending; the number of candidates where there is none."""
    known_from: UInt8[Tensor, "rows known"]
    """The split that each belongs to."""


@jit
def known_at(known, known_from, at, last, candidates):
    """A positive that is known, or the number of candidates."""
    return tl.where(tl.load(known_from + at) > last, candidates, tl.load(known + at))


@jit
def bpr_kernel(
    hidden, weight, bias, uniform, picked, targets, rows, last, known, known_from,
    losses, slopes, negatives, candidates, width, dim, COLS: tl.constexpr,
):  # fmt: skip
    """One program for an example."""
    user = tl.program_id(0)
    example = tl.load(picked + user)
    row, limit = tl.load(rows + example) * width, tl.load(last + example)
    free = candidates
    for place in range(0, width):
        other = known_at(known, known_from, row + place, limit, candidates)
        free -= (other < candidates).to(tl.int32)
    drawn = (tl.load(uniform + user) * free).to(tl.int64)
    drawn = tl.minimum(drawn, free - 1)
    # Step over each known candidate, in order.
    for place in range(0, width):
        other = known_at(known, known_from, row + place, limit, candidates)
        drawn += (drawn >= other).to(tl.int64)
    positive = tl.load(targets + example)
    drawn = tl.where(drawn < 0, positive, drawn)  # where every candidate is known
    cols = tl.arange(0, COLS)
    inside = cols < dim
    values = tl.load(hidden + user * dim + cols, mask=inside, other=0.0)
    difference = tl.load(weight + positive * dim + cols, mask=inside, other=0.0)
    difference -= tl.load(weight + drawn * dim + cols, mask=inside, other=0.0)
    margin = tl.sum(values * difference, 0) + tl.load(bias + positive) - tl.load(bias + drawn)
    # -log sigmoid(m) = log(1 + exp(-m)), without an exponential that overflows.
    rest = tl.exp(-tl.abs(margin))
    small = log1p(rest.to(tl.float64)).to(tl.float32)
    tl.store(losses + user, tl.maximum(-margin, 0.0) + small)
    below = tl.where(margin > 0, rest / (1.0 + rest), 1.0 / (1.0 + rest))
    tl.store(slopes + user, -below)
    tl.store(negatives + user, drawn)


@jit
def bpr_hidden_kernel(
    given, slopes, weight, picked, targets, negatives, of_hidden, dim, COLS: tl.constexpr
):
    """One program for an example: the gradient of its hidden state."""
    user, cols = tl.program_id(0), tl.arange(0, COLS)
    inside = cols < dim
    positive = tl.load(targets + tl.load(picked + user))
    difference = tl.load(weight + positive * dim + cols, mask=inside, other=0.0)
    negative = tl.load(negatives + user)
    difference -= tl.load(weight + negative * dim + cols, mask=inside, other=0.0)
    slope = tl.load(given + user) * tl.load(slopes + user)
    tl.store(of_hidden + user * dim + cols, slope * difference, mask=inside)


@jit
def bpr_weight_kernel(
    given, slopes, hidden, picked, targets, negatives, of_weight, of_bias, users, candidates, dim,
    CANDIDATES: tl.constexpr, USERS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One program for some candidates: the sum over the examples that have them."""
    some = tl.program_id(0) * CANDIDATES + tl.arange(0, CANDIDATES)
    cols = tl.arange(0, COLS)
    by_weight = tl.zeros((CANDIDATES, COLS), tl.float32)
    by_bias = tl.zeros((CANDIDATES,), tl.float32)
    for block in range(0, users, USERS):
        user = block + tl.arange(0, USERS)
        real = user < users
        positive = tl.load(targets + tl.load(picked + user, mask=real, other=0))
        negative = tl.load(negatives + user, mask=real, other=0)
        slope = tl.load(given + user, mask=real, other=0.0)
        slope *= tl.load(slopes + user, mask=real, other=0.0)
        shares = tl.where(some[:, None] == positive[None, :], slope[None, :], 0.0)
        shares -= tl.where(some[:, None] == negative[None, :], slope[None, :], 0.0)
        at = user[:, None] * dim + cols[None, :]
        inside = real[:, None] & (cols < dim)[None, :]
        values = tl.load(hidden + at, mask=inside, other=0.0)
        by_weight += tl.dot(shares, values, input_precision="ieee")
        by_bias += tl.sum(shares, 1)
    inside = (some < candidates)[:, None] & (cols < dim)[None, :]
    tl.store(of_weight + some.to(tl.int64)[:, None] * dim + cols[None, :], by_weight, mask=inside)
    tl.store(of_bias + some, by_bias, mask=some < candidates)


def per_user(hidden: Hidden, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Room for losses, slopes and negatives."""
    users = len(hidden)
    return (
        hidden.new_empty(users),
        hidden.new_empty(users),
        hidden.new_empty(users, dtype=torch.int64),
    )


def bytes_forward(hidden: Hidden, weight: Weight, bias: Bias, uniform: Tensor, *some: Any) -> int:
    """Rows that are read: of the hidden states once, of the last layer twice, of the known once."""
    known = some[-2]
    return len(hidden) * (3 * 4 * hidden.shape[1] + 9 * known.shape[1] + 64)


@operator(
    "(Tensor hidden, Tensor weight, Tensor bias, Tensor uniform, Tensor picked, Tensor targets,"
    " Tensor rows, Tensor last, Tensor known, Tensor known_from) -> (Tensor, Tensor, Tensor)",
    per_user,
    bytes_forward,
)
def bpr_forward(
    hidden: Hidden, weight: Weight, bias: Bias, uniform: Float64[Tensor, " users"], picked: Ids,
    targets: Tensor, rows: Tensor, last: Tensor, known: Tensor, known_from: Tensor,
) -> tuple[PerUser, PerUser, Ids]:  # fmt: skip
    """Losses, their slopes by the margin, and negatives."""
    losses, slopes, negatives = per_user(hidden)
    dim = hidden.shape[1]
    bpr_kernel[(len(hidden),)](
        hidden, weight, bias, uniform, picked, targets, rows, last, known, known_from,
        losses, slopes, negatives, len(weight), known.shape[1], dim, COLS=power_of_two(dim),
    )  # fmt: skip
    return losses, slopes, negatives


@operator(
    "(Tensor given, Tensor slopes, Tensor hidden, Tensor weight, Tensor picked, Tensor targets,"
    " Tensor negatives) -> Tensor",
    lambda given, slopes, hidden, *_: torch.empty_like(hidden),
    lambda given, slopes, hidden, *_: 3 * 4 * hidden.numel(),
)
def bpr_hidden_backward(
    given: PerUser, slopes: PerUser, hidden: Hidden, weight: Weight, picked: Ids,
    targets: Tensor, negatives: Ids,
) -> Hidden:  # fmt: skip
    """Gradients of the hidden states."""
    of_hidden = torch.empty_like(hidden)
    dim = hidden.shape[1]
    bpr_hidden_kernel[(len(hidden),)](
        given, slopes, weight, picked, targets, negatives, of_hidden, dim, COLS=power_of_two(dim)
    )
    return of_hidden


def of_last_layer(given: Tensor, slopes: Tensor, hidden: Hidden, weight: Weight, *_: Any) -> tuple:
    """Room for the gradients of weight and bias."""
    return torch.empty_like(weight), weight.new_empty(len(weight))


@operator(
    "(Tensor given, Tensor slopes, Tensor hidden, Tensor weight, Tensor picked, Tensor targets,"
    " Tensor negatives) -> (Tensor, Tensor)",
    of_last_layer,
    lambda given, slopes, hidden, weight, *_: 4 * (weight.numel() + len(weight) + hidden.numel()),
)
def bpr_weight_backward(
    given: PerUser, slopes: PerUser, hidden: Hidden, weight: Weight, picked: Ids,
    targets: Tensor, negatives: Ids,
) -> tuple[Weight, Bias]:  # fmt: skip
    """Gradients of the last layer."""
    of_weight, of_bias = of_last_layer(given, slopes, hidden, weight)
    dim = hidden.shape[1]
    bpr_weight_kernel[(triton.cdiv(len(weight), CANDIDATES),)](
        given, slopes, hidden, picked, targets, negatives, of_weight, of_bias,
        len(hidden), len(weight), dim,
        CANDIDATES=CANDIDATES, USERS=USERS, COLS=max(16, power_of_two(dim)),
    )  # fmt: skip
    return of_weight, of_bias


class Bpr(torch.autograd.Function):
    """The operator and its gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """The loss of each example."""
        losses, slopes, negatives = bpr_forward(*given)
        hidden, weight, _, _, picked, targets, *_ = given
        ctx.save_for_backward(slopes, hidden, weight, picked, targets, negatives)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_losses: Tensor) -> tuple:
        """Two kernels."""
        given = of_losses.contiguous(), *ctx.saved_tensors
        return bpr_hidden_backward(*given), *bpr_weight_backward(*given), *[None] * 7


def bpr(
    hidden: Hidden, weight: Weight, bias: Bias, uniform: Float64[Tensor, " users"],
    picked: Ids, positives: Positives,
) -> PerUser:  # fmt: skip
    """-log sigmoid(s_positive - s_negative) of the picked examples.

    s_c = hidden . weight[c] + bias[c]; the negative is the one that `uniform` draws among the
    candidates that are no known positive of the user: the positive itself where there is none.
    """
    return Bpr.apply(hidden, weight, bias, uniform, picked, *positives)
