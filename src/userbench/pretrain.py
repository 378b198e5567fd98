"""Pre-train an encoder by one method.

userbench pretrain --store DATA --splits SPLITS --method adaptssr --init mlm.safetensors
    --epochs 20 --batch-size 128 --seed 0 --keep 1 20 --out FOLDER

Several seeds are trained one after the other; `{seed}` in `--out`, `--init`, `--set` and `--state`
stands for each of them: --seed 0 1 2 --out results/adaptssr/seed{seed}
"""

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.held_out import (
    Parts,
    pretraining_parts,
    without_as_many_others,
    without_test_users,
)
from userbench.data.splits import (
    TRAIN,
    VALIDATION,
    check_task_splits,
    check_user_split,
    order_of_epoch,
    task_data,
    user_data,
)
from userbench.data.store import Batch, BehaviourStore
from userbench.errors import command
from userbench.method import PretrainMethod, configure, encoder_sizes, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder, counted_rows
from userbench.model.losses import finite
from userbench.results.artifact import fingerprints, record, write_json
from userbench.training import acceleration, several_seeds
from userbench.training.acceleration import accelerate, captured, chosen
from userbench.training.checkpoint import save, start_from, trained_tensors
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.gpu_share import take_device
from userbench.training.optimizer import Adam
from userbench.training.several_seeds import SeedErrors, check_outputs, states_of, with_seed
from userbench.training.state import SavedProgress, TrainingState

log = logging.getLogger("userbench")

# Nats below a unigram model's validation loss: from here on an encoder has learnt more than that.
LEAST_GAIN = 0.05
SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Options:
    """What the pre-training of one seed is asked to do: the flags of the command."""

    store: Path
    splits: Path
    method: str
    set: dict[str, Any]
    encoder: dict[str, Any]
    init: Path | None
    epochs: int
    batch_size: int
    seed: int
    order: str
    item_table: str
    hold_out: list[str]
    hold_out_others: list[str]
    keep: list[int]
    device: str
    precision: str
    capture: str
    out: Path

    def held_out_tasks(self) -> list[str]:
        """Tasks whose test splits say which users are left out."""
        return [*self.hold_out, *self.hold_out_others]

    def data(self) -> list[Path]:
        """The folders of arrays that are read."""
        held_out = task_data(self.store, self.splits, self.held_out_tasks())
        return [*user_data(self.store, self.splits), *held_out]

    def inputs(self) -> list[Path]:
        """All that is read: data, the checkpoint it starts from, and files its Config names."""
        texts, files = [self.set], []
        for value in texts:
            if isinstance(value, dict):
                texts += value.values()
            elif isinstance(value, str) and "/" in value and Path(value).exists():
                files.append(Path(value))
        return [*self.data(), *([self.init] if self.init else []), *files]


@dataclass
class Progress(SavedProgress):
    """The place of the training of one seed."""

    epoch: int = 1
    step: int = 0
    """Of all epochs."""
    order: Int[Tensor, " users"] | None = None
    """Of the users of this epoch; None before it begins."""
    total_loss: Float[Tensor, ""] | None = None
    """Sum over the steps of this epoch."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    encoder_passes: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}"


class SetUp(NamedTuple):
    """What is trained, and on which users."""

    method: PretrainMethod
    train: Int[Tensor, " train"]
    validation: Int[Tensor, " validation"]
    sizes: EncoderConfig
    new: list[str]
    """Tensors that the checkpoint it starts from does not hold."""
    held_out: dict[str, Any]
    """Who was left out, see `data.held_out.Parts`; empty where nobody was."""


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = command_line.parser("pretrain", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--method", required=True, help="file in methods/, or a dotted module")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, default={}, help="encoder sizes, as JSON")
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument("--epochs", type=at_least(1), required=True, help="passes over the users")
    parser.add_argument("--batch-size", type=at_least(2), required=True, help="users in a step")
    parser.add_argument("--order", default="reshuffled", help="of users: reshuffled or fixed")
    parser.add_argument("--item-table", default="dense", help="its Adam: dense or lazy")
    leave_out = parser.add_mutually_exclusive_group()
    leave_out.add_argument(
        "--hold-out",
        nargs="*",
        default=[],
        metavar="TASK",
        help="leave out the test users of these",
    )
    leave_out.add_argument(
        "--hold-out-others", nargs="*", default=[], metavar="TASK", help="leave out as many others"
    )
    parser.add_argument("--keep", type=int, nargs="+", required=True, help="epochs to keep")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    acceleration.add_flags(parser)
    several_seeds.add_flags(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of epoch<k>.safetensors")
    return parser


def options_of(args: argparse.Namespace) -> list[Options]:
    """The options of each seed."""
    names = Options.__dataclass_fields__.keys() - {"seed"}
    shared = {name: value for name, value in vars(args).items() if name in names}
    return [Options(**with_seed(shared, seed), seed=seed) for seed in args.seed]


@command
def main(argv: list[str] | None = None) -> None:
    """Pre-train every seed, each as if it were alone.

    Raises ValueError for flags that do not fit each other or the files they name.
    """
    args = flags().parse_args(argv)
    bound_kernel_cache()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if not all(1 <= epoch <= args.epochs for epoch in args.keep):
        raise ValueError(f"--keep {args.keep}: epochs run from 1 to {args.epochs}")
    each = options_of(args)
    check_outputs(options.out for options in each)
    configure(load_method(args.method), args.set)
    sizes = encoder_sizes(args.encoder)
    device = take_device(args.device)
    each = [chosen(options, device) for options in each]
    check_user_split(args.splits, args.store)
    check_task_splits(args.splits, args.store, each[0].held_out_tasks())
    store = BehaviourStore.open(args.store, sizes.max_length, device)

    states, errors = states_of(args, each, device, each[0].data()), SeedErrors()
    for options, state in zip(each, states, strict=True):
        with errors.caught(state):
            pretrain(options, store, state)
    errors.raise_if_any(states)


def pretrain(options: Options, store: BehaviourStore, state: TrainingState) -> None:
    """Train one seed from its start or from its saved state, with the same bits either way.

    Writes the kept checkpoints and the learning curve.
    """
    with state.saved_on_signals():
        method, train, validation, sizes, new, held_out = set_up(options, store)
        resolved = {**asdict(options), "config": asdict(method.config), "encoder": asdict(sizes)}
        del resolved["set"]
        read = fingerprints(options.inputs())
        facts = {"held_out": held_out} if held_out else {}
        log_start(options, len(train), store.n_items, new, train.device)

        progress = state.restore(Progress)
        optimizer = Adam(method, method.config.lr, options.item_table, method.encoder.items)
        take_step = captured(Step(method, optimizer, progress.encoder_passes), options.capture)
        state.follow(progress, method, optimizer)
        steps_per_epoch = len(list(batches(train, options.batch_size)))
        first_step, started = progress.step, time.perf_counter()
        last_line = started

        while progress.epoch <= options.epochs:
            method.train()
            if progress.order is None:
                begin_epoch(progress, train, options)
            for users in left_of_epoch(progress, steps_per_epoch, options):
                share = progress.step / (steps_per_epoch * options.epochs)
                loss = take_step(store.batch(users), share)
                progress.total_loss = progress.total_loss + loss
                progress.step += 1
                if time.perf_counter() - last_line > SECONDS_BETWEEN_LINES:
                    last_line = time.perf_counter()
                    log_step(options, progress, checked(loss, method, progress))
                state.save_if_due()

            steps_per_second = (progress.step - first_step) / (time.perf_counter() - started)
            point = {"epoch": progress.epoch, "split": "train", "step": progress.step}
            mean_loss = checked(progress.total_loss / steps_per_epoch, method, progress)
            found = validate(method, store, validation, options.batch_size)
            checked(torch.tensor(found["loss"]), method, progress)
            progress.curve.append({**point, "loss": mean_loss})
            progress.curve.append({**point, "split": "validation", **found})
            log_epoch(options, progress, steps_per_second * len(train) / steps_per_epoch)
            if progress.epoch in options.keep:
                path = options.out / f"epoch{progress.epoch}.safetensors"
                about = {"inputs": read, "drawn_anew": new, **facts, **state.facts()}
                save(path, trained_tensors(method), resolved, epoch=progress.epoch, **about)
                progress.files.append(path)
            progress.epoch, progress.order = progress.epoch + 1, None

        facts |= {"encoder_passes": progress.encoder_passes, **state.facts()}
        if popularity_alone := no_more_than_popularity(progress.curve):
            log.warning("%s, seed %d: %s", options.method, options.seed, popularity_alone)
            facts["popularity_alone"] = popularity_alone
        write_json(options.out / "curve.json", progress.curve)
        record(options.out / "curve.json", resolved, inputs=read, **facts)
        state.save_finished()


def set_up(options: Options, store: BehaviourStore) -> SetUp:
    """The method of one seed, prepared to learn from the training users."""
    module = load_method(options.method)
    config = configure(module, options.set)
    torch.manual_seed(options.seed)
    device = store.items.device
    sizes = encoder_sizes(options.encoder, store.n_items)
    parts, held_out = parts_of(options, store)
    train, validation = (
        (parts.to(device) == part).nonzero().squeeze(1) for part in (TRAIN, VALIDATION)
    )

    method: PretrainMethod = module.Method(UserEncoder(sizes, config.dropout), config)
    accelerate(method.encoder, options.precision, options.capture, device)
    new = start_from(method.encoder, options.init) if options.init else []
    # Why after the checkpoint: statistics may be those of the encoder that training starts from.
    method.to(device).prepare(store, train)
    return SetUp(method, train, validation, sizes, new, held_out)


def parts_of(options: Options, store: BehaviourStore) -> Parts:
    """The part of each user in pre-training, some of them left out where the options ask for it."""
    if options.hold_out:
        return without_test_users(options.store, options.splits, options.hold_out, store)
    if options.hold_out_others:
        tasks = options.hold_out_others
        return without_as_many_others(options.store, options.splits, tasks, store, options.seed)
    return pretraining_parts(options.splits)


class Step:
    """One step of pre-training: the loss of a batch, its gradients, new weights.

    The first step counts the sequences that encoders read for each user of a batch: those of the
    encoder that is trained, and those of any others (a frozen generator, a teacher). Methods of
    equal epochs may differ in them.
    """

    def __init__(self, method: PretrainMethod, optimizer: Adam, passes: dict[str, float]):
        self.method, self.optimizer, self.passes = method, optimizer, passes

    def __call__(self, batch: Batch, progress: float) -> Float[Tensor, ""]:
        """The loss before the step."""
        with counted_rows() as rows:
            loss, _ = self.method(batch, progress)
        self.optimizer.step(loss)
        if not self.passes:
            trained, users = rows.pop(self.method.encoder, 0), len(batch.users)
            self.passes.update(trained=trained / users, others=rows.total() / users)
        return loss.detach()


def begin_epoch(progress: Progress, train: Int[Tensor, " train"], options: Options) -> None:
    """Draw the order of the users."""
    # Deviation: the authors' code goes through twenty fixed orders (`--order fixed`).
    order = order_of_epoch(train, options.order, progress.epoch, options.seed, "pretrain")
    # On the host, where the bounds of a batch are known before the device has made it.
    progress.order, progress.total_loss = order.cpu(), torch.zeros(())


def left_of_epoch(progress: Progress, steps: int, options: Options) -> tqdm:
    """The batches of users that this epoch has left, with a bar on a terminal."""
    done = progress.step - (progress.epoch - 1) * steps
    left = list(batches(progress.order, options.batch_size))[done:]
    name = f"seed {options.seed} epoch {progress.epoch}"
    return tqdm(left, name, steps, initial=done, disable=None, leave=False)


def batches(users: Int[Tensor, " users"], size: int) -> Iterator[Int[Tensor, " batch"]]:
    """Consecutive batches; one user alone at the end is left out, in-batch negatives need two."""
    for batch in users.split(size):
        if len(batch) > 1:
            yield batch


def checked(loss: Float[Tensor, ""], method: PretrainMethod, progress: Progress) -> float:
    """The loss as a number, for which it waits for the device; NotANumber where it is none."""
    good = progress.files[-1] if progress.files else None
    where = f"step {progress.step}"
    return finite(loss, method.parameters(), where, method.config.lr, good)


def validate(
    method: PretrainMethod, store: BehaviourStore, users: Int[Tensor, " users"], size: int
) -> dict[str, float]:
    """Mean loss and logs over held-out users, with the same random draws at every epoch.

    Dropout stays on: without it a view and its dropout twin would be one vector.
    """
    sums: dict[str, Tensor] = {}
    parts = list(batches(users.cpu(), size))
    devices = [users.device] if users.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(0)
        for part in parts:
            loss, logs = method(store.batch(part), progress=1.0)
            for name, value in {"loss": loss, **logs}.items():
                sums[name] = sums.get(name, 0) + value
    return {name: float(total) / len(parts) for name, total in sums.items()}


def no_more_than_popularity(curve: list[dict[str, Any]]) -> str:
    """A warning where a method that logs `unigram` has learnt no more than item frequencies.

    Items by their frequency alone are what the first steps learn; user vectors come later.
    """
    last = curve[-1]
    if last["loss"] < last.get("unigram", math.inf) - LEAST_GAIN:
        return ""
    return (
        f"its validation loss, {last['loss']:.3f}, is not {LEAST_GAIN} below that of the items' "
        f"frequencies alone, {last['unigram']:.3f}: it has learnt what is popular and nothing of "
        "users. Train longer, or at a higher learning rate"
    )


def log_start(
    options: Options, users: int, items: int, new: list[str], device: torch.device
) -> None:
    """Log what is trained."""
    start = f", from {options.init}, new: {', '.join(new) or 'nothing'}" if options.init else ""
    log.info(
        "%s, seed %d, on %s: %d users, %d items, %d epochs%s",
        *(options.method, options.seed, device, users, items, options.epochs, start),
    )


def log_step(options: Options, progress: Progress, loss: float) -> None:
    """Log the loss of a step."""
    place = options.seed, progress.epoch, progress.step
    log.info("seed %d epoch %d, step %d, loss %.4f", *place, loss)


def log_epoch(options: Options, progress: Progress, users_per_second: float) -> None:
    """Log the losses of the epoch that has ended."""
    train, validation = progress.curve[-2:]
    place = ("epoch", "split", "step")
    found = (f"{name} {value:.4f}" for name, value in validation.items() if name not in place)
    log.info(
        "seed %d epoch %d/%d: train loss %.4f, validation %s, %.0f users/s",
        *(options.seed, progress.epoch, options.epochs, train["loss"], ", ".join(found)),
        users_per_second,
    )
