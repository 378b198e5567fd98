"""Which jobs should share a process or a GPU on this machine: measured on two of them, not guessed.

Seeds that share a process start it once. Processes that share a GPU slow each other down: steps of
the cheapest and of the dearest training are timed alone and beside other processes. Every way to
share is then scheduled on the cores.
"""

import contextlib
import io
import math
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import torch

from userbench import pretrain
from userbench.plan.jobs import TRAINING, Job, changed
from userbench.plan.probes import (
    Corpus,
    Measured,
    finetune_model,
    finetune_options,
    finetune_step,
    key_of,
    open_store,
    pretrain_options,
    pretrain_step,
    seconds_of,
)

SEVERAL = (2, 4)
SECONDS_TO_WAIT = 300.0
# Why: what is measured differs by so much from time to time; then the simplest way is taken.
TIE = 0.02


class Sharing(NamedTuple):
    """A way to share."""

    jobs_per_gpu: int = 1
    seeds_together: int = 1

    def __str__(self) -> str:
        flags = f"--config seeds_together={str(self.seeds_together > 1).lower()}"
        return flags + (f" jobs_per_gpu={self.jobs_per_gpu}" if self.jobs_per_gpu > 1 else "")


class Steps(NamedTuple):
    """Seconds that one step of a training takes, alone and beside other processes."""

    job: Job
    alone: float
    beside: dict[int, float]
    """By the number of processes."""

    def slowdown(self, sharing: Sharing) -> float:
        """How many times as long a step takes as alone, measured with as many or fewer."""
        counts = [count for count in self.beside if count <= sharing.jobs_per_gpu]
        return self.beside[max(counts)] / self.alone if counts else 1.0


def sharings(seeds: int, on_gpu: bool) -> list[Sharing]:
    """Every way to share that is compared, simplest first."""
    counts = [1, seeds] if seeds > 1 else [1]
    places = [1, *SEVERAL] if on_gpu else [1]
    return [Sharing(place, count) for place in places for count in counts]


def measure_steps(jobs: list[Job], found: Measured, on_gpu: bool) -> list[Steps]:
    """Steps of the cheapest and of the dearest training."""
    trained = sorted(
        {key_of(job): job for job in jobs if job.stage in TRAINING}.values(),
        key=found.seconds_of_seed,
    )
    measured = []
    for job in trained[:1] + trained[1:][-1:]:
        corpus = found.corpora[job.flags["store"][0]]
        beside = {n: seconds_per_step(job, corpus, n) for n in SEVERAL if on_gpu}
        measured.append(Steps(job, seconds_per_step(job, corpus), beside))
    return measured


def slowdown(job: Job, sharing: Sharing, measured: list[Steps], found: Measured) -> float:
    """That of the measured job whose cost is nearest."""
    if job.stage not in TRAINING:
        return 1.0
    cost = math.log(found.seconds_of_seed(job))
    near = min(measured, key=lambda steps: abs(math.log(found.seconds_of_seed(steps.job)) - cost))
    return near.slowdown(sharing)


def best(walls: dict[Sharing, float]) -> Sharing:
    """The first of those that are as fast as the fastest, to within what can be measured."""
    fastest = min(walls.values())
    return next(sharing for sharing in walls if walls[sharing] <= (1 + TIE) * fastest)


def seconds_per_step(job: Job, of: Corpus, processes: int = 1) -> float:
    """Mean seconds for one step of a training in each of so many processes.

    ValueError where a process fails.
    """
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(processes)
    workers, answers = [], []
    for _ in range(processes):
        here, there = context.Pipe(duplex=False)
        workers.append(context.Process(target=time_steps, args=(job, of, barrier, there)))
        workers[-1].start()
        there.close()  # Why: then the death of the process ends the wait for its answer.
        answers.append(here)
    try:
        return sum(answer.recv() for answer in answers) / processes
    except EOFError:
        raise ValueError(f"{job.stage} of {job.run}: its steps cannot be timed here") from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def time_steps(job: Job, of: Corpus, barrier: Barrier, answer: Connection) -> None:
    """Send the seconds of a step in this process, timed while the other processes take theirs."""
    torch.set_num_threads(1)
    words = changed(job.words, store=of.store, splits=of.splits[job.flags["splits"][0]])
    with contextlib.redirect_stderr(io.StringIO()):  # no bars
        if job.stage == "pretrain":
            options = pretrain_options(words)
            behaviours = open_store(options)
            method, train, *_ = pretrain.set_up(options, behaviours)
            step = pretrain_step(options, behaviours, method, train)
        else:
            options = finetune_options(words)
            behaviours, task = open_store(options), options.tasks[0]
            model, split, _ = finetune_model(task, behaviours, options)
            step = finetune_step(task, behaviours, options, model, split)
        step(0)
        barrier.wait(SECONDS_TO_WAIT)
        answer.send(seconds_of(step))
