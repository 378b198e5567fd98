"""Train heads on given user vectors, as on a frozen encoder, and test them.

userbench frozen --store DATA --splits SPLITS --run adaptssr --seed 0
    --vectors seed0/epoch1.parquet seed0/epoch4.parquet --head linear
    --task '{"name": "age", "kind": "classification", "batch_size": 128, "epochs": 30,
    "out": "age.json"}'

Vectors are those of `embed`, of `counts`, or of any other program (`data/vectors.py`). Every run
gets the same treatment: vectors are standardised by those of the task's training users, a head is
trained at each of the same learning rates (`--lr`), and of these, of the files and of the epochs
the one best on validation is tested. `{seed}` in `--vectors` and in the `out` of a task stands for
each seed. Heads: "linear"; "mlp", that of fine-tuning; "boosted", gradient boosting by
scikit-learn, its iterations being the epochs (100, whatever the task says), and for top-N
recommendation, where there are no labels, the linear one. Files are those of `finetune`.
"""

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.arrays import behaviours_folder
from userbench.data.features import features_of
from userbench.data.ids import user_ids
from userbench.data.labelled import LabelledSplit, labelled_split
from userbench.data.splits import check_task_splits, order_of_labelled, task_data
from userbench.data.store import LabelledExamples, TargetExamples
from userbench.data.vectors import Vectors, read_vectors
from userbench.errors import NotANumber, command
from userbench.model.boosted import boosted
from userbench.model.encoder import UserVectors
from userbench.model.heads import Head, LinearHead, TwoLayerHead
from userbench.model.losses import finite
from userbench.model.metrics import metrics_of
from userbench.model.tasks import Task, check_task, load_examples, outputs_of, with_head
from userbench.results.artifact import fingerprint, fingerprints
from userbench.seeds import seed_of
from userbench.training.fit_files import FitOf, Tested, write_tested
from userbench.training.gpu_share import gpu_facts, take_device
from userbench.training.several_seeds import check_outputs, with_seed

log = logging.getLogger("userbench")

HEADS = ("linear", "mlp", "boosted")
# Why several: of 8,000 simulated users, hidden states gain three to six points of accuracy from
# 1e-3 to 3e-2, and item counts lose four; top-N recommendation is best at 1e-3 or 3e-3 for both.
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
Predict = Callable[[Int[Tensor, " some"]], dict[str, Tensor]]


@dataclass(frozen=True)
class Options:
    """What is trained on which vectors: the flags of the command, of one seed."""

    store: Path
    splits: Path
    run: str
    vectors: list[Path]
    head: str
    hidden: int
    lr: list[float]
    order: str
    max_bad_rows: int
    no_test: bool
    device: str
    seed: int


class Candidate(NamedTuple):
    """A file of vectors, and the keys of its rows in a score file."""

    path: Path
    vectors: Vectors
    place: dict[str, int]


class Data(NamedTuple):
    """A task's examples and their split, and the features of its users from one file."""

    task: Task
    examples: LabelledExamples | TargetExamples
    labelled: LabelledSplit
    users: UserVectors
    """Features of the users that have examples."""
    rows: Int[Tensor, " examples"]
    """Among them, the user of each example."""
    missing: int = 0
    """How many of these users had no vector."""

    def of(self, picked: Int[Tensor, " some"]) -> UserVectors:
        """Features of the users of these examples."""
        return self.users[self.rows[picked]]


class Fit(NamedTuple):
    """A head at its best epoch on validation."""

    value: float
    chosen: dict[str, Any]
    """Epoch, and learning rate if there is one."""
    curve: list[dict[str, Any]]
    predict: Predict


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = command_line.parser("frozen", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--run", required=True, help="name of the run in the score files")
    parser.add_argument(
        "--vectors", type=Path, nargs="+", required=True, help="candidates: files of user vectors"
    )
    parser.add_argument("--head", choices=HEADS, default="linear", help="what is trained on them")
    parser.add_argument("--hidden", type=at_least(1), default=64, help="hidden units of head mlp")
    parser.add_argument(
        "--lr", type=float, nargs="+", default=list(RATES), help="learning rates, all tried"
    )
    parser.add_argument("--task", type=json_object, action="append", required=True, help="as JSON")
    parser.add_argument("--seed", type=at_least(0), nargs="+", required=True, help="of the heads")
    parser.add_argument("--order", default="reshuffled", help="of examples: reshuffled or fixed")
    parser.add_argument(
        "--max-bad-rows", type=at_least(0), default=0, help="users of a task without a vector"
    )
    parser.add_argument("--no-test", action="store_true", help="leave the test split alone")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Train the heads of every seed and task.

    Raises ValueError for flags that do not fit each other or the files they name.
    """
    args = flags().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    tasks = [task_of(given, args.lr) for given in args.task]
    outputs = [Path(given["out"]) for given in args.task]
    check_outputs(out for seed in args.seed for out in with_seed(outputs, seed))
    check_task_splits(args.splits, args.store, [task.name for task in tasks])
    device = take_device(args.device)
    ids, read = user_ids(args.store), {}
    for seed in args.seed:
        given = {name: value for name, value in vars(args).items() if name != "task"}
        options = Options(**with_seed(given | {"seed": None}, seed) | {"seed": seed})
        # Kept for the next seed, which may have the same files.
        read = {path: read.get(path) or read_vectors(path) for path in options.vectors}
        candidates = candidates_of(read, args.store)
        for task, out in zip(tasks, with_seed(outputs, seed), strict=True):
            write(out, task, fit_task(task, candidates, ids, options, device), options, device)


def task_of(given: dict[str, Any], rates: list[float]) -> Task:
    """A task as given on the command line; ValueError for a field that no head here reads."""
    for name in ("lr", "dropout"):
        if name in given:
            remedy = "learning rates are those of --lr" if name == "lr" else "there is no encoder"
            raise ValueError(f"--task {given.get('name')}: leave out {name}; {remedy}")
    check_task(given | {"lr": rates[0]})
    for rate in rates:
        task = Task(**{name: value for name, value in given.items() if name != "out"}, lr=rate)
    return replace(task, lr=rates[0])


def candidates_of(read: dict[Path, Vectors], store: Path) -> list[Candidate]:
    """The files as candidates: by the checkpoint that made them, others by their number.

    Raises:
        ValueError: a file is of another corpus, or two are of one candidate.
    """
    found: list[Candidate] = []
    own = fingerprint(behaviours_folder(store))
    for number, (path, vectors) in enumerate(read.items(), 1):
        about = vectors.about
        if about.get("behaviours", own) != own:
            raise ValueError(f"{path}: vectors of another corpus than {store}. Name its own store")
        place = {"pretrain_epoch": 0, "start": number}
        if "pretrain_epoch" in about:
            place = {name: about[name] for name in place if name in about}
        for other in found:
            if other.place == place:
                what = ", ".join(f"{name} {value}" for name, value in place.items())
                raise ValueError(
                    f"{path}: the candidate of {other.path} again ({what}). Name every one once"
                )
        found.append(Candidate(path, vectors, place))
    return found


def fit_task(
    task: Task, candidates: list[Candidate], ids: pa.Array, options: Options, device: torch.device
) -> Tested:
    """Fit every candidate to one task; test the one best on validation.

    A fit that fails is left out, with a warning; without any other there is nothing to test.
    """
    of = FitOf(task, options.run, options.store.name, options.seed)
    examples = load_examples(task, options.store, device)
    labelled = labelled_split(task.name, task.label_share, examples, options.splits, options.seed)
    head = "linear" if options.head == "boosted" and task.kind == "top_n" else options.head
    best, chosen, scores, failed, missing = None, None, [], [], 0
    for candidate in candidates:
        data = data_of(task, examples, labelled, candidate, ids, options.max_bad_rows, device)
        missing = max(missing, data.missing)
        fits = []
        for fit_one in fits_of(head, data, options):
            try:
                fits.append(fit_one())
            except NotANumber as problem:
                failed.append(of.left_out(problem, f"on {candidate.path}"))
        if not fits:
            continue
        # The first of equals: the lowest learning rate that is given first, the first file.
        fit = max(fits, key=lambda fit: fit.value)
        scores += [{**candidate.place, **point} for point in fit.curve]
        if best is None or fit.value > best.value:
            best, chosen = fit, {**candidate.place, **fit.chosen}

    predictions = None
    if best is not None and not options.no_test:
        test = labelled.split.test
        try:
            predicted = best.predict(test)
            tested = {name: float(value) for name, value in metrics_of(predicted).items()}
        except NotANumber as problem:
            failed.append(of.left_out(problem, "on test"))
            chosen = None
        else:
            value = tested[task.metric]
            log.info("seed %d %s: test %s %.4f", options.seed, task.name, task.metric, value)
            predictions = {"example": test, "user": examples.users[test], **predicted}
            scores += [
                {**chosen, "split": "test", "metric": metric, "value": value}
                for metric, value in tested.items()
            ]
    if chosen is None and not options.no_test:
        predictions = of.no_predictions()
    width = candidates[0].vectors.values.shape[1]
    content = of.scores(width, labelled.split, chosen, scores, failed)
    about = {"head": head, "untrained": untrained_of(candidates), "without_vector": missing}
    return Tested({**content, **about}, predictions)


def untrained_of(candidates: list[Candidate]) -> list[str]:
    """Parts of encoders that pre-training did not reach, by their files; none of random weights."""
    trained = [one.vectors.about for one in candidates if one.place["pretrain_epoch"] > 0]
    return sorted({name for about in trained for name in about.get("untrained", [])})


def data_of(
    task: Task,
    examples: LabelledExamples | TargetExamples,
    labelled: LabelledSplit,
    candidate: Candidate,
    ids: pa.Array,
    max_missing: int,
    device: torch.device,
) -> Data:
    """The task, and the features of its users from one file; ValueError as in `features_of`."""
    users, rows = np.unique(examples.users.cpu().numpy(), return_inverse=True)
    is_train = np.zeros(len(users), bool)
    is_train[rows[labelled.split.train.cpu().numpy()]] = True
    where = f"{candidate.path}, task {task.name}"
    own = ids.take(pa.array(users))
    features = features_of(candidate.vectors, own, is_train, where, max_missing)
    if features.missing:
        log.warning("%s: %d users without a vector have the mean", where, features.missing)
    values = torch.from_numpy(features.values).to(device)
    rows = torch.from_numpy(rows).to(device)
    return Data(task, examples, labelled, values, rows, features.missing)


def fits_of(head: str, data: Data, options: Options) -> Iterator[Callable[[], Fit]]:
    """The fits of one file, each still to be made."""
    if head == "boosted":
        yield lambda: fit_boosted(data, options.seed)
    else:
        for rate in options.lr:
            yield lambda rate=rate: train(replace(data.task, lr=rate), data, head, options)


def fit_boosted(data: Data, seed: int) -> Fit:
    """Boosted trees, as many iterations of them as are best on validation."""
    split, task = data.labelled.split, data.task
    where = f"task {task.name}"
    fitted = boosted(data.of(split.train), split.train, data.examples, task.kind, where, seed)
    curve = [
        point(iteration, metric, float(value), {})
        for iteration, predicted in enumerate(
            fitted.staged(data.of(split.validation), split.validation), 1
        )
        for metric, value in metrics_of(predicted).items()
    ]
    # Tasks with labels have one metric; the first of equals is that of the fewest iterations.
    best = max(curve, key=lambda point: point["value"])

    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        stages = enumerate(fitted.staged(data.of(picked), picked), 1)
        return next(predicted for iteration, predicted in stages if iteration == best["epoch"])

    return Fit(best["value"], {"epoch": best["epoch"]}, curve, predict)


def train(task: Task, data: Data, head: str, options: Options) -> Fit:
    """A head trained by Adam at the learning rate of `task`, at the epoch best on validation.

    NotANumber once a loss, a weight or a score is none.
    """
    seed, (split, length, stages) = options.seed, data.labelled
    # The same chance for every run and file: draws of BPR's negatives come from this stream.
    torch.manual_seed(seed_of(seed, task.name, "training"))
    built = head_of(head, data, options.hidden)
    model = with_head(task, data.examples, stages, built, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.lr, fused=True)
    curve, best, weights = [], None, {}
    for epoch in range(1, task.epochs + 1):
        of = seed, task.name, epoch
        batches = order_of_labelled(split.train, length, options.order, *of).split(task.batch_size)
        total = torch.zeros((), device=split.train.device)
        for picked in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = model.loss(data.of(picked), picked)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        where = f"step {epoch * len(batches)} of task {task.name}"
        finite(total / len(batches), model.parameters(), where, task.lr, None)
        with torch.no_grad():
            found = model.evaluate(data.of(split.validation), split.validation)
        curve += [
            point(epoch, name, float(value), {"lr": task.lr}) for name, value in found.items()
        ]
        value = float(found[task.metric])
        if best is None or value > best[0]:
            best = value, epoch
            weights = {name: values.clone() for name, values in model.state_dict().items()}

    @torch.no_grad()
    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        model.load_state_dict(weights)
        return model.predict(data.of(picked), picked)

    return Fit(best[0], {"epoch": best[1], "lr": task.lr}, curve, predict)


def head_of(head: str, data: Data, hidden: int) -> Head:
    """A new head for the vectors of one file."""
    width, outputs = data.users.shape[1], outputs_of(data.examples)
    return LinearHead(width, outputs) if head == "linear" else TwoLayerHead(width, hidden, outputs)


def point(epoch: int, metric: str, value: float, about: dict[str, float]) -> dict[str, Any]:
    """A value on validation, as a score file has it."""
    return {"epoch": epoch, "split": "validation", "metric": metric, "value": value, **about}


def write(out: Path, task: Task, tested: Tested, options: Options, device: torch.device) -> None:
    """Write the score file of a task, and its predictions."""
    data = task_data(options.store, options.splits, [task.name])
    settings = asdict(options) | {"task": asdict(task)}
    del settings["task"]["lr"], settings["task"]["dropout"]
    read = fingerprints([behaviours_folder(options.store), *data, *options.vectors])
    write_tested(out, tested, settings, read, gpu_facts(device), options.store)
