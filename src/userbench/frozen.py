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
from dataclasses import asdict, dataclass, field, replace
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
from userbench.data.limits import task_parts
from userbench.data.splits import check_task_splits, task_data
from userbench.data.store import LabelledExamples, TargetExamples
from userbench.data.vectors import Vectors, files_of, read_vectors
from userbench.errors import NotANumber, command
from userbench.model.metrics import metrics_of
from userbench.model.tasks import Task, check_task, load_examples
from userbench.results.artifact import fingerprint, fingerprints
from userbench.training.fit_files import FitOf, Tested, write_tested
from userbench.training.gpu_share import gpu_facts, take_device
from userbench.training.head_fits import HEADS, RATES, Data, Fit, HeadSettings, fits_of, head_for
from userbench.training.several_seeds import check_outputs, with_seed

log = logging.getLogger("userbench")


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


@dataclass
class Found:
    """What the fits of the candidates have found so far."""

    best: Fit | None = None
    chosen: dict[str, Any] | None = None
    """Which candidate and epoch the best one is."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    missing: int = 0
    """Users without a vector."""

    def add(
        self, candidate: Candidate, missing: int, fits: Iterator[Callable[[], Fit]], of: FitOf
    ) -> None:
        """Make the fits of one candidate; the best of them enters the scores."""
        self.missing = max(self.missing, missing)
        made = []
        for fit_one in fits:
            try:
                made.append(fit_one())
            except NotANumber as problem:
                self.failed.append(of.left_out(problem, f"on {candidate.path}"))
        if not made:
            return
        fit = max(made, key=lambda fit: fit.value)  # of equal ones the first learning rate
        self.scores += [{**candidate.place, **point} for point in fit.curve]
        if self.best is None or fit.value > self.best.value:
            self.best, self.chosen = fit, {**candidate.place, **fit.chosen}


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
        ValueError: a file is of another corpus, log or width, or two are of one candidate.
    """
    found: list[Candidate] = []
    own = fingerprint(behaviours_folder(store))
    for number, (path, vectors) in enumerate(read.items(), 1):
        about = vectors.about
        if about.get("behaviours", own) != own:
            raise ValueError(f"{path}: vectors of another corpus than {store}. Name its own store")
        if about.get("raw"):
            raise ValueError(
                f"{path}: vectors of another log than that of {store}, which may hold what is "
                "asked. Embed without --raw"
            )
        width, first = (one.values.shape[1] for one in (vectors, [*read.values()][0]))
        if width != first:
            raise ValueError(
                f"{path}: vectors of width {width}, those of {next(iter(read))} have {first}. Give "
                "vectors of one width"
            )
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

    A fit that fails is left out, with a warning; without any other there is nothing to test. Nor is
    there where the task cannot be scored.
    """
    of = FitOf(task, options.run, options.store.name, options.seed)
    examples = load_examples(task, options.store, device)
    parts = task_parts(options.store, options.splits, task.name, task.kind, task.known_targets)
    labelled = labelled_split(task.name, task.label_share, examples, parts.parts, options.seed)
    width = candidates[0].vectors.values.shape[1]
    about = {"head": head_for(task, options.head), "untrained": untrained_of(candidates)}
    if parts.limit:
        found = of.not_scorable(width, labelled.split, parts, options.no_test)
        return found._replace(scores={**found.scores, **about})
    settings = HeadSettings(*(getattr(options, name) for name in HeadSettings._fields))
    found, predictions = Found(), None
    for candidate in candidates:
        data = data_of(task, examples, labelled, candidate, ids, options.max_bad_rows, device)
        found.add(candidate, data.missing, fits_of(data, settings, options.seed), of)
    if found.best is not None and not options.no_test:
        predictions = test(found, examples, labelled.split.test, of)
    if found.best is None and not options.no_test:
        predictions = of.no_predictions()
    content = of.scores(width, labelled.split, found.chosen, found.scores, found.failed, parts)
    return Tested({**content, **about, "without_vector": found.missing}, predictions)


def test(
    found: Found,
    examples: LabelledExamples | TargetExamples,
    picked: Int[Tensor, " test"],
    of: FitOf,
) -> dict[str, Tensor]:
    """What the best fit predicts of the test examples; its scores are added to `found`."""
    try:
        predicted = found.best.predict(picked)
        tested = {name: float(value) for name, value in metrics_of(predicted).items()}
    except NotANumber as problem:
        found.failed.append(of.left_out(problem, "on test"))
        found.best = found.chosen = None
        return {}
    value = tested[of.task.metric]
    log.info("seed %d %s: test %s %.4f", of.seed, of.task.name, of.task.metric, value)
    found.scores += [
        {**found.chosen, "split": "test", "metric": metric, "value": value}
        for metric, value in tested.items()
    ]
    return {"example": picked, "user": examples.users[picked], **predicted}


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


def write(out: Path, task: Task, tested: Tested, options: Options, device: torch.device) -> None:
    """Write the score file of a task, and its predictions."""
    data = task_data(options.store, options.splits, [task.name])
    settings = asdict(options) | {"task": asdict(task)}
    del settings["task"]["lr"], settings["task"]["dropout"]
    given = [file for path in options.vectors for file in files_of(path)]
    read = fingerprints([behaviours_folder(options.store), *data, *given])
    write_tested(out, tested, settings, read, gpu_facts(device), options.store)
