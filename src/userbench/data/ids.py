"""The user's own ids: the map from her ids of users and items to those of the array store.

STORE/ids/
    users.parquet  `id`: of user 0, 1, .. of the store
    items.parquet  `id`, and `kind` where there are several kinds of event: of item 1, 2, ..

A store without this folder was made of lines without ids: a user's id is then its row, from 0.
"""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64

from userbench.data.arrays import behaviours_folder, read_checksums

USERS_FILE, ITEMS_FILE = "users.parquet", "items.parquet"
WHOLE_NUMBER = "^(0|[1-9][0-9]*)$"


def ids_folder(store: Path) -> Path:
    """The folder of a store with the ids that its users and items have in the raw files."""
    return store / "ids"


def user_ids(store: Path) -> pa.Array:
    """The id of each user of a store, whole numbers or texts."""
    path = ids_folder(store) / USERS_FILE
    if not path.exists():
        return pa.array(np.arange(read_checksums(behaviours_folder(store))["users"]))
    return pq.read_table(path)["id"].combine_chunks()


def given_user_ids(store: Path) -> pa.Array | None:
    """The id of each user of a store in the raw files; None where these have no ids."""
    return user_ids(store) if ids_folder(store).exists() else None


def item_table(store: Path) -> pa.Table:
    """The id of each item of a store from item 1 on, with its `kind` where there are several."""
    return pq.read_table(ids_folder(store) / ITEMS_FILE)


def typed(ids: pa.Array, whole: str = WHOLE_NUMBER) -> pa.Array:
    """Ids as whole numbers where all of them are such, as written without zeros; else as texts.

    `whole` is the pattern of those that count as such.
    """
    if pa.types.is_integer(ids.type):
        return ids
    if pc.all(pc.match_substring_regex(ids, whole)).as_py():
        with suppress(pa.ArrowInvalid):  # one is beyond 63 bits
            return ids.cast(pa.int64())
    return ids


def item_keys(items: pa.Table) -> pa.Array:
    """A text for each item that no other has: of its kind, if there are several, and its id."""
    ids = items["id"].cast(pa.string())
    keys = (
        pc.binary_join_element_wise(items["kind"], ids, "\n")
        if "kind" in items.column_names
        else ids
    )
    return keys.combine_chunks()


def places(asked: pa.Array, known: pa.Array) -> Int64[np.ndarray, " asked"]:
    """Place of each asked id among the known ones, -1 where it is none of them.

    Ids are equal where their texts are: 12 and "12" are, 7 and "007" are not.
    """
    found = pc.index_in(asked.cast(pa.string()), value_set=known.cast(pa.string()))
    return pc.fill_null(found, -1).cast(pa.int64()).to_numpy()


def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()
