"""The command that is planned for a job, compared with the one in the record of its file."""

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

CALL = ["-m", "userbench"]  # after the name of Python
# Where data lie, how many bad lines are allowed, and how a machine is used: no reason to run again.
# What raw files hold is compared by checksum.
OF_THE_PLACE = {"raw", "max-bad-rows", "sha256", "state", "save-every", "threads"}
# Files that may lie anywhere, of which only those of the workflow are compared by their paths.
GIVEN, OF_THE_WORKFLOW = {"vectors"}, "results/"
SHOWN = 60


def differences(planned: Sequence[str], recorded: Sequence[str]) -> Iterator[str]:
    """Each setting of the planned command that is another one in the recorded command."""
    if list(recorded[1:3]) != CALL or list(recorded[3:4]) != list(planned[3:4]):
        yield f"command: {' '.join(planned[2:4])}, was {' '.join(recorded[2:4]) or 'not recorded'}"
        return
    now, then = flags(planned[4:]), flags(recorded[4:])
    for name in dict.fromkeys([*now, *then]):
        if now.get(name) != then.get(name):
            whether = f"{'' if name in now else 'not '}set, was {'' if name in then else 'not '}set"
            for what in [*unlike(now.get(name, []), then.get(name, []))] or [whether]:
                yield f"{name}: {what}"


def flags(words: Sequence[str]) -> dict[str, list[str]]:
    """What each flag says, without those of the place; before the first flag, of the name ''."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word.removeprefix("--")
            found.setdefault(name, [])
        else:
            found.setdefault(name, []).append(word)
    # Why: each seed has its own files, and which of them a process takes changes none.
    apart = {"seed"} if any("{seed}" in word for word in words) else set()
    for name in GIVEN & found.keys():
        found[name] = [word for word in found[name] if word.startswith(OF_THE_WORKFLOW)]
    return {name: of for name, of in found.items() if name not in OF_THE_PLACE | apart}


def unlike(now: list[str], then: list[str]) -> Iterator[str]:
    """How the values of a flag differ."""
    for new, old in zip_longest(now, then):
        if new != old:
            yield from unlike_values(parsed(new), parsed(old))


def unlike_values(now: Any, then: Any, place: str = "") -> Iterator[str]:
    """How two values differ; of JSON objects, each part that does."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in dict.fromkeys([*now, *then]):
            if now.get(key) != then.get(key):
                yield from unlike_values(now.get(key), then.get(key), f"{place}{key} ")
    else:
        yield f"{place}{told(now)}, was {told(then)}"


def parsed(text: str | None) -> Any:
    """The JSON object that a word holds, else the word."""
    try:
        return json.loads(text) if text is not None and text[:1] == "{" else text
    except ValueError:
        return text


def told(value: Any) -> str:
    """A value, in a few characters."""
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value)
    return (text if len(text) <= SHOWN else f"{text[:SHOWN]}...") or "empty"
