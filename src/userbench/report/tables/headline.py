"""Write what Table 2 says, in sentences that are made from its statistics.

userbench headline --statistics statistics.csv --agreement agreement.csv
    --experiment experiment.json --md headline.md

Of the table of the frozen protocol: `--table frozen`, its own statistics, and no agreement.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.markup import render
from userbench.report.statistics.inference import LEVEL
from userbench.report.statistics.multiple_tests import holm
from userbench.report.statistics.over_tasks import average_rank
from userbench.report.tables.cells import number, signed
from userbench.report.tables.table2_layout import add_table_flag, read_table2_layout
from userbench.results import artifact
from userbench.results.tables import read_table, resolved

OURS = "AdaptSSR"  # the method that the paper proposes, by its name in the paper's Table 2
# Columns of `statistics.csv` and of `agreement.csv` that sentences are made of.
TEXTS = (
    *("task", "label", "data", "run", "row", "note"),
    *("baseline.run", "best_other.verdict"),
)
NUMBERS = (
    *("ranked", "seeds", "mean", "baseline.difference", "baseline.p_table"),
    "best_other.p_holm",
)
ORDER_TEXTS, ORDER_NUMBERS = ("task", "label"), ("tau", "p_value")
CELLS_NAMED = 3
"""Where a row is better, or worse, on every one of more tasks than these, no task is named."""


def read_cells(path: Path) -> pd.DataFrame:
    """The columns of statistics.csv that sentences are made of, a row per cell of Table 2."""
    return read_table(path, TEXTS, NUMBERS, "report.statistics")


def read_order(path: Path) -> pd.DataFrame:
    """The columns of agreement.csv that sentences are made of."""
    return read_table(path, ORDER_TEXTS, ORDER_NUMBERS, "report.agreement")


def sentences(
    table: pd.DataFrame, layout: dict[str, Any], agreement: pd.DataFrame | None = None
) -> list[str]:
    """Sentences on a table's data, of the rows beside the one they are compared with, of AdaptSSR
    and of the paper's order of the rows.

    `table` are the cells of `report.statistics.statistics`, `agreement` is the table of
    `report.agreement.compare`. A part without content is left out.
    """
    return [
        *on_data(table),
        *on_comparisons(table),
        *on_ours(table, layout),
        *([] if agreement is None else on_order(agreement)),
    ]


# -------------------------------------------------------------------------------------------- data


def on_data(table: pd.DataFrame) -> list[str]:
    """A sentence that the data are simulated, and what follows from it; none on real data."""
    simulated = table["data"] == "simulated"
    if not simulated.any():
        return []
    which = "All data are"
    if not simulated.all():
        which = f"The data of {listed(list(table.loc[simulated, 'label'].unique()))} are"
    return [f"{which} simulated: numbers of simulated data say nothing of real users."]


# ------------------------------------------------------------------------------ comparisons of rows


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The cells of `statistics` that a sentence about the whole table may call better or worse.

    Columns `task`, `label`, `run`, `row`, `ranked`, `difference`, `p_table` and `verdict`. All
    cells of the table are corrected together (Holm), so that any such claim is false in 5% of
    tables at most.
    """
    own = table[table["baseline.p_table"] < LEVEL]
    side = np.where(own["baseline.difference"] > 0, "better", "worse")
    named = own[["task", "label", "run", "row", "ranked"]].assign(
        difference=own["baseline.difference"], p_table=own["baseline.p_table"], verdict=side
    )
    return named.reset_index(drop=True)


def on_comparisons(table: pd.DataFrame) -> list[str]:
    """Which rows differ beyond chance from the row they are compared with, on which tasks, and how.

    Chance is that of seeds and test users, all comparisons of the table corrected together.
    """
    itself = table["baseline.run"] == ""
    other = table.loc[itself, "row"].iloc[0]
    compared = int(table["baseline.p_table"].notna().sum())
    if not compared:
        return [nothing_compared(table, itself, other)]
    made, tasks = claims(table), table["task"].nunique()
    found = []
    for ranked, prefix in ((1, ""), (0, "The reference ")):
        by_side = [
            claimed(made[(made["ranked"] == ranked) & (made["verdict"] == side)], tasks)
            for side in ("better", "worse")
        ]
        for side, rows in zip(("better", "worse"), by_side, strict=True):
            if rows:
                first, *others = rows
                first = f"{prefix}{first[0]} is {side} than {other} beyond chance {first[1]}"
                found.append("; ".join([first, *(" ".join(row) for row in others)]) + ".")
            elif ranked and any(by_side):
                found.append(f"No row is {side} than {other} beyond chance.")
        if ranked and not any(by_side):
            found.append(f"No row is better or worse than {other} beyond chance.")
    left_out = int((~itself).sum()) - compared
    which = f"all {compared} comparisons"
    if left_out:
        which = f"{compared} of {compared + left_out} comparisons"
    cannot = "; the others have failed or collapsed seeds, or no spread" if left_out else ""
    return [
        *found,
        f"Chance is that of seeds and test users, {which} corrected together "
        f"(Holm, {LEVEL:.0%}){cannot}.",
    ]


def nothing_compared(table: pd.DataFrame, itself: pd.Series, other: str) -> str:
    """Why no row could be compared with the row `other`, whose cells are `itself`."""
    if itself.all():
        return f"There is no row beside {other} to compare."
    if (table.loc[itself, "seeds"] <= 1).all():
        return f"No row can be compared with {other}: one seed has no spread."
    return f"No row can be compared with {other}: seeds failed or collapsed, or have no spread."


def claimed(made: pd.DataFrame, tasks: int) -> list[tuple[str, str]]:
    """Name of each row of these claims, and the tasks with the differences in points."""
    found = []
    for _, cells in made.groupby("run", sort=False):
        each = [f"{cell.label} ({signed(cell.difference)} points)" for cell in cells.itertuples()]
        on = listed(each)
        if len(cells) == tasks > CELLS_NAMED:
            low, high = cells["difference"].min(), cells["difference"].max()
            on = f"all {tasks} tasks measured ({signed(low)} to {signed(high)} points)"
        found.append((cells["row"].iloc[0], f"on {on}"))
    return found


# ---------------------------------------------------------------------------------------- AdaptSSR


def on_ours(table: pd.DataFrame, layout: dict[str, Any]) -> list[str]:
    """Ranks and tests of the paper's own method; nothing where no row is of it, or no other is."""
    run = next((row["run"] for row in layout["rows"] if row.get("paper") == OURS), None)
    rows = table[table["ranked"] == 1]
    own = rows[rows["run"] == run]
    if own.empty or rows["run"].nunique() == 1:
        return []
    return [*ranks(rows, run), *tested(table, own)]


def ranks(rows: pd.DataFrame, run: str) -> list[str]:
    """A run's rank by the mean, on each task and on average, over the tasks that every row has."""
    means = rows.pivot(index="task", columns="run", values="mean").reindex(rows["task"].unique())
    whole = means.dropna()
    if whole.empty:
        return []
    names = rows.drop_duplicates("run").set_index("run")["row"]
    labels = rows.drop_duplicates("task").set_index("task")["label"]
    by_task = [average_rank(values[None]) for values in whole.to_numpy()]
    own = [rank[whole.columns.get_loc(run)] for rank in by_task]
    of_rows = f"of {len(names)} rows"
    if len(whole) == 1:
        return [f"{names[run]} has rank {own[0]:g} {of_rows} on {labels[whole.index[0]]}."]
    average = pd.Series(average_rank(whole.to_numpy()), index=whole.columns)
    # Why rounded: means of ranks that are equal may differ in their last bit.
    average = average.round(6)
    place = 1 + int((average < average[run]).sum())
    shared = "shared " if (average == average[run]).sum() > 1 else ""
    best = average.idxmin()
    first = f"; {names[best]} is first with {average[best]:.2f}" if place > 1 else ""
    over = f"{len(whole)} tasks"
    if len(whole) < len(means):
        over = f"the {len(whole)} of {len(means)} tasks that every row has a score of"
    each = [f"{rank:g} on {labels[task]}" for task, rank in zip(whole.index, own, strict=True)]
    return [
        f"{names[run]} has average rank {average[run]:.2f} over {over} (1 is best), {shared}place "
        f"{place} {of_rows}{first}.",
        f"Its rank is {listed(each)}.",
    ]


def tested(table: pd.DataFrame, own: pd.DataFrame) -> list[str]:
    """On how many tasks a row is better, or worse, than the one compared with, and than all."""
    name, tasks = own["row"].iloc[0], len(own)
    found = []
    if own["baseline.p_table"].notna().any():
        made = claims(own)["verdict"].value_counts()
        other = table.loc[table["baseline.run"] == "", "row"].iloc[0]
        found.append(
            f"{name} is better than {other} beyond chance on {made.get('better', 0)} of {tasks} "
            f"tasks and worse on {made.get('worse', 0)}."
        )
    if own["best_other.p_holm"].notna().any():
        counts = own["best_other.verdict"].value_counts()
        found.append(
            f"{name} is better than every other row beyond chance on {counts.get('better', 0)} of "
            f"{tasks} tasks, and worse than at least one on {counts.get('worse', 0)} (corrected "
            "over its tasks and the other rows)."
        )
    return found


# -------------------------------------------------------------------------------- the paper's order


def on_order(agreement: pd.DataFrame) -> list[str]:
    """How the order of the rows compares with the paper's: Kendall's tau, its p over all orders.

    Nothing where no row or no task is in the paper. P values are corrected over the tasks (Holm).
    """
    tasks = agreement.drop_duplicates("task")
    if tasks.empty:
        return []
    known = tasks[tasks["tau"].notna()]
    if known.empty:
        why = "fewer than three rows are in the paper, or all means are equal"
        return [f"The order of the rows cannot be compared with the paper's: {why}."]
    clear = holm(known["p_value"].to_numpy(float)) < LEVEL
    parts = []
    for side, word in ((known["tau"] > 0, "agree"), (known["tau"] < 0, "are opposed")):
        if len(some := known[clear & side]):
            each = [f"{cell.label} ({number(cell.tau)})" for cell in some.itertuples()]
            parts.append(f"{word} beyond chance on {listed(each)}")
    low, high = known["tau"].min(), known["tau"].max()
    span = number(low) if low == high else f"{number(low)} to {number(high)}"
    on, test = f"over {len(known)} tasks", "permutation tests, corrected over the tasks"
    found = (
        f"the orders {' and '.join(parts)}"
        if parts
        else "on none does it differ from 0 beyond chance"
    )
    if len(known) == 1:
        on, test = f"on {known['label'].iloc[0]}", "permutation test"
        found = found if parts else "it does not differ from 0 beyond chance"
    return [
        f"Kendall's tau of this order of the rows and the paper's is {span} {on}; {found} ({test})."
    ]


# ------------------------------------------------------------------------------------------- words


def listed(texts: Sequence[str]) -> str:
    """Texts as one list: a, b and c."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


@command
def main(argv: list[str] | None = None) -> None:
    """Write what Table 2 says as Markdown; an error in the input is reported in one line."""
    parser = command_line.parser("headline", __doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.csv")
    parser.add_argument("--agreement", type=Path, help="agreement.csv: a sentence")
    add_table_flag(parser)
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--md", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout = read_table2_layout(args.experiment, args.table)
    order = read_order(args.agreement) if args.agreement else None
    found = sentences(read_cells(args.statistics), layout, order)
    artifact.write_text(args.md, render("headline.md", sentences=found))
    read = artifact.fingerprints(filter(None, [args.experiment, args.statistics, args.agreement]))
    artifact.record(args.md, resolved(args), read)
