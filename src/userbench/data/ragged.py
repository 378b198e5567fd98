"""Rows of different lengths, one after another in a flat array: their bounds and their hashes."""

import numpy as np
from jaxtyping import Int32, Int64, UInt64

# Why: bounds temporaries that would be several times larger than the corpus.
ROWS_AT_ONCE = 1 << 16
ITEMS_AT_ONCE = 1 << 22


def offsets_of(lengths: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " bounds"]:
    """Where each row begins and ends: row i is items[offsets[i] : offsets[i + 1]]."""
    return np.concatenate([[0], np.cumsum(lengths)])


def hash_in_blocks(
    items: Int32[np.ndarray, " items"], offsets: Int64[np.ndarray, " bounds"]
) -> UInt64[np.ndarray, " rows"]:
    """`hash_rows` of a whole corpus, `ROWS_AT_ONCE` rows at a time."""
    hashes = []
    for begin in range(0, len(offsets) - 1, ROWS_AT_ONCE):
        bounds = offsets[begin : begin + ROWS_AT_ONCE + 1]
        hashes.append(hash_rows(items[bounds[0] : bounds[-1]], bounds - bounds[0]))
    return np.concatenate(hashes)


def hash_rows(
    items: Int32[np.ndarray, " items"], offsets: Int64[np.ndarray, " bounds"]
) -> UInt64[np.ndarray, " rows"]:
    """64-bit hash of each row: the sum of its (position, item) pairs, mixed by splitmix64.

    Constants: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    positions = np.arange(len(items)) - np.repeat(offsets[:-1], np.diff(offsets))
    mixed = (positions.astype(np.uint64) << np.uint64(32)) | items.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.add.reduceat(mixed, offsets[:-1])


def places(
    offsets: Int64[np.ndarray, " bounds"], rows: Int64[np.ndarray, " rows"]
) -> Int64[np.ndarray, " items"]:
    """Places in the flat array of all items of these rows, one row after another."""
    lengths = offsets[rows + 1] - offsets[rows]
    bounds = offsets_of(lengths)
    return np.arange(bounds[-1]) + np.repeat(offsets[rows] - bounds[:-1], lengths)
