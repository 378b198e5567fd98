"""AdaptSSR (Yu et al., NeurIPS 2023, arXiv 2310.09706): learn an order of views, not an equality.

A user's vector should be nearer to itself under another dropout mask (implicit augmentation) than
to an explicitly augmented sequence of the same user, and nearer to that than to other users:
sim(u, u+) >= sim(u, u^) >= sim(u, u-). How much each order counts adapts to how far the
augmentation of this user went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from userbench.data.store import Batch
from userbench.fields import Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserVectors
from userbench.model.kernels import language, ranking
from userbench.model.tiers import Tiers, tiers_of
from userbench.view import ViewOptions
from userbench.views import operators

COEFFICIENTS = ("paper", "unclamped", "released")

Weight = Float[Tensor, " users"] | Float[Tensor, ""]


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Learning rate, dropout and augmentations of the authors' code; the loss of the paper."""

    views: ViewOptions = operators.Options()
    """How the two explicit augmentations are made; Figure 3 takes those of other methods."""
    # Deviation: the authors' code has one coefficient per batch, not clamped; the paper wins.
    coefficient: str | float = "paper"
    """Weight of the first order: per user ("paper"; not clamped: "unclamped"), one per batch
    ("released"), or a number."""
    pairs: Literal["hardest", "all"] = "hardest"
    """The hardest pair of each order (in-batch hard negatives), or "all" quadruples (plain MPR)."""
    temperature: Positive = 1.0
    """Divides every margin. 1: none, as in the paper, whose loss can then not fall near 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.coefficient
        if given not in COEFFICIENTS and not (isinstance(given, int | float) and 0 <= given <= 1):
            options = ", ".join(COEFFICIENTS)
            raise ValueError(f"coefficient={given!r}: use {options}, or a number in [0, 1]")


class Method(PretrainMethod):
    """Two augmented sequences per user, each encoded twice under different dropout masks."""

    config: Config

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = sum_i (L^_i + L~_i) / 2B."""
        first, second = self.views(batch, progress)
        # Encoding a view twice under different dropout masks gives its implicit positive.
        views = torch.cat([first, first, second, second])
        views = self.encoder(views, self.views.bounds(batch))
        return adaptssr(views.chunk(4), self.config)


def adaptssr(views: Sequence[UserVectors], config: Config) -> Objective:
    """The loss and how often each order holds; `views`: one, its dropout twin, the other, its twin.

    Each is the anchor once (L^ and L~), with the other and its twin as explicit views.
    """
    on_gpu = language.used_for(views[0])
    if on_gpu and config.pairs == "hardest" and config.coefficient != "released":
        return Objective(*ranking.hardest_pairs(views, config.coefficient, config.temperature))
    a, a_again, b, b_again = (F.normalize(view, dim=-1) for view in views)
    crossed = torch.stack([(s * t).sum(-1) for s in (a, a_again) for t in (b, b_again)])
    loss_of = {"hardest": hardest_pairs, "all": all_pairs}[config.pairs]
    losses, implicit_above, explicit_above = [], [], []
    for tiers in (tiers_of(a, a_again, [b, b_again]), tiers_of(b, b_again, [a, a_again])):
        weight = first_order_weight(config.coefficient, crossed, tiers.explicit)
        losses.append(loss_of(tiers, weight, config.temperature))
        implicit_above.append((tiers.implicit > tiers.explicit).float().mean())
        explicit_above.append((tiers.explicit > tiers.others.amax(0)).float().mean())
    logs = {
        "implicit_above_explicit": sum(implicit_above).detach() / 2,
        "explicit_above_others": sum(explicit_above).detach() / 2,
    }
    return Objective(sum(losses) / 2, logs)


def first_order_weight(
    coefficient: str | float,
    crossed: Float[Tensor, "4 users"],
    to_explicit: Float[Tensor, "2 users"],
) -> Weight:
    """lambda: an estimate, not a target, so no gradient flows through it."""
    if coefficient == "paper":  # lambda_i = 1 - 1/4 sum max(sim(s, t), 0) over the four cross pairs
        return 1 - crossed.detach().clamp(min=0).mean(0)
    if coefficient == "unclamped":
        return 1 - crossed.detach().mean(0)
    if coefficient == "released":  # one per batch and anchor, its two pairs only, not clamped
        return 1 - to_explicit.detach().mean()
    return crossed.new_full((), coefficient)


def hardest_pairs(tiers: Tiers, weight: Weight, temperature: float) -> Float[Tensor, ""]:
    """-log sigmoid of lambda (s+ - max s^) + (1 - lambda) (min s^ - max s-), mean over users."""
    first_order = tiers.implicit - tiers.explicit.amax(0)
    second_order = tiers.explicit.amin(0) - tiers.others.amax(0)
    margin = weight * first_order + (1 - weight) * second_order
    return -F.logsigmoid(margin / temperature).mean()


def all_pairs(tiers: Tiers, weight: Weight, temperature: float) -> Float[Tensor, ""]:
    """Multiple pairwise ranking over all quadruples, 1/(2|U-|) sum_v sum_w (plain MPR)."""
    real = tiers.others.isfinite()
    total = 0.0
    for explicit in tiers.explicit:
        second_order = explicit - tiers.others.masked_fill(~real, 0)
        margin = weight * (tiers.implicit - explicit) + (1 - weight) * second_order
        total = total - (F.logsigmoid(margin / temperature) * real).sum() / real.sum()
    return total / len(tiers.explicit)
