"""Score two simple baselines, bag of items and popularity.

userbench baselines --store DATA --splits SPLITS --max-length 150 --seed 0
    --task '{"name": "age", "kind": "classification", "metric": "accuracy", "out": "age.json"}'
    --task '{"name": "age", .., "history": "whole", "out": "long/age.json"}'
    --task '{"name": "click", "kind": "top_n", "metric": "ndcg@10", "out": "click.json"}'

`bag-of-items` predicts labels from the set of a user's items: of the latest `--max-length`, which
are all that an encoder of that length reads; with the whole history it is `bag-of-items-long`.
`popularity` recommends what most users of the training split chose, ranked by the protocol of the
task as a head is whose scores are these counts. The seed changes none of them; it is written into
the score files. That of a task that cannot be scored says why, as those of `finetune` do.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.arrays import behaviours_folder, read_array
from userbench.data.ids import given_user_ids
from userbench.data.limits import TaskParts, described, task_parts
from userbench.data.splits import TEST, TRAIN, VALIDATION, check_task_splits, task_data
from userbench.data.store import (
    BehaviourStore,
    LabelledExamples,
    TargetExamples,
    load_labels,
    load_targets,
)
from userbench.errors import command
from userbench.model.metrics import CUTOFFS, TIES, gains, metrics_of
from userbench.model.tasks import LEGAL, Ranking, Task
from userbench.results.artifact import fingerprints, record, write_json
from userbench.results.predictions import COLUMNS, predictions_path, write_predictions

log = logging.getLogger("userbench")

PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
METRICS = {
    "classification": ["accuracy"],
    "binary": ["auc"],
    "top_n": [f"{metric}@{k}" for metric in ("hr", "mrr", "ndcg") for k in CUTOFFS],
}
# Names of the bag of items in the table, by what it reads of a user's history.
BAGS = {"latest": "bag-of-items", "whole": "bag-of-items-long"}
CHOICES = {name: LEGAL[name] for name in ("known_targets", "ties", "average")}
CHOICES["history"] = tuple(BAGS)
INVERSE_REGULARISATION = (0.1, 1.0, 10.0)  # C of scikit-learn, strongest regularisation first


@dataclass(frozen=True)
class Options:
    """What the command is asked to score."""

    store: Path
    splits: Path
    max_length: int
    """Latest items of a user that an encoder reads."""
    seed: int


class BaselineTask(NamedTuple):
    """One task of the store, the metric that enters the table, the score file, the protocol."""

    name: str
    kind: str
    metric: str
    out: str
    known_targets: str = Task.known_targets
    ties: str = Task.ties
    average: str = Task.average
    history: str = "latest"
    """What a bag holds of a user: the "latest" `--max-length` items, or the "whole" history."""


class Baseline(NamedTuple):
    """Name of a baseline, what it predicts of the examples it is asked about, what it chose."""

    run: str
    predict: Callable[[Int[Tensor, " some"]], dict[str, Tensor]]
    settings: dict[str, float]
    facts: dict[str, Any]
    """What a reader of the task's scores should know of its data, see `facts_of`."""
    same_as: str | None = None
    """The baseline whose scores these are again, as the data give this one nothing more."""


@command
def main(argv: list[str] | None = None) -> None:
    """Score every task."""
    parser = command_line.parser("baselines", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument(
        "--max-length", type=at_least(1), required=True, help="latest items that an encoder reads"
    )
    parser.add_argument("--task", type=json_object, action="append", required=True, help="as JSON")
    parser.add_argument(
        "--seed", type=at_least(0), required=True, help="written to the score files"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    tasks = [read_task(task) for task in args.task]
    options = Options(args.store, args.splits, args.max_length, args.seed)
    check_task_splits(options.splits, options.store, [task.name for task in tasks])
    bags = Bags(options.store, options.max_length)
    for task in tasks:
        parts = task_parts(options.store, options.splits, task.name, task.kind, task.known_targets)
        split = torch.from_numpy(parts.parts)
        if parts.limit:
            log.warning("task %s cannot be scored: %s", task.name, parts.limit)
            write_no_scores(task, parts, bags.same_as(task), options)
            continue
        if task.kind == "top_n":
            baseline = popularity(load_targets(options.store, task.name, "cpu"), split, task)
        else:
            baseline = bags.baseline(task, split)
        write_scores(baseline, task, parts, options)


def read_task(task: Any) -> BaselineTask:
    """A task as given on the command line; ValueError for wrong keys or an unknown value."""
    protocol = BaselineTask._field_defaults
    needed = [name for name in BaselineTask._fields if name not in protocol]
    if not isinstance(task, dict) or not {*needed} <= task.keys() <= {*needed, *protocol}:
        reason = f"its keys must be {', '.join(needed)}, and may be {', '.join(protocol)}"
        raise ValueError(f"--task {task}: {reason}")
    for name in protocol:
        if task.get(name, CHOICES[name][0]) not in CHOICES[name]:
            reason = f"{name} {task[name]!r} is none of {', '.join(CHOICES[name])}"
            raise ValueError(f"task {task['name']}: {reason}")
    if task["metric"] not in METRICS.get(task["kind"], []):
        legal = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in METRICS.items())
        raise ValueError(
            f"task {task['name']}: no {task['metric']!r} of a {task['kind']!r} task. Legal: {legal}"
        )
    if task["kind"] == "top_n" and "history" in task:
        raise ValueError(f"task {task['name']}: popularity reads no history. Leave it out")
    return BaselineTask(**task)


def examples_of(split: UInt8[Tensor, " examples"], part: str) -> Int[Tensor, " some"]:
    """Numbers of the examples of one part."""
    return (split == PARTS[part]).nonzero().squeeze(1)


class Bags:
    """The bags of a store: histories of equal length are weighed once, and fitted once per task."""

    def __init__(self, store: Path, max_length: int):
        self.store, self.max_length = store, max_length
        self.lengths = torch.from_numpy(read_array(behaviours_folder(store), "offsets.npy")).diff()
        self.users: dict[int, csr_array] = {}
        self.fitted: dict[tuple[str, int], Baseline] = {}

    def baseline(self, task: BaselineTask, split: UInt8[Tensor, " examples"]) -> Baseline:
        """`bag_of_items` on what the task's `history` says.

        Where nobody has more than `max_length` items, the whole history is that of the latest.
        """
        longest = int(self.lengths.max())
        length = longest if task.history == "whole" else min(self.max_length, longest)
        if length not in self.users:
            self.users[length] = tfidf(BehaviourStore.open(self.store, length, "cpu"))
        examples = load_labels(self.store, task.name, "cpu")
        if (task.name, length) not in self.fitted:
            fitted = bag_of_items(self.users[length], examples, split, task)
            self.fitted[task.name, length] = fitted
        tested = examples.users[split == TEST].unique()
        longer = float((self.lengths[tested] > self.max_length).double().mean())
        found = self.fitted[task.name, length]
        return found._replace(
            run=BAGS[task.history],
            facts=found.facts | {"max_length": self.max_length, "longer_histories": longer},
            same_as=self.same_as(task),
        )

    def same_as(self, task: BaselineTask) -> str | None:
        """The baseline that the one of a task repeats, where nobody's history is longer."""
        again = task.history == "whole" and int(self.lengths.max()) <= self.max_length
        return BAGS["latest"] if again else None


def tfidf(store: BehaviourStore) -> csr_array:
    """TF-IDF weights of every user's items, (users, items + 1), each row of length one.

    Document frequencies are over all users of the store, those of test examples included: they
    are unlabelled, and pre-training sees them, too.
    """
    ones, shape = np.ones(len(store.items)), (store.n_users, store.n_items + 1)
    counts = csr_array((ones, store.items.numpy(), store.offsets.numpy()), shape)
    counts.sum_duplicates()
    # Which of SciPy's two kinds scikit-learn returns depends on its version.
    return csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))


def bag_of_items(
    users: csr_array,
    examples: LabelledExamples,
    split: UInt8[Tensor, " examples"],
    task: BaselineTask,
) -> Baseline:
    """Logistic regression on TF-IDF weights, fitted to train, its C chosen on validation."""
    bags, labels = users[examples.users.numpy()], examples.labels
    train, validation = (examples_of(split, part) for part in ("train", "validation"))

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
    facts = facts_of(examples.users, split)
    return Baseline(BAGS["latest"], lambda picked: predict(best, picked), {"C": best.C}, facts)


def popularity(
    examples: TargetExamples, split: UInt8[Tensor, " examples"], task: BaselineTask
) -> Baseline:
    """Rank candidates by how often they are a target in train."""
    ranking = Ranking(examples, split, task.known_targets, task.ties, task.average)
    counts = examples.targets[split == TRAIN].bincount(minlength=examples.n_candidates).double()

    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        return {"user": examples.users[picked], **ranking.predict_alike(picked, counts)}

    facts = facts_of(examples.users, split)
    return Baseline(
        "popularity", predict, {}, facts | {"constant": constant(examples, split, task)}
    )


def facts_of(
    users: Int[Tensor, " examples"], split: UInt8[Tensor, " examples"]
) -> dict[str, float]:
    """Share of the users with test examples who have training examples, too."""
    tested = users[split == TEST].unique()
    return {"test_users_in_train": float(torch.isin(tested, users[split == TRAIN]).double().mean())}


def constant(
    examples: TargetExamples, split: UInt8[Tensor, " examples"], task: BaselineTask
) -> dict[str, float]:
    """What a model gets on test that gives all candidates one score, by what becomes of ties.

    "random" is the expectation where equal candidates come in random order.
    """
    picked, alike = (split == TEST).nonzero().squeeze(1), torch.zeros(examples.n_candidates)

    def predict(ties: str) -> dict[str, Tensor]:
        ranking = Ranking(examples, split, task.known_targets, ties, task.average)
        return ranking.predict_alike(picked, alike)

    predicted = {ties: predict(ties) for ties in TIES}
    found = {ties: metrics_of(ranked)[task.metric] for ties, ranked in predicted.items()}
    # The last place is the number of candidates ranked; every place up to it is equally likely.
    last, weight = predicted["pessimistic"]["rank"], predicted["pessimistic"].get("weight", 1.0)
    places = torch.arange(1, examples.n_candidates + 1)
    expected = gains(places)[task.metric].cumsum(0) / places
    found["random"] = (expected[last - 1] * weight).mean()
    return {ties: float(value) for ties, value in found.items()}


def write_scores(
    baseline: Baseline, task: BaselineTask, parts: TaskParts, options: Options
) -> None:
    """Write the files of one task, in the form in which `finetune` writes its own."""
    epoch, split = {"pretrain_epoch": 0, "epoch": 0}, torch.from_numpy(parts.parts)
    picked = {part: examples_of(split, part) for part in PARTS}
    predictions = {part: baseline.predict(picked[part]) for part in ("validation", "test")}
    scores = [
        {**epoch, "split": part, "metric": metric, "value": float(value)}
        for part in predictions
        for metric, value in metrics_of(predictions[part]).items()
    ]
    found = {"best": epoch, "facts": baseline.facts | described(parts), "scores": scores}
    if baseline.same_as is not None:
        found["same_as"] = baseline.same_as
    content = about(baseline.run, task, split, options) | found
    columns = {"example": picked["test"], **predictions["test"]}
    write_files(content, columns, task, baseline.settings, options)
    shown = {score["metric"]: round(score["value"], 4) for score in scores[len(scores) // 2 :]}
    log.info("%s %s %s: test %s", task.name, baseline.run, baseline.settings, shown)


def write_no_scores(
    task: BaselineTask, parts: TaskParts, same_as: str | None, options: Options
) -> None:
    """Write the files of a task that cannot be scored, in the form of `finetune`."""
    run = "popularity" if task.kind == "top_n" else BAGS[task.history]
    found = {"best": None, "scores": [], "failed": parts.limit, "facts": described(parts)}
    if same_as is not None:
        found["same_as"] = same_as
    content = about(run, task, torch.from_numpy(parts.parts), options) | found
    columns = {name: torch.empty(0) for name in ("example", "user", *COLUMNS[task.kind])}
    write_files(content, columns, task, {}, options)


def about(
    run: str, task: BaselineTask, split: UInt8[Tensor, " examples"], options: Options
) -> dict[str, Any]:
    """The first entries of a score file."""
    return {
        "run": run,
        "task": task.name,
        "corpus": options.store.name,
        "seed": options.seed,
        "kind": task.kind,
        "metric": task.metric,
        "examples": {part: len(examples_of(split, part)) for part in PARTS},
    }


def write_files(
    content: dict[str, Any],
    columns: dict[str, Tensor],
    task: BaselineTask,
    settings: dict[str, float],
    options: Options,
) -> None:
    """Write scores and predictions of the test examples, each with its record."""
    out, config = Path(task.out), {**asdict(options), "task": task._asdict(), **settings}
    write_predictions(predictions_path(out), columns, content, given_user_ids(options.store))
    data = task_data(options.store, options.splits, [task.name])
    inputs = fingerprints([behaviours_folder(options.store), *data])
    record(predictions_path(out), config, inputs)
    write_json(out, content)
    record(out, config, inputs, beside=[predictions_path(out)])
