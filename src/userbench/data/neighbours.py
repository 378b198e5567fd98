"""Find item neighbours by ItemCF-IUF: the items most often behaved on by the same users.

    Cor(i, j) = 1 / sqrt(N(i) N(j)) * sum_{u: i, j in I_u} 1 / ln(1 + |I_u|),  i != j

I_u is the set of items of user u, N(i) the number of users who have item i. It is the offline item
correlation of CoSeRec (Liu et al., arXiv 2108.06479), over the training users of a corpus.

    items.npy      int32 (n_items + 1, top)    neighbours of each item, best first; 0 is none
    scores.npy     float32 (n_items + 1, top)  their correlations; 0 where there is no neighbour
    checksums.json  checksums of both; extremes of all correlations
    manifest.json   settings, counts
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Int64
from scipy import sparse
from tqdm import tqdm

from userbench import command_line
from userbench.data import arrays as on_disk
from userbench.data import splits
from userbench.data.ragged import offsets_of
from userbench.errors import command

log = logging.getLogger("userbench")

# Why: bounds the pairs in memory. Larger temporaries are slower: the system has to map new memory
# for each. Much smaller blocks spend more time on starting than on summing.
PRODUCTS_AT_ONCE = 4_000_000
SECONDS_BETWEEN_LINES = 30.0
# Why: sums of integers are exact, so that equal correlations are equal in any order of users.
# Relative error below 2e-9; no overflow below 1.5e9 users.
WEIGHT_UNIT = 2.0**-32
PIECES_PER_NEIGHBOUR = 4


class Neighbours(NamedTuple):
    """The most correlated items of each item, and the extremes of all correlations above 0."""

    items: Int32[np.ndarray, "rows top"]  # best first, 0 where there is none; row 0 is padding
    scores: Float32[np.ndarray, "rows top"]
    max_score: float
    min_score: float


class Block(NamedTuple):
    """The neighbours of some of the items."""

    owners: Int64[np.ndarray, " rows"]  # the items whose neighbours these are
    items: Int32[np.ndarray, "rows top"]
    scores: Float32[np.ndarray, "rows top"]
    min_score: float  # infinite when no item has a neighbour
    pairs: int  # (owner, other item) with a user in common


def item_neighbours(
    items: Int[np.ndarray, " interactions"],
    offsets: Int[np.ndarray, " bounds"],
    n_items: int,
    top: int,
) -> Neighbours:
    """The `top` most correlated items of each of the items 1..n_items; ties by index.

    User u has items[offsets[u] : offsets[u + 1]].

    Raises:
        ValueError: no two items share a user.
    """
    return joined(list(neighbour_blocks(items, offsets, n_items, top)), n_items)


def joined(blocks: list[Block], n_items: int) -> Neighbours:
    """One table of all blocks; ValueError when they have no neighbour."""
    if not sum(block.pairs for block in blocks):
        raise ValueError(
            "no user has two different items, so no item has a neighbour. Leave out the runs with "
            "views of kind informative"
        )
    top = blocks[0].items.shape[1]
    items = np.zeros((n_items + 1, top), np.int32)
    scores = np.zeros((n_items + 1, top), np.float32)
    for block in blocks:
        items[block.owners], scores[block.owners] = block.items, block.scores
    min_score = min(block.min_score for block in blocks)
    return Neighbours(items, scores, float(scores.max()), min_score)


def neighbour_blocks(
    items: Int[np.ndarray, " interactions"],
    offsets: Int[np.ndarray, " bounds"],
    n_items: int,
    top: int,
) -> Iterator[Block]:
    """Neighbours of every item that occurs, in blocks of about equal work."""
    # Why by popularity: most sums of a product are then adjacent in memory, in the cache.
    counts = np.bincount(items, minlength=n_items + 1)
    by_rank = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rank = np.zeros(n_items + 1, np.int32)
    rank[by_rank] = np.arange(len(by_rank))

    users_of, items_of = incidence(rank[items], offsets, len(by_rank))
    lengths = np.diff(items_of.indptr).astype(np.int64)
    weights = np.rint(1 / (np.log1p(lengths) * WEIGHT_UNIT)).astype(np.int64)
    norms = np.sqrt(WEIGHT_UNIT / np.diff(users_of.indptr))
    products = np.cumsum(users_of @ lengths)
    cuts = np.searchsorted(products, np.arange(PRODUCTS_AT_ONCE, products[-1], PRODUCTS_AT_ONCE))
    bounds = np.unique([0, *cuts, len(by_rank)])

    started = last_line = time.perf_counter()
    with tqdm(desc="products", total=int(products[-1]), unit_scale=True, disable=None) as bar:
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            some = users_of[begin:end]
            some.data = weights[some.indices]
            yield best_of(some @ items_of, begin, norms, by_rank, top)
            done = int(products[end - 1])
            bar.update(done - bar.n)
            if time.perf_counter() - last_line > SECONDS_BETWEEN_LINES:
                last_line = time.perf_counter()
                share, seconds = 100 * done / products[-1], last_line - started
                log.info("%d of %d items, %.0f%% in %.0f s", end, len(by_rank), share, seconds)


def incidence(
    items: Int32[np.ndarray, " interactions"], offsets: Int[np.ndarray, " bounds"], n_items: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Users of each item (int8) and items of each user (int64) as matrices of ones.

    Items are numbered from 0 here; a repeated item counts once.
    """
    ones = np.ones(len(items), np.int8)
    # Why: scipy takes the type of its indices from here, and 64 bits are slower.
    bounds = offsets.astype(np.int32 if len(items) < 2**31 else np.int64)
    with_repeats = sparse.csr_array((ones, items, bounds), shape=(len(bounds) - 1, n_items))
    users_of = with_repeats.T.tocsr()  # sorted: a counting sort, linear in time
    users_of.sum_duplicates()
    users_of.data[:] = 1
    items_of = users_of.T.tocsr()
    items_of.data = np.ones(items_of.nnz, np.int64)
    return users_of, items_of


def best_of(
    sums: sparse.csr_array,
    begin: int,
    norms: Float[np.ndarray, " items"],
    by_rank: Int64[np.ndarray, " items"],
    top: int,
) -> Block:
    """The best of each row of `sums`: weights summed over common users, for items from `begin` on.

    Items are numbered by rank; `norms` turns sums into correlations, `by_rank` ranks into items.
    """
    n_rows, others = sums.shape[0], sums.indices
    lengths = np.diff(sums.indptr)  # at least 1: the item itself
    rows = np.repeat(np.arange(begin, begin + n_rows, dtype=np.int32), lengths)
    # Why this order: norm times norm first makes both directions of a pair equal to the last bit.
    exact = norms[others]
    exact *= norms[rows]
    exact *= sums.data
    scores = exact.astype(np.float32)  # ties are ties of what is stored
    itself = np.flatnonzero(others == rows)
    scores[itself] = np.inf
    min_score = float(scores.min())
    scores[itself] = -1

    kept = np.flatnonzero(scores >= np.repeat(lower_bounds(scores, sums.indptr, top), lengths))
    kept_rows, kept_items = rows[kept] - begin, by_rank[others[kept]]
    order = np.lexsort((kept_items, -scores[kept], kept_rows))
    kept_rows = kept_rows[order]
    place = np.arange(len(order)) - np.searchsorted(kept_rows, kept_rows)
    order, kept_rows, place = (array[place < top] for array in (order, kept_rows, place))
    best_items = np.zeros((n_rows, top), np.int32)
    best_scores = np.zeros((n_rows, top), np.float32)
    best_items[kept_rows, place] = kept_items[order]
    best_scores[kept_rows, place] = scores[kept[order]]
    owners = by_rank[begin : begin + n_rows]
    return Block(owners, best_items, best_scores, min_score, len(scores) - len(itself))


def lower_bounds(
    scores: Float32[np.ndarray, " pairs"], bounds: Int[np.ndarray, " bounds"], top: int
) -> Float32[np.ndarray, " rows"]:
    """A score per row that at least `top` of its entries reach, if as many are 0 or more; else 0.

    A row is cut into pieces: the maxima of `top` pieces are `top` entries. Few others reach the
    lowest of the best maxima, so that only a few entries of each row are left to sort.
    """
    n_pieces = PIECES_PER_NEIGHBOUR * top
    lengths = np.diff(bounds).astype(np.int64)[:, None]
    starts = bounds[:-1, None] + lengths * np.arange(n_pieces) // n_pieces
    maxima = np.maximum.reduceat(scores, starts.ravel()).reshape(-1, n_pieces)
    reached = np.partition(maxima, n_pieces - top, axis=1)[:, n_pieces - top]
    # In a row with fewer entries than pieces, several maxima are the same entry.
    return np.where(lengths[:, 0] < n_pieces, 0, np.maximum(reached, 0)).astype(np.float32)


def write_neighbours(store_folder: Path, splits_folder: Path, top: int, out: Path) -> None:
    """Write the neighbours of a store's items by its training users; ValueError for bad input."""
    start = time.perf_counter()
    if top < 1:
        raise ValueError(f"top {top} is too few. Give 1 or more")
    on_disk.check_out(out)
    splits.check_user_split(splits_folder, store_folder)
    inputs = splits.user_data(store_folder, splits_folder)
    n_items = on_disk.read_checksums(on_disk.behaviours_folder(store_folder))["items"]
    items, offsets = training_rows(store_folder, splits_folder)
    n_users = len(offsets) - 1
    log.info("%d users, %d interactions, %d items", n_users, len(items), n_items)
    blocks = list(neighbour_blocks(items, offsets, n_items, top))
    neighbours = joined(blocks, n_items)
    manifest = {
        "top": top,
        "counts": {
            "users": n_users,
            "items": n_items,
            "items_without_neighbour": int((neighbours.items[1:, 0] == 0).sum()),
            "pairs": sum(block.pairs for block in blocks),
        },
    }
    arrays = {"items.npy": neighbours.items, "scores.npy": neighbours.scores}
    extremes = {"max_score": neighbours.max_score, "min_score": neighbours.min_score}
    on_disk.write_arrays(out, arrays, extremes, manifest, inputs=inputs, started=start)
    log.info("neighbours of %d items in %.0f s", n_items, time.perf_counter() - start)


def training_rows(
    store_folder: Path, splits_folder: Path
) -> tuple[Int32[np.ndarray, " interactions"], Int64[np.ndarray, " bounds"]]:
    """Items and offsets of the training users."""
    is_train = splits.load_user_split(splits_folder).numpy() == splits.TRAIN
    behaviours = on_disk.behaviours_folder(store_folder)
    lengths = np.diff(on_disk.read_array(behaviours, "offsets.npy"))
    items = on_disk.read_array(behaviours, "items.npy")
    return items[np.repeat(is_train, lengths)], offsets_of(lengths[is_train])


def load_neighbours(folder: Path) -> Neighbours:
    """Read what `write_neighbours` wrote; ValueError when a file is not as written."""
    checksums = on_disk.read_checksums(folder)
    items, scores = (on_disk.read_array(folder, name) for name in ("items.npy", "scores.npy"))
    return Neighbours(items, scores, checksums["max_score"], checksums["min_score"])


@command
def main(argv: list[str] | None = None) -> None:
    """Write the neighbours of a store's items."""
    parser = command_line.parser("neighbours", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="folder of the array store")
    parser.add_argument("--splits", type=Path, required=True, help="folder of its splits")
    parser.add_argument("--top", type=int, required=True, help="neighbours per item")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    write_neighbours(args.store, args.splits, args.top, args.out)
