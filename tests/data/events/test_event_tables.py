"""Tables of rows are read as they are written, whatever they are kept in."""

import bz2
import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from event_tables import HEADER, LOG, blocks, rows, write
from permissions import folder_of_everybody, of_another_user

from userbench.data.events.containers import TableFile, find_files, opened

ROWS = [("u1", "a", 5), ("u2", "b", 6), ("u1", "007", 6)]


@pytest.fixture
def read(tmp_path):
    """Write one file and read its rows."""

    def read(content, name="log.csv", **settings):
        write(tmp_path, {name: content})
        return rows(blocks(tmp_path, [name], **settings))

    return read


def zipped(content: bytes) -> bytes:
    """A gzip member. Why without a time: the content is the name of a test."""
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    """One zstd frame."""
    return pa.Codec("zstd").compress(content, asbytes=True)


@pytest.mark.parametrize(
    "name, content",
    [
        ("log.csv", LOG),
        ("log.CSV", LOG.replace("\n", "\r\n")),
        ("log", "\ufeff" + LOG[:-1]),
        ("log.tsv", LOG.replace(",", "\t")),
        ("blank.csv", LOG.replace("\n", "\n\n")),
        ("log.txt", LOG.replace(",", " ")),
        (
            "log.csv.gz",
            gzip.compress(LOG[:20].encode(), mtime=0) + gzip.compress(LOG[20:].encode()),
        ),
        ("log.csv.bz2", bz2.compress(LOG.encode())),
        ("misnamed.csv", zstd(LOG[:20].encode()) + zstd(LOG[20:].encode())),
        ("log.csv", HEADER + '"u1","a",5\n"u2",b,6\nu1,"007",6\n'),
        ("log.csv", 'user,item,title,time\nu1,a,"x, ""y""\nz",5\nu2,b,1,6\nu1,007,"",6\n'),
        ("log.tsv", 'user\titem\ttime\ttitle\n"u1"\ta\t5\t"7 in\nu2\tb\t6\t\nu1\t007\t6\t"x"\n'),
        ("log.inter", "item:token\tuser:token\ttime:float\na\tu1\t5\nb\tu2\t6\n007\tu1\t6\n"),
    ],
)
def test_every_container_and_layout_holds_the_same_rows(read, name, content):
    """If wrong: the same log is another one when it is compressed, quoted or rewritten."""
    assert read(content, name) == ROWS


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    """If wrong: the order of events depends on the file system; Spark's own files are read."""
    parts = {f"log.csv/day{k}/part": HEADER + line + "\n" for k, line in enumerate(LOG.split()[1:])}
    write(tmp_path, parts | {"log.csv/_SUCCESS": "", "log.csv/day0/.part.crc": "x"})
    assert rows(blocks(tmp_path, ["log.csv"])) == ROWS
    assert rows(blocks(tmp_path, ["log.csv/day2", "log.csv/day0"])) == [ROWS[2], ROWS[0]]
    assert rows(blocks(tmp_path / "log.csv", ["."])) == ROWS


def test_a_zip_is_a_folder_and_nothing_of_it_is_unpacked_to_the_disk(tmp_path):
    table = pa.table({"user": ["u1"], "item": ["a"], "time": [5]})
    write(tmp_path, {"log.parquet": table})
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.csv.gz", zipped(LOG.encode()))
        archive.writestr("ml-1m/log.parquet", (tmp_path / "log.parquet").read_bytes())
        archive.writestr("__MACOSX/ml-1m/._ratings.csv.gz", b"\0")
    before = sorted(tmp_path.iterdir())
    assert rows(blocks(tmp_path / "ml.zip", ["ratings.csv.gz"])) == ROWS
    assert rows(blocks(tmp_path / "ml.zip", ["ml-1m/log.parquet"])) == ROWS[:1]
    assert rows(blocks(tmp_path, ["ml.zip"])) == ROWS[:1] + ROWS
    assert sorted(tmp_path.iterdir()) == before


def test_raw_may_be_the_file_itself(tmp_path):
    write(tmp_path, {"log.csv": LOG})
    assert rows(blocks(tmp_path / "log.csv", ["log.csv"])) == ROWS


def test_movielens_and_bytes_of_columns_that_are_not_read(read):
    """If wrong: an accent in a title, which MovieLens writes in latin-1, stops the reading."""
    content = b"1::1193::978300760::caf\xe9\n2::7::978300761::x:y\n"
    names = ["user", "item", "time", "title"]
    expected = [("1", "1193", 978300760), ("2", "7", 978300761)]
    assert read(content, "ratings.dat", columns=names) == expected


def test_a_file_knows_its_bytes_and_its_rows(tmp_path):
    """If wrong: the manifest names another file than the one that was read."""
    import hashlib

    packed = zipped((LOG + "u9,z,1\n").encode())
    write(tmp_path, {"log.csv.gz": packed})
    file = blocks(tmp_path, ["log.csv.gz"], filter={"time": ">= 5"})[0].file
    described = file.described()
    assert described["sha256"] == hashlib.sha256(packed).hexdigest()
    assert (described["size"], described["rows"], described["filtered"]) == (len(packed), 3, 1)
    assert described["modified"] == (tmp_path / "log.csv.gz").stat().st_mtime_ns


@pytest.mark.parametrize("quote", ["", '"'])
def test_blocks_do_not_change_rows_or_lines(tmp_path, monkeypatch, quote):
    """If wrong: a row at the edge of two blocks is lost, or a bad row has the wrong line."""
    from userbench.data.events import containers
    from userbench.data.format import BadRows

    lines = [f"{quote}u{k}{quote},{k % 7},{k}" for k in range(300)]
    lines[123] = f"{quote}u123{quote},1,"
    lines[200] = '"two\nlines",1,200'
    lines[250] = "u250"
    write(tmp_path, {"log.csv": HEADER + "\n".join(lines)})
    for chunk in (7, 100, 4 << 20):
        monkeypatch.setattr(containers, "CHUNK", chunk)
        bad = BadRows(2)
        found = blocks(tmp_path, ["log.csv"], bad)
        assert len(rows(found)) == 298
        assert [row.line for row in bad.rows] == [125, 253]
        at = [line for block in found for line in block.lines.tolist()]
        assert at == [k + 2 + (k > 200) for k in range(300) if k not in (123, 250)]
        assert rows(found)[199] == ("two\nlines", "1", 200)


def test_ids_and_times_of_texts_are_what_is_written(read):
    """If wrong: 007 becomes 7, large numbers become doubles (duckdb 25824, 5782, 22802, 15376)."""
    line = "18446744073709551616,9007199254740993,9007199254740993\n"
    assert read(HEADER + "007,0.10,1\n" + line) == [
        ("007", "0.10", 1),
        ("18446744073709551616", "9007199254740993", 9007199254740993),
    ]
    assert read(HEADER + "1,a,1609459200.123456\n1,b,7\n") == [
        ("1", "a", 1609459200.123456),
        ("1", "b", 7.0),
    ]
    assert read(HEADER + "12.0,1,1\n12.,1.0,1\n") == [("12", "1", 1), ("12", "1.0", 1)]


@pytest.mark.parametrize(
    "texts, expected",
    [
        (["2015-01-31", "2015-02-01"], ["2015-01-31 00:00:00", "2015-02-01 00:00:00"]),
        (["2015-01-31 10:00:00.5"], ["2015-01-31 10:00:00.500000"]),
        (["2019-10-01 00:00:00 UTC"], ["2019-10-01 00:00:00+00:00"]),
        (["2019-10-01T02:00:00+02:00", "2019-10-01T00:00:00Z"], ["2019-10-01 00:00:00+00:00"] * 2),
    ],
)
def test_times_of_texts(read, texts, expected):
    found = read(HEADER + "".join(f"1,1,{text}\n" for text in texts))
    assert [str(row[2]) for row in found] == expected


def test_types_of_parquet(read):
    """If wrong: ids of gaps become doubles (pandas 44846), or a type that is kept is refused."""
    from decimal import Decimal

    def user(values):
        table = {"user": values, "item": ["a"] * len(values), "time": [1] * len(values)}
        return [row[0] for row in read(pa.table(table), "log.parquet")]

    assert user(pa.array([1.0, 2.0])) == [1, 2]
    assert user(pa.array([1, 2], pa.int8())) == [1, 2]
    assert user(pa.array([2**63, 3], pa.uint64())) == ["9223372036854775808", "3"]
    assert user(pa.array([Decimal(2**70)], pa.decimal128(30, 0))) == [str(2**70)]
    assert user(pa.array(["a", "b"]).dictionary_encode()) == ["a", "b"]
    assert user(pa.array([b"a", b"b"])) == ["a", "b"]
    assert user(pa.array(["x"], pa.large_string())) == ["x"]
    assert user(pa.array(["x"], pa.string_view())) == ["x"]

    labels = pa.table({"user": [1, 2, 3], "label": [1.0, 2.5, 3.0], "time": [1, 2, 3]})
    found = read(labels, "labels.parquet", item=None, label="label")
    assert found == [(1, 1, "1"), (2, 2, "2.5"), (3, 3, "3")]


@pytest.mark.parametrize(
    "condition, kept",
    [
        (">= 4", "ae"),
        ("< 4", "b"),
        ("== 5", "ae"),
        ("== '5.0'", "ae"),
        ("!= 3", "acde"),
        ("in 3, view", "bd"),
        ("== view", "d"),
        (">= u", "d"),
    ],
)
def test_rows_that_do_not_meet_the_filter_are_no_bad_rows(read, condition, kept):
    """If wrong: other events than the config says; numbers are compared as texts."""
    ratings = {"a": "5", "b": "3", "c": "", "d": "view", "e": "5.0"}
    if condition[0] in "<>" and condition != ">= u":
        del ratings["d"]  # no number, and refused
    content = "user,item,time,rating\n" + "".join(f"1,{k},1,{v}\n" for k, v in ratings.items())
    content += ",z,,1\n" if condition != "!= 3" else ""
    keep = {"filter": {"rating": condition}}
    if condition == "< 4":
        content = content.replace(",z,,1\n", "")
    assert "".join(row[1] for row in read(content, **keep)) == kept


def test_numbers_of_parquet_are_compared_as_numbers(read):
    table = pa.table(
        {"user": [1, 2, 3], "item": [7, 8, 9], "time": [1, 2, 3], "r": [10.0, 4, None]}
    )
    assert [row[0] for row in read(table, "log.parquet", filter={"r": ">= 5"})] == [1]
    assert [row[0] for row in read(table, "log.parquet", filter={"r": "== 4"})] == [2]


def test_many_rows_take_no_memory_of_the_file(tmp_path):
    """If wrong: a log that is larger than the memory cannot be read."""
    import tracemalloc

    write(tmp_path, {"log.csv": HEADER + "".join(f"{k},{k},{k}\n" for k in range(300_000))})
    from userbench.data.events.settings import Table
    from userbench.data.events.tables import read_table
    from userbench.data.format import BadRows

    tracemalloc.start()
    before = pa.total_allocated_bytes()
    table = Table(files=["log.csv"], user="user", item="item", time="time")
    peak = 0
    n_rows = 0
    for block in read_table(Path(tmp_path), table, BadRows()):
        n_rows += len(block.lines)
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert n_rows == 300_000
    assert peak + tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    """If wrong: a user fetches a log again whose permissions alone are wrong."""
    write(tmp_path, {"log.csv": LOG})
    assert rows(blocks(tmp_path, ["log.csv"])) == ROWS
    file = TableFile(tmp_path / "log.csv")
    (tmp_path / "log.csv").chmod(0)
    message = of_another_user(lambda: opened(file, 10**6).__enter__())
    assert message.startswith("PermissionError") and "log.csv" in message


def test_a_folder_that_may_not_be_listed_is_not_empty():
    """If wrong: the events of one day are left out of a corpus without a word."""
    with folder_of_everybody() as folder:
        write(folder, {"day1/log.csv": LOG, "day2/log.csv": LOG})
        (folder / "day2").chmod(0)
        message = of_another_user(lambda: find_files(folder, ["."]))
        assert message.startswith("PermissionError") and "day2" in message
