"""How far a score would move with other test users: a bootstrap over users of saved predictions.

Users are drawn with replacement, all examples of one together, as they are not independent (Davison
and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). All files of a task see
the same draws, so differences between runs are paired. This noise is not that of the seeds: all
seeds of a task are tested on the same users, and more of them do not lower it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

# Enough for a standard error (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 6.4).
RESAMPLES = 200
SEED = 0
WEIGHTS_AT_ONCE = 1 << 23  # bounds the memory of one (resamples, examples) matrix


def resampled(files: Sequence[pd.DataFrame], metric: str) -> Float[np.ndarray, "resamples files"]:
    """The metric of each file of one task (`Predictions.rows`) on RESAMPLES draws of test users.

    NaN where a draw has no positive or no negative example to tell apart.
    """
    users = np.unique(np.concatenate([rows["user"] for rows in files]))
    counts = draws(len(users))
    values = [
        [
            weighted_metric(rows, metric, some[:, np.searchsorted(users, rows["user"])])
            for some in np.array_split(counts, -(-RESAMPLES * len(rows) // WEIGHTS_AT_ONCE))
        ]
        for rows in files
    ]
    return np.stack([np.concatenate(parts) for parts in values], axis=1)


def draws(n: int) -> Int[np.ndarray, "resamples n"]:
    """How often each of n users is among n drawn with replacement."""
    generator = np.random.default_rng(SEED)
    drawn = (generator.integers(n, size=n) for _ in range(RESAMPLES))
    return np.stack([np.bincount(some, minlength=n).astype(np.int16) for some in drawn])


def weighted_metric(
    rows: pd.DataFrame, metric: str, weights: Num[np.ndarray, "resamples examples"]
) -> Float[np.ndarray, " resamples"]:
    """A metric with each example counted as often as it weighs; with weights of 1, the metric."""
    if metric == "auc":
        return weighted_auc(rows["score"].to_numpy(), (rows["label"] == 1).to_numpy(), weights)
    if "weight" in rows:
        weights = weights * rows["weight"].to_numpy()
    return weights @ contribution(rows, metric) / weights.sum(1)


def contribution(rows: pd.DataFrame, metric: str) -> Float[np.ndarray, " examples"]:
    """What each example adds to a metric that is a mean over examples (`userbench.metrics`)."""
    if metric == "accuracy":
        return rows["correct"].to_numpy(np.float64)
    name, _, cutoff = metric.partition("@")
    rank = rows["rank"].to_numpy(np.float64)
    value = {"hr": np.ones_like(rank), "mrr": 1 / rank, "ndcg": 1 / np.log2(rank + 1)}[name]
    return np.where(rank <= int(cutoff), value, 0.0)


def weighted_auc(
    score: Float[np.ndarray, " examples"],
    positive: Bool[np.ndarray, " examples"],
    weights: Num[np.ndarray, "resamples examples"],
) -> Float[np.ndarray, " resamples"]:
    """Share of the weight of (positive, negative) pairs in the right order; a tie counts one half.

    NaN where all weight is on one class.
    """
    order = score.argsort(kind="stable")
    levels = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    sides = [
        np.add.reduceat(weights[:, order] * side[order], levels, axis=1, dtype=np.float64)
        for side in (positive, ~positive)
    ]
    above, others = sides
    below = others.cumsum(1) - others / 2
    with np.errstate(invalid="ignore"):
        return (above * below).sum(1) / (above.sum(1) * others.sum(1))
