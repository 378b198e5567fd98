"""CL4SRec (Xie et al., ICDE 2022, arXiv 2010.14395): two augmentations of a user attract.

Crop, mask or reorder a sequence twice; the views of one user attract, those of others repel. The
preprint's first version (CP4Rec, 2020) pre-trains by this contrast alone, the default here; the
published one adds next-item prediction (`rec_weight` 1, `contrast_weight` 0.1).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import drop_last
from userbench.model.encoder import UserEncoder, initialise
from userbench.model.item_softmax import ItemSoftmax
from userbench.model.losses import check_contrast, nt_xent
from userbench.view import ViewOptions
from userbench.views import operators


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss as in ports of the method (RecBole): no code of the authors is known.

    Deviation: ratios of the operators are AdaptSSR's, so that rows differ by their loss alone.
    """

    views: ViewOptions = operators.Options()
    # Why dot at 1: ports of the method; our tuning prefers others (ledger: contrast_similarity).
    similarity: str = "dot"
    temperature: float = 1.0
    projection: str = "none"
    """"none", as published, or "linear", as CP4Rec; dropped after pre-training."""
    contrast_weight: float = 1.0
    rec_weight: float = 0.0
    """Weight of next-item prediction from the user vector."""
    negatives: int | None = None
    """Items a sampled softmax draws per batch for it; None: the exact softmax over all items."""

    def __post_init__(self) -> None:
        check_contrast(self.similarity, self.temperature)
        if self.projection not in ("none", "linear"):
            raise ValueError(f"projection={self.projection!r}: use 'none' or 'linear'")
        if self.rec_weight < 0:
            raise ValueError(f"rec_weight={self.rec_weight}: must not be below 0")


class Method(PretrainMethod):
    """NT-Xent between two augmented views, and next-item prediction where it has a weight."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.views = config.views.views(encoder)
        self.softmax = ItemSoftmax(config.negatives)
        self.project: nn.Module = nn.Identity()
        if config.projection == "linear":
            self.project = nn.Linear(encoder.width, encoder.width)
            initialise(self.project)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Let the views compute what they need; keep the behaviours to draw negatives from."""
        self.views.prepare(store, users)
        if self.config.rec_weight > 0:
            self.softmax.prepare(store, users)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = contrast_weight NT-Xent(g(u1), g(u2)) + rec_weight CE(u(past) E^T, last)."""
        c = self.config
        views = torch.cat(self.views(batch, progress))
        views = self.project(self.encoder(views, self.views.bounds(batch)))
        contrast = nt_xent(*views.chunk(2), c.similarity, c.temperature)
        if c.rec_weight == 0:
            return Objective(c.contrast_weight * contrast)
        past = self.encoder(drop_last(batch.items).past, batch.bounds)
        next_item = self.softmax.last_item(past, batch, self.encoder)
        logs = {"contrast": contrast.detach(), "next_item": next_item.detach()}
        return Objective(c.contrast_weight * contrast + c.rec_weight * next_item, logs)
