"""The jobs of a workflow that are left, as a dry run of Snakemake lists them."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from userbench.data.arrays import behaviours_folder
from userbench.data.splits import task_data, user_data

OUTPUT_FLAGS = ("out", "csv", "md", "tex", "html")
TRAINING = ("pretrain", "finetune")
EVENTS_CORPUS, EVENTS_TASK = "events_corpus", "events_task"
READING = ("behaviours", "task", EVENTS_CORPUS, EVENTS_TASK)
SPLITTING = ("user_split", "task_split")
MAKING = ("simulate", *READING, *SPLITTING, "neighbours")
OF_A_CORPUS = (*MAKING, "baselines", "counts")
WITH_STORES = (*TRAINING, *OF_A_CORPUS, "embed", "frozen")
# Of `embed`, what stands for the name of a file in its --out.
CANDIDATE = "/{candidate}.parquet"
# What a command with several parts does in each: the name of its rule.
PARTS = {
    "ingest": {"behaviours": "behaviours", "task": "task"},
    "events": {"corpus": EVENTS_CORPUS, "task": EVENTS_TASK},
    "split": {"users": "user_split", "examples": "task_split"},
}
# Ways to use a GPU, and what a CPU does instead.
ON_A_CPU = {"precision": "fp32", "capture": "none"}


@dataclass(frozen=True)
class Job:
    """One command of the workflow."""

    command: str
    words: list[str] = field(repr=False)

    @property
    def stage(self) -> str:
        """What the command does, by its name or that of its part."""
        parts = PARTS.get(self.command)
        return parts[self.words[0]] if parts else self.command

    @property
    def flags(self) -> dict[str, list[str]]:
        """Values of each flag; of one that is repeated, all of them."""
        found: dict[str, list[str]] = {}
        name = ""
        for word in self.words:
            if word.startswith("--"):
                name = word.removeprefix("--")
                found.setdefault(name, [])
            else:
                found.setdefault(name, []).append(word)
        return found

    @property
    def wants_gpu(self) -> dict[str, str]:
        """Of the ways to use a GPU, those that it is to take though it runs on a CPU."""
        flags = self.flags
        if flags.get("device") != ["cpu"]:
            return {}
        wanted = {name: flags[name][0] for name in ON_A_CPU if name in flags}
        return {name: value for name, value in wanted.items() if value != ON_A_CPU[name]}

    @property
    def seeds(self) -> list[str]:
        """Seeds that it goes through, each of which takes the place of `{seed}` in a path."""
        return self.flags.get("seed", [""])

    @property
    def outputs(self) -> list[str]:
        """Files and folders that it writes."""
        flags = self.flags
        if self.stage == EVENTS_CORPUS:
            return [f"{self.store}/{part}" for part in ("behaviours", "ids", "held_out")]
        tasks = [json.loads(task) for task in flags.get("task", [])]
        named = [p.removesuffix(CANDIDATE) for flag in OUTPUT_FLAGS for p in flags.get(flag, [])]
        return self.of_each_seed(named + [task["out"] for task in tasks if "out" in task])

    @property
    def inputs(self) -> list[str]:
        """Files of the workflow that it reads."""
        named = [word.rpartition("=")[2] for word in self.words if " " not in word] + self.data
        paths, written = self.of_each_seed(named), self.outputs
        return [path for path in paths if path.startswith("results/") and path not in written]

    def of_each_seed(self, paths: list[str]) -> list[str]:
        """The paths with every seed in place of `{seed}`."""
        written = [path.replace("{seed}", seed) for path in paths for seed in self.seeds]
        return list(dict.fromkeys(written))

    @property
    def data(self) -> list[str]:
        """Folders that it reads of its store and of its splits."""
        flags = self.flags
        if self.stage == EVENTS_TASK:
            return [str(behaviours_folder(Path(self.store)))]
        if not {"store", "splits"} <= flags.keys():
            return []
        store, splits = Path(flags["store"][0]), Path(flags["splits"][0])
        tasks = [json.loads(task)["name"] for task in flags.get("task", [])]
        tasks += [*flags.get("hold-out", []), *flags.get("hold-out-others", [])]
        return [*map(str, [*user_data(store, splits), *task_data(store, splits, tasks)])]

    @property
    def store(self) -> str:
        """The store that it reads or makes a part of; empty of what has to do with none."""
        flags = self.flags
        if self.stage == EVENTS_CORPUS:
            return self.flags["out"][0]
        if self.stage in READING:
            return within(flags["out"][0])
        if self.stage in SPLITTING:
            return within(flags.get("behaviours", flags.get("examples"))[0])
        return flags.get("store", [""])[0]

    @property
    def run(self) -> str:
        """The run, or the corpus, that it belongs to."""
        if self.stage == "pretrain":
            return Path(self.flags["out"][0]).parts[-3]
        if self.stage in ("finetune", "similarity", "embed", "frozen"):
            return self.flags["run"][0]
        return self.corpus if self.stage in OF_A_CORPUS else "-"

    @property
    def corpus(self) -> str:
        """Name of the corpus that it makes or reads; of a report, nothing of use."""
        return Path(self.store or self.flags.get("out", [""])[0]).name


def within(part: str) -> str:
    """The store, or the splits, of which a folder is a part: behaviours, users, tasks/<task>."""
    folder = Path(part).parent
    return str(folder.parent if folder.name == "tasks" else folder)


def on_a_cpu(job: Job) -> Job:
    """The job as the CPU that it runs on can do it."""
    return replace(
        job, words=changed(job.words, **{name: ON_A_CPU[name] for name in job.wants_gpu})
    )


def changed(words: list[str], **changes: str | Path) -> list[str]:
    """A command with other values for some of its flags."""
    words = list(words)
    for name, value in changes.items():
        words[words.index(f"--{name}") + 1] = str(value)
    return words


def jobs_left(
    configs: list[Path], targets: list[str], everything: bool, seeds_together: bool | None = None
) -> list[Job]:
    """The jobs that Snakemake would run, in an order in which they could.

    `seeds_together`: whether all seeds of a run share a job; None: as the config says. ValueError
    with what Snakemake says where it refuses the config, of one file or several.
    """
    words = ["snakemake", "-n", "-p", "--cores", "1", "--configfile", *map(str, configs)]
    words += (
        ["--config", f"seeds_together={str(seeds_together).lower()}"]
        if seeds_together is not None
        else []
    )
    words += ["--forceall"] * everything + ["--", *targets]
    beside = Path(sys.executable).parent
    run = subprocess.run(
        words,
        env={**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = run.stdout
    if run.returncode != 0:
        # Its last words, before the places in its rules where it found out.
        lines = [line for line in said.splitlines() if line.strip() and line[:7] != "  File "]
        raise ValueError(lines[-1] if lines else "snakemake said nothing")
    return list(parse_jobs(said))


def parse_jobs(said: str) -> Iterator[Job]:
    """The commands that a dry run prints."""
    for line in re.findall(r"^Shell command: (.*)$", said, re.MULTILINE):
        words = words_of(line)
        if words[:3] == ["python", "-m", "userbench"]:
            yield Job(words[3], words[4:])


def words_of(command: str) -> list[str]:
    """The words of a rule's command as the shell reads them, without where its output goes."""
    words = shlex.split(re.sub(r" > \S+( 2>&1)?$", "", command.strip()))  # a label may have a " > "
    return words[1:] if words[:1] == ["exec"] else words
