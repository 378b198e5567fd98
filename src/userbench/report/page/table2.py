"""Table 2 of the page, with the story of each cell and the processes behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userbench.report.experiment import read_layouts
from userbench.report.page.jobs import cost_per_row, gather_jobs, without_pauses
from userbench.report.page.shown import shown
from userbench.report.page.stories import (
    add_verdicts,
    describe_cells,
    describe_encoder,
    distinct_environments,
    encoder_name,
    read_story,
)
from userbench.report.statistics.significance import UNTESTED, Significance, read_significance
from userbench.report.tables.computation import computation_notes
from userbench.report.tables.summary import summarise
from userbench.report.tables.table2 import arrange
from userbench.report.tables.table2_layout import read_table2_layout
from userbench.report.tables.training import read_training_of_rows
from userbench.results import artifact
from userbench.results.scores import read_facts, read_scores


def table2_of(folder: Path, config: Sequence[str]) -> dict[str, Any]:
    """Table 2 with its stories and jobs; empty where the experiment has none.

    Raises:
        ValueError: a file is not what its rule writes.
    """
    csv, table2, experiment = (
        folder / name for name in ("scores.csv", "table2.csv", "experiment.json")
    )
    layouts = read_layouts(experiment)
    if layouts.table2 is None or not (csv.exists() and table2.exists()):
        return {}
    layout, scores = read_table2_layout(experiment), read_scores(csv)
    summary = summarise(scores, layout)
    layout["baselines"] = [row for row in layout["baselines"] if row["run"] in set(summary["run"])]
    rows = layout["rows"] + layout["baselines"]
    labels = {row["run"]: row["label"] for row in rows}
    files = artifact.provenance_of(csv).get("config", {}).get("scores", [])
    stories = [one for one in map(read_story, map(Path, files)) if one.score["run"] in labels]
    chain = list({one.checkpoint: None for one in stories if one.checkpoint})
    encoders = {encoder_name(checkpoint): describe_encoder(checkpoint) for checkpoint in chain}
    starts = {Path(e["start"]["file"]) for e in encoders.values() if e["start"]}
    # One process trains all epochs of an encoder; several of its checkpoints may be in use.
    trained = {encoder_name(checkpoint): checkpoint for checkpoint in (*chain, *sorted(starts))}
    jobs = gather_jobs(folder, stories, trained.values())
    whose = {one.score["run"]: one.checkpoint.parts[-4] for one in stories if one.checkpoint}
    curves = list(map(Path, artifact.provenance_of(table2).get("config", {}).get("curves", [])))
    training = None
    if layouts.training is not None:
        training = read_training_of_rows(experiment, curves)
    computed = computation_notes([*curves, *(one.path for one in stories)])
    facts = read_facts(one.path for one in stories)
    significance = significance_of(folder, layout)
    cells = describe_cells(summary, layout, stories, config)
    add_verdicts(cells, folder / "verdict.csv", layout)
    return {
        "table": arrange(summary, scores, layout, facts, significance, training, computed),
        "layout": layout,
        "baseline": labels[layout["compared_with"]],
        "cells": cells,
        "encoders": encoders,
        "labels": labels,
        "jobs": without_pauses(jobs),
        "cost": shown("cost", cost_per_row(jobs, whose, labels)),
        "environments": distinct_environments(stories, encoders),
    }


def significance_of(folder: Path, layout: dict[str, Any]) -> Significance:
    """The tests and sentences of the experiment's statistics; none where it has no statistics."""
    statistics, agreement = folder / "statistics.csv", folder / "agreement.csv"
    if not statistics.exists():
        return UNTESTED
    return read_significance(statistics, layout, agreement if agreement.exists() else None)
