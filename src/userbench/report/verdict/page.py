"""Verdicts as Markdown: what of the paper's Table 2 is reproduced, and what is not compared."""

import pandas as pd

from userbench.report.markup import aligned, render
from userbench.report.statistics.power import MOST_SEEDS, POWER
from userbench.report.tables.cells import interval, number
from userbench.report.verdict.table import NONE, NOT_COMPARED, PUBLISHED_RUNS, VERDICTS

WHY = {
    "simulated data": "the data are simulated",
    "no data": "there are no data of the task",
    "no run of this method": "no run is of the method",
    f"not compared with a run of {NONE}": f"no run of {NONE} is the baseline",
}
"""Reasons why a value or gain is not compared, as the end of a sentence."""


def page(verdicts: pd.DataFrame, agreement: pd.DataFrame) -> str:
    """Verdicts and agreement in order as Markdown, aligned so that it reads well as plain text.

    Values and gains that are not compared have no line of their own, see `refusals`.
    """
    gains = verdicts[verdicts["gain_verdict"] != ""]
    levels = [["Task", "Method", "Published", "Ours", "Difference", "Margin", "Verdict"]]
    for cell in verdicts[verdicts["verdict"] != NOT_COMPARED].itertuples():
        levels.append(
            [
                f"{cell.task} {cell.metric}",
                cell.method,
                f"{number(cell.published_mean)}±{cell.published_std:.2f}",
                interval(cell.mean, cell.low, cell.high),
                interval(cell.difference, cell.difference_low, cell.difference_high),
                f"{cell.margin:g}",
                answer(cell.verdict, cell.reason),
            ]
        )
    over_none = [["Task", "Method", "Published gain", "Ours", "Difference", "Margin", "Verdict"]]
    for cell in gains[gains["gain_verdict"] != NOT_COMPARED].itertuples():
        bounds = (cell.gain_difference_low, cell.gain_difference_high)
        over_none.append(
            [
                f"{cell.task} {cell.metric}",
                cell.method,
                number(cell.published_gain),
                number(cell.gain),
                interval(cell.gain_difference, *bounds),
                f"{cell.margin_gain:g}",
                answer(cell.gain_verdict, cell.gain_reason),
            ]
        )
    orders = [["Task", "Data", "Methods", "Kendall's tau", "p"]]
    for task in agreement.drop_duplicates("task").itertuples():
        numbers = (str(task.rows), number(task.tau), f"{task.p_value:.3f}")
        orders.append([task.label, task.data, *numbers])
    return render(
        "verdict.md",
        values=f"{len(verdicts)} cells: {counted(verdicts['verdict'])}",
        gains=f"{len(gains)} cells: {counted(gains['gain_verdict'])}",
        none=NONE,
        refusals=refusals(verdicts),
        levels=aligned(levels) if len(levels) > 1 else "",
        over_none=aligned(over_none) if len(over_none) > 1 else "",
        orders=aligned(orders),
        published_runs=PUBLISHED_RUNS,
        power=f"{POWER:.0%}",
        most_seeds=f"{MOST_SEEDS:,}",
    )


def refusals(verdicts: pd.DataFrame) -> list[str]:
    """A sentence on each reason why values and gains are not compared, with their number."""
    counts: dict[str, list[str]] = {}
    for name, what in (("", "value{s} of the paper"), ("gain_", f"gain{{s}} over {NONE}")):
        refused = verdicts.loc[verdicts[f"{name}verdict"] == NOT_COMPARED, f"{name}reason"]
        for reason, n in refused.value_counts(sort=False).items():
            counts.setdefault(WHY.get(reason, reason), []).append(
                f"{n} {what.format(s='s' * (n > 1))}"
            )
    return [
        f"{' and '.join(each)} {'is' if each[0].startswith('1 ') and len(each) == 1 else 'are'} "
        f"not compared: {reason}."
        for reason, each in counts.items()
    ]


def counted(verdicts: pd.Series) -> str:
    """How often each verdict was given."""
    counts = verdicts.value_counts()
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in VERDICTS)


def answer(verdict: str, reason: str) -> str:
    """A verdict, and why, as shown."""
    return f"{verdict} ({reason})" if reason else verdict
