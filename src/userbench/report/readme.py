"""Write the parts of README.md that are made from results.

userbench readme --results docs/results/default
userbench readme --results docs/results/default --write README.md

The first prints the parts. The second puts each between its markers, `<!-- headline -->` and
`<!-- /headline -->`, `<!-- table2 -->` and `<!-- /table2 -->`. The folder holds `table2.csv`,
`statistics.csv`, `agreement.csv` and `experiment.json`, each with its provenance record.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.markup import render
from userbench.report.tables.cells import metric_name, score_text
from userbench.report.tables.headline import read_cells, read_order, sentences
from userbench.report.tables.table2_layout import read_table2_layout
from userbench.results import artifact
from userbench.results.tables import read_table


def parts(folder: Path) -> dict[str, str]:
    """Each part as Markdown, by the name in its markers.

    Raises:
        ValueError: a file or its record is missing, damaged, or of another kind.
    """
    path = folder / "table2.csv"
    if not artifact.provenance_path(path).exists():
        raise ValueError(f"{path}: no provenance record beside it. Copy both")
    layout = read_table2_layout(folder / "experiment.json")
    numbers = [f"{task['task']}.{name}" for task in layout["tasks"] for name in ("mean", "std")]
    summary = read_table(path, ("run", "label", "ranked"), numbers, "report.table2")
    cells, order = read_cells(folder / "statistics.csv"), read_order(folder / "agreement.csv")
    found = sentences(cells, layout, order)
    return {
        "headline": render("headline.md", sentences=found),
        "table2": table(summary, layout),
    }


def table(summary: pd.DataFrame, layout: dict[str, Any]) -> str:
    """Table 2 in short: rows and, in italics, baselines; mean±std over seeds, a task a column."""
    tasks = layout["tasks"]
    rows = [
        {
            "label": row["label"],
            "ranked": row["ranked"] == "True",
            "scores": [
                score_text(*(row[f"{task['task']}.{n}"] for n in ("mean", "std"))) for task in tasks
            ],
        }
        for row in summary.to_dict("records")
    ]
    names = [f"{task['paper'] or task['label']} {metric_name(task['metric'])}" for task in tasks]
    return render("readme.md", tasks=names, rows=rows)


def put_in(text: str, made: dict[str, str]) -> str:
    """A text with each part between its markers; ValueError unless it has each marker once."""
    for name, part in made.items():
        first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if [text.count(first), text.count(last)] != [1, 1] or text.index(first) > text.index(last):
            raise ValueError(
                f"needs one line {first.strip()} and, below it, one line {last}, where {name} goes"
            )
        between = re.compile(f"(?<={re.escape(first)}).*(?={re.escape(last)})", re.DOTALL)
        text = between.sub(lambda _, part=part: f"\n{part}\n", text)
    return text


@command
def main(argv: list[str] | None = None) -> None:
    """Print the parts or write them; an error in the input is reported in one line."""
    parser = command_line.parser("readme", __doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the three tables")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a page with both markers")
    args = parser.parse_args(argv)
    made = parts(args.results)
    if args.write is None:
        print("\n".join(made.values()), end="")
        return
    try:
        text = put_in(args.write.read_text(encoding="utf-8"), made)
    except ValueError as error:
        raise ValueError(f"{args.write}: {error}") from error
    artifact.write_text(args.write, text)
