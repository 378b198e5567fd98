"""Augmentations of behaviour sequences: batched, on the device, no loop over users.

Every operator takes right-padded item ids and gives right-padded item ids; positions restart at 0.
Counts use exact integer arithmetic: ratios are read in thousandths, so float error never decides.
What is random is decided by numbers in [0, 1). An operator draws them itself unless it is given
them: then its result is determined, and kernels of our own can be compared with it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from userbench.model.kernels.language import used_for
from userbench.model.kernels.subsets import ordered_places, random_share

Items = Int[Tensor, "users length"]
Counts = Int[Tensor, " users"]
Neighbours = Int[Tensor, " items_and_padding"]
"""The one neighbour of each item; [0] = 0."""
Uniform = Float64[Tensor, " users"]
Order = Float64[Tensor, "users length"]
Keys = Float32[Tensor, "users length"]


class LastDropped(NamedTuple):
    """A sequence without its last behaviour, and that behaviour."""

    past: Items
    last: Counts


class Periods(NamedTuple):
    """Two periods of each sequence."""

    early: Items
    late: Items


def draw(*rooms: Tensor) -> None:
    """Fill room for numbers in [0, 1): those of the first view, room by room, then the second's."""
    for view in zip(*rooms, strict=True):
        for room in view:
            room.uniform_()


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


def random_subset(
    lengths: Counts, counts: Counts, width: int, keys: Keys | None = None
) -> Bool[Tensor, "users length"]:
    """Exactly `counts` of each user's first `lengths` positions, uniformly: of the least keys."""
    position = torch.arange(width, device=lengths.device)
    if keys is None:
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
    if used_for(chosen):
        return ordered_places(flat, at_most)
    slots = torch.where(flat, flat.cumsum(0) - 1, at_most)
    places = slots.new_full((at_most + 1,), len(flat))
    return places.scatter_(0, slots, torch.arange(len(flat), device=flat.device))[:-1]


def below(choices: Counts, uniform: Uniform | None = None) -> Counts:
    """Uniform among the whole numbers from 0 to `choices` - 1; -1 where there are no choices."""
    if uniform is None:
        uniform = torch.rand(len(choices), device=choices.device, dtype=torch.float64)
    return torch.minimum((uniform * choices).long(), choices - 1)


def random_start(
    lengths: Counts, widths: Counts, uniform: Uniform | None = None
) -> Int[Tensor, "users 1"]:
    """Uniform start of a window of `widths` behaviours inside each sequence."""
    return below(lengths - widths + 1, uniform)[:, None]


def window(items: Items, start: Int[Tensor, "users 1"], widths: Counts) -> Items:
    """Each sequence's `widths` behaviours from `start` on."""
    position = torch.arange(items.shape[1], device=items.device)
    source = (start + position).clamp(max=items.shape[1] - 1)
    return items.gather(1, source) * (position < widths[:, None])


def crop(items: Items, ratio: float, uniform: Uniform | None = None) -> Items:
    """Keep a contiguous run of ceil(ratio * n) behaviours."""
    lengths = lengths_of(items)
    kept = ceil_share(lengths, ratio).clamp(min=1)
    return window(items, random_start(lengths, kept, uniform), kept)


def reorder(
    items: Items, ratio: float, uniform: Uniform | None = None, order: Order | None = None
) -> Items:
    """Shuffle the behaviours inside a contiguous run of ceil(ratio * n)."""
    lengths = lengths_of(items)
    widths = ceil_share(lengths, ratio)
    start = random_start(lengths, widths, uniform)
    position = torch.arange(items.shape[1], device=items.device).expand_as(items)
    inside = (position >= start) & (position < start + widths[:, None])
    # Why: keys outside are whole numbers; keys inside are random and stay between start-1 and
    # start+width, so one sort shuffles the run and leaves everything else in place.
    if order is None:
        order = torch.rand(items.shape, device=items.device, dtype=torch.float64)
    random_key = start + order * (widths[:, None] - 0.5)
    keys = torch.where(inside, random_key, position.double())
    return items.gather(1, keys.argsort(1))


def proper_part(
    items: Items, ratio: float, keys: Keys | None = None
) -> Bool[Tensor, "users length"]:
    """ceil(ratio * n) random behaviours of each user, never all; of one behaviour none."""
    if used_for(items):
        keys = torch.rand(items.shape, device=items.device) if keys is None else keys
        return random_share(items, keys, round(ratio * 1000), "proper")
    lengths = lengths_of(items)
    return random_subset(lengths, proper_share(lengths, ratio), items.shape[1], keys)


def mask(items: Items, ratio: float, mask_id: int, keys: Keys | None = None) -> Items:
    """Replace ceil(ratio * n) behaviours by the mask, never all; one behaviour stays as it is."""
    return items.masked_fill(proper_part(items, ratio, keys), mask_id)


def substitute(
    items: Items, ratio: float, neighbours: Neighbours, keys: Keys | None = None
) -> Items:
    """Replace max(1, floor(ratio * n)) behaviours by their neighbours."""
    lengths = lengths_of(items)
    chosen = random_subset(lengths, floor_share(lengths, ratio), items.shape[1], keys)
    return torch.where(chosen, neighbours[items], items)


def insert(
    items: Items, ratio: float, neighbours: Neighbours, width: int, keys: Keys | None = None
) -> Int[Tensor, "users {width}"]:
    """Put the neighbours of max(1, floor(ratio * n)) behaviours before them.

    Of what exceeds `width`, the oldest is dropped.
    """
    lengths = lengths_of(items)
    added = floor_share(lengths, ratio)
    length = items.shape[1]
    anchors = random_subset(lengths, added, length, keys)
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


def halves(items: Items, least: float, uniform: Uniform | None = None) -> Periods:
    """Cut each sequence at a uniform place that leaves ceil(least * n) behaviours on both sides.

    A sequence of one behaviour is both periods.
    """
    lengths = lengths_of(items)
    low = torch.minimum(ceil_share(lengths, least), lengths // 2).clamp(min=1)
    high = torch.maximum(lengths - low, low)
    cut = low[:, None] + random_start(high, low, uniform)
    late = window(items, cut, lengths - cut.squeeze(1))
    position = torch.arange(items.shape[1], device=items.device)
    return Periods(items * (position < cut), torch.where(lengths[:, None] > 1, late, items))


def adjacent(items: Items, width: int, uniform: Uniform | None = None) -> Periods:
    """Two windows of min(width, floor(n / 2)) behaviours, the second right after the first.

    A sequence of one behaviour is both periods.
    """
    lengths = lengths_of(items)
    widths = (lengths // 2).clamp(min=1, max=width)
    both = torch.minimum(2 * widths, lengths)
    start = random_start(lengths, both, uniform)
    return Periods(
        window(items, start, widths), window(items, start + (both - widths)[:, None], widths)
    )


def draw_operator(
    offered: Bool[Tensor, "users operators"], uniform: Uniform | None = None
) -> Counts:
    """Number of one operator per user, uniform among those `offered` to the user."""
    drawn = below(offered.sum(1), uniform)
    return (offered.cumsum(1) > drawn[:, None]).int().argmax(1)


def by_operator(operator: Counts, views: list[Items]) -> Items:
    """Row i of `views[operator[i]]`."""
    chosen = views[0]
    for number, view in enumerate(views[1:], start=1):
        chosen = torch.where(operator[:, None] == number, view, chosen)
    return chosen
