"""Predict items by a softmax over the catalogue, exact or sampled: what several methods share."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.model.augment import drop_last, lengths_of, places_of
from userbench.model.encoder import Hidden, Items, UserEncoder, UserVectors
from userbench.model.losses import item_softmax, log_frequency, sampled_item_softmax


class Predictions(NamedTuple):
    """Hidden states and the item that each is to predict; 0: none."""

    states: Float[Tensor, "predictions dim"]
    targets: Int[Tensor, " predictions"]


def predictions(hidden: Hidden, items: Items, places: Int[Tensor, " predictions"]) -> Predictions:
    """Items at some places (`augment.places_of`), each from the hidden state there."""
    states = hidden.flatten(0, 1).index_select(0, places.clamp(max=items.numel() - 1))
    return Predictions(states, F.pad(items.flatten(), (0, 1))[places])


class ItemSoftmax:
    """Cross-entropy of items by the item table itself (tied weights).

    `negatives`: items that a sampled softmax draws per batch; None: the exact one over all items.
    """

    def __init__(self, negatives: int | None):
        self.negatives = negatives

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Keep the behaviours to draw negatives from: drawing one draws an item by popularity."""
        self.behaviours = store.behaviours(users)
        self.counts = self.behaviours.bincount(minlength=store.n_items + 1)
        self.frequency = self.counts / self.counts.sum()

    def log_frequency(self) -> Float[Tensor, " items"]:
        """Log relative frequency of each item, padding included."""
        return log_frequency(self.counts)

    def __call__(
        self,
        states: Float[Tensor, "predictions dim"],
        targets: Int[Tensor, " predictions"],
        encoder: UserEncoder,
        bias: Float[Tensor, " items"],
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of `targets`, but where they are 0, by the item table of `encoder`."""
        if self.negatives is None:
            return item_softmax(states, targets, encoder.item_table, bias)
        picks = torch.randint(len(self.behaviours), (self.negatives,), device=targets.device)
        negatives = self.behaviours[picks].long()
        return sampled_item_softmax(states, targets, encoder.items, bias, negatives, self.frequency)

    def last_item(self, past: UserVectors, batch: Batch, encoder: UserEncoder) -> Float[Tensor, ""]:
        """Mean cross-entropy of each last behaviour, `past` encoding those before it.

        An encoder that sees both directions can be asked for no other one. Users of one behaviour
        have nothing before it and are left out.
        """
        last, several = drop_last(batch.items).last, lengths_of(batch.items) > 1
        places = places_of(several[:, None], batch.at_most(0.0))
        asked = predictions(past[:, None], last[:, None], places)
        no_bias = past.new_zeros(encoder.config.n_items + 1)
        return self(*asked, encoder, no_bias)
