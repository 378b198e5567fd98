"""Resident memory of a training on a CPU, early and late, in a process of its own.

Started by `benchmarks.run`. Masked items, whose batches have ever other shapes; for every line that
it reads it trains on to the next number of steps, and answers with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import psutil
import torch

from benchmarks import corpus, workloads
from benchmarks.configurations import CANDIDATES, MEMORY_SIZES, alone
from userbench.model.encoder import EncoderConfig
from userbench.results.artifact import hardware
from userbench.training.cpu_memory import bound_kernel_cache


def main() -> None:
    """Answer until there are no more lines to read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--steps", type=int, nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    repetitions = resident_after(args.steps, args.users)
    print(json.dumps({"ready": next(repetitions)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"rows": next(repetitions)}), flush=True)


def resident_after(steps: list[int], users: int) -> Iterator[Any]:
    """First the hardware, then one row after each number of steps."""
    bound_kernel_cache()  # as `userbench.pretrain` does
    device = torch.device("cpu")
    workloads.seed(0)
    sizes = EncoderConfig(MEMORY_SIZES["n_items"], dim=MEMORY_SIZES["dim"])
    simulated = corpus.simulate(users, sizes.n_items, CANDIDATES, sizes.max_length, device)
    watch = workloads.Stopwatch(device)
    setting = workloads.Setting(alone("Masked items", "mlm"), simulated, sizes, watch)
    workload = workloads.build("ours", setting)
    batches = workloads.shuffled_batches(workload, MEMORY_SIZES["batch_size"])
    yield hardware()
    started = time.perf_counter()
    for before, after in pairwise([0, *steps]):
        for _ in range(after - before):
            workload.step(next(batches))
        resident = psutil.Process().memory_info().rss / 2**30
        yield [{"steps": after, "seconds": time.perf_counter() - started, "resident_gib": resident}]


if __name__ == "__main__":
    main()
