"""DuoRec (Qiu et al., WSDM 2022, arXiv 2110.05730): same next item, same intent.

Two sequences that lead to the same target item are positives of each other, and so are a sequence
and itself under another dropout mask; both keep user vectors spread out. As pre-training, the
target is a user's last item, and the sequence what came before it (`views/same_target.py`).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count, NotNegative, Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.item_softmax import ItemSoftmax
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import same_target

# h: the sequence; h': again, under another dropout mask; h+: a partner of the same target.
CONTRASTS = {
    "us_x": [("h'", "h+")],
    "us": [("h", "h'"), ("h", "h+")],
    "un": [("h", "h'")],
    "su": [("h", "h+")],
}


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss of the authors' code, which trains with `rec_weight` 1 and `contrast_weight` 0.1.

    Deviation: the contrast alone by default, as all contrastive methods are pre-trained here; so
    are dropout, 0.1, and learning rate, 2e-4: the authors' are 0.5 and 1e-3 (docs/ambiguities.md:
    compared_dropout, compared_lr).
    """

    views: ViewOptions = same_target.Options()
    contrast: Literal["us_x", "us", "un", "su"] = "us_x"
    """What is compared: the dropout twin with the partner ("us_x", published); the sequence with
    both ("us"), with its twin alone ("un") or with its partner alone ("su")."""
    # Why dot at 1: the authors' code; our tuning prefers others (ledger: contrast_similarity).
    similarity: Similarity = "dot"
    temperature: Positive = 1.0
    same_target_negatives: Literal["kept", "left_out"] = "kept"
    """Users of the batch who share the target: "kept" as negatives (published), or "left_out"."""
    # Deviation: the authors weigh the two terms of "us" separately (both 0.1).
    contrast_weight: float = 1.0
    rec_weight: NotNegative = 0.0
    """Weight of predicting the target from the user vector h."""
    negatives: Count | None = None
    """Items a sampled softmax draws per batch for it; None: the exact softmax over all items."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views.kind != "same_target":
            raise ValueError(f"views of kind {self.views.kind!r}: DuoRec needs 'same_target'")


class Method(PretrainMethod):
    """NT-Xent between encodings of sequences that lead to the same item."""

    config: Config

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Prepare the views, and next-item prediction where it has a weight."""
        super().prepare(store, users)
        if self.config.rec_weight > 0:
            self.softmax = ItemSoftmax(store, users, self.config.negatives)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = contrast_weight sum NT-Xent + rec_weight CE(h E^T, target)."""
        c = self.config
        own, partner = self.views(batch, progress)
        sequences = {"h": own, "h'": own, "h+": partner}
        needed = {name for pair in CONTRASTS[c.contrast] for name in pair}
        if c.rec_weight > 0:
            needed.add("h")
        names = sorted(needed)
        views = torch.cat([sequences[name] for name in names])
        vectors = self.encoder(views, self.views.bounds(batch))
        encoded = dict(zip(names, vectors.chunk(len(names)), strict=True))

        excluded = self.excluded(batch)
        contrast = sum(
            nt_xent(encoded[one], encoded[other], c.similarity, c.temperature, excluded)
            for one, other in CONTRASTS[c.contrast]
        )
        logs = {"contrast": contrast.detach(), "partnered": self.views.partnered}
        if c.rec_weight == 0:
            return Objective(c.contrast_weight * contrast, logs)
        next_item = self.softmax.last_item(encoded["h"], batch, self.encoder)
        logs["next_item"] = next_item.detach()
        return Objective(c.contrast_weight * contrast + c.rec_weight * next_item, logs)

    def excluded(self, batch: Batch) -> Bool[Tensor, "users users"] | None:
        """Pairs of users that are no negatives of each other: those of one target."""
        if self.config.same_target_negatives == "kept":
            return None
        targets = self.views.groups(batch)
        return targets[:, None] == targets
