"""Another log of the same kind as that of a store, read as items of this store."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, Int64

from userbench.data import ragged
from userbench.data.arrays import behaviours_folder, read_array, read_manifest
from userbench.data.events.histories import read_histories
from userbench.data.events.settings import CorpusSettings, corpus_settings_of
from userbench.data.format import BadRows, RawFile, find_file, find_source, load_format
from userbench.data.ids import item_table
from userbench.data.ingest import RawInput, reported_rows


class Histories(NamedTuple):
    """Users of another log and their items, oldest first."""

    ids: pa.Array
    items: Int32[np.ndarray, " interactions"]
    """Item 1..n of the store; n + 1, the mask, for an item that the store does not know."""
    offsets: Int64[np.ndarray, " bounds"]
    unknown: int
    """Events of items that the store does not know."""


def read_new_log(raw: Path, store: Path, max_bad_rows: int, beside: Path) -> Histories:
    """The users of a file, folder or zip in the format of the store.

    Events are sorted in a folder beside the path `beside`.

    Raises:
        ValueError: it has a fault, or more than `max_bad_rows` bad rows.
    """
    if not raw.exists():
        raise ValueError(f"{raw}: does not exist. Pass a file, folder or zip of the same kind")
    manifest = read_manifest(behaviours_folder(store))
    if manifest["format"] != "events":
        return read_lines(raw, store, manifest["format"], max_bad_rows)
    settings = corpus_settings_of(manifest["settings"], f"{store}, settings")
    if raw.is_file() and not is_zipfile(raw):
        settings, raw = of_one_file(settings, raw), raw.parent
    found = read_histories(raw, settings, item_table(store), BadRows(max_bad_rows), beside)
    return Histories(found.users, found.items, found.offsets, found.unknown_events)


def of_one_file(settings: CorpusSettings, raw: Path) -> CorpusSettings:
    """The settings, to read this file; ValueError where there are several kinds of event."""
    if len(settings.events) > 1:
        files = ", ".join(file for table in settings.events.values() for file in table.files)
        raise ValueError(
            f"{raw}: is one file, and there are several kinds of event. Pass the folder of {files}"
        )
    events = {kind: replace(table, files=[raw.name]) for kind, table in settings.events.items()}
    return replace(settings, events=events)


def read_lines(raw: Path, store: Path, format: str, max_bad_rows: int) -> Histories:
    """Users of files of lines; the id of a user is her row, from 0."""
    known = read_array(behaviours_folder(store), "item_ids.npy")
    source = find_source(format, "pretrain")
    alone = raw.is_file() and not is_zipfile(raw)
    file = RawFile(raw, "", source) if alone else find_file(raw, format, "pretrain")
    found = RawInput(file, load_format(format), BadRows(max_bad_rows), {})
    items, lengths = [], []
    for rows in reported_rows(found):
        items.append(rows.items)
        lengths.append(np.diff(rows.offsets))
    numbers = places_of(np.concatenate(items), known)
    offsets = ragged.offsets_of(np.concatenate(lengths))
    ids = pa.array(np.arange(len(offsets) - 1))
    return Histories(ids, numbers, offsets, int((numbers == len(known)).sum()))


def places_of(
    items: Int32[np.ndarray, " interactions"], known: Int64[np.ndarray, " ids"]
) -> Int32[np.ndarray, " interactions"]:
    """Place of each raw id among the ascending known ones; their number where it is none."""
    places = np.searchsorted(known, items).clip(max=len(known) - 1)
    return np.where(known[places] == items, places, len(known)).astype(np.int32)
