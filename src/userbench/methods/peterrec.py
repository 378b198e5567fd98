"""PeterRec (Yuan et al., SIGIR 2020, arXiv 2001.04253): pre-train once, graft patches per task.

One sequence network is pre-trained to predict items; for a task its weights stay as they are and
only small "model patches" inside it are trained, with the head. AdaptSSR's Table 2 takes PeterRec
as masked item prediction with full fine-tuning, which is the default here.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.augment import mask, places_of
from userbench.model.encoder import Packed, UserEncoder, initialise
from userbench.model.item_softmax import ItemSoftmax, Predictions, predictions
from userbench.model.losses import BIAS_STARTS


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Values of AdaptSSR's release (its directory MLM), as in `methods/mlm.py`.

    Deviation: PeterRec itself has dilated convolutions; here every method has the same encoder.
    """

    lr: float = 5e-4
    dropout: float = 0.5
    predict: str = "masked"
    """"masked" behaviours from both sides, or at each behaviour the "next" one from the past."""
    transfer: str = "all"
    """What fine-tuning trains: "all" of the encoder, or "patches" grafted into a frozen one."""
    mask_ratio: float = 0.3
    negatives: int | None = None
    """Items a sampled softmax draws per batch; None: the exact softmax over all items."""
    bias_start: str = "zero"
    """Output bias at the start: "zero", or "frequency", the items' log frequency."""

    def __post_init__(self) -> None:
        if self.predict not in ("masked", "next"):
            raise ValueError(f"predict={self.predict!r}: use 'masked' or 'next'")
        if self.transfer not in ("all", "patches"):
            raise ValueError(f"transfer={self.transfer!r}: use 'all' or 'patches'")
        if self.bias_start not in BIAS_STARTS:
            raise ValueError(f"bias_start={self.bias_start!r}: use one of {', '.join(BIAS_STARTS)}")


class Patch(nn.Module):
    """Bottleneck with a skip, X + W_up gelu(W_down X); it starts as the identity."""

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
        self.softmax = ItemSoftmax(config.negatives)
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
        self.softmax.prepare(store, users)
        if self.config.bias_start == "frequency":
            self.bias.data.copy_(self.softmax.log_frequency())

    def forward(self, batch: Batch, progress: float) -> Objective:
        """Mean cross-entropy over the predicted behaviours of the batch."""
        ask = {"masked": self.masked, "next": self.following}[self.config.predict]
        return Objective(self.softmax(*ask(batch), self.encoder, self.bias))

    def masked(self, batch: Batch) -> Predictions:
        """Every masked behaviour, from its own hidden state."""
        view = mask(batch.items, self.config.mask_ratio, self.encoder.config.mask_id)
        hidden = self.encoder.hidden(view, batch.bounds)
        masked = places_of(view != batch.items, batch.at_most(self.config.mask_ratio))
        return predictions(hidden, batch.items, masked)

    def following(self, batch: Batch) -> Predictions:
        """Every behaviour but the first, from the hidden state of the one before it."""
        hidden = self.encoder.hidden(batch.items, batch.bounds)[:, :-1]
        following = batch.items[:, 1:]
        return predictions(hidden, following, places_of(following != 0, batch.at_most(1.0)))
