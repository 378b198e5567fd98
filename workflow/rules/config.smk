# Reads the config: validates it, finds the raw data, and names what the other files of rules use.
# A mistake stops here, in one line, before anything runs.
import ast
import difflib
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import jsonschema
import yaml
from snakemake.exceptions import WorkflowError


def read_yaml(path):
    return yaml.safe_load(Path(workflow.basedir, path).read_text(encoding="utf-8"))


SCHEMA = read_yaml("workflow/schemas/config.schema.yaml")
# Why: what may be chosen, its default and its reasons stand in one file, the ambiguity ledger.
LEDGER = [entry for entry in read_yaml("workflow/ambiguities.yaml") if entry["where"] != "none"]
SCHEMA["$defs"]["protocol"]["properties"] |= {
    entry["key"]: {
        "description": entry["question"],
        **entry.get("legal", {"enum": [choice["value"] for choice in entry["choices"]]}),
    }
    for entry in LEDGER
    if entry["where"] == "protocol"
}
CONFIG_FILE = ", ".join(map(str, workflow.configfiles)) or "the config"

METRICS = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
# The simple references of each kind of task, and what each is told beside the task.
BAGS = {"bag-of-items": {"history": "latest"}, "bag-of-items-long": {"history": "whole"}}
REFERENCES = {"classification": BAGS, "binary": BAGS, "top_n": {"popularity": {}}}


def wrong(where, what):
    """One line that names the file, the key and the remedy."""
    return WorkflowError(f"{CONFIG_FILE}: {where}: {what}")


def check_keys_once():
    """No key twice: YAML lets the last one win, in silence."""
    for name in workflow.configfiles:
        # Why: named as seen from where snakemake was called, and --directory is entered since.
        path = Path(name) if Path(name).is_file() else Path(workflow.workdir_init, name)
        if path.suffix == ".json" or not path.is_file():
            continue
        nodes = [yaml.compose(path.read_text(encoding="utf-8"))]
        while nodes:
            node = nodes.pop()
            if isinstance(node, yaml.SequenceNode):
                nodes += node.value
            elif isinstance(node, yaml.MappingNode):
                lines = {}
                for key, value in node.value:
                    line = key.start_mark.line + 1
                    if key.value in lines:
                        raise WorkflowError(
                            f"{path}:{line}: {key.value!r} is there twice, first in line "
                            f"{lines[key.value]}. Remove one of them"
                        )
                    lines[key.value] = line
                    nodes.append(value)


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


def check_keys(content, where=()):
    """Every key a text: YAML makes a number of 3 and a truth of `on`, which no schema looks at."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        if isinstance(content, dict) and not isinstance(key, str):
            place = ".".join(map(str, where)) or "top level"
            raise wrong(place, f"the key {key} is not a text. Put it in quotes")
        if isinstance(value, (dict, list)):
            check_keys(value, (*where, key))


def check_names():
    """Every name that points to another part of the config, or to a method, points somewhere."""
    runs = config["runs"]
    pretrained = [name for name, run in runs.items() if "method" in run and "encoder_of" not in run]
    for name, task in config["tasks"].items():
        if task["corpus"] not in config["corpora"]:
            raise wrong(f"tasks.{name}.corpus", f"no corpus {task['corpus']!r}")
    for name in config["corpora"].keys() - {task["corpus"] for task in config["tasks"].values()}:
        raise wrong(f"corpora.{name}", "no task is of it. Add one, or leave the corpus out")
    for name, run in runs.items():
        above = pretrained[: pretrained.index(name)] if name in pretrained else pretrained
        sources = {f"given.{field}": source for field, source in run.get("given", {}).items()}
        sources |= {key: run[key] for key in ("init_from", "encoder_of") if key in run}
        for key, source in sources.items():
            free = {"init_from": "none", "encoder_of": None}.get(key, "neighbours")
            if source not in (*above, free):
                raise wrong(f"runs.{name}.{key}", f"no pre-training run {source!r} above {name!r}")
        if "method" in run:
            check_module(f"runs.{name}.method", run["method"], "method")
        if "kind" in run.get("set", {}).get("views", {}):
            check_module(f"runs.{name}.set.views.kind", run["set"]["views"]["kind"], "view")
    named = {
        "table2": [*config.get("table2", {}).get("rows", [])],
        "table2.baseline": [config["table2"]["baseline"]] if "table2" in config else [],
        "fairness.controls": config.get("fairness", {}).get("controls", []),
        "tuning": config.get("tuning", {}),
        "sensitivity": [config["sensitivity"]] if "sensitivity" in config else [],
        **{
            study: runs_of_study(study) for study in ("ablation", "combination", "worlds", "labels")
        },
        "similarity": config.get("similarity", {}).get("rows", []),
    }
    for where, names in named.items():
        for run in names:
            if run not in runs:
                raise wrong(where, f"no run {run!r}; known: {', '.join(runs)}")
    for run in config.get("fairness", {}).get("controls", []):
        if run in config["table2"]["rows"]:
            raise wrong("fairness.controls", f"{run!r} is a row of table2. Leave it out here")
    check_studies()
    sizes = config["encoder"]
    if sizes["dim"] % sizes["heads"]:
        raise wrong("encoder.dim", f"{sizes['dim']} is no multiple of heads: {sizes['heads']}")
    last = config["pretrain"]["epochs"]
    for epoch in (*config["finetune"]["from_epochs"], *config["pretrain"].get("keep", [])):
        if epoch > last:
            raise wrong("finetune.from_epochs", f"epoch {epoch} is above pretrain.epochs: {last}")


def runs_of_study(study):
    """Runs that a study of the config names, each once."""
    asked = config.get(study, {})
    named = [*asked.get("rows", []), *asked.get("sweep", [])]
    named += [asked["full"]] if "full" in asked else []
    for pair in (*asked.get("pairs", []), *asked.get("differences", [])):
        named += pair
    return list(dict.fromkeys(named))


def check_studies():
    """What the figures need beside runs that are there."""
    for run in config.get("ablation", {}).get("sweep", []):
        coefficient = config["runs"][run].get("set", {}).get("coefficient")
        if not isinstance(coefficient, (int, float)):
            raise wrong("ablation.sweep", f"run {run!r} has no number as set.coefficient")
    if "similarity" in config:
        if config["similarity"]["corpus"] not in config["corpora"]:
            raise wrong("similarity.corpus", f"no corpus {config['similarity']['corpus']!r}")
        if config["similarity"].get("encode") == "training" and "dropout" in config["similarity"]:
            raise wrong(
                "similarity.dropout",
                "with encode: training, the rate is that of each pre-training. Leave it out",
            )
        for run in config["similarity"]["rows"]:
            if "method" not in config["runs"][run]:
                raise wrong("similarity.rows", f"run {run!r} pre-trains nothing: no checkpoint")
    for parameter in config.get("worlds", {}).get("parameters", []):
        for name, corpus in config["corpora"].items():
            if parameter not in corpus.get("simulate", {}).get("set", {}):
                raise wrong(
                    f"corpora.{name}", f"simulate.set lacks {parameter!r}, which worlds compares"
                )


def method_path(method):
    return method if "." in method else f"userbench.methods.{method}"


def views_path(kind):
    return kind if "." in kind else f"userbench.views.{kind}"


def check_module(where, module, kind):
    """A method, or a way to make views, is a module that can be found."""
    path = method_path(module) if kind == "method" else views_path(module)
    try:
        found = importlib.util.find_spec(path) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        file = f"no file {kind}s/{module}.py"
        remedy = "is its package importable? Set PYTHONPATH" if "." in module else file
        raise wrong(where, f"no {kind} {module!r}: {remedy}")


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

check_keys_once()
check_keys(config)
check_schema()
check_names()

EXPERIMENT = config["experiment"]
OUT = f"results/{EXPERIMENT}"
SEEDS = config["seeds"]
RAW = {n: raw_folder(n, c) for n, c in config["corpora"].items() if "simulate" not in c}
CORPORA = {n: c for n, c in config["corpora"].items() if "simulate" in c or RAW[n]}
TASKS = {n: t for n, t in config["tasks"].items() if t["corpus"] in CORPORA}
for name in config["corpora"].keys() - CORPORA.keys():
    empty = ", ".join(n for n, t in config["tasks"].items() if t["corpus"] == name)
    print(f"Corpus {name} is absent (no folder set): {empty} stay empty.", file=sys.stderr)

# A job takes one of the places that a GPU has; `--resources gpu=N` counts GPUs. Which one is free,
# the job finds out itself (`lease.py`).
PLACES = config.get("jobs_per_gpu", 1)
if "gpu" in workflow.global_resources:
    workflow.register_resource("gpu", workflow.global_resources["gpu"].value * PLACES)


def check_times():
    """Nothing made in the future, after a clock went back: edits would not be seen before then."""
    soonest = time.time() + 60 * MINUTES_OF_SKEW
    names = (Path(folder, name) for folder, _, names in os.walk(OUT) for name in names)
    for path in names:
        try:
            made = path.lstat().st_mtime
        except FileNotFoundError:  # deleted meanwhile, by a workflow that runs in this folder
            continue
        if made > soonest:
            then = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
            now = f"touch -d @{time.time():.0f}"
            raise WorkflowError(
                f"{path}: is of {then}, by a clock that was ahead; no edit before then would make "
                f"it again. Set the clock, or run: find {OUT} -newermt now -exec {now} {{}} +"
            )


# Why: clocks of the machines of one file system differ.
MINUTES_OF_SKEW = 10
if workflow.is_main_process:
    check_times()

# Why: `python` in a rule is the Python that runs Snakemake, its environment activated or not. And a
# shell without the trap dies of a SIGTERM to all processes of a job (Slurm sends it before the time
# is up) and ends the job, while its training still saves what it has.
shell.prefix(
    f'export PATH="{Path(sys.executable).parent}:$PATH" USERBENCH_JOBS_PER_GPU={PLACES}'
    f" USERBENCH_LIMIT_MINUTES={config.get('limit_minutes', 24 * 60)}; trap : TERM; "
)


def tasks_of(corpus):
    return {name: task for name, task in TASKS.items() if task["corpus"] == corpus}
