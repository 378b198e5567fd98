"""Several runs in one process, one by one or by turns, each with the same numbers as alone.

A run is a generator that yields after every step. One by one, runs share the start of Python and
the data. Interleaved, they go round with a step each, on a GPU each on a stream of its own, so that
small kernels of different runs overlap. Between two steps a run keeps nothing open that the process
has once (no_grad, autocast); the random state of torch is put back before each of its turns.

What it yields is where it stands (`resume.py`), which is saved at intervals, on SIGUSR1, and on
SIGTERM, after which the process ends. All states are removed once all runs have ended well.
"""

import logging
import signal
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from userbench.errors import told_of
from userbench.results.artifact import check_writable
from userbench.training.state import (
    SECONDS_BETWEEN_SAVES,
    Standing,
    State,
    identity,
    random_state,
    set_random_state,
    signals_to,
)

log = logging.getLogger("userbench")

WAYS = ("one-by-one", "interleaved")
Run = Generator[Standing, None, None]
# What a run is told does not hold these: what it writes must depend neither on its company nor on
# how often it is saved.
OF_THE_PROCESS = ("together", "state", "save_every")
# What tells where a run stands, in this order.
PLACES = ("tasks", "candidates", "epoch", "step")
# Why: saving takes at most a twentieth of the time, however slow the disk is.
PAUSE_PER_SAVE = 20


def arguments_of(args: Namespace, seed: int) -> Namespace:
    """What the run of one seed is told: `{seed}` in any text or path of `args` stands for it."""
    told = {name: with_seed(value, seed) for name, value in vars(args).items()}
    kept = {name: value for name, value in told.items() if name not in OF_THE_PROCESS}
    return Namespace(**{**kept, "seed": seed})


def states_of(args: Namespace, device: torch.device, data: list[Path]) -> dict[int, State]:
    """The state of each seed's run, which reads `data`; none where no folder was named for them."""
    if args.state is None:
        return {}
    folders = {seed: with_seed(args.state, seed) for seed in args.seed}
    check_outputs(folders.values())
    return {
        seed: State(folder, identity(arguments_of(args, seed), device, data))
        for seed, folder in folders.items()
    }


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

    def __init__(
        self,
        seeds: list[int],
        way: str,
        device: torch.device,
        states: dict[int, State] | None = None,
        save_every: float = SECONDS_BETWEEN_SAVES,
    ):
        self.seeds, self.way, self.device = seeds, way, device
        self.states, self.save_every = states or {}, save_every
        # Where those runs stand that have begun and have not ended; when each is saved next.
        self.standing: dict[int, Standing] = {}
        self.due = dict.fromkeys(seeds, time.perf_counter() + save_every)
        self.asked: int | None = None
        self.spent = dict.fromkeys(seeds, 0.0)
        self.turn_began = 0.0
        by_turns = way == "interleaved" and device.type == "cuda" and len(seeds) > 1
        self.streams = {seed: torch.cuda.Stream(device) for seed in seeds} if by_turns else {}
        for stream in self.streams.values():
            stream.wait_stream(torch.cuda.current_stream(device))  # the data are there
        self.random = {seed: random_state(device) for seed in seeds}

    def walk(self, runs: dict[int, Run]) -> None:
        """Walk all runs to their ends.

        A run that cannot go on, by its input or the system, is left and the others do; what they
        write is whole. Then ValueError tells why, by several runs with the seeds that failed.
        SystemExit on SIGTERM, where runs have states.
        """
        with signals_to(self.note) if self.states else nullcontext():
            self.walk_all(runs)
        for state in self.states.values():
            state.remove()

    def walk_all(self, runs: dict[int, Run]) -> None:
        """`walk`, all states left."""
        waiting, failed = deque(runs), {}
        while waiting:
            if self.asked == signal.SIGTERM and not self.standing:
                self.stop()  # between two runs
            seed = waiting.popleft()
            try:
                if self.turn(seed, runs[seed]):
                    waiting.append(seed)
            except TimeoutError:  # the limit of the process, not of this run
                raise
            except (ValueError, OSError) as problem:
                failed[seed] = f"{told_of(problem)}{self.left_by(seed)}"
        if failed:
            told = "; ".join(f"seed {seed}: {mistake}" for seed, mistake in failed.items())
            raise ValueError(told if len(runs) > 1 else str(*failed.values()))

    def turn(self, seed: int, run: Run) -> bool:
        """One step of a run, or all where they go one by one; whether any are left."""
        set_random_state(self.random[seed], self.device)
        self.turn_began = time.perf_counter()
        stream = self.streams.get(seed)
        with torch.cuda.stream(stream) if stream else nullcontext():
            steps, made = 1 if self.way == "interleaved" else None, 0
            for made, standing in enumerate(islice(run, steps), start=1):  # noqa: B007
                if seed in self.states:
                    self.stand(seed, standing)
        left = made == steps
        if not left and len(self.states) > 1 and seed in self.standing:
            self.save(seed)  # Why: the others may yet be killed.
            del self.standing[seed]
        self.spent[seed] += time.perf_counter() - self.turn_began
        self.random[seed] = random_state(self.device)
        return left

    def saved(self, seed: int) -> Standing:
        """Where the run of a seed stood when it was stopped; empty where it starts."""
        saved = self.states[seed].load() if seed in self.states else {}
        if saved:
            places = [f"{name} {saved[name]}" for name in PLACES if name in saved]
            log.info("seed %d goes on after %s", seed, ", ".join(places))
            self.spent[seed] += saved["seconds"] or 0
        return saved

    def stand(self, seed: int, standing: Standing) -> None:
        """Take note of where a run stands; save it, or all of them, where it is time to."""
        self.standing[seed] = standing
        if self.asked is None and time.perf_counter() < self.due[seed]:
            return
        self.save(seed)
        if self.asked is None:
            return
        for other in self.standing.keys() - {seed}:
            self.save_waiting(other)
        if self.asked == signal.SIGTERM:
            self.stop()
        self.asked = None

    def save(self, seed: int) -> None:
        """Save where the run stands whose turn it is."""
        self.save_as(seed, random_state(self.device), self.seconds(seed))

    def save_waiting(self, seed: int) -> None:
        """Save where a run stands that waits for its turn."""
        self.save_as(seed, self.random[seed], self.spent[seed])

    def save_as(self, seed: int, random: list[Tensor], seconds: float | None) -> None:
        """Save where a run stands, with what the process knows of it."""
        began = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the streams of the others, too
        state = self.states[seed]
        try:
            state.save({**self.standing[seed], "random": random, "seconds": seconds})
        except (OSError, SafetensorError) as problem:  # a full disk must not end a good training
            log.warning("seed %d: no state is saved (%s). The run goes on without", seed, problem)
        ended = time.perf_counter()
        self.due[seed] = ended + max(self.save_every, PAUSE_PER_SAVE * (ended - began))

    def note(self, number: int) -> None:
        """Take note of a signal: states are saved after the step that is being made."""
        self.asked = number
        if number == signal.SIGTERM and not self.standing:
            self.stop()  # nothing would be lost

    def stop(self) -> None:
        """End the process as one that was ended by SIGTERM, in one line."""
        log.info("stopped by SIGTERM. Run the same command again: it goes on from what it saved")
        sys.exit(128 + signal.SIGTERM)

    def left_by(self, seed: int) -> str:
        """Where the files lie that a run had finished before it failed."""
        standing = self.standing.pop(seed, {})
        if not standing.get("files"):
            return ""
        self.states[seed].keep(standing["files"])
        return f". What it had finished is in {self.states[seed].folder}, too"

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
