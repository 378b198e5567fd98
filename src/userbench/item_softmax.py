"""Predict items by a softmax over the catalogue, exact or sampled: what several methods share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from userbench.augment import drop_last, lengths_of
from userbench.data.store import BehaviourStore
from userbench.encoder import Items, UserEncoder, UserVectors
from userbench.losses import item_softmax, log_frequency, sampled_item_softmax


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
        """Mean cross-entropy of `targets` by the item table of `encoder`."""
        if self.negatives is None:
            return item_softmax(states, targets, encoder.item_table, bias)
        picks = torch.randint(len(self.behaviours), (self.negatives,), device=targets.device)
        negatives = self.behaviours[picks].long()
        return sampled_item_softmax(states, targets, encoder.items, bias, negatives, self.frequency)

    def last_item(self, past: UserVectors, items: Items, encoder: UserEncoder) -> Float[Tensor, ""]:
        """Mean cross-entropy of each last behaviour, `past` encoding those before it.

        An encoder that sees both directions can be asked for no other one. Users of one behaviour
        have nothing before it and are left out.
        """
        several = lengths_of(items) > 1
        targets = drop_last(items).last[several]
        no_bias = past.new_zeros(encoder.config.n_items + 1)
        return self(past[several], targets, encoder, no_bias)
