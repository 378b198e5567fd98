"""Two periods of one sequence (IDICL; Sun et al., ACM MM 2022, arXiv 2109.08865).

The files hold an order and no times, so a period is a contiguous run of behaviours.
"""

from dataclasses import dataclass, field
from typing import Literal

from userbench.data.store import Batch, Bounds
from userbench.fields import Count, Ratio
from userbench.model.augment import adjacent, crop, halves
from userbench.model.encoder import UserEncoder
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
        o = self.options
        if o.window == "long":
            return Pair(crop(batch.items, o.long_share), crop(batch.items, o.long_share))
        if o.window == "short":
            return Pair(*adjacent(batch.items, o.short_width))
        return Pair(*halves(batch.items, o.least_share))

    def bounds(self, batch: Batch) -> Bounds | None:
        """A period is not longer than its sequence."""
        return batch.bounds
