"""Another log of the kind of a corpus, read as items of its store: users whom nobody trained on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, Int64

from userbench.data.events.containers import TableFile
from userbench.data.events.engine import cores, engine
from userbench.data.events.log import distinct_items, read_log, sorted_events, user_ids
from userbench.data.events.sequences import latest_left, repeats_left
from userbench.data.events.settings import CorpusSettings
from userbench.data.format import BadRows
from userbench.data.ids import item_keys, places, typed


class Histories(NamedTuple):
    """Users of a log by first appearance, and their items, oldest first."""

    users: pa.Array
    items: Int32[np.ndarray, " events"]
    """Item 1..n of the store; n + 1, the encoder's mask, for an item that it does not know."""
    offsets: Int64[np.ndarray, " bounds"]
    unknown_events: int
    """Events of items that the store does not know."""
    unknown_items: int
    files: list[TableFile]


def read_histories(
    raw: Path,
    settings: CorpusSettings,
    known_items: pa.Table,
    bad: BadRows,
    beside: Path,
    threads: int | None = None,
) -> Histories:
    """The events of a log as `settings` of a corpus read them; `known_items` are of its store.

    Filter, repeats, ties and max_length count as in the corpus; users and items with few events
    stay, and nothing is held out. The engine works in a folder beside the path `beside`.

    Raises:
        ValueError: what `read_log` raises.
    """
    with engine(beside, threads or cores()) as database:
        log = read_log(database, raw, settings, bad)
        users, items = user_ids(database), distinct_items(database)
        numbers, unknown_items = numbers_in(items, known_items)
        events = sorted_events(database, log, users, items, numbers, [], settings.ties)
    # Unknown items keep numbers of their own so far: two of them are no repeat of one.
    events = events.only(repeats_left(events, settings.repeats))
    events = events.only(latest_left(events.offsets, settings.max_length))
    mask = len(known_items) + 1
    read = np.minimum(events.items, mask)
    unknown_events = int(np.count_nonzero(read == mask))
    return Histories(
        typed(users), read, events.offsets, unknown_events, unknown_items, log.all_files
    )


def numbers_in(items: pa.Table, known: pa.Table) -> tuple[Int32[np.ndarray, " items"], int]:
    """Number of each item among the known ones, from 1, and numbers above them for the others."""
    if "kind" not in known.column_names:  # there is one kind, whatever its name
        items = items.drop("kind")
    numbers = places(item_keys(items), item_keys(known)) + 1
    unknown = np.flatnonzero(numbers == 0)
    numbers[unknown] = len(known) + 1 + np.arange(len(unknown))
    return numbers.astype(np.int32), len(unknown)
