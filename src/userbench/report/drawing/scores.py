"""Test scores of a figure's runs: statistics over seeds, of the runs and of their differences.

The columns that figures of test scores share, in percent where they are scores:

task, task_label, metric   as in experiment.json
data                       simulated or real
seeds                      how many; none where a fit failed, and then no value either
mean, std                  over seeds, the latter the sample standard deviation (n - 1)
low, high                  95% interval of the mean over seeds and test users (`inference`); empty
                           for one seed, and where no seed differs
note                       seeds that failed, or whose model predicts one class for everyone
difference, difference_low, difference_high
                           of some: to another run, paired by seed and by test user, with interval
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from userbench.report.drawing.inputs import Inputs
from userbench.report.statistics.inference import NO_USER_NOISE, Noise, interval_of
from userbench.report.statistics.resampling import Resampled, describe_seeds, resample
from userbench.report.tables.summary import check_comparable


class RunScores(NamedTuple):
    """Test scores in percent, a row per seed and a column per (task, run), and what is behind them.

    Scores of a failed fit are NaN; so are those of a seed that a run does not have, which are not
    in `failed`. `tasks` are those of the figure that have scores.
    """

    scores: pd.DataFrame
    resampled: dict[str, Resampled]
    failed: pd.DataFrame
    tasks: list[dict[str, Any]]

    def over_seeds(self, task: str, run: str, over: str | None = None) -> dict[str, Any]:
        """Statistics of a run's scores, or of the differences to another run, over common seeds.

        A difference to or from a run with a note has no interval: it decides nothing.
        """
        runs = [run] if over is None else [run, over]
        values = self.scores[task, run] - (0 if over is None else self.scores[task, over])
        by_run = {name: self.note(task, name) for name in runs}
        notes = [
            text if name == run else f"{name}: {text}" for name, text in by_run.items() if text
        ]
        note = {"note": "; ".join(notes)}
        if any(self.failed[task, name].any() for name in runs):
            # Why no mean of the others: seeds that survive are not drawn at random.
            return over_seeds(values[:0]) | note
        values = values.dropna()
        if notes and over is not None:
            return over_seeds(values) | note | {"low": np.nan, "high": np.nan}
        if values.empty:
            return over_seeds(values) | note
        return over_seeds(values, self.resampled[task].noise(values.index, *runs)) | note

    def note(self, task: str, run: str) -> str:
        """The seeds of a cell that failed or predict the same for every example; mostly empty."""
        failed = self.failed.index[self.failed[task, run]]
        return describe_seeds(self.resampled.get(task), run, failed)

    def difference(self, task: str, run: str, over: str) -> dict[str, float]:
        """Mean and interval of the difference of two runs, paired by seed and by test user."""
        found = self.over_seeds(task, run, over)
        return {
            "difference": found["mean"],
            "difference_low": found["low"],
            "difference_high": found["high"],
        }


def over_seeds(values: pd.Series, users: Noise = NO_USER_NOISE) -> dict[str, Any]:
    """Number of seeds, mean, std and interval of one value per seed."""
    mean, std = values.mean(), values.std()
    low, high = interval_of(mean, std, len(values), users)
    return {"seeds": len(values), "mean": mean, "std": std, "low": low, "high": high}


def run_scores(inputs: Inputs) -> RunScores:
    """The test scores of a figure that reads scores and predictions.

    Raises:
        ValueError: a run lacks a task that others have, runs differ in test examples, or
            predictions are missing or not those of the scores.
    """
    runs, scores = set(inputs.methods), inputs.scores
    test = scores[(scores["split"] == "test") & scores["run"].isin(runs)]
    found = []
    for task in inputs.tasks:
        own = test[test["task"] == task["task"]]
        check_comparable(own, task, inputs.rows)
        found.append(own[own["metric"] == task["metric"]])
    own = pd.concat(found)
    values = own.pivot(index="seed", columns=["task", "run"], values="value")
    lost = own.assign(lost=own["value"].isna())
    lost = lost.pivot(index="seed", columns=["task", "run"], values="lost")
    having = set(values.columns.get_level_values("task"))
    return RunScores(
        scores=100 * values,
        resampled=resample(own, inputs.tasks, inputs.predictions),
        failed=lost.eq(True),
        tasks=[task for task in inputs.tasks if task["task"] in having],
    )


def about(task: dict[str, Any]) -> dict[str, str]:
    """The columns that say which task a row is of."""
    data = "simulated" if task["simulated"] else "real"
    return {
        "task": task["task"],
        "task_label": task["label"],
        "metric": task["metric"],
        "data": data,
    }


def read_frame(path: Path) -> pd.DataFrame:
    """The CSV of a figure: an empty field is NaN, the label "None" is a word."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])
