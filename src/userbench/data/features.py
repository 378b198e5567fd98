"""The features of a task's users: their vectors from a file, standardised."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from userbench.data.ids import places
from userbench.data.vectors import Vectors

# Why: columns that vary by no more than this share of their size are constant up to rounding.
ROUNDING = 1e-6


class Features(NamedTuple):
    """Features of the users of a task, and how many of them had no vector."""

    values: Float32[np.ndarray, "users width"]
    missing: int


def features_of(
    vectors: Vectors,
    ids: pa.Array,
    is_train: Bool[np.ndarray, " users"],
    where: str,
    max_missing: int,
) -> Features:
    """Features of the users with these ids, standardised by those of them that train a head.

    Users without a vector get the mean vector of the others.

    Raises:
        ValueError: they are more than `max_missing`, or all; `where` names file and task.
    """
    found = places(ids, vectors.ids)
    lost = np.flatnonzero(found < 0)
    if len(lost) == len(ids) or not (is_train & (found >= 0)).any():
        raise ValueError(
            f"{where}: no training user has a vector, such as user {ids[0]}; its first user is "
            f"{vectors.ids[0]}. Write the ids of the raw data"
        )
    if len(lost) > max_missing:
        raise ValueError(
            f"{where}: {len(lost)} of its {len(ids)} users have no vector, the first is user "
            f"{ids[int(lost[0])]}. Add them, or allow for them (max_bad_rows)"
        )
    return Features(standardised(vectors.values, found, is_train), len(lost))


def standardised(
    values: Float32[np.ndarray, "vectors width"],
    rows: Int64[np.ndarray, " users"],
    is_train: Bool[np.ndarray, " users"],
) -> Float32[np.ndarray, "users width"]:
    """Vectors with mean 0 and deviation 1 over the training users; 0 for row -1, the mean.

    Rows of a table differ in the scale of their vectors (log counts, unit vectors, hidden states),
    and one learning rate would otherwise be fair to one of them. A column that is constant over
    the training users says nothing to a head: it becomes 0.
    """
    known = values[rows[is_train & (rows >= 0)]].astype(np.float64)
    mean, deviation = known.mean(0), known.std(0)
    constant = deviation <= ROUNDING * np.abs(known).max(0)
    scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    features = np.empty((len(rows), values.shape[1]), np.float32)
    for begin in range(0, len(rows), 1 << 16):
        some = rows[begin : begin + (1 << 16)]
        scaled = (values[some] - mean) * scale
        features[begin : begin + len(some)] = np.where(some[:, None] < 0, 0, scaled)
    return features
