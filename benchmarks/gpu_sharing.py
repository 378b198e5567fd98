"""Several jobs on one GPU: how fast each is, and all together, with NVIDIA's MPS and without."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
CONTROL = "nvidia-cuda-mps-control"
SECONDS = 60.0
# Jobs at once, and whether under MPS; the most important first.
ORDER = ((1, False), (4, True), (8, True), (4, False), (2, True), (2, False), (8, False), (1, True))


@contextmanager
def mps() -> Iterator[dict[str, str]]:
    """The variables of clients of an MPS server that runs while the block does.

    OSError where MPS is not installed, CalledProcessError where it does not start.
    """
    with TemporaryDirectory(prefix="mps-") as folder:
        places = {
            "CUDA_MPS_PIPE_DIRECTORY": str(Path(folder, "pipe")),
            "CUDA_MPS_LOG_DIRECTORY": str(Path(folder, "log")),
        }
        for place in places.values():
            Path(place).mkdir()
        variables = {**os.environ, **places}
        subprocess.run([CONTROL, "-d"], env=variables, check=True, timeout=SECONDS)
        try:
            yield places
        finally:
            subprocess.run([CONTROL], input="quit\n", text=True, env=variables, timeout=SECONDS)


def together(words: list[str], jobs: int, with_mps: bool) -> dict[str, float]:
    """Users per second of some jobs that measure at the same time.

    A job is `python -m benchmarks.gpu` with `words`: it says "ready", waits for a line, and prints
    its users per second. RuntimeError where one dies.
    """
    with mps() if with_mps else nullcontext({}) as places:
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu", *words],
                cwd=ROOT,
                env={**os.environ, **places},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(jobs)
        ]
        try:
            for worker in workers:
                if worker.stdout.readline() != "ready\n":
                    raise RuntimeError(f"one of {jobs} jobs has died")
            for worker in workers:
                worker.stdin.write("go\n")
                worker.stdin.flush()
            each = [float(worker.stdout.readline()) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
    return {"users_per_second": sum(each), "slowest_job": min(each)}
