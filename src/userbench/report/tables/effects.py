"""Measure how far each switch of the ambiguity ledger moves each task.

userbench effects --scores scores.csv --predictions FILE...
    --experiment experiment.json [--curves pretrain/<run>/<corpus>/seed<k>/curve.json...]
    --out effects.csv
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from userbench import command_line
from userbench.errors import command
from userbench.experiment.ledger import Entry, switches
from userbench.experiment.validation import validated
from userbench.report.curves import place_of
from userbench.report.experiment import check_once, layout_of
from userbench.report.statistics.inference import LEVEL, NO_USER_NOISE, Noise, of_runs, tail
from userbench.report.statistics.multiple_tests import holm
from userbench.report.statistics.resampling import resample
from userbench.results import artifact
from userbench.results.contents import HeldOut
from userbench.results.scores import read_scores
from userbench.results.tables import resolved, write_csv

COLUMNS = {
    **{"entry": str, "value": str, "against": str, "run": str, "base": str},
    **{"task": str, "label": str, "metric": str, "data": str, "simulated": bool, "seeds": int},
    **{"difference": float, "std": float, "test_std": float, "test_users": int},
    **{"collapsed": bool, "clear": bool, "examples": int, "base_examples": int},
    "held_out": str,
}


class OtherUsers(NamedTuple):
    """Variance of a mean difference over other test users, and the number of users that it was
    estimated from; whether a seed of it predicts the same for every example."""

    variance: float = np.nan
    users: int = 0
    collapsed: bool = False


def measure(
    scores: pd.DataFrame,
    layout: dict[str, Any],
    other_users: Mapping[tuple[str, str], OtherUsers] | None = None,
    held_out: Mapping[tuple[str, str], dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """How far each run of the layout is from the base run: a row (COLUMNS) per task.

    Differences of test scores in points, over the seeds of both; `std` is their sample standard
    deviation (NaN of one seed), both are NaN where a fit failed; `clear` is `beyond_chance`. A task
    of which the base has no score (its corpus is absent) is left out. `test_std` (NaN where
    unknown), `test_users` and `collapsed` come from `other_users`, by run and task; `held_out` is
    the entry of the run and the corpus in `held_out`, as JSON, with the task of the row alone.

    Raises:
        ValueError: a run and the base have no seed of a task in common.
    """
    test, known = scores[scores["split"] == "test"], other_users or {}
    rows = []
    for run in layout["runs"]:
        for task in layout["tasks"]:
            base = scores_by_seed(test, layout["base"], task)
            if not len(base):
                continue
            own = scores_by_seed(test, run["run"], task)
            paired = own.join(base, rsuffix="_base", how="inner").sort_index()
            if not len(paired):
                raise ValueError(
                    f"task {task['task']!r}: {run['run']!r} and {layout['base']!r} have no seed in "
                    "common. Fine-tune both with the same seeds."
                )
            points = 100 * (paired["value"] - paired["value_base"])
            others = known.get((run["run"], task["task"]), OtherUsers())
            rows.append(
                {
                    **{"entry": run["entry"], "run": run["run"], "base": layout["base"]},
                    **{key: json.dumps(run[key]) for key in ("value", "against")},
                    **{key: task[key] for key in ("task", "label", "metric", "simulated")},
                    "data": layout["caption_data"],
                    "seeds": len(points),
                    # Why not of the seeds that are left where a fit failed: it flatters.
                    "difference": round(points.mean(skipna=False), 4),
                    "std": round(points.std(skipna=False), 4),
                    "test_std": round(np.sqrt(others.variance), 4),
                    "test_users": others.users,
                    "collapsed": others.collapsed,
                    "clear": False,
                    "examples": paired["examples"].iloc[0],
                    "base_examples": paired["examples_base"].iloc[0],
                    "held_out": of_task(
                        held_out or {}, run["run"], paired["corpus"].iloc[0], task["task"]
                    ),
                }
            )
    effects = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return effects.assign(clear=clear_cells(effects))


def of_task(
    held_out: Mapping[tuple[str, str], dict[str, Any]], run: str, corpus: str, task: str
) -> str:
    """The users left out, as JSON, with this task alone; empty where none were."""
    if (run, corpus) not in held_out:
        return ""
    counts = held_out[run, corpus]
    own = {name: tested for name, tested in counts["tasks"].items() if name == task}
    return json.dumps({"corpus": corpus, **counts, "tasks": own})


def read_held_out(paths: Sequence[Path]) -> dict[tuple[str, str], dict[str, Any]]:
    """`HeldOut` by run and corpus, from the records of learning curves, of runs that have it.

    Raises:
        ValueError: a record is damaged, or seeds of a run differ in it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in paths:
        artifact.check_recorded(path)
        counts = artifact.provenance_of(path).get("held_out")
        if counts is None:
            continue
        validated(counts, HeldOut, str(artifact.provenance_path(path)))
        run, corpus, _ = place_of(path)
        if found.setdefault((run, corpus), counts) != counts:
            raise ValueError(
                f"{path}: other numbers of users were left out than with other seeds of {run}. "
                "Make all of them from the same splits"
            )
    return found


def of_test_users(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> dict[tuple[str, str], OtherUsers]:
    """The `other_users` of `measure`, by resampling the predictions of its runs.

    Raises:
        ValueError: predictions are missing, or not those of the scores.
    """
    runs, base = [run["run"] for run in layout["runs"]], layout["base"]
    test = scores[(scores["split"] == "test") & scores["run"].isin([base, *runs])]
    found = {}
    for task, resampled in resample(test, layout["tasks"], predictions).items():
        for run in runs:
            common = resampled.seeds(run) & resampled.seeds(base)
            if common:
                noise = resampled.noise(common, run, base)
                bad = resampled.collapsed_seeds(run) | resampled.collapsed_seeds(base)
                users = round(float(noise.df)) + 1
                found[run, task] = OtherUsers(float(noise.variance), users, bool(bad & common))
    return found


def scores_by_seed(test: pd.DataFrame, run: str, task: dict[str, Any]) -> pd.DataFrame:
    """Test score and number of test examples of one run and task, by seed."""
    own = (test["run"] == run) & (test["task"] == task["task"]) & (test["metric"] == task["metric"])
    return test[own].set_index("seed")[["value", "examples", "corpus"]]


def clear_cells(effects: pd.DataFrame) -> Bool[np.ndarray, " cells"]:
    """Which cells of an effects table are `beyond_chance`; none of which a seed has collapsed."""
    trusted = effects.assign(std=effects["std"].mask(effects["collapsed"], 0.0))
    over_seeds = (trusted[name].to_numpy(float) for name in ("difference", "std", "seeds"))
    variance = effects["test_std"].fillna(0).to_numpy() ** 2
    users = Noise(variance, np.maximum(effects["test_users"].to_numpy(float) - 1, 1))
    return beyond_chance(*over_seeds, users)


def beyond_chance(
    difference: Float[np.ndarray, "*tables cells"],
    std: Float[np.ndarray, "*tables cells"],
    seeds: Num[np.ndarray, "*tables cells"],
    test_users: Noise = NO_USER_NOISE,
) -> Bool[np.ndarray, "*tables cells"]:
    """Whether a paired difference is significant at 5% among all cells of its table.

    Over seeds, and over test users where their noise is given (`inference.tail`), with Holm's
    adjustment over the cells, which may all share the base run. A difference without any spread
    counts as a test, and is never significant.
    """
    p = tail(difference, of_runs(np.where(std > 0, std, np.nan), seeds), test_users)
    p = np.where(std > 0, p, 1.0)
    return holm(np.where(np.isnan(std), np.nan, p)) < LEVEL


def read_effects(path: Path, entries: Sequence[Entry]) -> pd.DataFrame:
    """Read effects.csv.

    Raises:
        ValueError: it is another file, or has an entry or a value that the ledger does not have.
    """
    try:
        effects = pd.read_csv(
            path,
            dtype=COLUMNS,
            keep_default_na=False,
            na_values=dict.fromkeys(("std", "difference", "test_std"), [""]),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Make it again with the command effects.") from error
    if list(effects.columns) != list(COLUMNS):
        raise ValueError(f"{path}: the columns must be {', '.join(COLUMNS)}. Make it again.")
    values = {
        switch.id: [choice.value for choice in switch.choices] for switch in switches(entries)
    }
    for entry, value in zip(effects["entry"], effects["value"], strict=True):
        if json.loads(value) not in values.get(entry, []):
            raise ValueError(f"{path}: the ledger has no choice {value} of {entry!r}")
    return effects


@command
def main(argv: list[str] | None = None) -> None:
    """Write effects.csv; an error in the input is reported in one line."""
    parser = command_line.parser("effects", __doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv")
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="*",
        action="extend",
        default=[],
        metavar="FILE",
        help="of test users",
    )
    parser.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="who was left out"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout = layout_of(args.experiment, "effects")
    check_once((run["run"] for run in layout["runs"]), str(args.experiment))
    check_once((task["task"] for task in layout["tasks"]), str(args.experiment))
    scores = read_scores(args.scores)
    others = of_test_users(scores, layout, args.predictions) if args.predictions else None
    write_csv(args.out, measure(scores, layout, others, read_held_out(args.curves)))
    read = [args.scores, args.experiment, *args.predictions, *args.curves]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))
