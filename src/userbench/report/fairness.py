"""What each row of Table 2 had to learn from, and control runs beside them: fairness.csv, .md.

python -m userbench.report.fairness --scores scores.csv --controls FILE...
    --experiment experiment.json --curves pretrain/<run>/<corpus>/seed<k>/curve.json...
    --csv fairness.csv --md fairness.md

Rows of Table 2 differ in more than their method: in the epochs behind them, and in what encoders
read in each. A control is a run that has as much without the method, or the method without it. It
has scores here, and is not ranked in Table 2.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from userbench.errors import command
from userbench.report.statistics import gather_scores, read_layout, read_scores, summarise
from userbench.report.tables import (
    SIMULATED,
    bullets,
    data_statement,
    markdown_line,
    markdown_text,
    metric_name,
    resolved,
    score_text,
    write_csv,
)
from userbench.report.training import describe, passes_shown, read_training, spans
from userbench.results import artifact

SCORES = ("mean", "std", "seeds")
TITLES = {"row": "Rows of Table 2", "control": "Controls, not ranked"}
NOTES = (
    "Start: random weights, or the last checkpoint of the run that is named.",
    "Epochs: of pre-training in all, its own, those of the run it starts from, and those of a "
    "generator that it is given, each run once. A range: validation chooses among its checkpoints.",
    "Encoder passes: sequences that its encoder reads per user and epoch of its own training; "
    "after +, those that a frozen encoder reads for it.",
    "Sequences: what all these epochs let encoders read, per user.",
    "Controls are runs beside Table 2 that are not ranked, such as a method with more epochs or "
    "from another start.",
)


def fairness(
    scores: pd.DataFrame, layout: dict[str, Any], training: dict[str, Any]
) -> pd.DataFrame:
    """`describe` of rows and controls, and for each task mean and std in percent, and seeds.

    Raises:
        ValueError: a row or control lacks a task that others have; see `summarise`.
    """
    described = describe(training)
    rows = [{"run": run, "label": run, "paper": None} for run in described["run"]]
    summary = summarise(scores, layout | {"rows": rows, "references": []})
    columns = [f"{task['task']}.{name}" for task in layout["tasks"] for name in SCORES]
    return described.join(summary[["data", *columns]])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader sees it: figures as texts, one column per task by its name."""
    tasks = [name.removesuffix(".mean") for name in table if name.endswith(".mean")]
    columns = {
        "row": table["row"],
        "kind": table["kind"],
        "start": table["start"],
        "epochs": spans(table),
        "encoder passes": passes_shown(table),
        "sequences": table["sequences"].map(lambda n: "–" if pd.isna(n) else f"{n:g}"),
    }
    for task in tasks:
        pairs = zip(table[f"{task}.mean"], table[f"{task}.std"], strict=True)
        columns[task] = [score_text(*pair) for pair in pairs]
    return pd.DataFrame(columns)


def page(table: pd.DataFrame, layout: dict[str, Any]) -> str:
    """`fairness` as Markdown."""
    header = [
        f"{markdown_text(task['label'] + SIMULATED * task['simulated'])}<br>"
        f"{metric_name(task['metric'])}"
        for task in layout["tasks"]
    ]
    names = ["Row", "Start", "Epochs", "Encoder passes", "Sequences", *header]
    lines = [
        f"{markdown_text(data_statement(layout))}. Test scores in percent, mean±std over seeds.\n",
        markdown_line(names),
        markdown_line(["---", "---", *["---:"] * (len(names) - 2)]),
    ]
    for kind, rows in shown(table).groupby("kind", sort=False):
        lines.append(markdown_line([f"*{TITLES[kind]}*", *[""] * (len(names) - 1)]))
        for row in rows.drop(columns="kind").itertuples(index=False):
            lines.append(markdown_line(map(markdown_text, row)))
    return "\n".join([*lines, "", bullets(NOTES)])


@command
def main(argv: list[str] | None = None) -> None:
    """Write the table and its page; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m userbench.report.fairness", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scores", type=Path, required=True, help="CSV of report.tables scores")
    parser.add_argument(
        "--controls", type=Path, nargs="*", default=[], metavar="FILE", help="their score files"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="of pre-training"
    )
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--md", type=Path, required=True)
    args = parser.parse_args(argv)
    layout = read_layout(args.experiment)
    training = read_training(args.experiment, args.curves)
    scores = read_scores(args.scores)
    if args.controls:
        scores = pd.concat([scores, gather_scores(args.controls)], ignore_index=True)
    table = fairness(scores, layout, training)
    write_csv(args.csv, table)
    artifact.write_text(args.md, page(table, layout))
    read = [args.scores, args.experiment, *args.controls, *args.curves]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside=[args.md])


if __name__ == "__main__":
    main()
