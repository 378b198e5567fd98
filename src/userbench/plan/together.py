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
from userbench.encoder import EncoderConfig, pick_device
from userbench.plan.jobs import TRAINING, Job
from userbench.plan.probes import (
    Corpus,
    Measured,
    changed,
    key_of,
    seconds_of,
    without_files,
)
from userbench.tasks import Task
from userbench.together import Together, arguments_of

SEVERAL = (2, 4)
ENDLESS = 10**9
SECONDS_TO_WAIT = 300.0
# Why: what is measured differs by so much from time to time; then the simplest way is taken.
TIE = 0.02


class Sharing(NamedTuple):
    """A way to share, simplest first."""

    jobs_per_gpu: int = 1
    seeds_together: int = 1
    way: str = "one-by-one"

    def __str__(self) -> str:
        told = f"--config seeds_together={self.seeds_together}"
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
    together = [1, *(count for count in SEVERAL if count < seeds), seeds] if seeds > 1 else [1]
    jobs = (1, *SEVERAL) if on_gpu else (1,)
    one_by_one = [Sharing(several, count) for several in jobs for count in together]
    return sorted(one_by_one + [Sharing(1, count, "interleaved") for count in together[1:]])


def measure_steps(jobs: list[Job], found: Measured, on_gpu: bool) -> list[Steps]:
    """Steps of the cheapest and of the dearest training."""
    trained = sorted(
        {key_of(job): job for job in jobs if job.stage in TRAINING}.values(),
        key=found.seconds_of_seed,
    )
    measured = []
    for job in dict.fromkeys(map(trained.index, (trained[0], trained[-1]))):
        job = trained[job]
        corpus = found.corpora[job.flags["store"][0]]
        alone = seconds_per_step(job, corpus)
        by_turns = {n: seconds_per_step(job, corpus, seeds=n) for n in SEVERAL}
        beside = {n: seconds_per_step(job, corpus, processes=n) for n in SEVERAL if on_gpu}
        measured.append(Steps(job, alone, by_turns, beside))
    return measured


def slowdown(job: Job, sharing: Sharing, measured: list[Steps], found: Measured) -> float:
    """That of the measured job which costs more nearly the same."""
    if job.stage not in TRAINING:
        return 1.0
    cost = math.log(found.seconds_of_seed(job))
    near = min(measured, key=lambda steps: abs(math.log(found.seconds_of_seed(steps.job)) - cost))
    return near.slowdown(sharing)


def best(walls: dict[Sharing, float]) -> Sharing:
    """The simplest of those that are as fast as the fastest, to within what can be measured."""
    fastest = min(walls.values())
    return next(sharing for sharing in sorted(walls) if walls[sharing] <= (1 + TIE) * fastest)


def seconds_per_step(job: Job, of: Corpus, seeds: int = 1, processes: int = 1) -> float:
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
        return statistics.mean(answer.recv() for answer in answers) / seeds
    except EOFError:
        raise ValueError(f"{job.stage} of {job.run}: its steps cannot be timed here") from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def time_steps(job: Job, of: Corpus, seeds: int, together: Barrier, told: Connection) -> None:
    """Tell the seconds of one step of all seeds, in this process."""
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):  # no bars
        step = one_step(job, of, seeds)
        step(0)
        together.wait(SECONDS_TO_WAIT)
        told.send(seconds_of(step))


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
            runs[seed] = finetune.finetune(task, behaviours, one)

    def step(number: int) -> None:
        for seed, run in runs.items():
            turns.turn(seed, run)

    return step
