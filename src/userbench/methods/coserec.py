"""CoSeRec (Liu et al., 2021, arXiv 2108.06479): augment by items that go with those of the user.

Crop, mask and reorder destroy a short sequence. Two informative operators keep it: substitute an
item by its most correlated one, or insert that one before it. A sequence of at most `short_length`
behaviours gets one of {substitute, insert, mask}, a longer one any of the five, drawn anew for each
view (`views/informative.py`); views of one user attract, those of others repel.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from userbench.augment import drop_last, lengths_of
from userbench.data.store import Batch, BehaviourStore
from userbench.encoder import Items, UserEncoder
from userbench.losses import check_contrast, item_softmax, nt_xent, sampled_item_softmax
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.view import ViewOptions
from userbench.views import informative


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss of the authors' code, which trains with `rec_weight` 1 and `contrast_weight` 0.1.

    Deviation: the contrast alone by default, as all contrastive methods are pre-trained here.
    """

    views: ViewOptions = informative.Options()
    # Deviation: the authors compare the hidden states of all positions, padding too, side by side;
    # here user vectors are compared, the ones that the downstream tasks read.
    similarity: str = "dot"
    temperature: float = 1.0
    contrast_weight: float = 1.0
    rec_weight: float = 0.0
    """Weight of next-item prediction from the user vector."""
    negatives: int | None = None
    """Items a sampled softmax draws per batch for it; None: the exact softmax over all items."""

    def __post_init__(self) -> None:
        check_contrast(self.similarity, self.temperature)
        if self.rec_weight < 0:
            raise ValueError(f"rec_weight={self.rec_weight}: must not be below 0")


class Method(PretrainMethod):
    """NT-Xent between two informative augmentations."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.views = config.views.views(encoder)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Let the views correlate items; keep the behaviours to draw negatives from."""
        self.views.prepare(store, users)
        self.behaviours = store.behaviours(users)
        counts = self.behaviours.bincount(minlength=store.n_items + 1)
        self.frequency = counts / counts.sum()

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = contrast_weight NT-Xent(u1, u2) + rec_weight CE(u(past) E^T, last)."""
        c = self.config
        views = self.encoder(torch.cat(self.views(batch, progress)))
        contrast = nt_xent(*views.chunk(2), c.similarity, c.temperature)
        if c.rec_weight == 0:
            return Objective(c.contrast_weight * contrast)
        next_item = self.next_item(batch.items)
        logs = {"contrast": contrast.detach(), "next_item": next_item.detach()}
        return Objective(c.contrast_weight * contrast + c.rec_weight * next_item, logs)

    def next_item(self, items: Items) -> Float[Tensor, ""]:
        """Cross-entropy of each last behaviour, by the item table, from those before it.

        Deviation: the authors ask for every next item, which an encoder of both directions cannot
        be asked, against one negative. Users of one behaviour are left out.
        """
        past, last = drop_last(items)
        several = lengths_of(items) > 1
        users, targets = self.encoder(past)[several], last[several]
        table = self.encoder.item_table
        no_bias = table.new_zeros(len(table))
        if self.config.negatives is None:
            return item_softmax(users, targets, table, no_bias)
        picks = torch.randint(len(self.behaviours), (self.config.negatives,), device=items.device)
        negatives = self.behaviours[picks].long()
        return sampled_item_softmax(users, targets, table, no_bias, negatives, self.frequency)
