"""Write the paper's Table 2, measured beside published, as CSV, Markdown, LaTeX and HTML.

userbench table2 --scores scores.csv --experiment experiment.json --csv ..
    --md .. --tex .. --html .. [--statistics statistics.csv [--agreement agreement.csv]]
    [--baselines FILE...] [--curves pretrain/<run>/<corpus>/seed<k>/curve.json...]

`--baselines` are the score files of the baselines. With `--table frozen` it is the table of the
frozen protocol: the same form, of other scores.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.experiment import read_layouts
from userbench.report.markup import render
from userbench.report.statistics.significance import UNTESTED, Significance, read_significance
from userbench.report.tables.cells import metric_name, number, score_text
from userbench.report.tables.computation import computation_notes, scored_files
from userbench.report.tables.data_origin import SIMULATED, data_statement
from userbench.report.tables.frozen import is_frozen, protocol_notes
from userbench.report.tables.notes import fact_notes, limits_of, measurement_notes
from userbench.report.tables.published import keys, published_table2
from userbench.report.tables.summary import summarise
from userbench.report.tables.table2_layout import add_table_flag, read_table2_layout
from userbench.report.tables.training import (
    describe,
    popularity_notes,
    read_training_of_rows,
    training_note,
)
from userbench.results import artifact
from userbench.results.scores import read_facts, read_scores
from userbench.results.tables import resolved, write_csv

NUMBERS = ("mean", "std", "improvement")


class Cell(NamedTuple):
    """One task of one row, as shown: score, place (1 bold, 2 underlined), improvement."""

    score: str
    place: int
    improvement: str


class Row(NamedTuple):
    """A label and a cell per task."""

    label: str
    cells: list[Cell]


class Block(NamedTuple):
    """Rows under a common title."""

    title: str
    rows: list[Row]


class Table(NamedTuple):
    """A table as shown, as plain texts: its templates escape them."""

    headline: list[str]
    caption: str
    tasks: list[str]
    metrics: list[str]
    blocks: list[Block]
    notes: list[str]
    name: str = "table2"
    title: str = "Table 2"
    header: str = "Pre-training"
    """Of the column of rows."""


def arrange(
    summary: pd.DataFrame,
    scores: pd.DataFrame,
    layout: dict[str, Any],
    facts: dict[str, dict[str, Any]] | None = None,
    significance: Significance = UNTESTED,
    training: dict[str, Any] | None = None,
    computed: Sequence[str] = (),
    protocol: Sequence[str] = (),
) -> Table:
    """Table 2 as shown: measured runs, baselines and published values, one block each.

    The notes contain the `facts` of tasks, as `read_facts` gives them, the `training` of
    `read_training`, the `computation_notes`, and of the frozen table the `protocol_notes`. Measured
    cells are bold by `significance` alone, never by their score.
    """
    tasks = layout["tasks"]
    columns = []
    for task in tasks:
        numbers = (summary[f"{task['task']}.{number}"] for number in NUMBERS)
        places = [int((run, task["task"]) in significance.best) for run in summary["run"]]
        columns.append(show(*numbers, places))
    rows = [Row(label, cells) for label, *cells in zip(summary["label"], *columns, strict=True)]
    ranked, published = len(layout["rows"]), published_rows(layout)
    blocks = [
        Block("Measured", rows[:ranked]),
        Block("References, measured, not ranked", rows[ranked:]),
        Block(
            "Published, on the real data (AdaptSSR, NeurIPS 2023, Table 2)",
            published,
        ),
    ]
    other = next(row["label"] for row in layout["rows"] if row["run"] == layout["compared_with"])
    tested = "frozen_statistics.md" if is_frozen(layout) else "statistics.md"
    legend = (
        "Test scores in percent, mean±std over seeds; Impr.% is the relative improvement over "
        f"{other}. Bold among the measured: better than every other row over "
        f"seeds and test users ({tested})."
    )
    if published:
        legend += " Of the published the best is bold, the second underlined."
    names = {"name": "frozen", "title": "Frozen encoders", "header": "User vectors"}
    return Table(
        headline=list(significance.headline),
        caption=f"{data_statement(layout)}. {legend}",
        tasks=[task["label"] + SIMULATED * task["simulated"] for task in tasks],
        metrics=[metric_name(task["metric"]) for task in tasks],
        blocks=[block for block in blocks if block.rows],
        notes=[
            *protocol,
            *measurement_notes(summary, scores, layout, limits_of(facts or {})),
            *significance.doubts,
            *fact_notes(facts or {}, layout),
            *([training_note(describe(training)), *popularity_notes(training)] if training else []),
            *computed,
            *layout["notes"],
        ],
        **(names if is_frozen(layout) else {}),
    )


def published_rows(layout: dict[str, Any]) -> list[Row]:
    """The paper's values of the layout's rows and tasks, as shown; a task not in it is blank."""
    methods = list(dict.fromkeys(row["paper"] for row in layout["rows"] if row["paper"]))
    if not methods or not any(task["paper"] for task in layout["tasks"]):
        return []
    published, columns = published_table2(), []
    for task in layout["tasks"]:
        own = published.reindex(keys((method, task["paper"]) for method in methods))
        numbers = [own[f"{number}_percent"].reset_index(drop=True) for number in NUMBERS]
        places = numbers[0].rank(ascending=False, method="min").fillna(0).astype(int)
        columns.append(show(*numbers, places))
    return [Row(method, cells) for method, *cells in zip(methods, *columns, strict=True)]


def show(
    mean: pd.Series, std: pd.Series, improvement: pd.Series, places: Iterable[int]
) -> list[Cell]:
    """Cells of one task, a row each."""
    return [
        Cell(score_text(m, s), place, number(i))
        for m, s, i, place in zip(mean, std, improvement, places, strict=True)
    ]


@command
def main(argv: list[str] | None = None) -> None:
    """Write Table 2 in its four forms; an error in the input is reported in one line."""
    parser = command_line.parser("table2", __doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv")
    parser.add_argument(
        "--baselines", type=Path, nargs="*", default=[], metavar="FILE", help="of the baselines"
    )
    parser.add_argument("--statistics", type=Path, help="statistics.csv: sentences, and bold cells")
    parser.add_argument("--agreement", type=Path, help="agreement.csv: a sentence")
    parser.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="of pre-training: notes"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    add_table_flag(parser)
    for markup in ("csv", "md", "tex", "html"):
        parser.add_argument(f"--{markup}", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    if args.agreement and not args.statistics:
        raise ValueError("--agreement: give --statistics, too, which the sentences begin with")
    layout = read_table2_layout(args.experiment, args.table)
    scores = read_scores(args.scores)
    summary = summarise(scores, layout)
    significance = UNTESTED
    if args.statistics:
        significance = read_significance(args.statistics, layout, args.agreement)
    training = None
    part = "frozen_training" if is_frozen(layout) else "training"
    if getattr(read_layouts(args.experiment), part) is not None:
        training = read_training_of_rows(args.experiment, args.curves, part)
    scored = scored_files(args.scores)
    facts = read_facts([*args.baselines, *scored])
    computed = computation_notes([*args.curves, *scored])
    protocol = protocol_notes(layout, scored) if is_frozen(layout) else []
    table = arrange(summary, scores, layout, facts, significance, training, computed, protocol)
    write_csv(args.csv, summary)
    for path, template in ((args.md, "md"), (args.tex, "tex"), (args.html, "html")):
        artifact.write_text(path, render(f"table2.{template}", table=table))
    read = [args.scores, args.experiment, *filter(Path.exists, args.baselines), *args.curves]
    read += filter(None, [args.statistics, args.agreement])
    beside = [args.md, args.tex, args.html]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside)
