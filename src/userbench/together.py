"""Several runs in one process, one by one or by turns, each with the same numbers as alone.

A run is a generator that yields after every step. One by one, runs share the start of Python and
the data. Interleaved, they go round with a step each, on a GPU each on a stream of its own, so that
small kernels of different runs overlap. Between two steps a run keeps nothing open that the process
has once (no_grad, autocast); the random state of torch is put back before each of its turns.
"""

import time
from argparse import Namespace
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from userbench.artifact import check_writable

WAYS = ("one-by-one", "interleaved")
Run = Generator[None, None, None]


def arguments_of(args: Namespace, seed: int) -> Namespace:
    """What the run of one seed is told: `{seed}` in any text or path of `args` stands for it."""
    told = {name: with_seed(value, seed) for name, value in vars(args).items()}
    del told["together"]  # Why: what a run writes must not depend on its company.
    return Namespace(**{**told, "seed": seed})


def with_seed(value: Any, seed: int) -> Any:
    """The value with `{seed}` replaced in all of its texts and paths."""
    if isinstance(value, dict):
        return {name: with_seed(part, seed) for name, part in value.items()}
    if isinstance(value, list):
        return [with_seed(part, seed) for part in value]
    if isinstance(value, str | Path):
        return type(value)(str(value).replace("{seed}", str(seed)))
    return value


def check_outputs(outputs: Iterable[Path]) -> None:
    """ValueError where two runs would write to one place, OSError where they may not write."""
    seen: set[Path] = set()
    for path in outputs:
        check_writable(path)
        if path in seen:
            raise ValueError(f"{path}: is named twice. Put {{seed}} in it, and each seed once")
        seen.add(path)


class Together:
    """The runs of a process, by their seeds."""

    def __init__(self, seeds: list[int], way: str, device: torch.device):
        self.seeds, self.way, self.device = seeds, way, device
        self.spent = dict.fromkeys(seeds, 0.0)
        self.turn_began = 0.0
        by_turns = way == "interleaved" and device.type == "cuda" and len(seeds) > 1
        self.streams = {seed: torch.cuda.Stream(device) for seed in seeds} if by_turns else {}
        for stream in self.streams.values():
            stream.wait_stream(torch.cuda.current_stream(device))  # the data are there
        self.random = {seed: self.random_state() for seed in seeds}

    def walk(self, runs: dict[int, Run]) -> None:
        """Walk all runs to their ends.

        A run that stops with a ValueError is left and the others go on; what they write is whole.
        Then the error is raised, by several runs with the seeds that failed.
        """
        waiting, failed = deque(runs), {}
        while waiting:
            seed = waiting.popleft()
            try:
                if self.turn(seed, runs[seed]):
                    waiting.append(seed)
            except ValueError as mistake:
                failed[seed] = mistake
        if failed:
            told = "; ".join(f"seed {seed}: {mistake}" for seed, mistake in failed.items())
            raise ValueError(told if len(runs) > 1 else str(*failed.values()))

    def turn(self, seed: int, run: Run) -> bool:
        """One step of a run, or all where they go one by one; whether any are left."""
        self.set_random_state(self.random[seed])
        self.turn_began = time.perf_counter()
        stream = self.streams.get(seed)
        with torch.cuda.stream(stream) if stream else nullcontext():
            steps = 1 if self.way == "interleaved" else None
            left = sum(1 for _ in islice(run, steps)) == steps
        self.spent[seed] += time.perf_counter() - self.turn_began
        self.random[seed] = self.random_state()
        return left

    def seconds(self, seed: int) -> float | None:
        """Seconds of its own turns so far, the present one included; None where others overlap."""
        if self.streams:
            return None
        return self.spent[seed] + time.perf_counter() - self.turn_began

    def facts(self, seed: int) -> dict[str, Any]:
        """What the provenance record of a run says of those it shared the process with."""
        return {
            "process_seeds": self.seeds,
            "together": self.way,
            "seed_seconds": self.seconds(seed),
        }

    def random_state(self) -> list[Tensor]:
        """Where torch's generators stand."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def set_random_state(self, state: list[Tensor]) -> None:
        """Put torch's generators back to where they stood."""
        torch.set_rng_state(state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state[1], self.device)
