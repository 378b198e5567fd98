"""PeterRec (Yuan et al., SIGIR 2020, arXiv 2001.04253): pre-train once, graft patches per task.

One sequence network is pre-trained to predict items; for a task its weights stay as they are and
only small "model patches" inside it are trained, with the head. AdaptSSR's Table 2 takes PeterRec
as masked item prediction with full fine-tuning, which is the default here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import Count, Ratio
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import places_of
from userbench.model.encoder import Packed, UserEncoder, initialise
from userbench.model.item_softmax import ItemSoftmax, ItemTargets, item_targets, masked_items
from userbench.model.losses import BiasStart


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Values of AdaptSSR's code (its directory MLM), as in `methods/mlm.py`.

    Deviation: PeterRec itself has dilated convolutions; here every method has the same encoder.
    """

    lr: float = 5e-4
    dropout: float = 0.5
    predict: Literal["masked", "next"] = "masked"
    """"masked" behaviours from both sides, or at each behaviour the "next" one from the past."""
    transfer: Literal["all", "patches"] = "all"
    """What fine-tuning trains: "all" of the encoder, or "patches" grafted into a frozen one."""
    mask_ratio: Ratio = 0.3
    negatives: Count | None = None
    """Items a sampled softmax draws per batch; None: the exact softmax over all items."""
    bias_start: BiasStart = "zero"
    """Output bias at the start: "zero", or "frequency", the items' log frequency."""


class Patch(nn.Module):
    """Bottleneck with a skip connection, X + W_up gelu(W_down X); it starts as the identity."""

    def __init__(self, dim: int):
        super().__init__()
        self.down = nn.Linear(dim, dim // 4)
        self.up = nn.Linear(dim // 4, dim)
        self.apply(initialise)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden: Packed) -> Packed:
        """The input and what the patch adds to it."""
        return hidden + self.up(F.gelu(self.down(hidden)))


class Method(PretrainMethod):
    """Predict items from hidden states by the item table itself (tied weights)."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        encoder.causal = config.predict == "next"
        self.bias = nn.Parameter(torch.zeros(encoder.config.n_items + 1))

    @staticmethod
    def adapt(encoder: UserEncoder, config: Config) -> None:
        """Read as in pre-training; with patches, freeze all but them, last norms and pooling."""
        encoder.causal = config.predict == "next"
        if config.transfer == "patches":
            encoder.requires_grad_(False)
            encoder.pooling.requires_grad_(True)
            for layer in encoder.layers:
                layer.after_attention = Patch(encoder.config.dim)
                layer.after_network = Patch(encoder.config.dim)
                layer.network_norm.requires_grad_(True)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Count items: for negatives, and for the bias where it starts at their frequency."""
        self.softmax = ItemSoftmax(store, users, self.config.negatives)
        if self.config.bias_start == "frequency":
            self.bias.data.copy_(self.softmax.log_frequency)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = mean of CE(h E^T + b, item) over the predicted behaviours of the batch."""
        if self.config.predict == "masked":
            asked = masked_items(self.encoder, batch, self.config.mask_ratio)
        else:
            asked = next_items(self.encoder, batch)
        return Objective(self.softmax(*asked, self.encoder, self.bias))


def next_items(encoder: UserEncoder, batch: Batch) -> ItemTargets:
    """Every behaviour but the first, from the hidden state of the one before it."""
    hidden = encoder.hidden(batch.items, batch.bounds)[:, :-1]
    following = batch.items[:, 1:]
    return item_targets(hidden, following, places_of(following != 0, batch.at_most(1.0)))
