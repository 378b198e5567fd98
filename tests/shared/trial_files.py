"""Score files of tuning trials."""


def trial_file(run: str, task: str, seed: int, value: float, test: float | None = 0.5) -> dict:
    """A score file of two candidates, two epochs each; the second one's first epoch was chosen."""
    metric = {"age": "accuracy", "click": "ndcg@10", "cvr": "auc"}[task]
    best = {"pretrain_epoch": 5, "epoch": 1}
    point = {"split": "validation", "metric": metric}
    scores = [
        {**point, "pretrain_epoch": 1, "epoch": 1, "value": value / 2},
        {**point, "pretrain_epoch": 1, "epoch": 2, "value": value / 3},
        {**point, **best, "value": value},
        {**point, "pretrain_epoch": 5, "epoch": 2, "value": value / 4},
        {**point, **best, "metric": "hr@10", "value": 0.9},
    ]
    if test is not None:
        scores.append({**best, "split": "test", "metric": metric, "value": test})
    return {
        "run": run,
        "task": task,
        "corpus": "app" if task == "cvr" else "ttl",
        "seed": seed,
        "kind": {"accuracy": "classification", "auc": "binary"}.get(metric, "top_n"),
        "metric": metric,
        "width": 64,
        "examples": {"train": 60, "validation": 20, "test": 20},
        "best": best,
        "scores": scores,
    }
