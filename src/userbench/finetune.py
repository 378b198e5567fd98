"""Fine-tune a pre-trained encoder on downstream tasks: the second loop, and a command.

python -m userbench.finetune --store DATA --splits SPLITS --run adaptssr --seed 0
    --method adaptssr --init epoch1.safetensors epoch20.safetensors
    --task '{"name": "age", "kind": "classification", "lr": 2e-4, "batch_size": 128, "epochs": 5,
    "out": "age.json"}'

Beside the scores of a task it writes what it predicts of every test example, `predictions.py`. A
fine-tuning whose loss, weights or scores are no numbers has failed: it is no candidate, and where
all have failed, the score file says why and has no scores.
One process takes any number of tasks and seeds (`--together`); `{seed}` in the `out` of a task, in
`--init` and in `--set` stands for each seed. Several `--init` are candidates: each is fine-tuned
and the one best on validation is tested. Without any, the model is trained end to end, from so many
random initialisations (`--starts`) as candidates: chances equal to those of several `--init`.
"""

import argparse
import logging
from collections.abc import Generator, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from tqdm import tqdm

from userbench.data.arrays import behaviours_folder
from userbench.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    check_task_splits,
    labelled_part,
    load_split,
    order_of_labelled,
    stages_of,
    task_data,
)
from userbench.data.store import (
    Batch,
    BehaviourStore,
    LabelledExamples,
    TargetExamples,
)
from userbench.errors import NotANumber, at_least, command, json_object
from userbench.method import configure, encoder_sizes, load_method
from userbench.model.encoder import UserEncoder, UserVectors, pick_device
from userbench.model.losses import finite
from userbench.model.metrics import metrics_of
from userbench.model.tasks import LabelTask, Task, TopNTask, build_head, check_task, load_examples
from userbench.results.artifact import fingerprints, record, write_json
from userbench.results.predictions import COLUMNS, predictions_path, write_predictions
from userbench.seeds import seed_of
from userbench.together import WAYS, Run, Together, arguments_of, check_outputs, states_of
from userbench.training import acceleration, state
from userbench.training.acceleration import Graphs, accelerate
from userbench.training.checkpoint import epoch_of, start_from
from userbench.training.gpu_lease import lease_gpu
from userbench.training.optimizer import Adam
from userbench.training.state import Standing

log = logging.getLogger("userbench")

# Why: evaluation keeps no activations, so its batches may be larger than those of training.
ENCODED_AT_ONCE = 512


class Split(NamedTuple):
    """Example numbers of the three parts of a task."""

    train: Int[Tensor, " train"]
    validation: Int[Tensor, " validation"]
    test: Int[Tensor, " test"]


class LabelledSplit(NamedTuple):
    """What a fine-tuning is given of a task: by its split, and by its share of the labels."""

    split: Split
    length: int
    """Examples of an epoch, however few of them are labelled."""
    stages: UInt8[Tensor, " examples"]
    """Part of each example, see `stages_of`."""


class Finetuned(NamedTuple):
    """Content of the score file, and of the file of predictions unless nothing was to be tested."""

    scores: dict[str, Any]
    predictions: dict[str, Tensor] | None


class Origin(NamedTuple):
    """Where a candidate begins: at a checkpoint, or at the random weights of one of the starts."""

    init: Path | None
    start: int = 1

    def seed(self, seed: int) -> int:
        """The seed of all that is drawn at the beginning; of the first start the run's own."""
        return seed if self.start == 1 else seed_of(seed, "start", self.start)

    def place(self) -> dict[str, int]:
        """What tells its rows from those of other candidates in a score file."""
        if self.init is None:
            return {"pretrain_epoch": 0, "start": self.start}
        return {"pretrain_epoch": epoch_of(self.init)}

    def __str__(self) -> str:
        return f"random weights, start {self.start}" if self.init is None else str(self.init)


class Candidate(NamedTuple):
    """The best epoch of one fine-tuning."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--run", required=True, help="name of the run in the score files")
    parser.add_argument("--init", type=Path, nargs="*", default=[], help="candidate checkpoints")
    parser.add_argument("--starts", type=at_least(1), default=1, help="candidates without --init")
    parser.add_argument("--method", help="method of the run, which may adapt the encoder")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, default={}, help="encoder sizes, as JSON")
    parser.add_argument("--task", type=json_object, action="append", required=True, help="as JSON")
    parser.add_argument("--seed", type=at_least(0), nargs="+", required=True)
    parser.add_argument("--together", choices=WAYS, default=WAYS[0], help="how seeds take turns")
    parser.add_argument("--order", default="reshuffled", help="of examples: reshuffled or fixed")
    parser.add_argument("--item-table", default="dense", help="its Adam: dense or lazy")
    parser.add_argument("--no-test", action="store_true", help="leave the test split alone")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    acceleration.add_flags(parser)
    state.add_flags(parser)
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, fine-tune, and report a user's mistake in one line."""
    args = flags().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for task in args.task:
        check_task(task)
    if args.init and args.starts > 1:
        raise ValueError("--starts: the candidates are those of --init. Leave one of both out")
    sizes = encoder_sizes(args.encoder)
    if args.method is not None:  # loaded now, its code is part of what a state belongs to
        configure(load_method(args.method), args.set)
    lease_gpu(args.device, torch.cuda.device_count())
    device = pick_device(args.device)
    names = [task["name"] for task in args.task]
    states = states_of(args, device, data_of(args, names))
    each = [arguments_of(args, seed) for seed in args.seed]
    outputs = [[Path(task.pop("out")) for task in one.task] for one in each]
    check_outputs(path for paths in outputs for path in paths)
    tasks = [Task(**task) for task in each[0].task]
    check_task_splits(args.splits, args.store, names)
    store = BehaviourStore.open(args.store, sizes.max_length, device)
    together = Together(args.seed, args.together, device, states, args.save_every)
    together.walk(
        {
            one.seed: finetune_seed(tasks, paths, store, together, one)
            for one, paths in zip(each, outputs, strict=True)
        }
    )


def finetune_seed(
    tasks: list[Task],
    outputs: list[Path],
    store: BehaviourStore,
    together: Together,
    args: argparse.Namespace,
) -> Run:
    """Fine-tune one seed on task after task; write the scores of each as soon as they are there."""
    inputs = fingerprints([*data_of(args, [task.name for task in tasks]), *args.init])
    saved = together.saved(args.seed)
    written = list(map(Path, saved.get("files", [])))
    done = saved.get("tasks", 0)
    if "epoch" not in saved:  # it stood between two tasks, or starts
        saved = {}
    for task, out in list(zip(tasks, outputs, strict=True))[done:]:
        before = saved.get("before", together.seconds(args.seed))
        here = {"tasks": done, "files": [*written], "before": before}
        scores, predictions = yield from within(here, finetune(task, store, args, saved))
        saved = {}
        config = {**vars(args), "task": asdict(task)}
        if predictions is not None:
            columns = {name: column.cpu() for name, column in predictions.items()}
            write_predictions(predictions_path(out), columns, scores)
            record(predictions_path(out), config, inputs)
            written.append(predictions_path(out))
        write_json(out, scores)
        facts = together.facts(args.seed)
        if before is not None:
            facts["task_seconds"] = facts["seed_seconds"] - before
        tested = [predictions_path(out)] if predictions is not None else []
        record(out, config, inputs, beside=tested, **facts)
        written.append(out)
        done += 1
        yield {"tasks": done, "files": [*written]}


def data_of(args: argparse.Namespace, tasks: Iterable[str]) -> list[Path]:
    """The folders of arrays that are read."""
    return [behaviours_folder(args.store), *task_data(args.store, args.splits, tasks)]


def origins(args: argparse.Namespace) -> list[Origin]:
    """Where the candidates of a fine-tuning begin."""
    checkpoints = [Origin(init) for init in args.init]
    return checkpoints or [Origin(None, start) for start in range(1, args.starts + 1)]


def within(here: Standing, run: Generator[Standing, None, Any]) -> Generator[Standing, None, Any]:
    """A run that is a part of another one, which stands `here`; the part's own result."""
    while True:
        try:
            standing = next(run)
        except StopIteration as end:
            return end.value
        yield {**here, **standing}


def finetune(
    task: Task, store: BehaviourStore, args: argparse.Namespace, saved: Standing
) -> Generator[Standing, None, Finetuned]:
    """Fine-tune every candidate on one task; test the best epoch on validation.

    A candidate that fails is left out, with a warning; without any other there is nothing to test.
    After every step it yields where it stands, and the turn may go to another seed (`together.py`);
    `saved` is where it stood when it was stopped, empty where it starts.
    """
    device = store.items.device
    examples = load_examples(task, args.store, device)
    split, length, stages = labelled_split(task, examples, args.splits, args.seed)
    scores: list[dict[str, Any]] = saved.get("scores", [])
    best = Candidate(*saved["best"]) if saved.get("best") else None
    chosen = saved.get("chosen")
    failed: list[str] = saved.get("failed", [])
    predictions = None
    done = saved.get("candidates", 0)
    for origin in origins(args)[done:]:
        torch.manual_seed(origin.seed(args.seed))
        encoder = build_encoder(store.n_items, task.dropout, origin.init, args)
        sizes = encoder.width, encoder.config.dim
        head = build_head(task, examples, stages, *sizes, origin.seed(args.seed))
        model = torch.nn.ModuleDict({"encoder": encoder, "head": head}).to(device)
        # Why anew: methods draw different encoders, and would not meet the same chance from here.
        torch.manual_seed(seed_of(args.seed, task.name, "training"))
        here = {"candidates": done, "scores": scores, "best": best, "chosen": chosen}
        here |= {"failed": [*failed]}
        training = train(task, model, store, split, length, origin.init, args, saved)
        saved, done = {}, done + 1
        try:
            candidate, curve = yield from within(here, training)
        except NotANumber as problem:
            failed.append(left_out(problem, task, f"from {origin}", args))
            continue
        scores += [{**origin.place(), **point} for point in curve]
        if best is None or candidate.value > best.value:
            best = candidate
            chosen = {**origin.place(), "epoch": candidate.epoch}
    if best is not None and not args.no_test:
        model.load_state_dict(best.weights)
        try:
            predictions = predict(model, store, split.test)
            tested = {name: float(value) for name, value in metrics_of(predictions).items()}
        except NotANumber as problem:
            failed.append(left_out(problem, task, "on test", args))
            best = None
        else:
            value = tested[task.metric]
            log.info("seed %d %s: test %s %.4f", args.seed, task.name, task.metric, value)
            scores += [
                {**chosen, "split": "test", "metric": metric, "value": value}
                for metric, value in tested.items()
            ]
    told = {}
    if best is None:
        told, scores, chosen = {"failed": "; ".join(failed)}, [], None
        if not args.no_test:
            names = ("example", "user", *COLUMNS[task.kind])
            predictions = {name: torch.empty(0) for name in names}
    content = {
        "run": args.run,
        "task": task.name,
        "corpus": args.store.name,
        "seed": args.seed,
        "kind": task.kind,
        "metric": task.metric,
        "width": encoder.width,
        "examples": {part: len(examples) for part, examples in split._asdict().items()},
        "best": chosen,
        "scores": scores,
        **told,
    }
    return Finetuned(content, predictions)


def labelled_split(
    task: Task, examples: LabelledExamples | TargetExamples, splits: Path, seed: int
) -> LabelledSplit:
    """The split of a task, its labelled parts drawn by the seed: the same for all runs of it."""
    parts = load_split(splits, task.name).to(examples.users.device)
    split = Split(*((parts == part).nonzero().squeeze(1) for part in (TRAIN, VALIDATION, TEST)))
    labelled = isinstance(examples, LabelledExamples)
    strata = examples.labels if labelled else torch.zeros_like(examples.targets)

    def drawn(some: Int[Tensor, " some"], part: str) -> Int[Tensor, " drawn"]:
        return labelled_part(some, strata[some], task.label_share, seed, task.name, part)

    few = split._replace(
        train=drawn(split.train, "train"), validation=drawn(split.validation, "validation")
    )
    return LabelledSplit(few, len(split.train), stages_of(parts, few.train, few.validation))


def left_out(problem: NotANumber, task: Task, place: str, args: argparse.Namespace) -> str:
    """Warn of a fit that failed, by one line, which is returned: which one, where, and why."""
    reason = f"task {task.name}, run {args.run}, seed {args.seed}, {place}: {problem}"
    log.warning("failed: %s", reason)
    return reason


def build_encoder(
    n_items: int, dropout: float, init: Path | None, args: argparse.Namespace
) -> UserEncoder:
    """The encoder as its method wants it fine-tuned, with the weights of a checkpoint if any."""
    encoder = UserEncoder(encoder_sizes(args.encoder, n_items), dropout)
    if args.method is not None:
        module = load_method(args.method)
        module.Method.adapt(encoder, configure(module, args.set))
    if init is not None:
        start_from(encoder, init)
    accelerate(encoder, args.precision, args.capture, pick_device(args.device))
    return encoder


def train(
    task: Task,
    model: torch.nn.ModuleDict,
    store: BehaviourStore,
    split: Split,
    length: int,
    init: Path | None,
    args: argparse.Namespace,
    saved: Standing,
) -> Generator[Standing, None, tuple[Candidate, list[dict[str, Any]]]]:
    """Train what may be trained; evaluate on validation after every epoch, keep the best one."""
    head: LabelTask | TopNTask = model["head"]
    optimizer = Adam(model, task.lr, args.item_table, model["encoder"].items)
    device, users_of = split.train.device, head.examples.users.cpu()

    def descend(batch: Batch, picked: Tensor) -> Tensor:
        users = model["encoder"](batch.items, batch.bounds)
        loss = head.loss(users, picked)
        optimizer.step(loss)
        return loss.detach()

    take_step = descend if args.capture == "none" else Graphs(descend)
    curve: list[dict[str, Any]] = []
    best: Candidate | None = None
    first_epoch, order = 1, None
    if saved:
        state.put_back(saved, model, optimizer)
        first_epoch, step, curve = saved["epoch"], saved["step"], saved["curve"]
        order, total = saved["order"], saved["total"].to(device)
        best = Candidate(*saved["best_epoch"]) if saved["best_epoch"] else None
    for epoch in range(first_epoch, task.epochs + 1):
        model.train()
        if order is None:
            # Deviation: the release walks one fixed order in every epoch (`--order fixed`).
            of = args.seed, task.name, epoch
            order = order_of_labelled(split.train, length, args.order, *of).cpu()
            step, total = 0, torch.zeros((), device=device)
        parts = order.split(task.batch_size)
        bar = f"seed {args.seed} {task.name} epoch {epoch}"
        for picked in tqdm(parts[step:], bar, len(parts), initial=step, disable=None, leave=False):
            batch = store.batch(users_of[picked])
            total += take_step(batch, picked.to(device, non_blocking=True))
            step += 1
            yield {
                "epoch": epoch,
                "step": step,
                "order": order,
                "total": total,
                "curve": [*curve],
                "best_epoch": best,
                "model": model,
                "optimizer": optimizer,
            }
        order = None
        where = f"step {epoch * step} of task {task.name}"
        mean_loss = finite(total / len(parts), model.parameters(), where, task.lr, init)
        found = evaluate(model, store, split.validation)
        curve += [
            {"epoch": epoch, "split": "validation", "metric": metric, "value": value}
            for metric, value in found.items()
        ]
        log.info(
            "seed %d %s epoch %d/%d: train loss %.4f, validation %s %.4f",
            args.seed,
            task.name,
            epoch,
            task.epochs,
            mean_loss,
            task.metric,
            found[task.metric],
        )
        if best is None or found[task.metric] > best.value:
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            best = Candidate(found[task.metric], epoch, weights)
    return best, curve


@torch.no_grad()
def evaluate(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> dict[str, float]:
    """Metrics of the picked examples."""
    found = model["head"].evaluate(encode(model, store, picked), picked)
    return {metric: float(value) for metric, value in found.items()}


@torch.no_grad()
def predict(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> dict[str, Tensor]:
    """Number and user of the picked examples, and what the head predicts of them."""
    head: LabelTask | TopNTask = model["head"]
    predicted = head.predict(encode(model, store, picked), picked)
    return {"example": picked, "user": head.examples.users[picked], **predicted}


def encode(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> UserVectors:
    """User vectors of the picked examples, every user encoded once."""
    model.eval()
    unique, place = model["head"].examples.users[picked].unique(return_inverse=True)
    batches = map(store.batch, unique.cpu().split(ENCODED_AT_ONCE))
    users: UserVectors = torch.cat(
        [model["encoder"](batch.items, batch.bounds) for batch in batches]
    )
    return users[place]


if __name__ == "__main__":
    main()
