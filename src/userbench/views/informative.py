"""Substitute and insert correlated items beside crop, mask and reorder (CoSeRec, Liu et al., 2021).

Crop and reorder may destroy a short sequence; adding an item that the same users chose does not
(arXiv 2108.06479).
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from userbench.data.neighbours import Neighbours, item_neighbours, load_neighbours
from userbench.data.store import Batch, BehaviourStore, Bounds
from userbench.fields import Progress, Ratio
from userbench.model.augment import (
    by_operator,
    crop,
    draw,
    draw_operator,
    insert,
    lengths_of,
    mask,
    reorder,
    substitute,
)
from userbench.model.encoder import Items, UserEncoder
from userbench.model.kernels.informative import informative_views
from userbench.model.kernels.language import used_for
from userbench.view import Pair, ViewOptions, Views

log = logging.getLogger("userbench")

REFRESHES = 20
# Why: bounds the similarities in memory at a time, 64 MB, whatever the number of items.
SIMILARITIES_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Options(ViewOptions):
    """Ratios and policy of the authors' code (YChen1993/CoSeRec)."""

    kind: str = field(default="informative", init=False)
    # Deviation: counts of crop, mask and reorder are rounded up, as in all methods of this suite.
    crop_ratio: Ratio = 0.2
    # Deviation: a masked item is the learned mask vector; the code writes the padding id.
    mask_ratio: Ratio = 0.7
    # Deviation: the code passes the mask's ratio, 0.7, to reorder by mistake; the paper wins.
    reorder_ratio: Ratio = 0.2
    substitute_ratio: Ratio = 0.1
    insert_ratio: Ratio = 0.4
    short_length: int = 4
    """Up to this many behaviours: substitute, insert or mask; above, all five. -1: always all."""
    neighbours: str | None = None
    """Folder written by `python -m userbench neighbours`; None: computed before training."""
    hybrid_from: Progress | None = None
    """Share of training after which neighbours may also come from the item table being trained;
    the code's default schedule is 0.53. None: never, which is also its schedule for Yelp."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short_length < -1:
            raise ValueError(f"short_length={self.short_length}: must be -1 or more")

    def build(self, encoder: UserEncoder) -> Views:
        """Both views drawn independently: they may be of the same operator."""
        return Informative(self, encoder)


class Draws(NamedTuple):
    """Numbers in [0, 1) for both views: for an operator of each user, and for what each does."""

    operator: Float64[Tensor, "*views users"]
    substitute: Float32[Tensor, "*views users length"]
    mask: Float32[Tensor, "*views users length"]
    crop: Float64[Tensor, "*views users"]
    reorder: Float64[Tensor, "*views users"]
    order: Float64[Tensor, "*views users length"]
    insert: Float32[Tensor, "*views users length"]


class Informative(Views):
    """One operator per user and view, of those that suit the length of the sequence."""

    changing = ("refreshed", "neighbours")

    def __init__(self, options: Options, encoder: UserEncoder):
        self.options = options
        self.encoder = encoder
        self.refreshed = -1

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Find each item's most correlated item; ValueError for neighbours of another store."""
        if self.options.neighbours is None:
            found = correlated(store, users)
        else:
            found = load_neighbours(Path(self.options.neighbours))
        if len(found.items) != store.n_items + 1:
            raise ValueError(
                f"{self.options.neighbours}: neighbours of {len(found.items) - 1} items, the store "
                f"has {store.n_items}. Compute them from the same store"
            )
        known, scores = (
            torch.from_numpy(array[:, 0]).to(users.device) for array in (found.items, found.scores)
        )
        # An item that no user chose together with another gets a random other one, of score 0.
        ids = torch.arange(1, store.n_items + 1, device=users.device)
        steps = torch.randint(1, max(store.n_items, 2), ids.shape, device=users.device)
        random = F.pad((ids - 1 + steps) % store.n_items + 1, (1, 0))
        self.offline = torch.where(known > 0, known.long(), random)
        self.neighbours = self.offline
        spread = max(found.max_score - found.min_score, 1e-12)
        self.offline_scores = (scores - found.min_score) / spread

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two augmentations of each user."""
        self.refresh(progress)
        items, draws = batch.items, self.draws(batch.items)
        if not used_for(items):
            return Pair(*(self.view(items, Draws._make(d)) for d in zip(*draws, strict=True)))
        o = self.options
        ratios = (o.substitute_ratio, o.insert_ratio, o.mask_ratio, o.crop_ratio, o.reorder_ratio)
        shares = [round(1000 * ratio) for ratio in ratios]
        more = (self.encoder.config.mask_id, o.short_length, self.widest(items.shape[1]))
        return Pair(*informative_views(items, self.neighbours, *draws, shares, *more))

    def draws(self, items: Items) -> Draws:
        """Draw the numbers, view by view."""

        def of_user() -> Tensor:
            return items.new_empty(2, len(items), dtype=torch.float64)

        def of_behaviour(dtype: torch.dtype) -> Tensor:
            return items.new_empty(2, *items.shape, dtype=dtype)

        draws = Draws(
            operator=of_user(),
            substitute=of_behaviour(torch.float32),
            mask=of_behaviour(torch.float32),
            crop=of_user(),
            reorder=of_user(),
            order=of_behaviour(torch.float64),
            insert=of_behaviour(torch.float32),
        )
        draw(*draws)
        return draws

    def view(self, items: Items, draws: Draws) -> Int[Tensor, "users width"]:
        """The view that these numbers make, wide enough for the longest insertion."""
        o, width = self.options, self.widest(items.shape[1])
        long = lengths_of(items) > o.short_length
        always = torch.ones_like(long)
        offered = torch.stack([always, always, always, long, long], dim=1)
        same_length = [
            substitute(items, o.substitute_ratio, self.neighbours, draws.substitute),
            mask(items, o.mask_ratio, self.encoder.config.mask_id, draws.mask),
            crop(items, o.crop_ratio, draws.crop),
            reorder(items, o.reorder_ratio, draws.reorder, draws.order),
        ]
        substituted, *others = (F.pad(view, (0, width - items.shape[1])) for view in same_length)
        inserted = insert(items, o.insert_ratio, self.neighbours, width, draws.insert)
        return by_operator(draw_operator(offered, draws.operator), [substituted, inserted, *others])

    def widest(self, length: int) -> int:
        """Length of the longest view of a sequence of this length."""
        longest = length + max(1, length * round(self.options.insert_ratio * 1000) // 1000)
        return max(length, min(self.encoder.config.max_length, longest))

    def bounds(self, batch: Batch) -> Bounds | None:
        """Room for the longest insertion in every sequence."""
        if batch.bounds is None:
            return None
        users, longest, behaviours = batch.bounds
        inserted = behaviours * round(self.options.insert_ratio * 1000) // 1000 + users
        return Bounds(users, self.widest(longest), behaviours + inserted)

    def refresh(self, progress: float) -> None:
        """Take, at most twenty times in training, the better of offline and online neighbours.

        Offline neighbours are correlated among training users, online ones similar in the item
        table. At progress 1, in validation, they stay those of the last training step.
        """
        start, stage = self.options.hybrid_from, int(REFRESHES * progress)
        if start is None or not start <= progress < 1 or stage == self.refreshed:
            return
        self.refreshed = stage
        online, scores = most_similar(self.encoder.item_table.detach())
        better = scores > self.offline_scores
        better[0] = False
        self.neighbours = torch.where(better, online, self.offline)
        log.info("neighbours of %.1f%% items are online", 100 * better[1:].float().mean().item())


def correlated(store: BehaviourStore, users: Int[Tensor, " users"]) -> Neighbours:
    """The most correlated item of each item, by these users alone."""
    lengths = store.lengths[users.sort().values]
    offsets = F.pad(lengths.cumsum(0), (1, 0)).cpu().numpy()
    return item_neighbours(store.behaviours(users).cpu().numpy(), offsets, store.n_items, top=1)


class Similar(NamedTuple):
    """The most similar other item of each item, padding included, and that similarity, 0 to 1."""

    items: Int[Tensor, " items"]
    scores: Float[Tensor, " items"]


@torch.no_grad()
def most_similar(table: Float[Tensor, "items dim"]) -> Similar:
    """Cor_on(i, j) = e_i . e_j over all pairs of items i != j, min-max normalised over all of them.

    Deviation: the code's candidates include padding and mask, and its extremes an item with itself.
    """
    real = table[1:].float()
    rows = max(1, SIMILARITIES_AT_ONCE // len(real))
    best, items, lowest = [], [], []
    for start in range(0, len(real), rows):
        block = real[start : start + rows] @ real.T
        itself = block.diagonal(start)
        itself.fill_(torch.inf)
        lowest.append(block.amin())
        itself.fill_(-torch.inf)
        score, item = block.max(1)
        best.append(score)
        items.append(item + 1)
    scores, low = torch.cat(best), torch.stack(lowest).amin()
    normalised = (scores - low) / (scores.amax() - low).clamp(min=1e-12)
    return Similar(F.pad(torch.cat(items), (1, 0)), F.pad(normalised, (1, 0)))
