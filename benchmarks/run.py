"""Measure the package against the plain implementation, side by side in one run.

python -m benchmarks.run --out results/benchmark
python -m benchmarks.run --out results/benchmark --threads 1 2 --only pretrain_4048 finetune_age

Both sides of a configuration are alive at once and take turns, so that what else the machine does
meets both. The exit status is not 0 where a threshold is missed.

Without torch: the peak memory of a process counts from that of the one which started it.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import report
from benchmarks.configurations import CONFIGURATIONS, MACHINE, QUICK
from userbench.errors import command
from userbench.results import artifact

ROOT = Path(__file__).parent.parent


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
        "--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS), metavar="NAME"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a repetition")
    parser.add_argument("--users", type=int, default=2048, help="users of the simulated corpus")
    parser.add_argument("--batch-share", type=float, default=1.0, help="of the paper's batch size")
    parser.add_argument("--no-thresholds", action="store_true", help="status 0 whatever they say")
    parser.add_argument(
        "--quick", action="store_true", help="a few tiny repetitions, whose figures mean nothing"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.only, args.repetitions, args.seconds = list(QUICK), 1, 0.05
        args.users, args.batch_share, args.no_thresholds = 256, 1 / 16, True
    check(args)
    measure(args)
    missed = report.write(args.out / "measurements.csv", args.out, args.page or args.out)
    if missed and not args.no_thresholds:
        sys.exit(f"error: {missed}")


def check(args: argparse.Namespace) -> None:
    """ValueError for flags that cannot be measured."""
    if min(args.threads) < 1 or args.repetitions < 1:
        raise ValueError("--threads and --repetitions have to be 1 or more")
    if not args.seconds > 0 or not args.batch_share > 0:
        raise ValueError("--seconds and --batch-share have to be above 0")
    largest = max(CONFIGURATIONS[name].batch_size for name in args.only) * args.batch_share
    if args.users < largest:
        raise ValueError(f"--users {args.users}: a batch needs {largest:.0f}")


def measure(args: argparse.Namespace) -> None:
    """Write all measurements as they came, with what they were made on."""
    started, others = time.perf_counter(), seconds_of_others()
    rows: list[dict[str, Any]] = []
    machine = {}
    for threads in args.threads:
        for name in (MACHINE, *args.only):
            sides = (MACHINE,) if name == MACHINE else CONFIGURATIONS[name].sides
            workers = [Worker(name, side, threads, args) for side in sides]
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
    path = args.out / "measurements.csv"
    artifact.write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    seconds = time.perf_counter() - started
    facts = {
        "machine": machine,
        "cores_busy_with_others": round((seconds_of_others() - others) / seconds, 2),
        "seconds": round(seconds, 1),
    }
    artifact.record(path, vars(args), **facts)


class Worker:
    """A process that measures one side."""

    def __init__(self, name: str, side: str, threads: int, args: argparse.Namespace):
        self.identity = {"configuration": name, "side": side, "threads": threads}
        flags = {
            **self.identity,
            "device": args.device,
            "users": args.users,
            "batch-share": args.batch_share,
            "seconds": args.seconds,
        }
        words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measure", *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """Wait until it has made its first step; what it says of the hardware."""
        return self.read()["ready"]

    def repeat(self) -> list[dict[str, Any]]:
        """The rows of one more repetition."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()["rows"]

    def read(self) -> dict[str, Any]:
        """Its next answer; ValueError where that is a problem, or where it has died."""
        line = self.process.stdout.readline()
        what = " ".join(map(str, self.identity.values()))
        if not line:
            raise ValueError(f"{what}: the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{what}: {answer['error']}")
        return answer

    def stop(self) -> None:
        """Let it end; it does where there is nothing more to read."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def seconds_of_others() -> float:
    """Processor time spent so far on anything but this command; NaN where Linux is absent."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system = map(int, stat.read_text().split()[1:4])
    own = os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - ours


if __name__ == "__main__":
    main()
