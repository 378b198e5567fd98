"""Everything that is to be known of training on a GPU, measured in under nine minutes.

python -m benchmarks.gpu --out results/gpu
python -m benchmarks.gpu --out results/gpu --only variants sharing

Each section runs in a process of its own and writes its rows as they come, so that neither an error
nor the end of its time costs what was measured before; `--only` measures some anew and keeps the
others. `--device cpu --tiny` runs every line on a toy corpus; such figures mean nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks import (
    floor,
    gpu_page,
    gpu_profile,
    gpu_sharing,
    kernels,
    softmax_candidates,
    workloads,
)
from benchmarks.configurations import CONFIGURATIONS, TTL_ITEMS
from benchmarks.corpus import Corpus, simulated_store
from userbench import finetune, pretrain
from userbench.data.store import Batch, BehaviourStore
from userbench.errors import command
from userbench.method import PretrainMethod, configure, load_method
from userbench.model.augment import proper_share
from userbench.model.encoder import EncoderConfig, UserEncoder, pick_device
from userbench.model.kernels import language
from userbench.model.losses import sample_items
from userbench.results import artifact
from userbench.training import optimizer
from userbench.training.acceleration import PRECISIONS, accelerate, captured
from userbench.training.optimizer import Adam
from userbench.views import fill

ROOT = Path(__file__).parent.parent
METHODS = ("adaptssr", "mlm", "peterrec", "ptum", "clue", "ccl", "idicl")
METHODS += ("cl4srec", "coserec", "duorec")
# How often each method encodes a user in a step; the views of some are shorter than the sequence.
ENCODED = {"adaptssr": 4, "mlm": 1, "peterrec": 1}
# Why: correlating the items of all users takes minutes of a CPU, and is no part of a step.
PREPARED_ON = {"coserec": 5_000}
TTL_USERS = 1_470_149
PRETRAINED = 0.9
GRACE = 14.0  # seconds to start a section's process and to end its last row


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


# ---------------------------------------------------------------------------------- what is trained


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


# ----------------------------------------------------------------------------------------- sections

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


def machine(setting: Setting) -> Iterator[Row]:
    """How fast this device multiplies matrices and copies memory."""
    device, n = setting.device, setting.matrix

    def rate(operation: Callable[[], Any], work: float) -> Row:
        for _ in range(3):
            operation()
        wait(device)
        before, turns = time.perf_counter(), 10
        for _ in range(turns):
            operation()
        wait(device)
        return {"per_second": turns * work / (time.perf_counter() - before)}

    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        left, right = torch.randn(2, n, n, device=device).to(dtype)

        def product(left: Tensor = left, right: Tensor = right) -> Row:
            return rate(lambda: left @ right, 2 * n**3)

        yield attempt({"what": "matrix product", "precision": precision}, product)
    torch.set_float32_matmul_precision("highest")
    source = torch.randn(n, n, device=device)
    target = torch.empty_like(source)
    yield attempt({"what": "copy"}, lambda: rate(lambda: target.copy_(source), 2 * 4 * n * n))


class SameDraws(TorchFunctionMode):
    """Random numbers from the CPU's generator, whatever device asks for them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Draw on the CPU, then move."""
        kwargs = dict(kwargs or {})
        if func in (torch.rand, torch.randint):
            device = kwargs.pop("device", None)
            return func(*args, **kwargs).to(device or "cpu")
        if func in (torch.Tensor.exponential_, torch.Tensor.uniform_):
            return args[0].copy_(func(torch.empty(args[0].shape, dtype=args[0].dtype)))
        return func(*args, **kwargs)


class SameFills:
    """CCL's fills: those that the first caller draws, for every later one.

    Another device or precision would draw others, from as good a softmax: it takes random numbers
    in another order, or rounds logits otherwise.
    """

    drawn: Tensor | None = None

    def __call__(self, states: Tensor, *given: Any) -> Tensor:
        """An item for each row."""
        if self.drawn is None:
            self.drawn = sample_items(states, *given)
        return self.drawn.to(states.device)


def drawn_alike(
    store: BehaviourStore, name: str, precision: str, users: Tensor, fills: SameFills
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of a method on a device, without dropout, from the same random numbers."""
    with SameDraws(), mock.patch.object(fill, "sample_items", fills):
        trained = training(store, name, precision, "none", torch.device("cpu"), dropout=0.0)
        torch.manual_seed(1)
        loss, _ = trained.method(store.bounded_batch(users), 0.5)
    loss.backward()
    gradients = {
        part: value.grad.cpu()
        for part, value in trained.method.named_parameters()
        if value.grad is not None
    }
    return loss.detach().cpu(), gradients


def correctness(setting: Setting) -> Iterator[Row]:
    """Is a GPU's step the CPU's? What does bf16 change? Does a step repeat, captured or not?"""
    on_cpu = simulated_store(2_000, setting.compared_items, setting.max_length, torch.device("cpu"))
    moved = {name: getattr(on_cpu, name).to(setting.device) for name in ("items", "offsets")}
    on_device = BehaviourStore(
        **moved,
        lengths=on_cpu.lengths.to(setting.device),
        n_items=on_cpu.n_items,
        max_length=on_cpu.max_length,
    )
    users = torch.arange(setting.batch_size)
    for name in METHODS:

        def compare(name: str = name) -> Row:
            fills = SameFills()
            reference = drawn_alike(on_cpu, name, "fp32", users, fills)
            exact = drawn_alike(on_device, name, "fp32", users, fills)
            rounded = drawn_alike(on_device, name, "bf16", users, fills)
            loss, gradient = difference(exact, reference)
            loss_of_bf16, gradient_of_bf16 = difference(rounded, exact)
            return {
                "loss_error": loss,
                "gradient_error": gradient,
                "bf16_loss_error": loss_of_bf16,
                "bf16_gradient_error": gradient_of_bf16,
                "ok": loss <= 1e-4 and gradient <= 1e-3 and loss_of_bf16 <= 5e-2,
            }

        yield attempt({"what": name, "check": "CPU and GPU, fp32 and bf16"}, compare)
    facts = {"what": "item table", "check": "Adam by rows, and over all rows in float64"}
    yield attempt(facts, lambda: stepped_by_rows(setting))
    for name in METHODS:

        def repeat(name: str = name) -> Row:
            with deferred_at_any_size():
                first, again = (losses_of_steps(on_device, name, "none", setting) for _ in range(2))
                found = {"repeats": torch.equal(first, again)}
                if setting.device.type == "cuda":
                    captured = losses_of_steps(on_device, name, "graph", setting)
                    found["captured_error"] = float((captured - first).abs().max())
                    found["ok"] = found["captured_error"] <= 1e-2 * float(first.abs().max())
            return found

        yield attempt({"what": name, "check": "twice, and captured"}, repeat)


def difference(
    one: tuple[Tensor, dict[str, Tensor]], other: tuple[Tensor, dict[str, Tensor]]
) -> tuple[float, float]:
    """Relative error of the loss, and of all gradients together."""
    of_loss = float((one[0] - other[0]).abs() / other[0].abs().clamp(min=1e-3))
    assert one[1].keys() == other[1].keys()
    error = sum(float((one[1][part] - value).square().sum()) for part, value in other[1].items())
    size = sum(float(value.square().sum()) for value in other[1].values())
    return of_loss, (error / size) ** 0.5


def stepped_by_rows(setting: Setting, steps: int = 300) -> Row:
    """How far the optimizer of large item tables, captured, goes astray from torch's Adam."""
    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(setting.compared_items), dropout=0.0).to(setting.device)
    with deferred_at_any_size():
        adam = Adam(encoder, 1e-3, "dense", encoder.items)
    exact = encoder.items.weight.detach().double().requires_grad_()
    dense = torch.optim.Adam([exact], lr=1e-3)

    def step(ids: Tensor, gradient: Tensor) -> Tensor:
        loss = (encoder.items(ids) * gradient).sum()
        adam.step(loss)
        return loss.detach()

    take_step = captured(step, "graph" if setting.device.type == "cuda" else "none")
    for _ in range(steps):
        # Zipf's law: some rows are read in every step, others rest for hundreds.
        rank = setting.compared_items ** torch.rand(50 * setting.batch_size, device=setting.device)
        gradient = torch.randn(len(rank), encoder.config.dim, device=setting.device)
        take_step(rank.long(), gradient)
        exact.grad = torch.zeros_like(exact).index_add_(0, rank.long(), gradient.double())
        dense.step()
    error = float((encoder.items.whole() - exact).detach().abs().max())
    return {"table_error": error, "ok": error <= 1e-6}


def deferred_at_any_size() -> Any:
    """Inside, optimizers do for any item table what they do for those of the paper's scale."""
    return mock.patch.object(optimizer, "DEFERRED_FROM", 1)


def losses_of_steps(store: BehaviourStore, name: str, capture: str, setting: Setting) -> Tensor:
    """Losses of some steps with dropout on, from one seed."""
    trained = training(store, name, "fp32", capture)
    torch.manual_seed(2)
    # Why one batch: its shape is captured in the second step, however few there are.
    users = next(batches(store, setting.batch_size))
    losses = [trained.step(store.bounded_batch(users), 0.5).cpu().clone() for _ in range(6)]
    return torch.stack(losses)


def methods(setting: Setting) -> Iterator[Row]:
    """Every method at full scale, as a CPU would do it and as a GPU should; and the plain way."""
    yield attempt({"what": "plain", "precision": "fp32"}, lambda: plain(setting))
    store = simulated_store(setting.users, setting.n_items, setting.max_length, setting.device)
    fast = [("bf16", "graph")] if setting.device.type == "cuda" else []
    for precision, capture in (*fast, ("fp32", "none")):
        for name in METHODS:
            yield speed_row(setting, store, name, precision, capture)


def plain(setting: Setting) -> Row:
    """Users per second of the released code (`benchmarks.plain`) on the same device."""
    store = simulated_store(
        setting.plain_users, setting.n_items, setting.max_length, setting.device
    )
    configuration = CONFIGURATIONS["pretrain_645973"]
    sizes = EncoderConfig(setting.n_items, max_length=store.max_length)
    watch = workloads.Stopwatch(setting.device)
    corpus = Corpus(store, None, None)  # AdaptSSR has no use for labels
    workload = workloads.plain_pretraining(workloads.Setting(configuration, corpus, sizes, watch))
    stream = batches(store, setting.batch_size)
    for _ in range(3):
        workload.step(next(stream))
    wait(setting.device)
    steps, before = 0, time.perf_counter()
    while time.perf_counter() - before < 2 * setting.seconds:
        workload.step(next(stream))
        steps += 1
    wait(setting.device)
    per_second = steps * setting.batch_size / (time.perf_counter() - before)
    return {"users_per_second": per_second, "steps": steps}


def softmax(setting: Setting) -> Iterator[Row]:
    """The candidates for the exact softmax, forward and backward, and CCL's fills."""
    sizes = setting.predictions, setting.n_items + 1, 64
    given = softmax_candidates.example(*sizes, setting.device)
    torch.set_float32_matmul_precision("highest")
    expected = softmax_candidates.step(softmax_candidates.plain, given)
    torch.set_float32_matmul_precision("high")
    seconds = setting.seconds / 5
    for name in softmax_candidates.CANDIDATES:

        def compare(name: str = name) -> Row:
            return softmax_candidates.compared(name, given, expected, seconds)

        yield attempt({"what": name}, compare)
    for name, ours in (("fills, plain", False), ("fills, ours", True)):

        def draw(ours: bool = ours) -> Row:
            return softmax_candidates.fills(ours, given, seconds)

        yield attempt({"what": name}, draw)
    torch.set_float32_matmul_precision("highest")


def variants(setting: Setting) -> Iterator[Row]:
    """Every precision, captured or not; and every method without kernels of our own."""
    store = simulated_store(setting.users, setting.n_items, setting.max_length, setting.device)
    captures = ("none", "graph") if setting.device.type == "cuda" else ("none",)
    for name in ("adaptssr", "mlm"):
        for precision in PRECISIONS:
            for capture in captures:
                yield speed_row(setting, store, name, precision, capture)
    yield speed_row(setting, store, "mlm", "bf16", captures[-1], negatives=1024)
    for name in METHODS:
        with mock.patch.object(language, "INSTALLED", False):
            row = speed_row(setting, store, name, "bf16", captures[-1])
        yield {**row, "kernels": "torch alone"}
    for name in ("adaptssr", "mlm") if setting.device.type == "cuda" else ():
        yield speed_row(setting, store, name, "bf16", "compile")


def waits(setting: Setting) -> Iterator[Row]:
    """The lines of each method's step at which the host waits for the device."""
    if setting.device.type != "cuda":
        yield {"what": "every method", "skipped": "only a GPU is waited for"}
        return
    store = simulated_store(20_000, setting.n_items, setting.max_length, setting.device)
    for name in METHODS:

        def look(name: str = name) -> Row:
            trained = training(store, name, "fp32", "none")
            stream = batches(store, setting.batch_size)
            for _ in range(3):
                trained.step(store.bounded_batch(next(stream)), 0.5)
            torch.cuda.set_sync_debug_mode("warn")
            try:
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    for _ in range(3):
                        trained.step(store.bounded_batch(next(stream)), 0.5)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            places = {f"{Path(w.filename).name}:{w.lineno}" for w in warned}
            return {"waits": sorted(places), "ok": not places}

        yield attempt({"what": name}, look)


def finetuning(setting: Setting) -> Iterator[Row]:
    """A step of fine-tuning of either kind, and of the encoder that it trains."""
    store = simulated_store(
        min(setting.users, 200_000), setting.n_items, setting.max_length, setting.device
    )
    fast = [("bf16", "graph")] if setting.device.type == "cuda" else []
    for precision, capture in (*fast, ("fp32", "none")):
        for kind in kernels.KINDS:
            facts = {"what": kind, "precision": precision, "capture": capture}

            def measure(kind: str = kind, way: tuple[str, str] = (precision, capture)) -> Row:
                step, _ = finetuning_of(kind, store, *way)
                return measured(Training(None, store, step), setting)

            yield attempt(facts, measure)


def finetuning_of(
    kind: str, store: BehaviourStore, precision: str, capture: str
) -> tuple[Callable[[Batch, float], Tensor], torch.nn.ModuleDict]:
    """A step of fine-tuning in which example u is of user u, and the model that it trains."""
    torch.manual_seed(0)
    device = store.lengths.device
    sizes = EncoderConfig(store.n_items, max_length=store.max_length)
    with device:
        model, task = kernels.finetuned_model(kind, store.n_users, sizes)
    accelerate(model["encoder"], precision, capture, device)
    optimizer = Adam(model.to(device).train(), task.lr, "dense", model["encoder"].items)
    step = captured(finetune.Step(model, optimizer), capture)
    return lambda batch, _: step(batch, batch.users), model


def profiled(setting: Setting) -> Iterator[Row]:
    """The kernels of a step of AdaptSSR, masked items, CCL and fine-tuning, longest first."""
    store = simulated_store(
        min(setting.users, 200_000), setting.n_items, setting.max_length, setting.device
    )
    way = ("bf16" if setting.device.type == "cuda" else "fp32", "none")
    batch = store.bounded_batch(next(batches(store, setting.batch_size)))
    for name in ("adaptssr", "mlm", "ccl", "top_n"):
        if name in kernels.KINDS:
            step, _ = finetuning_of(name, store, *way)
        else:
            step = training(store, name, *way).step
        started = time.perf_counter()
        for row in gpu_profile.by_kernel(partial(step, batch, 0.5), setting.device):
            took = time.perf_counter() - started
            yield {"what": name, **row, "took_seconds": round(took, 2)}


def predicted(setting: Setting) -> Iterator[Row]:
    """What the counts of kernels and bytes predict of each step (`benchmarks.kernels`)."""
    for name, count in kernels.STEPS.items():

        def counted(count: Callable[..., Any] = count) -> Row:
            found = kernels.whole_step(count(setting.n_items))
            predicted_rate = 1000 * kernels.BATCH / found.milliseconds
            return {
                "kernels": found.kernels,
                "gigabytes": found.gigabytes,
                "predicted_ms": found.milliseconds,
                "predicted_users_per_second": predicted_rate,
            }

        yield attempt({"what": name}, counted)


def sharing(setting: Setting) -> Iterator[Row]:
    """AdaptSSR by several processes at once on the device, with MPS and without."""
    on_gpu = setting.device.type == "cuda"
    words = ["--device", str(setting.device), "--worker"]
    words += ["--tiny"] if setting.users == TINY["users"] else []
    for jobs, with_mps in gpu_sharing.ORDER if on_gpu else ((1, False),):
        run = partial(gpu_sharing.together, words, jobs, with_mps)
        yield attempt({"what": "adaptssr", "jobs": jobs, "mps": with_mps}, run)


def work(setting: Setting) -> None:
    """Be one of the processes of `sharing`."""
    on_gpu = setting.device.type == "cuda"
    store = simulated_store(
        min(setting.users, 200_000), setting.n_items, setting.max_length, setting.device
    )
    chosen = ("bf16", "graph") if on_gpu else ("fp32", "none")
    trained = training(store, "adaptssr", *chosen)
    measured(trained, setting._replace(seconds=0.01))
    print("ready", flush=True)
    sys.stdin.readline()
    print(measured(trained, setting._replace(seconds=2 * setting.seconds))["users_per_second"])


SECTIONS = {  # and the most seconds each may take; the most important first
    "correctness": (correctness, 60),
    "methods": (methods, 90),
    "softmax": (softmax, 20),
    "finetuning": (finetuning, 20),
    "sharing": (sharing, 75),
    "profile": (profiled, 20),
    "variants": (variants, 50),
    "predicted": (predicted, 30),
    "waits": (waits, 20),
    "machine": (machine, 10),
}


# ------------------------------------------------------------------------------------------ command


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="folder")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:<n>, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="a toy corpus; figures mean nothing")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Measure, and write rows, table and page; an error ends it with one line."""
    args = flags().parse_args(argv)
    device = pick_device(args.device)
    if device.type == "cpu" and not args.tiny:
        raise ValueError("device cpu: this measures a GPU. Add --tiny to try it on a CPU")
    setting = Setting(device, **(TINY if args.tiny else {}))
    if args.worker:
        work(setting)
    elif args.section:
        walk_section(args.section, setting, args.out)
    else:
        for name in args.only:
            measure_section(name, setting, args)
        gpu_page.write(args.out)


def measure_section(name: str, setting: Setting, args: argparse.Namespace) -> None:
    """Run a section in a process that cannot take the others with it; here, on a CPU."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    if setting.device.type == "cpu":
        walk_section(name, setting, args.out)
    else:
        words = ["--section", name, "--device", args.device, "--out", str(args.out.resolve())]
        called = [sys.executable, "-m", "benchmarks.gpu", *words, *["--tiny"] * args.tiny]
        why = ""
        try:
            status = subprocess.run(called, cwd=ROOT, timeout=SECTIONS[name][1] + GRACE).returncode
            why = f"ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            why = "was stopped: out of time"
        if why:
            args.out.mkdir(parents=True, exist_ok=True)
            with (args.out / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"section": name, "what": "section", "error": why}) + "\n")
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def walk_section(name: str, setting: Setting, out: Path) -> None:
    """Write the rows of a section as they come, until its time is over."""
    section, seconds = SECTIONS[name]
    out.mkdir(parents=True, exist_ok=True)
    started, last = time.perf_counter(), 0.0
    with (out / f"{name}.jsonl").open("w", encoding="utf-8") as file:

        def write(row: Row) -> None:
            file.write(json.dumps({"section": name, **row}) + "\n")
            file.flush()

        write({"what": "hardware", **artifact.environment(), "tiny": setting.users < TTL_USERS})
        try:
            for row in section(setting):
                write(row)
                last = max(last, row.get("took_seconds", 0.0))
                if time.perf_counter() - started + last > seconds:
                    write({"what": "section", "error": "out of time: the rest was not measured"})
                    break
        except Exception as problem:  # Why: other sections are worth measuring all the same.
            write({"what": "section", "error": f"{type(problem).__name__}: {problem}"})


if __name__ == "__main__":
    main()
