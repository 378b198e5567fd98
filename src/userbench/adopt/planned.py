"""The jobs that Snakemake plans for a config, and what it knows of their files."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

from userbench.adopt.job import PlannedJob
from userbench.plan.jobs import words_of

SNAKEFILE = Path("Snakefile")
# Older than any source; not 0, which Snakemake takes for "there is no time".
LONG_AGO = 86400.0
TIME_OF_A_FOLDER = ".snakemake_timestamp"


class Plan:
    """All jobs of a config, each after those whose files it reads."""

    def __init__(self, workflow: Any):
        self.persistence = workflow.persistence
        self.planned = {
            planned_job(job): job
            for level in workflow.dag.toposorted()
            for job in sorted(level, key=lambda job: list(job.output))
            if job.output
        }

    @property
    def jobs(self) -> list[PlannedJob]:
        """The jobs in an order in which they could run."""
        return list(self.planned)

    def forget(self, jobs: Iterable[PlannedJob]) -> None:
        """Let Snakemake run these again, whatever it knows of files of these names.

        Why the time: without its own records Snakemake compares nothing else.
        """
        for job in jobs:
            self.persistence.cleanup(self.planned[job])
            for path in map(Path, job.outputs):
                for file in (path, path / TIME_OF_A_FOLDER):
                    if file.exists():
                        os.utime(file, (LONG_AGO, LONG_AGO))


def planned_job(job: Any) -> PlannedJob:
    """A job of Snakemake's as plain values."""
    return PlannedJob(
        tuple(map(str, job.input)),
        tuple(map(str, job.output)),
        tuple(words_of(job.shellcmd or "")),
        job.params.get("content") or "",
    )


@contextmanager
def plan(configs: list[Path]) -> Iterator[Plan]:
    """The plan of the workflow in this folder.

    Raises:
        ValueError: there is no workflow here, or it refuses the config.
    """
    if not SNAKEFILE.is_file():
        raise ValueError(f"{SNAKEFILE}: is not here. Run this in the folder of the workflow")
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            loaded = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=configs),
                snakefile=SNAKEFILE,
            )
            loaded.dag()
            # Why not the command line: it names neither the inputs of a job nor its params.
            workflow = loaded._workflow
            workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=False)
            workflow._build_dag()
            yield Plan(workflow)
    except WorkflowError as refused:
        raise ValueError(str(refused)) from None


def mark_current(configs: list[Path], jobs: list[PlannedJob]) -> None:
    """Let Snakemake take the files of these jobs for just made; the jobs they read are among them.

    Raises:
        ValueError: Snakemake refuses, e.g. because another workflow runs.
    """
    read = {path for job in jobs for path in job.inputs}
    last = [job.outputs[0] for job in jobs if read.isdisjoint(job.outputs)]
    words = ["--touch", "--forceall", "--rerun-incomplete", "--cores", "all"]
    words += ["--configfile", *map(str, configs), "--", *last]
    beside = Path(sys.executable).parent
    run = subprocess.run(
        ["snakemake", *words],
        env={**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if run.returncode != 0:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        raise ValueError(f"snakemake --touch: {lines[-1] if lines else 'said nothing'}")
