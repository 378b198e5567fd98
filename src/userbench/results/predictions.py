"""Per-example test predictions: a Parquet file beside each score file.

A row per test example, in the order of the store: its number there (`example`), its `user`, and the
columns that the metrics of its kind of task need:

classification: `label`, `predicted` (the class), `correct`
binary: `label`, `score` (the logit of class 1 minus that of class 0)
top_n: `rank` (1 = best, ties as the metric counts them), and `weight` where users count, not pairs

Where the users of the corpus have ids in the raw files, `user_id` is that of `user`.
The file of a fit that failed has no rows.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from userbench.errors import NotANumber, check_readable
from userbench.results.artifact import atomic, check_recorded

COLUMNS = {
    "classification": ("label", "predicted"),
    "binary": ("label", "score"),
    "top_n": ("rank",),
}
TYPES = {
    **{"example": "int32", "user": "int32", "label": "int16", "predicted": "int16"},
    **{"correct": "bool", "rank": "int32", "weight": "float64"},
}  # a score keeps the precision in which it was computed
USER_ID = "user_id"
METADATA = b"userbench"
ABOUT = ("run", "task", "corpus", "seed", "kind")


class Predictions(NamedTuple):
    """The predictions of one run, task, corpus and seed; a row per test example."""

    run: str
    task: str
    corpus: str
    seed: int
    kind: str
    rows: pd.DataFrame


def predictions_path(scores: Path) -> Path:
    """Path of the predictions of a score file."""
    return scores.with_suffix(".predictions.parquet")


def write_predictions(
    path: Path, columns: dict[str, Any], about: dict[str, Any], user_ids: pa.Array | None = None
) -> None:
    """Write arrays of one length atomically; equal predictions give equal bytes.

    `columns` are those of the kind, without `correct`; `about` is any mapping that has ABOUT;
    `user_ids` are those of all users of the corpus in the raw files, where they have any.

    Raises:
        NotANumber: a value is infinite or NaN; nothing is written.
    """
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NotANumber(f"{path}: a {name} is not a number")
    if "predicted" in arrays:
        arrays["correct"] = arrays["predicted"] == arrays["label"]
    typed = {name: array.astype(TYPES.get(name, array.dtype)) for name, array in arrays.items()}
    if user_ids is not None:
        typed[USER_ID] = user_ids.take(pa.array(typed["user"]))
    metadata = json.dumps({name: about[name] for name in ABOUT})
    table = pa.table(typed).replace_schema_metadata({METADATA: metadata})
    with atomic(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def describe_predictions(path: Path) -> dict[str, Any]:
    """The run, task, corpus, seed and kind of predictions, without reading their rows.

    Raises:
        ValueError: `write_predictions` did not write this file.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        check_readable(path, error)
        raise ValueError(f"{path}: cannot be read: {error}. Fine-tune its run again") from error
    if METADATA not in metadata:
        raise ValueError(f"{path}: is not a file of predictions. Fine-tune its run again")
    return json.loads(metadata[METADATA])


def read_predictions(path: Path) -> Predictions:
    """Read a file of `write_predictions`; ValueError for another file, or a wrong checksum.

    Without `user_id`: nothing is computed from it, and texts are slow to read.
    """
    check_recorded(path)
    about, names = describe_predictions(path), pq.read_schema(path).names
    columns = [name for name in names if name != USER_ID]
    return Predictions(**about, rows=pq.read_table(path, columns=columns).to_pandas())
