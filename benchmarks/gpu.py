"""Everything that is to be known of training on a GPU, measured in under nine minutes.

python -m benchmarks.gpu --out results/gpu
python -m benchmarks.gpu --out results/gpu --only variants sharing

Each section runs in a process of its own and writes its rows as they come, so that neither an error
nor the end of its time costs what was measured before; `--only` measures some anew and keeps the
others. `--device cpu --tiny` runs every line on a toy corpus; such figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks import (
    gpu_page,
    gpu_profile,
    gpu_sharing,
    kernels,
    softmax_candidates,
    workloads,
)
from benchmarks.configurations import CONFIGURATIONS
from benchmarks.corpus import Corpus, simulated_store
from benchmarks.gpu_correctness import correctness
from benchmarks.gpu_training import (
    METHODS,
    TINY,
    TTL_USERS,
    Row,
    Setting,
    Training,
    attempt,
    batches,
    measured,
    speed_row,
    training,
    wait,
)
from userbench import finetune
from userbench.data.store import Batch, BehaviourStore
from userbench.errors import command
from userbench.model.encoder import EncoderConfig
from userbench.model.kernels import language
from userbench.results import artifact
from userbench.training.acceleration import PRECISIONS, accelerate, captured
from userbench.training.device import pick_device
from userbench.training.optimizer import Adam

ROOT = Path(__file__).parent.parent
GRACE = 14.0  # seconds to start a section's process and to end its last row


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
