# Reads the config: validates it, finds the raw data, and names what the other files of rules use.
# A mistake stops here, in one line, before anything runs.
import difflib
import importlib.util
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import jsonschema
import yaml
from snakemake.exceptions import WorkflowError

SCHEMA = yaml.safe_load(Path(workflow.basedir, "workflow/schemas/config.schema.yaml").read_text())
CONFIG_FILE = ", ".join(map(str, workflow.configfiles)) or "the config"

METRICS = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
REFERENCES = {"classification": "bag-of-items", "binary": "bag-of-items", "top_n": "popularity"}


def wrong(where, what):
    """One line that names the file, the key and the remedy."""
    return WorkflowError(f"{CONFIG_FILE}: {where}: {what}")


def check_schema():
    """Every key known, every value of its type and range."""
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(config)
    error = jsonschema.exceptions.best_match(errors)
    if error is None:
        return
    what = error.message
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        what = f"unknown key {unknown!r}; {hint}"
    raise wrong(".".join(map(str, error.absolute_path)) or "top level", what)


def check_names():
    """Every name that points to another part of the config, or to a method, points somewhere."""
    runs = config["runs"]
    for name, task in config["tasks"].items():
        if task["corpus"] not in config["corpora"]:
            raise wrong(f"tasks.{name}.corpus", f"no corpus {task['corpus']!r}")
    for name, run in runs.items():
        start = run.get("init_from")
        if start is not None and "method" not in runs.get(start, {}):
            raise wrong(f"runs.{name}.init_from", f"no pre-training run {start!r} above")
        if start is not None and list(runs).index(start) >= list(runs).index(name):
            raise wrong(f"runs.{name}.init_from", f"{start!r} must stand above {name!r}")
        method = run.get("method")
        if method is not None and not method_exists(method):
            raise wrong(f"runs.{name}.method", f"no file methods/{method}.py")
    for run in [*config["table2"]["rows"], config["table2"]["baseline"]]:
        if run not in runs:
            raise wrong("table2", f"no run {run!r}; known: {', '.join(runs)}")
    last = config["pretrain"]["epochs"]
    for epoch in (*config["finetune"]["from_epochs"], *config["pretrain"].get("keep", [])):
        if epoch > last:
            raise wrong("finetune.from_epochs", f"epoch {epoch} is above pretrain.epochs: {last}")


def method_path(method):
    return method if "." in method else f"userbench.methods.{method}"


def method_exists(method):
    try:
        return importlib.util.find_spec(method_path(method)) is not None
    except ModuleNotFoundError:
        return False


def raw_folder(name, corpus):
    """The real folder or zip of a corpus: from the config, else from its environment variable."""
    variable = corpus.get("raw_env", "")
    path = corpus.get("raw") or os.environ.get(variable, "")
    remedy = f"Set corpora.{name}.raw" + (f" or {variable}" if variable else "")
    if not path and not corpus.get("optional"):
        raise wrong(f"corpora.{name}", f"the folder of the real data is not set. {remedy}")
    if path and not Path(path).exists():
        raise wrong(f"corpora.{name}", f"{path} does not exist. {remedy}")
    return path


spec = importlib.util.find_spec("userbench")
if spec is None or not Path(spec.origin).is_relative_to(workflow.basedir):
    raise WorkflowError("userbench is not installed from this folder. Run: pip install -e .")

check_schema()
check_names()

EXPERIMENT = config["experiment"]
OUT = f"results/{EXPERIMENT}"
SEEDS = config["seeds"]
RUNS = config["runs"]
RAW = {n: raw_folder(n, c) for n, c in config["corpora"].items() if "simulate" not in c}
CORPORA = {n: c for n, c in config["corpora"].items() if "simulate" in c or RAW[n]}
TASKS = {n: t for n, t in config["tasks"].items() if t["corpus"] in CORPORA}
for name in config["corpora"].keys() - CORPORA.keys():
    empty = ", ".join(n for n, t in config["tasks"].items() if t["corpus"] == name)
    print(f"Corpus {name} is absent (no folder set): {empty} stay empty.", file=sys.stderr)

LAST_EPOCH = config["pretrain"]["epochs"]
FROM_EPOCHS = config["finetune"]["from_epochs"]
KEPT_EPOCHS = sorted({LAST_EPOCH, *FROM_EPOCHS, *config["pretrain"].get("keep", [])})
# Why: an undeclared resource is unlimited, and every training would go to one GPU at once.
DEVICE = config["device"]
if DEVICE == "auto":
    DEVICE = "cuda" if shutil.which("nvidia-smi") else "cpu"
GPUS = 0 if DEVICE == "cpu" else 1


wildcard_constraints:
    corpus="|".join(CORPORA),
    run="|".join(RUNS),
    seed="[0-9]+",


# Why: `python` in a rule is the Python that runs Snakemake, its environment activated or not.
shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')


def tasks_of(corpus):
    return {name: task for name, task in TASKS.items() if task["corpus"] == corpus}
