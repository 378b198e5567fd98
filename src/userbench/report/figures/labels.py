"""What is pre-training worth where labels are few? (Figure 7)

figure7.csv has a row per run and task: run, row (the run with all labels), label, share, and the
columns of `report/drawing/scores.py`. Training and validation have that share of their labels, the
test stays whole; each seed draws its own labels, in which every class keeps its share.
"""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from userbench.experiment.config import Labels
from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.marks import (
    caption,
    handle,
    legend,
    lines_by_row,
    metric_name,
    panels_for,
    task_frames,
)
from userbench.report.drawing.scores import about, run_scores
from userbench.report.drawing.style import DOUBLE, face

TITLE = "Fewer labels"
CAPTION = "Scores with a share of the labels of fine-tuning."
READS = ("scores", "predictions")
NAME = "figure7"
Options = Labels


def numbers(inputs: Inputs) -> pd.DataFrame:
    """Each row with each share of the labels, per task."""
    found = run_scores(inputs)
    rows = [
        {
            "run": row["run"],
            "row": row["row"],
            "label": row["label"],
            "share": row["label_share"],
            **about(task),
            **found.over_seeds(task["task"], row["run"]),
        }
        for row in inputs.rows
        for task in found.tasks
    ]
    return pd.DataFrame(rows).round(4)


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """Scores of each row over the share of the labels, one panel per task."""
    methods, shares = inputs.methods, sorted(set(frame["share"]))
    rows = list(dict.fromkeys(frame["row"]))
    # Why: side by side, bars of equal shares do not cover each other.
    place = frame["row"].map(rows.index) - (len(rows) - 1) / 2
    tasks = task_frames(frame.assign(at=frame["share"] * 1.04**place))
    figure = Figure(figsize=(DOUBLE, 0.8 + 1.5 * math.ceil(len(tasks) / 3)))
    for axes, (label, metric, own) in zip(panels_for(figure, len(tasks)), tasks, strict=True):
        lines_by_row(axes, own, "at", methods, "row")
        colours = [face(*methods[row]) for row in own["row"]]
        axes.vlines(own["at"], own["low"], own["high"], color=colours, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{100 * share:g}%" for share in shares])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(title=label, xlabel="labels used", ylabel=metric_name(metric))
        axes.grid(axis="y")
    names = dict(zip(frame["row"], frame["label"], strict=True))
    legend(figure, [handle(*methods[row], names[row]) for row in rows], min(6, len(rows)))
    text = (
        "Marks: mean; bars: its 95% interval, over {seeds} and test users. Each seed draws its "
        "labels, of training and of validation; every share gets as many steps and the whole test."
    )
    caption(figure, inputs, frame, text)
    return figure
