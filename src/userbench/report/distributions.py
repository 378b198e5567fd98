"""Distributions of the cosines that `userbench.similarity` measures, and what they say in numbers.

Figure 5 of AdaptSSR (Yu et al., NeurIPS 2023): is a user's vector nearer to its dropout twin than
to the augmented sequence, and nearer to that than to another user's?
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from sklearn.neighbors import KernelDensity

from userbench.report.inference import interval_of
from userbench.results.artifact import check_recorded

TIERS = ("implicit", "crop", "reorder", "mask", "other")
EXPLICIT = TIERS[1:-1]
COSINES = np.linspace(-1, 1, 1001)
"""Where densities are evaluated."""
# Why: a few steps of that grid, or the area of a peak narrower than a step would be missed.
LEAST_BANDWIDTH = 0.006
COLUMNS = ["run", "corpus", "seed", "encode", "dropout", "user", "draw", *TIERS]
ONE_COSINE = ["run", "corpus", "seed", "user", "draw"]


def read_cosines(paths: Sequence[Path]) -> pd.DataFrame:
    """The files of `userbench.similarity` as one frame (COLUMNS).

    Raises:
        ValueError: a file is not one of them, holds what another one holds, or was encoded in
            another way.
    """
    frames = []
    for path in paths:
        check_recorded(path)
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as problem:
            raise ValueError(f"{path}: cannot be read as parquet ({problem})") from None
        if list(frame.columns) != COLUMNS:
            raise ValueError(f"{path}: the columns must be {', '.join(COLUMNS)}. Make it again")
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    again = table[table.duplicated(ONE_COSINE)]
    if len(again):
        row = again.iloc[0]
        raise ValueError(
            f"run {row['run']}, corpus {row['corpus']}, seed {row['seed']}: read twice"
        )
    compared = ["encode", "dropout"] if "evaluation" in set(table["encode"]) else ["encode"]
    for column in compared:
        if table[column].nunique() > 1:
            found = " and ".join(f"{value}" for value in table[column].unique())
            raise ValueError(f"cosines of {column} {found}: measure all with one --{column}")
    return table


def encoding_statement(cosines: pd.DataFrame) -> str:
    """Which vectors were encoded under dropout, and at which rate: a sentence."""
    rates = " or ".join(f"{rate:g}" for rate in sorted(cosines["dropout"].unique()))
    if cosines["encode"].iloc[0] == "evaluation":
        return f"The dropout twin alone is encoded under dropout ({rates} for every method)"
    return f"Every vector is encoded under dropout, at the rate of its pre-training ({rates})"


def density(values: np.ndarray) -> np.ndarray:
    """Density of cosines on COSINES: a Gaussian kernel, its bandwidth by Silverman's rule.

    The kernel's mass beyond -1 and 1 is reflected, so that the area between them is 1 (Silverman,
    Density Estimation, 1986, section 2.10).
    """
    values = np.clip(np.asarray(values, dtype=float), -1, 1)
    quartiles = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    spread = min(values.std(), quartiles) or values.std()
    bandwidth = max(0.9 * spread * len(values) ** -0.2, LEAST_BANDWIDTH)
    reflected = np.concatenate([values, 2 - values, -2 - values])
    # Why a tree: tens of thousands of cosines, far from most of the grid; exact to 1e-8 of a value.
    kernel = KernelDensity(bandwidth=bandwidth, rtol=1e-8).fit(reflected[:, None])
    return 3 * np.exp(kernel.score_samples(COSINES[:, None]))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap coefficient of two densities on COSINES: 1 where they are equal, 0 where apart."""
    return float(trapezoid(np.minimum(one, other), COSINES))


def densities(cosines: pd.DataFrame, run: str) -> dict[str, np.ndarray]:
    """Density of each tier of a run, over all users, draws and seeds."""
    own = cosines[cosines["run"] == run]
    return {tier: density(own[tier].to_numpy()) for tier in TIERS}


def summarise_cosines(cosines: pd.DataFrame, layout: dict[str, Any]) -> pd.DataFrame:
    """One row per run and tier, in the order of the layout.

    `encode` and `dropout` are those of `userbench.similarity`. `mean` is over users, draws and
    seeds, `low` and `high` its 95% Student-t interval over seeds, `std` the spread of single
    cosines. `overlap_implicit` and `overlap_other` are the overlap coefficients with the twin's and
    the other users' densities. `below_implicit` and `above_other` say how often, over users and
    draws, the orders of the ranking hold: this cosine is below the twin's, and above that of
    another user. Empty where a tier would be compared with itself.

    Raises:
        ValueError: a run of the layout without cosines.
    """
    rows = []
    for entry in layout["rows"]:
        own = cosines[cosines["run"] == entry["run"]]
        if own.empty:
            raise ValueError(f"run {entry['run']!r}: no cosines. Measure it, or take it out")
        smooth = densities(cosines, entry["run"])
        for tier in TIERS:
            means = own.groupby("seed")[tier].mean()
            low, high = interval_of(means.mean(), means.std(), len(means))
            row = {
                "run": entry["run"],
                "label": entry["label"],
                "corpus": own["corpus"].iloc[0],
                "data": "simulated" if layout["simulated"] else "real",
                "encode": own["encode"].iloc[0],
                "dropout": own["dropout"].iloc[0],
                "tier": tier,
                "seeds": len(means),
                "users": own["user"].nunique(),
                "cosines": len(own),
                "mean": means.mean(),
                "low": low,
                "high": high,
                "std": own[tier].std(),
            }
            if tier != "implicit":
                row["overlap_implicit"] = overlap(smooth[tier], smooth["implicit"])
                row["below_implicit"] = (own[tier] < own["implicit"]).mean()
            if tier != "other":
                row["overlap_other"] = overlap(smooth[tier], smooth["other"])
                row["above_other"] = (own[tier] > own["other"]).mean()
            rows.append(row)
    return pd.DataFrame(rows).round(6)
