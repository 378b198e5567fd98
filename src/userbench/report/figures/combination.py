"""Do the views of other methods make AdaptSSR better than these methods? (Figure 3)

figure3.csv has a row per pair, task and run: views (whose augmentations), run, label, combined (0
the method alone, 1 AdaptSSR with its views), and the columns of `report/drawing/scores.py`; the
difference is combined minus alone.
"""

import pandas as pd
from matplotlib.figure import Figure

from userbench.experiment.config import Combination
from userbench.report.drawing.inputs import Inputs
from userbench.report.drawing.marks import (
    BARS,
    caption,
    handle,
    legend,
    mark,
    metric_name,
    rows_of_labels,
    task_frames,
)
from userbench.report.drawing.scores import about, run_scores
from userbench.report.drawing.style import DOUBLE

TITLE = "Combination"
CAPTION = "AdaptSSR with the views of other methods, beside these methods alone (Figure 3)."
READS = ("scores", "predictions")
NAME = "figure3"
Options = Combination


def numbers(inputs: Inputs) -> pd.DataFrame:
    """Each method alone and AdaptSSR with its views, per task."""
    found = run_scores(inputs)
    rows = []
    for alone, with_views in inputs.options["pairs"]:
        for task in found.tasks:
            name = task["task"]
            for combined, run in enumerate((alone, with_views)):
                first = {"views": inputs.label(alone), "run": run, "label": inputs.label(run)}
                row = first | {"combined": combined} | about(task) | found.over_seeds(name, run)
                if combined:
                    row |= found.difference(name, run, alone)
                rows.append(row)
    return pd.DataFrame(rows).round(4)


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """Each method alone and AdaptSSR with its views, one panel per task."""
    tasks, methods = task_frames(frame), inputs.methods
    views = list(dict.fromkeys(frame["views"]))
    figure = Figure(figsize=(DOUBLE, 1.15 + 0.34 * len(views)))
    panels = list(figure.subplots(1, len(tasks), squeeze=False)[0])
    for axes, (label, metric, own) in zip(panels, tasks, strict=True):
        for _, row in own.iterrows():
            at = views.index(row["views"]) + (0.17 if row["combined"] else -0.17)
            mark(axes, at, row, *methods[row["run"]])
        axes.set(title=label, xlabel=metric_name(metric))
    rows_of_labels(panels, [f"{name} views" for name in views])
    combined = methods[frame.loc[frame["combined"] == 1, "run"].iloc[0]]
    entries = {alone: f"{inputs.label(alone)} alone" for alone, _ in inputs.options["pairs"]}
    handles = [handle(*methods[run], label) for run, label in entries.items()]
    legend(figure, [*handles, handle(*combined, "AdaptSSR with these views")], len(handles) + 1)
    caption(figure, inputs, frame, BARS)
    return figure
