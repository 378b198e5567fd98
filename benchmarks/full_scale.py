"""Time and memory at the paper's full scale, on a simulated world of its size.

python -m benchmarks.full_scale --out docs/full-scale.csv

Makes raw files, stores, splits and CoSeRec's neighbours by the workflow (results/full_scale/, some
3 GB, which a second call finds there); then takes a hundred training steps of every method in a
process of its own, ranks one task's test users among all candidates, and reads a log of events
(`benchmarks/event_log.py`; `--only events` does that alone, and keeps the other rows of the file).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from benchmarks import event_log
from benchmarks.load import seconds_of_others
from userbench import finetune, pretrain
from userbench.data.arrays import behaviours_folder, peak_memory, read_checksums
from userbench.data.splits import TEST, load_split
from userbench.data.store import BehaviourStore
from userbench.errors import command
from userbench.model.encoder import EncoderConfig
from userbench.model.evaluation import evaluate
from userbench.model.tasks import load_examples
from userbench.plan.jobs import SPLITTING, Job, jobs_left
from userbench.results import artifact
from userbench.training.acceleration import chosen
from userbench.training.optimizer import Adam

EXPERIMENT = "full_scale"
WORLDS = {  # Table 1 of the paper; of App's items it knows 4,047
    "ttl": {"users": 1_470_149, "items": 645_972, "seed": 1},
    "app": {"users": 1_575_837, "items": 4_047, "seed": 2},
}
FEWEST = 200
EVENTS = "events"
RANKED = "click"
COLUMNS = ("what", "of", "count", "seconds", "core_seconds", "peak_memory_gib", "note")


@command
def main(argv: list[str] | None = None) -> None:
    """Measure everything and write it; an error ends with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="CSV of the measurements")
    parser.add_argument("--config", type=Path, default=Path("workflow/config/paper.yaml"))
    parser.add_argument(
        "--only", nargs="+", metavar="RUN", help="runs to train, or `events`; default: all"
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600, help="most for the steps of a run")
    parser.add_argument("--ranked", type=int, default=20_000, help="most test examples to rank")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--share", type=float, default=1.0, help="of the users and items")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # the process that measures one job
    args = parser.parse_args(argv)
    measure_job(args) if args.job else measure(args)


def measure(args: argparse.Namespace) -> None:
    """Measure what is asked for and write it."""
    started, others = time.perf_counter(), seconds_of_others()
    alone = args.only == [EVENTS]
    rows = [] if alone else measured_trainings(args)
    if not args.only or EVENTS in args.only:
        folder = Path("results") / EXPERIMENT / "event_log"
        rows.append(event_log.measured(folder, args.share, args.cores))
        print(line(rows[-1]), file=sys.stderr, flush=True)
    table, earlier = pd.DataFrame(rows, columns=COLUMNS), {}
    if alone and args.out.exists():
        before, facts = pd.read_csv(args.out), artifact.provenance_of(args.out)
        table = pd.concat([before[before["what"] != EVENTS], table])
        earlier = {"earlier": facts.get("earlier", facts)}
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.4g")
    artifact.write_text(args.out, text)
    seconds = time.perf_counter() - started
    busy = {"cores_busy_with_others": round((seconds_of_others() - others) / seconds, 2)}
    artifact.record(args.out, vars(args), seconds=round(seconds), **busy, **earlier)


def measured_trainings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Data first, then every run, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / f"{EXPERIMENT}.yaml"
        config.write_text(yaml.safe_dump(simulated(args.config, args.share), sort_keys=False))
        jobs = jobs_left([config], ["results/table2.csv"], everything=True)
        rows = made_by_workflow(jobs, config, args.cores)
    jobs = [job for job in jobs if on_ttl(job)]
    trained = {job.run: job for job in jobs if job.stage == "pretrain"}
    asked = [run for run in args.only or trained if run != EVENTS]
    if unknown := {*asked} - {*trained}:
        known = ", ".join([*trained, EVENTS])
        raise ValueError(f"--only {unknown.pop()}: measured are {known}")
    for run in asked:
        rows.append(in_its_own_process("steps", trained[run], args))
        print(line(rows[-1]), file=sys.stderr, flush=True)
    tuned = next(job for job in jobs if job.stage == "finetune" and job.run == "none")
    rows.append(in_its_own_process("rank", tuned, args))
    print(line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def simulated(config: Path, share: float) -> dict[str, Any]:
    """The experiment of a config with one seed, on simulated corpora of the paper's size."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    corpora = {}
    for name, corpus in content["corpora"].items():
        world = dict(WORLDS[corpus["format"]])
        for key in ("users", "items"):
            world[key] = max(FEWEST, round(world[key] * share))
        corpora[name] = {"format": corpus["format"], "simulate": world}
    return {**content, "experiment": EXPERIMENT, "seeds": [0], "corpora": corpora}


def on_ttl(job: Job) -> bool:
    """Whether a job reads the store of TTL, whose vocabulary is the large one."""
    return Path(job.store).name == "ttl"


def made_by_workflow(jobs: list[Job], config: Path, cores: int) -> list[dict[str, Any]]:
    """Let the workflow make what belongs to a corpus; what its benchmark files say."""
    root = Path("results") / EXPERIMENT
    wanted = [Path(job.outputs[0], artifact.CHECKSUMS) for job in jobs if job.stage in SPLITTING]
    wanted.append(root / "neighbours/interaction/ttl" / artifact.CHECKSUMS)
    words = ["snakemake", "--cores", str(cores), "--configfile", str(config), "--", *wanted]
    beside = Path(sys.executable).parent
    run = subprocess.run(words, env={**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"})
    if run.returncode:
        raise ValueError(f"snakemake ended with status {run.returncode}; see what it says above")
    stages = {
        "simulate": "simulate/{}.tsv",
        "store": "data/{}/**/*.tsv",
        "splits": "splits/interaction/{}/**/*.tsv",
        "neighbours": "neighbours/interaction/{}.tsv",
    }
    rows = []
    for stage, place in stages.items():
        for corpus in ("ttl", "app"):
            files = [*(root / "benchmarks").glob(place.format(corpus))]
            if not files:
                continue
            benchmarked = pd.concat([pd.read_csv(path, sep="\t").iloc[[-1]] for path in files])
            users = read_checksums(behaviours_folder(root / "data" / corpus))["users"]
            rows.append(
                {
                    "what": stage,
                    "of": corpus,
                    "count": users,
                    "seconds": benchmarked["s"].sum(),
                    "core_seconds": benchmarked["cpu_time"].sum(),
                    "peak_memory_gib": benchmarked["max_rss"].max() / 1024,
                    "note": "users",
                }
            )
    return rows


def in_its_own_process(what: str, job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """The row of one job, whose peak memory is its own."""
    words = [sys.executable, "-m", "benchmarks.full_scale", "--out", str(args.out)]
    words += ["--steps", str(args.steps), "--seconds", str(args.seconds)]
    words += ["--ranked", str(args.ranked), "--job", json.dumps([what, job.words])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"{what} of {job.run} ended with status {done.returncode}")
    return {"of": job.run, **json.loads(done.stdout.splitlines()[-1])}


def measure_job(args: argparse.Namespace) -> None:
    """Measure one job on one thread and print its row."""
    torch.set_num_threads(1)
    what, words = json.loads(args.job)
    measured = {"steps": training_steps, "rank": ranking}[what](words, args)
    print(json.dumps({"what": what, **measured}))


def training_steps(words: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Steps of a pre-training, cold: what it would start from has not been trained."""
    options = pretrain.options_of(pretrain.flags().parse_args(words))[0]
    options = chosen(replace(options, init=None, set=existing(options.set)), "cpu")
    store = open_store(options)
    method, train, *_ = pretrain.set_up(options, store)
    optimizer = Adam(method, method.config.lr, options.item_table, method.encoder.items)
    take_step = pretrain.Step(method, optimizer, {})
    method.train()

    def step(number: int) -> None:
        users = train[torch.randint(len(train), (options.batch_size,))]
        take_step(store.batch(users), number / args.steps)

    return {**timed(step, args.steps, args.seconds), "note": f"steps of {options.batch_size} users"}


def ranking(words: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Encode test users of one task and rank all candidates for each."""
    options = finetune.options_of(finetune.flags().parse_args(words))[0]
    options = chosen(options, "cpu")
    task = next(task for task in options.tasks if task.name == RANKED)
    store = open_store(options)
    split = load_split(options.splits, task.name)
    test = (split == TEST).nonzero()[:, 0]
    examples = load_examples(task, options.store, torch.device("cpu"))
    origin = finetune.Origin(init=None)
    model = finetune.build_model(task, examples, split, origin, options, store.n_items)
    some = test[: args.ranked]
    measured = timed(lambda _: evaluate(model, store, some), 1, args.seconds)
    note = f"test examples of {len(test):,}, {examples.n_candidates:,} candidates each"
    return {**measured, "count": len(some), "note": note}


def open_store(options: pretrain.Options | finetune.Options) -> BehaviourStore:
    """The store that a training reads."""
    sizes = EncoderConfig(n_items=0, **options.encoder)
    return BehaviourStore.open(options.store, sizes.max_length, torch.device("cpu"))


def existing(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the files that are not there: a generator that has not been trained."""
    kept = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            kept[name] = existing(value)
        elif not str(value).startswith("results/") or Path(value).exists():
            kept[name] = value
    return kept


def timed(step: Callable[[int], object], steps: int, most: float) -> dict[str, Any]:
    """How many steps were done in at most so many seconds, and what they took."""
    wall, core, done = time.perf_counter(), time.process_time(), 0
    while done < steps and time.perf_counter() - wall < most:
        step(done)
        done += 1
    return {
        "count": done,
        "seconds": time.perf_counter() - wall,
        "core_seconds": time.process_time() - core,
        "peak_memory_gib": peak_memory() / 2**30,
    }


def line(row: dict[str, Any]) -> str:
    """What was just measured, for whoever watches."""
    return (
        f"{row['what']} of {row['of']}: {row['count']:,} {row['note']} in {row['seconds']:.0f} s, "
        f"{row['peak_memory_gib']:.2f} GiB"
    )


if __name__ == "__main__":
    main()
