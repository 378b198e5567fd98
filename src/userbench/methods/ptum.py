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
from userbench.model.augment import Uniform, lengths_of, random_start
from userbench.model.encoder import Items, ItemTable
from userbench.model.kernels import choices
from userbench.model.kernels.language import used_for
from userbench.model.kernels.masked_and_past import masked_and_past


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
        c, items, mask_id = self.config, batch.items, self.encoder.config.mask_id
        uniform = torch.rand(len(items), device=items.device, dtype=torch.float64)
        hidden = masked_and_past if used_for(items) else hide
        views, true, lengths = hidden(items, uniform, c.next_behaviours, mask_id)
        encoded = self.encoder(views, batch.bounds)
        shape = (*true.shape, c.negatives)
        drawn = self.drawable[torch.randint(len(self.drawable), shape, device=true.device)].long()
        candidates = torch.cat([true[:, :, None], drawn], dim=2)
        mbp, nbp = task_losses(encoded, candidates, lengths, self.encoder.items)
        logs = {"masked_behaviour": mbp.detach(), "next_behaviours": nbp.detach()}
        return Objective(mbp + c.next_weight * nbp, logs)


class Hidden(NamedTuple):
    """All users with one behaviour masked, then all without their last; what these were."""

    views: Int[Tensor, "users_twice length"]
    true: Int[Tensor, "users predictions"]
    lengths: Int[Tensor, " users"]


def hide(items: Items, uniform: Uniform, count: int, mask_id: int) -> Hidden:
    """Mask a behaviour of each user; split off the last `count`.

    A user who has no more keeps one behaviour to encode, and counts in no mean of this task.
    """
    lengths = lengths_of(items)
    masked_at = random_start(lengths, torch.ones_like(lengths), uniform)
    kept = (lengths - count).clamp(min=1)[:, None]
    position = torch.arange(items.shape[1], device=items.device)
    next_at = (kept + torch.arange(count, device=items.device)).clamp(max=len(position) - 1)
    return Hidden(
        torch.cat([items.scatter(1, masked_at, mask_id), items * (position < kept)]),
        items.gather(1, torch.cat([masked_at, next_at], dim=1)),
        lengths,
    )


class TaskLosses(NamedTuple):
    """L_MBP and L_NBP, each a mean over the users who have enough behaviours."""

    masked_behaviour: Float[Tensor, ""]
    next_behaviours: Float[Tensor, ""]


def task_losses(
    encoded: Float[Tensor, "users_twice dim"],
    candidates: Int[Tensor, "users predictions candidates"],
    lengths: Int[Tensor, " users"],
    table: ItemTable,
) -> TaskLosses:
    """-log softmax of <u, E[true]> among the `candidates`, of which the true one is the first."""
    vectors, count = table(candidates), candidates.shape[1] - 1
    if used_for(encoded):
        return TaskLosses(*choices.task_losses(encoded, vectors, candidates, lengths))
    masked, past = encoded.chunk(2)
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
