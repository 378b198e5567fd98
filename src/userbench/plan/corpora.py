"""Corpora to measure jobs on: those that exist, or small ones made as the jobs would make them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from userbench.data.arrays import behaviours_folder, read_checksums, read_manifest
from userbench.plan.jobs import (
    MAKING,
    READING,
    SPLITTING,
    WITH_STORES,
    Job,
    changed,
    within,
)
from userbench.results.artifact import CHECKSUMS, write_json

# Why: a larger corpus is scaled up from one of this size, which is simulated and read in seconds.
USERS = 20_000


class Cost(NamedTuple):
    """What one job takes."""

    seconds: float
    memory: float = 0.0  # bytes, peak
    disk: float = 0.0  # bytes that stay


class Corpus(NamedTuple):
    """A store to measure on; the real one has `scale` times as many users."""

    store: Path
    splits: dict[str, Path]
    scale: float
    costs: dict[str, Cost]
    """Of the jobs that make it, by the path that each writes."""


def stores_of(jobs: Iterable[Job]) -> list[str]:
    """Every array store that the jobs make or train on."""
    named = [job.store for job in jobs if job.stage in WITH_STORES]
    return [path for path in dict.fromkeys(named) if path]


def corpus(path: str, jobs: list[Job], folder: Path) -> Corpus:
    """A store to measure on: the one that is there, or a small one made as the jobs would.

    ValueError for data that are there and were not read yet.
    """
    reading = [job for job in jobs if job.stage in READING and job.store == path]
    raw = reading[0].flags["raw"][0] if reading else ""
    simulated = [job for job in jobs if job.stage == "simulate" and raw in job.outputs]
    making = [job for job in jobs if job.stage in MAKING and job.store == path]
    if not simulated:
        parts = [job.outputs[0] for job in reading]
        if missing := [part for part in parts if not Path(part).exists()]:
            targets = " ".join(f"{part}/checksums.json" for part in missing)
            raise ValueError(
                f"{missing[0]} is not there yet, and what it holds is known once it is read. First "
                f"run: snakemake --cores 1 --configfile <the same> -- {targets}"
            )
        others = [job for job in making if job not in reading]
        made = made_from(others, jobs, folder / Path(path).name, path, {})
        read = {job.outputs[0]: cost_of_reading(job) for job in reading}
        return made._replace(costs={**read, **made.costs})
    flags, making = simulated[0].flags, [*simulated, *making]
    users = int(flags["users"][0])
    few = min(users, USERS)

    def small(name: str, count: int) -> Corpus:
        places = {raw: folder / name / "raw", path: folder / name / "store"}
        return made_from(making, jobs, folder / name, path, places, count)

    made = small(Path(path).name, few)
    if few == users:
        return made
    half = small(f"{Path(path).name}-half", few // 2)
    pretend_items(made.store, int(flags["items"][0]))
    costs = {p: extrapolated(half.costs[p], made.costs[p], users / (few / 2)) for p in made.costs}
    return Corpus(made.store, made.splits, users / few, costs)


def cost_of_reading(job: Job) -> Cost:
    """What it took to read the parts of a store that are there."""
    manifest = read_manifest(Path(job.outputs[0]))
    size = sum(size_of(Path(part)) for part in job.outputs)
    return Cost(manifest["seconds"], manifest["peak_memory_gib"] * 2**30, size)


def made_from(
    making: list[Job],
    jobs: list[Job],
    folder: Path,
    path: str,
    places: dict[str, Path],
    users: int | None = None,
) -> Corpus:
    """Run the jobs that make a store and what belongs to it, each below `folder`.

    `places` says where the raw folder and the store are made, if they are; of a simulated world,
    the first `users` are. Of splits that are there in part, the other parts are taken.
    """
    costs, places = {}, dict(places)
    drawn = [p for job in jobs if job.store == path for p in job.flags.get("splits", [])]
    drawn = list(dict.fromkeys(drawn))
    for job in making:
        (out,) = job.outputs
        if job.stage in SPLITTING:
            out = within(out)
        places.setdefault(out, Path(folder, out.replace("/", "_")))
    made = {out for job in making for out in job.outputs}
    for splits_folder in drawn:
        if splits_folder in places:
            add_parts(places[splits_folder], Path(splits_folder), made)
    for job in making:
        words = [moved(word, places) for word in job.words]
        few = {"users": str(users)} if job.stage == "simulate" else {}
        seconds, memory = run_alone("-m", "userbench", job.command, *changed(words, **few))
        out = job.outputs[0]
        costs[out] = Cost(seconds, memory, size_of(Path(moved(out, places))))
    return Corpus(Path(moved(path, places)), {p: Path(moved(p, places)) for p in drawn}, 1.0, costs)


def moved(word: str, places: dict[str, Path]) -> str:
    """A word of a command, where it names something in one of the places: its path there."""
    for old, new in places.items():
        if word == old or word.startswith(f"{old}/"):
            return f"{new}{word.removeprefix(old)}"
    return word


def add_parts(folder: Path, there: Path, made: set[str]) -> None:
    """Link into a folder the parts of splits that are there and are not `made` again."""
    for part in (there / "users", *(there / "tasks").glob("*")):
        if part.exists() and str(part) not in made:
            link = folder / part.relative_to(there)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(part.resolve())


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run_alone(*words: str) -> tuple[float, int]:
    """CPU seconds and peak bytes of Python in a process of its own.

    ValueError with the last line it says where it fails.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise ValueError(f"{' '.join(words[:2])}: {output.read().strip().splitlines()[-1]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def extrapolated(half: Cost, whole: Cost, times: float) -> Cost:
    """Cost at `times` as many users as those of `half`, on the line through it and `whole`."""
    return Cost(*(h + max(w - h, 0) * (times - 1) for h, w in zip(half, whole, strict=True)))


def pretend_items(folder: Path, items: int) -> None:
    """Let a small store have the catalogue of the large one, of which its users know a part."""
    behaviours = behaviours_folder(folder)
    content = read_checksums(behaviours)
    write_json(behaviours / CHECKSUMS, {**content, "items": items})
