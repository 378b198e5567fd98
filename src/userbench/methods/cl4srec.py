"""CL4SRec (Xie et al., ICDE 2022, arXiv 2010.14395): two augmentations of a user attract.

Crop, mask or reorder a sequence twice; the views of one user attract, those of others repel. The
preprint's first version (CP4Rec, 2020) pre-trains by this contrast alone, the default here; the
published one adds next-item prediction (`rec_weight` 1, `contrast_weight` 0.1).
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count, NotNegative, Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import drop_last
from userbench.model.encoder import UserEncoder, initialise
from userbench.model.item_softmax import ItemSoftmax
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import operators


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss as in ports of the method (RecBole): no code of the authors is known.

    Deviation: ratios of the operators are AdaptSSR's, so that rows differ by their loss alone.
    """

    views: ViewOptions = operators.Options()
    # Why dot at 1: ports of the method; our tuning prefers others (ledger: contrast_similarity).
    similarity: Similarity = "dot"
    temperature: Positive = 1.0
    projection: Literal["none", "linear"] = "none"
    """"none", as published, or "linear", as CP4Rec; dropped after pre-training."""
    contrast_weight: float = 1.0
    rec_weight: NotNegative = 0.0
    """Weight of next-item prediction from the user vector."""
    negatives: Count | None = None
    """Items a sampled softmax draws per batch for it; None: the exact softmax over all items."""


class Method(PretrainMethod):
    """NT-Xent between two augmented views, and next-item prediction where it has a weight."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.project: nn.Module = nn.Identity()
        if config.projection == "linear":
            self.project = nn.Linear(encoder.width, encoder.width)
            initialise(self.project)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Prepare the views, and next-item prediction where it has a weight."""
        super().prepare(store, users)
        if self.config.rec_weight > 0:
            self.softmax = ItemSoftmax(store, users, self.config.negatives)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = contrast_weight NT-Xent(g(u1), g(u2)) + rec_weight CE(u(past) E^T, last)."""
        c = self.config
        users = self.project(self.encode_views(batch, progress))
        contrast = nt_xent(*users.chunk(2), c.similarity, c.temperature)
        if c.rec_weight == 0:
            return Objective(c.contrast_weight * contrast)
        past = self.encoder(drop_last(batch.items).past, batch.bounds)
        next_item = self.softmax.last_item(past, batch, self.encoder)
        logs = {"contrast": contrast.detach(), "next_item": next_item.detach()}
        return Objective(c.contrast_weight * contrast + c.rec_weight * next_item, logs)
