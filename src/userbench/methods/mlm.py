"""Masked item prediction on the shared encoder (BERT4Rec, Sun et al., CIKM 2019).

Hide some behaviours and name them from the others. It is the warm start of every sequence-level
method, and the form in which PeterRec (Yuan et al., SIGIR 2020) enters AdaptSSR's Table 2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import mask, places_of
from userbench.model.encoder import UserEncoder
from userbench.model.item_softmax import ItemSoftmax, predictions
from userbench.model.losses import BIAS_STARTS, unigram_loss


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Values of AdaptSSR's release (its directory MLM)."""

    lr: float = 5e-4
    dropout: float = 0.5
    mask_ratio: float = 0.3
    negatives: int | None = None
    """Items a sampled softmax draws per batch; None: the exact softmax over all items."""
    bias_start: str = "zero"
    """Output bias at the start: "zero" as released, or "frequency", the items' log frequency. From
    zero, hidden states first learn what is popular and stop telling users apart; leaving that takes
    hundreds of steps, most of a short training (EXPERIMENTS.md)."""

    def __post_init__(self) -> None:
        if self.bias_start not in BIAS_STARTS:
            raise ValueError(f"bias_start={self.bias_start!r}: use one of {', '.join(BIAS_STARTS)}")


class Method(PretrainMethod):
    """Predict each masked item from its hidden state by the item table itself (tied weights)."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.softmax = ItemSoftmax(config.negatives)
        self.bias = nn.Parameter(torch.zeros(encoder.config.n_items + 1))

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Count items: for negatives, and for the bias where it starts at their frequency."""
        self.softmax.prepare(store, users)
        self.popularity = self.softmax.log_frequency()
        if self.config.bias_start == "frequency":
            self.bias.data.copy_(self.popularity)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """Mean cross-entropy over the masked behaviours of the batch.

        Logs `unigram`, that of the items' frequencies alone on the same behaviours: where the loss
        is not below it, the encoder has learnt what is popular and nothing of its users.
        """
        view = mask(batch.items, self.config.mask_ratio, self.encoder.config.mask_id)
        hidden = self.encoder.hidden(view, batch.bounds)
        masked = places_of(view != batch.items, batch.at_most(self.config.mask_ratio))
        asked = predictions(hidden, batch.items, masked)
        loss = self.softmax(*asked, self.encoder, self.bias)
        return Objective(loss, {"unigram": unigram_loss(asked.targets, self.popularity)})
