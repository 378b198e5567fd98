"""Write counts of items as user vectors: the baseline that vectors of encoders must beat.

userbench counts --store DATA --max-length 150 --width 256 --out counts.parquet

In the field's public tables, aggregated counts are features that are hard to beat. The vector of a
user is log(1 + count) of each of the items that most users have, and last log(1 + number of her
behaviours). Which items these are is counted over all users of the store, as pre-training sees
them. `--max-length`: her latest behaviours alone, as many as an encoder reads.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from userbench import command_line
from userbench.command_line import at_least
from userbench.data.arrays import behaviours_folder, read_array, read_checksums
from userbench.data.ids import ids_folder, user_ids
from userbench.data.ragged import offsets_of
from userbench.data.vectors import USERS_AT_ONCE, check_suffix, write_vectors, written_beside
from userbench.errors import command
from userbench.results.artifact import fingerprint, fingerprints, record


class Counts(NamedTuple):
    """How often each user has each item, and the items that most users have."""

    counts: csr_array
    items: Int64[np.ndarray, " columns"]


@command
def main(argv: list[str] | None = None) -> None:
    """Write the vectors of all users."""
    parser = command_line.parser("counts", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--max-length", type=at_least(1), help="latest behaviours that count")
    parser.add_argument("--width", type=at_least(2), default=256, help="numbers in a vector")
    parser.add_argument("--out", type=Path, required=True, help=".parquet or .npy file to write")
    args = parser.parse_args(argv)
    check_suffix(args.out)
    behaviours = behaviours_folder(args.store)
    found = count_items(behaviours, args.max_length, args.width - 1)
    about = {
        "run": "item-counts",
        "corpus": args.store.name,
        "behaviours": fingerprint(behaviours),
        "width": len(found.items) + 1,
    }
    write_vectors(args.out, user_ids(args.store), vectors(found), about)
    read = [behaviours, *([ids_folder(args.store)] if ids_folder(args.store).is_dir() else [])]
    settings = {"store": args.store, "max_length": args.max_length, "width": args.width}
    record(args.out, settings, fingerprints(read), written_beside(args.out))


def count_items(behaviours: Path, max_length: int | None, columns: int) -> Counts:
    """The counts of all users, and at most so many items."""
    items, offsets = (read_array(behaviours, name) for name in ("items.npy", "offsets.npy"))
    if max_length is not None:
        lengths = np.diff(offsets)
        from_end = np.repeat(offsets[1:], lengths) - np.arange(len(items))
        items = items[from_end <= max_length]
        offsets = offsets_of(np.minimum(lengths, max_length))
    shape = len(offsets) - 1, read_checksums(behaviours)["items"] + 1
    counts = csr_array((np.ones(len(items), np.float32), items, offsets), shape)
    counts.sum_duplicates()
    users = np.bincount(counts.indices, minlength=shape[1])[1:]
    # The lower item is the first of those that equally many users have.
    most = np.argsort(-users, kind="stable")[:columns] + 1
    return Counts(counts, most)


def vectors(found: Counts) -> Iterator[Float32[np.ndarray, "some width"]]:
    """Vectors of all users, a part of them at a time."""
    for begin in range(0, found.counts.shape[0], USERS_AT_ONCE):
        counts = found.counts[begin : begin + USERS_AT_ONCE]
        of_items = counts[:, found.items].toarray()
        yield np.log1p(np.column_stack([of_items, counts.sum(1)])).astype(np.float32)
