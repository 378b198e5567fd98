"""Check whether a config can be run, before anything runs.

userbench check workflow/config/default.yaml

Prints what the config runs, or its first mistake in one line: file, key and remedy. Several files
are merged as Snakemake merges them: of a key that several have, the last one counts.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from userbench import command_line
from userbench.errors import command, one_line
from userbench.experiment.config import Experiment, Fields
from userbench.experiment.files import check_keys_are_texts, check_keys_once, read_configs
from userbench.experiment.names import check_names
from userbench.experiment.questions import ask, check_answers, questions
from userbench.experiment.runs import ResolvedExperiment, resolve

# Keys that had another name once.
RENAMED = {"set": "overrides", "given": "inputs", "baseline": "compared_with"}
REMOVED = {"together": "seeds of one process are always trained one after the other"}


def read_experiment(content: Fields, source: str, files: Iterable[Path] = ()) -> Experiment:
    """The config of an experiment, checked in itself; `source` names it in messages.

    `files` are what the content was read from: a key that is there twice shows in them alone.

    Raises:
        ValueError: a key is unknown, missing or of another type, or a name points nowhere.
    """
    for path in files:
        if path.suffix != ".json":
            check_keys_once(path)
    try:
        check_keys_are_texts(content)
        config = Experiment.model_validate(content)
        check_names(config)
    except ValidationError as errors:
        raise ValueError(one_line(f"{source}: {first_problem(errors)}")) from None
    except ValueError as problem:
        raise ValueError(one_line(f"{source}: {problem}")) from None
    return config


def resolve_checked(
    config: Experiment, source: str, absent: Iterable[str] = (), asks: bool = True
) -> tuple[ResolvedExperiment, list[str]]:
    """What a config implies, and what the methods of Table 2 say of how they were reconstructed.

    With `asks`, methods are asked whether they take the fields that runs set.

    Raises:
        ValueError: a run cannot be resolved, or a method refuses a field.
    """
    try:
        resolved = resolve(config, frozenset(absent))
        if not asks:
            return resolved, []
        answers = ask(questions(resolved))
        check_answers(answers)
    except ValueError as problem:
        raise ValueError(one_line(f"{source}: {problem}")) from None
    rows = [resolved.runs[row] for row in config.table2.rows] if config.table2 else []
    notes = answers["notes"]
    return resolved, [f"{run.label} - {note}" for run in rows for note in notes.get(run.method, [])]


def first_problem(errors: ValidationError) -> str:
    """The first thing that the model of a config refuses, with its key and a remedy.

    Of a key that may be of several types, the answers of all: only one of them was meant.
    """
    found = errors.errors(include_url=False)
    first = min(found, key=lambda error: error["type"] != "extra_forbidden")
    place = [part for part in first["loc"] if not is_type_name(part)]
    where = ".".join(map(str, place)) or "top level"
    if first["type"] == "extra_forbidden":
        return unknown_key(place)
    if first["type"] == "missing":
        above = ".".join(map(str, place[:-1])) or "top level"
        return f"{above}: the key {place[-1]!r} is missing. Add it"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    if place[-1:] == ["[key]"]:
        where = ".".join(map(str, place[:-1]))
        return f"{where}: {first['input']!r} is no name of small letters, digits, _ and -"
    said = [e["msg"] for e in found if e["loc"][: len(place)] == first["loc"][: len(place)]]
    said = " or ".join(dict.fromkeys(text.partition(" ")[2] for text in said))
    return f"{where}: {first['input']!r} {said}{hint(first['input'], said)}"


def hint(value: Any, said: str) -> str:
    """How to write a number that YAML or the config takes for something else; mostly empty."""
    if "number" not in said and "integer" not in said:
        return ""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    if isinstance(value, str):
        dot = ", or 1.0e-3 for 1e-3" if "e" in value.lower() else ""
        return f". It is read as a text: write {number:g}{dot}"
    return f": write {number:g}" if "integer" in said and number.is_integer() else ""


def is_type_name(part: Any) -> bool:
    """Whether a part of a place is pydantic's name of one of several types, and no key."""
    return isinstance(part, str) and (part == "constrained-int" or part.startswith("literal["))


def unknown_key(place: list[Any]) -> str:
    """A key that there is not, and one that may have been meant."""
    *above, unknown = place
    where = ".".join(map(str, above)) or "top level"
    known = list(model_at(above).model_fields)
    if RENAMED.get(unknown) in known:
        return f"{where}: {unknown!r} is now called {RENAMED[unknown]!r}. Rename it"
    if unknown in REMOVED and not above:
        return f"{where}: {unknown!r} is no longer a key: {REMOVED[unknown]}. Delete it"
    near = difflib.get_close_matches(unknown, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown key {unknown!r}; {hint}"


def model_at(place: Iterable[Any]) -> type[BaseModel]:
    """The part of the config's model that a place in a config is of."""
    model: Any = Experiment
    for part in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:  # the values of a mapping or of a list
            model = get_args(model)[-1]
        if get_origin(model) is UnionType:  # or None
            model = get_args(model)[0]
    return model


@command
def main(argv: list[str] | None = None) -> None:
    """Check the config that the files make together."""
    parser = command_line.parser("check", __doc__)
    parser.add_argument("config", type=Path, nargs="+", help="YAML; of several files, one config")
    parser.add_argument(
        "--no-methods", action="store_true", help="do not ask methods about their fields (faster)"
    )
    args = parser.parse_args(argv)
    source = ", ".join(map(str, args.config))
    config = read_experiment(read_configs(args.config), source)
    resolved, _ = resolve_checked(config, source, asks=not args.no_methods)
    sizes = f"{len(resolved.runs)} runs x {len(config.seeds)} seeds x {len(config.tasks)} tasks"
    print(f"{source}: experiment {config.experiment}, {sizes}")
