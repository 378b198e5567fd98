"""A small ledger, the scores of runs that set its switches, and their effects."""

from pathlib import Path
from typing import Any

import pandas as pd
from experiments import experiment_flag

SWITCH = {
    **{"id": "warm_start", "question": "Warm?", "paper": "Silent.", "released": "Yes | no."},
    **{
        "where": "protocol",
        "key": "warm_start",
        "default": "mlm",
        "why": "Fair.",
        "stage": "pretrain",
    },
    "choices": [{"value": "mlm", "means": "warm"}, {"value": "none", "means": "cold"}],
}
VIEWS = SWITCH | {
    **{"id": "operators", "where": "method", "key": "views", "default": {"distinct": False}},
    "choices": [
        {"value": {"distinct": False}, "means": "may be the same"},
        {"value": {"distinct": True}, "means": "differ"},
    ],
}
RATE = SWITCH | {
    **{"id": "rate", "key": "finetune_dropout", "default": 0.5, "stage": "finetune"},
    "choices": [{"value": 0.5, "means": "half"}, {"value": 0.1, "means": "less"}],
}
COMPARED = SWITCH | {
    **{"id": "contrast", "where": "method", "methods": ["duorec", "coserec", "ccl"]},
    "default": {"similarity": "dot", "temperature": 1.0},
    "choices": [
        {"value": {"similarity": "dot", "temperature": 1.0}, "means": "published"},
        {"value": {"similarity": "cosine", "temperature": 0.2}, "means": "tuned"},
    ],
}
del COMPARED["key"]
OPEN = {
    **{
        "id": "labels",
        "question": "Which?",
        "paper": "Silent.",
        "released": "First.",
        "why": "Why.",
    },
    **{"where": "none", "here": "Sorted_ones."},
}
ENTRIES = [SWITCH, VIEWS, COMPARED, RATE, OPEN]


TASKS = [
    {"task": "age", "label": "T1 Age", "metric": "accuracy", "simulated": True},
    {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "simulated": True},
    {"task": "cvr", "label": "T6", "metric": "auc", "simulated": True},
]
LAYOUT = {
    "caption_data": "toy data",
    "base": "adaptssr",
    "runs": [
        {"run": "cold", "entry": "warm_start", "value": "none", "against": "mlm"},
        {"run": "distinct", "entry": "operators", "value": VIEWS["choices"][1]["value"]}
        | {"against": VIEWS["default"]},
    ],
    "tasks": TASKS,
}
# run: task: a test score in percent per seed
SCORES: dict[str, dict[str, list[float]]] = {
    "adaptssr": {"age": [50.0, 60.0, 55.0], "click": [2.0, 3.0, 4.0]},
    "cold": {"age": [40.0, 50.1, 44.9], "click": [2.5, 2.5, 4.5]},
    "distinct": {"age": [50.0, 60.0, 55.0], "click": [3.0, 3.1, 4.1]},
}


def without(entry: dict, *fields: str) -> dict:
    return {key: value for key, value in entry.items() if key not in fields}


def scores_csv(path: Path, scores=SCORES, examples=lambda run, task: 100) -> None:
    from userbench.results.scores import SCORE_COLUMNS

    rows = [
        {
            **{"corpus": "ttl", "run": run, "task": task, "seed": seed, "split": split},
            **{"metric": {"age": "accuracy", "click": "ndcg@10"}[task], "width": 64},
            **{"pretrain_epoch": 1, "start": 1, "epoch": 1, "examples": examples(run, task)},
            "value": value / 100 if split == "test" else 0.99,
        }
        for run, tasks in scores.items()
        for task, values in tasks.items()
        for seed, value in enumerate(values)
        for split in ("validation", "test")
    ]
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)


def measure_effects(folder: Path, layout: dict = LAYOUT, **changes: Any) -> pd.DataFrame:
    from userbench.report.tables import effects

    scores_csv(folder / "scores.csv", **changes)
    flags = ["--scores", str(folder / "scores.csv"), *experiment_flag(folder, effects=layout)]
    effects.main([*flags, "--out", str(folder / "effects.csv")])
    return pd.read_csv(folder / "effects.csv").set_index(["run", "task"])
