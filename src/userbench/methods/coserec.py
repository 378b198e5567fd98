"""CoSeRec (Liu et al., 2021, arXiv 2108.06479): augment by items that go with those of the user.

Crop, mask and reorder destroy a short sequence. Two informative operators keep it: substitute an
item by its most correlated one, or insert that one before it. A sequence of at most `short_length`
behaviours gets one of {substitute, insert, mask}, a longer one any of the five, drawn anew for each
view (`views/informative.py`); views of one user attract, those of others repel.
"""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count, NotNegative, Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import drop_last
from userbench.model.item_softmax import ItemSoftmax
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import informative


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss of the authors' code, which trains with `rec_weight` 1 and `contrast_weight` 0.1.

    Deviation: the contrast alone by default, as all contrastive methods are pre-trained here; so
    are dropout, 0.1, and learning rate, 2e-4: the authors' are 0.5 and 1e-3 (docs/ambiguities.md:
    compared_dropout, compared_lr).
    """

    views: ViewOptions = informative.Options()
    # Deviation: the authors compare the hidden states of all positions, padding too, side by side;
    # here user vectors are compared, the ones that the downstream tasks read.
    # Why dot at 1: the authors' code; our tuning prefers others (ledger: contrast_similarity).
    similarity: Similarity = "dot"
    temperature: Positive = 1.0
    contrast_weight: float = 1.0
    rec_weight: NotNegative = 0.0
    """Weight of next-item prediction from the user vector."""
    negatives: Count | None = None
    """Items a sampled softmax draws per batch for it; None: the exact softmax over all items."""


class Method(PretrainMethod):
    """NT-Xent between two informative augmentations."""

    config: Config

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Prepare the views, and next-item prediction where it has a weight."""
        super().prepare(store, users)
        if self.config.rec_weight > 0:
            self.softmax = ItemSoftmax(store, users, self.config.negatives)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = contrast_weight NT-Xent(u1, u2) + rec_weight CE(u(past) E^T, last)."""
        c = self.config
        users = self.encode_views(batch, progress)
        contrast = nt_xent(*users.chunk(2), c.similarity, c.temperature)
        if c.rec_weight == 0:
            return Objective(c.contrast_weight * contrast)
        # Deviation: the authors predict every next item, against one negative; a bidirectional
        # encoder has seen all of them but the last.
        past = self.encoder(drop_last(batch.items).past, batch.bounds)
        next_item = self.softmax.last_item(past, batch, self.encoder)
        logs = {"contrast": contrast.detach(), "next_item": next_item.detach()}
        return Objective(c.contrast_weight * contrast + c.rec_weight * next_item, logs)
