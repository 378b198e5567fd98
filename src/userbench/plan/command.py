"""Print what a run of the workflow will cost, before anything is spent.

userbench plan --config workflow/config/default.yaml --cores 8

Asks Snakemake which jobs are left, measures a few steps of every kind of job on this machine, and
adds them up: time, memory and disk by stage and run, and wall time on the given cores. Corpora that
are simulated and not there yet are simulated small, in a temporary folder, and scaled.

userbench plan --config workflow/config/paper.yaml --gpu h100

Of a GPU that is not here: the hours of Table 2 by steps that were measured on one, or predicted.
"""

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from pathlib import Path

import torch

from userbench import command_line
from userbench.errors import command
from userbench.experiment.check import read_experiment
from userbench.experiment.files import read_configs
from userbench.plan.gpu_hours import Speeds, gpu_hours
from userbench.plan.jobs import TRAINING, Job, jobs_left, on_a_cpu
from userbench.plan.probes import Cost, Measured, measured
from userbench.plan.sharing import Sharing, best, measure_steps, sharings, slowdown
from userbench.results.artifact import record, write_json
from userbench.training.gpu_share import mps

ROWS_SHOWN = 20
# Whose steps say what sharing a GPU brings: it was measured on no other.
KNOWN_GPU = "h100"


@dataclass(frozen=True)
class Options:
    """What is planned: the flags of the command."""

    config: list[Path]
    cores: int
    all: bool
    sharing: bool
    gpu: str | None
    json: Path | None
    targets: list[str]


@command
def main(argv: list[str] | None = None) -> None:
    """Print the plan."""
    parser = command_line.parser("plan", __doc__)
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        required=True,
        help="config of the workflow; of several files, what the last one says counts",
    )
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--all", action="store_true", help="as if nothing had been made yet")
    parser.add_argument(
        "--sharing", action="store_true", help="which jobs should share a process or a GPU"
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help="of Table 2, the hours on this GPU (h100), which is not here"
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="write every job with its cost to this file; what jobs ask a cluster for is read from "
        "results/<experiment>/plan.json",
    )
    parser.add_argument("targets", nargs="*", help="files to make; default: all tables")
    options = Options(**vars(parser.parse_args(argv)))
    if options.gpu is None:
        plan(options)
        return
    if options.all or options.sharing or options.json or options.targets:
        raise ValueError("--gpu: is of all of Table 2. Leave out --all, --sharing, --json, targets")
    print(gpu_hours(options.config, options.gpu))


def plan(options: Options) -> None:
    """List the jobs that are left, measure their steps, add up, print."""
    started = time.perf_counter()
    asked = jobs_left(options.config, options.targets, everything=options.all)
    if not asked:
        print("Nothing is left to be done.")
        return
    jobs = [on_a_cpu(job) for job in asked]
    if wanted := next((job.wants_gpu for job in asked if job.wants_gpu), {}):
        options = ", ".join(f"{name} {value}" for name, value in wanted.items())
        print(f"The config asks for a GPU ({options}); on the CPU of this machine, without them:")
    with tempfile.TemporaryDirectory() as folder:
        found = measured(jobs, Path(folder), options.cores)
        shared = jobs_on_a_gpu(options.config)
        slower = shared / min(shared, Speeds(KNOWN_GPU).sharing_gain(mps() == "yes"))
        costs = [found.cost(job, slower if job.stage in TRAINING else 1.0) for job in jobs]
        wall = schedule(jobs, [cost.seconds for cost in costs], options.cores, shared)
        print(page(jobs, costs, wall, options.cores))
        if options.sharing:
            print(advice(options, jobs, found))
    print(f"Measured on this machine in {time.perf_counter() - started:.0f} s.")
    if options.json:
        rows = [
            {
                "stage": job.stage,
                "run": job.run,
                "corpus": job.corpus,
                "seeds": len(job.seeds),
                **cost._asdict(),
            }
            for job, cost in zip(jobs, costs, strict=True)
        ]
        write_json(options.json, {"wall_seconds": wall, "cores": options.cores, "jobs": rows})
        record(options.json, asdict(options))


def jobs_on_a_gpu(configs: list[Path]) -> int:
    """How many trainings are to share a GPU of this machine; one where it has none."""
    if not torch.cuda.is_available():
        return 1
    return read_experiment(read_configs(configs), ", ".join(map(str, configs))).jobs_per_gpu


def advice(options: Options, jobs: list[Job], found: Measured) -> str:
    """Wall time of every way to share a process or the GPU, and what to call for the best."""
    trained = [job for job in jobs if job.stage in TRAINING]
    if not trained:
        return "Nothing is left to be trained."
    on_gpu = trained[0].flags["device"][0].startswith("cuda")
    seeds = len({seed for job in trained for seed in job.seeds})
    steps = measure_steps(jobs, found, on_gpu)
    lines = [
        *([f"Under MPS (docs/sharing-a-gpu.md): {mps()}."] if on_gpu else []),
        "",
        f"The start of a process takes {found.start:.1f} s. Seconds for a step of one training:",
    ]
    for some in steps:
        beside = [f"{s:.4f} beside {n - 1} processes" for n, s in some.beside.items()]
        times = ", ".join([f"{some.alone:.4f} alone", *beside])
        lines.append(f"  {some.job.stage} {some.job.run}: {times}")
    walls: dict[Sharing, float] = {}
    of_count: dict[int, list[Job]] = {}
    for sharing in sharings(seeds, on_gpu):
        count = sharing.seeds_together
        if count not in of_count:
            asked = jobs_left(options.config, options.targets, options.all, count > 1)
            of_count[count] = [on_a_cpu(job) for job in asked]
        some = of_count[count]
        seconds = [found.cost(job, slowdown(job, sharing, steps, found)).seconds for job in some]
        walls[sharing] = schedule(some, seconds, options.cores, sharing.jobs_per_gpu)
    chosen = best(walls)
    lines.append(f"Wall time on {options.cores} cores:")
    lines += [f"  {duration(wall):>9}  {sharing}" for sharing, wall in walls.items()]
    return "\n".join([*lines, f"The simplest of the fastest: {chosen}"])


def schedule(jobs: list[Job], seconds: list[float], cores: int, jobs_per_gpu: int = 1) -> float:
    """Wall time of the jobs on some cores, each started as soon as its inputs and a core are there.

    Where there is a GPU, trainings also wait for one of its places.
    """
    maker = {output: number for number, job in enumerate(jobs) for output in job.outputs}
    needs = [
        {
            maker[p]
            for path in job.inputs
            for p in (path, *map(str, Path(path).parents))
            if p in maker
        }
        for job in jobs
    ]
    one_gpu = torch.cuda.is_available()
    waiting, done, running = dict(enumerate(needs)), set(), []
    now, free, free_gpus = 0.0, cores, jobs_per_gpu  # of one GPU, as profiles/default has it
    while waiting or running:
        for number in list(waiting):
            trains = one_gpu and jobs[number].stage in TRAINING
            if waiting[number] <= done and free and (free_gpus or not trains):
                del waiting[number]
                heappush(running, (now + seconds[number], number, trains))
                free, free_gpus = free - 1, free_gpus - trains
        now, number, trained = heappop(running)
        done.add(number)
        free, free_gpus = free + 1, free_gpus + trained
    return now


def page(jobs: list[Job], costs: list[Cost], wall: float, cores: int) -> str:
    """The plan as text, the largest items first."""
    groups: dict[tuple[str, str], list[Cost]] = {}
    for job, cost in zip(jobs, costs, strict=True):
        groups.setdefault((job.stage, job.run), []).append(cost)
    total = sum(cost.seconds for cost in costs)
    largest = sorted(groups.items(), key=lambda item: -sum(cost.seconds for cost in item[1]))
    lines = [
        f"{'stage':<18} {'run':<24} {'jobs':>5} {'core time':>10} {'share':>6} {'longest':>9} "
        f"{'memory':>9} {'disk':>9}"
    ]
    shown, rest = largest[:ROWS_SHOWN], largest[ROWS_SHOWN:]
    if rest:
        shown.append((("all others", ""), [cost for _, some in rest for cost in some]))
    for (stage, run), some in shown:
        spent = sum(cost.seconds for cost in some)
        lines.append(
            f"{stage:<18} {run:<24} {len(some):>5} {duration(spent):>10} {spent / total:>6.0%} "
            f"{duration(max(cost.seconds for cost in some)):>9} "
            f"{size(max(cost.memory for cost in some)):>9} {size(sum(c.disk for c in some)):>9}"
        )
    peak = max(cost.memory for cost in costs)
    lines += [
        "",
        f"{len(jobs)} jobs, {duration(total)} of core time; about {duration(wall)} on {cores} "
        f"cores, up to {size(peak)} of memory a job, "
        f"{size(sum(cost.disk for cost in costs))} on disk.",
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds, in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes, in MiB or GiB."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
