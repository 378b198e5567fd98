"""The source files of a command: as inputs of its jobs, so that an edit reruns what it can change.

Nothing is executed, and no other file is read: a broken method that no run uses stops nothing.
"""

import importlib.util
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CONFORMANCE = "conformance"  # imports all of this package that a user's own method may import


@cache
def sources(name: str) -> list[Path]:
    """The file of `userbench.<name>`, and those that it imports from this package.

    Raises:
        ValueError: a file among them is not Python.
    """
    finder = ModuleFinder([str(PACKAGE.parent)])
    try:
        finder.import_hook(f"{PACKAGE.name}.{name}")
    except SyntaxError as problem:
        what = f"{problem.filename}:{problem.lineno}: {problem.msg}"
        raise ValueError(f"{what}. Correct this file") from None
    files = [Path(found.__file__) for found in finder.modules.values() if found.__file__]
    return sorted(file for file in files if file.name != "__init__.py")


def part_sources(kind: str, name: str) -> list[Path]:
    """The files of a method or view; for a user's own, its folder and all that it may import."""
    if "." not in name:
        return sources(f"{kind}.{name}")
    own = Path(importlib.util.find_spec(name).origin)
    return [*own.parent.glob("*.py"), *sources(CONFORMANCE)]
