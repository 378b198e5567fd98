"""The commit of the source tree that runs, for provenance records; why, where it is not known."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""The key of the reason why a commit, or whether it was changed since, is not known."""


class NoAnswer(Exception):
    """Git could not answer; the message says why."""


@cache
def git_state(here: Path = Path(__file__)) -> dict[str, Any]:
    """Commit of the source tree and whether it was changed since; empty outside a checkout.

    `unknown` holds the reason where there is a checkout and git could not answer. The first answer
    counts for the whole process: the code that runs was loaded before it.
    """
    if not any((folder / ".git").exists() for folder in here.parents):
        return {}
    state: dict[str, Any] = {}
    try:
        # Why: installed as a wheel inside somebody else's checkout, that commit would not be ours.
        if not git(here, "ls-files", here.name):
            return {}
        state["commit"] = git(here, "rev-parse", "HEAD")
        state["changed"] = bool(git(here, "status", "--porcelain", "--untracked-files=no"))
    except NoAnswer as reason:
        state[UNKNOWN] = str(reason)
    return state


def git(here: Path, *words: str) -> str:
    """What git prints in the folder of a file; NoAnswer where it is absent or refuses."""
    try:
        run = subprocess.run(["git", "-C", here.parent, *words], capture_output=True, text=True)
    except OSError as problem:
        raise NoAnswer(f"git cannot be run here ({problem.strerror})") from None
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines() or [f"status {run.returncode}"]
        raise NoAnswer(f"git {words[0]}: {lines[0]}")
    return run.stdout.strip()
