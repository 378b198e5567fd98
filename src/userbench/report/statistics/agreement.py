"""Compare our order of the methods with that of the paper's Table 2, by Kendall's tau per task.

userbench agreement --scores scores.csv --experiment experiment.json
    --out agreement.csv

The rows and tasks are those of Table 2.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import kendalltau, permutation_test

from userbench import command_line
from userbench.errors import command
from userbench.report.tables.summary import summarise
from userbench.report.tables.table2_layout import read_table2_layout
from userbench.results import artifact
from userbench.results.scores import read_scores
from userbench.results.tables import resolved, write_csv

COLUMNS = [
    *("task", "label", "metric", "data", "rows", "tau", "p_value"),
    *("run", "method", "mean", "paper_mean", "rank", "paper_rank"),
]
FEWEST_ROWS = 3
# All orders of eight rows; of more rows with ties, as many at random: p is known to .005 then.
ORDERS = 40_320


def compare(scores: pd.DataFrame, layout: dict[str, Any]) -> pd.DataFrame:
    """A row (COLUMNS) per task and method that the paper has; `tau`, `p_value` are of the task.

    Means are in percent and rounded as both tables show them, so what looks equal is a tie: it
    shares its rank, and tau is Kendall's tau-b (Kendall, Biometrika 1945), its p-value that of
    `p_of_tau`. Both are NaN of fewer than three methods, and where all means are equal. If several
    rows are of one published method, the first is compared.

    Raises:
        ValueError: a row lacks a task that others have, or rows differ in test examples.
    """
    summary = summarise(scores, layout)
    rows = pd.DataFrame(layout["rows"]).rename(columns={"paper": "method"})[["run", "method"]]
    rows = rows.dropna(subset="method").drop_duplicates("method")
    rows = rows.merge(summary, on="run")
    tables = [compare_task(rows, task) for task in layout["tasks"]]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled)[COLUMNS] if filled else pd.DataFrame(columns=COLUMNS)


def compare_task(rows: pd.DataFrame, task: dict[str, Any]) -> pd.DataFrame:
    """The rows of one task; none where it has no scores, or is not in the paper."""
    columns = {f"{task['task']}.{name}": name for name in ("mean", "paper_mean")}
    found = rows.rename(columns=columns)[["run", "method", "mean", "paper_mean"]].dropna().round(2)
    ranks = found[["mean", "paper_mean"]].rank(ascending=False, method="min").astype(int)
    tau = p_value = float("nan")
    if len(found) >= FEWEST_ROWS:
        tau = kendalltau(found["mean"], found["paper_mean"], variant="b").statistic
        p_value = p_of_tau(found["mean"].to_numpy(), found["paper_mean"].to_numpy())
    return found.assign(
        **{key: task[key] for key in ("task", "label", "metric")},
        data="simulated" if task["simulated"] else "real",
        rows=len(found),
        tau=round(tau, 4),
        p_value=round(p_value, 4),
        rank=ranks["mean"],
        paper_rank=ranks["paper_mean"],
    )


def p_of_tau(ours: Float[np.ndarray, " rows"], theirs: Float[np.ndarray, " rows"]) -> float:
    """Two-sided p-value of Kendall's tau-b, if all orders of ours are equally likely.

    Exact, except for more than eight rows with ties, where orders are drawn. `kendalltau` itself
    takes a normal distribution where there are ties, which is wrong for so few rows: with six, it
    can give .22 instead of .67. NaN where all of either side are equal.
    """
    if min(len(np.unique(side)) for side in (ours, theirs)) < 2:
        return float("nan")
    if min(len(np.unique(side)) for side in (ours, theirs)) == len(ours):
        return float(kendalltau(ours, theirs, method="exact").pvalue)
    signs = np.sign(theirs[:, None] - theirs)

    def concordance(
        order: Float[np.ndarray, "*orders rows"], axis: int = -1
    ) -> Float[np.ndarray, "*orders"] | np.float64:
        """Twice the concordant minus the discordant pairs: tau-b up to a constant."""
        return (np.sign(order[..., :, None] - order[..., None, :]) * signs).sum((-2, -1))

    drawn = permutation_test(
        (ours,),
        concordance,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=ORDERS,
        batch=10_000,
        random_state=np.random.default_rng(0),
    )
    return float(drawn.pvalue)


@command
def main(argv: list[str] | None = None) -> None:
    """Write the comparison; an error in the input is reported in one line."""
    parser = command_line.parser("agreement", __doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv")
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    layout = read_table2_layout(args.experiment)
    write_csv(args.out, compare(read_scores(args.scores), layout))
    read = artifact.fingerprints([args.scores, args.experiment])
    artifact.record(args.out, resolved(args), read)
