"""IDICL (Sun et al., ACM MM 2022, arXiv 2109.08865): contrast periods, interest by interest.

Two periods of one sequence are its views. A dictionary of interests, shared by all users, attends
to the behaviours of a user, so that a view is a set of interests instead of one vector.

Reconstruction: neither code nor hyper-parameters of the paper are public, and that it is what
AdaptSSR calls IDICL is an inference. The dictionary is the pooling of the encoder, so fine-tuning
reads it too; its values follow leftovers in AdaptSSR's release (several pooling queries, kept apart
by a penalty on their cosines).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import Hidden, Items, UserEncoder, UserVectors
from userbench.model.losses import check_contrast, nt_xent
from userbench.view import ViewOptions
from userbench.views import periods

Interests = Float[Tensor, "users interests dim"]


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Reconstruction: no value of the paper is known."""

    views: ViewOptions = periods.Options()
    similarity: str = "cosine"
    temperature: float = 0.1
    interests: int = 4
    """K: size of the dictionary."""
    attention: str = "dot"
    """s: how the dictionary is compared with behaviours, "dot" or "cosine"."""
    attention_temperature: float = 1.0
    aggregation: str = "every"
    """A user is "every" interest, or one fusion of the "principal" ones. The latter is meant for a
    larger dictionary: interests 32, attention "cosine", attention_temperature 0.1."""
    principal: int = 4
    """M: how many interests are principal."""
    user_vector: str = "concatenated"
    """Every interest side by side (K times wider), or their "mean" (equal width)."""
    # Deviation: AdaptSSR's release adds such a penalty in fine-tuning, too; here that is shared.
    separation: float = 1.0
    """Weight of the penalty that keeps interests apart (AdaptSSR's release: reg_coef 1)."""

    def __post_init__(self) -> None:
        check_contrast(self.similarity, self.temperature)
        choices = {
            "aggregation": ("every", "principal"),
            "attention": ("dot", "cosine"),
            "user_vector": ("concatenated", "mean"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: use one of {', '.join(allowed)}")
        if self.interests < 1:
            raise ValueError(f"interests={self.interests}: must be 1 or more")
        if self.aggregation == "principal" and not 1 <= self.principal <= self.interests:
            raise ValueError(f"principal={self.principal}: use 1 to interests={self.interests}")
        if not self.attention_temperature > 0:
            raise ValueError(f"attention_temperature={self.attention_temperature}: must be above 0")


class InterestPooling(nn.Module):
    """A learned dictionary of interests, and what each finds in a user's behaviours."""

    def __init__(self, dim: int, config: Config):
        super().__init__()
        self.config = config
        self.dictionary = nn.Parameter(torch.empty(config.interests, dim))
        nn.init.normal_(self.dictionary, std=0.02)
        side_by_side = config.aggregation == "every" and config.user_vector == "concatenated"
        self.width = config.interests * dim if side_by_side else dim

    def forward(self, hidden: Hidden, items: Items) -> UserVectors:
        """The user vector of the downstream tasks."""
        interests = self.interests(hidden, items)
        return interests.mean(1) if self.width == hidden.shape[-1] else interests.flatten(1)

    def interests(self, hidden: Hidden, items: Items) -> Interests:
        """Every interest of each user, or the one fusion of the principal interests."""
        aggregate = {"every": self.every, "principal": self.principal}[self.config.aggregation]
        return aggregate(hidden, items)

    def every(self, hidden: Hidden, items: Items) -> Interests:
        """v_k = sum_t a_tk h_t, a = softmax_t s(h_t, D_k): interest k means the same for all."""
        return self.scores(hidden, items).softmax(1).transpose(1, 2) @ hidden

    def principal(self, hidden: Hidden, items: Items) -> Interests:
        """u = sum_m softmax_m(r_m) v_m, over the M interests of highest relevance to the user.

        r_k = log mean_t exp s(h_t, D_k).
        """
        scores = self.scores(hidden, items)
        lengths = (items != 0).sum(1, keepdim=True)
        relevance, kept = (scores.logsumexp(1) - lengths.log()).topk(self.config.principal)
        attention = scores.gather(2, kept[:, None].expand(-1, hidden.shape[1], -1)).softmax(1)
        return relevance.softmax(1)[:, None] @ (attention.transpose(1, 2) @ hidden)

    def scores(self, hidden: Hidden, items: Items) -> Float[Tensor, "users length entries"]:
        """s(h_t, D_k) / temperature; padding can never win."""
        entries = self.dictionary
        if self.config.attention == "cosine":
            hidden, entries = F.normalize(hidden, dim=-1), F.normalize(entries, dim=-1)
        scores = hidden @ entries.T / self.config.attention_temperature
        return scores.masked_fill((items == 0)[:, :, None], torch.finfo(scores.dtype).min)

    def crossed(self) -> Float[Tensor, "entries entries"]:
        """Cosines of the dictionary's entries with each other; of each with itself, 0."""
        entries = F.normalize(self.dictionary, dim=-1)
        return (entries @ entries.T).fill_diagonal_(0)


class Method(PretrainMethod):
    """NT-Xent between two periods, and a penalty that keeps the interests apart."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.adapt(encoder, config)
        self.views = config.views.views(encoder)

    @staticmethod
    def adapt(encoder: UserEncoder, config: Config) -> None:
        """Pool by the interest dictionary."""
        encoder.pooling = InterestPooling(encoder.config.dim, config)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Let the views compute what they need of the corpus."""
        self.views.prepare(store, users)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = NT-Xent(sim / tau) + w ||offdiag(D^ D^T)||_F, D^ the dictionary in unit vectors."""
        pooling, c = self.encoder.pooling, self.config
        views = torch.cat(self.views(batch, progress))
        interests = self.encoder.by_length(views, pooling.interests, self.views.bounds(batch))
        contrast = nt_xent(*aligned(interests, c.similarity).chunk(2), "dot", c.temperature)
        crossed = pooling.crossed()
        mean_cosine = crossed.detach().sum() / max(crossed.numel() - len(crossed), 1)
        logs = {"contrast": contrast.detach(), "dictionary_cosine": mean_cosine}
        return Objective(contrast + c.separation * torch.linalg.norm(crossed), logs)


def aligned(interests: Interests, similarity: str) -> UserVectors:
    """Vectors whose dot product is sim(x, y) = 1/K sum_k cos(v_xk, v_yk), or <v_xk, v_yk>."""
    if similarity == "cosine":
        interests = F.normalize(interests, dim=-1)
    return interests.flatten(1) / interests.shape[1] ** 0.5
