"""Files of user vectors: written by `embed` and `counts`, or by whatever else makes vectors.

NAME.parquet   columns `user`, the id of a user, and `vector`, a list of numbers, of one length
NAME.npy       an array (users, width), the ids of its rows beside it: NAME.ids.parquet (column
               `user`), NAME.ids.npy or NAME.ids.txt (one a line)

Ids are those of `data/ids.py`. Files of this package say in their metadata what made the vectors.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32

from userbench.data.arrays import map_array
from userbench.errors import NotANumber, check_readable
from userbench.results.artifact import atomic, check_recorded, read_bytes

METADATA = b"userbench"
SUFFIXES = (".parquet", ".npy")
# Why: bounds the memory of a row group, however many users there are.
USERS_AT_ONCE = 1 << 15


class Vectors(NamedTuple):
    """User vectors, a row per user."""

    ids: pa.Array
    """Of the users, whole numbers or texts; none comes twice."""
    values: Float32[np.ndarray, "users width"]
    about: dict[str, Any]
    """What made them, as `write_vectors` was told; empty for other files."""


# ------------------------------------------------------------------------------------------- write


def check_suffix(out: Path) -> None:
    """ValueError unless a file of vectors can have this name."""
    if out.suffix not in SUFFIXES:
        raise ValueError(f"{out}: vectors are written as {' or '.join(SUFFIXES)}. Rename --out")


def written_beside(out: Path) -> list[Path]:
    """The files that `write_vectors` writes beside `out`."""
    return [out.with_suffix(".ids.parquet")] if out.suffix == ".npy" else []


def write_vectors(
    out: Path,
    ids: pa.Array,
    blocks: Iterable[Float32[np.ndarray, "some width"]],
    about: dict[str, Any],
) -> None:
    """Write vectors that come in blocks, in the order of `ids`; equal vectors give equal bytes.

    `about` has the key `width`.

    Raises:
        NotANumber: a value is infinite or NaN; nothing is written.
    """
    check_suffix(out)
    metadata = {METADATA: json.dumps(about)}
    if out.suffix == ".npy":
        table = pa.table({"user": ids}).replace_schema_metadata(metadata)
        with atomic(written_beside(out)[0]) as partial:
            pq.write_table(table, partial, compression="zstd")
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), about["width"])}
        with atomic(out) as partial, partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for _, values in numbers_of(out, ids, blocks):
                file.write(np.ascontiguousarray(values, "<f4").tobytes())
        return
    vector = pa.list_(pa.float32(), about["width"])
    schema = pa.schema([("user", ids.type), ("vector", vector)], metadata)
    with atomic(out) as partial, pq.ParquetWriter(partial, schema, use_dictionary=False) as writer:
        for some, values in numbers_of(out, ids, blocks):
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            columns = [some, pa.FixedSizeListArray.from_arrays(flat, type=vector)]
            writer.write_table(pa.table(columns, schema))


def numbers_of(
    out: Path, ids: pa.Array, blocks: Iterable[Float32[np.ndarray, "some width"]]
) -> Iterator[tuple[pa.Array, Float32[np.ndarray, "more width"]]]:
    """Ids and vectors, about `USERS_AT_ONCE` at a time; NotANumber, naming the user, for NaN."""
    gathered, done = [], 0
    for block in blocks:
        gathered.append(block)
        finite = np.isfinite(block).all(1)
        if not finite.all():
            user = ids[done + sum(map(len, gathered[:-1])) + int(finite.argmin())]
            raise NotANumber(f"{out}: the vector of user {user} is not a number")
        if sum(map(len, gathered)) >= USERS_AT_ONCE:
            values = np.concatenate(gathered)
            yield ids.slice(done, len(values)), values
            gathered, done = [], done + len(values)
    if gathered:
        yield ids.slice(done), np.concatenate(gathered)


# -------------------------------------------------------------------------------------------- read


def read_vectors(path: Path) -> Vectors:
    """Read a file of vectors.

    Raises:
        ValueError: it is none, or is not the one that its record names; says what to do.
    """
    check_there(path)
    check_recorded(path)
    table, values = (array_file if path.suffix == ".npy" else parquet_file)(path)
    ids = ids_of(path, table)
    if values is None:
        values = values_of(path, table["vector"].combine_chunks(), ids)
    if len(ids) != len(values):
        raise ValueError(f"{path}: {len(values)} vectors, {len(ids)} ids. Write one id per vector")
    if not values.size:
        raise ValueError(f"{path}: holds no vector. Write a row per user")
    finite = np.isfinite(values).all(1)
    if not finite.all():
        user = ids[int(finite.argmin())]
        raise ValueError(
            f"{path}: the vector of user {user} is not of finite numbers of float32, nor are "
            f"{int((~finite).sum()) - 1} others. Replace NaN and inf, or leave these users out"
        )
    counts = ids.cast(pa.string()).value_counts()
    if len(counts) < len(ids):
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise ValueError(f"{path}: user {twice} has several vectors. Write one row per user")
    return Vectors(ids, values, about_of(table))


def files_of(path: Path) -> list[Path]:
    """A file of vectors and, of an array, that of its ids; ValueError where one is missing."""
    check_there(path)
    return [path, *([ids_beside(path)] if path.suffix == ".npy" else [])]


def check_there(path: Path) -> None:
    """ValueError, with what to do, unless this can be a file of vectors."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: vectors are {' or '.join(SUFFIXES)} files. Convert it")
    if not path.is_file():
        raise ValueError(f"{path}: does not exist. Check the name of the vectors")


def ids_beside(path: Path) -> Path:
    """The file of the ids of an array; ValueError unless there is exactly one."""
    beside = [path.with_suffix(f".ids.{kind}") for kind in ("parquet", "npy", "txt")]
    found = [ids for ids in beside if ids.is_file()]
    if len(found) != 1:
        names = ", ".join(ids.name for ids in beside)
        what = "several files of ids" if found else "no file of ids"
        raise ValueError(f"{path}: {what} beside it. Write the id of each row to one of {names}")
    return found[0]


def about_of(table: pa.Table) -> dict[str, Any]:
    """What this package wrote into the metadata of a file; empty where it did not write it."""
    try:
        content = json.loads((table.schema.metadata or {})[METADATA])
    except (KeyError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def parquet_file(path: Path) -> tuple[pa.Table, None]:
    """The columns of a Parquet file."""
    return parquet_columns(path, ["user", "vector"]), None


def parquet_columns(path: Path, needed: list[str]) -> pa.Table:
    """These columns of a Parquet file; ValueError where it is damaged or has others."""
    with damaged(path):
        names = pq.ParquetFile(path).schema_arrow.names
    for name in needed:
        if names.count(name) != 1:
            raise ValueError(
                f"{path}: needs one column {name!r}, its columns are {', '.join(names)}. "
                f"Write the columns {' and '.join(needed)}"
            )
    with damaged(path):
        table = pq.read_table(path, columns=needed)
        table.validate(full=True)
        return table


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises of a damaged file into a ValueError."""
    try:
        yield
    # Of names that are no UTF-8 it raises a UnicodeDecodeError, of damaged sizes a MemoryError.
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as problem:
        check_readable(path, problem)
        raise ValueError(f"{path}: cannot be read as Parquet ({problem}). Write it again") from None


def array_file(path: Path) -> tuple[pa.Table, Float32[np.ndarray, "users width"]]:
    """The ids beside an array, and the array."""
    values = load_array(path)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        what = f"{values.dtype} of shape {values.shape}"
        raise ValueError(f"{path}: holds {what}. Write floats of shape (users, width)")
    return read_ids(ids_beside(path)), as_float32(values)


def load_array(path: Path) -> np.ndarray:
    """An array of a .npy file, without anything that is pickled."""
    try:
        # Why mapped: a damaged header may ask for any memory, a map for no more than the file.
        return map_array(path)
    # NumPy parses the header as Python.
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as problem:
        check_readable(path, problem)
        what = f"cannot be read as an array ({problem})"
        raise ValueError(f"{path}: {what}. Write it by numpy.save, texts as dtype str") from None


def read_ids(path: Path) -> pa.Table:
    """The ids beside an array, as the column `user`."""
    if path.suffix == ".parquet":
        return parquet_columns(path, ["user"])
    if path.suffix == ".npy":
        ids = load_array(path)
        if ids.ndim != 1:
            raise ValueError(f"{path}: an array of shape {ids.shape}. Write one id per vector")
        return pa.table({"user": pa.array(ids)})
    try:
        # Why not splitlines: it also splits at characters that an id may contain.
        lines = read_bytes(path).decode().removesuffix("\n").split("\n")
        return pa.table({"user": [line.removesuffix("\r") for line in lines]})
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path}: is not UTF-8 ({problem}). Write it as UTF-8") from None


def ids_of(path: Path, table: pa.Table) -> pa.Array:
    """The column `user` as whole numbers or texts; ValueError for other types and missing ids."""
    ids = table["user"].combine_chunks()
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    if pa.types.is_floating(ids.type):
        try:
            ids = ids.cast(pa.int64())
        except pa.ArrowInvalid:
            remedy = "Write whole numbers or texts"
            raise ValueError(f"{path}: an id of `user` is no whole number. {remedy}") from None
    whole = pa.types.is_integer(ids.type)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not whole and not any(is_kind(ids.type) for is_kind in texts):
        raise ValueError(f"{path}: `user` is {ids.type}. Write whole numbers or texts")
    if ids.null_count:
        row = pc.is_null(ids).index(True).as_py()
        raise ValueError(f"{path}: row {row + 1} has no id in `user`. Give every vector one")
    return ids


def values_of(path: Path, column: pa.Array, ids: pa.Array) -> Float32[np.ndarray, "users width"]:
    """The column `vector` as an array; ValueError for other types, gaps and differing widths."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    is_list = any(is_kind(column.type) for is_kind in kinds)
    if not is_list or not (
        pa.types.is_floating(column.type.value_type) or pa.types.is_integer(column.type.value_type)
    ):
        raise ValueError(f"{path}: `vector` is {column.type}. Write lists of float32")
    if column.null_count:
        user = ids[pc.is_null(column).index(True).as_py()]
        raise ValueError(f"{path}: user {user} has no vector. Leave her out")
    lengths = pc.list_value_length(column)
    width = lengths[0].as_py() if len(lengths) else 0
    differs = pc.not_equal(lengths, width)
    if len(lengths) and pc.any(differs).as_py():
        row = differs.index(True).as_py()
        raise ValueError(
            f"{path}: the vector of user {ids[row]} has {lengths[row]} numbers, that of "
            f"{ids[0]} has {width}. Write vectors of one width"
        )
    flat = column.flatten()
    if flat.null_count:
        user = ids[pc.is_null(flat).index(True).as_py() // width]
        raise ValueError(f"{path}: the vector of user {user} lacks a number. Write all of them")
    return as_float32(flat.to_numpy(zero_copy_only=False).reshape(len(column), width))


def as_float32(values: np.ndarray) -> Float32[np.ndarray, "users width"]:
    """The numbers as float32; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)
