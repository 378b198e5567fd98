"""The events that a corpus holds out -> the examples of a top-N task over its own catalogue."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from userbench.data import ragged
from userbench.data.arrays import behaviours_folder, read_array
from userbench.data.events.cut import held_out_folder
from userbench.data.events.task_examples import TaskExamples
from userbench.data.examples import distinct, earliest_parts, example_of_pair, target_arrays


def next_item_examples(store: Path, exclude_seen: bool) -> TaskExamples:
    """Arrays and counts of a task whose candidate c is item c + 1 of the corpus.

    A pair that is held out for several parts is in the earliest. With `exclude_seen` the other
    items of a user's input are no candidates for her.

    Raises:
        ValueError: the corpus holds nothing out.
    """
    folder = held_out_folder(store)
    users, items, parts = (read_array(folder, f"{n}.npy") for n in ("users", "items", "parts"))
    if not len(users):
        raise ValueError(
            f"{folder}: no event is held out, so that there is no next item to ask for. Give the "
            "corpus a `hold_out`, such as {last: 3}"
        )
    pairs = users.astype(np.int64), items.astype(np.int64) - 1
    item_ids = read_array(behaviours_folder(store), "item_ids.npy")
    arrays, counts = target_arrays(*pairs, item_ids[1:])
    arrays["parts"], several = earliest_parts(parts, example_of_pair(arrays, *pairs))
    counts["repeated_targets"] = len(users) - counts["pairs"]
    counts["pairs_in_several_parts"] = several
    if exclude_seen:
        rows = arrays["users"], arrays["targets"], arrays["target_offsets"]
        arrays["seen"], arrays["seen_offsets"] = seen_arrays(store, *rows)
        counts["seen"] = len(arrays["seen"])
    return TaskExamples(arrays, counts, {"exclude_seen": exclude_seen}, {})


def seen_arrays(
    store: Path,
    users: Int32[np.ndarray, " rows"],
    targets: Int32[np.ndarray, " pairs"],
    target_offsets: Int64[np.ndarray, " bounds"],
) -> tuple[Int32[np.ndarray, " seen"], Int64[np.ndarray, " bounds"]]:
    """Of each row the distinct items of the user's input, as candidates, without its targets."""
    items, offsets, item_ids = (
        read_array(behaviours_folder(store), f"{name}.npy")
        for name in ("items", "offsets", "item_ids")
    )
    n_items, seen, lengths = len(item_ids) - 1, [], []
    for begin in range(0, len(users), ragged.ROWS_AT_ONCE):
        some = users[begin : begin + ragged.ROWS_AT_ONCE]
        bounds = target_offsets[begin : begin + len(some) + 1]
        own = targets[bounds[0] : bounds[-1]] + n_items * rows_of(np.diff(bounds))
        starts, long = offsets[some], offsets[some + 1] - offsets[some]
        row = rows_of(long)
        place = np.arange(len(row)) + (starts - ragged.offsets_of(long)[:-1])[row]
        pairs = distinct(row * n_items + items[place] - 1)
        row, candidates = np.divmod(pairs[~np.isin(pairs, own, assume_unique=True)], n_items)
        seen.append(candidates.astype(np.int32))
        lengths.append(np.bincount(row, minlength=len(some)))
    return np.concatenate(seen), ragged.offsets_of(np.concatenate(lengths))


def rows_of(lengths: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " values"]:
    """The row of each value, where rows of these lengths lie one after another."""
    return np.repeat(np.arange(len(lengths)), lengths)
