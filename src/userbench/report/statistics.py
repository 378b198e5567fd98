"""Score files, checked, to one tidy frame, and that to means over seeds beside published ones."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from userbench.experiment.validation import parse_json, validated
from userbench.report.experiment import layout_of
from userbench.results.artifact import check_recorded
from userbench.results.contents import FailedFit, Fit

PUBLISHED_TABLE1 = Path(__file__).with_name("paper_table1.csv")
PUBLISHED_TABLE2 = Path(__file__).with_name("paper_table2.csv")
DATASETS = {"ttl": "TTL", "app": "App"}  # raw format: the paper's name
QUANTITIES = {
    **{"behavior_sequences": "Int64", "different_behaviors": "Int64"},
    **{"avg_sequence_length": float, "samples": "Int64", "labels_or_items": "Int64"},
}
SCORE_COLUMNS = {
    **{"corpus": str, "run": str, "task": str, "seed": int, "metric": str, "split": str},
    **{"pretrain_epoch": int, "start": int, "epoch": int},
    **{"examples": int, "width": "Int64", "value": float},
}
IDENTITY = [name for name in SCORE_COLUMNS if name not in ("examples", "width", "value")]


def read_score_content(path: Path) -> dict[str, Any]:
    """The content of a score file; ValueError, naming it, where it is none."""
    content = parse_json(path.read_bytes(), str(path))
    failed = isinstance(content, dict) and "failed" in content
    validated(content, FailedFit if failed else Fit, str(path))
    return content


def read_score_file(path: Path) -> list[dict[str, Any]]:
    """One row (a dict with SCORE_COLUMNS) per value of a score file; of a failed fit, one of NaN.

    None of a reference whose scores are those of another one.

    Raises:
        ValueError: the file is not what `finetune` or `references` writes, or is inconsistent.
    """
    check_recorded(path)
    try:
        content = read_score_content(path)
        if "failed" in content:
            none = {"pretrain_epoch": 0, "epoch": 0, "split": "test", "value": float("nan")}
            content |= {"best": none, "scores": [none | {"metric": content["metric"]}]}
        tested = [score for score in content["scores"] if score["split"] == "test"]
        if {place_of(score) for score in tested} != {place_of(content["best"])}:
            best = ", ".join(f"{name} {value}" for name, value in content["best"].items())
            raise ValueError(f"{path}: exactly the best epoch, {best}, must have test scores")
        if content["metric"] not in {score["metric"] for score in tested}:
            raise ValueError(f"{path}: no test score of its own metric, {content['metric']}")
    except ValueError as error:
        raise ValueError(f"{error}. Remove the file and run its rule again.") from error
    if "same_as" in content:
        return []
    shared = {name: content.get(name) for name in ("corpus", "run", "task", "seed", "width")}
    return [
        {"start": 1} | score | shared | {"examples": content["examples"][score["split"]]}
        for score in content["scores"]
    ]


def place_of(score: dict[str, Any]) -> tuple[int, ...]:
    """Candidate and epoch that a value of a score file is of: pretrain_epoch, start, epoch."""
    return score["pretrain_epoch"], score.get("start", 1), score["epoch"]


def read_facts(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """`Facts` of each task, of those of these reference files that are there and have any."""
    found = {}
    for path in filter(Path.exists, paths):
        check_recorded(path)
        content = read_score_content(path)
        found |= {content["task"]: content["facts"]} if "facts" in content else {}
    return found


def gather_scores(paths: Sequence[Path]) -> pd.DataFrame:
    """All values of these score files as one tidy frame (SCORE_COLUMNS), sorted.

    A file that says its scores are those of another reference again (`same_as`) is left out.

    Raises:
        ValueError: a bad file, or one value given twice.
    """
    files = ((path, read_score_file(path)) for path in paths)
    frames = [pd.DataFrame(rows).assign(file=str(path)) for path, rows in files if rows]
    scores = pd.concat(frames)
    again = scores[scores.duplicated(IDENTITY)]
    if len(again):
        row = again.iloc[0]
        what = ", ".join(f"{name} {row[name]}" for name in IDENTITY)
        raise ValueError(f"{row['file']}: a second value for {what}. Give every score file once.")
    scores = scores[list(SCORE_COLUMNS)].astype({"width": "Int64"})
    return scores.sort_values(IDENTITY, ignore_index=True)


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `gather_scores` wrote.

    Raises:
        ValueError: the columns are not SCORE_COLUMNS, or a field is not of its type.
    """
    check_recorded(path)
    try:
        scores = pd.read_csv(
            path,
            dtype=SCORE_COLUMNS,
            keep_default_na=False,
            na_values={"width": [""], "value": [""]},
            float_precision="round_trip",
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: {error}. Make it again with the command scores.") from error
    if list(scores.columns) != list(SCORE_COLUMNS):
        raise ValueError(f"{path}: the columns must be {', '.join(SCORE_COLUMNS)}. Make it again.")
    may_be_empty = (scores["split"] == "test") & (scores["epoch"] == 0) & scores["width"].notna()
    if len(lost := scores[scores["value"].isna() & ~may_be_empty]):
        line = lost.index[0] + 2  # the first row stands below the header
        raise ValueError(f"{path}: line {line} has no value. Make it again.")
    return scores


def read_table(
    path: Path, texts: Sequence[str], numbers: Sequence[str], made_by: str
) -> pd.DataFrame:
    """These columns of a table of ours: texts that may be empty, numbers that may be NaN.

    Raises:
        ValueError: the file was changed, a column is not there, or a field is no number.
    """
    check_recorded(path)
    again = f"Make it again with {made_by}"
    present = pd.read_csv(path, nrows=0).columns
    if lacking := [name for name in (*texts, *numbers) if name not in present]:
        raise ValueError(f"{path}: no column {', '.join(lacking)}. {again}")
    try:
        return pd.read_csv(
            path,
            usecols=[*texts, *numbers],
            dtype=dict.fromkeys(texts, str) | dict.fromkeys(numbers, float),
            keep_default_na=False,
            na_values=dict.fromkeys(numbers, [""]),
            float_precision="round_trip",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}. {again}") from error


def check_once(names: Iterable[str], source: str) -> None:
    """ValueError where one of these names is there twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{source}: {name!r} is named twice")


def read_layout(path: Path) -> dict[str, Any]:
    """Layout of Table 2 of experiment.json.

    Raises:
        ValueError: the experiment has no Table 2, or a name is unknown or there twice.
    """
    layout = layout_of(path, "table2")
    check_once((row["run"] for row in layout["rows"] + layout["references"]), str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    compared_with = layout["compared_with"]
    if compared_with not in {row["run"] for row in layout["rows"]}:
        raise ValueError(f"{path}: compared_with {compared_with!r} is not among the rows")
    check_published(layout, str(path))
    return layout


def check_published(layout: dict[str, Any], source: str) -> None:
    """Raise ValueError where the layout names a published row, task or metric that is not there."""
    published = pd.read_csv(PUBLISHED_TABLE2, keep_default_na=False)
    metrics = dict(zip(published["task"], published["metric"], strict=True))
    for row in layout["rows"] + layout["references"]:
        if row["paper"] is not None and row["paper"] not in set(published["method"]):
            raise ValueError(f"{source}: the paper's Table 2 has no row {row['paper']!r}")
    for task in layout["tasks"]:
        if task["paper"] is not None and metrics.get(task["paper"]) != task["metric"]:
            raise ValueError(
                f"{source}: the paper's Table 2 has no {task['metric']} of {task['paper']!r}"
            )


def published_table2() -> pd.DataFrame:
    """Table 2 of the paper: mean, std and improvement in percent by (method, task)."""
    return pd.read_csv(PUBLISHED_TABLE2, keep_default_na=False, na_values=[""]).set_index(
        ["method", "task"]
    )


def summarise(scores: pd.DataFrame, layout: dict[str, Any]) -> pd.DataFrame:
    """Table 2 as numbers: one row per run and scored reference, percentages, over seeds.

    Per task: mean, sample std (n - 1), number of seeds, relative improvement over the baseline in
    percent, and the published mean and std; per row, the length of its user vectors (width).
    Missing figures are NaN: of a reference that does not do a task or has no user vectors, of a
    task nobody has scores for (its corpus is absent), of a std over one seed, of a cell of which a
    seed failed (which counts among its seeds).

    Raises:
        ValueError: a ranked run lacks a task that others have, or runs differ in test examples, or
            one run has user vectors of different widths.
    """
    having = set(scores.loc[scores["split"] == "test", "run"])
    references = [entry for entry in layout["references"] if entry["run"] in having]
    entries = layout["rows"] + references
    summary = pd.DataFrame({key: [entry[key] for entry in entries] for key in ("run", "label")})
    summary["ranked"] = summary.index < len(layout["rows"])
    is_baseline = summary["run"] == layout["compared_with"]
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
        improvement = 100 * (mean / mean[is_baseline] - 1) if mean[is_baseline] > 0 else np.nan
        paper = published.reindex(keys((entry["paper"], task["paper"]) for entry in entries))
        summary[f"{name}.mean"] = mean.round(4)
        summary[f"{name}.std"] = (100 * own["std"].to_numpy()).round(4)
        summary[f"{name}.seeds"] = own["seeds"].astype("Int64").array
        summary[f"{name}.improvement"] = np.where(is_baseline, np.nan, improvement).round(4)
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


def keys(rows: Iterable[tuple[str | None, ...]]) -> pd.MultiIndex:
    """Look-up keys for `reindex`; a None in them finds nothing."""
    return pd.MultiIndex.from_tuples(list(rows))


def origin(tasks: Sequence[dict[str, Any]]) -> str:
    """What the figures of these tasks were measured on: real, simulated, or which is which."""
    simulated = [task["task"] for task in tasks if task["simulated"]]
    if len(simulated) in (0, len(tasks)):
        return ("simulated" if simulated else "real") if tasks else ""
    return f"simulated: {' '.join(simulated)}; others real"


def check_comparable(
    test: pd.DataFrame, task: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Raise ValueError unless all ranked runs have a task's metric, or none has any of it.

    And unless all its scores, the references' included, are over equally many test examples.
    """
    name, metric = task["task"], task["metric"]
    having = set(test.loc[test["metric"] == metric, "run"])
    lacking = [row["run"] for row in rows if row["run"] not in having]
    if len(test) and lacking:
        raise ValueError(
            f"task {name!r}: no test {metric} of {', '.join(lacking)}, though other scores of the "
            "task are there. Fine-tune these runs on it, or take them out of the layout."
        )
    if test["examples"].nunique() > 1:
        counts = ", ".join(map(str, sorted(test["examples"].unique())))
        raise ValueError(
            f"task {name!r}: scores over different numbers of test examples ({counts}) cannot be "
            "compared. Make all of them from the same splits."
        )


def read_table1_layout(path: Path) -> dict[str, Any]:
    """Layout of Table 1 of experiment.json; ValueError where it names a task the paper lacks."""
    layout = layout_of(path, "table1")
    known = set(pd.read_csv(PUBLISHED_TABLE1)["task"].dropna())
    for name, task in layout["tasks"].items():
        if task["paper"] is not None and task["paper"] not in known:
            raise ValueError(f"{path}: {name}: the paper's Table 1 has no task {task['paper']!r}")
    return layout


def describe_corpora(
    corpora: dict[str, dict[str, Any]],
    examples: dict[str, dict[str, Any]],
    tasks: dict[str, dict[str, Any]],
    simulated: Sequence[str],
) -> pd.DataFrame:
    """Table 1: a row per corpus and per task, each quantity as published and as counted.

    `corpora` are the manifests of behaviours by corpus, `examples` those of examples by task;
    `tasks` by name with their `corpus` and, where the paper has the task, its name there as
    `paper`. What has no manifest keeps its published values only. Samples of a task are its rows,
    i.e. users, as in the paper.

    Raises:
        ValueError: a corpus is called simulated that has no manifest, or a task that has one is of
            no corpus.
    """
    if unknown := sorted(set(examples) - set(tasks)):
        raise ValueError(f"--examples {unknown[0]}: the experiment has no task of this name")
    if unknown := sorted(set(simulated) - set(corpora)):
        raise ValueError(f"corpus {unknown[0]!r} is simulated, but no --store has this name")
    rows = []
    for corpus, manifest in corpora.items():
        counts = manifest["counts"]
        data = "simulated" if corpus in simulated else "real"
        here = {"dataset": DATASETS[manifest["format"]], "corpus": corpus, "data": data}
        whole = {
            "task": "",
            "behavior_sequences": counts["users"],
            "different_behaviors": counts["items"],
            "avg_sequence_length": round(counts["mean_length"], 2),
        }
        rows.append(here | whole)
        for name in (name for name in examples if tasks[name]["corpus"] == corpus):
            task = examples[name]["counts"]
            labels = task["candidates"] if "candidates" in task else len(task["classes"])
            shown = tasks[name].get("paper") or name
            rows.append(here | {"task": shown, "samples": task["rows"], "labels_or_items": labels})
    columns = ["dataset", "corpus", "task", "data", *QUANTITIES]
    measured = pd.DataFrame(rows, columns=columns).astype(QUANTITIES)
    published = pd.read_csv(PUBLISHED_TABLE1, dtype=QUANTITIES).fillna({"task": ""})
    table = published.merge(
        measured, on=["dataset", "task"], how="outer", suffixes=(".paper", ".measured")
    )
    pairs = [f"{quantity}.{side}" for quantity in QUANTITIES for side in ("paper", "measured")]
    table = table[["dataset", "corpus", "task", "description", "data", *pairs]]
    # Backwards by dataset is the paper's order: TTL, App. A corpus (no task) precedes its tasks.
    return table.sort_values(["dataset", "task", "corpus"], ascending=[False, True, True])
