"""Parquet files of rows -> the columns that are read, with the number of each row from 1."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from userbench.data.events.containers import Content, readable
from userbench.data.events.layout import check_once, listed, place_of, wanted
from userbench.data.events.settings import Table
from userbench.data.events.text import Columns

ROWS = 1 << 17  # read at once


def read_parquet(content: Content, table: Table) -> Iterator[Columns]:
    """Read the columns of a table from a Parquet file, block by block, in file order.

    Raises:
        ValueError: a column is missing, the file is damaged, or too many rows are in it.
    """
    file = content.file
    if table.columns is not None:
        raise ValueError(f"{file}: Parquet names its columns. Remove `columns` from the config")
    # Why: a checksum is of all bytes, and a compressed file cannot be read from its end.
    if content.is_plain:
        for _ in content.chunks():
            pass
        source = file.path
    else:
        source = pa.BufferReader(b"".join(content.chunks()))
    with readable(file):
        opened = pq.ParquetFile(source, page_checksum_verification=True)
        names, n_rows = opened.schema_arrow.names, opened.metadata.num_rows
    read = {name: place_of(name, names) for name in wanted(table)}
    for name, place in read.items():
        if place is None:
            raise ValueError(
                f"{file}: no column {name!r}; there are: {listed(names)}. Name one of them"
            )
    check_once(wanted(table), names, file)
    if n_rows > table.max_rows:
        raise ValueError(
            f"{file}: {n_rows:,} rows, {table.max_rows:,} allowed. Raise max_rows if this is right"
        )
    columns = list(dict.fromkeys(names[place] for place in read.values()))
    with readable(file):
        batches = opened.iter_batches(ROWS, columns=columns, use_threads=False)
    row = 1
    while True:
        with readable(file):
            batch = next(batches, None)
            if batch is None:
                break
            found = {name: simple(batch[names[place]]) for name, place in read.items()}
        yield Columns(found, np.arange(row, row + batch.num_rows), [])
        row += batch.num_rows


def simple(values: pa.Array) -> pa.Array:
    """A column without what is only a way to keep it: dictionaries, large texts, bytes."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    is_text = (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
    return values.cast(pa.string()) if is_text else values
