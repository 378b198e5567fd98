"""The paper's Tables 1 and 2, measured beside published, as CSV, Markdown, LaTeX and HTML.

python -m userbench.report.tables scores --scores FILE... --out scores.csv
python -m userbench.report.tables table2 --scores scores.csv --experiment experiment.json --csv ..
    --md .. --tex .. --html .. [--statistics statistics.csv [--agreement agreement.csv]]
    [--references FILE...] [--curves pretrain/<run>/<corpus>/seed<k>/curve.json...]
python -m userbench.report.tables headline --statistics statistics.csv --agreement agreement.csv
    --experiment experiment.json --md headline.md
python -m userbench.report.tables table1 --store ttl=ttl/behaviours/manifest.json
    --examples age=ttl/tasks/age/manifest.json --experiment experiment.json --out table1.csv
"""

import argparse
import html
import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from userbench.errors import command
from userbench.experiment.validation import read_json
from userbench.report import headline
from userbench.report.experiment import read_layouts
from userbench.report.statistics import (
    describe_corpora,
    gather_scores,
    keys,
    published_table2,
    read_facts,
    read_layout,
    read_scores,
    read_table,
    read_table1_layout,
    summarise,
)
from userbench.report.training import (
    describe,
    popularity_notes,
    read_training_of_rows,
    training_note,
)
from userbench.results import artifact
from userbench.results.contents import BehaviourManifest, ExampleManifest

NUMBERS = ("mean", "std", "improvement")
SIMULATED = " [SIMULATED]"
IMPROVEMENT = "Impr.%"
FILES_NAMED = 6
"""At most so many missing files are named below a table."""
LATEX = str.maketrans(
    {
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
        # Why: after a line's end, LaTeX takes [..] and * for arguments.
        **{"[": "{[}", "]": "{]}", "*": "{*}"},
        **{"±": r"$\pm$", "−": "$-$", "–": "--"},
    }
)


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


class Significance(NamedTuple):
    """What `statistics.csv` says of measured cells.

    `headline` are sentences on the whole table, `best` are the (run, task) that are better than
    every other row, `doubts` is a sentence on each cell whose seeds decide nothing.
    """

    headline: Sequence[str] = ()
    best: Collection[tuple[str, str]] = ()
    doubts: Sequence[str] = ()


class Table(NamedTuple):
    """A table as shown, before any markup: plain texts, to be escaped by the renderers."""

    headline: list[str]
    caption: str
    tasks: list[str]
    metrics: list[str]
    blocks: list[Block]
    notes: list[str]


UNTESTED = Significance()


def arrange(
    summary: pd.DataFrame,
    scores: pd.DataFrame,
    layout: dict[str, Any],
    facts: dict[str, dict[str, Any]] | None = None,
    significance: Significance = UNTESTED,
    training: dict[str, Any] | None = None,
) -> Table:
    """Table 2 as shown: measured runs, references and published values, one block each.

    `facts` of tasks, as `read_facts` gives them, and the `training` of `read_training` are told in
    the notes. By the `significance` of `read_significance` measured cells are bold: none is that
    chance explains.
    """
    tasks = layout["tasks"]
    columns = []
    for task in tasks:
        numbers = (summary[f"{task['task']}.{number}"] for number in NUMBERS)
        places = [int((run, task["task"]) in significance.best) for run in summary["run"]]
        columns.append(show(*numbers, places))
    rows = [Row(label, cells) for label, *cells in zip(summary["label"], *columns, strict=True)]
    ranked = len(layout["rows"])
    blocks = [
        Block("Measured", rows[:ranked]),
        Block("References, measured, not ranked", rows[ranked:]),
        Block(
            "Published, on the real data (AdaptSSR, NeurIPS 2023, Table 2)",
            published_rows(layout),
        ),
    ]
    baseline = next(row["label"] for row in layout["rows"] if row["run"] == layout["compared_with"])
    legend = (
        f"Test scores in percent, mean±std over seeds; {IMPROVEMENT} is the relative improvement "
        f"over {baseline}. Bold among the measured: better than every other row over seeds and "
        "test users (statistics.md). Of the published the best is bold, the second underlined."
    )
    return Table(
        headline=list(significance.headline),
        caption=f"{data_statement(layout)}. {legend}",
        tasks=[task["label"] + SIMULATED * task["simulated"] for task in tasks],
        metrics=[metric_name(task["metric"]) for task in tasks],
        blocks=[block for block in blocks if block.rows],
        notes=[
            *measurement_notes(summary, scores, layout),
            *significance.doubts,
            *fact_notes(facts or {}, layout),
            *([training_note(describe(training)), *popularity_notes(training)] if training else []),
            *layout["notes"],
        ],
    )


def published_rows(layout: dict[str, Any]) -> list[Row]:
    """The paper's figures of the layout's rows and tasks, as shown; a task not in it is blank."""
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


def score_text(mean: float, std: float) -> str:
    """mean±std; without std where there is none, a dash where there is no mean."""
    return number(mean) + (f"±{std:.2f}" if pd.notna(std) else "")


def metric_name(metric: str) -> str:
    """A metric as it stands in the head of a table."""
    return {"accuracy": "Acc"}.get(metric, metric.upper())


def read_significance(
    path: Path, layout: dict[str, Any], agreement: Path | None = None
) -> Significance:
    """What `statistics.csv` says of measured cells; `agreement.csv`, of the order of the rows.

    Raises:
        ValueError: a file is damaged, or not made by `report.comparison`, `report.agreement`.
    """
    table = read_table(path, headline.TEXTS, headline.NUMBERS, "report.comparison")
    order = None
    if agreement is not None:
        columns = headline.ORDER_TEXTS, headline.ORDER_NUMBERS
        order = read_table(agreement, *columns, "report.agreement")
    best = table[(table["best_other.verdict"] == "better") & (table["ranked"] == 1)]
    # Of a failed seed, which has no score, the notes on missing scores speak.
    doubtful = table[(table["note"] != "") & table["mean"].notna()]
    return Significance(
        headline.sentences(table, layout, order),
        set(zip(best["run"], best["task"], strict=True)),
        [
            f"{cell.row} on {cell.label}: {cell.note}, so its comparisons are undecided."
            for cell in doubtful.itertuples()
        ],
    )


def number(value: float) -> str:
    """Two decimals with a true minus sign; a dash for NaN."""
    # Why + 0: minus zero, as in -0.001 rounded, must not show its sign.
    return "–" if pd.isna(value) else f"{round(value, 2) + 0:.2f}".replace("-", "−")


def interval(value: float, low: float, high: float) -> str:
    """A figure and the bounds of its interval, if it has one."""
    return number(value) + ("" if pd.isna(low) else f" ({number(low)} to {number(high)})")


def data_statement(layout: dict[str, Any]) -> str:
    """The layout's words on the data; they begin with SIMULATED DATA if any task is simulated."""
    said = layout["caption_data"].rstrip(". ")
    if not layout["simulated"] and not any(task["simulated"] for task in layout["tasks"]):
        return said
    if said.upper().startswith("SIMULATED DATA"):
        return "SIMULATED DATA" + said[len("SIMULATED DATA") :]
    return f"SIMULATED DATA: {said}"


def measurement_notes(
    summary: pd.DataFrame, scores: pd.DataFrame, layout: dict[str, Any]
) -> list[str]:
    """What a reader must know about how the figures came about, a sentence each."""
    notes = []
    if any(task["simulated"] for task in layout["tasks"]):
        notes.append(
            f"Columns marked{SIMULATED} were measured on generated data: they say nothing about "
            "real users and cannot be compared with published figures."
        )
    ranked = summary[summary["ranked"]]
    seeds = ranked[[f"{task['task']}.seeds" for task in layout["tasks"]]]
    fewest, most = seeds.min(axis=1), seeds.max(axis=1)
    if len(numbers := {*fewest.dropna(), *most.dropna()}) == 1:
        notes.append(f"Seeds: {numbers.pop()}.")
    elif numbers:
        each = zip(ranked["label"], fewest, most, strict=True)
        listed = ", ".join(f"{label} {low} to {high}" for label, low, high in each)
        notes.append(f"The number of seeds differs: {listed}.")
    notes += failed_notes(scores, layout)
    notes += missing_seeds(scores, layout)
    notes += candidate_notes(scores, layout)
    notes += width_notes(ranked)
    notes.append("Std is the sample standard deviation (n − 1) over seeds; one seed has none.")
    test = scores[scores["split"] == "test"]
    examples = test.groupby("task")["examples"].first()
    counts = [
        f"{task['label']} {examples[task['task']]:,}"
        for task in layout["tasks"]
        if task["task"] in examples
    ]
    if counts:
        notes.append(f"Test examples: {', '.join(counts)}.")
    if layout["references"]:
        notes.append("References are not ranked and do not depend on the seed.")
    if any("@" in task["metric"] for task in layout["tasks"]):
        notes.append(
            "NDCG, HR and MRR rank the full catalogue, without the user's other known positives."
        )
    return notes


def failed_notes(scores: pd.DataFrame, layout: dict[str, Any]) -> list[str]:
    """A sentence on each cell of which seeds failed, with the file that says why."""
    notes, failed = [], scores[scores["value"].isna()]
    for row in layout["rows"]:
        for task in layout["tasks"]:
            own = (failed["run"] == row["run"]) & (failed["task"] == task["task"])
            if seeds := list(map(str, failed.loc[own, "seed"])):
                which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"
                why = f"finetune/{row['run']}/{task['task']}/seed{seeds[0]}.json"
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
        f"seed {seed} of {label} (finetune/{run}/{task}/seed{seed}.json)"
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
    notes += history_notes(known, facts)
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


def history_notes(tasks: Sequence[dict[str, Any]], facts: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence on the tasks in which some users have done more than an encoder reads, if any."""
    longer = [task for task in tasks if facts[task["task"]].get("longer_histories")]
    if not longer:
        return []
    shares = [f"{task['label']} {facts[task['task']]['longer_histories']:.0%}" for task in longer]
    most = facts[longer[0]["task"]]["max_length"]
    return [
        f"Test users with more than {most} behaviours: {', '.join(shares)}. All rows read the "
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


# ---------------------------------------------------------------------------------------- markup


def markdown_text(text: str) -> str:
    """A plain text in one line, all escaped that GitHub Markdown would take for markup.

    Control characters are left out: some Markdown is printed, and they would steer the terminal.
    """
    shown = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", shown)


def markdown_line(texts: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(texts)} |"


def bullets(texts: Iterable[str]) -> str:
    """Plain texts as a list of Markdown."""
    return "".join(f"- {markdown_text(text)}\n" for text in texts)


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown: caption, one table, notes."""
    escape, line = markdown_text, markdown_line

    def score(cell: Cell) -> str:
        return {1: f"**{cell.score}**", 2: f"<ins>{cell.score}</ins>"}.get(cell.place, cell.score)

    header = [
        (f"{escape(task)}<br>{metric}", IMPROVEMENT)
        for task, metric in zip(table.tasks, table.metrics, strict=True)
    ]
    blank = [""] * 2 * len(table.tasks)
    lines = [
        *([bullets(table.headline)] if table.headline else []),
        f"{escape(table.caption)}\n",
        line(["Pre-training", *chain(*header)]),
        line(["---", *["---:"] * len(blank)]),
    ]
    for block in table.blocks:
        lines.append(line([f"*{escape(block.title)}*", *blank]))
        for row in block.rows:
            cells = chain(*((score(cell), cell.improvement) for cell in row.cells))
            lines.append(line([escape(row.label), *cells]))
    return "\n".join([*lines, "", bullets(table.notes)])


def to_latex(table: Table) -> str:
    """The table as a LaTeX `table*` that needs the package booktabs only."""

    def escape(text: str) -> str:
        return " ".join(text.split()).translate(LATEX)

    def score(cell: Cell) -> str:
        text = escape(cell.score)
        return {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.place, text)

    def line(texts: Iterable[str]) -> str:
        return rf"{' & '.join(texts)} \\"

    width = 1 + 2 * len(table.tasks)
    starts = range(2, width, 2)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(' '.join([*table.headline, table.caption]))}}}",
        r"\label{tab:table2}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{l{'rr' * len(table.tasks)}}}",
        r"\toprule",
        line(["", *(rf"\multicolumn{{2}}{{c}}{{{escape(task)}}}" for task in table.tasks)]),
        " ".join(rf"\cmidrule(lr){{{start}-{start + 1}}}" for start in starts),
        line(
            [
                "Pre-training",
                *chain(*((escape(metric), escape(IMPROVEMENT)) for metric in table.metrics)),
            ]
        ),
    ]
    for block in table.blocks:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(block.title)}}}}} \\",
        ]
        for row in block.rows:
            cells = chain(*((score(cell), escape(cell.improvement)) for cell in row.cells))
            lines.append(line([escape(row.label), *cells]))
    notes = escape(" ".join(table.notes))
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        rf"\parbox{{\textwidth}}{{{notes}}}",
    ]
    return "\n".join([*lines, r"\end{table*}", ""])


def to_html(table: Table) -> str:
    """The table as an HTML `<table>` and its notes, to be put into a page."""
    escape = html.escape

    def score(cell: Cell) -> str:
        tag = {1: "strong", 2: "u"}.get(cell.place)
        return f"<{tag}>{escape(cell.score)}</{tag}>" if tag else escape(cell.score)

    def row_line(row: Row) -> str:
        cells = "".join(
            f"<td>{score(cell)}</td><td>{escape(cell.improvement)}</td>" for cell in row.cells
        )
        return f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>'

    def listed(texts: Iterable[str], kind: str) -> str:
        items = "".join(f"<li>{escape(text)}</li>" for text in texts)
        return f'<ul class="{kind}">{items}</ul>'

    width = 1 + 2 * len(table.tasks)
    lines = [
        *([listed(table.headline, "headline")] if table.headline else []),
        '<div class="table" role="region" aria-label="Table 2" tabindex="0"><table>',
        f"<caption>{escape(table.caption)}</caption>",
        "<colgroup><col></colgroup>" + '<colgroup span="2"></colgroup>' * len(table.tasks),
        '<thead><tr><th scope="col" rowspan="2">Pre-training</th>',
        *(f'<th scope="colgroup" colspan="2">{escape(task)}</th>' for task in table.tasks),
        "</tr><tr>",
        *(
            f'<th scope="col">{escape(metric)}</th><th scope="col">{IMPROVEMENT}</th>'
            for metric in table.metrics
        ),
        "</tr></thead>",
    ]
    for block in table.blocks:
        title = f'<th scope="rowgroup" colspan="{width}">{escape(block.title)}</th>'
        lines += [f"<tbody><tr>{title}</tr>", *map(row_line, block.rows), "</tbody>"]
    return "\n".join([*lines, "</table></div>", listed(table.notes, "notes")])


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Table 2</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 2rem; background: Canvas; color: CanvasText; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums;
  border-block: 2px solid; }}
caption {{ text-align: start; padding-block: .5rem; max-width: 60rem; }}
th, td {{ padding: .2rem .6rem; text-align: end; white-space: nowrap; font-weight: normal; }}
thead th {{ text-align: center; font-weight: 600; white-space: normal; }}
tbody th {{ text-align: start; }}
tbody tr:first-child th {{ border-top: 1px solid; font-style: italic; }}
</style>
</head>
<body>
{table}
</body>
</html>
"""


# ---------------------------------------------------------------------------------------- commands


def scores_command(args: argparse.Namespace) -> None:
    """Write the tidy CSV of all scores."""
    write_csv(args.out, gather_scores(args.scores))
    artifact.record(args.out, resolved(args), artifact.fingerprints(args.scores))


def table2_command(args: argparse.Namespace) -> None:
    """Write Table 2 as CSV, Markdown, LaTeX and HTML."""
    layout, scores = read_layout(args.experiment), read_scores(args.scores)
    summary = summarise(scores, layout)
    significance, facts = significance_of(args, layout), read_facts(args.references)
    training = None
    if read_layouts(args.experiment).training is not None:
        training = read_training_of_rows(args.experiment, args.curves)
    table = arrange(summary, scores, layout, facts, significance, training)
    write_csv(args.csv, summary)
    artifact.write_text(args.md, to_markdown(table))
    artifact.write_text(args.tex, to_latex(table))
    artifact.write_text(args.html, PAGE.format(table=to_html(table)))
    read = [args.scores, args.experiment, *filter(Path.exists, args.references), *args.curves]
    read += filter(None, [args.statistics, args.agreement])
    beside = [args.md, args.tex, args.html]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside)


def significance_of(args: argparse.Namespace, layout: dict[str, Any]) -> Significance:
    """What the files that the flags name say; ValueError for an order without statistics."""
    if args.agreement and not args.statistics:
        raise ValueError("--agreement: give --statistics, too, which the sentences begin with")
    if not args.statistics:
        return UNTESTED
    return read_significance(args.statistics, layout, args.agreement)


def headline_command(args: argparse.Namespace) -> None:
    """Write what Table 2 says as Markdown."""
    layout = read_layout(args.experiment)
    artifact.write_text(args.md, bullets(significance_of(args, layout).headline))
    read = artifact.fingerprints([args.experiment, args.statistics, args.agreement])
    artifact.record(args.md, resolved(args), read)


def table1_command(args: argparse.Namespace) -> None:
    """Write Table 1 as CSV."""
    corpora, examples = named("--store", args.store), named("--examples", args.examples)
    layout = read_table1_layout(args.experiment)
    table = describe_corpora(
        {corpus: read_json(path, BehaviourManifest) for corpus, path in corpora.items()},
        {task: read_json(path, ExampleManifest) for task, path in examples.items()},
        layout["tasks"],
        layout["simulated"],
    )
    write_csv(args.out, table)
    read = artifact.fingerprints([args.experiment, *corpora.values(), *examples.values()])
    artifact.record(args.out, resolved(args), read)


def named(flag: str, arguments: list[str]) -> dict[str, Path]:
    """Files by their names, of NAME=FILE; ValueError where one is not of this form."""
    files = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{flag} {argument}: write NAME=manifest.json")
        files[name] = Path(path)
    return files


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, whole or not at all; NaN becomes an empty field."""
    artifact.write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def resolved(args: argparse.Namespace) -> dict[str, Any]:
    """The command's flags as JSON values."""
    return json.loads(json.dumps({k: v for k, v in vars(args).items() if k != "run"}, default=str))


@command
def main(argv: list[str] | None = None) -> None:
    """Run one of the commands; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m userbench.report.tables", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True)

    scores = commands.add_parser("scores", help="score files to one tidy CSV")
    scores.add_argument(
        "--scores", type=Path, nargs="+", action="extend", required=True, metavar="FILE"
    )
    scores.add_argument("--out", type=Path, required=True)
    scores.set_defaults(run=scores_command)

    table2 = commands.add_parser("table2", help="the paper's Table 2, measured and published")
    table2.add_argument("--scores", type=Path, required=True, help="CSV of the command scores")
    table2.add_argument(
        "--references", type=Path, nargs="*", default=[], metavar="FILE", help="their score files"
    )
    table2.add_argument(
        "--statistics", type=Path, help="CSV of report.comparison: sentences, and what is bold"
    )
    table2.add_argument("--agreement", type=Path, help="CSV of report.agreement: a sentence")
    table2.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="of pre-training: notes"
    )
    table2.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    for markup in ("csv", "md", "tex", "html"):
        table2.add_argument(f"--{markup}", type=Path, required=True)
    table2.set_defaults(run=table2_command)

    says = commands.add_parser("headline", help="what Table 2 says, in sentences")
    says.add_argument("--statistics", type=Path, required=True, help="CSV of report.comparison")
    says.add_argument("--agreement", type=Path, required=True, help="CSV of report.agreement")
    says.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    says.add_argument("--md", type=Path, required=True)
    says.set_defaults(run=headline_command)

    table1 = commands.add_parser("table1", help="the paper's Table 1, measured and published")
    table1.add_argument(
        "--store",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=manifest.json",
        help="of the behaviours of each corpus",
    )
    table1.add_argument(
        "--examples",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=manifest.json",
        help="of the examples of each task",
    )
    table1.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    table1.add_argument("--out", type=Path, required=True)
    table1.set_defaults(run=table1_command)

    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
