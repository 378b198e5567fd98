"""Augmentations of behaviour sequences: batched, on the device, no loop over users.

Every operator takes right-padded item ids and gives right-padded item ids; positions restart at 0.
Counts use exact integer arithmetic: ratios are read in thousandths, so float error never decides.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Items = Int[Tensor, "users length"]
Counts = Int[Tensor, " users"]


def lengths_of(items: Items) -> Counts:
    """Number of behaviours of each user."""
    return (items != 0).sum(1)


def ceil_share(lengths: Counts, ratio: float) -> Counts:
    """ceil(ratio * length)."""
    return (lengths * round(ratio * 1000) + 999) // 1000


def proper_share(lengths: Counts, ratio: float) -> Counts:
    """ceil(ratio * length), or the floor where the ceiling is the whole sequence: never all of it.

    A sequence of one behaviour gives 0.
    """
    up = ceil_share(lengths, ratio)
    down = lengths * round(ratio * 1000) // 1000
    return torch.where(up < lengths, up, torch.minimum(down, (lengths - 1).clamp(min=0)))


def random_subset(lengths: Counts, counts: Counts, width: int) -> Bool[Tensor, "users length"]:
    """Exactly `counts` of each user's first `lengths` positions, uniformly."""
    position = torch.arange(width, device=lengths.device)
    keys = torch.rand(len(lengths), width, device=lengths.device)
    keys = keys.masked_fill(position >= lengths[:, None], 2.0)
    return keys.argsort(1).argsort(1) < counts[:, None]


def random_start(lengths: Counts, widths: Counts) -> Int[Tensor, "users 1"]:
    """Uniform start of a window of `widths` behaviours inside each sequence."""
    choices = lengths - widths + 1
    uniform = torch.rand(len(lengths), device=lengths.device, dtype=torch.float64)
    return torch.minimum((uniform * choices).long(), choices - 1)[:, None]


def crop(items: Items, ratio: float) -> Items:
    """Keep a contiguous run of ceil(ratio * n) behaviours."""
    lengths = lengths_of(items)
    kept = ceil_share(lengths, ratio).clamp(min=1)
    position = torch.arange(items.shape[1], device=items.device)
    source = (random_start(lengths, kept) + position).clamp(max=items.shape[1] - 1)
    return items.gather(1, source) * (position < kept[:, None])


def reorder(items: Items, ratio: float) -> Items:
    """Shuffle the behaviours inside a contiguous run of ceil(ratio * n)."""
    lengths = lengths_of(items)
    widths = ceil_share(lengths, ratio)
    start = random_start(lengths, widths)
    position = torch.arange(items.shape[1], device=items.device).expand_as(items)
    inside = (position >= start) & (position < start + widths[:, None])
    # Why: keys outside are whole numbers; keys inside are random and stay between start-1 and
    # start+width, so one sort shuffles the run and leaves everything else in place.
    uniform = torch.rand(items.shape, device=items.device, dtype=torch.float64)
    random_key = start + uniform * (widths[:, None] - 0.5)
    keys = torch.where(inside, random_key, position.double())
    return items.gather(1, keys.argsort(1))


def mask(items: Items, ratio: float, mask_id: int) -> Items:
    """Replace ceil(ratio * n) behaviours by the mask, never all; one behaviour stays as it is."""
    lengths = lengths_of(items)
    chosen = random_subset(lengths, proper_share(lengths, ratio), items.shape[1])
    return items.masked_fill(chosen, mask_id)


def random_view(
    items: Items, crop_ratio: float, mask_ratio: float, reorder_ratio: float, mask_id: int
) -> Items:
    """Apply one operator per user, drawn uniformly from crop, reorder and mask.

    Mask is not offered to a user with one behaviour (as in AdaptSSR's release).
    """
    offered = torch.where(lengths_of(items) > 1, 3, 2)
    uniform = torch.rand(len(items), device=items.device, dtype=torch.float64)
    operator = torch.minimum((uniform * offered).long(), offered - 1)[:, None]
    view = torch.where(operator == 0, crop(items, crop_ratio), reorder(items, reorder_ratio))
    return torch.where(operator == 2, mask(items, mask_ratio, mask_id), view)
