"""DuckDB as what groups and sorts events: in memory as far as it may, and then on disk.

It gets Arrow batches with types of their own, so that it never guesses one from a text.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from userbench.results.artifact import HOST, delete, is_abandoned

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
    for left in beside.parent.glob(f"{name}.*.partial"):
        if is_abandoned(left):
            delete(left)
    folder = beside.with_name(f"{name}.{HOST}.{os.getpid()}.partial")
    delete(folder)
    folder.mkdir()
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
        with duckdb.connect(folder / "events.duckdb", config=settings) as database:
            database.execute("PRAGMA disable_checkpoint_on_shutdown")  # it is deleted anyway
            yield database
    except duckdb.OutOfMemoryException as problem:
        raise MemoryError(f"{beside}: {problem}") from problem
    except duckdb.IOException as problem:  # most likely the disk is full
        raise OSError(
            f"{beside}: {problem}. Free space on that disk, and run it again"
        ) from problem
    finally:
        delete(folder)
