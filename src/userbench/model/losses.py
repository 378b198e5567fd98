"""Objectives and mathematics used by more than one method: pure functions of tensors."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from userbench.errors import NotANumber
from userbench.model.kernels import item_draw
from userbench.model.kernels import item_softmax as softmax_kernels
from userbench.model.kernels import nt_xent as nt_xent_kernels
from userbench.model.kernels.language import used_for

BiasStart = Literal["zero", "frequency"]
Similarity = Literal["dot", "cosine"]

IGNORED = -1
# Why: `sample_items` recomputes one chunk per row; measured, its cost is then below a tenth.
CHUNK = 256
# Why: a block of logits should stay in a core's cache; a GPU wants few, large blocks.
ROWS_AT_ONCE = {"cpu": 512, "cuda": 4096}
LOGITS_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 26}
# Why: up to here, all logits at once are as fast as blocks of them.
LOGITS_KEPT = {"cpu": 1 << 22, "cuda": 1 << 26}


def item_softmax(
    states: Float[Tensor, "predictions dim"],
    targets: Int[Tensor, " predictions"],
    table: Float[Tensor, "rows dim"],
    bias: Float[Tensor, " items"],
    bf16: bool = False,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of predicting `targets` by a softmax over all items, exact.

    Rows of the table behind the last of `bias` are no items. Target 0, padding, is nothing to
    predict; a batch without any other (all users have one behaviour) has loss 0. Where there are
    more than `LOGITS_KEPT` logits, they are never whole in memory. `bf16`: a GPU rounds the factors
    of products.
    """
    if used_for(states):
        dtype = torch.bfloat16 if bf16 else torch.float32
        return softmax_kernels.item_softmax(states, targets, table, bias, dtype)
    table = table[: len(bias)]
    if len(states) * len(table) <= LOGITS_KEPT[states.device.type]:
        logits = F.linear(states, table, bias)
        total = F.cross_entropy(logits, targets, ignore_index=0, reduction="sum")
    else:
        total = StreamedCrossEntropy.apply(states, targets, table, bias)
    return total / (targets != 0).sum().clamp(min=1)


class StreamedCrossEntropy(torch.autograd.Function):
    """Sum over predictions of logsumexp(h E^T + b) - (h . E[target] + b[target]), target not 0.

    The softmax is made block by block of items, once for its normaliser and once more, in the
    backward pass, for the gradients: a third more arithmetic, and predictions x items floats less
    of memory, 5 GB for a batch of the paper's size.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Float[Tensor, "predictions dim"],
        targets: Int[Tensor, " predictions"],
        table: Float[Tensor, "items dim"],
        bias: Float[Tensor, " items"],
    ) -> Float[Tensor, ""]:
        """Sum of the cross-entropies."""
        normaliser = torch.full_like(states[:, 0], -torch.inf)
        for block in item_blocks(states, table):
            logits = F.linear(states, table[block], bias[block])
            normaliser = torch.logaddexp(normaliser, logits.logsumexp(1))
        ctx.save_for_backward(states, targets, table, bias, normaliser)
        own = (states * table[targets]).sum(1) + bias[targets]
        return ((normaliser - own) * (targets != 0)).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Float[Tensor, ""]) -> tuple[Tensor, None, Tensor, Tensor]:
        """Softmax minus one at the target, times what each logit is made of."""
        states, targets, table, bias, normaliser = ctx.saved_tensors
        of_states, of_table, of_bias = map(torch.empty_like, (states, table, bias))
        scales = (scale * (targets != 0))[:, None]
        torch.mul(table[targets], -scales, out=of_states)
        for block in item_blocks(states, table):
            logits = F.linear(states, table[block], bias[block])
            share = logits.sub_(normaliser[:, None]).exp_().mul_(scales)
            of_states.addmm_(share, table[block])
            torch.mm(share.T, states, out=of_table[block])
            torch.sum(share, 0, out=of_bias[block])
        of_table.index_add_(0, targets, states * -scales)
        of_bias.index_add_(0, targets, -scales.squeeze(1))
        return of_states, None, of_table, of_bias


def item_blocks(
    states: Float[Tensor, "predictions dim"], table: Float[Tensor, "items dim"]
) -> Iterator[slice]:
    """Blocks of items, in whole chunks, whose logits for all `states` are few enough at once."""
    at_once = LOGITS_AT_ONCE[states.device.type]
    width = max(1, at_once // (max(len(states), 1) * CHUNK)) * CHUNK
    for start in range(0, len(table), width):
        yield slice(start, min(start + width, len(table)))


def sampled_item_softmax(
    states: Float[Tensor, "predictions dim"],
    targets: Int[Tensor, " predictions"],
    vectors: Callable[[Int[Tensor, " ids"]], Float[Tensor, "ids dim"]],
    bias: Float[Tensor, " items"],
    negatives: Int[Tensor, " negatives"],
    frequency: Float[Tensor, " items"],
) -> Float[Tensor, ""]:
    """`item_softmax` estimated from the targets and shared `negatives` drawn by `frequency`.

    Logits are corrected by -log(expected count) (Bengio and Senecal, 2008; Jean et al., 2015), so
    the estimate tends to the exact loss as negatives grow; a negative equal to a row's own target
    is left out of that row. `vectors` looks items up: no more of the table is read.
    """
    expected = frequency[negatives] * len(negatives)
    logits = F.linear(states, vectors(negatives), bias[negatives] - expected.log())
    logits = logits.masked_fill_(targets[:, None] == negatives, -torch.inf)
    own = (states * vectors(targets)).sum(-1, keepdim=True) + bias[targets, None]
    real = targets != 0
    first = torch.where(real, 0, IGNORED)
    logits = torch.cat([own, logits], dim=1)
    total = F.cross_entropy(logits, first, ignore_index=IGNORED, reduction="sum")
    return total / real.sum().clamp(min=1)


@torch.no_grad()
def sample_items(
    states: Float[Tensor, "predictions dim"],
    table: Float[Tensor, "items dim"],
    bias: Float[Tensor, " items"],
    temperature: float,
    banned: Int[Tensor, " predictions"] | None,
) -> Int[Tensor, " predictions"]:
    """One item per row, drawn exactly from softmax(logits / temperature) over all items.

    Padding, and the row's `banned` item, are never drawn; another item must be left. Drawn in two
    levels: a chunk of the vocabulary by its share of the softmax, then an item of that chunk. So
    the logits are never whole in memory, and few random numbers are drawn.
    """
    if used_for(states):
        return item_draw.sample_items(states, table, bias, temperature, banned)
    bias = bias / temperature
    bias[:1].fill_(-torch.inf)  # Why not bias[0] = ..: that would copy a number from the host
    drawn, rows, start = [], ROWS_AT_ONCE[states.device.type], 0
    for part in (states.float() / temperature).split(rows):
        without = None if banned is None else banned[start : start + rows]
        masses = chunk_masses(part, table, bias)
        if without is not None:
            chunk = without // CHUNK
            left = chunk_logits(part, table, bias, chunk, without).logsumexp(1)
            masses.scatter_(1, chunk[:, None], left[:, None])
        chunk = draw(masses)
        drawn.append(chunk * CHUNK + draw(chunk_logits(part, table, bias, chunk, without)))
        start += rows
    return torch.cat(drawn)


def chunk_masses(
    states: Float[Tensor, "predictions dim"],
    table: Float[Tensor, "items dim"],
    bias: Float[Tensor, " items"],
) -> Float[Tensor, "predictions chunks"]:
    """logsumexp of the logits of every `CHUNK` items."""
    masses = []
    for block in item_blocks(states, table):
        logits = F.linear(states, table[block], bias[block])
        if missing := -logits.shape[1] % CHUNK:
            logits = F.pad(logits, (0, missing), value=-torch.inf)
        masses.append(logits.unflatten(1, (-1, CHUNK)).logsumexp(2))
    return torch.cat(masses, dim=1)


def chunk_logits(
    states: Float[Tensor, "predictions dim"],
    table: Float[Tensor, "items dim"],
    bias: Float[Tensor, " items"],
    chunk: Int[Tensor, " predictions"],
    banned: Int[Tensor, " predictions"] | None,
) -> Float[Tensor, "predictions chunk"]:
    """Logits of each row's own `chunk` of items; -inf for the banned one and behind the last."""
    ids = chunk[:, None] * CHUNK + torch.arange(CHUNK, device=chunk.device)
    absent = ids >= len(table)
    if banned is not None:
        absent |= ids == banned[:, None]
    ids = ids.clamp(max=len(table) - 1)
    rows = max(1, LOGITS_AT_ONCE[states.device.type] // (CHUNK * states.shape[1]))
    logits = [
        (table[items] @ vectors[:, :, None]).squeeze(2)
        for items, vectors in zip(ids.split(rows), states.split(rows), strict=True)
    ]
    return (torch.cat(logits) + bias[ids]).masked_fill_(absent, -torch.inf)


def draw(logits: Float[Tensor, "predictions choices"]) -> Int[Tensor, " predictions"]:
    """One choice per row, from the softmax of its logits (Gumbel-max)."""
    return (logits - torch.empty_like(logits).exponential_().log_()).argmax(1)


def nt_xent(
    first: Float[Tensor, "users width"],
    second: Float[Tensor, "users width"],
    similarity: Similarity,
    temperature: float,
    excluded: Bool[Tensor, "users users"] | None = None,
) -> Float[Tensor, ""]:
    """Symmetric NT-Xent (Chen et al., ICML 2020): find the other view among 2B - 1 candidates.

    L = 1/2B sum_i [ -S(i, p(i)) + log sum_(j != i) exp S(i, j) ], S = `similarity` / temperature,
    over both views of all users, as log(1 + sum_(j != i, p(i)) exp(S(i, j) - S(i, p(i)))), in which
    a loss near 0 keeps its digits; `excluded` pairs of users are no negatives of each other.
    """
    if used_for(first):
        views = torch.cat([first, second])
        return nt_xent_kernels.nt_xent(views, excluded, similarity == "cosine", temperature)
    # Why float64: rounding a score of 14 to float32 alone changes a small loss by 5e-7 of it.
    views = torch.cat([first, second]).double()
    if similarity == "cosine":
        views = F.normalize(views, dim=-1)
    scaled = views / temperature
    positive = (scaled * views.roll(len(first), 0)).sum(1, keepdim=True)
    margins = scaled @ views.T - positive
    same = torch.eye(len(first), dtype=torch.bool, device=views.device)
    if excluded is not None:
        same = same | excluded
    negatives = margins.masked_fill_(same.repeat(2, 2), -torch.inf)
    # Why softplus: log(1 + x) as a logsumexp over all candidates rounds a small x away.
    return F.softplus(negatives.logsumexp(1)).mean().float()


def log_frequency(counts: Int[Tensor, " outputs"]) -> Float[Tensor, " outputs"]:
    """Log relative frequency of each output, with one added to every count."""
    return ((counts + 1) / (counts + 1).sum()).log()


def unigram_loss(
    targets: Int[Tensor, " predictions"], log_frequency: Float[Tensor, " outputs"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of predicting `targets`, but where they are 0, by frequency alone."""
    asked = targets != 0
    return -(log_frequency[targets] * asked).sum() / asked.sum().clamp(min=1)


def finite(
    loss: Tensor, weights: Iterable[Tensor], where: str, lr: float, good: Path | None
) -> float:
    """The loss as a number.

    NotANumber once it or a weight is not finite, naming `where` (a step) and the last `good`
    checkpoint: such a training must not go on, and must leave no score and no checkpoint. A loss
    may be finite where the step that followed it has spoilt the weights.
    """
    value = loss.item()
    if math.isfinite(value) and all_finite(weights):
        return value
    what = "a weight is not a number" if math.isfinite(value) else f"the loss is {value}"
    last = f"The last good checkpoint is {good}" if good else "There is no good checkpoint"
    raise NotANumber(f"{what} at {where} (learning rate {lr}). {last}. Lower the learning rate")


def all_finite(weights: Iterable[Tensor]) -> bool:
    """Whether no weight is infinite or NaN."""
    return all(bool(weight.isfinite().all()) for weight in weights)
