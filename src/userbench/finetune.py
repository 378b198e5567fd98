"""Fine-tune a pre-trained encoder on downstream tasks and test it.

userbench finetune --store DATA --splits SPLITS --run adaptssr --seed 0
    --method adaptssr --init epoch1.safetensors epoch20.safetensors
    --task '{"name": "age", "kind": "classification", "lr": 2e-4, "batch_size": 128, "epochs": 5,
    "out": "age.json"}'

Beside the scores of a task it writes what it predicts of every test example, `predictions.py`. A
fine-tuning whose loss, weights or scores are no numbers has failed: it is no candidate, and where
all have failed, the score file says why and has no scores. So does that of a task that its split
leaves too few examples to be scored (`data/limits.py`).
One process takes any number of tasks and seeds, one after the other; `{seed}` in the `out` of a
task, in `--init`, `--set` and `--state` stands for each seed. Several `--init` are candidates: each
is fine-tuned and the one best on validation is tested. Without any, the model is trained end to
end, from so many random initialisations (`--starts`) as candidates: chances equal to those of
several `--init`.
"""

import argparse
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.arrays import behaviours_folder
from userbench.data.labelled import Split, labelled_split
from userbench.data.limits import task_parts
from userbench.data.splits import check_task_splits, order_of_labelled, task_data
from userbench.data.store import Batch, BehaviourStore, LabelledExamples, TargetExamples
from userbench.encoders import EncoderOptions, Origin, build_encoder, origins_of
from userbench.errors import NotANumber, command
from userbench.method import configure, encoder_sizes, load_method
from userbench.model.encoder import UserEncoder
from userbench.model.evaluation import evaluate, predict
from userbench.model.losses import finite
from userbench.model.metrics import metrics_of
from userbench.model.tasks import Task, build_head, check_task, load_examples
from userbench.results.artifact import fingerprints
from userbench.seeds import seed_of
from userbench.training import acceleration, several_seeds
from userbench.training.acceleration import captured, chosen
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.device import pick_device
from userbench.training.fit_files import FitOf, Tested, write_tested
from userbench.training.gpu_share import take_device
from userbench.training.optimizer import Adam
from userbench.training.several_seeds import SeedErrors, check_outputs, states_of, with_seed
from userbench.training.state import SavedProgress, TrainingState

log = logging.getLogger("userbench")


class Candidate(NamedTuple):
    """The best epoch of one fine-tuning."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Options:
    """What the fine-tuning of one seed is asked to do: the flags of the command."""

    store: Path
    splits: Path
    run: str
    init: list[Path]
    starts: int
    method: str | None
    set: dict[str, Any]
    encoder: dict[str, Any]
    tasks: list[Task]
    outputs: list[Path]
    """Score file of each task."""
    seed: int
    order: str
    item_table: str
    no_test: bool
    device: str
    precision: str
    capture: str

    def data(self) -> list[Path]:
        """The folders of arrays that are read."""
        names = [task.name for task in self.tasks]
        return [behaviours_folder(self.store), *task_data(self.store, self.splits, names)]

    def origins(self) -> list[Origin]:
        """Where the candidates begin."""
        return origins_of(self.init, self.starts)


@dataclass
class Fit:
    """The place of the training of one candidate, and what it has found."""

    epoch: int = 1
    step: int = 0
    """Of this epoch."""
    order: Int[Tensor, " examples"] | None = None
    """Of the examples of this epoch; None before it begins."""
    total_loss: Float[Tensor, ""] | None = None
    """Sum over the steps of this epoch."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: Candidate | None = None


@dataclass
class TaskProgress:
    """The place of the fine-tunings on one task, and what they have found."""

    began: float = 0.0
    """Seconds of this seed when the task began."""
    candidates: int = 0
    """How many are done."""
    fit: Fit = field(default_factory=Fit)
    """Of the next one."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    best: Candidate | None = None
    chosen: dict[str, int] | None = None
    """Which candidate the best one is."""
    failed: list[str] = field(default_factory=list)


@dataclass
class Progress(SavedProgress):
    """The place of the fine-tuning of one seed."""

    tasks: int = 0
    """How many are done."""
    task: TaskProgress = field(default_factory=TaskProgress)
    """Of the next one."""

    def __str__(self) -> str:
        fit = self.task.fit
        place = f"tasks {self.tasks}, candidates {self.task.candidates}"
        return f"{place}, epoch {fit.epoch}, step {fit.step}"


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = command_line.parser("finetune", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--run", required=True, help="name of the run in the score files")
    parser.add_argument("--init", type=Path, nargs="*", default=[], help="candidate checkpoints")
    parser.add_argument("--starts", type=at_least(1), default=1, help="candidates without --init")
    parser.add_argument("--method", help="method of the run, which may adapt the encoder")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, default={}, help="encoder sizes, as JSON")
    parser.add_argument("--task", type=json_object, action="append", required=True, help="as JSON")
    parser.add_argument("--order", default="reshuffled", help="of examples: reshuffled or fixed")
    parser.add_argument("--item-table", default="dense", help="its Adam: dense or lazy")
    parser.add_argument("--no-test", action="store_true", help="leave the test split alone")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    acceleration.add_flags(parser)
    several_seeds.add_flags(parser)
    return parser


def options_of(args: argparse.Namespace) -> list[Options]:
    """The options of each seed."""
    names = Options.__dataclass_fields__.keys() - {"seed", "tasks", "outputs"}
    shared = {name: value for name, value in vars(args).items() if name in names}
    fields_of = [{key: value for key, value in task.items() if key != "out"} for task in args.task]
    tasks = [Task(**fields) for fields in fields_of]
    outputs = [Path(task["out"]) for task in args.task]
    return [
        Options(**with_seed(shared, seed), seed=seed, tasks=tasks, outputs=with_seed(outputs, seed))
        for seed in args.seed
    ]


@command
def main(argv: list[str] | None = None) -> None:
    """Fine-tune every seed, each as if it were alone.

    Raises ValueError for flags that do not fit each other or the files they name.
    """
    args = flags().parse_args(argv)
    bound_kernel_cache()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for task in args.task:
        check_task(task)
    if args.init and args.starts > 1:
        raise ValueError("--starts: the candidates are those of --init. Leave one of both out")
    sizes = encoder_sizes(args.encoder)
    if args.method is not None:  # loaded now, its code is part of what a state belongs to
        configure(load_method(args.method), args.set)
    device = take_device(args.device)
    each = [chosen(options, device) for options in options_of(args)]
    check_outputs(out for options in each for out in options.outputs)
    check_task_splits(args.splits, args.store, [task.name for task in each[0].tasks])
    store = BehaviourStore.open(args.store, sizes.max_length, device)

    states, errors = states_of(args, each, device, each[0].data()), SeedErrors()
    for options, state in zip(each, states, strict=True):
        with errors.caught(state):
            finetune(options, store, state)
    errors.raise_if_any(states)


def finetune(options: Options, store: BehaviourStore, state: TrainingState) -> None:
    """Fine-tune one seed on task after task, with the same bits whether it was stopped or not.

    Writes the scores of each task as soon as they exist.
    """
    with state.saved_on_signals():
        read = fingerprints([*options.data(), *options.init])
        progress = state.restore(Progress)
        for task, out in list(zip(options.tasks, options.outputs, strict=True))[progress.tasks :]:
            progress.task.began = progress.task.began or state.seconds()
            tested = finetune_on_task(task, options, store, progress, state)

            settings = asdict(options)
            del settings["tasks"], settings["outputs"]
            settings["task"] = asdict(task)
            facts = {**state.facts(), "task_seconds": state.seconds() - progress.task.began}
            progress.files += write_tested(out, tested, settings, read, facts, options.store)
            progress.tasks, progress.task = progress.tasks + 1, TaskProgress()
            state.follow(progress)
            state.save_if_due()
        state.save_finished()


def finetune_on_task(
    task: Task, options: Options, store: BehaviourStore, progress: Progress, state: TrainingState
) -> Tested:
    """Fine-tune every candidate on one task; test the best epoch on validation.

    A candidate that fails is left out, with a warning; without any other there is nothing to test.
    Nor is there where the task cannot be scored.
    """
    here, device = progress.task, store.items.device
    fit = FitOf(task, options.run, options.store.name, options.seed)
    examples = load_examples(task, options.store, device)
    share, seed = task.label_share, options.seed
    parts = task_parts(options.store, options.splits, task.name, task.kind, task.known_targets)
    split, length, stages = labelled_split(task.name, share, examples, parts.parts, seed)
    if parts.limit:
        encoder = encoder_of(task, options.origins()[0], options, store.n_items)
        return fit.not_scorable(encoder.width, split, parts, options.no_test)
    for origin in options.origins()[here.candidates :]:
        model = build_model(task, examples, stages, origin, options, store.n_items)
        # Why anew: methods draw different encoders, and would not meet the same chance from here.
        torch.manual_seed(seed_of(options.seed, task.name, "training"))
        try:
            train(model, task, origin, store, split, length, options, progress, state)
        except NotANumber as problem:
            here.failed.append(fit.left_out(problem, f"from {origin}"))
        else:
            here.scores += [{**origin.place(), **point} for point in here.fit.curve]
            if here.best is None or here.fit.best.value > here.best.value:
                here.best = here.fit.best
                here.chosen = {**origin.place(), "epoch": here.best.epoch}
        here.candidates, here.fit = here.candidates + 1, Fit()

    predictions = None
    if here.best is not None and not options.no_test:
        model.load_state_dict(here.best.weights)
        try:
            predictions = predict(model, store, split.test)
            tested = {name: float(value) for name, value in metrics_of(predictions).items()}
        except NotANumber as problem:
            here.failed.append(fit.left_out(problem, "on test"))
            here.best = None
        else:
            value = tested[task.metric]
            log.info("seed %d %s: test %s %.4f", options.seed, task.name, task.metric, value)
            here.scores += [
                {**here.chosen, "split": "test", "metric": metric, "value": value}
                for metric, value in tested.items()
            ]
    if here.best is None and not options.no_test:
        predictions = fit.no_predictions()
    chosen = None if here.best is None else here.chosen
    scores = fit.scores(model["encoder"].width, split, chosen, here.scores, here.failed, parts)
    return Tested(scores, predictions)


def train(
    model: torch.nn.ModuleDict,
    task: Task,
    origin: Origin,
    store: BehaviourStore,
    split: Split,
    length: int,
    options: Options,
    progress: Progress,
    state: TrainingState,
) -> None:
    """Train what may be trained; evaluate on validation after every epoch, keep the best one.

    NotANumber once a loss, a weight or a score is none.
    """
    fit, head = progress.task.fit, model["head"]
    users_of, device = head.examples.users.cpu(), split.train.device
    optimizer = Adam(model, task.lr, options.item_table, model["encoder"].items)
    take_step = captured(Step(model, optimizer), options.capture)
    state.follow(progress, model, optimizer)
    while fit.epoch <= task.epochs:
        model.train()
        if fit.order is None:
            begin_epoch(fit, task, split, length, options)
        batches = fit.order.split(task.batch_size)
        bar = f"seed {options.seed} {task.name} epoch {fit.epoch}"
        left = batches[fit.step :]
        for picked in tqdm(left, bar, len(batches), initial=fit.step, disable=None, leave=False):
            batch = store.batch(users_of[picked])
            fit.total_loss = fit.total_loss + take_step(batch, picked.to(device, non_blocking=True))
            fit.step += 1
            state.save_if_due()

        where = f"step {fit.epoch * fit.step} of task {task.name}"
        mean_loss = finite(
            fit.total_loss / len(batches), model.parameters(), where, task.lr, origin.init
        )
        found = evaluate(model, store, split.validation)
        fit.curve += [
            {"epoch": fit.epoch, "split": "validation", "metric": metric, "value": value}
            for metric, value in found.items()
        ]
        log.info(
            "seed %d %s epoch %d/%d: train loss %.4f, validation %s %.4f",
            *(options.seed, task.name, fit.epoch, task.epochs, mean_loss),
            *(task.metric, found[task.metric]),
        )
        if fit.best is None or found[task.metric] > fit.best.value:
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            fit.best = Candidate(found[task.metric], fit.epoch, weights)
        fit.epoch, fit.order = fit.epoch + 1, None


class Step:
    """One step of fine-tuning: the loss of a batch, its gradients, new weights."""

    def __init__(self, model: torch.nn.ModuleDict, optimizer: Adam):
        self.model, self.optimizer = model, optimizer

    def __call__(self, batch: Batch, picked: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The loss of the picked examples, whose users are `batch`, before the step."""
        users = self.model["encoder"](batch.items, batch.bounds)
        loss = self.model["head"].loss(users, picked)
        self.optimizer.step(loss)
        return loss.detach()


def begin_epoch(fit: Fit, task: Task, split: Split, length: int, options: Options) -> None:
    """Draw the order of the examples."""
    # Deviation: the authors' code goes through one fixed order in every epoch (`--order fixed`).
    of = options.seed, task.name, fit.epoch
    fit.order = order_of_labelled(split.train, length, options.order, *of).cpu()
    fit.step, fit.total_loss = 0, torch.zeros(())


def build_model(
    task: Task,
    examples: LabelledExamples | TargetExamples,
    stages: UInt8[Tensor, " examples"],
    origin: Origin,
    options: Options,
    n_items: int,
) -> torch.nn.ModuleDict:
    """The encoder of a candidate and the head of a task, with their first weights."""
    seed = origin.seed(options.seed)
    torch.manual_seed(seed)
    encoder = encoder_of(task, origin, options, n_items)
    head = build_head(task, examples, stages, encoder.width, encoder.config.dim, seed)
    model = torch.nn.ModuleDict({"encoder": encoder, "head": head})
    return model.to(examples.users.device)


def encoder_of(task: Task, origin: Origin, options: Options, n_items: int) -> UserEncoder:
    """The encoder of a candidate for a task."""
    built = EncoderOptions(*(getattr(options, name) for name in EncoderOptions._fields))
    device = pick_device(options.device)
    return build_encoder(n_items, task.dropout, origin.init, built, device)[0]
