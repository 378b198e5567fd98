"""Mask and fill (CCL, Bian et al., CIKM 2021): a trained generator rewrites part of each sequence.

Some behaviours are masked and drawn anew from a frozen model of masked item prediction, so that a
view stays close to real behaviour; how much is rewritten grows from easy to hard.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore, Bounds
from userbench.fields import Positive, Ratio
from userbench.model.augment import Keys, ceil_share, lengths_of, places_of, random_subset
from userbench.model.encoder import Items, UserEncoder
from userbench.model.item_softmax import item_targets
from userbench.model.kernels.language import used_for
from userbench.model.kernels.subsets import random_share
from userbench.model.losses import sample_items
from userbench.training.checkpoint import OWN, fill, load
from userbench.view import Pair, ViewOptions, Views

STAGES = 20
SCORED_RATIOS = (0.1, 0.2, 0.3, 0.4)

Rewritings = Int[Tensor, "rewritings users length"]


@dataclass(frozen=True)
class Options(ViewOptions):
    """The ratios of the authors' code (RUCAIBox/Contrastive-Curriculum-Learning).

    Deviation: that code holds neither the generator nor the difficulty evaluator of the paper, and
    no details of them are known; both are reconstructed here, without user attributes.
    """

    kind: str = field(default="fill", init=False)
    generator: str | None = None
    """Checkpoint of masked item prediction; None: the encoder as it is before the first step, which
    suits a warm start by that method."""
    curriculum: Literal["ratio", "score"] = "ratio"
    """"ratio": the share rewritten grows in twenty equal steps to `max_ratio`, as in the code;
    "score": of four rewritings, later in training one that is less similar to the original."""
    max_ratio: Ratio = 0.3
    temperature: Positive = 1.0
    ban_original: bool = False
    """Never draw the item that was masked."""

    def build(self, encoder: UserEncoder) -> Views:
        """Rewritings by a generator; `encoder` scores how hard they are."""
        return Fill(self, encoder)


class Fill(Views):
    """Two rewritings of each user's sequence, drawn independently."""

    generator: UserEncoder
    table: Float[Tensor, "items dim"]
    """Of the generator, in the precision that its products have."""
    bias: Float[Tensor, " items"]

    def __init__(self, options: Options, encoder: UserEncoder):
        self.options = options
        self.encoder = encoder

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Freeze the generator; ValueError for a checkpoint that is not one of item prediction."""
        if self.options.generator is None:
            generator = copy.deepcopy(self.encoder)
            bias = torch.zeros(store.n_items + 1)
        else:
            path = Path(self.options.generator)
            generator = UserEncoder(self.encoder.config, dropout=0.0)
            tensors = load(path)
            fill(generator, tensors, path)
            bias = tensors.get(f"{OWN}bias")
            if bias is None or len(bias) != store.n_items + 1:
                raise ValueError(f"{path}: no checkpoint of masked item prediction on this store")
        self.generator = generator.to(users.device).eval().requires_grad_(False)
        self.generator.bf16, self.generator.compiled = self.encoder.bf16, self.encoder.compiled
        self.bias = bias.to(users.device)
        self.table = self.generator.item_table
        if self.generator.bf16 and used_for(users):  # rounded once: it is never trained
            self.table = self.table.bfloat16()

    def bounds(self, batch: Batch) -> Bounds | None:
        """A rewriting is as long as its sequence."""
        return batch.bounds

    @torch.no_grad()
    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Two rewritings of each user, harder with `progress`."""
        if self.options.curriculum == "score":
            return self.scored(batch, progress)
        ratio = self.options.max_ratio * (stage_of(progress, STAGES) + 1) / STAGES
        return Pair(*self.rewritten(batch, (ratio, ratio)))

    def scored(self, batch: Batch, progress: float) -> Pair:
        """Of four rewritings for each view, first the easiest and, with `progress`, harder ones."""
        candidates = self.rewritten(batch, 2 * SCORED_RATIOS)
        difficulty = self.difficulty(batch, candidates)
        rank = stage_of(progress, len(SCORED_RATIOS))
        everyone = torch.arange(len(batch.items), device=batch.items.device)
        views = []
        for drawn, scores in zip(candidates.chunk(2), difficulty.chunk(2), strict=True):
            place = scores.argsort(dim=0, stable=True)[rank]
            views.append(drawn[place, everyone])
        return Pair(*views)

    def difficulty(self, batch: Batch, candidates: Rewritings) -> Float[Tensor, "rewritings users"]:
        """1 - cos(f(s), f(rewriting)), f the encoder at this step of training, without dropout."""
        training = self.encoder.training
        self.encoder.eval()
        vectors = self.encoder(torch.cat([batch.items, *candidates]), batch.bounds)
        self.encoder.train(training)
        original, *others = F.normalize(vectors, dim=-1).chunk(1 + len(candidates))
        return torch.stack([1 - (original * other).sum(-1) for other in others])

    def rewritten(self, batch: Batch, ratios: tuple[float, ...]) -> Rewritings:
        """One rewriting of all users for each ratio, by one pass of the generator."""
        chosen = torch.cat([masked_part(batch.items, ratio) for ratio in ratios])
        source = batch.items.repeat(len(ratios), 1)
        masked = source.masked_fill(chosen, self.generator.config.mask_id)
        at_most = [batch.at_most(ratio) for ratio in ratios]
        places = places_of(chosen, None if batch.bounds is None else sum(at_most))
        asked = item_targets(self.generator.hidden(masked, batch.bounds), source, places)
        banned = asked.targets if self.options.ban_original else None
        temperature = self.options.temperature
        drawn = sample_items(asked.states, self.table, self.bias, temperature, banned)
        flat = F.pad(source.flatten(), (0, 1)).scatter_(0, places, drawn)
        return flat[:-1].view(len(ratios), *batch.items.shape)


def stage_of(progress: float, stages: int) -> int:
    """The part of training, from 0 on, where training has so many equal parts."""
    return min(int(stages * progress), stages - 1)


def masked_part(
    items: Items, ratio: float, keys: Keys | None = None
) -> Bool[Tensor, "users length"]:
    """max(1, ceil(ratio * n)) behaviours of each user, but never all of them."""
    if used_for(items):
        keys = torch.rand(items.shape, device=items.device) if keys is None else keys
        return random_share(items, keys, round(ratio * 1000), "some")
    lengths = lengths_of(items)
    counts = torch.minimum(ceil_share(lengths, ratio).clamp(min=1), lengths - 1)
    return random_subset(lengths, counts, items.shape[1], keys)
