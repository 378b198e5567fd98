"""IDICL (Sun et al., ACM MM 2022, arXiv 2109.08865): contrast periods, interest by interest.

Two periods of one sequence are its views. A dictionary of interests, shared by all users, attends
to the behaviours of a user, so that a view is a set of interests instead of one vector.

Reconstruction: neither code nor hyper-parameters of the paper are public, and that it is what
AdaptSSR calls IDICL is an inference. The dictionary is the pooling of the encoder, so fine-tuning
reads it too; its values follow leftovers in AdaptSSR's release (several pooling queries, kept apart
by a penalty on their cosines).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from userbench.data.store import Batch
from userbench.fields import Count, Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserEncoder, UserVectors
from userbench.model.interests import InterestPooling, Interests
from userbench.model.kernels import language
from userbench.model.kernels import separation as kernel
from userbench.model.kernels.unit_rows import unit_rows
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import periods


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Reconstruction: no value of the paper is known."""

    views: ViewOptions = periods.Options()
    similarity: Similarity = "cosine"
    temperature: Positive = 0.1
    interests: Count = 4
    """K: size of the dictionary D."""
    attention: Similarity = "dot"
    """s: how an entry of the dictionary is compared with behaviours."""
    attention_temperature: Positive = 1.0
    aggregation: Literal["every", "principal"] = "every"
    """A user is "every" interest, v_k = sum_t softmax_t(s(h_t, D_k)) h_t, or one fusion of the
    "principal" ones. The latter is meant for a larger dictionary: interests 32, attention "cosine",
    attention_temperature 0.1."""
    principal: Count = 4
    """M: how many interests are principal, those of highest log mean_t exp s(h_t, D_k)."""
    user_vector: Literal["concatenated", "mean"] = "concatenated"
    """Every interest side by side (K times wider), or their "mean" (equal width)."""
    # Deviation: AdaptSSR's code adds such a penalty in fine-tuning, too; here that is shared.
    separation: float = 1.0
    """Weight w of the penalty that keeps interests apart (AdaptSSR's code: reg_coef 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aggregation == "principal" and self.principal > self.interests:
            raise ValueError(f"principal={self.principal}: use 1 to interests={self.interests}")


class Method(PretrainMethod):
    """NT-Xent between two periods, and a penalty that keeps the interests apart."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.adapt(encoder, config)

    @staticmethod
    def adapt(encoder: UserEncoder, config: Config) -> None:
        """Pool by the interest dictionary."""
        c = config
        principal = c.principal if c.aggregation == "principal" else None
        attention = (c.attention, c.attention_temperature)
        encoder.pooling = InterestPooling(
            encoder.config.dim, c.interests, *attention, principal, c.user_vector
        )

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = NT-Xent(sim / tau) + w ||offdiag(D^ D^T)||_F, D^ the dictionary in unit vectors."""
        pooling, c = self.encoder.pooling, self.config
        views = torch.cat(self.views(batch, progress))
        interests = self.encoder.by_length(views, pooling.interests, self.views.bounds(batch))
        contrast = nt_xent(*aligned(interests, c.similarity).chunk(2), "dot", c.temperature)
        apart = separation(pooling.dictionary)
        logs = {"contrast": contrast.detach(), "dictionary_cosine": apart.mean_cosine}
        return Objective(contrast + c.separation * apart.penalty, logs)


def aligned(interests: Interests, similarity: Similarity) -> UserVectors:
    """Vectors whose dot product is sim(x, y) = 1/K sum_k cos(v_xk, v_yk), or <v_xk, v_yk>."""
    if similarity == "cosine" and language.used_for(interests):
        return unit_rows(interests, interests.shape[1] ** -0.5).flatten(1)
    if similarity == "cosine":
        interests = F.normalize(interests, dim=-1)
    return interests.flatten(1) / interests.shape[1] ** 0.5


class Separation(NamedTuple):
    """How alike the entries of a dictionary are."""

    penalty: Float[Tensor, ""]
    mean_cosine: Float[Tensor, ""]


def separation(dictionary: Float[Tensor, "entries dim"]) -> Separation:
    """||offdiag(D^ D^T)||_F, and the mean of these cosines."""
    if language.used_for(dictionary):
        return Separation(*kernel.separation(dictionary))
    entries = F.normalize(dictionary, dim=-1)
    crossed = (entries @ entries.T).fill_diagonal_(0)
    mean_cosine = crossed.detach().sum() / max(crossed.numel() - len(crossed), 1)
    return Separation(torch.linalg.norm(crossed), mean_cosine)
