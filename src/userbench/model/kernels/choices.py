"""PTUM's losses of choosing the true behaviour, in one kernel; their gradient in one.

Plain version, on a CPU: `task_losses` of `methods/ptum.py`. A user is encoded twice: the first
prediction, of the masked behaviour, is made from the first half of the rows, the others, of the
next behaviours, from the second. The true candidate is the first.
"""

from typing import Any

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl

Encoded = Float[Tensor, "encoded dim"]
Vectors = Float[Tensor, "users predictions candidates dim"]
Candidates = Int[Tensor, "users predictions candidates"]
Lengths = Int64[Tensor, " users"]
Sums = Float[Tensor, "4"]
"""Of both tasks the sum of the losses, and how many users count."""


@jit
def chosen(encoded, vectors, candidates, row, prediction, choices, dim,
           CHOICES: tl.constexpr, DIM: tl.constexpr):  # fmt: skip
    """Log softmax of the scores of a prediction's candidates, and what they are made of."""
    place, column = tl.arange(0, CHOICES), tl.arange(0, DIM)
    first = prediction.to(tl.int64) * choices
    item = tl.load(candidates + first + place, mask=place < choices, other=0)
    user = tl.load(encoded + row * dim + column, mask=column < dim, other=0.0)
    inside = (place < choices)[:, None] & (column < dim)[None, :]
    at = (first + place)[:, None] * dim + column[None, :]
    vector = tl.load(vectors + at, mask=inside, other=0.0)
    scores = tl.sum(vector * user[None, :], 1)
    # A drawn candidate that is the true one is none.
    real = (place == 0) | ((place < choices) & (item != tl.load(candidates + first)))
    scores = tl.where(real, scores, -float("inf"))
    scores -= tl.max(scores, 0)
    return scores - tl.log(tl.sum(tl.exp(scores), 0)), user, vector


@jit
def forward_kernel(
    encoded, vectors, candidates, lengths, losses, users, predictions, choices, dim,
    CHOICES: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """One program for one user."""
    user = tl.program_id(0)
    masked = 0.0
    following = 0.0
    for prediction in range(0, predictions):
        row = tl.where(prediction == 0, user, users + user)
        log_softmax, _, _ = chosen(
            encoded, vectors, candidates, row, user * predictions + prediction, choices, dim,
            CHOICES, DIM,
        )  # fmt: skip
        loss = -tl.sum(tl.where(tl.arange(0, CHOICES) == 0, log_softmax, 0.0), 0)
        masked += tl.where(prediction == 0, loss, 0.0)
        following += tl.where(prediction == 0, 0.0, loss / (predictions - 1))
    length = tl.load(lengths + user)
    of_masked = (length > 1).to(tl.float32)
    of_following = (length > predictions - 1).to(tl.float32)
    tl.store(losses + user, masked * of_masked)
    tl.store(losses + users + user, following * of_following)
    tl.store(losses + 2 * users + user, of_masked)
    tl.store(losses + 3 * users + user, of_following)


@jit
def backward_kernel(
    of_masked, of_following, encoded, vectors, candidates, lengths, sums, of_encoded, of_vectors,
    users, predictions, choices, dim, CHOICES: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """One program for one user."""
    user = tl.program_id(0)
    place, column = tl.arange(0, CHOICES), tl.arange(0, DIM)
    length = tl.load(lengths + user)
    masked = tl.load(of_masked) / tl.maximum(tl.load(sums + 2), 1.0)
    masked = tl.where(length > 1, masked, 0.0)
    following = tl.load(of_following) / tl.maximum(tl.load(sums + 3), 1.0) / (predictions - 1)
    following = tl.where(length > predictions - 1, following, 0.0)
    of_row = tl.zeros((DIM,), tl.float32)
    for prediction in range(0, predictions):
        row = tl.where(prediction == 0, user, users + user)
        log_softmax, vector_of_user, vector = chosen(
            encoded, vectors, candidates, row, user * predictions + prediction, choices, dim,
            CHOICES, DIM,
        )  # fmt: skip
        given = tl.where(prediction == 0, masked, following)
        of_scores = (tl.exp(log_softmax) - tl.where(place == 0, 1.0, 0.0)) * given
        of_vector = of_scores[:, None] * vector_of_user[None, :]
        at = (user * predictions + prediction).to(tl.int64) * choices + place
        inside = (place < choices)[:, None] & (column < dim)[None, :]
        tl.store(of_vectors + at[:, None] * dim + column[None, :], of_vector, mask=inside)
        # The first prediction is alone on its row; the others share theirs.
        of_row = tl.where(prediction > 1, of_row, 0.0) + tl.sum(of_scores[:, None] * vector, 0)
        tl.store(of_encoded + row * dim + column, of_row, mask=column < dim)


@operator(
    "(Tensor encoded, Tensor vectors, Tensor candidates, Tensor lengths) -> Tensor",
    lambda encoded, _, candidates, __: encoded.new_empty(4, len(candidates)),
)
def choices_forward(
    encoded: Encoded, vectors: Vectors, candidates: Candidates, lengths: Lengths
) -> Float[Tensor, "4 users"]:
    """Of each user both losses, 0 where she does not count, and whether she counts."""
    users, predictions, choices, dim = vectors.shape
    losses = encoded.new_empty(4, users)
    forward_kernel[(users,)](
        encoded, vectors, candidates, lengths, losses, users, predictions, choices, dim,
        CHOICES=power_of_two(choices), DIM=power_of_two(dim),
    )  # fmt: skip
    return losses


def gradients_like(_: Any, __: Any, encoded: Tensor, vectors: Tensor, *___: Any) -> tuple:
    """Room for the gradients."""
    return torch.empty_like(encoded), torch.empty_like(vectors)


@operator(
    "(Tensor of_masked, Tensor of_following, Tensor encoded, Tensor vectors, Tensor candidates,"
    " Tensor lengths, Tensor sums) -> (Tensor, Tensor)",
    gradients_like,
)
def choices_backward(
    of_masked: Float[Tensor, ""], of_following: Float[Tensor, ""], encoded: Encoded,
    vectors: Vectors, candidates: Candidates, lengths: Lengths, sums: Sums,
) -> tuple[Encoded, Vectors]:  # fmt: skip
    """Gradients of the encoded users and of the candidates' vectors."""
    gradients = gradients_like(of_masked, of_following, encoded, vectors)
    users, predictions, choices, dim = vectors.shape
    backward_kernel[(users,)](
        of_masked, of_following, encoded, vectors, candidates, lengths, sums, *gradients,
        users, predictions, choices, dim, CHOICES=power_of_two(choices), DIM=power_of_two(dim),
    )  # fmt: skip
    return gradients


class Choices(torch.autograd.Function):
    """Both mean losses and their gradients."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
        """One kernel, and means."""
        sums = choices_forward(*given).sum(1)
        ctx.save_for_backward(*given, sums)
        return (sums[:2] / sums[2:].clamp(min=1)).unbind()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *of_losses: Tensor) -> tuple[Tensor | None, ...]:
        """One kernel."""
        return *choices_backward(*of_losses, *ctx.saved_tensors), None, None


def task_losses(
    encoded: Encoded, vectors: Vectors, candidates: Candidates, lengths: Lengths
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Means of both tasks over the users who have enough behaviours."""
    return Choices.apply(encoded, vectors, candidates, lengths)
