"""The users of a corpus, found by their exact sequences: by hash, then item by item."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt64

from userbench.data import ragged


class Corpus(NamedTuple):
    """Pre-training rows as flat arrays of raw ids, and their hashes in ascending order."""

    items: Int32[np.ndarray, " interactions"]
    offsets: Int64[np.ndarray, " bounds"]
    hashes: UInt64[np.ndarray, " users"]
    users: Int64[np.ndarray, " users"]  # user of each hash; ascending for equal hashes


def sorted_by_hash(
    items: Int32[np.ndarray, " interactions"],
    offsets: Int64[np.ndarray, " bounds"],
    hashes: UInt64[np.ndarray, " users"],
) -> Corpus:
    """A corpus from its rows and their hashes."""
    users = np.argsort(hashes, kind="stable")
    return Corpus(items, offsets, hashes[users], users)


def first_user(corpus: Corpus) -> Int64[np.ndarray, " users"]:
    """The first user with the same sequence as each user: itself, unless it is a duplicate."""
    first = np.arange(len(corpus.users))
    # Only users with equal hashes can have equal sequences.
    later = np.sort(corpus.users[1:][corpus.hashes[1:] == corpus.hashes[:-1]])
    lengths = corpus.offsets[later + 1] - corpus.offsets[later]
    bounds, begin = ragged.offsets_of(lengths), 0
    while begin < len(later):
        full = np.searchsorted(bounds, bounds[begin] + ragged.ITEMS_AT_ONCE) - 1
        end = max(begin + 1, min(begin + ragged.ROWS_AT_ONCE, int(full)))
        some, own = later[begin:end], bounds[begin : end + 1] - bounds[begin]
        places = np.arange(own[-1]) + np.repeat(corpus.offsets[some] - own[:-1], np.diff(own))
        first[some] = find_users(corpus, corpus.items[places], own)
        begin = end
    return first


def find_users(
    corpus: Corpus,
    items: Int32[np.ndarray, " interactions"],
    offsets: Int64[np.ndarray, " bounds"],
) -> Int64[np.ndarray, " rows"]:
    """The first user with exactly each row's sequence; -1 where there is none."""
    hashes = ragged.hash_rows(items, offsets)
    places = np.searchsorted(corpus.hashes, hashes)
    found = np.full(len(hashes), -1)
    rows = np.arange(len(hashes))
    # Why a loop: users with equal hashes are compared one by one; a collision costs one pass.
    while len(rows):
        rows = rows[places[rows] < len(corpus.hashes)]
        rows = rows[corpus.hashes[places[rows]] == hashes[rows]]
        users = corpus.users[places[rows]]
        same = same_sequence(corpus, users, items, offsets, rows)
        found[rows[same]] = users[same]
        rows = rows[~same]
        places[rows] += 1
    return found


def same_sequence(
    corpus: Corpus,
    users: Int64[np.ndarray, " pairs"],
    items: Int32[np.ndarray, " interactions"],
    offsets: Int64[np.ndarray, " bounds"],
    rows: Int64[np.ndarray, " pairs"],
) -> Bool[np.ndarray, " pairs"]:
    """Whether each of these users has the same sequence as the row beside it."""
    lengths = offsets[rows + 1] - offsets[rows]
    same = corpus.offsets[users + 1] - corpus.offsets[users] == lengths
    starts, own, lengths = offsets[rows[same]], corpus.offsets[users[same]], lengths[same]
    if len(lengths):
        bounds = ragged.offsets_of(lengths)
        steps = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        equal = (
            items[np.repeat(starts, lengths) + steps]
            == corpus.items[np.repeat(own, lengths) + steps]
        )
        same[same] = np.logical_and.reduceat(equal, bounds[:-1])
    return same


def corpus_counts(corpus: Corpus, first: Int64[np.ndarray, " users"]) -> dict[str, Any]:
    """Statistics of the pre-training rows; `first` is the result of `first_user`."""
    lengths = np.diff(corpus.offsets)
    n_distinct = int((first == np.arange(len(first))).sum())
    return {
        "users": len(lengths),
        "interactions": len(corpus.items),
        "mean_length": float(lengths.mean()),
        "median_length": float(np.median(lengths)),
        "max_length": int(lengths.max()),
        "share_of_max_length": float((lengths == lengths.max()).mean()),
        "duplicate_users": len(first) - n_distinct,
        "hash_collisions": n_distinct - len(np.unique(corpus.hashes)),
    }
