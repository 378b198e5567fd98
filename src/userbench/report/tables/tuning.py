"""Write every trial of a tuning, and what was chosen by validation scores alone.

userbench tuning --scores FILE... --experiment experiment.json --out tuning.csv
    --md tuning.md
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.experiment import check_once, layout_of
from userbench.report.markup import render
from userbench.report.tables.cells import number
from userbench.report.tables.data_origin import SIMULATED
from userbench.report.tables.notes import limit_notes, limits_of
from userbench.report.tables.summary import whole_mean
from userbench.results import artifact
from userbench.results.scores import read_facts, read_score_content
from userbench.results.tables import resolved, write_csv

COLUMNS = [
    *("corpus", "row", "trial", "settings", "task", "metric", "seed"),
    *("pretrain_epoch", "epoch", "validation", "relative", "chosen"),
]
# Why: a difference below this is one of floating point, and the earlier trial wins ties.
DECIMALS = 6
GRID = ["run", "task", "seed"]


def read_tuning_layout(path: Path) -> dict[str, Any]:
    """The trials and tasks of experiment.json.

    Raises:
        ValueError: the experiment has no trials, or something occurs twice.
    """
    layout = layout_of(path, "tuning")
    check_once((trial["run"] for trial in layout["trials"]), str(path))
    check_once((f"{t['method_row']}, trial {t['trial']}" for t in layout["trials"]), str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    return layout


def read_validation(path: Path) -> dict[str, Any]:
    """The validation score of a score file, at the epoch that fine-tuning chose by it.

    Of a fine-tuning that failed, NaN, at epoch 0.

    Raises:
        ValueError: the file is not what `finetune` writes, or lacks that score.
    """
    content = read_score_content(path)
    own = {key: content[key] for key in ("corpus", "run", "task", "metric", "seed")}
    own |= {"file": str(path), "pretrain_epoch": 0, "epoch": 0, "validation": float("nan")}
    if "failed" in content:
        return own
    # Why here: what is chosen by test scores cannot be judged by them. Nothing below sees any.
    scores = [score for score in content["scores"] if score["split"] == "validation"]
    sought = content["best"] | {"metric": content["metric"]}
    values = [score["value"] for score in scores if sought.items() <= score.items()]
    if len(values) != 1:
        raise ValueError(f"{path}: not one validation score of the best epoch, but {len(values)}")
    return own | content["best"] | {"validation": values[0]}


def gather_trials(paths: Sequence[Path], layout: dict[str, Any]) -> pd.DataFrame:
    """One row per trial, task and seed (COLUMNS without `relative` and `chosen`), and its label.

    A task without any scores (its corpus is absent), or that cannot be scored, is left out.

    Raises:
        ValueError: a file of another run or task, a score given twice, or a trial that lacks a
            task or seed that others have; or no task is left.
    """
    limits = limits_of(read_facts(paths))
    order = {trial["run"]: place for place, trial in enumerate(layout["trials"])}
    tasks = {task["task"]: task for task in layout["tasks"]}
    each = [own for own in map(read_validation, paths) if own["task"] not in limits]
    if not each:
        raise ValueError(
            f"no trial can be chosen: {'; '.join(limit_notes(limits, layout['tasks']))}"
        )
    found = pd.DataFrame(each)
    check_trials(found, list(order), tasks)
    settings = pd.DataFrame(
        {
            "run": trial["run"],
            "row": trial["method_row"],
            "trial": trial["trial"],
            "label": trial["label"],
            "settings": json.dumps(trial["settings"]),
        }
        for trial in layout["trials"]
    )
    places = {
        "corpus": {c: i for i, c in enumerate(dict.fromkeys(t["corpus"] for t in tasks.values()))},
        "run": order,
        "task": {name: place for place, name in enumerate(tasks)},
    }
    found = found.merge(settings, on="run")
    return found.sort_values(
        ["corpus", "run", "task", "seed"],
        key=lambda column: column.map(places[column.name]) if column.name in places else column,
        ignore_index=True,
    )


def check_trials(found: pd.DataFrame, runs: list[str], tasks: dict[str, Any]) -> None:
    """ValueError unless the scores are those of the layout, each once and none missing."""
    for row in found.to_dict("records"):
        if row["run"] not in runs:
            raise ValueError(f"{row['file']}: run {row['run']!r} is no trial of the layout")
        task = tasks.get(row["task"], {})
        if any(task.get(key) != row[key] for key in ("task", "metric", "corpus")):
            what = f"{row['metric']} of task {row['task']!r} on corpus {row['corpus']!r}"
            raise ValueError(f"{row['file']}: {what} is not in the layout")
    check_once((f"{r}, task {t}, seed {s}" for r, t, s in found[GRID].to_numpy()), "--scores")
    wanted = set(zip(found["task"], found["seed"], strict=True))
    for run in runs:
        own = found[found["run"] == run]
        if lacking := sorted(wanted - set(zip(own["task"], own["seed"], strict=True))):
            task, seed = lacking[0]
            raise ValueError(
                f"trial {run!r} has no score of task {task!r}, seed {seed}, though others have. "
                "Trials can only be compared on the same tasks and seeds."
            )


def choose(trials: pd.DataFrame) -> pd.DataFrame:
    """Add `relative` and `chosen` to the rows of `gather_trials`.

    `relative`: by how many percent a trial's mean over seeds is above the mean over all trials of
    its row, averaged over the tasks of the corpus; NaN of a trial of which a fit failed. `chosen`:
    the trial with the largest, the first of equals.
    """
    place = ["corpus", "row"]
    means = trials.groupby([*place, "task", "run"], sort=False)["validation"].agg(whole_mean)
    typical = means.groupby([*place, "task"], sort=False).transform("mean")
    above = (100 * (means / typical - 1)).mask(typical == 0, 0.0)
    relative = above.groupby([*place, "run"], sort=False).agg(whole_mean).round(DECIMALS)
    # Why below all: what fails at one seed or task is no setting to choose.
    best = relative.fillna(-np.inf).groupby(place, sort=False).idxmax()
    trials = trials.join(relative.rename("relative"), on=[*place, "run"])
    chosen = pd.MultiIndex.from_frame(trials[[*place, "run"]]).isin(list(best))
    return trials.assign(chosen=chosen.astype(int))


def page(trials: pd.DataFrame, layout: dict[str, Any], limits: Sequence[str]) -> str:
    """Per corpus: each row's chosen settings, its scores beside its worst trial's, its budget.

    `limits` are sentences on the tasks that cannot be scored.
    """
    corpora = []
    for corpus, own in trials.groupby("corpus", sort=False):
        tasks = [task for task in layout["tasks"] if task["task"] in set(own["task"])]
        simulated = any(task["simulated"] for task in tasks)
        names = [task["task"] for task in tasks]
        corpora.append(
            {
                "title": corpus + SIMULATED * simulated,
                "budgets": budgets(own),
                "tasks": [(t["label"] + SIMULATED * t["simulated"], t["metric"]) for t in tasks],
                "rows": [shown(row, names) for _, row in own.groupby("row", sort=False)],
            }
        )
    return render("tuning.md", corpora=corpora, limits=limits)


def shown(row: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    """Label, number of trials, settings and scores of one row of trials, as shown."""
    scores = 100 * row.groupby(["run", "task"], sort=False)["validation"].agg(whole_mean).unstack()
    relative = row.drop_duplicates("run").set_index("run")["relative"]
    chosen = row[row["chosen"] == 1].iloc[0]
    worst = scores.loc[relative.fillna(-np.inf).idxmin()]
    settings = ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in json.loads(chosen["settings"]).items()
    )
    pairs = (f"{number(scores.loc[chosen['run'], t])} / {number(worst[t])}" for t in tasks)
    return [chosen["label"], str(len(relative)), settings or "defaults", *pairs]


def budgets(trials: pd.DataFrame) -> str:
    """One sentence: whether all rows of a corpus had equally many trials, and over which seeds."""
    counts = trials.groupby(["row"], sort=False).agg(
        label=("label", "first"), trials=("run", "nunique")
    )
    seeds = ", ".join(map(str, sorted(trials["seed"].unique())))
    if counts["trials"].nunique() == 1:
        text = f"Budgets are equal: {counts['trials'].iloc[0]} trials for every row"
    else:
        each = [f"{label} {n}" for label, n in counts.itertuples(index=False)]
        text = f"Budgets differ, in trials: {', '.join(each)}"
    return f"{text}; seeds of each: {seeds}."


@command
def main(argv: list[str] | None = None) -> None:
    """Write every trial and the summary; an error in the input is reported in one line."""
    parser = command_line.parser("tuning", __doc__)
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="score files",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--out", type=Path, required=True, help="CSV of all trials")
    parser.add_argument("--md", type=Path, required=True, help="what was chosen, in Markdown")
    args = parser.parse_args(argv)
    layout = read_tuning_layout(args.experiment)
    trials = choose(gather_trials(args.scores, layout))
    write_csv(args.out, trials[COLUMNS])
    limits = limit_notes(limits_of(read_facts(args.scores)), layout["tasks"])
    artifact.write_text(args.md, page(trials, layout, limits))
    read = artifact.fingerprints([*args.scores, args.experiment])
    artifact.record(args.out, resolved(args), read, beside=[args.md])
