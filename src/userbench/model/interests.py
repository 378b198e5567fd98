"""Pooling by a learned dictionary of interests that all users share."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from userbench.model.encoder import UserVectors
from userbench.model.kernels.pooling import pooling
from userbench.model.kernels.side_by_side import SideBySide, unpacked
from userbench.model.losses import Similarity
from userbench.model.packing import Hidden, Items, Packed

Interests = Float[Tensor, "users interests dim"]


class InterestPooling(nn.Module):
    """A dictionary whose entries attend to a user's behaviours: one interest per entry.

    `principal`: how many of the interests are fused into one vector; None: all are kept.
    """

    def __init__(
        self,
        dim: int,
        entries: int,
        attention: Similarity,
        temperature: float,
        principal: int | None,
        user_vector: Literal["concatenated", "mean"],
    ):
        super().__init__()
        self.attention, self.temperature, self.principal = attention, temperature, principal
        self.dictionary = nn.Parameter(torch.empty(entries, dim))
        nn.init.normal_(self.dictionary, std=0.02)
        side_by_side = principal is None and user_vector == "concatenated"
        self.width = entries * dim if side_by_side else dim

    # Whether hidden states may come side by side.
    side_by_side = True

    def forward(self, hidden: Hidden | Packed, items: Items | SideBySide) -> UserVectors:
        """User vectors: the interests side by side, or their mean."""
        interests = self.interests(hidden, items)
        return interests.mean(1) if self.width == hidden.shape[-1] else interests.flatten(1)

    def interests(self, hidden: Hidden | Packed, items: Items | SideBySide) -> Interests:
        """v_k = sum_t softmax_t(s(h_t, D_k)) h_t: interest k means the same for all users.

        With M = `principal`, the fusion sum_m softmax_m(r_m) v_m of the M interests of highest
        relevance r_k = log mean_t exp s(h_t, D_k).
        """
        if isinstance(items, SideBySide):
            if self.principal is None and self.attention == "dot":
                return pooling(hidden, items.starts, self.dictionary / self.temperature)
            hidden, items = unpacked(hidden, items), items.rows
        scores = self.scores(hidden, items)
        if self.principal is None:
            return attended(scores, hidden)
        lengths = (items != 0).sum(1, keepdim=True)
        relevance, kept = (scores.logsumexp(1) - lengths.log()).topk(self.principal)
        scores = scores.gather(2, kept[:, None].expand(-1, hidden.shape[1], -1))
        return relevance.softmax(1)[:, None] @ attended(scores, hidden)

    interests.side_by_side = True

    def scores(self, hidden: Hidden, items: Items) -> Float[Tensor, "users length entries"]:
        """s(h_t, D_k) / temperature; at padding, so low that its softmax is 0."""
        entries = self.dictionary
        if self.attention == "cosine":
            hidden, entries = F.normalize(hidden, dim=-1), F.normalize(entries, dim=-1)
        scores = hidden @ entries.T / self.temperature
        return scores.masked_fill((items == 0)[:, :, None], torch.finfo(scores.dtype).min)


def attended(scores: Float[Tensor, "users length entries"], hidden: Hidden) -> Interests:
    """Means of the hidden states, weighted by the softmax of each entry's scores."""
    return scores.softmax(1).transpose(1, 2) @ hidden
