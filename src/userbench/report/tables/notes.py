"""What a reader of Table 2 must know of its scores: the sentences below the table."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from userbench.report.tables.cells import number
from userbench.report.tables.data_origin import SIMULATED
from userbench.report.tables.frozen import is_frozen

FILES_NAMED = 6
"""At most so many missing files are named below a table."""


def measurement_notes(
    summary: pd.DataFrame, scores: pd.DataFrame, layout: dict[str, Any], limits: dict[str, str]
) -> list[str]:
    """What a reader must know about how the scores were measured, a sentence each.

    `limits` are those of `limits_of`.
    """
    tasks, ranked = layout["tasks"], summary[summary["ranked"]]
    notes = [
        *simulated_notes(tasks),
        *seed_notes(ranked, tasks),
        *limit_notes(limits, tasks),
        *failed_notes(scores, layout, limits),
        *missing_seeds(scores, layout),
        *candidate_notes(scores, layout),
        *width_notes(ranked),
        "Std is the sample standard deviation (n − 1) over seeds; one seed has none.",
        *example_notes(scores, tasks),
    ]
    if layout["baselines"]:
        frozen = "; item counts have the head of the rows, and one seed"
        seeds = frozen if is_frozen(layout) else " and do not depend on the seed"
        notes.append(f"References are not ranked{seeds}.")
    if any("@" in task["metric"] for task in tasks):
        notes.append(
            "NDCG, HR and MRR rank the full catalogue, without the user's other known positives."
        )
    return notes


def folder_of(layout: dict[str, Any]) -> str:
    """The folder of the experiment that has the score files of a table."""
    return layout.get("folder", "finetune")


def simulated_notes(tasks: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence on the columns of simulated data, if there are any."""
    if not any(task["simulated"] for task in tasks):
        return []
    return [
        f"Columns marked{SIMULATED} were measured on generated data: they say nothing about real "
        "users and cannot be compared with published figures."
    ]


def seed_notes(ranked: pd.DataFrame, tasks: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence on the number of seeds, of each row if they differ."""
    seeds = ranked[[f"{task['task']}.seeds" for task in tasks]]
    fewest, most = seeds.min(axis=1), seeds.max(axis=1)
    numbers = {*fewest.dropna(), *most.dropna()}
    if len(numbers) == 1:
        return [f"Seeds: {numbers.pop()}."]
    each = zip(ranked["label"], fewest, most, strict=True)
    listed = ", ".join(f"{label} {low} to {high}" for label, low, high in each)
    return [f"The number of seeds differs: {listed}."] if numbers else []


def example_notes(scores: pd.DataFrame, tasks: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence on the numbers of test examples, of the tasks that have any."""
    test = scores[scores["split"] == "test"]
    counts = test.groupby("task")["examples"].first()
    known = [f"{t['label']} {counts[t['task']]:,}" for t in tasks if t["task"] in counts]
    return [f"Test examples: {', '.join(known)}."] if known else []


def limits_of(facts: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Why tasks cannot be scored, whatever the run, of those that cannot."""
    return {task: known["limit"] for task, known in facts.items() if "limit" in known}


def limit_notes(limits: dict[str, str], tasks: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence on each task that cannot be scored."""
    labels = {task["task"]: task["label"] for task in tasks if task["task"] in limits}
    return [f"{label} cannot be scored: {limits[task]}." for task, label in labels.items()]


def failed_notes(
    scores: pd.DataFrame, layout: dict[str, Any], limits: Collection[str]
) -> list[str]:
    """A sentence on each cell of which seeds failed, with the file that says why.

    None on the tasks in `limits`, which cannot be scored.
    """
    notes = []
    failed = scores[scores["value"].isna() & ~scores["task"].isin(limits)]
    for row in layout["rows"]:
        for task in layout["tasks"]:
            own = (failed["run"] == row["run"]) & (failed["task"] == task["task"])
            if seeds := list(map(str, failed.loc[own, "seed"])):
                which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"
                why = f"{folder_of(layout)}/{row['run']}/{task['task']}/seed{seeds[0]}.json"
                notes.append(
                    f"{row['label']} on {task['label']} has no score: {which} failed ({why} says "
                    "why)."
                )
    return notes


def missing_seeds(scores: pd.DataFrame, layout: dict[str, Any]) -> list[str]:
    """A sentence on the score files that some ranked rows have and others lack, with the remedy."""
    test = scores[scores["split"] == "test"]
    runs = {row["run"]: row["label"] for row in layout["rows"]}
    seeds = sorted(test.loc[test["run"].isin(runs), "seed"].unique())
    there = set(zip(test["run"], test["task"], test["seed"], strict=True))
    tasks = [task["task"] for task in layout["tasks"] if task["task"] in set(test["task"])]
    missing = [
        f"seed {seed} of {label} ({folder_of(layout)}/{run}/{task}/seed{seed}.json)"
        for run, label in runs.items()
        for task in tasks
        for seed in seeds
        if (run, task, seed) not in there
    ]
    if not missing:
        return []
    others = f" and {len(missing) - FILES_NAMED} others" if len(missing) > FILES_NAMED else ""
    return [
        f"Missing: {', '.join(missing[:FILES_NAMED])}{others}. Give these files to the command "
        "`scores`, too; those that were never made, the workflow makes once the seed is in the "
        "config's `seeds`."
    ]


def fact_notes(facts: dict[str, dict[str, Any]], layout: dict[str, Any]) -> list[str]:
    """What the data of each task mean for its scores, a sentence each, as far as it is known."""
    notes, known = [], [task for task in layout["tasks"] if task["task"] in facts]
    notes += history_notes(known, facts, layout.get("given", []))
    for task in known:
        for part, count in facts[task["task"]].get("without_rival", {}).items():
            notes.append(
                f"{task['label']}: {count:,} pairs of {part} are left out, as their users know all "
                "other candidates."
            )
    for task in known:
        if share := facts[task["task"]].get("test_users_in_train"):
            also = f"{share:.0%} of the test users also have training examples."
            notes.append(f"{task['label']}: {also}")
    for task in known:
        if constant := facts[task["task"]].get("constant"):
            points = {ties: number(100 * value) for ties, value in constant.items()}
            notes.append(
                f"A constant score would get {points['pessimistic']} on {task['label']} (ties "
                f"against the target), {points['stable']} with stable ties and {points['random']} "
                "in random order."
            )
    return notes


def history_notes(
    tasks: Sequence[dict[str, Any]], facts: dict[str, dict[str, Any]], given: Sequence[str]
) -> list[str]:
    """A sentence on the tasks in which some users have done more than an encoder reads, if any.

    What rows of `given` vectors were made of is not known.
    """
    longer = [task for task in tasks if facts[task["task"]].get("longer_histories")]
    if not longer:
        return []
    shares = [f"{task['label']} {facts[task['task']]['longer_histories']:.0%}" for task in longer]
    most = facts[longer[0]["task"]]["max_length"]
    rows = f"All rows but {' and '.join(given)}" if given else "All rows"
    return [
        f"Test users with more than {most} behaviours: {', '.join(shares)}. {rows} read the "
        f"latest {most}, bag-of-items, too; only the bag of the whole history reads all of them."
    ]


def candidate_notes(scores: pd.DataFrame, layout: dict[str, Any]) -> list[str]:
    """A sentence on the candidates among which validation chose, where any row had several."""
    labels = {row["run"]: row["label"] for row in layout["rows"]}
    own = scores[(scores["split"] == "validation") & scores["run"].isin(labels)]
    each = own[["run", "task", "seed", "pretrain_epoch", "start"]].drop_duplicates()
    # Why the most: a candidate that failed has no scores.
    counts = each.groupby(["run", "task", "seed"]).size().groupby("run").max()
    if counts.max() == 1 or not len(counts):
        return []
    if counts.nunique() == 1:
        how_many = f"{counts.iloc[0]} candidates of every row"
    else:
        several = ", ".join(f"{labels[run]} {counts[run]}" for run in labels if run in counts)
        how_many = f"unequal numbers of candidates: {several}"
    return [
        f"Validation chose among {how_many} (checkpoints of pre-training; without it, random "
        "initialisations)."
    ]


def width_notes(ranked: pd.DataFrame) -> list[str]:
    """A sentence on the lengths of user vectors where rows differ in it, the usual one first."""
    known = ranked.dropna(subset="width")
    counts = known["width"].value_counts(sort=False)
    if len(counts) < 2:
        return []
    usual = counts.idxmax()
    others = known[known["width"] != usual]
    whose = (others["label"] + "'s").groupby(others["width"])
    each = [f"{' and '.join(labels)} are {width}" for width, labels in whose]
    return [f"User vectors are {usual} wide; {', '.join(each)}."]
