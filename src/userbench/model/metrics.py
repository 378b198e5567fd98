"""Metrics on whole test sets: accuracy, AUC, and rank-based hit rate, MRR and NDCG."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from userbench.errors import NotANumber

CUTOFFS = (5, 10, 20)
TIES = ("pessimistic", "stable")


def numbers(scores: Float[Tensor, "*some"]) -> Float[Tensor, "*some"]:
    """The scores, all of them numbers.

    NotANumber where one is infinite or NaN: NaN is above and below nothing, so that a diverged
    model would rank all targets first, find class 0 everywhere, and be called good.
    """
    # Why the sum first: it is finite only where all are, and costs a thirtieth.
    if not bool(scores.sum().isfinite()) and not bool(scores.isfinite().all()):
        raise NotANumber("a score is not a number")
    return scores


def accuracy(
    logits: Float[Tensor, "examples classes"], labels: Int[Tensor, " examples"]
) -> Float[Tensor, ""]:
    """Share of examples whose highest logit is that of their label."""
    return (numbers(logits).argmax(-1) == labels).double().mean()


def auc(
    scores: Float[Tensor, " examples"], positive: Bool[Tensor, " examples"]
) -> Float[Tensor, ""]:
    """Area under the ROC curve by the rank-sum formula; a tie counts one half.

    Raises ValueError where one of the two classes is absent, or a score is not a number.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        raise ValueError("AUC needs examples of both classes; this split holds only one")
    _, level, count = numbers(scores).unique(return_inverse=True, return_counts=True)
    mean_rank = count.cumsum(0).double() - (count - 1).double() / 2
    rank_sum = mean_rank[level][positive].sum()
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def ranks(
    scores: Float[Tensor, "examples candidates"],
    targets: Int[Tensor, " examples"],
    known: Int[Tensor, "examples known"],
    ties: str = "pessimistic",
) -> Int[Tensor, " examples"]:
    """Rank (1 = best) of each target among all candidates but the user's other positives.

    `known` lists positives of the user; the value `candidates` pads it. A "pessimistic" tie counts
    against the target, so a model that gives all candidates one score ranks last, not first; in
    "stable" ties the candidate with the lower index comes first, as in a stable sort.
    """
    own = numbers(scores).gather(1, targets[:, None])
    others = torch.cat([scores, torch.empty_like(own)], dim=1)  # one more column takes the padding
    others = others.scatter(1, known, -torch.inf).scatter(1, targets[:, None], -torch.inf)
    # Deviation: the authors' code sorts all candidates and leaves ties to the sort.
    others = others[:, :-1]
    if ties == "pessimistic":
        return (others >= own).sum(1) + 1
    before = torch.arange(scores.shape[1], device=scores.device) < targets[:, None]
    return ((others > own) | ((others == own) & before)).sum(1) + 1


def shared_order(
    scores: Float[Tensor, " candidates"], ties: str = "pessimistic"
) -> Int[Tensor, " candidates"]:
    """Rank of each candidate among all of them, where every user has these scores."""
    if ties == "pessimistic":
        return len(scores) - torch.searchsorted(numbers(scores).sort().values, scores)
    order = numbers(scores).argsort(descending=True, stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(1, len(order) + 1))


def ranks_in_order(
    order: Int[Tensor, " candidates"],
    targets: Int[Tensor, " examples"],
    known: Int[Tensor, "examples known"],
) -> Int[Tensor, " examples"]:
    """`ranks` where every user has the scores of `shared_order`, without a score matrix."""
    own = order[targets]
    behind_all = order.new_full((1,), len(order) + 1)  # what the padding reads
    ahead = torch.cat([order, behind_all])[known] <= own[:, None]
    return own - (ahead & (known != targets[:, None])).sum(1)


def ranking_metrics(
    rank: Int[Tensor, " examples"], weight: Float[Tensor, " examples"] | float = 1.0
) -> dict[str, Float[Tensor, ""]]:
    """hr@k, mrr@k and ndcg@k for one relevant item per example, k in 5, 10, 20.

    `weight` has mean 1: how much each example counts.
    """
    return {name: (gain * weight).mean() for name, gain in gains(rank).items()}


def gains(rank: Int[Tensor, " ranks"]) -> dict[str, Float[Tensor, " ranks"]]:
    """hr@k, mrr@k and ndcg@k of each rank alone."""
    position = rank.double()
    found = {}
    for k in CUTOFFS:
        hit = (rank <= k).double()
        found |= {f"hr@{k}": hit, f"mrr@{k}": hit / position}
        found[f"ndcg@{k}"] = hit / (position + 1).log2()
    return found


def metrics_of(predictions: dict[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
    """All metrics of a kind of task, from the columns that `results.predictions` describes."""
    if "rank" in predictions:
        return ranking_metrics(predictions["rank"], predictions.get("weight", 1.0))
    if "score" in predictions:
        return {"auc": auc(predictions["score"], predictions["label"] == 1)}
    return {"accuracy": (predictions["predicted"] == predictions["label"]).double().mean()}
