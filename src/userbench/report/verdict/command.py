"""Decide whether each value of the paper is reproduced: a verdict per cell and per gain.

userbench verdict --statistics statistics.csv --table1 table1.csv --agreement
    agreement.csv --experiment experiment.json --csv verdict.csv --md verdict.md

The rows and tasks are those of Table 2. Margins are in points, by task, and are set in the config
before anything is run. A gain is what a method adds to None. It is judged beside the mean itself,
as several published gains are smaller than the margin: the mean of None would pass there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from userbench import command_line
from userbench.errors import command
from userbench.report.experiment import layout_of
from userbench.report.statistics.equivalence import (
    of_test_users,
    power_to_decide,
    seeds_to_decide,
    three_sided_test,
)
from userbench.report.statistics.inference import LEVEL, Noise, Sample, of_runs
from userbench.report.statistics.power import MOST_SEEDS, POWER
from userbench.report.tables.published import published_table2
from userbench.report.tables.table2_layout import read_table2_layout
from userbench.report.verdict.comparable import data_of, first_of_each
from userbench.report.verdict.page import page
from userbench.report.verdict.table import (
    COLUMNS,
    NONE,
    NOT_COMPARED,
    PUBLISHED_RUNS,
    TEXTS,
    VERDICTS,
)
from userbench.results import artifact
from userbench.results.tables import read_table, resolved, write_csv

DECIMALS = 4
GAIN_NAMES = {
    **{"baseline.run": "compared_with", "baseline.difference": "gain"},
    **{"baseline.std": "gain_std", "baseline.test_std": "gain_test_std"},
}
STATISTICS_TEXTS = ("task", "metric", "run", "note", "baseline.run")
STATISTICS_NUMBERS = (
    *("seeds", "mean", "std", "low", "high", "test_std"),
    *("baseline.difference", "baseline.std", "baseline.test_std"),
)


def read_statistics(path: Path) -> pd.DataFrame:
    """The columns of statistics.csv that verdicts need, see `read_table`.

    Raises:
        ValueError: the file is damaged, not made by `report.statistics`, or has a cell twice.
    """
    table = read_table(path, STATISTICS_TEXTS, STATISTICS_NUMBERS, "report.statistics")
    if table.duplicated(["task", "run"]).any():
        raise ValueError(f"{path}: a run has a task twice. Make it again with report.statistics")
    return table


def judge(
    statistics: pd.DataFrame,
    table1: pd.DataFrame,
    layout: dict[str, Any],
    margin: dict[str, float],
) -> pd.DataFrame:
    """A row (COLUMNS) per cell of the paper's Table 2, task by task, in percent and points.

    If several rows or tasks are of a published one, the first is compared. There are differences
    and tests only where the data are real, and as many as the paper's.
    """
    cells = published_table2().reset_index().sort_values("task", kind="stable", ignore_index=True)
    cells = cells.rename(columns={"mean_percent": "published_mean", "std_percent": "published_std"})
    cells = cells.assign(published_runs=PUBLISHED_RUNS, margin=cells["task"].map(margin))
    for part, column in (("rows", "method"), ("tasks", "task")):
        cells = cells.merge(first_of_each(layout[part], column), "left", column)
    own = statistics.rename(columns={"task": "our_task", **GAIN_NAMES})
    cells = cells.merge(own, "left", ["run", "our_task", "metric"], validate="m:1")
    cells["note"] = cells["note"].fillna("")
    cells["data"], refused = data_of(cells, table1)
    cells = cells.assign(**judge_levels(cells, refused), **judge_gains(cells, refused))
    counts = dict.fromkeys(("seeds", "seeds_needed", "gain_seeds_needed"), "Int64")
    return cells.astype(counts).round(DECIMALS)[COLUMNS]


def judge_levels(cells: pd.DataFrame, refused: np.ndarray) -> dict[str, np.ndarray]:
    """TESTED of the difference of our mean and the published one."""
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
    """The published gain over None, its margin, and TESTED of our gain and it; None has no gain.

    Published means are unpaired, as only their stds are known. The test users are those of both
    rows, so their part is that of the paired difference.
    """
    itself = (cells["method"] == NONE).to_numpy()
    none = cells[itself].set_index("task").loc[cells["task"]].reset_index()
    published = (cells["published_mean"] - none["published_mean"]).to_numpy()
    margin = np.minimum(cells["margin"].to_numpy(), published / 2)
    compared = (none["run"].notna() & (cells["compared_with"] == none["run"])).to_numpy()
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
    columns = {"published_gain": published, "gain": gain, "margin_gain": margin}
    columns |= {f"gain_{name}": values for name, values in tested.items()}
    return {
        name: np.where(itself, "" if name in TEXTS else np.nan, values)
        for name, values in columns.items()
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
    """TESTED of a difference between ours and the published value.

    `refused` is why a cell is not comparable, `note` why it cannot be decided, each mostly "".
    """
    test_users = of_test_users(np.where(test_std > 0, test_std, np.nan))
    tested = three_sided_test(
        difference, [of_runs(ours.std, ours.n), *published, test_users], margin
    )
    needed = seeds_to_decide(difference, ours.std, [*published, test_users], margin)
    needed = np.maximum(needed, ours.n + 1)
    # Why zero is no spread: seeds that agree in all digits say nothing of the next seed.
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
    hopeless = power_to_decide(difference, [test_users], margin) < POWER
    never = {
        "the test users are too few: no number of seeds can tell": np.isinf(needed) & hopeless,
        f"no number of seeds up to {MOST_SEEDS:,} can tell": np.isinf(needed),
    }
    about = [
        f"about {n:.0f} seeds needed, if difference and spread are the true ones" for n in needed
    ]
    unanswered = np.select([doubt != "", *never.values()], [doubt, *never], about)
    tests = {"difference_low": tested.low, "difference_high": tested.high}
    tests |= {name: getattr(tested, name) for name in ("p_better", "p_same", "p_worse")}
    sure = (refused == "") & (doubt == "")
    still_open = verdict == "undecided"
    countable = still_open & sure & np.isfinite(needed)
    return {
        "difference": np.where(refused == "", difference, np.nan),
        **{name: np.where(sure, value, np.nan) for name, value in tests.items()},
        "verdict": verdict,
        "seeds_needed": np.where(countable, needed, np.nan),
        "reason": np.where(still_open, unanswered, refused),
    }


@command
def main(argv: list[str] | None = None) -> None:
    """Write the verdicts; an error in the input is reported in one line."""
    parser = command_line.parser("verdict", __doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.csv")
    parser.add_argument("--table1", type=Path, required=True, help="table1.csv")
    parser.add_argument("--agreement", type=Path, required=True, help="agreement.csv")
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--csv", type=Path, required=True, help="file to write")
    parser.add_argument("--md", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout, margin = read_table2_layout(args.experiment), layout_of(args.experiment, "verify")
    table1 = pd.read_csv(args.table1).fillna({"task": ""})
    verdicts = judge(read_statistics(args.statistics), table1, layout, margin)
    write_csv(args.csv, verdicts)
    artifact.write_text(args.md, page(verdicts, pd.read_csv(args.agreement)))
    read = [args.statistics, args.table1, args.agreement, args.experiment]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), beside=[args.md])
