"""A small tree of results that the package's own writers made, and the page of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from experiments import figure_layout, figure_row, write_experiment

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{ 7*7 }}"""
RUNS = ("none", "adaptssr", "clue")
SCORES = {"none": [0.50, 0.60, 0.55], "adaptssr": [0.60, 0.72, 0.70], "clue": [0.52, 0.49, 0.55]}
CONFIG = "corpora:\n  ttl: {raw_env: USERBENCH_TTL}\n# <script>alert(3)</script>\n"


def score_file(run: str, task: str, seed: int, metric: str, value: float) -> dict[str, Any]:
    """What `finetune` writes: two epochs, the second of which was chosen and tested."""
    epoch = {"pretrain_epoch": 2, "metric": metric}
    return {
        **{"run": run, "task": task, "corpus": "ttl", "seed": seed, "metric": metric, "width": 16},
        "kind": "binary" if metric == "auc" else "top_n",
        "examples": {"train": 600, "validation": 200, "test": 201},
        "best": {"pretrain_epoch": 2, "epoch": 2},
        "scores": [
            {**epoch, "epoch": 1, "split": "validation", "value": value - 0.02},
            {**epoch, "epoch": 2, "split": "validation", "value": value - 0.01},
            {**epoch, "epoch": 2, "split": "test", "value": value},
        ],
    }


def write_tree(
    name: str, label: str, seeds: int = 3, baselines: tuple[dict[str, Any], ...] = ()
) -> Path:
    """results/<name> below the working folder: three rows, two tasks; of this AdaptSSR label.

    `baselines` are what score files of simple baselines say of the first task beside the score.
    """
    from userbench.report.statistics import agreement
    from userbench.report.tables import table2
    from userbench.results import artifact, scores

    folder, files = Path("results", name), []
    for run in RUNS:
        for seed in range(seeds):
            checkpoint = folder / f"pretrain/{run}/ttl/seed{seed}/epoch2.safetensors"
            if run != "none":
                curve = [
                    {"epoch": e, "split": split, "step": 9 * e, "loss": 3.0 / e + seed / 9}
                    | ({"own_measure": 0.25 / e} if split == "validation" else {})
                    for e in (1, 2)
                    for split in ("train", "validation")
                ]
                artifact.write_json(checkpoint.with_name("curve.json"), curve)
                asked = {"method": run, "init": None, "seed": seed, "config": {"lr": 2e-4}}
                digest = f"{seed}" * 64
                artifact.record(checkpoint, asked, sha256=digest, epoch=2)
            for task, metric in (("gender", "auc"), ("click", "ndcg@10")):
                path = folder / f"finetune/{run}/{task}/seed{seed}.json"
                init = [str(checkpoint)] if run != "none" else None
                artifact.write_json(path, score_file(run, task, seed, metric, SCORES[run][seed]))
                asked = {"run": run, "init": init, "seed": seed, "task": {"name": task}}
                artifact.record(path, asked, task_seconds=1.5)
                files.append(str(path))
    for baseline in baselines:
        path = folder / f"finetune/{baseline['run']}/gender/seed0.json"
        content = score_file(baseline["run"], "gender", 0, "auc", 0.8) | baseline
        content["best"] = {"pretrain_epoch": 0, "epoch": 0}
        content["scores"] = [content["scores"][-1] | content["best"]]
        artifact.write_json(path, {key: content[key] for key in content if key != "width"})
        artifact.record(path, {"seed": 0})
        files.append(str(path))
    layout = {
        "caption_data": f"data of {label}",
        "simulated": True,
        "tasks": [
            {"task": "gender", "label": f"T5 {label}", "metric": "auc", "paper": "T5"},
            {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "paper": "T3"},
        ],
        "rows": [
            {"run": "none", "label": "None", "paper": "None"},
            {"run": "adaptssr", "label": label, "paper": "AdaptSSR"},
            {"run": "clue", "label": "CLUE", "paper": "CLUE"},
        ],
        "baselines": [{"run": baseline["run"], "label": baseline["run"]} for baseline in baselines],
        "compared_with": "none",
        "notes": [f"a note on {label}"],
    }
    csv = folder / "scores.csv"
    drawn = figure_layout([figure_row("adaptssr", "adaptssr")], {"gender": ("T5 Gender", "auc")})
    experiment_json = write_experiment(folder, table2=layout, figures={"ablation": drawn})
    asked = ["--experiment", str(experiment_json)]
    scores.main(["--scores", *files, "--out", str(csv)])
    flags = [
        word
        for kind in ("csv", "md", "tex", "html")
        for word in (f"--{kind}", f"{folder}/table2.{kind}")
    ]
    table2.main(["--scores", str(csv), *asked, *flags])
    agreement.main(["--scores", str(csv), *asked, "--out", str(folder / "agreement.csv")])
    return folder


def add_results(folder: Path) -> None:
    """A verdict, a figure, and a benchmark of Snakemake's, as other rules would write them."""
    row = {"task": "T5", "run": "adaptssr", "method": "AdaptSSR", "verdict": "undecided"}
    row |= {"reason": HOSTILE, "mean": 67.3, "seeds_needed": 40, "gain_verdict": "undecided"}
    other = row | {"run": "clue", "method": "CLUE", "verdict": "not comparable"}
    other |= {"reason": "simulated data", "gain_reason": "simulated data"}
    other |= {"gain_verdict": "not comparable"}
    pd.DataFrame([row, other]).to_csv(folder / "verdict.csv", index=False)
    rows = {"run": ["none", "adaptssr", "clue"], "row": ["None", HOSTILE, "CLUE"]}
    against = {"baseline.run": ["", "none", "none"], "baseline.difference": [np.nan, 3.0, 2.0]}
    against |= {"baseline.p_table": [np.nan, 0.001, 0.2], "best_other.p_holm": 0.01}
    against["best_other.verdict"] = ["worse", "better", "undecided"]
    of_task = {"task": "gender", "label": "T5 Gender", "ranked": 1, "mean": 60.0, "note": ""}
    of_task |= {"data": "simulated", "seeds": 3}
    pd.DataFrame({**rows, **against, **of_task}).to_csv(folder / "statistics.csv", index=False)
    pd.DataFrame({"run": ["None"], "mean": [-0.5]}).to_csv(folder / "ablation.csv", index=False)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="150">'
    (folder / "figure4.svg").write_text(f'{svg}<circle cx="90" cy="75" r="50"/></svg>')
    tsv = folder / "benchmarks/finetune/clue/ttl/seed0.tsv"
    tsv.parent.mkdir(parents=True)
    tsv.write_text("s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t812.5\t1.4\n")


def make_page(command, folder: Path) -> str:
    """The page of an experiment, by its command."""
    config = Path("config.yaml")
    config.write_text(CONFIG)
    out = folder / "report.html"
    command.main(["--folder", str(folder), "--config", str(config), "--out", str(out)])
    return out.read_text(encoding="utf-8")
