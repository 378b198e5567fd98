"""Crop, mask or reorder, one operator per view (CL4SRec, Xie et al., ICDE 2022; AdaptSSR)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from userbench.data.store import Batch, Bounds
from userbench.fields import Ratio
from userbench.model.augment import (
    draw_operator,
    offered_operators,
    operator_view,
    random_view,
)
from userbench.model.encoder import Items, UserEncoder
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


class Operators(Views):
    """One operator per user and view, drawn uniformly."""

    def __init__(self, options: Options, mask_id: int):
        o = options
        self.distinct = o.distinct
        self.settings = (o.crop_ratio, o.mask_ratio, o.reorder_ratio, mask_id)

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two augmentations of each user."""
        if self.distinct:
            return self.distinct_pair(batch.items)
        return Pair(*(random_view(batch.items, *self.settings) for _ in range(2)))

    def bounds(self, batch: Batch) -> Bounds | None:
        """No operator makes a sequence longer."""
        return batch.bounds

    def distinct_pair(self, items: Items) -> Pair:
        """Two augmentations of each user by different operators."""
        offered = offered_operators(items)
        first = draw_operator(offered)
        used = F.one_hot(first, offered.shape[1]).to(torch.bool)
        second = draw_operator(offered & ~used)
        return Pair(*(operator_view(items, drawn, *self.settings) for drawn in (first, second)))
