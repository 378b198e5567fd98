"""Write the pre-training behind each row of Table 2, and control runs beside the rows.

userbench fairness --scores scores.csv --controls FILE...
    --experiment experiment.json --curves pretrain/<run>/<corpus>/seed<k>/curve.json...
    --csv fairness.csv --md fairness.md

Rows of Table 2 differ in more than their method: in the epochs of pre-training behind them, and in
what encoders read in each. A control is a run with as much training but without the method, or the
reverse. It has scores here, and is not ranked in Table 2.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.markup import render
from userbench.report.tables.cells import metric_name, score_text
from userbench.report.tables.data_origin import SIMULATED, data_statement
from userbench.report.tables.summary import summarise
from userbench.report.tables.table2_layout import read_table2_layout
from userbench.report.tables.training import describe, passes_shown, read_training, spans
from userbench.results import artifact
from userbench.results.scores import gather_scores, read_scores
from userbench.results.tables import resolved, write_csv

SCORES = ("mean", "std", "seeds")
TITLES = {"row": "Rows of Table 2", "control": "Controls, not ranked"}


def fairness(
    scores: pd.DataFrame, layout: dict[str, Any], training: dict[str, Any]
) -> pd.DataFrame:
    """`describe` of rows and controls, and for each task mean and std in percent, and seeds.

    Raises:
        ValueError: a row or control lacks a task that others have; see `summarise`.
    """
    described = describe(training)
    rows = [{"run": run, "label": run, "paper": None} for run in described["run"]]
    summary = summarise(scores, layout | {"rows": rows, "baselines": []})
    columns = [f"{task['task']}.{name}" for task in layout["tasks"] for name in SCORES]
    return described.join(summary[["data", *columns]])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as shown: numbers as texts, one column per task by its name."""
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
    blocks = [
        {"title": TITLES[kind], "rows": rows.drop(columns="kind").to_numpy()}
        for kind, rows in shown(table).groupby("kind", sort=False)
    ]
    tasks = [
        (task["label"] + SIMULATED * task["simulated"], metric_name(task["metric"]))
        for task in layout["tasks"]
    ]
    return render("fairness.md", data=data_statement(layout), tasks=tasks, blocks=blocks)


@command
def main(argv: list[str] | None = None) -> None:
    """Write the table and its page; an error in the input is reported in one line."""
    parser = command_line.parser("fairness", __doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv")
    parser.add_argument(
        "--controls", type=Path, nargs="*", default=[], metavar="FILE", help="their score files"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="of pre-training"
    )
    parser.add_argument("--csv", type=Path, required=True, help="file to write")
    parser.add_argument("--md", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout = read_table2_layout(args.experiment)
    training = read_training(args.experiment, args.curves)
    scores = read_scores(args.scores)
    if args.controls:
        scores = pd.concat([scores, gather_scores(args.controls)], ignore_index=True)
    table = fairness(scores, layout, training)
    write_csv(args.csv, table)
    artifact.write_text(args.md, page(table, layout))
    read = [args.scores, args.experiment, *args.controls, *args.curves]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside=[args.md])
