"""Is each of the paper's figures reproduced? One verdict per cell of its Table 2, and per gain.

python -m userbench.report.verdict --statistics statistics.csv --table1 table1.csv --agreement
    agreement.csv --experiment experiment.json --csv verdict.csv --md verdict.md

The rows and tasks are those of Table 2. Margins are in points, by task, and stand in the config
before anything is run. A gain is what a method adds to None. It is judged beside the
level, as several published gains are smaller than the margin: None's own level would pass there.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from userbench.errors import command
from userbench.report.experiment import layout_of
from userbench.report.inference import (
    LEVEL,
    MOST_SEEDS,
    POWER,
    Noise,
    Sample,
    of_runs,
    of_test_users,
    power_to_tell,
    seeds_to_tell,
    three_sided_test,
)
from userbench.report.statistics import (
    published_table2,
    read_layout,
    read_table,
)
from userbench.report.tables import (
    interval,
    markdown_line,
    markdown_text,
    number,
    resolved,
    write_csv,
)
from userbench.results import artifact

# The paper repeated each experiment five times; we take its std to be that of a sample.
PUBLISHED_RUNS = 5
NONE = "None"  # the paper's row without pre-training, which gains are counted over
# Why not none: lines that cannot be read are left out.
SAME_DATA = 0.01
DECIMALS = 4
TESTED = (
    *("difference", "difference_low", "difference_high", "p_better", "p_same", "p_worse"),
    *("verdict", "seeds_needed", "reason"),
)
COLUMNS = [
    *("task", "metric", "method", "run", "data", "published_mean", "published_std"),
    *("published_runs", "seeds", "mean", "std", "test_std", "low", "high", "margin", *TESTED),
    *("published_gain", "gain", "gain_std", "gain_test_std", "margin_gain"),
    *(f"gain_{name}" for name in TESTED),
]
TEXTS = ("task", "metric", "method", "run", "data", "verdict", "reason")
TEXTS += ("gain_verdict", "gain_reason")
GAIN_NAMES = {
    **{"baseline.run": "baseline", "baseline.difference": "gain"},
    **{"baseline.std": "gain_std", "baseline.test_std": "gain_test_std"},
}
STATISTICS_TEXTS = ("task", "metric", "run", "note", "baseline.run")
STATISTICS_NUMBERS = (
    *("seeds", "mean", "std", "low", "high", "test_std"),
    *("baseline.difference", "baseline.std", "baseline.test_std"),
)
NOT_COMPARED = "not comparable"
VERDICTS = ("reproduced", "better", "worse", "undecided", NOT_COMPARED)
WHY = {
    "simulated data": "the data are simulated",
    "no data": "there are no data of the task",
    "no run of this method": "no run is of the method",
    f"not compared with a run of {NONE}": f"no run of {NONE} is the baseline",
}
"""Reasons why a value or gain is not compared, as the end of a sentence."""
NOTES = f"""
Published: mean±std of {PUBLISHED_RUNS} runs. Ours: mean over seeds, with the 95% interval of
statistics.csv. Difference: ours less published; its 90% interval decides: within the margin,
reproduced; beyond it, better or worse; else undecided. Its error is made of the spread of our
seeds, that of the paper's runs, and the test users, whom the paper and we drew each for ourselves.
Margin: half of AdaptSSR's lead over the next method in that task of the paper.
"""
GAIN_NOTES = f"""
Gain: over {NONE}, ours paired by seed. Its margin is at most half of the published gain, so that no
gain at all lies at least twice as far off.

Seeds needed: for {POWER:.0%} power, were difference and spread the true ones. This is a guess:
where 10 are needed, 90% of the guesses from three seeds lie between 2 and more than
{MOST_SEEDS:,}. Who adds seeds to three, up to five, until "better" or "worse" shows is wrong in 6%
to 10% of cells at the margin, not in 5%.
"""


def read_statistics(path: Path) -> pd.DataFrame:
    """What verdicts need of `statistics.csv`, see `read_table`.

    Raises:
        ValueError: it is damaged, not made by `report.comparison`, or holds a cell twice.
    """
    table = read_table(path, STATISTICS_TEXTS, STATISTICS_NUMBERS, "report.comparison")
    if table.duplicated(["task", "run"]).any():
        raise ValueError(f"{path}: a run has a task twice. Make it again with report.comparison")
    return table


def judge(
    statistics: pd.DataFrame,
    table1: pd.DataFrame,
    layout: dict[str, Any],
    margin: dict[str, float],
) -> pd.DataFrame:
    """A row (COLUMNS) per cell of the paper's Table 2, task by task, in percent and points.

    Where several rows or tasks stand for a published one, the first does. Differences and tests
    are given only where the data are real, and as many as the paper's.
    """
    cells = published_table2().reset_index().sort_values("task", kind="stable", ignore_index=True)
    cells = cells.rename(columns={"mean_percent": "published_mean", "std_percent": "published_std"})
    cells = cells.assign(published_runs=PUBLISHED_RUNS, margin=cells["task"].map(margin))
    for part, column in (("rows", "method"), ("tasks", "task")):
        cells = cells.merge(standing_for(layout[part], column), "left", column)
    own = statistics.rename(columns={"task": "our_task", **GAIN_NAMES})
    cells = cells.merge(own, "left", ["run", "our_task", "metric"], validate="m:1")
    cells["note"] = cells["note"].fillna("")
    cells["data"], refused = data_of(cells, table1)
    cells = cells.assign(**judge_levels(cells, refused), **judge_gains(cells, refused))
    counts = dict.fromkeys(("seeds", "seeds_needed", "gain_seeds_needed"), "Int64")
    return cells.astype(counts).round(DECIMALS)[COLUMNS]


def standing_for(entries: Sequence[dict[str, Any]], column: str) -> pd.DataFrame:
    """The first row or task of the layout for each that is published, named by `column`."""
    own = pd.DataFrame(entries).rename(columns={"task": "our_task"})
    own = own.rename(columns={"paper": column}).drop(columns=["label", "metric"], errors="ignore")
    return own.dropna(subset=column).drop_duplicates(column)


def data_of(cells: pd.DataFrame, table1: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What each cell was measured on, and why it cannot be compared, or "".

    `table1` is `report.tables.describe_corpora`, by which real data are the paper's or not.
    """
    simulated = np.array([told is True for told in cells["simulated"]])
    missing = (cells["mean"].isna() & (cells["note"] == "")).to_numpy()
    absent = np.where(cells["run"].notna(), "no data", "no run of this method")
    other = cells["task"].map(other_data(table1)).fillna("")
    return (
        np.select([simulated, missing], ["simulated", "missing"], "real"),
        np.select([simulated, missing], ["simulated data", absent], other),
    )


def other_data(table1: pd.DataFrame) -> dict[str, str]:
    """How the data of a task differ from the paper's; a task of which they do not is left out.

    Its corpus comes first. A task that several corpora have must be the paper's in each of them.
    """
    tasks = table1.dropna(subset="corpus").query("task != ''")
    corpora = table1[table1["task"] == ""].drop(columns="task")
    told: dict[str, str] = {}
    for sizes, quantity in (
        (tasks[["corpus", "task"]].merge(corpora, "left", "corpus"), "behavior_sequences"),
        (tasks, "samples"),
    ):
        here, paper = (sizes[f"{quantity}.{side}"].astype(float) for side in ("measured", "paper"))
        other = ~((here / paper - 1).abs() <= SAME_DATA)
        for task, own, theirs in zip(sizes["task"][other], here[other], paper[other], strict=True):
            what = f"{own:,.0f} {quantity.replace('_', ' ')}, published on {theirs:,.0f}"
            told.setdefault(task, f"measured on {what}")
    return told


# ------------------------------------------------------------------------------------------- tests


def judge_levels(cells: pd.DataFrame, refused: np.ndarray) -> dict[str, np.ndarray]:
    """TESTED of our mean and the published one."""
    return decide(
        (cells["mean"] - cells["published_mean"]).to_numpy(),
        Sample(*(cells[name].to_numpy(float) for name in ("mean", "std", "seeds"))),
        cells["test_std"].to_numpy(),
        [of_runs(cells["published_std"].to_numpy(), PUBLISHED_RUNS)],
        cells["margin"].to_numpy(),
        refused,
        cells["note"].to_numpy(),
    )


def judge_gains(cells: pd.DataFrame, refused: np.ndarray) -> dict[str, np.ndarray]:
    """The published gain over None, the margin of ours, and TESTED of both; None has no gain.

    Published means are unpaired, as only their stds are known. The test users are those of both
    rows, so their part is that of the paired difference.
    """
    itself = (cells["method"] == NONE).to_numpy()
    none = cells[itself].set_index("task").loc[cells["task"]].reset_index()
    published = (cells["published_mean"] - none["published_mean"]).to_numpy()
    margin = np.minimum(cells["margin"].to_numpy(), published / 2)
    compared = (none["run"].notna() & (cells["baseline"] == none["run"])).to_numpy()
    gain = cells["gain"].where(compared).to_numpy()
    no_gain = [f"not compared with a run of {NONE}", "the paper has no gain here"]
    tested = decide(
        gain - published,
        Sample(gain, *(cells[name].to_numpy(float) for name in ("gain_std", "seeds"))),
        cells["gain_test_std"].to_numpy(),
        [of_runs(one["published_std"].to_numpy(), PUBLISHED_RUNS) for one in (cells, none)],
        margin,
        np.select([refused != "", ~compared, ~(margin > 0)], [refused, *no_gain], ""),
        np.where(cells["note"] != "", cells["note"], none["note"]),
    )
    told = {"published_gain": published, "gain": gain, "margin_gain": margin}
    told |= {f"gain_{name}": values for name, values in tested.items()}
    return {
        name: np.where(itself, "" if name in TEXTS else np.nan, values)
        for name, values in told.items()
    }


def decide(
    difference: Float[np.ndarray, " cells"],
    ours: Sample,
    test_std: Float[np.ndarray, " cells"],
    published: Sequence[Noise],
    margin: Float[np.ndarray, " cells"],
    refused: np.ndarray,
    note: np.ndarray,
) -> dict[str, np.ndarray]:
    """TESTED of a difference between ours and the published.

    `refused` says why a cell is not comparable, `note` why it cannot be decided, each "" if not so.
    """
    test_users = of_test_users(np.where(test_std > 0, test_std, np.nan))
    tested = three_sided_test(
        difference, [of_runs(ours.std, ours.n), *published, test_users], margin
    )
    needed = seeds_to_tell(difference, ours.std, [*published, test_users], margin)
    needed = np.maximum(needed, ours.n + 1)
    # Why zero is no spread: scores that agree in all digits do not show what a next seed would do.
    doubts = {
        "one seed has no spread": ours.n == 1,
        "the difference is not known": np.isnan(difference),
        "no spread over the seeds": ~(ours.std > 0),
        "the noise of the test users is not known": ~(test_std > 0),
    }
    doubt = np.select([note != "", *doubts.values()], [note, *doubts], "")
    answers = np.stack([tested.p_same, tested.p_better, tested.p_worse]) < LEVEL
    verdict = np.select(
        [refused != "", doubt != "", *answers],
        [NOT_COMPARED, "undecided", *VERDICTS[:3]],
        "undecided",
    )
    hopeless = power_to_tell(difference, [test_users], margin) < POWER
    whatever = {
        "the test users are too few: no number of seeds can tell": np.isinf(needed) & hopeless,
        f"no number of seeds up to {MOST_SEEDS:,} can tell": np.isinf(needed),
    }
    about = [
        f"about {n:.0f} seeds needed, if difference and spread are the true ones" for n in needed
    ]
    unsaid = np.select([doubt != "", *whatever.values()], [doubt, *whatever], about)
    told = {"difference_low": tested.low, "difference_high": tested.high}
    told |= {name: getattr(tested, name) for name in ("p_better", "p_same", "p_worse")}
    sure = (refused == "") & (doubt == "")
    still_open = verdict == "undecided"
    countable = still_open & sure & np.isfinite(needed)
    return {
        "difference": np.where(refused == "", difference, np.nan),
        **{name: np.where(sure, value, np.nan) for name, value in told.items()},
        "verdict": verdict,
        "seeds_needed": np.where(countable, needed, np.nan),
        "reason": np.where(still_open, unsaid, refused),
    }


# -------------------------------------------------------------------------------------------- page


def page(verdicts: pd.DataFrame, agreement: pd.DataFrame) -> str:
    """Verdicts and agreement in order as Markdown, aligned so that it reads well as it is.

    What is not compared has no line of its own, see `refusals`.
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
        figures = (str(task.rows), number(task.tau), f"{task.p_value:.3f}")
        orders.append([markdown_text(task.label), task.data, *figures])
    return "\n".join(
        [
            f"The paper's Table 2, {len(verdicts)} cells: {counted(verdicts['verdict'])}.",
            f"Gains over {NONE}, {len(gains)} cells: {counted(gains['gain_verdict'])}.\n",
            *(f"{markdown_text(sentence)}\n" for sentence in refusals(verdicts)),
            *([*aligned(levels), NOTES] if len(levels) > 1 else []),
            *([*aligned(over_none), GAIN_NOTES] if len(over_none) > 1 else []),
            "The order of the methods, ours and published; p of all orders that could be:\n",
            *aligned(orders),
            "",
        ]
    )


def refusals(verdicts: pd.DataFrame) -> list[str]:
    """A sentence on each reason why values and gains are not compared, with their number."""
    counts: dict[str, list[str]] = {}
    for name, what in (("", "value{s} of the paper"), ("gain_", f"gain{{s}} over {NONE}")):
        refused = verdicts.loc[verdicts[f"{name}verdict"] == NOT_COMPARED, f"{name}reason"]
        for reason, n in refused.value_counts(sort=False).items():
            said = f"{n} {what.format(s='s' * (n > 1))}"
            counts.setdefault(WHY.get(reason, reason), []).append(said)
    return [
        f"{' and '.join(said)} {'is' if said[0].startswith('1 ') and len(said) == 1 else 'are'} "
        f"not compared: {reason}."
        for reason, said in counts.items()
    ]


def counted(verdicts: pd.Series) -> str:
    """How often each verdict was given."""
    counts = verdicts.value_counts()
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in VERDICTS)


def answer(verdict: str, reason: str) -> str:
    """A verdict, and why, as shown."""
    return markdown_text(f"{verdict} ({reason})" if reason else verdict)


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
    parser.add_argument("--statistics", type=Path, required=True, help="CSV of report.comparison")
    parser.add_argument("--table1", type=Path, required=True, help="CSV of report.tables table1")
    parser.add_argument("--agreement", type=Path, required=True, help="CSV of report.agreement")
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--md", type=Path, required=True)
    args = parser.parse_args(argv)
    layout, margin = read_layout(args.experiment), layout_of(args.experiment, "verify")
    table1 = pd.read_csv(args.table1).fillna({"task": ""})
    verdicts = judge(read_statistics(args.statistics), table1, layout, margin)
    write_csv(args.csv, verdicts)
    artifact.write_text(args.md, page(verdicts, pd.read_csv(args.agreement)))
    read = [args.statistics, args.table1, args.agreement, args.experiment]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside=[args.md])


if __name__ == "__main__":
    main()
