"""The parts of which figures are drawn: marks of runs, panels of tasks, legend and caption."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.style import GREY, face, look
from userbench.report.tables.data_origin import data_statement

METRIC_NAMES = {"accuracy": "Accuracy", "auc": "AUC"}
LETTERS_PER_INCH = 21  # of the caption
BARS = (
    "Marks: mean; thick bars: std over {seeds}; thin bars: 95% interval of the mean over seeds and "
    "test users."
)

# ------------------------------------------------------------------------------------------- marks


def mark(axes: Axes, at: int | float, row: pd.Series, method: str, variant: bool) -> None:
    """Draw mean, std and interval of one run as horizontal bars at height `at`."""
    colour, mean, std = look(method).colour, row["mean"], row["std"]
    axes.hlines(at, row["low"], row["high"], color=colour, linewidth=0.6)
    axes.hlines(at, mean - std, mean + std, color=colour, linewidth=1.6)
    axes.plot([mean], [at], linestyle="none", zorder=3, **marker_of(method, variant))


def marker_of(method: str, variant: bool) -> dict[str, Any]:
    """The marker of a run, as keywords of matplotlib; a variant's is pale with an edge."""
    own = look(method)
    return {
        "marker": own.marker,
        "markersize": 7.5 if own.marker == "*" else 5,
        "markerfacecolor": face(method, variant),
        "markeredgecolor": own.colour if variant else "white",
        "markeredgewidth": 0.6 if variant else 0.4,
    }


def lines_by_row(
    axes: Axes, own: pd.DataFrame, across: str, methods: dict[str, tuple[str, bool]], row: str
) -> None:
    """Draw one line per run, in its method's colour and marker."""
    for run, points in own.groupby(row, sort=False):
        axes.plot(
            points[across],
            points["mean"],
            color=face(*methods[run]),
            linewidth=0.8,
            **marker_of(*methods[run]),
        )


# ------------------------------------------------------------------------------------------ panels


def task_frames(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Label, metric and rows of each task, in the order of the frame."""
    groups = frame.groupby("task", sort=False)
    return [(own["task_label"].iloc[0], own["metric"].iloc[0], own) for _, own in groups]


def panels_for(figure: Any, count: int, columns: int = 3) -> list[Axes]:
    """That many panels, in rows of three."""
    columns = min(columns, count)
    grid = figure.subplots(math.ceil(count / columns), columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return list(grid.flat[:count])


def rows_of_labels(panels: Sequence[Axes], labels: Sequence[str]) -> None:
    """Give panels side by side one row per label, the first on top, named at the left only."""
    for number, axes in enumerate(panels):
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", length=0, labelleft=number == 0)
        # Why these steps, and no axis below a fifth of a point: labels of more digits would touch.
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], min_n_ticks=2))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.08)
        low, high = axes.get_xlim()
        if high - low < 0.2:
            axes.set_xlim((low + high) / 2 - 0.1, (low + high) / 2 + 0.1)


def metric_name(metric: str) -> str:
    """A metric as the label of an axis."""
    return f"{METRIC_NAMES.get(metric, metric.upper())}, %"


# ------------------------------------------------------------------------------ legend and caption


def legend(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """Draw one legend above all panels."""
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=2,
    )


def handle(method: str, variant: bool, label: str) -> Line2D:
    """The legend's entry of one method."""
    return Line2D([], [], linestyle="none", label=label, **marker_of(method, variant))


def caption(figure: Figure, inputs: Inputs, frame: pd.DataFrame, text: str) -> None:
    """Write what the data are (SIMULATED, where they are) and then `text` below the panels.

    `{seeds}` in the text stands for the number of seeds.
    """
    counts = sorted(set(frame["seeds"]) - {0})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    whole = f"{data_statement(inputs.layout)}. {text.format(seeds=seeds)}{notes(frame)}"
    width = round(figure.get_figwidth() * LETTERS_PER_INCH)
    wrapped = textwrap.fill(" ".join(whole.split()), width)
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=6, color=GREY)


def notes(frame: pd.DataFrame) -> str:
    """A sentence on the runs whose marks are not to be compared; empty where there is none."""
    if "note" not in frame or not (noted := frame[frame["note"].fillna("") != ""]).size:
        return ""
    cells = noted["label"] + " on " + noted["task_label"] + ": " + noted["note"]
    return f" Not to be compared: {'; '.join(dict.fromkeys(cells))}."
