"""What is each component of AdaptSSR worth, and its adaptive coefficient? (Figure 4)

ablation.csv has a row per run and task: run, label, role (full, component or sweep; one run may be
the latter two), coefficient (of a fixed one), and the columns of `report/drawing/scores.py`; the
difference is this run minus the full one.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from userbench.experiment.config import Ablation
from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.marks import (
    BARS,
    caption,
    mark,
    marker_of,
    metric_name,
    rows_of_labels,
    task_frames,
)
from userbench.report.drawing.scores import about, run_scores
from userbench.report.drawing.style import DOUBLE, lightened, look

TITLE = "Ablation"
CAPTION = "AdaptSSR without each of its components, and with fixed coefficients (Figure 4)."
READS = ("scores", "predictions")
NAME = "figure4"
NUMBERS = "ablation.csv"
Options = Ablation


def numbers(inputs: Inputs) -> pd.DataFrame:
    """The full method, without each component, and with fixed coefficients, per task."""
    found, asked = run_scores(inputs), inputs.options
    full, swept = asked["full"], asked["sweep"] or []
    roles: dict[str, list[str]] = {full: ["full"]}
    for role, runs in (("component", asked["rows"]), ("sweep", swept)):
        for run in runs:
            roles.setdefault(run, []).append(role)
    rows = []
    for run, role in roles.items():
        row = inputs.row(run)
        for task in found.tasks:
            name = task["task"]
            rows.append(
                {
                    "run": run,
                    "label": row["label"],
                    "role": " ".join(role),
                    "coefficient": row["overrides"]["coefficient"] if run in swept else np.nan,
                    **about(task),
                    **found.over_seeds(name, run),
                    **(found.difference(name, run, full) if run != full else {}),
                }
            )
    return pd.DataFrame(rows).round(4)


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """The full method and its ablations above; scores over the fixed coefficient below."""
    tasks, methods, full = task_frames(frame), inputs.methods, inputs.options["full"]
    shown = [full, *inputs.options["rows"]]
    swept = bool(inputs.options["sweep"])
    heights = [0.5 + 0.19 * len(shown), 1.15][: 1 + swept]
    figure = Figure(figsize=(DOUBLE, 0.55 + sum(heights)))
    grid = figure.subplots(1 + swept, len(tasks), squeeze=False, height_ratios=heights)
    for axes, (label, metric, own) in zip(grid[0], tasks, strict=True):
        for at, run in enumerate(shown):
            mark(axes, at, own[own["run"] == run].iloc[0], *methods[run])
        axes.axvline(
            own.loc[own["run"] == full, "mean"].iloc[0],
            color=look(methods[full][0]).colour,
            linewidth=0.6,
            linestyle=":",
        )
        axes.set(title=label, xlabel=metric_name(metric))
    rows_of_labels(list(grid[0]), [inputs.label(run) for run in shown])
    for number, axes in enumerate(grid[1] if swept else ()):
        coefficient_panel(axes, tasks[number][2], full, methods[full][0])
        axes.margins(y=0.12)
        axes.set_xlabel("fixed λ")
    text = BARS + " Dotted line: the full method."
    if swept:
        text += (
            " Below: the same scores where one coefficient λ is fixed for all users, with the same "
            "intervals; dotted line and band: the adaptive one, its mean and interval."
        )
    caption(figure, inputs, frame, text)
    return figure


def coefficient_panel(axes: Axes, own: pd.DataFrame, full: str, method: str) -> None:
    """Draw scores of one task over the fixed coefficient, and the adaptive one as a band."""
    colour = look(method).colour
    adaptive = own[own["run"] == full].iloc[0]
    if not math.isnan(adaptive["low"]):
        axes.axhspan(adaptive["low"], adaptive["high"], color=lightened(colour, 0.8), linewidth=0)
    axes.axhline(adaptive["mean"], color=colour, linewidth=0.8, linestyle=":")
    swept = own.dropna(subset="coefficient").sort_values("coefficient")
    axes.vlines(swept["coefficient"], swept["low"], swept["high"], color=colour, linewidth=0.6)
    axes.plot(
        swept["coefficient"],
        swept["mean"],
        color=colour,
        linewidth=0.8,
        **marker_of(method, variant=True),
    )
    axes.set_xlim(-0.1, 1.1)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
