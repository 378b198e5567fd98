# Reads the config: what is wrong with it is said here, in one line, before anything runs. What it
# implies (runs, trials, tables) is in src/userbench/experiment/.
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

if {"{", "}"} & set(workflow.basedir):
    problem = "Snakemake takes braces for wildcards. Rename this folder"
    raise WorkflowError(f"{workflow.basedir}: {problem}")
# Why resolved: a checkout may be reached through a link.
ROOT = Path(workflow.basedir).resolve()
spec = importlib.util.find_spec("userbench")
if spec is None:
    raise WorkflowError("userbench is not installed. Run: pip install -e .")
if not Path(spec.origin).resolve().is_relative_to(ROOT):
    where = f"userbench is installed from {spec.origin}, not from {ROOT}"
    raise WorkflowError(f"{where}. Run there: pip install -e .")

from userbench.errors import describe_error
from userbench.experiment import settings
from userbench.experiment.check import read_experiment, resolve_checked
from userbench.experiment.figures import figures
from userbench.experiment.layouts import ITEM_COUNTS, controls_of, encoders_of, runs_behind
from userbench.experiment.runs import NEIGHBOURS, with_inputs
from userbench.experiment.corpora import EVENTS
from userbench.workflow.raw import checksums_of, content_of, content_of_tables, raw_paths
from userbench.workflow.vectors import check_given, given_paths, vectors_content

SOURCE = ", ".join(map(str, workflow.configfiles)) or "the config"


def or_stop(ask, *words):
    """What a function returns; an error of the user or the system stops the workflow in one line."""
    try:
        return ask(*words)
    except ValueError as problem:
        raise WorkflowError(str(problem))
    except OSError as problem:
        raise WorkflowError(describe_error(problem))


def either(names):
    """The regular expression of these names; of none, one that nothing matches."""
    return "|".join(map(re.escape, names)) or "(?!)"


# Why: a config file is named as seen from where snakemake was called, before --directory.
FILES = [Path(workflow.workdir_init, path) for path in workflow.configfiles]
CONFIG = or_stop(read_experiment, config, SOURCE, FILES)
RAW = or_stop(raw_paths, CONFIG, SOURCE)
ABSENT = [name for name, path in RAW.items() if not path]
EXPERIMENT, NOTES = or_stop(resolve_checked, CONFIG, SOURCE, ABSENT, workflow.is_main_process)
or_stop(check_given, EXPERIMENT, SOURCE)

SEEDS, CORPORA, TASKS, RUNS = CONFIG.seeds, EXPERIMENT.corpora, EXPERIMENT.tasks, EXPERIMENT.runs
FIXED = [name for name, corpus in CORPORA.items() if corpus.format != EVENTS]
LOGS = [name for name, corpus in CORPORA.items() if corpus.format == EVENTS]
for name in ABSENT:
    empty = ", ".join(task for task, of in CONFIG.tasks.items() if of.corpus == name)
    print(f"Corpus {name} is absent (no folder set): {empty} stay empty.", file=sys.stderr)


wildcard_constraints:
    corpus=either(CORPORA),
    run=either(RUNS),
    by="interaction|user",
    seed="[0-9]+",
    task=either(TASKS),
