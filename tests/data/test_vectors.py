"""Files of user vectors, as they are written and as other programs write them."""

import errno
import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

IDS = ["u7", "007", "ä", "7"]


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def parquet(path, values, ids=IDS, kind=None):
    """A file as another program writes it."""
    vectors = pa.array([row.tolist() for row in values], kind or pa.list_(pa.float32()))
    pq.write_table(pa.table({"user": pa.array(ids), "vector": vectors}), path)
    return path


@pytest.mark.parametrize("name", ["v.parquet", "v.npy"])
@pytest.mark.parametrize("ids", [IDS, [9, 2, 2**60, 0]])
def test_what_is_written_is_read(tmp_path, values, name, ids, monkeypatch):
    """Wrong: vectors and ids lose their order, digits, type, or what made them."""
    from userbench.data import vectors

    monkeypatch.setattr(vectors, "USERS_AT_ONCE", 2)
    for file in (tmp_path / name, tmp_path / "again" / name):
        blocks = iter([values[:1], values[1:3], values[3:]])
        vectors.write_vectors(file, pa.array(ids), blocks, {"width": 3, "run": "a"})
    found = vectors.read_vectors(tmp_path / name)
    assert found.ids.to_pylist() == ids and np.array_equal(found.values, values)
    assert found.about == {"width": 3, "run": "a"}
    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_file_is_what_other_programs_expect(tmp_path, values):
    """Wrong: vectors come as bytes, doubles or lists of any length."""
    from userbench.data.vectors import write_vectors

    write_vectors(tmp_path / "v.parquet", pa.array(IDS), iter([values]), {"width": 3})
    schema = pq.read_schema(tmp_path / "v.parquet")
    assert schema.field("vector").type == pa.list_(pa.float32(), 3)
    frame = pd.read_parquet(tmp_path / "v.parquet")
    assert frame["user"].tolist() == IDS
    assert np.array_equal(np.stack(frame["vector"]), values)
    write_vectors(tmp_path / "v.npy", pa.array(IDS), iter([values]), {"width": 3})
    assert np.array_equal(np.load(tmp_path / "v.npy"), values)


def test_vectors_that_are_no_numbers_are_not_written(tmp_path, values):
    """Wrong: a diverged encoder leaves a file, or one that is cut off."""
    from userbench.data.vectors import write_vectors
    from userbench.errors import NotANumber

    values[2, 1] = np.nan
    for name in ("v.parquet", "v.npy"):
        with pytest.raises(NotANumber, match="v.*: the vector of user ä is not a number"):
            write_vectors(tmp_path / name, pa.array(IDS), iter([values]), {"width": 3})
    assert {path.name for path in tmp_path.iterdir()} <= {"v.ids.parquet"}


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.list_(kind) for kind in (pa.float16(), pa.float32(), pa.float64(), pa.int64())),
        pa.large_list(pa.float64()),
        pa.list_(pa.float16(), 3),
    ],
)
def test_vectors_of_every_type_of_list_are_float32(tmp_path, values, kind):
    """Wrong: what pandas, polars or torch write is refused, or read with other values."""
    from userbench.data.vectors import read_vectors

    rounded = (values * 100).astype(np.int64) if kind.value_type == pa.int64() else values
    rounded = rounded.astype(np.float16) if kind.value_type == pa.float16() else rounded
    found = read_vectors(parquet(tmp_path / "v.parquet", rounded, kind=kind))
    assert found.values.dtype == np.float32 and found.about == {}
    assert np.array_equal(found.values, rounded.astype(np.float32))


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        (pa.array(["a", "b", "a2", "c"]).dictionary_encode(), ["a", "b", "a2", "c"]),
        (pa.array(["1", "2", "3", "04"], pa.large_string()), ["1", "2", "3", "04"]),
        (pa.array([12.0, 3.0, 1.0, 2.0]), [12, 3, 1, 2]),
        (pa.array([1, 2, 3, 2**63], pa.uint64()), [1, 2, 3, 2**63]),
    ],
)
def test_ids_keep_their_texts(tmp_path, values, ids, read):
    """Wrong: ids of a pandas category, or of a column with gaps, are joined to nobody."""
    from userbench.data.vectors import read_vectors

    table = pa.table({"user": ids, "vector": values.tolist()})
    pq.write_table(table, tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet").ids.to_pylist() == read


@pytest.mark.parametrize("kind", ["txt", "npy", "parquet"])
def test_arrays_have_their_ids_beside_them(tmp_path, values, kind):
    """Wrong: an array with any of the three files of ids is not read."""
    from userbench.data.vectors import read_vectors

    np.save(tmp_path / "v.npy", values.astype(np.float16))
    if kind == "txt":
        (tmp_path / "v.ids.txt").write_text("\r\n".join(IDS) + "\r\n", encoding="utf-8")
    elif kind == "npy":
        np.save(tmp_path / "v.ids.npy", np.array(IDS))
    else:
        pq.write_table(pa.table({"user": IDS}), tmp_path / "v.ids.parquet")
    found = read_vectors(tmp_path / "v.npy")
    assert found.ids.to_pylist() == IDS
    assert np.array_equal(found.values, values.astype(np.float16).astype(np.float32))


def save_array(tmp_path, array, ids=None):
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    if ids is not None:
        np.save(tmp_path / "v.ids.npy", ids, allow_pickle=True)
    return tmp_path / "v.npy"


def cut_off(tmp_path, values):
    path = parquet(tmp_path / "v.parquet", values)
    path.write_bytes(path.read_bytes()[:-20])
    return path


def table(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


def changed(values, place, value):
    values = values.astype(np.float64)
    values[place] = value
    return values


F64 = pa.list_(pa.float64())
BAD = {
    "nobody": (lambda p, v: p / "v.parquet", "v.parquet: does not exist"),
    "suffix": (lambda p, v: p / "v.csv", r"v.csv: vectors are .parquet or .npy files"),
    "cut off": (cut_off, "v.parquet: cannot be read as Parquet"),
    "column": (
        lambda p, v: table(p, user_id=[1], vector=[[1.0]]),
        "needs one column 'user', its columns are user_id, vector",
    ),
    "wide": (lambda p, v: table(p, user=[1], x0=[1.0]), "needs one column 'vector'"),
    "scalar": (lambda p, v: table(p, user=[1], vector=[1.0]), "`vector` is double. Write lists"),
    "texts": (lambda p, v: table(p, user=[1], vector=[["a"]]), "`vector` is list"),
    "no rows": (
        lambda p, v: table(p, user=pa.array([], "int64"), vector=pa.array([], F64)),
        "holds no vector",
    ),
    "width 0": (lambda p, v: table(p, user=[1, 2], vector=pa.array([[], []], F64)), "no vector"),
    "widths": (
        lambda p, v: table(p, user=[5, 6, 7], vector=[[1.0, 2], [3.0, 4], [5.0]]),
        "the vector of user 7 has 1 numbers, that of 5 has 2",
    ),
    "gap": (lambda p, v: table(p, user=[5, 6], vector=[[1.0], None]), "user 6 has no vector"),
    "number": (
        lambda p, v: table(p, user=[5, 6], vector=[[1.0, 2.0], [None, 2.0]]),
        "the vector of user 6 lacks a number",
    ),
    "no id": (lambda p, v: table(p, user=["a", None], vector=[[1.0]] * 2), "row 2 has no id"),
    "half": (lambda p, v: table(p, user=[1.0, 1.5], vector=[[1.0]] * 2), "is no whole number"),
    "bool": (lambda p, v: table(p, user=[True], vector=[[1.0]]), "`user` is bool"),
    "twice": (
        lambda p, v: table(p, user=["3", "4", "4"], vector=[[1.0]] * 3),
        "user 4 has several vectors",
    ),
    "nan": (
        lambda p, v: parquet(p / "v.parquet", changed(v, (1, 2), np.nan)),
        "the vector of user 007 is not of finite numbers",
    ),
    "overflow": (
        lambda p, v: parquet(p / "v.parquet", changed(v, (3, 0), 1e300), kind=F64),
        "the vector of user 7 is not of finite numbers of float32",
    ),
    "flat": (lambda p, v: save_array(p, v[0], IDS), r"holds float32 of shape \(3,\)"),
    "complex": (lambda p, v: save_array(p, v + 1j, IDS), "holds complex64"),
    "pickle": (lambda p, v: save_array(p, np.array([{}])), "cannot be read as an array"),
    "no ids": (lambda p, v: save_array(p, v), "no file of ids beside it. Write .* v.ids.parquet"),
    "few ids": (lambda p, v: save_array(p, v, np.arange(3)), "v.npy: 4 vectors, 3 ids"),
    "ids of pickle": (
        lambda p, v: save_array(p, v, np.array(IDS, dtype=object)),
        "v.ids.npy: cannot be read as an array",
    ),
    "ids of two axes": (lambda p, v: save_array(p, v, np.array([IDS])), "an array of shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line(tmp_path, values, name):
    """Wrong: a row is joined to nobody, or NaN trains a head."""
    from userbench.data.vectors import read_vectors
    from userbench.errors import describe_error

    make, message = BAD[name]
    path = make(tmp_path, values)
    with pytest.raises(ValueError, match=message) as caught:
        read_vectors(path)
    line = describe_error(caught.value)
    assert str(tmp_path) in line and "\n" not in line


@pytest.mark.parametrize("name", ["v.parquet", "v.npy", "v.ids.parquet"])
def test_damaged_files_are_vectors_or_one_line(tmp_path, values, name):
    """Wrong: a file that was cut off or changed ends in a traceback, or asks for all memory."""
    from userbench.data.vectors import read_vectors, write_vectors

    file = tmp_path / ("v.parquet" if name == "v.parquet" else "v.npy")
    write_vectors(file, pa.array(IDS), iter([values]), {"width": 3})
    good, random, refused = (tmp_path / name).read_bytes(), np.random.default_rng(0), 0
    for length in random.integers(1, 30, size=150):
        place, noise = random.integers(len(good)), random.integers(256, size=length).tolist()
        bad = bytes(noise) if length < 15 else b""
        (tmp_path / name).write_bytes(good[:place] + bad + good[place + length :])
        try:
            read_vectors(file)
        except ValueError as problem:
            assert str(tmp_path) in str(problem)
            refused += 1
    assert refused > 75


def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path, values):
    """Wrong: vectors that were changed after `embed` wrote them keep their good name."""
    from userbench.data.vectors import read_vectors
    from userbench.results.artifact import record

    record(parquet(tmp_path / "v.parquet", values), {})
    assert len(read_vectors(tmp_path / "v.parquet").ids) == 4
    parquet(tmp_path / "v.parquet", values + 1)
    with pytest.raises(ValueError, match="v.parquet: damaged: its checksum differs"):
        read_vectors(tmp_path / "v.parquet")


def test_several_files_of_ids_are_refused(tmp_path, values):
    """Wrong: the ids of an older run name the vectors of a newer one."""
    from userbench.data.vectors import read_vectors

    path = save_array(tmp_path, values, np.arange(4))
    (tmp_path / "v.ids.txt").write_text("\n".join(IDS))
    with pytest.raises(ValueError, match="several files of ids"):
        read_vectors(path)


@pytest.mark.parametrize("metadata", [b"no JSON", b"[1]", json.dumps({"run": "x"}).encode()])
def test_metadata_of_others_do_not_matter(tmp_path, values, metadata):
    from userbench.data.vectors import read_vectors

    table = pa.table({"user": IDS, "vector": values.tolist()})
    table = table.replace_schema_metadata({b"userbench": metadata})
    pq.write_table(table, tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet").about in ({}, {"run": "x"})


def test_arrays_are_read_where_files_cannot_be_mapped(tmp_path, monkeypatch):
    """Wrong: on some file systems in user space, no store is written and no vector read."""
    from userbench.data.arrays import describe_arrays, save_array
    from userbench.data.vectors import load_array

    def refuse(*_, **__):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr("mmap.mmap", refuse)
    save_array(tmp_path / "v.npy", np.arange(6).reshape(3, 2))
    assert np.array_equal(load_array(tmp_path / "v.npy"), [[0, 1], [2, 3], [4, 5]])
    assert describe_arrays(tmp_path)["v.npy"]["shape"] == [3, 2]
