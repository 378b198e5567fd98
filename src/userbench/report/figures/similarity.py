"""Is a user's vector nearer to its dropout twin than to an augmented sequence, and to that than to
another user's? (Figure 5; AdaptSSR, Yu et al., NeurIPS 2023)

figure5.csv has a row per run and tier (implicit: the dropout twin; crop, reorder, mask; other:
another user): run, label, corpus, data, encode and dropout (as in `userbench.similarity`), tier,
seeds, users, cosines (how many); mean over users, draws and seeds, low and high, its 95% Student-t
interval over seeds, std, the spread of single cosines; overlap_implicit and overlap_other, the
overlap coefficients with the twin's and the other users' densities; below_implicit and above_other,
how often, over users and draws, this cosine is below the twin's, and above that of another user.
Empty where a tier would be compared with itself. figure5.parquet has all cosines.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.integrate import trapezoid
from sklearn.neighbors import KernelDensity

from userbench.experiment.config import Similarity
from userbench.report.drawing.cosines import TIERS
from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.marks import caption, legend
from userbench.report.drawing.style import DOUBLE, GREY, LIGHT_GREY, look
from userbench.report.statistics.inference import interval_of

TITLE = "Similarity"
CAPTION = (
    "Cosines between a user's vector and its dropout twin, its augmentations, and other users "
    "(Figure 5)."
)
READS = ("cosines",)
NAME = "figure5"
Options = Similarity

EXPLICIT = TIERS[1:-1]
TIER_LINES = {"crop": "-", "reorder": "--", "mask": ":"}
# The ratios of the authors' code: the defaults of `views/operators.py`.
VIEW_RATIOS = {"crop_ratio": 0.4, "reorder_ratio": 0.6, "mask_ratio": 0.6}
COSINES = np.linspace(-1, 1, 1001)
"""Where densities are evaluated."""
# Why: a few steps of that grid, or the area of a peak narrower than a step would be missed.
LEAST_BANDWIDTH = 0.006

# ----------------------------------------------------------------------------------------- numbers


def numbers(inputs: Inputs) -> pd.DataFrame:
    """One row per run and tier; ValueError for a run without cosines."""
    rows = []
    for entry in inputs.rows:
        own = inputs.cosines[inputs.cosines["run"] == entry["run"]]
        if own.empty:
            raise ValueError(f"run {entry['run']!r}: no cosines. Measure it, or take it out")
        smooth = densities(own)
        about = {
            "run": entry["run"],
            "label": entry["label"],
            "corpus": own["corpus"].iloc[0],
            "data": "simulated" if inputs.layout["simulated"] else "real",
            "encode": own["encode"].iloc[0],
            "dropout": own["dropout"].iloc[0],
        }
        rows += [about | {"tier": tier} | describe_tier(own, tier, smooth) for tier in TIERS]
    return pd.DataFrame(rows).round(6)


def describe_tier(own: pd.DataFrame, tier: str, smooth: dict[str, np.ndarray]) -> dict[str, Any]:
    """Statistics of the cosines of one run with one tier."""
    means = own.groupby("seed")[tier].mean()
    low, high = interval_of(means.mean(), means.std(), len(means))
    row = {
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
    return row


def densities(own: pd.DataFrame) -> dict[str, np.ndarray]:
    """Density of each tier of one run, over all users, draws and seeds."""
    return {tier: density(own[tier].to_numpy()) for tier in TIERS}


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


# ----------------------------------------------------------------------------------------- drawing


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """Densities of the cosines with each tier, one panel per method, on shared axes."""
    rows, cosines = inputs.rows, inputs.cosines
    columns = min(3, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure = Figure(figsize=(DOUBLE, 0.75 + 1.25 * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    lowest = np.floor(4 * np.quantile(cosines[list(TIERS)], 0.001)) / 4
    top = 0.0
    for axes, row in zip(grid.flat, rows, strict=False):
        smooth = densities(cosines[cosines["run"] == row["run"]])
        top = max(top, *(curve.max() for curve in smooth.values()))
        density_panel(axes, smooth, look(row["method"]).colour)
        own = frame[frame["run"] == row["run"]].set_index("tier")
        order = own.loc[list(EXPLICIT), ["below_implicit", "above_other"]].mean()
        shares = f"{100 * order['below_implicit']:.0f}% / {100 * order['above_other']:.0f}%"
        axes.set_title(row["label"], loc="left", fontweight="bold")
        axes.set_title(shares, loc="right", fontsize=6)
    for axes in grid.flat:
        # Why not linear: a narrow peak of the same area would flatten all other curves.
        axes.set_yscale("function", functions=(np.sqrt, np.square))
        axes.set_ylim(0, 1.05 * top)
        axes.set_yticks(square_ticks(top))
        axes.set_xlim(lowest, 1)
    for axes in grid.flat[len(rows) :]:
        axes.set_visible(False)
    for column in range(columns):
        last = (len(rows) - 1 - column) // columns
        grid[last, column].tick_params(labelbottom=True)
        grid[last, column].set_xlabel("cosine with the user's own vector")
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    handles = [Line2D([], [], color="black", label="same sequence, dropout twin")]
    handles += [
        Line2D([], [], color=GREY, linestyle=line, label=name) for name, line in TIER_LINES.items()
    ]
    handles.append(Line2D([], [], color=LIGHT_GREY, linewidth=5, label="another user"))
    legend(figure, handles, 5)
    caption(figure, inputs, frame, explanation(inputs))
    return figure


def explanation(inputs: Inputs) -> str:
    """The caption below the panels."""
    ratios = {
        name: f"{100 * ratio:g}%" for name, ratio in (VIEW_RATIOS | inputs.options["views"]).items()
    }
    return (
        f"Densities of area 1 (square-root axis) of held-out users, {{seeds}}; crop keeps "
        f"{ratios['crop_ratio']} of a sequence, reorder and mask change {ratios['reorder_ratio']} "
        f"and {ratios['mask_ratio']}. {encoding_statement(inputs.cosines)}. Percentages: "
        "how often an augmented sequence is farther away than the dropout twin / nearer than "
        "another user, mean of the three operators."
    )


def encoding_statement(cosines: pd.DataFrame) -> str:
    """Which vectors were encoded under dropout, and at which rate: a sentence."""
    rates = " or ".join(f"{rate:g}" for rate in sorted(cosines["dropout"].unique()))
    if cosines["encode"].iloc[0] == "evaluation":
        return f"The dropout twin alone is encoded under dropout ({rates} for every method)"
    return f"Every vector is encoded under dropout, at the rate of its pre-training ({rates})"


def square_ticks(top: float) -> list[int]:
    """Round ticks for a square-root axis."""
    return [tick for tick in (0, 1, 5, 10, 20, 40, 80, 160) if tick <= 1.05 * top]


def density_panel(axes: Axes, smooth: dict[str, np.ndarray], colour: str) -> None:
    """Draw the five densities of one method: the explicit ones in its colour."""
    axes.fill_between(COSINES, smooth["other"], color=LIGHT_GREY, linewidth=0)
    for tier, line in TIER_LINES.items():
        axes.plot(COSINES, smooth[tier], line, color=colour)
    axes.plot(COSINES, smooth["implicit"], color="black")
