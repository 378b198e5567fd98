"""Predict items by a softmax over the catalogue, exact or sampled."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.model.augment import drop_last, lengths_of, places_of, proper_part
from userbench.model.encoder import Hidden, Items, UserEncoder, UserVectors
from userbench.model.losses import item_softmax, log_frequency, sampled_item_softmax


class ItemTargets(NamedTuple):
    """Hidden states and the item that each is to predict; 0: none."""

    states: Float[Tensor, "predictions dim"]
    targets: Int[Tensor, " predictions"]


def item_targets(hidden: Hidden, items: Items, places: Int[Tensor, " predictions"]) -> ItemTargets:
    """Items at some places (`augment.places_of`), each from the hidden state there."""
    states = hidden.flatten(0, 1).index_select(0, places.clamp(max=items.numel() - 1))
    return ItemTargets(states, F.pad(items.flatten(), (0, 1))[places])


def masked_items(encoder: UserEncoder, batch: Batch, mask_ratio: float) -> ItemTargets:
    """Mask a share of each user's behaviours; each is predicted from its own hidden state."""
    chosen = proper_part(batch.items, mask_ratio)
    view = batch.items.masked_fill(chosen, encoder.config.mask_id)
    hidden = encoder.hidden(view, batch.bounds)
    masked = places_of(chosen, batch.at_most(mask_ratio))
    return item_targets(hidden, batch.items, masked)


class ItemSoftmax:
    """Cross-entropy of items by the item table itself (tied weights).

    `negatives`: items that a sampled softmax draws per batch, by their popularity among the
    training `users`; None: the exact softmax over all items.
    """

    def __init__(self, store: BehaviourStore, users: Int[Tensor, " users"], negatives: int | None):
        self.negatives = negatives
        self.behaviours = store.behaviours(users)
        counts = self.behaviours.bincount(minlength=store.n_items + 1)
        self.frequency = counts / counts.sum()
        self.log_frequency = log_frequency(counts)

    def __call__(
        self,
        states: Float[Tensor, "predictions dim"],
        targets: Int[Tensor, " predictions"],
        encoder: UserEncoder,
        bias: Float[Tensor, " items"],
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the `targets` other than 0, by the item table of `encoder`."""
        if self.negatives is None:
            return item_softmax(states, targets, encoder.items.whole(), bias, encoder.bf16)
        picks = torch.randint(len(self.behaviours), (self.negatives,), device=targets.device)
        negatives = self.behaviours[picks].long()
        return sampled_item_softmax(states, targets, encoder.items, bias, negatives, self.frequency)

    def last_item(self, past: UserVectors, batch: Batch, encoder: UserEncoder) -> Float[Tensor, ""]:
        """Mean cross-entropy of each user's last behaviour, from the vector of those before it.

        A bidirectional encoder cannot be asked for the others: it has seen them. Users of one
        behaviour have nothing before it and are left out.
        """
        last, several = drop_last(batch.items).last, lengths_of(batch.items) > 1
        places = places_of(several[:, None], batch.at_most(0.0))
        asked = item_targets(past[:, None], last[:, None], places)
        no_bias = past.new_zeros(encoder.config.n_items + 1)
        return self(*asked, encoder, no_bias)
