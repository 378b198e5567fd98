"""Which jobs should share a process or a GPU on this machine: measured on two of them, not guessed.

The cheapest and the dearest training of the workflow are stepped alone, by turns with others in one
process, and, on a GPU, beside other processes. Every way to share is then laid out on the cores.
"""

import contextlib
import io
import math
import multiprocessing
import statistics
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import torch

from userbench import finetune, pretrain
from userbench.data import store
from userbench.model.encoder import EncoderConfig, pick_device
from userbench.model.tasks import Task
from userbench.plan.jobs import TRAINING, Job, changed
from userbench.plan.probes import (
    Corpus,
    Measured,
    key_of,
    seconds_of,
    without_files,
)
from userbench.together import WAYS, Together, arguments_of

SEVERAL = (2, 4)
ENDLESS = 10**9
SECONDS_TO_WAIT = 300.0
# Why: what is measured differs by so much from time to time; then the simplest way is taken.
TIE = 0.02


class Sharing(NamedTuple):
    """A way to share."""

    jobs_per_gpu: int = 1
    seeds_together: int = 1
    way: str = "one-by-one"

    def __str__(self) -> str:
        told = f"--config seeds_together={str(self.seeds_together > 1).lower()}"
        if self.seeds_together > 1:
            told += f" together={self.way}"
        return told + (f" jobs_per_gpu={self.jobs_per_gpu}" if self.jobs_per_gpu > 1 else "")


class Steps(NamedTuple):
    """Seconds that one step of one run takes, alone and shared by so many."""

    job: Job
    alone: float
    by_turns: dict[int, float]
    beside: dict[int, float]

    def slowdown(self, sharing: Sharing) -> float:
        """How many times as long a run's steps take as alone, measured with as many or fewer."""
        seconds = self.alone
        if sharing.way == "interleaved":
            seconds = most(self.by_turns, sharing.seeds_together)
        elif sharing.jobs_per_gpu > 1:
            seconds = most(self.beside, sharing.jobs_per_gpu)
        return seconds / self.alone


def most(measured: dict[int, float], count: int) -> float:
    """What was measured for `count`, or else for the largest number below it."""
    return measured[max(number for number in measured if number <= count)]


def sharings(seeds: int, on_gpu: bool) -> list[Sharing]:
    """Every way to share that is compared, simplest first.

    Turns in one process and processes side by side are not mixed: that is not measured.
    """
    counts = [seeds] if seeds > 1 else []
    in_turns = [Sharing(1, count, way) for way in WAYS for count in counts]
    beside = [Sharing(places, count) for places in SEVERAL for count in [1, *counts]]
    return [Sharing(), *in_turns, *(beside if on_gpu else [])]


def measure_steps(jobs: list[Job], found: Measured, on_gpu: bool) -> list[Steps]:
    """Steps of the cheapest and of the dearest training."""
    trained = sorted(
        {key_of(job): job for job in jobs if job.stage in TRAINING}.values(),
        key=found.seconds_of_seed,
    )
    measured = []
    for job in trained[:1] + trained[1:][-1:]:
        corpus = found.corpora[job.flags["store"][0]]
        alone, *by_turns = seconds_per_step(job, corpus, (1, *SEVERAL))
        beside = [seconds_per_step(job, corpus, (1,), n)[0] for n in SEVERAL if on_gpu]
        of_count = (dict(zip(SEVERAL, some, strict=False)) for some in (by_turns, beside))
        measured.append(Steps(job, alone, *of_count))
    return measured


def slowdown(job: Job, sharing: Sharing, measured: list[Steps], found: Measured) -> float:
    """That of the measured job which costs more nearly the same."""
    if job.stage not in TRAINING:
        return 1.0
    cost = math.log(found.seconds_of_seed(job))
    near = min(measured, key=lambda steps: abs(math.log(found.seconds_of_seed(steps.job)) - cost))
    return near.slowdown(sharing)


def best(walls: dict[Sharing, float]) -> Sharing:
    """The first of those that are as fast as the fastest, to within what can be measured."""
    fastest = min(walls.values())
    return next(sharing for sharing in walls if walls[sharing] <= (1 + TIE) * fastest)


def seconds_per_step(
    job: Job, of: Corpus, seeds: tuple[int, ...], processes: int = 1
) -> list[float]:
    """Seconds for one step of one run, when so many seeds take turns in each of the processes.

    ValueError where a process fails.
    """
    context = multiprocessing.get_context("forkserver")
    together = context.Barrier(processes)
    workers, answers = [], []
    for _ in range(processes):
        here, there = context.Pipe(duplex=False)
        workers.append(context.Process(target=time_steps, args=(job, of, seeds, together, there)))
        workers[-1].start()
        there.close()  # Why: then the death of the process ends the wait for its answer.
        answers.append(here)
    try:
        told = [answer.recv() for answer in answers]
    except EOFError:
        raise ValueError(f"{job.stage} of {job.run}: its steps cannot be timed here") from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return [statistics.mean(some) for some in zip(*told, strict=True)]


def time_steps(
    job: Job, of: Corpus, seeds: tuple[int, ...], together: Barrier, told: Connection
) -> None:
    """Tell `seconds_per_step` of this process."""
    torch.set_num_threads(1)
    found = []
    with contextlib.redirect_stderr(io.StringIO()):  # no bars
        for count in seeds:
            step = one_step(job, of, count)
            step(0)
            together.wait(SECONDS_TO_WAIT)
            found.append(seconds_of(step) / count)
    told.send(found)


def one_step(job: Job, of: Corpus, seeds: int) -> Callable[[int], object]:
    """A function that takes one step of every seed of a training that does not end."""
    words = changed(job.words, store=of.store, splits=of.splits[job.flags["splits"][0]])
    command = {"pretrain": pretrain, "finetune": finetune}[job.stage]
    args = command.flags().parse_args(words)
    args.seed, args.set = list(range(seeds)), without_files(args.set)
    device = pick_device(args.device)
    sizes = EncoderConfig(n_items=0, **args.encoder)
    behaviours = store.BehaviourStore.open(args.store, sizes.max_length, device)
    turns = Together(args.seed, "interleaved", device)
    runs = {}
    for seed in args.seed:
        one = arguments_of(args, seed)
        if job.stage == "pretrain":
            one.init, one.epochs, one.keep, one.out = None, ENDLESS, [ENDLESS], Path()
            runs[seed] = pretrain.train_seed(one, behaviours, turns)
        else:
            told = {name: value for name, value in one.task[0].items() if name != "out"}
            one.init = []
            task = Task(**{**told, "epochs": ENDLESS})
            runs[seed] = finetune.finetune(task, behaviours, one, {})

    def step(number: int) -> None:
        for seed, run in runs.items():
            turns.turn(seed, run)

    return step
