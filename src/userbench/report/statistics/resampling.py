"""The noise that other test users would give a score: a bootstrap over users of saved predictions.

`resample` does it for all runs of an experiment and finds seeds that predict the same for everyone.

Users are drawn with replacement, all examples of one together, as they are not independent (Davison
and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). All files of a task have
the same draws, so differences between runs are paired. This noise is not that of the seeds: all
seeds of a task are tested on the same users, and more seeds do not reduce it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

from userbench.report.statistics.inference import Noise, user_noise
from userbench.results.predictions import Predictions, describe_predictions, read_predictions

# Enough for a standard error (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 6.4).
RESAMPLES = 200
SEED = 0
WEIGHTS_AT_ONCE = 1 << 23  # bounds the memory of one (resamples, examples) matrix
ONE_ANSWER = {
    "classification": ("predicted", "predicts one class only"),
    "binary": ("score", "gives every example one score"),
}
"""Column by kind of task, and the words for a seed in which all its values are the same. Ranks have
no such column: they differ with the number of a user's known positives."""


class Resampled(NamedTuple):
    """Test scores of one task in percent, by run and seed, on the same draws of its test users.

    `users` is the number of independent test users behind the metric, `kind` that of the task;
    `collapsed` holds the (run, seed) that predict the same for every example.
    """

    draws: dict[tuple[str, int], Float[np.ndarray, " resamples"]]
    users: int
    kind: str
    collapsed: frozenset[tuple[str, int]]

    def seeds(self, run: str) -> set[int]:
        """The seeds of a run that have a score."""
        return {seed for name, seed in self.draws if name == run}

    def collapsed_seeds(self, run: str) -> set[int]:
        """The seeds of a run that predict the same for every example."""
        return {seed for name, seed in self.collapsed if name == run}

    def noise(self, seeds: Iterable[int], run: str, over: str | None = None) -> Noise:
        """Noise of a run's mean over seeds, or of its difference to another run, by test users."""
        drawn = [
            self.draws[run, seed] - (0 if over is None else self.draws[over, seed])
            for seed in seeds
        ]
        return user_noise(np.mean(drawn, axis=0), self.users)


def resample(
    test: pd.DataFrame, tasks: Iterable[dict[str, Any]], paths: Sequence[Path]
) -> dict[str, Resampled]:
    """Every task of `tasks` that has test scores, from the predictions behind these scores.

    `test` holds a row per run, task, seed and metric, as `results.scores.gather_scores` makes
    them. A failed fit has no score (NaN) and is left out.

    Raises:
        ValueError: predictions are missing, or not those that were scored.
    """
    files: dict[str, dict[tuple[str, int], Path]] = {}
    for path in paths:
        of = describe_predictions(path)
        files.setdefault(of["task"], {})[of["run"], of["seed"]] = path
    found = {}
    for task in tasks:
        name, metric = task["task"], task["metric"]
        own = test[(test["task"] == name) & (test["metric"] == metric)].dropna(subset="value")
        if len(own):
            scored = own.set_index(["run", "seed"])["value"].to_dict()
            found[name] = resample_task(name, metric, scored, files.get(name, {}))
    return found


def resample_task(
    task: str,
    metric: str,
    scored: dict[tuple[str, int], float],
    files: dict[tuple[str, int], Path],
) -> Resampled:
    """`resample` of one task; `scored` are its test scores."""
    read: dict[tuple[str, int], Predictions] = {}
    for (run, seed), score in scored.items():
        if (run, seed) not in files:
            raise ValueError(f"task {task!r}: no --predictions of run {run!r}, seed {seed}")
        read[run, seed] = found = read_predictions(files[run, seed])
        again = weighted_metric(found.rows, metric, np.ones((1, len(found.rows))))[0]
        if not np.isclose(again, score, rtol=0, atol=1e-8):
            raise ValueError(
                f"task {task!r}, run {run!r}, seed {seed}: predictions of {metric} "
                f"{100 * again:.4f}, but the score is {100 * score:.4f}. Fine-tune it again"
            )
    drawn = 100 * resampled([found.rows for found in read.values()], metric)
    first = next(iter(read.values()))
    return Resampled(
        draws=dict(zip(read, drawn.T, strict=True)),
        users=independent_users(first.rows, metric),
        kind=first.kind,
        collapsed=frozenset(key for key, found in read.items() if is_collapsed(found)),
    )


def describe_seeds(found: Resampled | None, run: str, failed: Iterable[int]) -> str:
    """Names the seeds of a run that failed or predict the same for every example; mostly empty.

    `found` is its task, None where all fits of it failed.
    """
    notes = [f"seed {seed} failed" for seed in failed]
    for seed in sorted(found.collapsed_seeds(run)) if found else ():
        notes.append(f"seed {seed} {ONE_ANSWER[found.kind][1]}")
    return ", ".join(notes)


def independent_users(rows: pd.DataFrame, metric: str) -> int:
    """Number of users behind a metric; of an AUC, those of the rarer class."""
    if metric == "auc":
        return int(rows.groupby("label")["user"].nunique().min())
    return rows["user"].nunique()


def is_collapsed(predictions: Predictions) -> bool:
    """Whether a model predicts one class, or one score, for every example.

    Equal scores differ by rounding, so scores within the resolution of float32 count as one.
    """
    if predictions.kind not in ONE_ANSWER:
        return False
    column, _ = ONE_ANSWER[predictions.kind]
    values = predictions.rows[column].to_numpy(np.float64)
    scale = np.abs(values).max(initial=1.0)
    return len(values) > 1 and bool(np.ptp(values) <= np.finfo(np.float32).resolution * scale)


def resampled(files: Sequence[pd.DataFrame], metric: str) -> Float[np.ndarray, "resamples files"]:
    """The metric of each file of one task (`Predictions.rows`) on RESAMPLES draws of test users.

    NaN where a draw has no positive or no negative example.
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
    """A metric with weighted examples; with weights of 1, the metric itself."""
    if metric == "auc":
        return weighted_auc(rows["score"].to_numpy(), (rows["label"] == 1).to_numpy(), weights)
    if "weight" in rows:
        weights = weights * rows["weight"].to_numpy()
    return weights @ contribution(rows, metric) / weights.sum(1)


def contribution(rows: pd.DataFrame, metric: str) -> Float[np.ndarray, " examples"]:
    """The value of each example in a metric that is a mean over examples (`model.metrics`)."""
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
