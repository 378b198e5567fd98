"""AdaptSSR (Yu et al., NeurIPS 2023, arXiv 2310.09706): learn an order of views, not an equality.

A user's vector should be nearer to itself under another dropout mask (implicit augmentation) than
to an explicitly augmented sequence of the same user, and nearer to that than to other users:
sim(u, u+) >= sim(u, u^) >= sim(u, u-). How much each order counts adapts to how far the
augmentation of this user went.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserEncoder, UserVectors
from userbench.view import ViewOptions
from userbench.views import operators

COEFFICIENTS = ("paper", "unclamped", "released")

Weight = Float[Tensor, " users"] | Float[Tensor, ""]


class Similarities(NamedTuple):
    """Cosines of each anchor with the three tiers; an own view among the others is -inf."""

    implicit: Float[Tensor, " users"]
    explicit: Float[Tensor, "2 users"]
    others: Float[Tensor, "negatives users"]


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Learning rate, dropout and augmentations of the release; the loss of the paper."""

    views: ViewOptions = operators.Options()
    """How the two explicit augmentations are made; Figure 3 takes those of other methods."""
    # Deviation: the released code has one coefficient per batch, not clamped; the paper wins.
    coefficient: str | float = "paper"
    """Weight of the first order: per user ("paper"; not clamped: "unclamped"), one per batch
    ("released"), or a number."""
    pairs: str = "hardest"
    """The hardest pair of each order (in-batch hard negatives), or "all" quadruples (plain MPR)."""
    temperature: float = 1.0
    """Divides every margin. 1: none, as in the paper, whose loss can then not fall near 0."""

    def __post_init__(self) -> None:
        fixed = isinstance(self.coefficient, int | float) and 0 <= self.coefficient <= 1
        if not fixed and self.coefficient not in COEFFICIENTS:
            raise ValueError(
                f"coefficient={self.coefficient!r}: use {', '.join(COEFFICIENTS)}, or a number in "
                "[0, 1]"
            )
        if self.pairs not in ("hardest", "all"):
            raise ValueError(f"pairs={self.pairs!r}: use 'hardest' or 'all'")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: must be above 0")


class Method(PretrainMethod):
    """Two augmented sequences per user, each encoded twice under different dropout masks."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.views = config.views.views(encoder)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Let the views compute what they need of the corpus."""
        self.views.prepare(store, users)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = sum_i (L^_i + L~_i) / 2B."""
        first, second = self.views(batch, progress)
        # Encoding a view twice under different dropout masks gives its implicit positive.
        views = torch.cat([first, first, second, second])
        views = self.encoder(views, self.views.bounds(batch))
        return adaptssr(*views.chunk(4), self.config)


def adaptssr(
    first: UserVectors,
    first_again: UserVectors,
    second: UserVectors,
    second_again: UserVectors,
    config: Config,
) -> Objective:
    """The loss and how often each order holds, from the vectors of the four views."""
    a, a_again, b, b_again = (
        F.normalize(view, dim=-1) for view in (first, first_again, second, second_again)
    )
    one, other = tiers(a, a_again, [b, b_again]), tiers(b, b_again, [a, a_again])
    crossed = torch.stack([(s * t).sum(-1) for s in (a, a_again) for t in (b, b_again)])
    ranking = {"hardest": hardest_pairs, "all": all_pairs}[config.pairs]
    losses, implicit_above, explicit_above = [], [], []
    for near in (one, other):
        weight = first_order_weight(config.coefficient, crossed, near.explicit)
        losses.append(ranking(near, weight, config.temperature))
        implicit_above.append((near.implicit > near.explicit).float().mean())
        explicit_above.append((near.explicit > near.others.amax(0)).float().mean())
    logs = {
        "implicit_above_explicit": sum(implicit_above).detach() / 2,
        "explicit_above_others": sum(explicit_above).detach() / 2,
    }
    return Objective(sum(losses) / 2, logs)


def tiers(anchor: UserVectors, again: UserVectors, explicit: list[UserVectors]) -> Similarities:
    """Similarities of every anchor with its implicit view, its explicit views, and U-."""
    itself = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
    others = [
        (view @ anchor.T).masked_fill(itself, -torch.inf) for view in (anchor, again, *explicit)
    ]
    return Similarities(
        (anchor * again).sum(-1),
        torch.stack([(anchor * view).sum(-1) for view in explicit]),
        torch.cat(others),
    )


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


def hardest_pairs(
    near: Similarities, weight: Weight, temperature: float = 1.0
) -> Float[Tensor, ""]:
    """-log sigmoid of the hardest pair of each order (in-batch hard negative sampling)."""
    first_order = near.implicit - near.explicit.amax(0)
    second_order = near.explicit.amin(0) - near.others.amax(0)
    margin = weight * first_order + (1 - weight) * second_order
    return -F.logsigmoid(margin / temperature).mean()


def all_pairs(near: Similarities, weight: Weight, temperature: float = 1.0) -> Float[Tensor, ""]:
    """Multiple pairwise ranking over all quadruples, 1/(2|U-|) sum_v sum_w (plain MPR)."""
    real = near.others.isfinite()
    total = 0.0
    for explicit in near.explicit:
        second_order = explicit - near.others.masked_fill(~real, 0)
        margin = weight * (near.implicit - explicit) + (1 - weight) * second_order
        total = total - (F.logsigmoid(margin / temperature) * real).sum() / real.sum()
    return total / len(near.explicit)
