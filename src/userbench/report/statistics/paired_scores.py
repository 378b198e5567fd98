"""Test scores of Table 2 as arrays, paired by seed and, in draws of test users, by test user."""

from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from userbench.report.statistics.resampling import RESAMPLES, describe_seeds, resample
from userbench.report.tables.notes import folder_of
from userbench.report.tables.summary import check_comparable


class PairedScores(NamedTuple):
    """Test scores in percent of rows, then baselines, by seed; of the tasks that have any.

    NaN where a fit failed, and where a baseline does not do a task; a baseline has one score for
    all seeds. `draws` are the same scores on draws of test users, `users` their number by task;
    `notes` name the seeds of a cell that failed or predict the same for every example, and are
    mostly empty; `compared_with` is the index of the row that the others are compared with.
    """

    tasks: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    seeds: list[int]
    values: Float[np.ndarray, "tasks entries seeds"]
    draws: Float[np.ndarray, "resamples tasks entries seeds"]
    users: Int[np.ndarray, " tasks"]
    notes: np.ndarray
    n_rows: int
    compared_with: int


def collect(
    scores: pd.DataFrame,
    layout: dict[str, Any],
    predictions: Sequence[Path],
    limits: Collection[str] = (),
) -> PairedScores:
    """The test scores of a layout's rows and baselines, and their predictions resampled.

    `limits` are the tasks that cannot be scored.

    Raises:
        ValueError: there are none, a row lacks a task or a seed that others have, rows differ in
            test examples, or predictions are missing or not those of the scores.
    """
    rows, baselines = ([entry["run"] for entry in layout[key]] for key in ("rows", "baselines"))
    test = scores[(scores["split"] == "test") & scores["run"].isin(rows + baselines)]
    tasks = [task for task in layout["tasks"] if task["task"] in set(test["task"])]
    if not tasks:
        raise ValueError("no test score of the layout's rows. Fine-tune them with a test split")
    for task in tasks:
        check_comparable(test[test["task"] == task["task"]], task, layout["rows"])
    test = test.merge(pd.DataFrame(tasks)[["task", "metric"]])
    seeds = sorted(test.loc[test["run"].isin(rows), "seed"].unique().tolist())
    present = set(zip(test["task"], test["run"], test["seed"], strict=True))
    names = [task["task"] for task in tasks]
    for cell in product(names, rows, seeds):
        if cell not in present:
            raise ValueError(missing_seed(*cell, folder_of(layout)))
    found = resample(test, tasks, predictions)
    shape = (len(tasks), len(rows) + len(baselines), len(seeds))
    values, notes = np.full(shape, np.nan), np.full(shape[:2], "", dtype=object)
    draws = np.full((RESAMPLES, *shape), np.nan)
    scored = test.set_index(["task", "run", "seed"])["value"].to_dict()
    for (task, run, seed), value in scored.items():
        at = names.index(task), (rows + baselines).index(run)
        # A baseline was scored once, with any seed, and is the same for all.
        at = (*at, seeds.index(seed) if run in rows else slice(None))
        values[at] = 100 * value
        if np.isfinite(value):
            draws[:, *at].T[...] = found[task].draws[run, seed]
    failed = test[test["value"].isna()].groupby(["task", "run"])["seed"].apply(list).to_dict()
    for (place, task), (entry, run) in product(enumerate(names), enumerate(rows + baselines)):
        seeds_failed = failed.get((task, run), ())
        notes[place, entry] = describe_seeds(found.get(task), run, seeds_failed)
        if seeds_failed and task in limits:
            notes[place, entry] = "the task cannot be scored"
    return PairedScores(
        tasks,
        layout["rows"] + layout["baselines"],
        seeds,
        values,
        draws,
        np.array([found[name].users if name in found else 0 for name in names]),
        notes,
        len(rows),
        rows.index(layout["compared_with"]),
    )


def missing_seed(task: str, run: str, seed: int, folder: str) -> str:
    """What to do where a row has no score of a seed that others have."""
    return (
        f"task {task!r}: run {run!r} has no score of seed {seed}, though others have. Give "
        f"{folder}/{run}/{task}/seed{seed}.json to the command `scores`, too, or put the seed "
        "into the config's `seeds` and run the workflow: scores are paired by seed."
    )
