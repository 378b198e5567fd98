"""PTUM (Wu et al., Findings of EMNLP 2020, arXiv 2010.01494): predict from the user vector.

Two tasks: masked behaviour prediction, which behaviour was masked; next behaviours prediction,
which K behaviours come next. Unlike in masked item prediction, the pooled vector of the user must
distinguish the true behaviour from a few drawn ones, so the pooling is pre-trained too.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import Counts, lengths_of, random_start
from userbench.model.encoder import Items, ItemTable
from userbench.model.kernels import choices, language, masked_and_next


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Tasks as in the authors' code; learning rate and dropout of this suite's protocol.

    Deviation: the authors train with learning rate 1e-4 and dropout 0.2.
    """

    next_behaviours: Count = 2
    """K: how many behaviours at the end are to be predicted."""
    negatives: Count = 4
    """P: drawn behaviours beside each true one."""
    next_weight: float = 1.0
    """lambda: weight of next behaviours prediction."""
    drawn_from: Literal["behaviours", "items"] = "behaviours"
    """Negatives by popularity ("behaviours" of the training users), or uniform over "items"."""


class Method(PretrainMethod):
    """Both tasks for every user, as separate rows of one encoder call."""

    config: Config

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Keep what negatives are drawn from."""
        # Deviation: the authors draw a user, then a behaviour; here all behaviours weigh the same.
        self.drawable = store.behaviours(users)
        if self.config.drawn_from == "items":
            self.drawable = torch.arange(1, store.n_items + 1, device=users.device)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = L_MBP + lambda L_NBP, each a mean over the users who have enough behaviours."""
        c = self.config
        asked = questions(batch.items, c.next_behaviours, self.encoder.config.mask_id)
        encoded = self.encoder(asked.sequences, batch.bounds)
        shape = (*asked.true.shape, c.negatives)
        drawn = self.drawable[torch.randint(len(self.drawable), shape, device=encoded.device)]
        candidates = torch.cat([asked.true[:, :, None], drawn], dim=2)
        mbp, nbp = task_losses(encoded, candidates, asked.lengths, self.encoder.items)
        logs = {"masked_behaviour": mbp.detach(), "next_behaviours": nbp.detach()}
        return Objective(mbp + c.next_weight * nbp, logs)


class Questions(NamedTuple):
    """What is encoded, and what is to be predicted from it."""

    sequences: Items
    """Of all users with one behaviour masked, then of all users without the last."""
    true: Int[Tensor, "users predictions"]
    """The masked behaviour, then those that come next."""
    lengths: Counts


def questions(items: Items, count: int, mask_id: int) -> Questions:
    """Mask one behaviour of each user, uniformly, and split off the last `count`.

    A user who has no more keeps one behaviour to encode, and counts in no mean of this task.
    """
    if language.used_for(items):
        uniform = torch.rand(len(items), device=items.device, dtype=torch.float64)
        return Questions(*masked_and_next.masked_and_next(items, uniform, count, mask_id))
    lengths = lengths_of(items)
    masked_at = random_start(lengths, torch.ones_like(lengths))
    kept = (lengths - count).clamp(min=1)[:, None]
    position = torch.arange(items.shape[1], device=items.device)
    past = items * (position < kept)
    next_at = (kept + torch.arange(count, device=items.device)).clamp(max=len(position) - 1)
    return Questions(
        torch.cat([items.scatter(1, masked_at, mask_id), past]),
        torch.cat([items.gather(1, masked_at), items.gather(1, next_at)], dim=1),
        lengths,
    )


class TaskLosses(NamedTuple):
    """L_MBP and L_NBP, each a mean over the users who have enough behaviours."""

    masked_behaviour: Float[Tensor, ""]
    next_behaviours: Float[Tensor, ""]


def task_losses(
    encoded: Float[Tensor, "encoded dim"],
    candidates: Int[Tensor, "users predictions candidates"],
    lengths: Counts,
    table: ItemTable,
) -> TaskLosses:
    """Both losses: -log softmax of <u, E[true]> among the `candidates`, the true one first."""
    vectors = table(candidates)
    if language.used_for(encoded):
        return TaskLosses(*choices.task_losses(encoded, vectors, candidates, lengths))
    masked, past = encoded.chunk(2)
    count = candidates.shape[1] - 1
    scores = torch.einsum("upd,upcd->upc", torch.stack([masked] + [past] * count, dim=1), vectors)
    # Deviation: the authors draw a negative again where it is the true behaviour.
    is_true = F.pad(candidates[:, :, 1:] == candidates[:, :, :1], (1, 0), value=False)
    losses = -scores.masked_fill(is_true, -torch.inf).log_softmax(2)[:, :, 0]
    return TaskLosses(
        mean_where(lengths > 1, losses[:, 0]), mean_where(lengths > count, losses[:, 1:].mean(1))
    )


def mean_where(
    counts: Bool[Tensor, " users"], losses: Float[Tensor, " users"]
) -> Float[Tensor, ""]:
    """Mean loss of the users who count; 0 where none does."""
    return (losses * counts).sum() / counts.sum().clamp(min=1)
