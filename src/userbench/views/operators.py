"""Crop, mask or reorder, one operator per view (CL4SRec, Xie et al., ICDE 2022; AdaptSSR)."""

from dataclasses import dataclass, field

from userbench.augment import random_view
from userbench.data.store import Batch
from userbench.encoder import Items, UserEncoder
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """Ratios of AdaptSSR's release: crop is the share kept, mask and reorder the share changed."""

    kind: str = field(default="operators", init=False)
    crop_ratio: float = 0.4
    mask_ratio: float = 0.6
    reorder_ratio: float = 0.6

    def views(self, encoder: UserEncoder) -> Views:
        """Both views drawn independently: they may be of the same operator."""
        return Operators(self, encoder.config.mask_id)


class Operators(Views):
    """One operator per user and view, drawn uniformly."""

    def __init__(self, options: Options, mask_id: int):
        self.options = options
        self.mask_id = mask_id

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two augmentations of each user."""
        return Pair(self.view(batch.items), self.view(batch.items))

    def view(self, items: Items) -> Items:
        """One augmentation of each user."""
        o = self.options
        return random_view(items, o.crop_ratio, o.mask_ratio, o.reorder_ratio, self.mask_id)
