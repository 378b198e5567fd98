"""Snakemake as its users call it, on a config that a test changes; the jobs that it plans."""

import gc
import multiprocessing
import os
import sys
import tempfile
import warnings
from pathlib import Path

import yaml
from repository import PROGRAMS, ROOT
from smoke_config import STUDIES
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

# Why: loading Snakemake takes as long as a dry run. Calls are forked from a process that has loaded
# it, and nothing of ours; what they do after that is what the command does.
LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(["snakemake.cli", "snakemake.report", "pydantic", "pytest"])


def snakemake(folder, *words, **environment):
    """Call snakemake on the package in `folder`; return exit status and everything it printed."""
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith("USERBENCH_")},
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    with tempfile.NamedTemporaryFile("r") as log:
        asked = (folder, ["--cores", "2", *words], variables, log.name)
        call = LOADED.Process(target=call_snakemake, args=asked)
        call.start()
        call.join()
        return call.exitcode, log.read()


def call_snakemake(folder, words, variables, log):
    """`snakemake` in a process that has loaded it, as if it had just been started in `folder`."""
    from snakemake.cli import main

    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = ["", *variables["PYTHONPATH"].split(os.pathsep)]
    sys.argv = [str(PROGRAMS / "snakemake"), *words]
    main()


def config_flags(folder, **changes):
    """The smoke config with changes, as a file; where runs are others, without the figures."""
    content = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    if "runs" in changes:
        for study in STUDIES:
            del content[study]
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path), "--"]


def refusal(config: Path, text: str) -> str:
    """The message that refuses a config, found in this process: starting another takes seconds."""
    config.write_text(text)
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[config]),
                snakefile=ROOT / "Snakefile",
                workdir=config.parent,
            ).list_rules()
    except WorkflowError as refused:
        return str(refused)
    finally:
        with warnings.catch_warnings():  # Snakemake leaves a temporary folder to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return ""


def job_counts(output):
    """Jobs per rule, from the table that a dry run prints."""
    lines = [line.split() for line in output.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
