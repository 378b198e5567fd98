"""What `benchmarks.gpu` measures: a method about to be trained, and its speed."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import (
    floor,
)
from benchmarks.configurations import CONFIGURATIONS, TTL_ITEMS
from userbench import pretrain
from userbench.data.store import Batch, BehaviourStore
from userbench.method import PretrainMethod, configure, load_method
from userbench.model.augment import proper_share
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.training.acceleration import accelerate, captured
from userbench.training.optimizer import Adam

METHODS = ("adaptssr", "mlm", "peterrec", "ptum", "clue", "ccl", "idicl")
METHODS += ("cl4srec", "coserec", "duorec")
# How often each method encodes a user in a step; the views of some are shorter than the sequence.
ENCODED = {"adaptssr": 4, "mlm": 1, "peterrec": 1}
# Why: correlating the items of all users takes minutes of a CPU, and is no part of a step.
PREPARED_ON = {"coserec": 5_000}
TTL_USERS = 1_470_149
PRETRAINED = 0.9


class Setting(NamedTuple):
    """How much is measured, and where."""

    device: torch.device
    users: int = TTL_USERS
    n_items: int = TTL_ITEMS
    plain_users: int = 20_000
    batch_size: int = 128
    seconds: float = 2.5
    """Of one measurement, without its warm-up."""
    compared_items: int = 4_047
    max_length: int = 150
    matrix: int = 8_192
    predictions: int = 2_304
    """Of the exact softmax in a batch of TTL."""


TINY = {"users": 300, "n_items": 400, "plain_users": 60, "batch_size": 4, "seconds": 0.02}
TINY |= {"compared_items": 400, "max_length": 12, "matrix": 128, "predictions": 20}


class Training(NamedTuple):
    """A method about to be trained, and one step of it as in `userbench.pretrain`."""

    method: PretrainMethod | None
    store: BehaviourStore
    step: Callable[[Batch, float], Tensor]


def training(
    store: BehaviourStore,
    name: str,
    precision: str,
    capture: str,
    drawn_on: torch.device | None = None,
    **changes: Any,
) -> Training:
    """A method with new weights, always the same ones for the device that they are drawn on."""
    device = store.lengths.device
    torch.manual_seed(0)
    module = load_method(name)
    config = configure(module, changes)
    sizes = EncoderConfig(store.n_items, max_length=store.max_length)
    with drawn_on or device:
        method = module.Method(UserEncoder(sizes, config.dropout), config)
    accelerate(method.encoder, precision, capture, device)
    learnt_from = min(PREPARED_ON.get(name, store.n_users), store.n_users)
    method.to(device).prepare(store, torch.arange(learnt_from, device=device))
    method.train()
    optimizer = Adam(method, config.lr, "dense", method.encoder.items)
    return Training(method, store, captured(pretrain.Step(method, optimizer, {}), capture))


def batches(store: BehaviourStore, size: int, seed: int = 0) -> Iterator[Tensor]:
    """Users on the host, whole batches only, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(store.n_users, generator=generator)
        yield from order[: len(order) // size * size].split(size)


def wait(device: torch.device) -> None:
    """Waits until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(trained: Training, setting: Setting) -> dict[str, float]:
    """Users and behaviours per second (median over windows of equal length), and peak memory."""
    stream = batches(trained.store, setting.batch_size)
    started = time.perf_counter()
    # Why so many: every common shape is met twice, and so is captured, before it counts.
    for _ in range(40 if setting.device.type == "cuda" else 2):
        loss = trained.step(trained.store.bounded_batch(next(stream)), 0.5)
    wait(setting.device)
    warm_up = time.perf_counter() - started
    rates, trained_on, begun = [], [], time.perf_counter()
    while time.perf_counter() - begun < setting.seconds:
        steps, before = 0, time.perf_counter()
        while time.perf_counter() - before < setting.seconds / 5:
            for _ in range(10 if setting.device.type == "cuda" else 1):
                trained_on.append(next(stream))
                loss = trained.step(trained.store.bounded_batch(trained_on[-1]), 0.5)
                steps += 1
            wait(setting.device)
        rates.append(steps * setting.batch_size / (time.perf_counter() - before))
    if not torch.isfinite(loss):
        raise ValueError(f"the loss is {float(loss)}")
    users_per_second = statistics.median(rates)
    per_user = float(trained.store.lengths_on_host[torch.cat(trained_on)].double().mean())
    return {
        "users_per_second": users_per_second,
        "slowest_turn": min(rates),
        "fastest_turn": max(rates),
        "tokens_per_second": users_per_second * per_user,
        "ms_per_step": 1000 * setting.batch_size / users_per_second,
        "epoch_seconds": PRETRAINED * TTL_USERS / users_per_second,
        "warm_up_seconds": warm_up,
        "steps": len(trained_on),
    }


def operations_per_user(name: str, store: BehaviourStore) -> float:
    """Operations of the model that a step has to make for a user (`benchmarks.floor`)."""
    lengths = store.lengths_on_host[:20_000]
    sizes = EncoderConfig(store.n_items, max_length=store.max_length)
    if name == "adaptssr":
        steps = max(1, len(lengths) // 128)
        configuration = CONFIGURATIONS["pretrain_645973"]
        work = floor.least_work(configuration, sizes, 0, lengths, steps)
        return sum(stage.operations for stage in work.values()) / len(lengths)
    encoded = ENCODED.get(name, 2) * floor.encoder_operations(lengths.double(), sizes)
    if name in ("mlm", "peterrec"):  # every masked behaviour meets every item
        encoded += 2 * sizes.dim * float(proper_share(lengths, 0.3).sum()) * (sizes.n_items + 1)
    return 3 * encoded / len(lengths)  # forwards, and twice as much backwards


Row = dict[str, Any]


def attempt(facts: Row, measure: Callable[[], Row]) -> Row:
    """A row with what was measured, or with the error that prevented it."""
    before = time.perf_counter()
    try:
        found = measure()
    except Exception as problem:  # Why: the rows after this one are worth measuring all the same.
        found = {"error": f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {**facts, **found, "took_seconds": round(time.perf_counter() - before, 2)}


def speed_row(
    setting: Setting, store: BehaviourStore, name: str, precision: str, capture: str, **changes: Any
) -> Row:
    """Speed and memory of a method."""

    def measure() -> Row:
        if setting.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(setting.device)
        found = measured(training(store, name, precision, capture, **changes), setting)
        found["operations_per_user"] = operations_per_user(name, store)
        if setting.device.type == "cuda":
            found["peak_memory_gib"] = torch.cuda.max_memory_allocated(setting.device) / 2**30
        return found

    facts = {"what": name, "precision": precision, "capture": capture}
    return attempt(facts | {"set": changes} if changes else facts, measure)
