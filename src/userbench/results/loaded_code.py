"""Checksums of the sources that a process has loaded: every record holds them.

By these, `userbench adopt` sees whether an edit can have changed an artefact, with or without git.
"""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

import userbench

PACKAGE = Path(userbench.__file__).parent
# Enough to find an edit: what a record says is no secret, and nobody attacks a cache.
DIGITS = 16
# Top-level packages of methods and views from elsewhere, noted as they are loaded.
OWN: set[str] = set()


def loaded_code() -> dict[str, str]:
    """Checksum of every source file that is loaded, by its path from where it is imported.

    Of a package of this suite that is loaded, its data files (templates, published values), too.
    """
    found, packages = {}, set()
    for name, module in [*sys.modules.items()]:
        path = getattr(module, "__file__", None) or ""
        if path.startswith(f"{PACKAGE}{os.sep}"):
            file = Path(path)
            found[code_name(file)] = file
            packages.add(file.parent)
        elif name.partition(".")[0] in OWN and path.endswith(".py"):
            part = "/__init__.py" if hasattr(module, "__path__") else ".py"
            found[name.replace(".", "/") + part] = Path(path)
    found |= {code_name(file): file for file, package in data_files() if package in packages}
    return {name: code_digest(found[name]) for name in sorted(found) if found[name].is_file()}


def code_name(file: Path) -> str:
    """The name of a file of this package in records: its path, `userbench/...`."""
    return file.relative_to(PACKAGE.parent).as_posix()


@cache
def code_digest(file: Path) -> str:
    """Checksum of a source file; the first answer counts, as the code was loaded before it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


@cache
def data_files() -> list[tuple[Path, Path]]:
    """The files of this package that are no Python, each with the folder of its own package."""
    files = (f for f in PACKAGE.rglob("*.*") if f.is_file() and f.suffix not in (".py", ".pyc"))
    packages = [folder.parent for folder in PACKAGE.rglob("__init__.py")]
    return [
        (f, max((p for p in packages if p in f.parents), key=lambda p: len(p.parts))) for f in files
    ]
