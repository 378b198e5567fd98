"""A whole store, and all of its splits, by the commands that each write a part of them."""

from collections.abc import Iterable
from pathlib import Path


def write_store(
    raw: Path,
    format: str,
    sources: dict[str, str],
    out: Path,
    max_bad_rows: int = 0,
    checksums: dict[str, str] | None = None,
) -> None:
    """Behaviours, and the examples of each task from its source."""
    from userbench.data.ingest import write_behaviours, write_task

    allowed = max_bad_rows, checksums
    write_behaviours(raw, format, out / "behaviours", *allowed)
    for task, source in sources.items():
        folder = out / "tasks" / task
        write_task(raw, format, source, out / "behaviours", folder, *allowed)


def write_splits(store: Path, tasks: Iterable[str], by: str, seed: int, out: Path) -> None:
    """The split of the users, and that of the examples of each task."""
    from userbench.data.draw_splits import write_task_split, write_user_split

    write_user_split(store / "behaviours", seed, out / "users")
    for task in tasks:
        write_task_split(store / "tasks" / task, by, seed, out / "tasks" / task)
