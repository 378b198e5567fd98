"""AdaptSSR the way it was released: the slow side of the benchmark, and an oracle for the tests.

One user at a time through Python lists, every sequence padded to `max_length`, attention
probabilities in memory, element-wise dropout, dense Adam, a sort of all candidates per user. It is
competent, plain torch, as a researcher writes it; nothing in it is slow on purpose.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CUTOFFS = (5, 10, 20)


class View(NamedTuple):
    """Items of one user, and which of them the mask vector stands for."""

    items: list[int]
    masked: list[bool]


class Padded(NamedTuple):
    """A batch of views, right-padded with 0."""

    items: Tensor
    masked: Tensor


# ------------------------------------------------------------------------- augmentation, per user


def crop(items: list[int], ratio: float) -> View:
    """Keep a contiguous run of ceil(ratio * n) items."""
    width = math.ceil(ratio * len(items))
    start = random.randint(0, len(items) - width)
    return View(items[start : start + width], [False] * width)


def reorder(items: list[int], ratio: float) -> View:
    """Shuffle inside a contiguous run of ceil(ratio * n) items."""
    width = math.ceil(ratio * len(items))
    start = random.randint(0, len(items) - width)
    run = items[start : start + width]
    random.shuffle(run)
    return View(items[:start] + run + items[start + width :], [False] * len(items))


def mask(items: list[int], ratio: float) -> View:
    """Mask ceil(ratio * n) items; the floor where that were all of them."""
    count = math.ceil(ratio * len(items))
    if count == len(items):
        count = math.floor(ratio * len(items))
    masked = [False] * len(items)
    for position in random.sample(range(len(items)), count):
        masked[position] = True
    return View(list(items), masked)


def augment(items: list[int]) -> View:
    """One of the three operators, uniformly; no mask for a user of one behaviour."""
    operators = [(crop, 0.4), (reorder, 0.6)]
    if len(items) > 1:
        operators.append((mask, 0.6))
    operator, ratio = random.choice(operators)
    return operator(items, ratio)


def unchanged(items: list[int]) -> View:
    """The sequence as it is."""
    return View(items, [False] * len(items))


def pad(views: list[View], max_length: int, device: torch.device) -> Padded:
    """A batch of views, each padded to `max_length`."""
    items, masked = [], []
    for view in views:
        missing = max_length - len(view.items)
        items.append(view.items + [0] * missing)
        masked.append(view.masked + [False] * missing)
    return Padded(torch.tensor(items, device=device), torch.tensor(masked, device=device))


# ------------------------------------------------------------------------------------------ model


class SelfAttention(nn.Module):
    """Multi-head self-attention with its probabilities in memory."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.merge = (nn.Linear(dim, dim) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, padding_scores: Tensor) -> Tensor:
        """Mix every position with all that are not padding."""
        users, length, dim = hidden.shape
        query, key, value = (
            project(hidden).view(users, length, self.heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(dim // self.heads)
        probabilities = self.dropout((scores + padding_scores).softmax(-1))
        mixed = (probabilities @ value).transpose(1, 2).reshape(users, length, dim)
        return self.merge(mixed)


class Layer(nn.Module):
    """Post-LN Transformer layer."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.attention = SelfAttention(dim, heads, dropout)
        self.attention_norm = nn.LayerNorm(dim, eps=1e-12)
        self.network = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.network_norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, padding_scores: Tensor) -> Tensor:
        """Attention and network, each followed by add and norm."""
        attended = self.dropout(self.attention(hidden, padding_scores))
        hidden = self.attention_norm(hidden + attended)
        return self.network_norm(hidden + self.dropout(self.network(hidden)))


class Encoder(nn.Module):
    """Padded views -> one vector per user: BERT4Rec with attention pooling."""

    def __init__(
        self,
        n_items: int,
        dropout: float,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        max_length: int = 150,
    ):
        super().__init__()
        self.items = nn.Embedding(n_items + 1, dim, padding_idx=0)
        self.mask_vector = nn.Parameter(torch.empty(dim))
        self.positions = nn.Embedding(max_length, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(Layer(dim, heads, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.query = nn.Parameter(torch.empty(dim))
        self.apply(initialise)
        nn.init.normal_(self.mask_vector, std=0.02)
        nn.init.normal_(self.query, std=0.02)

    def forward(self, batch: Padded) -> Tensor:
        """Mean of the last hidden states, weighted by the softmax of their dot with the query."""
        positions = torch.arange(batch.items.shape[1], device=batch.items.device)
        vectors = torch.where(batch.masked[:, :, None], self.mask_vector, self.items(batch.items))
        hidden = self.dropout(self.norm(vectors + self.positions(positions)))
        lowest = torch.finfo(hidden.dtype).min
        padding_scores = (batch.items == 0).to(hidden.dtype) * lowest
        for layer in self.layers:
            hidden = layer(hidden, padding_scores[:, None, None, :])
        weights = (hidden @ self.query + padding_scores).softmax(1)
        return (weights[:, :, None] * hidden).sum(1)

    def load_ours(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of our `UserEncoder`, given its `state_dict`."""
        self.load_state_dict(renamed(state))


def renamed(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of our encoder (weights, or gradients by the same names) under the names here."""
    here = {
        "items.weight": ours["items.weight"][:-1],
        "mask_vector": ours["items.weight"][-1],
        "query": ours["pooling.query"][0],
    }
    parts = {"widen": "network.0", "narrow": "network.2", "attention.merge": "attention.merge"}
    for name, value in ours.items():
        if name in ("items.weight", "pooling.query"):
            continue
        owner, _, kind = name.rpartition(".")
        if owner.endswith("attention.project"):
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                here[f"{owner.removesuffix('project')}{part}.{kind}"] = third
            continue
        for one, other in parts.items():
            if owner.endswith(one):
                owner = owner.removesuffix(one) + other
        here[f"{owner}.{kind}"] = value
    return here


def initialise(part: nn.Module) -> None:
    """N(0, 0.02) for every matrix, zero for every bias."""
    if isinstance(part, nn.Linear | nn.Embedding):
        nn.init.normal_(part.weight, std=0.02)
    if isinstance(part, nn.Linear):
        nn.init.zeros_(part.bias)


# ----------------------------------------------------------------------------------- pre-training


def adaptssr_loss(encoder: Encoder, first: Padded, second: Padded) -> Tensor:
    """The released loss: one coefficient per batch and anchor, hardest pair of each order."""
    views = [first, first, second, second]
    batch = Padded(torch.cat([v.items for v in views]), torch.cat([v.masked for v in views]))
    a, a_again, b, b_again = F.normalize(encoder(batch), dim=-1).chunk(4)
    itself = torch.eye(len(a), dtype=torch.bool, device=a.device).repeat(1, 4)
    losses = []
    for anchor, again, explicit in ((a, a_again, (b, b_again)), (b, b_again, (a, a_again))):
        implicit = (anchor * again).sum(-1)
        to_explicit = torch.stack([(anchor * view).sum(-1) for view in explicit])
        to_all = torch.cat([anchor @ view.T for view in (anchor, again, *explicit)], dim=1)
        hardest = to_all.masked_fill(itself, -torch.inf).max(1).values
        weight = 1 - to_explicit.mean().detach()
        first_order = implicit - to_explicit.max(0).values
        second_order = to_explicit.min(0).values - hardest
        margin = weight * first_order + (1 - weight) * second_order
        losses.append(-F.logsigmoid(margin).mean())
    return sum(losses) / 2


# ------------------------------------------------------------------------------------ fine-tuning


class Head(nn.Module):
    """Linear, ReLU, Linear: user vector -> one score per class or candidate."""

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        self.widen = nn.Linear(dim, dim)
        self.score = nn.Linear(dim, outputs)
        self.apply(initialise)

    def forward(self, users: Tensor) -> Tensor:
        """Scores of all classes or candidates."""
        return self.score(F.relu(self.widen(users)))

    def score_some(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Score of one candidate per user."""
        hidden = F.relu(self.widen(users))
        return (hidden * self.score.weight[candidates]).sum(-1) + self.score.bias[candidates]


def draw_negative(known: Sequence[int], n_candidates: int) -> int:
    """A uniform candidate that is none of the user's targets."""
    while True:
        drawn = random.randrange(n_candidates)
        if drawn not in known:
            return drawn


def bpr_loss(head: Head, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """-log sigmoid(s_positive - s_negative)."""
    margin = head.score_some(users, positives) - head.score_some(users, negatives)
    return -F.logsigmoid(margin).mean()


# ------------------------------------------------------------------------------------- evaluation


@torch.no_grad()
def rank_targets(scores: Tensor, targets: list[int], known: list[list[int]]) -> list[int]:
    """Rank (1 = best) of each target among all candidates but the user's other targets."""
    lowest = torch.finfo(scores.dtype).min
    for row, (target, others) in enumerate(zip(targets, known, strict=True)):
        for other in others:
            if other != target:
                scores[row, other] = lowest
    order = scores.argsort(dim=1, descending=True)
    return [
        int((candidates == target).nonzero()) + 1
        for candidates, target in zip(order, targets, strict=True)
    ]


def ranking_metrics(ranks: list[int]) -> dict[str, float]:
    """hr@k, mrr@k and ndcg@k for one relevant item per example."""
    found = {}
    for k in CUTOFFS:
        hits, reciprocal, gain = 0.0, 0.0, 0.0
        for rank in ranks:
            if rank <= k:
                hits += 1
                reciprocal += 1 / rank
                gain += 1 / math.log2(rank + 1)
        found |= {
            f"hr@{k}": hits / len(ranks),
            f"mrr@{k}": reciprocal / len(ranks),
            f"ndcg@{k}": gain / len(ranks),
        }
    return found
