"""One side of one configuration, in a process of its own: peak memory is then its own.

Started by `benchmarks.run`. Says when it is ready, then makes one repetition for every line that it
reads, and answers each with one line of JSON.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks import corpus, floor, workloads
from benchmarks.configurations import CANDIDATES, CONFIGURATIONS, MACHINE, SIDES, TOTAL
from userbench.data.arrays import peak_memory
from userbench.model.encoder import EncoderConfig
from userbench.results.artifact import hardware
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.device import pick_device

SEED = 0
MATRIX = 2048
COPIED = 1 << 26  # floats: far more than a cache holds
TURNS = 4


def main() -> None:
    """Answer until there are no more lines to read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configuration", choices=[*CONFIGURATIONS, MACHINE], required=True)
    parser.add_argument("--side", choices=[*SIDES, MACHINE], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--batch-share", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        device = pick_device(args.device)
        of_machine = args.configuration == MACHINE
        repetitions = machine_speed(device) if of_machine else side_speed(args, device)
        answer(ready=next(repetitions))
        for _ in sys.stdin:
            answer(rows=next(repetitions))
    except (ValueError, RuntimeError) as problem:
        answer(error=" ".join(str(problem).split()))
        sys.exit(1)


def answer(**content: Any) -> None:
    """One line that the runner reads."""
    print(json.dumps(content), flush=True)


def side_speed(args: argparse.Namespace, device: torch.device) -> Iterator[Any]:
    """First the hardware, then the rows of one repetition after another."""
    configuration = CONFIGURATIONS[args.configuration]
    batch_size = max(2, round(configuration.batch_size * args.batch_share))
    workloads.seed(SEED)
    if args.side == "ours":
        bound_kernel_cache()  # as the commands of the package do
    sizes = EncoderConfig(configuration.n_items)
    users = corpus.simulate(args.users, sizes.n_items, CANDIDATES, sizes.max_length, device)
    watch = workloads.Stopwatch(device)
    setting = workloads.Setting(configuration, users, sizes, watch)
    workload = workloads.build(args.side, setting)
    batches = workloads.shuffled_batches(workload, batch_size)
    workload.step(next(batches))  # Why: the first step makes moments and fills memory pools.
    yield hardware()
    while True:
        measured_on, results = [], []
        watch.start()
        started = watch.now()
        while watch.now() - started < args.seconds:
            picked = next(batches)
            watch.last = watch.now()  # Why: shuffling the examples is no stage of a step.
            results.append(float(workload.step(picked)))
            measured_on.append(picked)
        if not all(map(math.isfinite, results)):
            raise ValueError(f"{args.side} of {args.configuration} gives {results}")
        lengths = users.store.lengths[workload.users[torch.cat(measured_on)]].cpu()
        steps = len(results)
        work = floor.least_work(configuration, sizes, setting.outputs, lengths, steps)
        if work:
            work[TOTAL] = floor.Work(*map(sum, zip(*work.values(), strict=True)))
        seconds = {**watch.seconds, TOTAL: sum(watch.seconds.values())}
        yield [
            {
                "stage": stage,
                "steps": steps,
                "users": len(lengths),
                "tokens": int(lengths.sum()),
                "seconds": seconds[stage],
                "peak_memory_gib": peak_gib(device),
                "least_operations": work[stage].operations if stage in work else 0.0,
                "least_bytes": work[stage].bytes if stage in work else 0.0,
            }
            for stage in seconds
        ]


def peak_gib(device: torch.device) -> float:
    """Most memory so far: of this process, or of what it holds on a GPU."""
    on_gpu = device.type == "cuda"
    return (torch.cuda.max_memory_allocated(device) if on_gpu else peak_memory()) / 2**30


def machine_speed(device: torch.device) -> Iterator[Any]:
    """First the hardware, then how fast it multiplies matrices and moves memory."""
    watch = workloads.Stopwatch(device)
    left, right = torch.rand(2, MATRIX, MATRIX, device=device)
    product = torch.empty_like(left)
    source = torch.rand(COPIED, device=device)
    target = torch.empty_like(source)
    probes: dict[str, tuple[Callable[[], Any], floor.Work]] = {
        "matrix product": (
            lambda: torch.mm(left, right, out=product),
            floor.Work(TURNS * 2 * MATRIX**3, 0),
        ),
        "copy": (lambda: target.copy_(source), floor.Work(0, TURNS * 2 * floor.FLOAT * COPIED)),
        # Why: a copy also fetches what it overwrites; a floor needs the best that memory can do.
        "in place": (lambda: target.neg_(), floor.Work(0, TURNS * 2 * floor.FLOAT * COPIED)),
    }
    for probe, _ in probes.values():
        probe()
    yield hardware()
    while True:
        found = []
        for name, (probe, work) in probes.items():
            watch.start()
            for _ in range(TURNS):
                probe()
            watch.lap(name)
            found.append(
                {
                    "stage": name,
                    "steps": TURNS,
                    "users": 0,
                    "tokens": 0,
                    "seconds": watch.seconds[name],
                    "peak_memory_gib": peak_gib(device),
                    "least_operations": float(work.operations),
                    "least_bytes": float(work.bytes),
                }
            )
        yield found


if __name__ == "__main__":
    main()
