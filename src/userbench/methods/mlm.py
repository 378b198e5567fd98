"""Masked item prediction on the shared encoder (BERT4Rec, Sun et al., CIKM 2019).

Mask some behaviours and predict them from the others. It is the warm start of every sequence-level
method, and the form in which PeterRec (Yuan et al., SIGIR 2020) enters AdaptSSR's Table 2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count, Ratio
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserEncoder
from userbench.model.item_softmax import ItemSoftmax, masked_items
from userbench.model.losses import BiasStart, unigram_loss


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Values of AdaptSSR's code (its directory MLM)."""

    lr: float = 5e-4
    dropout: float = 0.5
    mask_ratio: Ratio = 0.3
    negatives: Count | None = None
    """Items a sampled softmax draws per batch; None: the exact softmax over all items."""
    bias_start: BiasStart = "zero"
    """Output bias at the start: "zero" as in that code, or "frequency", the items' log frequency.
    From zero, hidden states first learn popularity and all users become alike; leaving that state
    takes hundreds of steps, most of a short training (EXPERIMENTS.md)."""


class Method(PretrainMethod):
    """Predict each masked item from its hidden state by the item table itself (tied weights)."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.bias = nn.Parameter(torch.zeros(encoder.config.n_items + 1))

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Count items: for negatives, and for the bias where it starts at their frequency."""
        self.softmax = ItemSoftmax(store, users, self.config.negatives)
        if self.config.bias_start == "frequency":
            self.bias.data.copy_(self.softmax.log_frequency)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = mean of CE(h E^T + b, item) over the masked behaviours of the batch.

        Logs `unigram`, the loss of the items' frequencies alone on the same behaviours: where the
        loss is not below it, the encoder has learnt what is popular and nothing about its users.
        """
        masked = masked_items(self.encoder, batch, self.config.mask_ratio)
        loss = self.softmax(*masked, self.encoder, self.bias)
        return Objective(
            loss, {"unigram": unigram_loss(masked.targets, self.softmax.log_frequency)}
        )
