"""Events of a log -> the array store of a corpus: behaviours, her ids, and what is held out.

    read, filter -> repeats -> k-core -> cut (hold_out) -> max_length -> numbers

STORE/behaviours/   the input (`data/arrays.py`): no event that is held out is in it
STORE/ids/          her ids of users and items (`data/ids.py`)
STORE/held_out/     events that are held out, by user, then time
    users.npy       int32 (events,)
    items.npy       int32 (events,)   item 1..n of the input
    parts.npy       uint8 (events,)   0 train, 1 validation, 2 test

Users are numbered by first appearance among the rows that were read, items by ascending id.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from userbench.data import arrays as on_disk
from userbench.data import ragged
from userbench.data.corpus import corpus_counts, first_user, sorted_by_hash
from userbench.data.events.containers import check_checksums
from userbench.data.events.cut import held_out_folder, windows
from userbench.data.events.engine import cores, engine
from userbench.data.events.log import Log, distinct_items, read_log, sorted_events, user_ids
from userbench.data.events.selection import Selection, left_by, select
from userbench.data.events.sequences import Events, duplicated_rows, tied_events
from userbench.data.events.settings import CorpusSettings
from userbench.data.format import BadRows, listed
from userbench.data.ids import ITEMS_FILE, USERS_FILE, ids_folder, parquet, typed


class Numbered(NamedTuple):
    """A log with numbers: her id of user 0, 1, .. and of item 1, 2, .."""

    log: Log
    users: pa.Array
    items: pa.Table
    events: Events


def write_corpus(
    raw: Path,
    settings: CorpusSettings,
    store: Path,
    max_bad_rows: int = 0,
    checksums: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> None:
    """Write the three folders of a corpus; `checksums` are the expected SHA-256 by file name.

    Raises:
        ValueError: the settings do not suit the log, a file has a fault, more than `max_bad_rows`
            rows are bad, or too little is left; nothing is written.
    """
    started = time.perf_counter()
    for folder in (on_disk.behaviours_folder(store), ids_folder(store), held_out_folder(store)):
        on_disk.check_out(folder)
    bad = BadRows(max_bad_rows)
    numbered = read_numbered(raw, settings, bad, store, threads or cores())
    check_checksums(numbered.log.all_files, checksums or {})
    facts = facts_of(numbered, settings)
    selected = select(numbered.events, settings)
    print("\n".join(map(left_by, selected.steps)), file=sys.stderr, flush=True)
    manifest = {
        "format": "events",
        "settings": plain(asdict(settings)),
        "max_bad_rows": max_bad_rows,
        "bad_rows": len(bad.rows),
        "events": {**facts, "steps": selected.steps},
        "held_out": selected.counts,
        "raw": {str(file): file.described() for file in numbered.log.all_files},
    }
    users = numbered.users.take(pa.array(selected.users))
    items = numbered.items.take(pa.array(selected.items - 1))
    write_store(store, selected, users, items, manifest, listed(bad), started)


def read_numbered(
    raw: Path, settings: CorpusSettings, bad: BadRows, store: Path, threads: int
) -> Numbered:
    """Read a log and sort it; items get numbers by ascending id."""
    with engine(store, threads) as database:
        log = read_log(database, raw, settings, bad)
        units = {table.time_unit for table in settings.events.values()}
        bounds = windows(settings.hold_out, log.time, units)
        users, items = user_ids(database), distinct_items(database)
        items = ascending(items, [*settings.events])
        numbers = np.arange(1, len(items) + 1, dtype=np.int32)
        events = sorted_events(database, log, users, items, numbers, bounds, settings.ties)
    return Numbered(log, typed(users), items, events)


def ascending(items: pa.Table, kinds: list[str]) -> pa.Table:
    """Items by the order of kinds, then by ascending id: as numbers where all are whole numbers."""
    ids = typed(items["id"].combine_chunks())
    place = pc.index_in(items["kind"], value_set=pa.array(kinds))
    order = pc.sort_indices(
        pa.table({"kind": place, "id": ids}),
        sort_keys=[("kind", "ascending"), ("id", "ascending")],
    )
    return items.take(order)


def facts_of(numbered: Numbered, settings: CorpusSettings) -> dict[str, Any]:
    """What a manifest says of all events that were read."""
    log, events = numbered.log, numbered.events
    tied = 0 if log.time is None else tied_events(events)
    return {
        "order": "file" if log.time is None else "time",
        "ties": settings.ties,
        "engine": f"duckdb {duckdb.__version__}",
        "share_of_ties": tied / log.rows,
        "time": None if log.time is None else str(log.time),
        "earliest": log.earliest,
        "latest": log.latest,
        "filtered_rows": sum(file.filtered for file in log.all_files),
        "duplicated_rows": duplicated_rows(events),
    }


def plain(settings: Any) -> Any:
    """Settings as JSON has them: dates are texts."""
    if isinstance(settings, dict):
        return {name: plain(value) for name, value in settings.items()}
    return settings.isoformat() if isinstance(settings, date) else settings


def write_store(
    store: Path,
    selected: Selection,
    users: pa.Array,
    items: pa.Table,
    manifest: dict[str, Any],
    texts: dict[str, str],
    started: float,
) -> None:
    """Write the folders of a store."""
    inputs, held_out = selected.input, selected.held_out
    has_kinds = len(manifest["settings"]["events"]) > 1
    ids = typed(items["id"].combine_chunks())
    by_number = pa.types.is_integer(ids.type) and not has_kinds
    item_ids = ids.to_numpy() if by_number else np.arange(1, len(ids) + 1)
    behaviours = {
        "items.npy": inputs.items,
        "offsets.npy": inputs.offsets,
        "item_ids.npy": np.concatenate([[0], item_ids]),
    }
    hashes = ragged.hash_in_blocks(inputs.items, inputs.offsets)
    corpus = sorted_by_hash(inputs.items, inputs.offsets, hashes)
    counts = {**corpus_counts(corpus, first_user(corpus)), "items": len(ids)}
    meaning = {name: counts[name] for name in ("users", "items")}
    folder = on_disk.behaviours_folder(store)
    on_disk.write_arrays(
        folder, behaviours, meaning, {**manifest, "counts": counts}, texts=texts, started=started
    )
    columns = {"id": ids, "kind": items["kind"]} if has_kinds else {"id": ids}
    files = {USERS_FILE: parquet(pa.table({"id": users})), ITEMS_FILE: parquet(pa.table(columns))}
    made = {"inputs": [folder], "started": started}
    on_disk.write_arrays(
        ids_folder(store), {}, {}, {**manifest, "counts": meaning}, texts=files, **made
    )
    held = {"users.npy": held_out.users, "items.npy": held_out.items, "parts.npy": held_out.parts}
    counts = {"events": len(held_out.users)}
    on_disk.write_arrays(held_out_folder(store), held, {}, {**manifest, "counts": counts}, **made)
