"""Scores and predictions of rows that differ by known amounts, and the statistics of them."""

import numpy as np
import pandas as pd
from experiments import experiment_flag

ROWS = ("none", "mlm", "adaptssr")
EXAMPLES = 200


def layout(tasks=("age", "life"), simulated=False, baselines=()) -> dict:
    return {
        "caption_data": "toy",
        "simulated": simulated,
        "tasks": [
            {"task": task, "label": f"Task {task}", "metric": "accuracy"}
            for task in (*tasks, "absent")
        ],
        "rows": [{"run": run, "label": run.upper()} for run in ROWS],
        "baselines": [{"run": run, "label": run} for run in baselines],
        "compared_with": "none",
    }


def write_results(folder, right: dict[tuple[str, str], list[int]]) -> None:
    """Scores and predictions of runs that get so many of EXAMPLES right, a number per seed."""
    from userbench.results.predictions import write_predictions
    from userbench.results.scores import SCORE_COLUMNS

    rows = []
    for (run, task), by_seed in right.items():
        for seed, n in enumerate(by_seed):
            example = np.arange(EXAMPLES)
            columns = {"example": example, "user": example, "label": 0 * example}
            columns["predicted"] = (example >= n).astype(int)
            about = {"run": run, "task": task, "corpus": "ttl", "seed": seed}
            path = folder / f"{run}-{task}-{seed}.parquet"
            write_predictions(path, columns, {**about, "kind": "classification"})
            score = {
                "metric": "accuracy",
                "split": "test",
                "pretrain_epoch": 1,
                "start": 1,
                "epoch": 1,
            }
            size = {"examples": EXAMPLES, "width": 64}
            rows.append({**about, **score, **size, "value": n / EXAMPLES})
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(folder / "scores.csv", index=False)


RIGHT = {
    ("none", "age"): [100, 104, 98],
    ("mlm", "age"): [101, 103, 100],
    ("adaptssr", "age"): [140, 143, 139],
    ("none", "life"): [60, 66, 63],
    ("mlm", "life"): [60, 66, 63],
    ("adaptssr", "life"): [64, 62, 69],
}


def make_statistics(statistics, name, folder, chosen) -> pd.DataFrame:
    """One of the two tables, "statistics" or "aggregate", as read from its CSV."""
    flags = ["--scores", str(folder / "scores.csv"), *experiment_flag(folder, table2=chosen)]
    flags += ["--predictions", *map(str, sorted(folder.glob("*.parquet")))]
    for before, table in (("", "statistics"), ("aggregate-", "aggregate")):
        for kind in ("csv", "md"):
            flags += [f"--{before}{kind}", str(folder / f"{table}.{kind}")]
    statistics.main(flags)
    for table in ("statistics", "aggregate"):
        assert (folder / f"{table}.csv.provenance.json").exists()
    table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
    texts = {"task", "label", "metric", "data", "run", "row", "note"}
    numbers = [c for c in table if c not in texts and not c.endswith((".run", ".verdict"))]
    return table.assign(**{c: pd.to_numeric(table[c]) for c in numbers})
