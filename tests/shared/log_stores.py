"""A small store as it is made of event logs: behaviours, ids of users, and what is held out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from userbench.data import arrays

# The input of users 0, 1, ..: numbers of items from 1; and (user, item, part) held out.
INPUT = [[1, 2, 2], [3, 1], [4], [2, 5, 5, 1], [6], [3, 4]]
HELD_OUT = [
    *[(0, 1, 0), (0, 3, 1), (0, 3, 2)],
    *[(1, 5, 0), (1, 3, 1), (1, 6, 2)],
    *[(3, 2, 0), (3, 2, 1), (3, 4, 2)],
]
PLAIN = {"events": {"view": {"files": ["e.csv"], "user": "u", "item": "i"}}}


def write_log_store(
    folder: Path,
    ids: pa.Array,
    settings: dict[str, Any] | None = None,
    inputs: list[list[int]] = INPUT,
    held_out: list[tuple[int, int, int]] = HELD_OUT,
) -> Path:
    """The store of a corpus whose users have these ids; items are 100, 110, .. in the raw files."""
    store = folder / "store"
    n_items = max(map(max, inputs))
    behaviours = {
        "items.npy": np.concatenate(inputs).astype(np.int32),
        "offsets.npy": np.cumsum([0, *map(len, inputs)]),
        "item_ids.npy": np.concatenate([[0], 100 + 10 * np.arange(n_items)]),
    }
    manifest = {"format": "events", "counts": {}, "settings": PLAIN | (settings or {})}
    meaning = {"users": len(inputs), "items": n_items}
    arrays.write_arrays(store / "behaviours", behaviours, meaning, manifest)
    content = io.BytesIO()
    pq.write_table(pa.table({"id": ids}), content)
    files = {"users.parquet": content.getvalue()}
    arrays.write_arrays(store / "ids", {}, {}, {"counts": {}}, texts=files)
    users, items, parts = np.array(held_out, np.int32).reshape(-1, 3).T
    held = {"users.npy": users, "items.npy": items, "parts.npy": parts.astype(np.uint8)}
    arrays.write_arrays(store / "held_out", held, {}, {"counts": {}})
    return store
