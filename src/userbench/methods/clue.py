"""CLUE (Cheng et al., ICDM 2021): two dropout masks make two views, and no user repels another.

Whether another user is truly different cannot be known, so nothing is pushed apart: a predictor on
one view must match the other view (SimSiam, Chen and He, CVPR 2021). Stop-gradient and predictor
keep all users from collapsing into one point.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from userbench.data.store import Batch
from userbench.fields import Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserEncoder, UserVectors
from userbench.model.kernels.batch_norm import in_two_views
from userbench.model.kernels.cosines import cosine_with_other_view, spread_by_column
from userbench.model.kernels.language import used_for
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import same


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Loss and views of the paper.

    Deviation: its learning rate is 1e-3 and its user vector the state of a token at the end; here
    every contrastive method has the suite's rate and pooling.
    """

    # Deviation: the paper has 0.5, its results are sensitive to it, and here it is the only
    # augmentation; 0.1 is the rate of all contrastive methods of the suite. Search 0.1, 0.3, 0.5.
    dropout: float = 0.1
    views: ViewOptions = same.Options()
    loss: Literal["simsiam", "infonce"] = "simsiam"
    """"simsiam", the paper's, or "infonce": other users repel, as AdaptSSR may have run it."""
    similarity: Similarity = "cosine"
    """Of "infonce", between user vectors themselves: no projection, as in other contrasts here."""
    temperature: Positive = 0.1
    without: Literal["nothing", "stop_gradient", "predictor"] = "nothing"
    """An ablation of "simsiam": without its "stop_gradient" or its "predictor" it collapses."""


class Method(PretrainMethod):
    """Two encodings of the same sequence; projection and predictor are dropped afterwards."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.heads = Heads(encoder.width, config) if config.loss == "simsiam" else None

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = 1/2 D(p1, sg(z2)) + 1/2 D(p2, sg(z1)), or NT-Xent between the views."""
        c, users = self.config, self.encode_views(batch, progress)
        logs = {"spread": spread(users.detach())}
        if self.heads is None:
            return Objective(nt_xent(*users.chunk(2), c.similarity, c.temperature), logs)
        loss, logs_of_heads = self.heads(users)
        return Objective(loss, logs | logs_of_heads)


class Heads(nn.Module):
    """Projection, predictor, and how they compare two views (widths: not in the paper, d here)."""

    def __init__(self, dim: int, config: Config):
        super().__init__()
        self.without = config.without
        self.project = nn.Sequential(*normed(dim), nn.ReLU(), *normed(dim), nn.ReLU(), *normed(dim))
        self.predict = nn.Sequential(*normed(dim), nn.ReLU(), nn.Linear(dim, dim))
        if config.without == "predictor":
            self.predict = nn.Identity()

    def forward(self, users: Float[Tensor, "views dim"]) -> Objective:
        """The symmetric loss, -1 where each view is predicted perfectly from the other."""
        if used_for(users) and self.without == "nothing":
            z = in_two_views(self.project, users)
            loss = -cosine_with_other_view(in_two_views(self.predict, z), z).mean()
            return Objective(loss, {"projected_spread": spread(z.detach()[: len(z) // 2])})
        z1, z2 = map(self.project, users.chunk(2))
        loss = (self.distance(z1, z2) + self.distance(z2, z1)) / 2
        return Objective(loss, {"projected_spread": spread(z1.detach())})

    def distance(self, view: UserVectors, target: UserVectors) -> Float[Tensor, ""]:
        """D(p, sg(z)) = -cos(p, z), mean over users."""
        if self.without != "stop_gradient":
            target = target.detach()
        return -F.cosine_similarity(self.predict(view), target).mean()


def normed(dim: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    """A layer and its normalisation, by the statistics of each batch: heads are never reused."""
    return nn.Linear(dim, dim), nn.BatchNorm1d(dim, track_running_stats=False)


def spread(users: UserVectors) -> Float[Tensor, ""]:
    """Standard deviation of unit vectors times sqrt(d), the collapse indicator of SimSiam.

    1 where users spread over the sphere, 0 where all are one point. A collapse is seen first, and
    may stay, in the projections.
    """
    if used_for(users):
        return spread_by_column(users).mean()
    width = users.shape[1]
    return F.normalize(users, dim=-1).std(0).mean() * width**0.5
