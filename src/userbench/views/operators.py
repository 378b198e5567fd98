"""Crop, mask or reorder, one operator per view (CL4SRec, Xie et al., ICDE 2022; AdaptSSR)."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from userbench.data.store import Batch, Bounds
from userbench.fields import Ratio
from userbench.model.augment import (
    by_operator,
    crop,
    draw,
    draw_operator,
    lengths_of,
    mask,
    reorder,
)
from userbench.model.encoder import Items, UserEncoder
from userbench.model.kernels.language import used_for
from userbench.model.kernels.operators import operator_views
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """Ratios of AdaptSSR's code: crop is the share kept, mask and reorder the share changed."""

    kind: str = field(default="operators", init=False)
    crop_ratio: Ratio = 0.4
    mask_ratio: Ratio = 0.6
    reorder_ratio: Ratio = 0.6
    distinct: bool = False
    """The second view by another operator than the first, as RecBole's CL4SRec draws them."""

    def build(self, encoder: UserEncoder) -> Views:
        """Both views drawn independently, unless `distinct`: they may be of the same operator."""
        return Operators(self, encoder.config.mask_id)


class Draws(NamedTuple):
    """Numbers in [0, 1) for both views: for an operator of each user, and for what each does."""

    operator: Float64[Tensor, "*views users"]
    crop: Float64[Tensor, "*views users"]
    reorder: Float64[Tensor, "*views users"]
    order: Float64[Tensor, "*views users length"]
    mask: Float32[Tensor, "*views users length"]


class Operators(Views):
    """One operator per user and view, drawn uniformly."""

    def __init__(self, options: Options, mask_id: int):
        self.options = options
        self.mask_id = mask_id

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two augmentations of each user."""
        o, draws = self.options, self.draws(batch.items)
        if not used_for(batch.items):
            return self.plain(batch.items, draws)
        shares = (round(1000 * ratio) for ratio in (o.crop_ratio, o.mask_ratio, o.reorder_ratio))
        return Pair(*operator_views(batch.items, *draws, *shares, self.mask_id, o.distinct))

    def bounds(self, batch: Batch) -> Bounds | None:
        """No operator makes a sequence longer."""
        return batch.bounds

    def draws(self, items: Items) -> Draws:
        """Draw the numbers: of distinct operators first both operators, else view by view."""
        numbers = [items.new_empty(2, len(items), dtype=torch.float64) for _ in range(3)]
        order = items.new_empty(2, *items.shape, dtype=torch.float64)
        draws = Draws(*numbers, order, torch.empty_like(order, dtype=torch.float32))
        if self.options.distinct:
            draw(draws.operator)
            draw(*draws[1:])
        else:
            draw(*draws)
        return draws

    def plain(self, items: Items, draws: Draws) -> Pair:
        """The views that these numbers make; no mask for one behaviour, as in AdaptSSR's code."""
        several = lengths_of(items) > 1
        offered = torch.stack([torch.ones_like(several), torch.ones_like(several), several], dim=1)
        views = []
        for of_view in map(Draws._make, zip(*draws, strict=True)):
            operator = draw_operator(offered, of_view.operator)
            views.append(self.view(items, operator, of_view))
            if self.options.distinct:
                offered = offered & ~F.one_hot(operator, offered.shape[1]).to(torch.bool)
        return Pair(*views)

    def view(self, items: Items, operator: Int[Tensor, " users"], draws: Draws) -> Items:
        """Apply to each user the given one of crop (0), reorder (1) and mask (2)."""
        o = self.options
        views = [
            crop(items, o.crop_ratio, draws.crop),
            reorder(items, o.reorder_ratio, draws.reorder, draws.order),
            mask(items, o.mask_ratio, self.mask_id, draws.mask),
        ]
        return by_operator(operator, views)
