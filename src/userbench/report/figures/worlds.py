"""In which worlds does augmentation help, and in which does it hurt? (Figure 6)

figure6.csv has a row per difference and task: run, over, label, over_label, source (the label of
the task, which the same task of other worlds shares), a column per parameter of the world, and the
columns of `report/drawing/scores.py`, which are here of the difference run minus over, paired.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from userbench.experiment.config import Worlds
from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.marks import caption, metric_name
from userbench.report.drawing.scores import about, run_scores
from userbench.report.drawing.style import DOUBLE, lightened, look

TITLE = "When augmentation hurts"
CAPTION = "Differences between methods over the parameters of the simulated world."
READS = ("scores", "predictions")
NAME = "figure6"
Options = Worlds

MARKERS = "osD^v<>"


def numbers(inputs: Inputs) -> pd.DataFrame:
    """Differences of runs in simulated worlds, one row per difference, task and world."""
    worlds = {task["task"]: parameters_of(inputs, task) for task in inputs.tasks}
    found = run_scores(inputs)
    rows = [
        {
            "run": run,
            "over": over,
            "label": inputs.label(run),
            "over_label": inputs.label(over),
            "source": task["label"],
            **worlds[task["task"]],
            **about(task),
            **found.over_seeds(task["task"], run, over),
        }
        for run, over in inputs.options["differences"]
        for task in found.tasks
    ]
    return pd.DataFrame(rows).round(4)


def parameters_of(inputs: Inputs, task: dict[str, Any]) -> dict[str, int | float]:
    """The parameters of a task's world that are compared; ValueError where one is not set."""
    world = inputs.layout["corpora"][task["corpus"]]["world"]
    for name in inputs.options["parameters"]:
        if name not in world:
            raise ValueError(f"the world of task {task['task']!r} has no parameter {name!r}")
    return {name: world[name] for name in inputs.options["parameters"]}


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """Differences between runs over the first parameter of the world, a line per second one."""
    across, *lines = inputs.options["parameters"]
    sources = list(dict.fromkeys(frame["source"]))
    differences = inputs.options["differences"]
    figure = Figure(figsize=(DOUBLE, 0.8 + 1.5 * len(differences)))
    grid = figure.subplots(len(differences), len(sources), squeeze=False, sharex=True)
    for panels, (run, over) in zip(grid, differences, strict=True):
        colour = look(inputs.methods[run][0]).colour
        own = frame[(frame["run"] == run) & (frame["over"] == over)]
        for axes, source in zip(panels, sources, strict=True):
            difference_panel(axes, own[own["source"] == source], frame, across, lines, colour)
        panels[0].set_ylabel(f"{inputs.label(run)}\n− {inputs.label(over)}, points")
        if lines:
            panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.5)
    for axes, source in zip(grid[0], sources, strict=True):
        metric = frame.loc[frame["source"] == source, "metric"].iloc[0]
        axes.set_title(f"{source}\n({metric_name(metric).removesuffix(', %')})")
    for axes in grid[-1]:
        axes.set_xlabel(across)
        axes.set_xticks(sorted(set(frame[across])))
    text = (
        "Difference of test scores, paired over {seeds} and over test users; bars: its 95% "
        "interval over both. A mark without a bar decides nothing."
    )
    caption(figure, of_worlds(inputs), frame, text)
    return figure


def difference_panel(
    axes: Axes,
    own: pd.DataFrame,
    frame: pd.DataFrame,
    across: str,
    lines: list[str],
    colour: str,
) -> None:
    """Draw one difference on one task: a line per value that the second parameter has anywhere."""
    levels = sorted(set(frame[lines[0]])) if lines else [None]
    for number, level in enumerate(levels):
        points = own if level is None else own[own[lines[0]] == level]
        points = points.sort_values(across)
        shade = lightened(colour, 0.65 * (1 - (number + 1) / len(levels)))
        # Why: side by side, bars of equal parameters do not cover each other.
        shift = 0.02 * (number - (len(levels) - 1) / 2) * np.ptp(frame[across])
        axes.vlines(
            points[across] + shift, points["low"], points["high"], color=shade, linewidth=0.6
        )
        axes.plot(
            points[across] + shift,
            points["mean"],
            color=shade,
            marker=MARKERS[number % len(MARKERS)],
            label=None if level is None else f"{lines[0]} {level:g}",
        )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")


def of_worlds(inputs: Inputs) -> Inputs:
    """The same inputs, whose data are called worlds and not by their names."""
    corpora = inputs.layout["corpora"].values()
    users = " or ".join(sorted({f"{corpus['users']:,}" for corpus in corpora}))
    data = f"worlds: {len(corpora)}, of {users} users"
    return replace(inputs, layout=inputs.layout | {"caption_data": data})
