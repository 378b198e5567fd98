"""The processes of the workflow: what each did, when, for how long, and its peak memory."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from userbench.report.page.shown import read_table
from userbench.report.page.stories import Story, read_json
from userbench.results import artifact

PAUSE = 600  # seconds without a job that the chart of jobs leaves out


class Job(NamedTuple):
    """One process of the workflow: what it did, when (seconds since 1970), and its peak memory."""

    stage: str
    run: str
    corpus: str
    seeds: tuple[int, ...]  # several may share a process (`together.py`), data have none
    start: float
    end: float
    memory_mib: float | None


def seconds_of(provenance: dict[str, Any]) -> tuple[float, float]:
    """Start and end of the process that left this record, in seconds since 1970."""
    end = datetime.strptime(provenance["finished"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    return end - provenance["wall_seconds"], end


def job(
    stage: str,
    run: str,
    corpus: str,
    seeds: tuple[int, ...],
    records: list[dict[str, Any]],
    tsv: Path,
) -> Job:
    """A job from all records that one process left, and from its benchmark, where there is one."""
    times = [seconds_of(record) for record in records]
    memory = read_table(tsv, "\t")["max_rss"].max() if tsv.exists() else None
    start, end = min(s for s, _ in times), max(e for _, e in times)
    return Job(stage, run, corpus, seeds, start, end, None if pd.isna(memory) else float(memory))


def seeds_of(provenance: dict[str, Any], seed: int) -> tuple[int, ...]:
    """The seeds that shared the process which left this record of one of them."""
    return tuple(provenance.get("process_seeds") or (seed,))


def benchmark_of(stage: str, run: str, corpus: str, seeds: tuple[int, ...]) -> str:
    """The file in which the workflow measured such a process."""
    if stage == "baselines":
        return f"baselines/{corpus}.tsv"
    folder = {"fine-tuning": "finetune", "pre-training": "pretrain"}[stage]
    return f"{folder}/{run}/{corpus}/{'seeds' if len(seeds) > 1 else f'seed{seeds[0]}'}.tsv"


def gather_jobs(folder: Path, stories: list[Story], checkpoints: Iterable[Path]) -> list[Job]:
    """Jobs behind these scores and checkpoints, and those that made the data, by their start."""
    benchmarks, jobs = folder / "benchmarks", []
    for manifest in sorted(folder.glob("*/**/manifest.json")):
        where = manifest.parent.relative_to(folder)
        record = read_json(manifest)
        if "finished" in record:
            tsv = benchmarks / where.with_name(where.name + ".tsv")
            of = "/".join(where.parts[1:])
            jobs.append(job("data", where.parts[0], of, (), [record], tsv))
    processes: dict[tuple[str, str, str, tuple[int, ...]], list[dict[str, Any]]] = {}
    for one in stories:
        run, corpus, seed = (one.score[key] for key in ("run", "corpus", "seed"))
        if one.trained:
            key = ("fine-tuning", run, corpus, seeds_of(one.provenance, seed))
        else:
            key = ("baselines", "baselines", corpus, (seed,))
        processes.setdefault(key, []).append(one.provenance)
    for checkpoint in checkpoints:
        run, corpus, seed = checkpoint.parts[-4:-1]
        provenance = artifact.provenance_of(checkpoint)
        key = ("pre-training", run, corpus, seeds_of(provenance, int(seed[4:])))
        processes.setdefault(key, []).append(provenance)
    for key, records in processes.items():
        if all("finished" in record for record in records):
            jobs.append(job(*key, records, benchmarks / benchmark_of(*key)))
    return sorted(jobs, key=lambda one: one.start)


def without_pauses(jobs: list[Job]) -> list[dict[str, Any]]:
    """Jobs in minutes since the first one's start, pauses longer than PAUSE left out."""
    shown, busy, left_out = [], jobs[0].start if jobs else 0.0, 0.0
    origin = busy
    for one in jobs:
        if one.start - busy > PAUSE:
            left_out += one.start - busy
        busy = max(busy, one.end)
        begin = (one.start - origin - left_out) / 60
        shown.append(
            one._asdict()
            | {
                "begin": round(begin, 3),
                "finish": round(begin + (one.end - one.start) / 60, 3),
                "minutes": round((one.end - one.start) / 60, 3),
                "started": datetime.fromtimestamp(one.start).astimezone().isoformat(" ", "minutes"),
            }
        )
    return shown


def cost_per_row(jobs: list[Job], encoders: dict[str, str], labels: dict[str, str]) -> pd.DataFrame:
    """Minutes of each row's own processes, a mean over seeds, and their peak memory in MiB.

    `encoders` says whose pre-training a run fine-tunes: its own, or that of another run.
    """
    rows = []
    for run, label in labels.items():
        own = {"fine-tuning": run, "pre-training": encoders.get(run)}
        used = [one for one in jobs if own.get(one.stage) == one.run]
        if not used:
            continue
        minutes = {stage: 0.0 for stage in ("pre-training", "fine-tuning")}
        for one in used:
            minutes[one.stage] += (one.end - one.start) / 60
        seeds = len({seed for one in used for seed in one.seeds})
        memory = [one.memory_mib for one in used if one.memory_mib is not None]
        rows.append(
            {"row": label, "seeds": seeds}
            | {f"{stage}, minutes": round(spent / seeds, 1) for stage, spent in minutes.items()}
            | {"peak memory, MiB": np.round(max(memory, default=np.nan))}
        )
    return pd.DataFrame(rows)
