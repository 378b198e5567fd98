"""PTUM (Wu et al., Findings of EMNLP 2020, arXiv 2010.01494): name behaviours from the user vector.

Two tasks: masked behaviour prediction, which behaviour was hidden; next behaviours prediction,
which K behaviours come next. Unlike in masked item prediction, the pooled vector of the user must
tell the true behaviour from a few drawn ones, so the pooling is pre-trained too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import lengths_of, random_start
from userbench.model.encoder import ItemTable


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Tasks as in the authors' code; learning rate and dropout of this suite's protocol.

    Deviation: the authors train with learning rate 1e-4 and dropout 0.2.
    """

    next_behaviours: int = 2
    """K: how many behaviours at the end are to be predicted."""
    negatives: int = 4
    """P: drawn behaviours beside each true one."""
    next_weight: float = 1.0
    """lambda: weight of next behaviours prediction."""
    drawn_from: str = "behaviours"
    """Negatives by popularity ("behaviours" of the training users), or uniform over "items"."""

    def __post_init__(self) -> None:
        if self.next_behaviours < 1 or self.negatives < 1:
            raise ValueError(
                f"next_behaviours={self.next_behaviours}, negatives={self.negatives}: "
                "must be 1 or more"
            )
        if self.drawn_from not in ("behaviours", "items"):
            raise ValueError(f"drawn_from={self.drawn_from!r}: use 'behaviours' or 'items'")


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
        items, lengths = batch.items, lengths_of(batch.items)
        hidden_at = random_start(lengths, torch.ones_like(lengths))
        masked = items.scatter(1, hidden_at, self.encoder.config.mask_id)
        # Users too short for a task keep something to encode; they do not count in its mean.
        keeps = (lengths - self.config.next_behaviours).clamp(min=1)
        position = torch.arange(items.shape[1], device=items.device)
        past = items * (position < keeps[:, None])
        next_at = keeps[:, None] + torch.arange(self.config.next_behaviours, device=items.device)
        following = items.gather(1, next_at.clamp(max=items.shape[1] - 1))

        views = torch.cat([masked, past])
        masked_users, past_users = self.encoder(views, batch.bounds).chunk(2)
        users = torch.stack([masked_users] + [past_users] * self.config.next_behaviours, dim=1)
        true = torch.cat([items.gather(1, hidden_at), following], dim=1)
        shape = (*true.shape, self.config.negatives)
        drawn = self.drawable[torch.randint(len(self.drawable), shape, device=true.device)].long()
        losses = choice_losses(users, true, drawn, self.encoder.items)
        mbp = mean_where(lengths > 1, losses[:, 0])
        nbp = mean_where(lengths > self.config.next_behaviours, losses[:, 1:].mean(1))
        logs = {"masked_behaviour": mbp.detach(), "next_behaviours": nbp.detach()}
        return Objective(mbp + self.config.next_weight * nbp, logs)


def choice_losses(
    users: Float[Tensor, "users predictions dim"],
    true: Int[Tensor, "users predictions"],
    drawn: Int[Tensor, "users predictions negatives"],
    vectors: ItemTable,
) -> Float[Tensor, "users predictions"]:
    """-log softmax of <u, E[true]> among itself and the drawn <u, E[c]>."""
    candidates = torch.cat([true[:, :, None], drawn], dim=2)
    scores = torch.einsum("upd,upcd->upc", users, vectors(candidates))
    # Deviation: the authors draw a negative again where it is the true behaviour.
    is_true = F.pad(drawn == true[:, :, None], (1, 0), value=False)
    return -scores.masked_fill(is_true, -torch.inf).log_softmax(2)[:, :, 0]


def mean_where(
    counts: Bool[Tensor, " users"], losses: Float[Tensor, " users"]
) -> Float[Tensor, ""]:
    """Mean loss of the users who count; 0 where none does."""
    return (losses * counts).sum() / counts.sum().clamp(min=1)
