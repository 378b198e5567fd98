"""The paper's Figures 3, 4 and 5 and three of our own, as SVG, PDF and PNG, each with its numbers.

python -m userbench.report.figures figure4 --scores ablation_scores.csv --predictions FILE...
    --experiment experiment.json --csv ablation.csv --out results/figure4
python -m userbench.report.figures figure5 --cosines FILE... --experiment experiment.json
    --csv figure5.csv --parquet figure5.parquet --out results/figure5
python -m userbench.report.figures learning_curves --scores scores.csv --experiment experiment.json
    --curves pretrain/<run>/<corpus>/seed<k>/curve.json... --csv learning_curves.csv
    --out results/learning_curves

figure3  AdaptSSR with the views of other methods, beside these methods alone
figure4  AdaptSSR without each of its components, and with fixed coefficients
figure5  distributions of the cosines of `userbench.similarity`
figure6  differences between methods over the parameters of the simulated world
figure7  scores over the share of the labels
learning_curves  losses of pre-training, validation scores of fine-tuning

Columns of the CSV files: `userbench.report.studies`; of figure5.csv:
`userbench.report.distributions.summarise_cosines`; of figure5.parquet: `userbench.similarity`.
The functions here turn such a frame and a layout into a `Figure`, and compute nothing.
"""

import argparse
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from userbench.errors import command
from userbench.report import distributions
from userbench.report.data_origin import data_statement
from userbench.report.studies import STUDIES, read_layout
from userbench.report.style import (
    DOUBLE,
    GREY,
    LIGHT_GREY,
    applied,
    face,
    lightened,
    look,
    save,
)
from userbench.results import artifact
from userbench.results.scores import read_scores
from userbench.results.tables import resolved, write_csv

METRIC_NAMES = {"accuracy": "Accuracy", "auc": "AUC"}
TIER_LINES = {"crop": "-", "reorder": "--", "mask": ":"}
LINES = ("-", "--", ":", "-.")
LINE_WORDS = ("solid", "dashed", "dotted", "dash-dotted")
LETTERS_PER_INCH = 21  # of the caption
Draw = Callable[[pd.DataFrame, dict[str, Any]], Figure]


def metric_name(metric: str) -> str:
    """A metric as it stands at an axis."""
    return f"{METRIC_NAMES.get(metric, metric.upper())}, %"


def caption(figure: Figure, layout: dict[str, Any], frame: pd.DataFrame, told: str) -> None:
    """What the data are (SIMULATED, where they are) and what the marks mean, below the panels."""
    counts = sorted(set(frame["seeds"]) - {0})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    text = f"{data_statement(layout)}. {told.format(seeds=seeds)}{doubts(frame)}"
    width = round(figure.get_figwidth() * LETTERS_PER_INCH)
    wrapped = textwrap.fill(" ".join(text.split()), width)
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=6, color=GREY)


def doubts(frame: pd.DataFrame) -> str:
    """A sentence on the runs whose marks are not to be compared; empty where there is none."""
    if "note" not in frame or not (noted := frame[frame["note"].fillna("") != ""]).size:
        return ""
    cells = noted["label"] + " on " + noted["task_label"] + ": " + noted["note"]
    return f" Not to be compared: {'; '.join(dict.fromkeys(cells))}."


BARS = (
    "Marks: mean; thick bars: std over {seeds}; thin bars: 95% interval of the mean over seeds and "
    "test users."
)


def legend(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """One legend above all panels."""
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=2,
    )


def mark(axes: Axes, at: int | float, row: pd.Series, method: str, variant: bool) -> None:
    """Mean, std and interval of one run, lying, at height `at`."""
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


def handle(method: str, variant: bool, label: str) -> Line2D:
    """The legend's entry of one method."""
    return Line2D([], [], linestyle="none", label=label, **marker_of(method, variant))


def rows_of_labels(panels: Sequence[Axes], labels: Sequence[str]) -> None:
    """Panels side by side with one row per label, the first on top, named at the left only."""
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


def task_frames(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Label, metric and rows of each task, in the order of the frame."""
    groups = frame.groupby("task", sort=False)
    return [(own["task_label"].iloc[0], own["metric"].iloc[0], own) for _, own in groups]


def methods_of(layout: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Method of each run, and whether it is a variant of it."""
    return {row["run"]: (row["method"], row["variant"]) for row in layout["rows"]}


def figure3(frame: pd.DataFrame, layout: dict[str, Any]) -> Figure:
    """Each method alone and AdaptSSR with its views, one panel per task."""
    tasks, methods = task_frames(frame), methods_of(layout)
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
    entries = {pair["alone"]: f"{pair['views']} alone" for pair in layout["pairs"]}
    handles = [handle(*methods[run], label) for run, label in entries.items()]
    legend(figure, [*handles, handle(*combined, "AdaptSSR with these views")], len(handles) + 1)
    caption(figure, layout, frame, BARS)
    return figure


def figure4(frame: pd.DataFrame, layout: dict[str, Any]) -> Figure:
    """The full method and its ablations above; scores over the fixed coefficient below."""
    tasks, methods = task_frames(frame), methods_of(layout)
    shown = [layout["full"], *layout["components"]]
    labels = dict(zip(frame["run"], frame["label"], strict=True))
    swept = bool(layout["sweep"])
    heights = [0.5 + 0.19 * len(shown), 1.15][: 1 + swept]
    figure = Figure(figsize=(DOUBLE, 0.55 + sum(heights)))
    grid = figure.subplots(1 + swept, len(tasks), squeeze=False, height_ratios=heights)
    for axes, (label, metric, own) in zip(grid[0], tasks, strict=True):
        for at, run in enumerate(shown):
            mark(axes, at, own[own["run"] == run].iloc[0], *methods[run])
        axes.axvline(
            own.loc[own["run"] == layout["full"], "mean"].iloc[0],
            color=look(methods[layout["full"]][0]).colour,
            linewidth=0.6,
            linestyle=":",
        )
        axes.set(title=label, xlabel=metric_name(metric))
    rows_of_labels(list(grid[0]), [labels[run] for run in shown])
    for number, axes in enumerate(grid[1] if swept else ()):
        own = tasks[number][2]
        coefficient_panel(axes, own, layout["full"], methods[layout["full"]][0])
        axes.margins(y=0.12)
        axes.set_xlabel("fixed λ")
    told = BARS + " Dotted line: the full method."
    if swept:
        told += (
            " Below: the same scores where one coefficient λ is fixed for all users, with the same "
            "intervals; dotted line and band: the adaptive one, its mean and interval."
        )
    caption(figure, layout, frame, told)
    return figure


def coefficient_panel(axes: Axes, own: pd.DataFrame, full: str, method: str) -> None:
    """Scores of one task over the fixed coefficient, and the adaptive one as a band."""
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


def figure5(frame: pd.DataFrame, layout: dict[str, Any], cosines: pd.DataFrame) -> Figure:
    """Densities of the cosines with each tier, one panel per method, on shared axes.

    `frame` is the summary of `cosines`.
    """
    columns = min(3, len(layout["rows"]))
    lines = math.ceil(len(layout["rows"]) / columns)
    figure = Figure(figsize=(DOUBLE, 0.75 + 1.25 * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    lowest = np.floor(4 * np.quantile(cosines[list(distributions.TIERS)], 0.001)) / 4
    top = 0.0
    for axes, row in zip(grid.flat, layout["rows"], strict=False):
        smooth = distributions.densities(cosines, row["run"])
        top = max(top, *(curve.max() for curve in smooth.values()))
        density_panel(axes, smooth, look(row["method"]).colour)
        own = frame[frame["run"] == row["run"]].set_index("tier")
        order = own.loc[list(distributions.EXPLICIT), ["below_implicit", "above_other"]].mean()
        said = f"{100 * order['below_implicit']:.0f}% / {100 * order['above_other']:.0f}%"
        axes.set_title(row["label"], loc="left", fontweight="bold")
        axes.set_title(said, loc="right", fontsize=6)
    for axes in grid.flat:
        # Why not linear: a narrow peak of the same area would flatten all other curves.
        axes.set_yscale("function", functions=(np.sqrt, np.square))
        axes.set_ylim(0, 1.05 * top)
        axes.set_yticks(square_ticks(top))
        axes.set_xlim(lowest, 1)
    for axes in grid.flat[len(layout["rows"]) :]:
        axes.set_visible(False)
    for column in range(columns):
        last = (len(layout["rows"]) - 1 - column) // columns
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
    ratios = {name: f"{100 * ratio:g}%" for name, ratio in layout["views"].items()}
    told = (
        f"Densities of area 1 (square-root axis) of held-out users, {{seeds}}; crop keeps "
        f"{ratios['crop_ratio']} of a sequence, reorder and mask change {ratios['reorder_ratio']} "
        f"and {ratios['mask_ratio']}. {distributions.encoding_statement(cosines)}. Percentages: "
        "how often an augmented sequence is farther away than the dropout twin / nearer than "
        "another user, mean of the three operators."
    )
    caption(figure, layout, frame, told)
    return figure


def square_ticks(top: float) -> list[int]:
    """Round ticks for a square-root axis."""
    return [tick for tick in (0, 1, 5, 10, 20, 40, 80, 160) if tick <= 1.05 * top]


def density_panel(axes: Axes, smooth: dict[str, np.ndarray], colour: str) -> None:
    """The five densities of one method: the explicit ones in its colour."""
    at = distributions.COSINES
    axes.fill_between(at, smooth["other"], color=LIGHT_GREY, linewidth=0)
    for tier, line in TIER_LINES.items():
        axes.plot(at, smooth[tier], line, color=colour)
    axes.plot(at, smooth["implicit"], color="black")


def figure6(frame: pd.DataFrame, layout: dict[str, Any]) -> Figure:
    """Differences between runs over the first parameter of the world, a line per second one."""
    methods = methods_of(layout)
    across, *lines = layout["parameters"]
    sources = list(dict.fromkeys(frame["source"]))
    differences = layout["differences"]
    figure = Figure(figsize=(DOUBLE, 0.8 + 1.5 * len(differences)))
    grid = figure.subplots(len(differences), len(sources), squeeze=False, sharex=True)
    levels = sorted(set(frame[lines[0]])) if lines else [None]
    marks = "osD^v<>"
    for line, difference in zip(grid, differences, strict=True):
        colour = look(methods[difference["run"]][0]).colour
        for axes, source in zip(line, sources, strict=True):
            own = frame[(frame["run"] == difference["run"]) & (frame["over"] == difference["over"])]
            own = own[own["source"] == source]
            for number, level in enumerate(levels):
                points = own if level is None else own[own[lines[0]] == level]
                points = points.sort_values(across)
                shade = lightened(colour, 0.65 * (1 - (number + 1) / len(levels)))
                shift = 0.02 * (number - (len(levels) - 1) / 2) * np.ptp(frame[across])
                axes.vlines(
                    points[across] + shift,
                    points["low"],
                    points["high"],
                    color=shade,
                    linewidth=0.6,
                )
                axes.plot(
                    points[across] + shift,
                    points["mean"],
                    color=shade,
                    marker=marks[number % len(marks)],
                    label=None if level is None else f"{lines[0]} {level:g}",
                )
            axes.axhline(0, color="black", linewidth=0.6)
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.grid(axis="y")
        row = frame[(frame["run"] == difference["run"]) & (frame["over"] == difference["over"])]
        told = f"{row['label'].iloc[0]}\n− {row['over_label'].iloc[0]}, points"
        line[0].set_ylabel(told)
        if lines:
            line[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.5)
    for axes, source in zip(grid[0], sources, strict=True):
        metric = frame.loc[frame["source"] == source, "metric"].iloc[0]
        axes.set_title(f"{source}\n({metric_name(metric).removesuffix(', %')})")
    for axes in grid[-1]:
        axes.set_xlabel(across)
        axes.set_xticks(sorted(set(frame[across])))
    told = (
        "Difference of test scores, paired over {seeds} and over test users; bars: its 95% "
        "interval over both. A mark without a bar decides nothing."
    )
    caption(figure, layout, frame, told)
    return figure


def panels_for(figure: Any, count: int, columns: int = 3) -> list[Axes]:
    """That many panels, in rows of three."""
    columns = min(columns, count)
    grid = figure.subplots(math.ceil(count / columns), columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return list(grid.flat[:count])


def lines_by_row(
    axes: Axes, own: pd.DataFrame, across: str, methods: dict[str, tuple[str, bool]], row: str
) -> None:
    """One line per run, in its method's colour and marker."""
    for run, points in own.groupby(row, sort=False):
        axes.plot(
            points[across],
            points["mean"],
            color=face(*methods[run]),
            linewidth=0.8,
            **marker_of(*methods[run]),
        )


def figure7(frame: pd.DataFrame, layout: dict[str, Any]) -> Figure:
    """Scores of each row over the share of the labels, one panel per task."""
    methods, shares = methods_of(layout), sorted(set(frame["share"]))
    rows = list(dict.fromkeys(frame["row"]))
    # Why: side by side, bars of equal shares can be told apart.
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
    told = (
        "Marks: mean; bars: its 95% interval, over {seeds} and test users. Each seed draws its "
        "labels, of training and of validation; every share gets as many steps and the whole test."
    )
    caption(figure, layout, frame, told)
    return figure


def learning_curves(frame: pd.DataFrame, layout: dict[str, Any]) -> Figure:
    """Losses of pre-training, a panel per run; validation scores of fine-tuning, one per task."""
    methods = methods_of(layout)
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
    handles = [handle(*methods[row["run"]], row["label"]) for row in layout["rows"]]
    legend(figure, handles, min(10, len(handles)))
    corpora = list(dict.fromkeys(losses["task_label"]))
    kinds = ", ".join(f"{name} {style}" for name, style in zip(corpora, LINE_WORDS, strict=False))
    told = f"Pre-training: training loss pale, validation loss dark ({kinds}). " if runs else ""
    caption(figure, layout, frame, told + "Validation scores and losses, mean over {seeds}.")
    return figure


def loss_panel(axes: Axes, own: pd.DataFrame, method: str, variant: bool) -> None:
    """Training and validation loss of one run, a kind of line per corpus."""
    colour = look(method).colour
    for (_, corpus), style in zip(own.groupby("task", sort=False), LINES, strict=False):
        for split, shade in (("train", lightened(colour, 0.6)), ("validation", colour)):
            points = corpus[corpus["split"] == split]
            axes.plot(points["epoch"], points["mean"], style, color=shade, marker=".")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")


FIGURES: dict[str, Draw] = {
    "figure3": figure3,
    "figure4": figure4,
    "figure6": figure6,
    "figure7": figure7,
    "learning_curves": learning_curves,
}


def study_command(args: argparse.Namespace) -> None:
    """Write the numbers of one study, and their figure."""
    layout = read_layout(args.figure, args.experiment, args.curves)
    frame = STUDIES[args.figure](read_scores(args.scores), layout, args.predictions)
    if frame.empty:
        raise ValueError(f"{args.scores}: no score of the layout's runs and tasks")
    write_csv(args.csv, frame)
    read = [args.scores, *args.predictions, *args.curves]
    finish(args, lambda: FIGURES[args.figure](frame, layout), read, [])


def figure5_command(args: argparse.Namespace) -> None:
    """Write the cosines of all runs, their summary, and its figure."""
    layout = read_layout(args.figure, args.experiment)
    cosines = distributions.read_cosines(args.cosines)
    frame = distributions.summarise_cosines(cosines, layout)
    with artifact.atomic(args.parquet) as partial:
        cosines.to_parquet(partial, index=False)
    write_csv(args.csv, frame)
    finish(args, lambda: figure5(frame, layout, cosines), args.cosines, [args.parquet])


def finish(
    args: argparse.Namespace,
    draw: Callable[[], Figure],
    read: Iterable[Path],
    written: Iterable[Path],
) -> None:
    """Draw, save in every format, and leave the provenance beside the numbers."""
    with applied():
        images = save(draw(), args.out)
    inputs = artifact.fingerprints([args.experiment, *read])
    artifact.record(args.csv, resolved(args), inputs, [*images, *written])


def write_numbers(argv: Iterable[str]) -> None:
    """Write the numbers behind a figure by the flags of its command, and draw nothing."""
    args = flags().parse_args(argv)
    if args.figure == "figure5":
        layout = read_layout(args.figure, args.experiment)
        frame = distributions.summarise_cosines(distributions.read_cosines(args.cosines), layout)
    else:
        layout = read_layout(args.figure, args.experiment, args.curves)
        frame = STUDIES[args.figure](read_scores(args.scores), layout, args.predictions)
    write_csv(args.csv, frame)


@command
def main(argv: Iterable[str] | None = None) -> None:
    """Make one figure; a mistake in the input ends it with one line."""
    args = flags().parse_args(argv)
    args.run(args)


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = argparse.ArgumentParser(prog="python -m userbench.report.figures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True, dest="figure")
    for name in (*FIGURES, "figure5"):
        command = commands.add_parser(name)
        command.add_argument("--experiment", type=Path, required=True, help="experiment.json")
        command.add_argument("--csv", type=Path, required=True, help="the numbers, to write")
        command.add_argument("--out", type=Path, required=True, help="figure, without its ending")
        if name == "figure5":
            command.add_argument("--cosines", type=Path, nargs="+", required=True, metavar="FILE")
            command.add_argument(
                "--parquet", type=Path, required=True, help="all cosines, to write"
            )
            command.set_defaults(run=figure5_command)
        else:
            command.add_argument("--scores", type=Path, required=True, help="CSV of all scores")
            behind = "--curves" if name == "learning_curves" else "--predictions"
            command.add_argument(behind, type=Path, nargs="*", action="extend", metavar="FILE")
            command.set_defaults(run=study_command, curves=[], predictions=[])
    return parser


if __name__ == "__main__":
    main()
