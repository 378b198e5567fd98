"""Is each of the paper's figures reproduced? One verdict per cell of its Table 2.

python -m userbench.report.verdict --scores scores.csv --table1 table1.csv --agreement
    agreement.csv --layout JSON --margin '{"accuracy": 0.4, ..}' --csv verdict.csv --md verdict.md

The layout is that of Table 2 (`userbench.report.tables`). Margins are in points, by metric, and
stand in the config before anything is run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench import artifact
from userbench.mistakes import command
from userbench.report.inference import (
    LEVEL,
    MOST_SEEDS,
    Sample,
    seeds_to_tell,
    student_interval,
    three_sided_test,
)
from userbench.report.statistics import (
    an_object,
    check,
    parse_json,
    published_table2,
    read_layout,
    read_scores,
)
from userbench.report.tables import (
    interval,
    markdown_line,
    markdown_text,
    number,
    resolved,
    write_csv,
)

# The paper repeated each experiment five times; we take its std to be that of a sample.
PUBLISHED_RUNS = 5
# Why not none: lines that cannot be read are left out.
SAME_DATA = 0.01
SIDES = ("paper", "measured")
DECIMALS = 4
MARGIN = an_object(
    {name: {"type": "number", "exclusiveMinimum": 0} for name in ("accuracy", "auc", "ndcg@10")}
)
COLUMNS = [
    *("task", "metric", "method", "run", "data", "published_mean", "published_std"),
    *("published_runs", "seeds", "mean", "std", "low", "high", "difference", "difference_low"),
    *("difference_high", "margin", "p_better", "p_same", "p_worse", "verdict", "seeds_needed"),
    "reason",
]
TEXTS = ("task", "metric", "method", "run", "data", "verdict", "reason")
VERDICTS = ("reproduced", "better", "worse", "undecided", "not comparable")
NOTES = f"""
Published: mean±std of {PUBLISHED_RUNS} runs. Ours: mean over seeds, 95% interval (Student's t).
Difference: ours less published; its 90% interval (Welch's t) decides: within the margin,
reproduced; beyond it, better or worse; else undecided. Seeds needed: ours, for 80% power, were
difference and spread the true ones.
"""


def judge(
    scores: pd.DataFrame, table1: pd.DataFrame, layout: dict[str, Any], margin: dict[str, float]
) -> pd.DataFrame:
    """A row (COLUMNS) per cell of the paper's Table 2, task by task, in percent and points.

    Where several rows or tasks stand for a published one, the first does. Differences and tests
    are given only where the data are real, and as many as the paper's.
    """
    cells = published_table2().reset_index().sort_values("task", kind="stable", ignore_index=True)
    cells = cells.rename(columns={"mean_percent": "published_mean", "std_percent": "published_std"})
    cells = cells.assign(published_runs=PUBLISHED_RUNS, margin=cells["metric"].map(margin))
    for part, column in (("rows", "method"), ("tasks", "task")):
        cells = cells.merge(standing_for(layout[part], column), "left", column)
    cells = cells.merge(measured(scores), "left", ["run", "our_task", "metric"])
    ours = Sample(*(cells[name].to_numpy(float) for name in ("mean", "std", "seeds")))
    _, cells["low"], cells["high"] = student_interval(ours)
    cells["data"], cells["reason"] = zip(*data_of(cells, table1), strict=True)
    cells = cells.assign(**decide(cells, ours)).astype({"seeds": "Int64", "seeds_needed": "Int64"})
    return cells.round(DECIMALS)[COLUMNS]


def standing_for(entries: Sequence[dict[str, Any]], column: str) -> pd.DataFrame:
    """The first row or task of the layout for each that is published, named by `column`."""
    own = pd.DataFrame(entries).rename(columns={"task": "our_task"})
    own = own.rename(columns={"paper": column}).drop(columns=["label", "metric"], errors="ignore")
    return own.dropna(subset=column).drop_duplicates(column)


def measured(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample std in percent, number of seeds and corpus of every run, task and metric."""
    test = scores[scores["split"] == "test"].rename(columns={"task": "our_task"})
    groups = test.assign(value=100 * test["value"]).groupby(["run", "our_task", "metric"])
    return groups.agg(
        mean=("value", "mean"),
        std=("value", "std"),
        seeds=("value", "count"),
        corpus=("corpus", "first"),
    ).reset_index()


def data_of(cells: pd.DataFrame, table1: pd.DataFrame) -> list[tuple[str, str]]:
    """What each cell was measured on, and why it cannot be compared, if so.

    `table1` is `report.tables.describe_corpora`, by which real data are the paper's or not.
    """
    counted = table1.drop_duplicates(["corpus", "task"]).set_index(["corpus", "task"])

    def of_cell(cell: Any) -> tuple[str, str]:
        if cell.simulated is True:
            return "simulated", "simulated data"
        if pd.isna(cell.mean):
            return "missing", "no data" if pd.notna(cell.run) else "no run of this method"
        for task, quantity in (("", "behavior_sequences"), (cell.task, "samples")):
            paper, here = (counted.at[(cell.corpus, task), f"{quantity}.{s}"] for s in SIDES)
            if not abs(here / paper - 1) <= SAME_DATA:
                what = quantity.replace("_", " ")
                return "real", f"measured on {here:,.0f} {what}, published on {paper:,.0f}"
        return "real", ""

    return [of_cell(cell) for cell in cells.itertuples()]


def decide(cells: pd.DataFrame, ours: Sample) -> dict[str, Any]:
    """The columns of `judge` on differences and verdicts."""
    theirs = Sample(
        cells["published_mean"].to_numpy(), cells["published_std"].to_numpy(), PUBLISHED_RUNS
    )
    margin = cells["margin"].to_numpy()
    tested = three_sided_test(ours, theirs, margin)
    needed = seeds_to_tell(tested.value, ours.std, theirs, margin)
    comparable = (cells["reason"] == "").to_numpy()
    answers = np.stack([tested.p_same, tested.p_better, tested.p_worse]) < LEVEL
    verdict = np.select([~comparable, *answers], [VERDICTS[-1], *VERDICTS[:3]], "undecided")
    open_still = verdict == "undecided"
    needed = np.where(open_still, np.maximum(needed, ours.n + 1), np.nan)
    few = [f"{n:.0f} seeds needed" for n in needed]
    none = f"no number of seeds up to {MOST_SEEDS:,} can tell"
    unsaid = np.select([np.isnan(needed), np.isinf(needed)], ["one seed has no spread", none], few)
    figures = {
        "difference": tested.value,
        "difference_low": tested.low,
        "difference_high": tested.high,
        **{name: getattr(tested, name) for name in ("p_better", "p_same", "p_worse")},
    }
    return {
        **{name: np.where(comparable, value, np.nan) for name, value in figures.items()},
        "verdict": verdict,
        "seeds_needed": np.where(np.isinf(needed), np.nan, needed),
        "reason": np.where(open_still, unsaid, cells["reason"]),
    }


def page(verdicts: pd.DataFrame, agreement: pd.DataFrame) -> str:
    """Verdicts and agreement in order as Markdown, aligned so that it reads well as it is."""
    counts = verdicts["verdict"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in VERDICTS)
    lines = [["Task", "Method", "Published", "Ours", "Difference", "Margin", "Verdict"]]
    for cell in verdicts.itertuples():
        why = f" ({cell.reason})" if cell.reason else ""
        lines.append(
            [
                f"{cell.task} {cell.metric}",
                cell.method,
                f"{number(cell.published_mean)}±{cell.published_std:.2f}",
                interval(cell.mean, cell.low, cell.high),
                interval(cell.difference, cell.difference_low, cell.difference_high),
                f"{cell.margin:g}",
                markdown_text(f"{cell.verdict}{why}"),
            ]
        )
    orders = [["Task", "Data", "Methods", "Kendall's tau", "p"]]
    for task in agreement.drop_duplicates("task").itertuples():
        figures = (str(task.rows), number(task.tau), f"{task.p_value:.3f}")
        orders.append([markdown_text(task.label), task.data, *figures])
    return "\n".join(
        [
            f"The paper's Table 2, {len(verdicts)} cells: {said}.\n",
            *aligned(lines),
            NOTES,
            "The order of the methods, ours and published:\n",
            *aligned(orders),
            "",
        ]
    )


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first its header, padded to columns of one width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    header, *rows = (
        [text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines
    )
    return [markdown_line(line) for line in (header, ["-" * width for width in widths], *rows)]


def read_verdicts(path: Path) -> pd.DataFrame:
    """Read what `judge` made; ValueError where it is something else."""
    figures = {name: [""] for name in COLUMNS if name not in TEXTS}
    table = pd.read_csv(path, keep_default_na=False, na_values=figures)
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{path}: the columns must be {', '.join(COLUMNS)}. Make it again")
    return table


@command
def main(argv: list[str] | None = None) -> None:
    """Write the verdicts; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m userbench.report.verdict", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scores", type=Path, required=True, help="CSV of report.tables scores")
    parser.add_argument("--table1", type=Path, required=True, help="CSV of report.tables table1")
    parser.add_argument("--agreement", type=Path, required=True, help="CSV of report.agreement")
    parser.add_argument("--layout", required=True, help="JSON text, or the file that holds it")
    parser.add_argument("--margin", required=True, help="JSON: points by metric")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--md", type=Path, required=True)
    args = parser.parse_args(argv)
    layout, margin = read_layout(args.layout), parse_json(args.margin, "--margin")
    check(margin, MARGIN, "--margin")
    table1 = pd.read_csv(args.table1).fillna({"task": ""})
    verdicts = judge(read_scores(args.scores), table1, layout, margin)
    write_csv(args.csv, verdicts)
    artifact.write_text(args.md, page(verdicts, pd.read_csv(args.agreement)))
    read = artifact.fingerprints([args.scores, args.table1, args.agreement])
    config = resolved(args) | {"layout": layout, "margin": margin}
    artifact.record(args.csv, config, read, beside=[args.md])


if __name__ == "__main__":
    main()
