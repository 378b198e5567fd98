"""Measure the package against the plain implementation, side by side in one run.

python -m benchmarks.run --out results/benchmark
python -m benchmarks.run --out results/benchmark --threads 1 2 --only pretrain_4048 finetune_age

Both sides of a configuration are alive at once and take turns, so that what else the machine does
meets both. At the end comes memory, early and late in a training. The exit status is not 0 where a
promise is broken.

Without torch: the peak memory of a process counts from that of the one which started it.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import report
from benchmarks.configurations import (
    CONFIGURATIONS,
    MACHINE,
    MEMORY,
    MEMORY_SIZES,
    MEMORY_STEPS,
    QUICK,
)
from benchmarks.load import seconds_of_others
from benchmarks.worker import Worker
from userbench.errors import command
from userbench.results import artifact

NAMES = [*CONFIGURATIONS, MEMORY]


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, measure, write all results; an error ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"), help="folder")
    parser.add_argument("--page", type=Path, help="folder for another copy of page and figure")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a repetition")
    parser.add_argument("--users", type=int, default=2048, help="users of the simulated corpus")
    parser.add_argument("--batch-share", type=float, default=1.0, help="of the paper's batch size")
    parser.add_argument("--memory-steps", type=int, nargs=2, default=list(MEMORY_STEPS))
    parser.add_argument("--no-promises", action="store_true", help="status 0 whatever is broken")
    parser.add_argument(
        "--quick", action="store_true", help="a few tiny repetitions, whose figures mean nothing"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.only, args.repetitions, args.seconds = list(QUICK), 1, 0.05
        args.users, args.batch_share, args.no_promises = 256, 1 / 16, True
        args.memory_steps = [1, 2]
    check(args)
    measure(args)
    broken = report.write(args.out / "measurements.csv", args.out, args.page or args.out)
    if broken and not args.no_promises:
        sys.exit(f"error: {broken}")


def check(args: argparse.Namespace) -> None:
    """ValueError for flags that cannot be measured."""
    if min(args.threads) < 1 or args.repetitions < 1:
        raise ValueError("--threads and --repetitions have to be 1 or more")
    if not args.seconds > 0 or not args.batch_share > 0:
        raise ValueError("--seconds and --batch-share have to be above 0")
    if not 0 < args.memory_steps[0] < args.memory_steps[1]:
        raise ValueError("--memory-steps have to be two numbers, the second above the first")
    if not speeds(args):
        raise ValueError(f"--only {MEMORY}: name a configuration beside it")
    sizes = [args.batch_share * CONFIGURATIONS[name].batch_size for name in speeds(args)]
    largest = max([*sizes, *([MEMORY_SIZES["batch_size"]] if MEMORY in args.only else [])])
    if args.users < largest:
        raise ValueError(f"--users {args.users}: a batch needs {largest:.0f}")


def speeds(args: argparse.Namespace) -> list[str]:
    """The configurations whose speed is to be measured."""
    return [name for name in args.only if name != MEMORY]


def measure(args: argparse.Namespace) -> None:
    """Write all measurements as they came, with what they were made on."""
    started, others = time.perf_counter(), seconds_of_others()
    rows: list[dict[str, Any]] = []
    machine = {}
    for threads in args.threads:
        for name in (MACHINE, *speeds(args)):
            sides = (MACHINE,) if name == MACHINE else CONFIGURATIONS[name].sides
            workers = [start(name, side, threads, args) for side in sides]
            try:
                machine = [worker.ready() for worker in workers][0]
                for repetition in range(args.repetitions):
                    for worker in workers:
                        rows += [
                            {**worker.identity, "repetition": repetition, **row}
                            for row in worker.repeat()
                        ]
            finally:
                for worker in workers:
                    worker.stop()
            print(report.line(rows, name, threads), file=sys.stderr, flush=True)
    path, beside = args.out / "measurements.csv", args.out / report.MEMORY_FILE
    beside.unlink(missing_ok=True)  # of an earlier run, should there be none of this one
    artifact.write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    if MEMORY in args.only:
        memory = pd.DataFrame(memory_rows(args))
        artifact.write_text(beside, memory.to_csv(index=False, lineterminator="\n"))
        print(report.memory_line(memory), file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    facts = {
        "machine": machine,
        "cores_busy_with_others": round((seconds_of_others() - others) / seconds, 2),
        "seconds": round(seconds, 1),
    }
    artifact.record(path, vars(args), beside=[beside] if beside.exists() else [], **facts)


def memory_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Memory of a fresh process, early and late."""
    threads, steps = min(args.threads), map(str, args.memory_steps)
    flags = ["--threads", str(threads), "--users", str(args.users), "--steps", *steps]
    words = [sys.executable, "-m", "benchmarks.level_memory", *flags]
    worker = Worker({"configuration": MEMORY}, words, threads)
    try:
        worker.ready()
        return [row for _ in args.memory_steps for row in worker.repeat()]
    finally:
        worker.stop()


def start(name: str, side: str, threads: int, args: argparse.Namespace) -> Worker:
    """The process that measures one side of a configuration."""
    identity = {"configuration": name, "side": side, "threads": threads}
    flags = {
        **identity,
        "device": args.device,
        "users": args.users,
        "batch-share": args.batch_share,
        "seconds": args.seconds,
    }
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    return Worker(identity, [sys.executable, "-m", "benchmarks.measure", *words], threads)


if __name__ == "__main__":
    main()
