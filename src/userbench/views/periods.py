"""Two periods of one sequence (IDICL; Sun et al., ACM MM 2022, arXiv 2109.08865).

The files hold an order and no times, so a period is a contiguous run of behaviours.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from userbench.data.store import Batch, Bounds
from userbench.fields import Count, Ratio
from userbench.model.augment import adjacent, crop, draw, halves
from userbench.model.encoder import Items, UserEncoder
from userbench.model.kernels.language import used_for
from userbench.model.kernels.periods import period_views
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """The paper's abstract names long-term and short-term windows; no size of theirs is known."""

    kind: str = field(default="periods", init=False)
    # Deviation: no code is public; how periods are cut, and all three numbers, are our choice.
    window: Literal["halves", "long", "short"] = "halves"
    """"halves": before and after a random cut; "long": two runs that may overlap; "short": two
    short runs, one right after the other."""
    least_share: Ratio = 0.2
    """Halves: the share of the behaviours that both periods have at least."""
    long_share: Ratio = 0.5
    short_width: Count = 10

    def build(self, encoder: UserEncoder) -> Views:
        """The same views for every encoder."""
        return Periods(self)


class Periods(Views):
    """Two periods of each user; positions restart at 0 in both."""

    def __init__(self, options: Options):
        self.options = options

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two periods; both are the whole sequence where it is one behaviour."""
        o, items = self.options, batch.items
        uniform = items.new_empty(2 if o.window == "long" else 1, len(items), dtype=torch.float64)
        draw(uniform)
        if not used_for(items):
            return self.plain(items, uniform)
        shares = {"halves": o.least_share, "long": o.long_share}
        size = round(1000 * shares[o.window]) if o.window in shares else o.short_width
        return Pair(*period_views(items, uniform, o.window, size))

    def plain(self, items: Items, uniform: Float64[Tensor, "draws users"]) -> Pair:
        """The periods that these numbers make."""
        o = self.options
        if o.window == "long":
            return Pair(*(crop(items, o.long_share, numbers) for numbers in uniform))
        if o.window == "short":
            return Pair(*adjacent(items, o.short_width, *uniform))
        return Pair(*halves(items, o.least_share, *uniform))

    def bounds(self, batch: Batch) -> Bounds | None:
        """A period is not longer than its sequence."""
        return batch.bounds
