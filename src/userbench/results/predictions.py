"""What a tested model said of every test example: a Parquet file beside each score file.

A row per example, in the order of the store: its number there (`example`), its `user`, and what the
metrics of its kind of task are made of:

classification: `label`, `predicted` (the class), `correct`
binary: `label`, `score` (how much more class 1 is believed in than class 0)
top_n: `rank` (1 = best, as the metric counts ties), and `weight` where users count, not pairs

A fit that failed has predicted nothing: its file has no rows.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from userbench.errors import NotANumber
from userbench.results.artifact import atomic, check_recorded

COLUMNS = {
    "classification": ("label", "predicted"),
    "binary": ("label", "score"),
    "top_n": ("rank",),
}
TYPES = {
    **{"example": "int32", "user": "int32", "label": "int16", "predicted": "int16"},
    **{"correct": "bool", "rank": "int32", "weight": "float64"},
}  # a score keeps the precision in which it was measured
METADATA = b"userbench"
ABOUT = ("run", "task", "corpus", "seed", "kind")


class Predictions(NamedTuple):
    """Which run, task, corpus and seed they are of, and of what kind; a row per test example."""

    run: str
    task: str
    corpus: str
    seed: int
    kind: str
    rows: pd.DataFrame


def predictions_path(scores: Path) -> Path:
    """Where the predictions behind a score file lie."""
    return scores.with_suffix(".predictions.parquet")


def write_predictions(path: Path, columns: dict[str, Any], about: dict[str, Any]) -> None:
    """Write arrays of one length, whole or not at all; equal predictions give equal bytes.

    `columns` are those of the kind, but for `correct`; `about` is any mapping that has ABOUT.
    NotANumber, and nothing written, where a value is infinite or NaN.
    """
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NotANumber(f"{path}: a {name} is not a number")
    if "predicted" in arrays:
        arrays["correct"] = arrays["predicted"] == arrays["label"]
    typed = {name: array.astype(TYPES.get(name, array.dtype)) for name, array in arrays.items()}
    told = json.dumps({name: about[name] for name in ABOUT})
    table = pa.table(typed).replace_schema_metadata({METADATA: told})
    with atomic(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def describe_predictions(path: Path) -> dict[str, Any]:
    """What predictions are of (ABOUT), without reading them.

    Raises:
        ValueError: naming the file, where `write_predictions` did not write it.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {error}. Fine-tune its run again") from error
    if METADATA not in metadata:
        raise ValueError(f"{path}: is not a file of predictions. Fine-tune its run again")
    return json.loads(metadata[METADATA])


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; ValueError as above, and for a wrong checksum."""
    check_recorded(path)
    return Predictions(**describe_predictions(path), rows=pq.read_table(path).to_pandas())
