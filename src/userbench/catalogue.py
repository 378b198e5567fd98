"""List methods and augmentation strategies (views), their fields and defaults.

userbench methods [NAME...]
userbench methods --json < questions.json

With --json, it checks the parts of a config that only the methods' own code can check:
{"runs": {"ccl": {"method": "ccl", "overrides": {"lr": 0.001, "views": {"generator": "file"}}}},
"worlds": {"ttl": {"format": "ttl", "users": 100, "overrides": {"noise": 0.1}}}}
"""

import ast
import json
import sys
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from userbench import command_line
from userbench.data.simulation.world import choose_world, numbers
from userbench.errors import command, one_line
from userbench.method import configure, load_method
from userbench.view import load_views

HERE = Path(__file__).parent
NOTE = "Reconstruction:"


def answers(questions: dict[str, Any]) -> dict[str, Any]:
    """Errors in a config by its keys, and the notes of each method.

    `refusals`: messages by key, such as "runs.cl4srec.overrides"; `notes`: texts by method.
    """
    refusals, notes = {}, {}
    for name, asked in questions.get("runs", {}).items():
        try:
            module = load_method(asked["method"])
            notes[asked["method"]] = notes_of(module)
        except Exception as problem:  # Why: the user's own file may raise any error.
            refusals[f"runs.{name}.method"] = reason(problem)
            continue
        try:
            configure(module, asked["overrides"])
        except Exception as problem:
            refusals[f"runs.{name}.overrides"] = reason(problem)
    for name, asked in questions.get("worlds", {}).items():
        try:
            world = {key: numbers(value) for key, value in asked["overrides"].items()}
            choose_world(asked["format"], asked["users"], **world)
        except ValueError as problem:
            refusals[f"corpora.{name}.simulate.overrides"] = reason(problem)
    return {"refusals": refusals, "notes": notes}


def reason(problem: Exception) -> str:
    """An error as one line, with its type unless it is a ValueError."""
    text = one_line(str(problem))
    return text if isinstance(problem, ValueError) else f"{type(problem).__name__}: {text}"


def notes_of(module: ModuleType) -> list[str]:
    """Paragraphs of a method's docstring about its reconstruction."""
    paragraphs = [" ".join(text.split()) for text in (module.__doc__ or "").split("\n\n")]
    return [text for text in paragraphs if text.startswith(NOTE)]


def describe(kind: str, name: str) -> str:
    """First line of the docstring of a method or view, and its fields with their defaults."""
    module = load_method(name) if kind == "method" else load_views(name)
    config = module.Config if kind == "method" else module.Options
    head = f"{kind} {name}: {(module.__doc__ or '').strip().splitlines()[0]}"
    return "\n".join([head, *(f"  {field.name} = {default_of(field)}" for field in fields(config))])


def default_of(field: Field) -> str:
    """The default of a field, as Python writes it."""
    if field.default is not MISSING:
        return repr(field.default)
    return repr(field.default_factory()) if field.default_factory is not MISSING else "(required)"


def names_in(folder: str) -> list[str]:
    """The files of methods/ or views/."""
    return sorted(path.stem for path in (HERE / folder).glob("*.py") if path.stem != "__init__")


def summary(path: Path) -> str:
    """The first line of a file's docstring, without running the file."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except SyntaxError as problem:
        return f"cannot be read: {problem}"
    return text.partition("\n")[0]


@command
def main(argv: list[str] | None = None) -> None:
    """List methods and views, show the fields of some, or check parts of a config."""
    parser = command_line.parser("methods", __doc__)
    parser.add_argument(
        "names", nargs="*", help="methods or views whose fields to show; default: list all"
    )
    parser.add_argument(
        "--json", action="store_true", help="check the runs and worlds given on stdin"
    )
    args = parser.parse_args(argv)
    if args.json:
        print(json.dumps(answers(json.load(sys.stdin))))
        return
    for folder, kind in (("methods", "method"), ("views", "view")):
        for name in names_in(folder):
            if name in args.names:
                print(describe(kind, name))
            elif not args.names:
                print(f"{kind} {name}: {summary(HERE / folder / f'{name}.py')}")
    for name in args.names:
        if "." in name:
            print(describe("method", name))
        elif name not in names_in("methods") + names_in("views"):
            raise ValueError(f"no method or view {name!r}. `userbench methods` lists them")
