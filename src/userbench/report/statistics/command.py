"""Test which rows of Table 2 differ: from the row compared with, and from every other row.

userbench statistics --scores scores.csv --predictions FILE...
    --experiment experiment.json --csv statistics.csv --md statistics.md
    --aggregate-csv aggregate.csv --aggregate-md aggregate.md

The rows and tasks are those of Table 2 or, with `--table frozen`, of the table of the frozen
protocol. Every comparison of rows counts two kinds of noise: that of the seeds, and that of the
test users (`inference`, docs/statistics.md). The first pair of files compares rows task by task,
the second over all tasks.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.markup import render
from userbench.report.statistics.aggregate import AGAINST, DECIMALS, aggregate
from userbench.report.statistics.inference import (
    LEVEL,
    Noise,
    confidence_interval,
    sample,
    seed_noise,
    user_noise,
)
from userbench.report.statistics.multiple_tests import against_all_others, holm, holm_over_all
from userbench.report.statistics.paired_scores import PairedScores, collect
from userbench.report.statistics.row_differences import Guess, decision, differences, guess_seeds
from userbench.report.tables.cells import interval, number
from userbench.report.tables.computation import scored_files
from userbench.report.tables.data_origin import SIMULATED, data_statement
from userbench.report.tables.headline import sentences
from userbench.report.tables.notes import limit_notes, limits_of
from userbench.report.tables.table2_layout import add_table_flag, read_table2_layout
from userbench.results import artifact
from userbench.results.scores import read_facts, read_scores
from userbench.results.tables import resolved, write_csv


def statistics(found: PairedScores) -> pd.DataFrame:
    """A row per task and row or baseline that has a score of it.

    In percent and points: `mean` over seeds, its `std` over seeds, `test_std`, its standard
    deviation over other test users, its 95% interval `low` to `high` over both; `note`, why it
    cannot be compared. For both of AGAINST, after its name and a dot: the `run` compared with, the
    `difference`, `p`, `p_holm` adjusted over the tasks, `verdict`. For the row compared with also
    `std`, `test_std`, `low`, `high` of the paired difference, and `p_table`, adjusted over all
    cells. What is unknown is NaN.
    """
    over_seeds = sample(found.values)
    users = user_noise(found.draws.mean(-1), found.users[:, None])
    estimate = confidence_interval(over_seeds.mean, seed_noise(over_seeds), users)
    shape = over_seeds.mean.shape
    ranked = np.broadcast_to(np.arange(shape[1]) < found.n_rows, shape)
    columns = {
        **{key: column(found.tasks, key, shape, axis=0) for key in ("task", "label", "metric")},
        "data": [["simulated" if t["simulated"] else "real"] * shape[1] for t in found.tasks],
        "run": column(found.entries, "run", shape, axis=1),
        "row": column(found.entries, "label", shape, axis=1),
        "ranked": ranked.astype(int),
        "seeds": np.where(ranked, len(found.seeds), 1),
        "mean": estimate.value,
        "std": np.where(ranked, over_seeds.std, np.nan),
        "low": np.where(ranked, estimate.low, np.nan),
        "high": np.where(ranked, estimate.high, np.nan),
        "test_std": np.sqrt(users.variance),
        "note": found.notes,
    }
    for name, compare in zip(AGAINST, (with_one_row, with_all_others), strict=True):
        columns |= {f"{name}.{key}": value for key, value in compare(found).items()}
    table = pd.DataFrame({key: np.ravel(np.asarray(value)) for key, value in columns.items()})
    scored = table["mean"].notna() | (table["note"] != "")
    return table[scored].round(DECIMALS)


def column(
    entries: Iterable[dict[str, Any]], key: str, shape: tuple[int, ...], axis: int
) -> np.ndarray:
    """One key of the tasks (axis 0) or entries (axis 1), for every cell."""
    values = np.array([entry[key] for entry in entries], dtype=object)
    return np.broadcast_to(np.expand_dims(values, 1 - axis), shape)


def with_one_row(found: PairedScores) -> dict[str, Any]:
    """Columns of `statistics` on the differences to the row compared with; empty in that row."""
    tested = differences(found, np.array([found.compared_with]))
    mean, std, p = (part[..., 0] for part in (tested.mean, tested.std, tested.p))
    seeds, users = (
        Noise(*(np.broadcast_to(part, tested.mean.shape)[..., 0] for part in noise))
        for noise in (tested.seeds, tested.users)
    )
    bounds = confidence_interval(np.where(np.isnan(p), np.nan, mean), seeds, users)
    p_holm = holm(p.T).T
    strictest = LEVEL / np.isfinite(p).sum(0).clip(1)  # of the levels of Holm's procedure
    level = np.broadcast_to(strictest, p.shape)
    guesses = guess_seeds(mean, std, len(found.seeds), level, users)
    runs = [entry["run"] for entry in found.entries]
    other = np.arange(len(runs)) != found.compared_with
    verdicts = np.full(p.shape, "", dtype=object)
    for task, entry in np.argwhere(np.broadcast_to(other, p.shape)):
        notes = [
            f"{found.entries[of]['label']}: {found.notes[task, of]}"
            for of in (entry, found.compared_with)
            if found.notes[task, of]
        ]
        guess = Guess(*(part[task, entry] for part in guesses))
        verdicts[task, entry] = decision(
            mean[task, entry], std[task, entry], p_holm[task, entry], "; ".join(notes), guess
        )
    return {
        "run": np.broadcast_to(np.where(other, runs[found.compared_with], ""), p.shape),
        "difference": mean,
        "std": np.where(other, std, np.nan),
        "test_std": np.where(other, np.sqrt(users.variance), np.nan),
        "low": bounds.low,
        "high": bounds.high,
        "p": p,
        "p_holm": p_holm,
        "p_table": holm_over_all(p),
        "verdict": verdicts,
    }


def with_all_others(found: PairedScores) -> dict[str, Any]:
    """Columns of `statistics` on all other rows at once; empty for a single row."""
    tested = differences(found, np.arange(found.n_rows))
    itself = np.eye(len(found.entries), found.n_rows, dtype=bool)
    # Why 0: no row is better than every other one while one of them has a failed fit.
    p = against_all_others(np.where(itself, np.nan, np.nan_to_num(tested.mean)), tested.p)
    p_holm = holm(p.T).T
    shortfall = np.where(np.isnan(tested.mean), np.inf, tested.mean)
    best = shortfall.argmin(-1)  # the row of the highest mean is the one least exceeded
    difference = np.take_along_axis(tested.mean, best[..., None], axis=-1)[..., 0]
    runs = np.array([entry["run"] for entry in found.entries], dtype=object)
    decided = np.where(difference > 0, "better", "worse")
    verdicts = np.where(p_holm < LEVEL, decided, "undecided")
    return {
        "run": np.where(np.isnan(difference), "", runs[best]),
        "difference": difference,
        "p": p,
        "p_holm": p_holm,
        "verdict": np.where(np.isnan(difference), "", verdicts),
    }


def statistics_page(
    table: pd.DataFrame, layout: dict[str, Any], limits: dict[str, str] | None = None
) -> str:
    """`statistics` as Markdown: a table per task, and why those of `limits` cannot be scored."""
    tasks = [
        {
            "title": label + SIMULATED * (data == "simulated"),
            "metric": metric,
            "cells": [shown(cell) for _, cell in cells.iterrows()],
        }
        for (label, metric, data), cells in table.groupby(["label", "metric", "data"], sort=False)
    ]
    return render(
        "statistics.md",
        data=data_statement(layout),
        sentences=sentences(table, layout),
        tasks=tasks,
        level=LEVEL,
        limits=limit_notes(limits or {}, layout["tasks"]),
    )


def shown(cell: pd.Series) -> list[str]:
    """One row of a task, as shown."""
    note = f" ({cell['note']})" if cell["note"] else ""
    tested = {
        name: [
            "–" if pd.isna(cell[f"{name}.p_holm"]) else f"{cell[f'{name}.p_holm']:.3f}",
            cell[f"{name}.verdict"],
        ]
        for name in AGAINST
    }
    return [
        cell["row"] + note,
        f"{interval(*cell[['mean', 'low', 'high']])} ± {number(cell['test_std'])}",
        interval(*(cell[f"baseline.{key}"] for key in ("difference", "low", "high"))),
        *tested["baseline"],
        cell["best_other.run"],
        number(cell["best_other.difference"]),
        *tested["best_other"],
    ]


def aggregate_page(table: pd.DataFrame, layout: dict[str, Any]) -> str:
    """`aggregate` as Markdown."""
    names = ("rank", "improvement", *(f"{name}.probability" for name in AGAINST))
    rows = [
        [
            row["row"],
            *(interval(*row[[name, f"{name}_low", f"{name}_high"]]) for name in names),
            row["best_other.run"],
        ]
        for _, row in table.iterrows()
    ]
    return render("aggregate.md", data=data_statement(layout), rows=rows)


@command
def main(argv: list[str] | None = None) -> None:
    """Write both tables, each with its page; an error in the input is reported in one line."""
    parser = command_line.parser("statistics", __doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv")
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="of test users",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    add_table_flag(parser)
    for name in ("csv", "md", "aggregate-csv", "aggregate-md"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout = read_table2_layout(args.experiment, args.table)
    # Why one command for both: it draws the test users of every prediction again.
    scores, limits = read_scores(args.scores), {}
    if scores["value"].isna().any():  # else every task is scored
        limits = limits_of(read_facts(scored_files(args.scores)))
    found = collect(scores, layout, args.predictions, limits)
    read = artifact.fingerprints([args.scores, args.experiment, *args.predictions])
    for table, page, csv, md in (
        (statistics(found), partial(statistics_page, limits=limits), args.csv, args.md),
        (aggregate(found), aggregate_page, args.aggregate_csv, args.aggregate_md),
    ):
        write_csv(csv, table)
        artifact.write_text(md, page(table, layout))
        artifact.record(csv, resolved(args), read, beside=[md])
