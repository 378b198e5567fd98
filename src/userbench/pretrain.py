"""Pre-train an encoder by one method: the first of the two loops, and a command.

python -m userbench.pretrain --store DATA --splits SPLITS --method adaptssr --init mlm.safetensors
    --epochs 20 --batch-size 128 --seed 0 --keep 1 20 --out FOLDER

Several seeds share one process (`--together`); `{seed}` in `--out`, `--init` and `--set` stands for
each of them: --seed 0 1 2 --out results/adaptssr/seed{seed}
"""

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

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
from userbench.errors import at_least, command, json_object
from userbench.method import PretrainMethod, configure, encoder_sizes, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder, counted_rows, pick_device
from userbench.model.losses import finite
from userbench.results.artifact import fingerprints, record, write_json
from userbench.together import WAYS, Run, Together, arguments_of, check_outputs, states_of
from userbench.training import acceleration, state
from userbench.training.acceleration import Graphs, accelerate
from userbench.training.checkpoint import save, start_from, trained_tensors
from userbench.training.gpu_lease import lease_gpu
from userbench.training.optimizer import Adam

log = logging.getLogger("userbench")

# Nats below a unigram model's validation loss: from here on an encoder has learnt more than that.
LEAST_GAIN = 0.05
SECONDS_BETWEEN_LINES = 30.0


class SetUp(NamedTuple):
    """What the loop trains, and on whom."""

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--method", required=True, help="file in methods/, or a dotted module")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, default={}, help="encoder sizes, as JSON")
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument("--epochs", type=at_least(1), required=True)
    parser.add_argument("--batch-size", type=at_least(2), required=True)
    parser.add_argument("--seed", type=at_least(0), nargs="+", required=True)
    parser.add_argument("--together", choices=WAYS, default=WAYS[0], help="how seeds take turns")
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
    state.add_flags(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of epoch<k>.safetensors")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, pre-train, and report a user's mistake in one line."""
    args = flags().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    pretrain(args)


def pretrain(args: argparse.Namespace) -> None:
    """Pre-train every seed, each as if it were alone.

    Raises ValueError for flags that do not fit each other or the files they name.
    """
    if not all(1 <= epoch <= args.epochs for epoch in args.keep):
        raise ValueError(f"--keep {args.keep}: epochs run from 1 to {args.epochs}")
    each = [arguments_of(args, seed) for seed in args.seed]
    check_outputs(one.out for one in each)
    configure(load_method(args.method), args.set)
    sizes = encoder_sizes(args.encoder)
    lease_gpu(args.device, torch.cuda.device_count())
    device = pick_device(args.device)
    check_user_split(args.splits, args.store)
    check_task_splits(args.splits, args.store, held_out_tasks(args))
    store = BehaviourStore.open(args.store, sizes.max_length, device)
    states = states_of(args, device, data_of(args))
    together = Together(args.seed, args.together, device, states, args.save_every)
    together.walk({one.seed: train_seed(one, store, together) for one in each})


def set_up(args: argparse.Namespace, store: BehaviourStore) -> SetUp:
    """The method of one seed beside its store, prepared to learn from the training users."""
    module = load_method(args.method)
    config = configure(module, args.set)
    torch.manual_seed(args.seed)
    device = store.items.device
    sizes = encoder_sizes(args.encoder, store.n_items)
    parts, held_out = parts_of(args, store)
    train, validation = (
        (parts.to(device) == part).nonzero().squeeze(1) for part in (TRAIN, VALIDATION)
    )

    method: PretrainMethod = module.Method(UserEncoder(sizes, config.dropout), config)
    accelerate(method.encoder, args.precision, args.capture, device)
    new = start_from(method.encoder, args.init) if args.init else []
    method.to(device).prepare(store, train)
    return SetUp(method, train, validation, sizes, new, held_out)


def parts_of(args: argparse.Namespace, store: BehaviourStore) -> Parts:
    """The part of each user in pre-training, by the flags of whom to leave out."""
    if args.hold_out:
        return without_test_users(args.store, args.splits, args.hold_out, store)
    if args.hold_out_others:
        tasks = args.hold_out_others
        return without_as_many_others(args.store, args.splits, tasks, store, args.seed)
    return pretraining_parts(args.splits)


def held_out_tasks(args: argparse.Namespace) -> list[str]:
    """Tasks whose test splits say who is left out."""
    return [*args.hold_out, *args.hold_out_others]


def data_of(args: argparse.Namespace) -> list[Path]:
    """The folders of arrays that are read."""
    held_out = task_data(args.store, args.splits, held_out_tasks(args))
    return [*user_data(args.store, args.splits), *held_out]


def train_seed(args: argparse.Namespace, store: BehaviourStore, together: Together) -> Run:
    """Run all epochs of one seed; write the kept checkpoints and the learning curve.

    After every step it yields where it stands, and the turn may go to another seed (`together.py`).
    """
    method, train, validation, sizes, new, held_out = set_up(args, store)
    config, device = method.config, train.device
    resolved = {
        **{name: value for name, value in vars(args).items() if name != "set"},
        "config": asdict(config),
        "encoder": asdict(sizes),
    }
    log.info(
        "%s, seed %d, on %s: %d users, %d items, %d epochs%s",
        args.method,
        args.seed,
        device,
        len(train),
        store.n_items,
        args.epochs,
        f", from {args.init}, new: {', '.join(new) or 'nothing'}" if args.init else "",
    )

    read = fingerprints(inputs(args))
    told_of_users = {"held_out": held_out} if held_out else {}
    optimizer = Adam(method, config.lr, args.item_table, method.encoder.items)

    # Sequences that encoders read for each user of a batch: the one that is trained, and any others
    # (a frozen generator, a teacher). Methods of as many epochs may differ in them.
    passes: dict[str, float] = {}

    def descend(batch: Batch, progress: float) -> Tensor:
        with counted_rows() as rows:
            loss, _ = method(batch, progress)
        optimizer.step(loss)
        if not passes:
            trained, users = rows.pop(method.encoder, 0), len(batch.users)
            passes.update(trained=trained / users, others=rows.total() / users)
        return loss.detach()

    take_step = descend if args.capture == "none" else Graphs(descend)
    curve: list[dict[str, Any]] = []
    written: list[Path] = []
    steps_per_epoch = len(list(batches(train, args.batch_size)))
    first_epoch, step, shuffled = 1, 0, None
    if saved := together.saved(args.seed):
        state.put_back(saved, method, optimizer)
        first_epoch, step, curve = saved["epoch"], saved["step"], saved["curve"]
        shuffled, total = saved["order"], saved["total"].to(device)
        passes = saved["encoder_passes"]
        written = list(map(Path, saved["files"]))

    def told(loss: Tensor) -> float:
        good = written[-1] if written else None
        return finite(loss, method.parameters(), f"step {step}", config.lr, good)

    first_step, last_line = step, time.perf_counter()
    started = last_line
    for epoch in range(first_epoch, args.epochs + 1):
        method.train()
        if shuffled is None:
            # Deviation: the release walks twenty fixed orders (`--order fixed`).
            # On the host, where the bounds of a batch are known before the device has made it.
            shuffled = order_of_epoch(train, args.order, epoch, args.seed, "pretrain").cpu()
            total = torch.zeros((), device=device)
        done = step - (epoch - 1) * steps_per_epoch
        bar = tqdm(
            islice(batches(shuffled, args.batch_size), done, None),
            f"seed {args.seed} epoch {epoch}",
            steps_per_epoch,
            initial=done,
            disable=None,
            leave=False,
        )
        for users in bar:
            batch = store.batch(users)
            loss = take_step(batch, step / (steps_per_epoch * args.epochs))
            total += loss
            step += 1
            if time.perf_counter() - last_line > SECONDS_BETWEEN_LINES:  # waits for the device
                last_line = time.perf_counter()
                log.info("seed %d epoch %d, step %d, loss %.4f", args.seed, epoch, step, told(loss))
            yield {
                "epoch": epoch,
                "step": step,
                "order": shuffled,
                "total": total,
                "curve": [*curve],
                "encoder_passes": {**passes},
                "files": [*written],
                "model": method,
                "optimizer": optimizer,
            }
        shuffled = None
        seconds = time.perf_counter() - started
        point = {"epoch": epoch, "split": "train", "step": step}
        curve.append({**point, "loss": told(total / steps_per_epoch)})
        checked = validate(method, store, validation, args.batch_size)
        told(torch.tensor(checked["loss"]))
        curve.append({**point, "split": "validation", **checked})
        log.info(
            "seed %d epoch %d/%d: train loss %.4f, validation %s, %.0f users/s",
            args.seed,
            epoch,
            args.epochs,
            curve[-2]["loss"],
            ", ".join(f"{name} {value:.4f}" for name, value in checked.items()),
            len(train) * (step - first_step) / steps_per_epoch / seconds,
        )
        if epoch in args.keep:
            path = args.out / f"epoch{epoch}.safetensors"
            facts = {"inputs": read, "drawn_anew": new, **told_of_users}
            facts |= together.facts(args.seed)
            save(path, trained_tensors(method), resolved, epoch=epoch, **facts)
            written.append(path)
    popularity_alone = no_more_than_popularity(curve)
    if popularity_alone:
        log.warning("%s, seed %d: %s", args.method, args.seed, popularity_alone)
    write_json(args.out / "curve.json", curve)
    facts = {"encoder_passes": passes, **told_of_users, **together.facts(args.seed)}
    facts |= {"popularity_alone": popularity_alone} if popularity_alone else {}
    record(args.out / "curve.json", resolved, inputs=read, **facts)


def inputs(args: argparse.Namespace) -> list[Path]:
    """What one seed reads: data, the checkpoint it starts from, and files its Config names."""
    texts, files = [args.set], []
    for value in texts:
        if isinstance(value, dict):
            texts += value.values()
        elif isinstance(value, str) and "/" in value and Path(value).exists():
            files.append(Path(value))
    return [*data_of(args), *([args.init] if args.init else []), *files]


def no_more_than_popularity(curve: list[dict[str, Any]]) -> str:
    """What to say of a training that ends on the unigram plateau, of a method that logs `unigram`.

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


def batches(users: Int[Tensor, " users"], size: int) -> Iterator[Int[Tensor, " batch"]]:
    """Consecutive batches; one user alone at the end is left out, in-batch negatives need two."""
    for batch in users.split(size):
        if len(batch) > 1:
            yield batch


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


if __name__ == "__main__":
    main()
