"""Layouts of every kind of figure, with scores, predictions and cosines to draw them from."""

import importlib

import numpy as np
import pandas as pd
from experiments import experiment_flag, figure_layout
from experiments import figure_row as row

TASKS = {"age": ("T1 Age", "accuracy"), "click": ("T3 Click", "ndcg@10")}


def file_of(figure):
    """The module of a figure."""
    return importlib.import_module(f"userbench.report.figures.{figure}")


def scores(runs, tasks=TASKS, seeds=3, seed=0):
    """Scores of every run, task and seed, of two epochs and the test."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in runs:
        for task, (_, metric) in tasks.items():
            for n in range(seeds):
                shared = {"corpus": "ttl", "run": run, "task": task, "seed": n, "metric": metric}
                shared |= {"pretrain_epoch": 2, "start": 1, "examples": 100, "width": 8}
                for epoch in (1, 2):
                    value = 0.3 + 0.1 * epoch + rng.uniform(0, 0.05)
                    rows.append(shared | {"split": "validation", "epoch": epoch, "value": value})
                value = rng.integers(40, 60) / 100
                rows.append(shared | {"split": "test", "epoch": 2, "value": value})
    from userbench.results.scores import SCORE_COLUMNS

    return pd.DataFrame(rows)[list(SCORE_COLUMNS)].astype({"width": "Int64"})


def predictions(folder, measured) -> list:
    """Predictions of 100 users with these test scores: the first so many are right, or ranked 1."""
    from userbench.results.predictions import write_predictions

    user, paths = np.arange(100), []
    for score in measured[measured["split"] == "test"].itertuples():
        right = user < round(100 * score.value)
        columns = {"example": user, "user": user}
        if score.metric == "accuracy":
            columns |= {"label": np.ones(100), "predicted": right}
        else:
            columns["rank"] = np.where(right, 1, 50)
        kind = "classification" if score.metric == "accuracy" else "top_n"
        path = folder / f"{score.run}.{score.task}.{score.seed}.parquet"
        write_predictions(path, columns, {**score._asdict(), "kind": kind})
        paths.append(path)
    return paths


def inputs(asked, scores=None, predictions=(), **more):
    """What a figure's file gets; options as the command fills them in."""
    from userbench.report.drawing.inputs import Inputs

    return Inputs(asked, scores, predictions, **more)


ABLATION = figure_layout(
    [
        row("full", "adaptssr"),
        row("contrast", "cl4srec", True),
        row("half", "adaptssr", True, overrides={"coefficient": 0.5}),
        row("one", "adaptssr", True, overrides={"coefficient": 1}),
    ],
    TASKS,
    full="full",
    rows=["contrast", "half"],
    sweep=["half", "one"],
)
COMBINATION = figure_layout(
    [row("clue", "clue"), row("with_clue", "adaptssr", True)], TASKS, pairs=[["clue", "with_clue"]]
)
FEWER = row("none--labels-10", "none", row="none", label="None", label_share=0.1)
LABELS = figure_layout([FEWER, row("none", "none")], TASKS, rows=["none"], shares=[0.1, 1])
WORLD_TASKS = {f"age_{d}_{n}": ("T1 Age", "accuracy") for d in (1, 4) for n in (0, 3)}
WORLDS = figure_layout(
    [row("adaptssr", "adaptssr"), row("none", "none")],
    WORLD_TASKS,
    parameters=["diversity", "noise"],
    differences=[["adaptssr", "none"]],
)
WORLDS["corpora"] = {
    f"of_{name}": {"users": 300, "world": {"diversity": int(name[4]), "noise": int(name[6]) / 10}}
    for name in WORLD_TASKS
}
CURVES = figure_layout([row("none", "none"), row("adaptssr", "adaptssr")], TASKS)
SIMILARITY = figure_layout(
    [row("clue", "clue"), row("adaptssr", "adaptssr")],
    TASKS,
    corpus="ttl",
    rows=["clue", "adaptssr"],
    views={},
)
STUDIES = {
    "combination": COMBINATION,
    "ablation": ABLATION,
    "worlds": WORLDS,
    "labels": LABELS,
    "learning_curves": CURVES,
}


def cosines(run, seed=0, users=50):
    """Cosines of the tiers of one run and seed, in the order that the ranking wants, roughly."""
    from userbench.report.drawing.cosines import TIERS

    rng = np.random.default_rng([seed, len(run)])
    centres = {"implicit": 0.95, "crop": 0.6, "reorder": 0.9, "mask": 0.7, "other": 0.1}
    table = {"run": run, "corpus": "ttl", "seed": seed, "encode": "evaluation", "dropout": 0.1}
    table["user"] = np.repeat(np.arange(users), 2)
    table["draw"] = np.tile([0, 1], users)
    for tier in TIERS:
        table[tier] = np.clip(rng.normal(centres[tier], 0.1, 2 * users), -1, 1)
    return pd.DataFrame(table)


def make_figure(command, folder, figure, layout, frame=None, files=()):
    """Make a figure in a folder by its command."""
    flags = [*experiment_flag(folder, figures={figure: layout}), "--csv", f"{folder}/{figure}.csv"]
    flags += ["--out", f"{folder}/{figure}"]
    if frame is not None:
        frame.to_csv(folder / "scores.csv", index=False)
        flags += ["--scores", f"{folder}/scores.csv"]
        if figure != "learning_curves":
            flags += ["--predictions", *map(str, predictions(folder, frame))]
    if figure == "similarity":
        flags += ["--parquet", f"{folder}/{figure}.parquet", "--cosines", *map(str, files)]
    command.main([figure, *flags])
