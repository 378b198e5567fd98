"""The examples of a task of a corpus of event logs, in the form in which `ingest` writes them.

userbench events task --raw RAW --store STORE --out STORE/tasks/age
    --settings '{"labels": {"files": ["users.dat"], "user": "user", "label": "age"}}'

They come from a table of labels, from a table of targets, or from the events that the corpus holds
out. Users are joined by their ids in the raw files.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from userbench.command_line import at_least, json_object, string_mapping
from userbench.data import arrays as on_disk
from userbench.data.events.containers import check_checksums
from userbench.data.events.cut import held_out_folder
from userbench.data.events.labels import label_examples
from userbench.data.events.next_item import next_item_examples
from userbench.data.events.owned_rows import OwnedRows, read_owned_rows
from userbench.data.events.settings import Table, table_of
from userbench.data.events.targets import target_examples
from userbench.data.events.task_examples import TaskExamples
from userbench.data.format import BadRows, listed
from userbench.data.ids import ids_folder, parquet
from userbench.data.raw_bytes import check_raw

# Sources of examples that are tables, each with the column that it needs beside the user's.
NEEDED = {"labels": "label", "targets": "item"}


def write_task(
    raw: Path,
    settings: dict[str, Any],
    store: Path,
    out: Path,
    max_bad_rows: int = 0,
    checksums: Mapping[str, str] | None = None,
) -> None:
    """Write the examples of a task; `settings` has one key: labels, targets or next_item.

    `checksums` are the expected SHA-256 by file name.

    Raises:
        ValueError: the settings or the table have a fault, or there are more than `max_bad_rows`
            bad rows; nothing is written.
    """
    started = time.perf_counter()
    source, content = source_of(settings)
    on_disk.check_task_name(out.name)
    on_disk.check_out(out)
    bad = BadRows(max_bad_rows)
    if source == "next_item":
        exclude_seen = next_item_settings(content)
        origins = [on_disk.behaviours_folder(store), held_out_folder(store)]
        check_origins(origins)
        examples, raw_files = next_item_examples(store, exclude_seen), {}
    else:
        table = checked_table(source, content)
        origins = [on_disk.behaviours_folder(store), ids_folder(store)]
        check_origins(origins)
        rows, read = read_owned_rows(raw, table, store, bad)
        check_checksums(rows.files, checksums or {})
        examples = label_examples(rows, bad) if source == "labels" else target_examples(rows)
        examples = examples._replace(counts={**examples.counts, **read})
        raw_files = described(source, rows)
    report(out.name, examples)
    named = {
        f"{name}.parquet": parquet(pa.table({"id": texts}))
        for name, texts in examples.names.items()
    }
    on_disk.write_arrays(
        out,
        {f"{name}.npy": array for name, array in examples.arrays.items()},
        {folder.name: on_disk.identity(folder) for folder in origins},
        {
            "format": "events",
            "source": source,
            "settings": content,
            "max_bad_rows": max_bad_rows,
            "bad_rows": len(bad.rows),
            "counts": examples.counts,
            **examples.facts,
            "raw": raw_files,
        },
        inputs=origins,
        texts=listed(bad) | named,
        started=started,
    )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `userbench events task`."""
    parser.add_argument("--raw", type=Path, required=True, help="folder, zip or file of the tables")
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--settings", type=json_object, required=True, help="the source, as JSON")
    parser.add_argument("--max-bad-rows", type=at_least(0), default=0, help="rows left out at most")
    parser.add_argument("--sha256", default="{}", help="JSON: raw file name -> expected SHA-256")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write, named as the task"
    )


def run(args: argparse.Namespace) -> None:
    """Write the examples that the flags ask for."""
    checksums = string_mapping("--sha256", args.sha256)
    write_task(args.raw, args.settings, args.store, args.out, args.max_bad_rows, checksums)


def source_of(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where examples come from, and its settings; ValueError unless there is one such key."""
    known = [*NEEDED, "next_item"]
    if len(settings) != 1 or not settings.keys() <= set(known):
        raise ValueError(f"--settings has {', '.join(settings) or 'no key'}. Give one of {known}")
    ((source, content),) = settings.items()
    if not isinstance(content, dict):
        raise ValueError(f"--settings {source}: {content!r} is no JSON object")
    return source, content


def next_item_settings(content: dict[str, Any]) -> bool:
    """Whether what a user has seen is excluded; ValueError for another key or value."""
    exclude_seen = content.get("exclude_seen", False)
    if not content.keys() <= {"exclude_seen"} or not isinstance(exclude_seen, bool):
        raise ValueError(f"--settings next_item: {content}. Its key is exclude_seen: true or false")
    return exclude_seen


def checked_table(source: str, content: dict[str, Any]) -> Table:
    """The table of a task; ValueError where it lacks a column, or names one that is not read."""
    table = table_of(content, f"--settings {source}")
    for role in ("item", "label", "time"):
        given, needed = getattr(table, role) is not None, role == NEEDED[source]
        if given != needed:
            remedy = "Name that column" if needed else "Leave it out: it is not read"
            raise ValueError(f"--settings {source}: `{role}` is {getattr(table, role)}. {remedy}")
    return table


def check_origins(folders: list[Path]) -> None:
    """ValueError where a folder of the store is missing, or its raw files have changed since."""
    for folder in folders:
        check_raw(folder)


def described(source: str, rows: OwnedRows) -> dict[str, Any]:
    """The entries of the raw files in a manifest."""
    return {f"{source}: {file}": file.described() for file in rows.files}


def report(task: str, examples: TaskExamples) -> None:
    """Print the counts of a task in one line."""
    shown = [f"{name} {n:,}" for name, n in examples.counts.items() if isinstance(n, int) and n]
    print(f"{task}: {', '.join(shown).replace('_', ' ')}", file=sys.stderr, flush=True)
