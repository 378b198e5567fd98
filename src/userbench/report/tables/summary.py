"""Table 2 as numbers: means over seeds, beside the published ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from userbench.report.tables.data_origin import origin
from userbench.report.tables.published import keys, published_table2


def summarise(scores: pd.DataFrame, layout: dict[str, Any]) -> pd.DataFrame:
    """Table 2 as numbers: one row per run and scored baseline, percentages, over seeds.

    Per task: mean, sample std (n - 1), number of seeds, improvement in percent relative to the row
    `compared_with`, and the published mean and std; per row, the length of its user vectors
    (width). Missing values are NaN: of a baseline that does not do a task or has no user vectors,
    of a task without any scores (its corpus is absent), of a std over one seed, of a cell of which
    a seed failed (which counts among its seeds).

    Raises:
        ValueError: a ranked run lacks a task that others have, or runs differ in test examples, or
            one run has user vectors of different widths.
    """
    scored_runs = set(scores.loc[scores["split"] == "test", "run"])
    baselines = [entry for entry in layout["baselines"] if entry["run"] in scored_runs]
    entries = layout["rows"] + baselines
    summary = pd.DataFrame({key: [entry[key] for entry in entries] for key in ("run", "label")})
    summary["ranked"] = summary.index < len(layout["rows"])
    compared_with = summary["run"] == layout["compared_with"]
    test = scores[(scores["split"] == "test") & scores["run"].isin(summary["run"])]
    scored = [task for task in layout["tasks"] if task["task"] in set(test["task"])]
    summary.insert(2, "data", origin(scored))
    summary["width"] = widths(test).reindex(summary["run"]).array
    measured = over_seeds(test.groupby(["run", "task", "metric"])["value"])
    published = published_table2()
    for task in layout["tasks"]:
        name = task["task"]
        check_comparable(test[test["task"] == name], task, layout["rows"])
        own = measured.reindex(keys((run, name, task["metric"]) for run in summary["run"]))
        mean = 100 * own["mean"].to_numpy()
        base = mean[compared_with]
        improvement = 100 * (mean / base - 1) if base > 0 else np.nan
        paper = published.reindex(keys((entry["paper"], task["paper"]) for entry in entries))
        summary[f"{name}.mean"] = mean.round(4)
        summary[f"{name}.std"] = (100 * own["std"].to_numpy()).round(4)
        summary[f"{name}.seeds"] = own["seeds"].astype("Int64").array
        summary[f"{name}.improvement"] = np.where(compared_with, np.nan, improvement).round(4)
        summary[f"{name}.paper_mean"] = paper["mean_percent"].to_numpy()
        summary[f"{name}.paper_std"] = paper["std_percent"].to_numpy()
    return summary


def over_seeds(values: SeriesGroupBy) -> pd.DataFrame:
    """Mean, sample std and number of seeds of each group; NaN where a seed has no value."""
    # Why not of the others: seeds fail where a training is unstable; a mean over those that did not
    # would be too good.
    return values.agg(mean=whole_mean, std=lambda each: each.std(skipna=False), seeds="size")


def whole_mean(values: pd.Series) -> float:
    """The mean; NaN where any of the values is missing."""
    return values.mean(skipna=False)


def widths(scores: pd.DataFrame) -> pd.Series:
    """Length of the user vectors of each run that has any.

    Raises:
        ValueError: a run with more than one.
    """
    found = scores.dropna(subset="width").groupby("run")["width"].unique()
    for run, several in found.items():
        if len(several) > 1:
            raise ValueError(
                f"run {run!r}: user vectors of {' and '.join(map(str, sorted(several)))} numbers. "
                "Fine-tune it again, all tasks and seeds alike."
            )
    return found.map(lambda several: several[0]).astype("Int64")


def check_comparable(
    test: pd.DataFrame, task: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """ValueError unless all ranked runs have a task's metric, or none has any of it.

    And unless all its scores, those of the baselines included, are over equally many test examples.
    """
    name, metric = task["task"], task["metric"]
    scored_runs = set(test.loc[test["metric"] == metric, "run"])
    lacking = [row["run"] for row in rows if row["run"] not in scored_runs]
    if len(test) and lacking:
        raise ValueError(
            f"task {name!r}: no test {metric} of {', '.join(lacking)}, though other scores of the "
            "task exist. Fine-tune these runs on it, or take them out of the layout."
        )
    if test["examples"].nunique() > 1:
        counts = ", ".join(map(str, sorted(test["examples"].unique())))
        raise ValueError(
            f"task {name!r}: scores over different numbers of test examples ({counts}) cannot be "
            "compared. Make all of them from the same splits."
        )
