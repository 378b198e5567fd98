"""A process that measures one side: it says when it is ready, then answers line by line."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Worker:
    """A process of its own, which answers each line that it reads with one line of JSON."""

    def __init__(
        self, identity: dict[str, Any], words: list[str], threads: int, folder: Path = ROOT
    ):
        self.identity = identity
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """Wait until it can be measured; what it says of itself."""
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
