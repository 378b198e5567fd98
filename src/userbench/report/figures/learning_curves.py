"""Has training converged: losses of pre-training and validation scores of fine-tuning, by epoch.

learning_curves.csv has a row per run, task, split and epoch: stage (pretrain, finetune), run,
label, task (the corpus, in pre-training), task_label, metric ("loss" in pre-training), split,
epoch, data; then seeds, mean, std, low, high over seeds, the latter two a 95% Student-t interval.

Of several candidate checkpoints, the curve of the last epoch's fine-tuning is shown, of several
random starts that of the first. A run that fine-tunes another run's encoder has that run's curve of
pre-training.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from userbench.experiment.validation import read_json
from userbench.report.curves import by_run, place_of
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
from userbench.report.drawing.scores import about, over_seeds
from userbench.report.drawing.style import DOUBLE, lightened, look
from userbench.results.artifact import check_recorded
from userbench.results.contents import Curve

TITLE = "Curves for print"
CAPTION = "Losses of pre-training and validation scores of fine-tuning."
READS = ("scores", "curves")
SECTION = "printed_curves"  # beside the interactive ones of the page

LINES = ("-", "--", ":", "-.")
LINE_WORDS = ("solid", "dashed", "dotted", "dash-dotted")
COLUMNS = [
    *("stage", "run", "label", "task", "task_label", "metric", "split", "epoch", "data"),
    *("seeds", "mean", "std", "low", "high"),
]


def numbers(inputs: Inputs) -> pd.DataFrame:
    """Loss of each epoch of pre-training, and validation scores of each epoch of fine-tuning."""
    rows = [*losses_over_seeds(inputs), *scores_over_seeds(inputs)]
    return pd.DataFrame(rows, columns=COLUMNS).round(6)


def losses_over_seeds(inputs: Inputs) -> list[dict]:
    """A row per run, corpus, split and epoch of pre-training."""
    encoders = {row["run"]: row["encoder"] for row in inputs.rows if row["encoder"]}
    files = by_run(inputs.curves, encoders.values())
    curves = [read_curve(run, path) for run, encoder in encoders.items() for path in files[encoder]]
    losses = pd.concat([pd.DataFrame(), *curves])
    rows = []
    grouped = losses.groupby(["run", "task", "split", "epoch"], sort=False) if len(losses) else ()
    for (run, corpus, split, epoch), points in grouped:
        first = {"stage": "pretrain", "run": run, "label": inputs.label(run)}
        place = {"task": corpus, "task_label": corpus, "metric": "loss", "split": split}
        data = {"data": "simulated" if inputs.layout["simulated"] else "real"}
        rows.append(first | place | {"epoch": epoch} | data | over_seeds(points["loss"]))
    return rows


def read_curve(run: str, path: Path) -> pd.DataFrame:
    """The losses behind a row; ValueError where the file is damaged or no learning curve."""
    check_recorded(path)
    points = pd.DataFrame(read_json(path, Curve))
    return points[["epoch", "split", "loss"]].assign(run=run, task=place_of(path).corpus)


def scores_over_seeds(inputs: Inputs) -> list[dict]:
    """A row per run, task and epoch of fine-tuning."""
    scores = inputs.scores
    own = scores[(scores["split"] == "validation") & scores["run"].isin(set(inputs.methods))]
    last = own.groupby(["run", "task"])["pretrain_epoch"].transform("max")
    own = own[(own["pretrain_epoch"] == last) & (own["start"] == 1)]
    rows = []
    for row in inputs.rows:
        for task in inputs.tasks:
            chosen = own[(own["run"] == row["run"]) & (own["task"] == task["task"])]
            chosen = chosen[chosen["metric"] == task["metric"]]
            for epoch, points in chosen.groupby("epoch"):
                first = {"stage": "finetune", "run": row["run"], "label": row["label"]}
                place = {**about(task), "split": "validation", "epoch": epoch}
                rows.append(first | place | over_seeds(100 * points["value"]))
    return rows


def draw(frame: pd.DataFrame, inputs: Inputs) -> Figure:
    """Losses of pre-training, a panel per run; validation scores of fine-tuning, one per task."""
    methods = inputs.methods
    losses, scores = (frame[frame["stage"] == stage] for stage in ("pretrain", "finetune"))
    runs = list(dict.fromkeys(losses["run"]))
    tasks = task_frames(scores)
    heights = [1.15 * math.ceil(len(runs) / 5), 1.5 * math.ceil(len(tasks) / 3)]
    figure = Figure(figsize=(DOUBLE, 1.0 + sum(heights)))
    heights = [height for height in heights if height]
    blocks = iter(np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights)))
    if runs:
        top = next(blocks)
        for number, (axes, run) in enumerate(zip(panels_for(top, len(runs), 5), runs, strict=True)):
            loss_panel(axes, losses[losses["run"] == run], *methods[run])
            axes.set_title(losses.loc[losses["run"] == run, "label"].iloc[0])
            axes.set_xlabel("epoch of pre-training")
            if number % 5 == 0:
                axes.set_ylabel("loss")
    if tasks:
        for axes, (label, metric, own) in zip(
            panels_for(next(blocks), len(tasks)), tasks, strict=True
        ):
            lines_by_row(axes, own, "epoch", methods, "run")
            axes.set(title=label, xlabel="epoch of fine-tuning", ylabel=metric_name(metric))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(axis="y")
    handles = [handle(*methods[row["run"]], row["label"]) for row in inputs.rows]
    legend(figure, handles, min(10, len(handles)))
    corpora = list(dict.fromkeys(losses["task_label"]))
    kinds = ", ".join(f"{name} {style}" for name, style in zip(corpora, LINE_WORDS, strict=False))
    text = f"Pre-training: training loss pale, validation loss dark ({kinds}). " if runs else ""
    caption(figure, inputs, frame, text + "Validation scores and losses, mean over {seeds}.")
    return figure


def loss_panel(axes: Axes, own: pd.DataFrame, method: str, variant: bool) -> None:
    """Draw training and validation loss of one run, a kind of line per corpus."""
    colour = look(method).colour
    for (_, corpus), style in zip(own.groupby("task", sort=False), LINES, strict=False):
        for split, shade in (("train", lightened(colour, 0.6)), ("validation", colour)):
            points = corpus[corpus["split"] == split]
            axes.plot(points["epoch"], points["mean"], style, color=shade, marker=".")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
