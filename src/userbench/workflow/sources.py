"""Which source files a command is made of: as inputs of its jobs, an edit reruns what it can move.

Nothing is executed, and no other file is read: a broken method that nobody uses stops nobody.
"""

import importlib.util
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CONFORMANCE = "conformance"  # imports all of ours that a method of the user's may import


@cache
def sources(name: str) -> list[Path]:
    """The files of `userbench.<name>` and of all that it imports of this package.

    ValueError for a file among them that is no Python.
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
    """The files of a method or of views; of a user's own, those of its folder and all of ours."""
    if "." not in name:
        return sources(f"{kind}.{name}")
    own = Path(importlib.util.find_spec(name).origin)
    return [*own.parent.glob("*.py"), *sources(CONFORMANCE)]
