"""Scores to the numbers behind the figures: a tidy frame per study, one row per run and task.

Columns that all of them share, in percent where they are scores:

task, task_label, metric   as in the layout
data                       simulated or real
seeds                      how many; none where a fit failed, and then no value either
mean, std                  over seeds, the latter the sample standard deviation (n - 1)
low, high                  95% interval of the mean over seeds and test users (`inference`); empty
                           for one seed, and where no seed differs
note                       seeds that failed, or whose model predicts one class for everyone

`combination` (Figure 3) has first: views (whose augmentations), run, label, combined (0 the method
alone, 1 AdaptSSR with its views); last: difference, difference_low, difference_high (combined minus
alone, paired by seed and by test user, with its interval).
`ablation` (Figure 4) has first: run, label, role (full, component or sweep; one run may be the
latter two), coefficient (of a fixed one); last: difference.. (this run minus the full one).
`worlds` (Figure 6) has first: run, over, their labels, source (the task's label), and one
column per parameter of the world; mean.. are of the difference run minus over, paired.
`labels` (Figure 7) has first: run, row (the run with all labels), label, share.
`learning_curves` has: stage (pretrain, finetune), run, label, task (the corpus, in pre-training),
task_label, metric ("loss" in pre-training), split, epoch; then data, seeds, mean, std, low, high,
the latter over seeds alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from userbench.experiment.validation import read_json
from userbench.report.curves import by_run, place_of
from userbench.report.experiment import check_once, layout_of
from userbench.report.inference import NO_USER_NOISE, Noise, interval_of
from userbench.report.resampling import Resampled, describe_seeds, resample
from userbench.report.summary import check_comparable
from userbench.results.artifact import check_recorded
from userbench.results.contents import Curve


def read_layout(figure: str, path: Path, curves: Sequence[Path] = ()) -> dict[str, Any]:
    """Layout of a figure, by experiment.json; of learning curves, with those of each row.

    Raises:
        ValueError: the experiment has no such figure; a name is unknown or there twice; a row has
            no curve.
    """
    layout = {"tasks": [], **layout_of(path, figure)}
    rows = [row["run"] for row in layout["rows"]]
    check_once(rows, str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    named = [layout["full"], *layout["components"]] if figure == "figure4" else []
    for entry in (*layout.get("pairs", []), *layout.get("differences", [])):
        named += [name for key, name in entry.items() if key != "views"]
    for key in ("sweep", "shares"):
        named += [entry["run"] for entry in layout.get(key, [])]
    encoders = layout.get("encoders", {})
    for name in (*named, *encoders):
        if name not in rows:
            raise ValueError(f"{path}: {figure}: run {name!r} is not among the rows")
    for task in layout["tasks"]:
        for parameter in layout.get("parameters", []):
            if parameter not in task["parameters"]:
                raise ValueError(f"{path}: task {task['task']!r} has no parameter {parameter!r}")
    if figure == "learning_curves":
        found = by_run(curves, encoders.values())
        layout["curves"] = {run: found[encoders[run]] for run in rows if run in encoders}
    return layout


def read_frame(path: Path) -> pd.DataFrame:
    """A CSV of this module, or of figure 5: an empty field is NaN, the label "None" is a word."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


class Tested(NamedTuple):
    """Test scores in percent, a row per seed and a column per (task, run), and what is behind them.

    Scores of a failed fit are NaN; so are those of a seed that a run does not have, which are not
    in `failed`.
    """

    scores: pd.DataFrame
    resampled: dict[str, Resampled]
    failed: pd.DataFrame

    def over_seeds(self, task: str, run: str, over: str | None = None) -> dict[str, Any]:
        """Statistics of a run's scores, or of the differences to another run, over common seeds.

        A difference to or from a run with a note has no interval: it decides nothing.
        """
        runs = [run] if over is None else [run, over]
        values = self.scores[task, run] - (0 if over is None else self.scores[task, over])
        notes = {name: self.note(task, name) for name in runs}
        told = [note if name == run else f"{name}: {note}" for name, note in notes.items() if note]
        note = {"note": "; ".join(told)}
        if any(self.failed[task, name].any() for name in runs):
            # Why no mean of the others: seeds that survive are not drawn at random.
            return over_seeds(values[:0]) | note
        values = values.dropna()
        if told and over is not None:
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
        told = self.over_seeds(task, run, over)
        return {
            "difference": told["mean"],
            "difference_low": told["low"],
            "difference_high": told["high"],
        }


def over_seeds(values: pd.Series, users: Noise = NO_USER_NOISE) -> dict[str, Any]:
    """Number of seeds, mean, std and interval of one value per seed."""
    mean, std = values.mean(), values.std()
    low, high = interval_of(mean, std, len(values), users)
    return {"seeds": len(values), "mean": mean, "std": std, "low": low, "high": high}


def tested(scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]) -> Tested:
    """The test scores of a layout's runs; an absent corpus's tasks miss.

    Raises:
        ValueError: a run lacks a task that others have, runs differ in test examples, or
            predictions are missing or not those of the scores.
    """
    runs = {row["run"] for row in layout["rows"]}
    test = scores[(scores["split"] == "test") & scores["run"].isin(runs)]
    found = []
    for task in layout["tasks"]:
        own = test[test["task"] == task["task"]]
        check_comparable(own, task, layout["rows"])
        found.append(own[own["metric"] == task["metric"]])
    own = pd.concat(found)
    values = own.pivot(index="seed", columns=["task", "run"], values="value")
    lost = own.assign(lost=own["value"].isna())
    lost = lost.pivot(index="seed", columns=["task", "run"], values="lost")
    return Tested(100 * values, resample(own, layout["tasks"], predictions), lost.eq(True))


def about(task: dict[str, Any]) -> dict[str, str]:
    """The columns that say which task a row is of."""
    data = "simulated" if task["simulated"] else "real"
    return {
        "task": task["task"],
        "task_label": task["label"],
        "metric": task["metric"],
        "data": data,
    }


def scored_tasks(layout: dict[str, Any], found: Tested) -> list[dict[str, Any]]:
    """Tasks of the layout that have scores."""
    having = set(found.scores.columns.get_level_values("task"))
    return [task for task in layout["tasks"] if task["task"] in having]


def labels_of(layout: dict[str, Any]) -> dict[str, str]:
    """Label of each run."""
    return {row["run"]: row["label"] for row in layout["rows"]}


def combination(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> pd.DataFrame:
    """Each method alone and AdaptSSR with its views, per task."""
    found, labels = tested(scores, layout, predictions), labels_of(layout)
    rows = []
    for pair in layout["pairs"]:
        for task in scored_tasks(layout, found):
            name = task["task"]
            for combined, run in enumerate((pair["alone"], pair["combined"])):
                first = {"views": pair["views"], "run": run, "label": labels[run]}
                row = first | {"combined": combined} | about(task) | found.over_seeds(name, run)
                if combined:
                    row |= found.difference(name, run, pair["alone"])
                rows.append(row)
    return pd.DataFrame(rows).round(4)


def ablation(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> pd.DataFrame:
    """The full method, without each component, and with fixed coefficients, per task."""
    found, full = tested(scores, layout, predictions), layout["full"]
    labels = labels_of(layout)
    fixed = {entry["run"]: entry["coefficient"] for entry in layout["sweep"]}
    roles: dict[str, list[str]] = {full: ["full"]}
    for role, runs in (("component", layout["components"]), ("sweep", fixed)):
        for run in runs:
            roles.setdefault(run, []).append(role)
    rows = []
    for run, role in roles.items():
        for task in scored_tasks(layout, found):
            name = task["task"]
            rows.append(
                {
                    "run": run,
                    "label": labels[run],
                    "role": " ".join(role),
                    "coefficient": fixed.get(run, np.nan),
                    **about(task),
                    **found.over_seeds(name, run),
                    **(found.difference(name, run, full) if run != full else {}),
                }
            )
    return pd.DataFrame(rows).round(4)


def worlds(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> pd.DataFrame:
    """Differences of runs in simulated worlds, one row per difference, task and world."""
    found, labels = tested(scores, layout, predictions), labels_of(layout)
    rows = [
        {
            **difference,
            "label": labels[difference["run"]],
            "over_label": labels[difference["over"]],
            "source": task["source"],
            **{name: task["parameters"][name] for name in layout["parameters"]},
            **about(task),
            **found.over_seeds(task["task"], difference["run"], difference["over"]),
        }
        for difference in layout["differences"]
        for task in scored_tasks(layout, found)
    ]
    return pd.DataFrame(rows).round(4)


def labels(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> pd.DataFrame:
    """Each row with each share of the labels, per task."""
    found, names = tested(scores, layout, predictions), labels_of(layout)
    rows = [
        {
            "run": entry["run"],
            "row": entry["row"],
            "label": names[entry["row"]],
            "share": entry["share"],
            **about(task),
            **found.over_seeds(task["task"], entry["run"]),
        }
        for entry in layout["shares"]
        for task in scored_tasks(layout, found)
    ]
    return pd.DataFrame(rows).round(4)


def learning_curves(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path] = ()
) -> pd.DataFrame:
    """Loss of each epoch of pre-training, and validation scores of each epoch of fine-tuning.

    Of several candidate checkpoints, the curve of the last epoch's fine-tuning is shown, of several
    random starts that of the first. A run that fine-tunes another run's encoder has that run's
    pre-training curve, by the layout.
    """
    labels = labels_of(layout)
    curves = [read_curve(run, path) for run, own in layout["curves"].items() for path in own]
    losses = pd.concat([pd.DataFrame(), *curves])
    rows = []
    grouped = losses.groupby(["run", "task", "split", "epoch"], sort=False) if len(losses) else ()
    for (run, corpus, split, epoch), points in grouped:
        told = {"task": corpus, "task_label": corpus, "metric": "loss", "split": split}
        data = {"data": "simulated" if layout["simulated"] else "real"}
        first = {"stage": "pretrain", "run": run, "label": labels[run]}
        rows.append(first | told | {"epoch": epoch} | data | over_seeds(points["loss"]))
    own = scores[(scores["split"] == "validation") & scores["run"].isin(labels)]
    last = own.groupby(["run", "task"])["pretrain_epoch"].transform("max")
    own = own[(own["pretrain_epoch"] == last) & (own["start"] == 1)]
    for row in layout["rows"]:
        for task in layout["tasks"]:
            chosen = own[(own["run"] == row["run"]) & (own["task"] == task["task"])]
            chosen = chosen[chosen["metric"] == task["metric"]]
            for epoch, points in chosen.groupby("epoch"):
                told = {**about(task), "split": "validation", "epoch": epoch}
                first = {"stage": "finetune", "run": row["run"], "label": row["label"]}
                rows.append(first | told | over_seeds(100 * points["value"]))
    columns = ["stage", "run", "label", "task", "task_label", "metric", "split", "epoch", "data"]
    columns += ["seeds", "mean", "std", "low", "high"]
    return pd.DataFrame(rows, columns=columns).round(6)


def read_curve(run: str, path: Path) -> pd.DataFrame:
    """Losses behind a row; ValueError where the file is damaged or no learning curve."""
    check_recorded(path)
    points = pd.DataFrame(read_json(path, Curve))
    return points[["epoch", "split", "loss"]].assign(run=run, task=place_of(path).corpus)


Study = Callable[[pd.DataFrame, dict[str, Any], Sequence[Path]], pd.DataFrame]
STUDIES: dict[str, Study] = {
    "figure3": combination,
    "figure4": ablation,
    "figure6": worlds,
    "figure7": labels,
    "learning_curves": learning_curves,
}


def numbers_of_seeds(frame: pd.DataFrame) -> Sequence[int]:
    """The numbers of seeds that a frame's means are of, ascending."""
    return sorted(set(frame["seeds"].tolist()))
