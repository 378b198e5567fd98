"""All tasks of Table 2 at once, as aggregate.csv: ranks, improvements, chances of being better."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from userbench.report.statistics.inference import (
    Estimate,
    confidence_interval,
    sample,
    seed_noise,
    user_noise,
)
from userbench.report.statistics.over_tasks import (
    average_rank,
    percentile_interval,
    probability_of_improvement,
    seed_draws,
)
from userbench.report.statistics.paired_scores import PairedScores
from userbench.report.statistics.resampling import RESAMPLES
from userbench.report.tables.data_origin import origin

DRAWS = 2000
DECIMALS = 4
# Prefixes of columns: the row that others are compared with, and the best of all other rows.
AGAINST = ("baseline", "best_other")
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("run", "row", "data", "tasks", "seeds"),
    *(f"{name}{bound}" for name in ("rank", "improvement") for bound in BOUNDS),
    *(f"{name}.{key}" for name in AGAINST for key in ("run", *(f"probability{b}" for b in BOUNDS))),
]


def aggregate(found: PairedScores) -> pd.DataFrame:
    """All tasks at once, a row (COLUMNS) per row of the layout: values with their bounds.

    `rank`: mean over tasks; `improvement`: relative to the row compared with, in percent, mean over
    tasks; `baseline.probability`, `best_other.probability`: of a higher score than that row, and
    than the other row of the best rank, `best_other.run`. The bounds of an improvement are its 95%
    interval over seeds and test users, all others the middle 95% of draws of both. NaN of a row and
    itself, and of bounds where there is one seed. A task in which a fit failed is left out; if
    every task has one, all is NaN.
    """
    entries = found.entries[: found.n_rows]
    whole = np.isfinite(found.values[:, : found.n_rows]).all((1, 2))
    columns: dict[str, Any] = {
        "run": [entry["run"] for entry in entries],
        "row": [entry["label"] for entry in entries],
        "data": origin([task for task, kept in zip(found.tasks, whole, strict=True) if kept]),
        "tasks": int(whole.sum()),
        "seeds": len(found.seeds),
    }
    if not whole.any():
        unknown = dict.fromkeys((f"{name}.run" for name in AGAINST), "")
        return pd.DataFrame(columns | unknown).reindex(columns=COLUMNS)
    values, drawn = (part[..., whole, : found.n_rows, :] for part in (found.values, found.draws))
    n_seeds, itself = len(found.seeds), np.eye(found.n_rows, dtype=bool)
    counts = seed_draws(len(values), n_seeds, DRAWS)
    once = np.ones((1, *counts.shape[1:]), dtype=int)
    users = np.arange(DRAWS) % RESAMPLES  # draws of seeds and of test users are independent
    drawn = np.where(np.isfinite(drawn), drawn, values)[users]

    def ranks(values: np.ndarray, counts: np.ndarray) -> Float[np.ndarray, "draws rows"]:
        return average_rank(np.einsum("dtrs,dts->dtr", values, counts / n_seeds).round(DECIMALS))

    def best_others(rank: Float[np.ndarray, "draws rows"]) -> Int[np.ndarray, "draws rows"]:
        return np.where(itself, np.inf, rank[:, None, :]).argmin(-1)

    observed, redrawn = ranks(values[None], once), ranks(drawn, counts)
    columns |= with_bounds("rank", percentile_interval(observed[0], redrawn, n_seeds))
    columns |= with_bounds("improvement", improvement(found, whole))
    runs, rows = np.array(columns["run"], dtype=object), np.arange(found.n_rows)
    for name in AGAINST:
        if name == "baseline":
            opponents = (
                np.full_like(rank, found.compared_with, dtype=int) for rank in (observed, redrawn)
            )
        else:
            opponents = (best_others(rank) for rank in (observed, redrawn))
        of_observed, of_redrawn = opponents
        chance = percentile_interval(
            probability_of_improvement(values[None], of_observed, once)[0],
            probability_of_improvement(drawn, of_redrawn, counts),
            n_seeds,
        )
        other = of_observed[0] != rows
        columns[f"{name}.run"] = np.where(other, runs[of_observed[0]], "")
        for key, bound in with_bounds(f"{name}.probability", chance).items():
            columns[key] = np.where(other, bound, np.nan)
    return pd.DataFrame(columns).round(DECIMALS)[COLUMNS]


def improvement(found: PairedScores, whole: Bool[np.ndarray, " tasks"]) -> Estimate:
    """Mean over tasks of the improvement in percent over the row compared with; 95% interval."""

    def relative(values: Float[np.ndarray, "*any rows"]) -> Float[np.ndarray, "*any rows"]:
        base = values[..., [found.compared_with]]
        return 100 * (values - base) / level

    rows = np.moveaxis(found.values[whole, : found.n_rows], 1, -1)  # tasks, seeds, rows
    level = rows.mean(1)[:, [found.compared_with]]
    level = np.where(level > 0, level, np.nan)[:, None]
    over_seeds = sample(relative(rows).mean(0).T)
    drawn = np.moveaxis(found.draws[:, whole, : found.n_rows], 2, -1)
    over_users = user_noise(relative(drawn).mean((1, 2)), int(found.users[whole].min()))
    estimate = confidence_interval(over_seeds.mean, seed_noise(over_seeds), over_users)
    itself = np.arange(found.n_rows) == found.compared_with
    return Estimate(*(np.where(itself, np.nan, part) for part in estimate))


def with_bounds(name: str, estimate: Estimate) -> dict[str, Float[np.ndarray, " rows"]]:
    """Three columns: the value and its bounds."""
    return {f"{name}{bound}": part for bound, part in zip(BOUNDS, estimate, strict=True)}
