"""Objectives and mathematics used by more than one method: pure functions of tensors."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

BIAS_STARTS = ("zero", "frequency")
SIMILARITIES = ("dot", "cosine")


def item_softmax(
    states: Float[Tensor, "predictions dim"],
    targets: Int[Tensor, " predictions"],
    table: Float[Tensor, "items dim"],
    bias: Float[Tensor, " items"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy of predicting `targets` by a softmax over all items, exact.

    A batch with nothing to predict (all users have one behaviour) has loss 0.
    """
    total = F.cross_entropy(F.linear(states, table, bias), targets, reduction="sum")
    return total / max(len(targets), 1)


def sampled_item_softmax(
    states: Float[Tensor, "predictions dim"],
    targets: Int[Tensor, " predictions"],
    table: Float[Tensor, "items dim"],
    bias: Float[Tensor, " items"],
    negatives: Int[Tensor, " negatives"],
    frequency: Float[Tensor, " items"],
) -> Float[Tensor, ""]:
    """`item_softmax` estimated from the targets and shared `negatives` drawn by `frequency`.

    Logits are corrected by -log(expected count) (Bengio and Senecal, 2008; Jean et al., 2015), so
    the estimate tends to the exact loss as negatives grow; a negative equal to a row's own target
    is left out of that row.
    """
    expected = frequency[negatives] * len(negatives)
    logits = F.linear(states, table[negatives], bias[negatives] - expected.log())
    logits = logits.masked_fill_(targets[:, None] == negatives, -torch.inf)
    own = (states * table[targets]).sum(-1, keepdim=True) + bias[targets, None]
    first = torch.zeros_like(targets)
    total = F.cross_entropy(torch.cat([own, logits], dim=1), first, reduction="sum")
    return total / max(len(targets), 1)


def nt_xent(
    first: Float[Tensor, "users width"],
    second: Float[Tensor, "users width"],
    similarity: str,
    temperature: float,
    excluded: Bool[Tensor, "users users"] | None = None,
) -> Float[Tensor, ""]:
    """Symmetric NT-Xent (Chen et al., ICML 2020): find the other view among 2B - 1 candidates.

    L = 1/2B sum_i [ -S(i, p(i)) + log sum_(j != i) exp S(i, j) ], S = `similarity` / temperature,
    over both views of all users; `excluded` pairs of users are no negatives of each other.
    """
    views = torch.cat([first, second]).float()  # Why: under bf16 autocast, exp would lose digits
    if similarity == "cosine":
        views = F.normalize(views, dim=-1)
    scores = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    positive = torch.arange(len(views), device=views.device).roll(len(first))
    if excluded is not None:
        partner = itself[positive]
        itself = itself | (excluded.repeat(2, 2) & ~partner)
    return F.cross_entropy(scores.masked_fill(itself, -torch.inf), positive)


def check_contrast(similarity: str, temperature: float) -> None:
    """ValueError for a similarity or a temperature that `nt_xent` does not have."""
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity={similarity!r}: use one of {', '.join(SIMILARITIES)}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: must be above 0")


def log_frequency(counts: Int[Tensor, " outputs"]) -> Float[Tensor, " outputs"]:
    """Log relative frequency of each output, with one added to every count."""
    return ((counts + 1) / (counts + 1).sum()).log()


def finite(loss: Tensor, step: int, lr: float) -> float:
    """The loss as a number; training must not go on, and must leave no score, once it is NaN."""
    value = loss.item()
    if not torch.isfinite(torch.tensor(value)):
        raise ValueError(
            f"the loss is {value} at step {step} (learning rate {lr}). Lower the learning rate"
        )
    return value
