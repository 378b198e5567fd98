"""Two simple references beside which a pre-trained model should be seen; a command.

python -m userbench.references --store DATA --splits SPLITS --seed 0
    --task '{"name": "age", "kind": "classification", "metric": "accuracy", "out": "age.json"}'
    --task '{"name": "click", "kind": "top_n", "metric": "ndcg@10", "out": "click.json"}'

`bag-of-items` predicts labels from the set of a user's items, `popularity` recommends what most
users of the training split chose. The seed changes neither; it is written into the score files.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from userbench.artifact import fingerprints, record, write_json
from userbench.data.splits import TEST, TRAIN, VALIDATION, check_store, load_split
from userbench.data.store import (
    LabelledExamples,
    TargetExamples,
    load_labels,
    load_targets,
    read_array,
)
from userbench.metrics import CUTOFFS, metrics_of
from userbench.mistakes import at_least, command, json_object
from userbench.predictions import predictions_path, write_predictions

log = logging.getLogger("userbench")

PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
METRICS = {
    "classification": ["accuracy"],
    "binary": ["auc"],
    "top_n": [f"{metric}@{k}" for metric in ("hr", "mrr", "ndcg") for k in CUTOFFS],
}
INVERSE_REGULARISATION = (0.1, 1.0, 10.0)  # C of scikit-learn, strongest regularisation first


class ReferenceTask(NamedTuple):
    """One task of the store, the metric that enters the table, and the score file to write."""

    name: str
    kind: str
    metric: str
    out: str


class Reference(NamedTuple):
    """Name of a reference, what it predicts of the examples it is asked about, what it chose."""

    run: str
    predict: Callable[[Int[Tensor, " some"]], dict[str, Tensor]]
    settings: dict[str, float]


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, score every task, and report a user's mistake in one line."""
    parser = argparse.ArgumentParser(prog="python -m userbench.references", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--task", type=json_object, action="append", required=True, help="as JSON")
    parser.add_argument("--seed", type=at_least(0), required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    tasks = [read_task(task) for task in args.task]
    check_store(args.splits, args.store)
    users = None
    for task in tasks:
        split = load_split(args.splits, task.name)
        if task.kind == "top_n":
            reference = popularity(load_targets(args.store, task.name, "cpu"), split)
        else:
            users = tfidf(args.store) if users is None else users
            examples = load_labels(args.store, task.name, "cpu")
            reference = bag_of_items(users, examples, split, task)
        write_scores(reference, task, split, args)


def read_task(task: Any) -> ReferenceTask:
    """A task as given on the command line; ValueError for wrong keys, an unknown kind or metric."""
    if not isinstance(task, dict) or task.keys() != set(ReferenceTask._fields):
        raise ValueError(f"--task {task}: its keys must be {', '.join(ReferenceTask._fields)}")
    if task["metric"] not in METRICS.get(task["kind"], []):
        legal = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in METRICS.items())
        raise ValueError(
            f"task {task['name']}: no {task['metric']!r} of a {task['kind']!r} task. Legal: {legal}"
        )
    return ReferenceTask(**task)


def examples_of(
    split: UInt8[Tensor, " examples"], part: str, task: ReferenceTask
) -> Int[Tensor, " some"]:
    """Numbers of the examples of one part; ValueError where there are none."""
    found = (split == PARTS[part]).nonzero().squeeze(1)
    if not len(found):
        raise ValueError(f"task {task.name}: no example in {part}. The task has too few examples")
    return found


def tfidf(store: Path) -> csr_array:
    """TF-IDF weights of every user's items, (users, items + 1), each row of length one.

    Document frequencies are over all users of the store, those of test examples included: they
    are unlabelled, and pre-training sees them, too.
    """
    items, offsets = read_array(store, "items.npy"), read_array(store, "offsets.npy")
    counts = csr_array((np.ones(len(items)), items, offsets))
    counts.sum_duplicates()
    # Which of SciPy's two kinds scikit-learn returns depends on its version.
    return csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))


def bag_of_items(
    users: csr_array,
    examples: LabelledExamples,
    split: UInt8[Tensor, " examples"],
    task: ReferenceTask,
) -> Reference:
    """Logistic regression on TF-IDF weights, fitted to train, its C chosen on validation.

    Raises:
        ValueError: a part has no example, or all training examples are of one class.
    """
    bags, labels = users[examples.users.numpy()], examples.labels
    train, validation = (examples_of(split, part, task) for part in ("train", "validation"))
    if len(labels[train].unique()) < 2:
        raise ValueError(f"task {task.name}: all training examples are of one class")

    def predict(model: LogisticRegression, picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        found = {"user": examples.users[picked], "label": labels[picked]}
        if task.kind == "binary":
            score = torch.from_numpy(model.decision_function(bags[picked.numpy()]))
            return {**found, "score": score}
        # A class without a training example has no column in the model and is never predicted.
        score = torch.zeros(len(picked), examples.n_classes, dtype=torch.float64)
        probability = model.predict_proba(bags[picked.numpy()])
        score[:, model.classes_] = torch.from_numpy(probability)
        return {**found, "predicted": score.argmax(-1)}

    models = [
        LogisticRegression(C=c, max_iter=1000).fit(bags[train.numpy()], labels[train].numpy())
        for c in INVERSE_REGULARISATION
    ]
    best = max(models, key=lambda model: metrics_of(predict(model, validation))[task.metric])
    return Reference("bag-of-items", lambda picked: predict(best, picked), {"C": best.C})


def popularity(examples: TargetExamples, split: UInt8[Tensor, " examples"]) -> Reference:
    """Rank candidates by how often they are a target in train."""
    rank = popularity_ranks(examples, split)

    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        return {"user": examples.users[picked], "rank": rank[picked]}

    return Reference("popularity", predict, {})


def popularity_ranks(
    examples: TargetExamples, split: UInt8[Tensor, " examples"]
) -> Int[Tensor, " examples"]:
    """Rank (1 = best) of each target by popularity, the user's other positives left out."""
    counts = torch.bincount(examples.targets[split == TRAIN], minlength=examples.n_candidates)
    # Why not ties against the target, as in `metrics.ranks`: most candidates share a small count.
    # One fixed list, the lower index first among equals, is what a popularity recommender shows.
    order = counts.argsort(descending=True, stable=True)
    place = order.argsort()[examples.targets]
    by_row = (examples.rows * examples.n_candidates + place).argsort()
    ahead = torch.empty_like(place)  # the user's other positives further up the list
    ahead[by_row] = torch.arange(len(place)) - examples.known_offsets[examples.rows]
    return place - ahead + 1


def write_scores(
    reference: Reference,
    task: ReferenceTask,
    split: UInt8[Tensor, " examples"],
    args: argparse.Namespace,
) -> None:
    """Write the files of one task, in the form in which `finetune` writes its own."""
    epoch = {"pretrain_epoch": 0, "epoch": 0}
    picked = {part: examples_of(split, part, task) for part in PARTS}
    predictions = {part: reference.predict(picked[part]) for part in ("validation", "test")}
    scores = [
        {**epoch, "split": part, "metric": metric, "value": float(value)}
        for part in predictions
        for metric, value in metrics_of(predictions[part]).items()
    ]
    content = {
        "run": reference.run,
        "task": task.name,
        "corpus": args.store.name,
        "seed": args.seed,
        "kind": task.kind,
        "metric": task.metric,
        "examples": {part: len(picked[part]) for part in PARTS},
        "best": epoch,
        "scores": scores,
    }
    out, told = Path(task.out), {"task": task._asdict(), **reference.settings}
    config = {"store": str(args.store), "splits": str(args.splits), "seed": args.seed, **told}
    columns = {"example": picked["test"], **predictions["test"]}
    write_predictions(predictions_path(out), columns, content)
    inputs = fingerprints([args.store, args.splits])
    record(predictions_path(out), config, inputs)
    write_json(out, content)
    record(out, config, inputs, beside=[predictions_path(out)])
    found = {score["metric"]: round(score["value"], 4) for score in scores[len(scores) // 2 :]}
    log.info("%s %s %s: test %s", task.name, reference.run, reference.settings, found)


if __name__ == "__main__":
    main()
