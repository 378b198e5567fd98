"""What only a method knows is asked of it: whether it has a field, and takes its value.

`userbench methods --json` answers, in a process of its own, which may load torch. Answers are kept
by the checksum of question and code, so that a config is asked about once.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from userbench.experiment.config import Fields
from userbench.experiment.runs import ResolvedExperiment, with_inputs

PACKAGE = Path(__file__).parents[1]
CODE = (
    *("catalogue.py", "method.py", "view.py", "methods/*.py", "views/*.py"),
    "data/simulation/world.py",
)
CACHE = Path(".snakemake", "userbench")


def questions(resolved: ResolvedExperiment) -> Fields:
    """Every method with the fields that a run sets, and every simulated world."""
    return {
        "runs": {
            name: {
                "method": run.method,
                # Why a name: where these files will be, or whether, is no question of a field.
                "overrides": with_inputs(run.overrides, dict.fromkeys(run.inputs, "file")),
            }
            for name, run in resolved.runs.items()
            if run.method is not None
        },
        "worlds": {
            name: {
                "format": corpus.format,
                "users": corpus.simulate.users,
                "overrides": corpus.simulate.overrides,
            }
            for name, corpus in resolved.config.corpora.items()
            if corpus.simulate is not None
        },
    }


def ask(asked: Fields, cache: Path = CACHE) -> dict[str, Any]:
    """The answers to questions, from the cache where question and code are as they were.

    Raises:
        ValueError: the process that answers ended without an answer.
    """
    path = cache / f"{checksum(asked)}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    words = [sys.executable, "-m", "userbench", "methods", "--json"]
    run = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True)
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"methods cannot be asked about their fields: {last[0]}")
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(run.stdout, encoding="utf-8")
    partial.replace(path)
    return json.loads(run.stdout)


def checksum(asked: Fields) -> str:
    """SHA-256 of questions and of the code that answers them, modules of the user included."""
    found = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    files = [path for pattern in CODE for path in sorted(PACKAGE.glob(pattern))]
    named = {run["method"] for run in asked["runs"].values()}
    named |= {kind for run in asked["runs"].values() if (kind := kind_of_views(run["overrides"]))}
    files += [path for name in sorted(named) if "." in name and (path := file_of(name))]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()


def file_of(module: str) -> Path | None:
    """The file of a module of the user's; None where there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of the package that it would be in
        return None
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


def kind_of_views(overrides: Fields) -> str | None:
    """The augmentation strategy that a run names, if it names one."""
    views = overrides.get("views")
    return views.get("kind") if isinstance(views, dict) else None


def check_answers(answers: dict[str, Any]) -> None:
    """ValueError for the first refusal: its place in the config, and what is wrong."""
    for place, what in answers["refusals"].items():
        raise ValueError(f"{place}: {what}")
