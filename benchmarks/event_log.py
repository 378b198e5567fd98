"""A simulated log of as many events as TTL has, and `userbench events corpus` on it.

Users differ in activity as a log-normal says, items in popularity as a power law. Ids are texts,
the rows are in the order of their times, and half of these are rounded to hours, so that many tie.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from userbench.data.arrays import behaviours_folder, read_manifest
from userbench.results.artifact import atomic

EVENTS, USERS, ITEMS = 80_000_000, 1_470_149, 645_972
BLOCK = 1_000_000
SECONDS_OF_A_BLOCK, HOUR = 400_000, 3600
SETTINGS = {
    "events": {"view": {"files": ["log.parquet"], "user": "user", "item": "item", "time": "time"}},
    "min_user_events": 5,
    "min_item_users": 5,
    "hold_out": {"last": 3},
}


def measured(folder: Path, share: float, cores: int) -> dict[str, Any]:
    """The row of the command on a log, which is made where it is not there yet."""
    raw, store = folder / "raw" / "log.parquet", folder / "store"
    events = round(EVENTS * share)
    if not (raw.exists() and pq.read_metadata(raw).num_rows == events):
        write_log(raw, events, max(round(USERS * share), 9), max(round(ITEMS * share), 9))
    words = [sys.executable, "-m", "userbench", "events", "corpus", "--raw", str(raw.parent)]
    words += ["--settings", json.dumps(SETTINGS), "--threads", str(cores), "--out", str(store)]
    started = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise ValueError(f"events corpus ended with status {status}; see what it says above")
    read = read_manifest(behaviours_folder(store))["events"]["steps"][0]
    return {
        "what": "events",
        "of": "log",
        "count": read["events"],
        "seconds": time.perf_counter() - started,
        "core_seconds": used.ru_utime + used.ru_stime,
        "peak_memory_gib": used.ru_maxrss / 2**20,
        "note": f"events of {read['users']:,} users and {read['items']:,} items",
    }


def write_log(path: Path, events: int, users: int, items: int) -> None:
    """Write a Parquet file of user, item and time."""
    draw = np.random.default_rng(0)
    user_ids, item_ids = texts("A", 13, users), texts("B", 9, items)
    activity = np.cumsum(draw.lognormal(0, 1, users))
    popularity = np.cumsum(draw.permutation((np.arange(items) + 50.0) ** -0.9))
    names = pa.schema([("user", pa.string()), ("item", pa.string()), ("time", pa.int64())])
    with atomic(path) as partial, pq.ParquetWriter(partial, names, compression="zstd") as out:
        for block, begin in enumerate(range(0, events, BLOCK)):
            n = min(BLOCK, events - begin)
            user, item = (drawn(draw, total, n) for total in (activity, popularity))
            times = 1_400_000_000 + SECONDS_OF_A_BLOCK * block
            times += np.sort(draw.integers(0, SECONDS_OF_A_BLOCK, n))
            times -= times % HOUR * (block % 2)
            columns = [user_ids.take(user), item_ids.take(item), pa.array(times)]
            out.write_batch(pa.record_batch(columns, schema=names))


def texts(first: str, digits: int, n: int) -> pa.Array:
    """Ids as shops have them: a letter and hexadecimal digits, in no order."""
    return pa.array([f"{first}{k * 2654435761 % 2**36:0{digits}X}" for k in range(n)], pa.string())


def drawn(draw: np.random.Generator, totals: Float[np.ndarray, " all"], n: int) -> pa.Array:
    """Numbers drawn in proportion to what these running totals grow by."""
    found: Int[np.ndarray, " n"] = np.searchsorted(totals, draw.random(n) * totals[-1])
    return pa.array(found)
