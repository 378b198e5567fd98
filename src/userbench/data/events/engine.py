"""DuckDB as what groups and sorts events: in memory as far as it may, and then on disk.

It gets Arrow batches with types of their own, so that it never guesses one from a text.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from userbench.errors import REMEDIES, CannotWrite
from userbench.results.artifact import HOST, delete, delete_abandoned

MEMORY = "2GB"  # beyond it, parts of tables go to the disk; Python's own memory comes on top


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def engine(beside: Path, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in a folder beside a path, which is deleted at the end.

    Folders of processes that were killed are deleted, too.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    name = f".{beside.name}.sorting"
    folder = beside.with_name(f"{name}.{HOST}.{os.getpid()}.partial")
    delete_abandoned(beside.parent, name, folder)
    settings = {
        "threads": threads,
        "memory_limit": MEMORY,
        "temp_directory": str(folder / "overflow"),
        # Why: every order is asked for by name, none is that in which threads come to an end.
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        folder.mkdir()
        with connect(folder / "events.duckdb", settings) as database:
            database.execute("PRAGMA disable_checkpoint_on_shutdown")  # it is deleted anyway
            yield database
    except duckdb.OutOfMemoryException as problem:
        remedy = "Give fewer --threads, or split the log into corpora"
        raise ValueError(
            f"{beside}: {threads} threads need more than {MEMORY}. {remedy}"
        ) from problem
    except (duckdb.Error, OSError) as problem:
        if folder.name in str(problem) and (number := reason(problem)):
            raise CannotWrite(number, os.strerror(number), os.fspath(beside)) from problem
        raise
    finally:
        delete(folder)


def connect(path: Path, settings: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A database in a file; in memory, with its overflow on disk, where files have no locks."""
    try:
        return duckdb.connect(path, config=settings)
    except duckdb.IOException as problem:
        # Why harmless: nobody else knows of this file.
        if "Could not set lock" not in str(problem):
            raise
        return duckdb.connect(config=settings)


def reason(problem: Exception) -> int | None:
    """The number of the system's error behind one of the engine, which gives its text alone."""
    if isinstance(problem, OSError):
        return problem.errno
    return next((number for number in REMEDIES if os.strerror(number) in str(problem)), None)
