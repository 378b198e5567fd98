"""Augmentations of behaviour sequences: batched, on the device, no loop over users.

Every operator takes right-padded item ids and gives right-padded item ids; positions restart at 0.
Counts use exact integer arithmetic: ratios are read in thousandths, so float error never decides.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Items = Int[Tensor, "users length"]
Counts = Int[Tensor, " users"]
Neighbours = Int[Tensor, " items_and_padding"]
"""The one neighbour of each item; [0] = 0."""


class LastDropped(NamedTuple):
    """A sequence without its last behaviour, and that behaviour."""

    past: Items
    last: Counts


class Periods(NamedTuple):
    """Two periods of each sequence."""

    early: Items
    late: Items


def lengths_of(items: Items) -> Counts:
    """Number of behaviours of each user."""
    return (items != 0).sum(1)


def ceil_share(lengths: Counts, ratio: float) -> Counts:
    """ceil(ratio * length)."""
    return (lengths * round(ratio * 1000) + 999) // 1000


def floor_share(lengths: Counts, ratio: float) -> Counts:
    """floor(ratio * length), at least one."""
    return (lengths * round(ratio * 1000) // 1000).clamp(min=1)


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


def places_of(chosen: Bool[Tensor, "users length"], at_most: int | None) -> Int[Tensor, " places"]:
    """Flat places of the chosen positions, in order; None for `at_most` waits for the device.

    Else there are `at_most` places, and those too many lie one behind the last position.
    """
    flat = chosen.flatten()
    if at_most is None:
        return flat.nonzero().squeeze(1)
    slots = torch.where(flat, flat.cumsum(0) - 1, at_most)
    places = slots.new_full((at_most + 1,), len(flat))
    return places.scatter_(0, slots, torch.arange(len(flat), device=flat.device))[:-1]


def random_start(lengths: Counts, widths: Counts) -> Int[Tensor, "users 1"]:
    """Uniform start of a window of `widths` behaviours inside each sequence."""
    choices = lengths - widths + 1
    uniform = torch.rand(len(lengths), device=lengths.device, dtype=torch.float64)
    return torch.minimum((uniform * choices).long(), choices - 1)[:, None]


def window(items: Items, start: Int[Tensor, "users 1"], widths: Counts) -> Items:
    """Each sequence's `widths` behaviours from `start` on."""
    position = torch.arange(items.shape[1], device=items.device)
    source = (start + position).clamp(max=items.shape[1] - 1)
    return items.gather(1, source) * (position < widths[:, None])


def crop(items: Items, ratio: float) -> Items:
    """Keep a contiguous run of ceil(ratio * n) behaviours."""
    lengths = lengths_of(items)
    kept = ceil_share(lengths, ratio).clamp(min=1)
    return window(items, random_start(lengths, kept), kept)


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


def substitute(items: Items, ratio: float, neighbours: Neighbours) -> Items:
    """Replace max(1, floor(ratio * n)) behaviours by their neighbours."""
    lengths = lengths_of(items)
    chosen = random_subset(lengths, floor_share(lengths, ratio), items.shape[1])
    return torch.where(chosen, neighbours[items], items)


def insert(
    items: Items, ratio: float, neighbours: Neighbours, width: int
) -> Int[Tensor, "users {width}"]:
    """Put the neighbours of max(1, floor(ratio * n)) behaviours before them.

    Of what exceeds `width`, the oldest is dropped.
    """
    lengths = lengths_of(items)
    added = floor_share(lengths, ratio)
    length = items.shape[1]
    anchors = random_subset(lengths, added, length)
    before = anchors.cumsum(1)
    # Why: padding, and neighbours of no anchor, go to a last column that is never read.
    unread = torch.full_like(items, 2 * length)
    own = torch.where(items != 0, torch.arange(length, device=items.device) + before, unread)
    grown = items.new_zeros(len(items), 2 * length + 1).scatter_(1, own, items)
    grown.scatter_(1, torch.where(anchors, own - 1, unread), neighbours[items])
    total = lengths + added
    position = torch.arange(width, device=items.device)
    source = (total - width).clamp(min=0)[:, None] + position
    return grown.gather(1, source.clamp(max=2 * length)) * (position < total[:, None])


def drop_last(items: Items) -> LastDropped:
    """All behaviours but the last, and the last; a sequence of one behaviour stays whole."""
    lengths = lengths_of(items)
    end = (lengths - 1)[:, None]
    position = torch.arange(items.shape[1], device=items.device)
    dropped = (position == end) & (end > 0)
    return LastDropped(items.masked_fill(dropped, 0), items.gather(1, end).squeeze(1))


def halves(items: Items, least: float) -> Periods:
    """Cut each sequence at a uniform place that leaves ceil(least * n) behaviours on both sides.

    A sequence of one behaviour is both periods.
    """
    lengths = lengths_of(items)
    low = torch.minimum(ceil_share(lengths, least), lengths // 2).clamp(min=1)
    high = torch.maximum(lengths - low, low)
    cut = low[:, None] + random_start(high, low)
    late = window(items, cut, lengths - cut.squeeze(1))
    position = torch.arange(items.shape[1], device=items.device)
    return Periods(items * (position < cut), torch.where(lengths[:, None] > 1, late, items))


def adjacent(items: Items, width: int) -> Periods:
    """Two windows of min(width, floor(n / 2)) behaviours, the second right after the first.

    A sequence of one behaviour is both periods.
    """
    lengths = lengths_of(items)
    widths = (lengths // 2).clamp(min=1, max=width)
    both = torch.minimum(2 * widths, lengths)
    start = random_start(lengths, both)
    return Periods(
        window(items, start, widths), window(items, start + (both - widths)[:, None], widths)
    )


def draw_operator(offered: Bool[Tensor, "users operators"]) -> Counts:
    """Number of one operator per user, uniform among those `offered` to the user."""
    choices = offered.sum(1)
    uniform = torch.rand(len(offered), device=offered.device, dtype=torch.float64)
    drawn = torch.minimum((uniform * choices).long(), choices - 1)
    return (offered.cumsum(1) > drawn[:, None]).int().argmax(1)


def by_operator(operator: Counts, views: list[Items]) -> Items:
    """Row i of `views[operator[i]]`."""
    chosen = views[0]
    for number, view in enumerate(views[1:], start=1):
        chosen = torch.where(operator[:, None] == number, view, chosen)
    return chosen


def offered_operators(items: Items) -> Bool[Tensor, "users 3"]:
    """Crop, reorder and mask; no mask for a user with one behaviour (as in AdaptSSR's code)."""
    several = lengths_of(items) > 1
    return torch.stack([torch.ones_like(several), torch.ones_like(several), several], dim=1)


def operator_view(
    items: Items,
    operator: Counts,
    crop_ratio: float,
    mask_ratio: float,
    reorder_ratio: float,
    mask_id: int,
) -> Items:
    """Apply to each user the given one of crop (0), reorder (1) and mask (2)."""
    views = [crop(items, crop_ratio), reorder(items, reorder_ratio)]
    return by_operator(operator, [*views, mask(items, mask_ratio, mask_id)])


def random_view(
    items: Items, crop_ratio: float, mask_ratio: float, reorder_ratio: float, mask_id: int
) -> Items:
    """Apply one operator per user, drawn uniformly from `offered_operators`."""
    operator = draw_operator(offered_operators(items))
    return operator_view(items, operator, crop_ratio, mask_ratio, reorder_ratio, mask_id)
