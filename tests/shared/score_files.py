"""Score files as `finetune` and `baselines` write them, and Table 2 of them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from experiments import experiment_flag

MARKUPS = ("csv", "md", "tex", "html")


def score_file(run: str, task: str, seed: int, metric: str, test: float, /, **changes: Any) -> dict:
    """A score file of two epochs, the second of which was chosen and tested."""
    epoch = {"pretrain_epoch": 3, "metric": metric}
    return {
        "run": run,
        "task": task,
        "corpus": "ttl",
        "seed": seed,
        "kind": {"accuracy": "classification", "auc": "binary"}.get(metric, "top_n"),
        "metric": metric,
        "width": 64,
        "examples": {"train": 6000, "validation": 2000, "test": 2001},
        "best": {"pretrain_epoch": 3, "epoch": 2},
        "scores": [
            {**epoch, "epoch": 1, "split": "validation", "value": 0.11},
            {**epoch, "epoch": 2, "split": "validation", "value": 0.99},
            {**epoch, "epoch": 2, "split": "test", "value": test},
        ],
    } | changes


def baseline_file(run: str, task: str, metric: str, test: float) -> dict:
    """A score file of a baseline: nothing was trained, so no epoch and no user vector."""
    epoch = {"pretrain_epoch": 0, "epoch": 0}
    scores = [
        {**epoch, "split": part, "metric": metric, "value": test} for part in ("validation", "test")
    ]
    content = score_file(run, task, 0, metric, test, best=epoch, scores=scores)
    return {key: value for key, value in content.items() if key != "width"}


def starts_file(run: str, seed: int, starts: int) -> dict:
    """A score file of a run without pre-training whose last start is the best on validation."""
    metric, scores = {"pretrain_epoch": 0, "metric": "accuracy"}, []
    for start in range(1, starts + 1):
        for epoch in (1, 2):
            value = 0.1 * start + 0.01 * epoch + 0.001 * seed
            point = {"start": start, "epoch": epoch, "split": "validation", "value": value}
            scores.append({**metric, **point})
    best = {"pretrain_epoch": 0, "start": starts, "epoch": 2}
    scores.append({**metric, **best, "split": "test", "value": 0.5})
    return score_file(run, "age", seed, "accuracy", 0.5, best=best, scores=scores)


def checkpoints_file(run: str, seed: int, epochs: list[int]) -> dict:
    """A score file of a run of which several checkpoints were fine-tuned, the last one tested."""
    content = score_file(run, "age", seed, "accuracy", 0.5)
    own = [point | {"pretrain_epoch": e} for e in epochs for point in content["scores"][:2]]
    best = content["best"] | {"pretrain_epoch": epochs[-1]}
    return content | {"best": best, "scores": [*own, content["scores"][2] | best]}


CONTENT = [
    *(score_file("none", "age", seed, "accuracy", [0.5, 0.6][seed]) for seed in (0, 1)),
    *(score_file("adaptssr", "age", seed, "accuracy", [0.6, 0.72][seed]) for seed in (0, 1)),
    *(score_file("mlm", "age", seed, "accuracy", [0.55, 0.57][seed]) for seed in (0, 1)),
    baseline_file("bag-of-items", "age", "accuracy", 0.9),
    *(score_file("none", "click", seed, "ndcg@10", 0.02) for seed in (0, 1)),
    *(score_file("adaptssr", "click", seed, "ndcg@10", 0.03) for seed in (0, 1)),
    *(score_file("mlm", "click", seed, "ndcg@10", 0.015) for seed in (0, 1)),
    baseline_file("popularity", "click", "ndcg@10", 0.01),
]
LAYOUT = {
    "caption_data": "TTL (10,000 users)",
    "simulated": False,
    "tasks": [
        {"task": "age", "label": "T1 Age", "metric": "accuracy", "paper": "T1"},
        {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "paper": "T3"},
        {"task": "cvr", "label": "T6 CVR", "metric": "auc", "paper": "T6"},
    ],
    "rows": [
        {"run": "none", "label": "None", "paper": "None"},
        {"run": "mlm", "label": "PeterRec", "paper": "PeterRec"},
        {"run": "adaptssr", "label": "AdaptSSR", "paper": "AdaptSSR"},
    ],
    "baselines": [
        {"run": "bag-of-items", "label": "bag-of-items"},
        {"run": "popularity", "label": "popularity"},
    ],
    "compared_with": "none",
}


def write_score_files(folder: Path, contents: list[dict]) -> list[str]:
    paths = [folder / f"score{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(json.dumps(content))
    return [str(path) for path in paths]


def make_table2(
    folder: Path, layout: dict = LAYOUT, contents=CONTENT, more=(), **layouts: dict
) -> dict[str, str]:
    """Run both commands; the text of table 2 by markup."""
    from userbench.report.tables import table2
    from userbench.results import scores

    csv, out = folder / "scores.csv", {markup: folder / f"t.{markup}" for markup in MARKUPS}
    scores.main(["--scores", *write_score_files(folder, contents), "--out", str(csv)])
    flags = [word for markup in MARKUPS for word in (f"--{markup}", str(out[markup]))]
    flags += [*experiment_flag(folder, table2=layout, **layouts), *more]
    table2.main(["--scores", str(csv), *flags])
    return {markup: path.read_text(encoding="utf-8") for markup, path in out.items()}


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""]).set_index("run")


def statistics_csv(folder: Path, verdicts: dict[tuple[str, str], str]) -> list[str]:
    """The flag of a file of statistics with these verdicts on rows against all others."""
    rows = [
        {
            "run": run,
            "task": task,
            "ranked": int(run != "bag-of-items"),
            "best_other.verdict": verdict,
        }
        | {"row": run.upper(), "label": f"T {task}", "mean": 1.0, "baseline.run": "none"}
        | {"data": "real", "seeds": 2, "best_other.p_holm": 0.5}
        | {"baseline.difference": 11.0, "baseline.p_table": 0.01 if verdict == "better" else 0.6}
        | {"note": "seed 1 predicts one class only" if verdict == "worse" else ""}
        for (run, task), verdict in verdicts.items()
    ]
    itself = {"run": "none", "task": "age", "ranked": 1, "best_other.verdict": "undecided"}
    itself |= {"row": "NONE", "label": "T age", "mean": 1.0, "note": "", "baseline.run": ""}
    itself |= {"data": "real", "seeds": 2}
    pd.DataFrame([itself, *rows]).to_csv(folder / "statistics.csv", index=False)
    return ["--statistics", str(folder / "statistics.csv")]
