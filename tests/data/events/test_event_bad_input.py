"""Bad tables of rows: one line with file, row or line, and the remedy."""

import gzip
import io
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_tables import HEADER, LOG, blocks, rows, write

REMEDY = r"\. [A-Z][a-z]+ [^.]*"


@pytest.fixture
def refused(tmp_path):
    """Write one file and read it: the message, without the folder."""

    def refused(content, name="log.csv", **settings):
        write(tmp_path, content if isinstance(content, dict) else {name: content})
        with pytest.raises(ValueError) as error:
            blocks(tmp_path, [name], **settings)
        message = str(error.value)
        assert type(error.value) is ValueError and "\n" not in message
        assert re.search(REMEDY + "$", message), message
        return message.replace(f"{tmp_path}/", "").replace(str(tmp_path), "RAW")

    return refused


@pytest.mark.parametrize(
    "line, reason",
    [
        (",a,5", "user is missing"),
        ("NaN,a,5", "user is missing"),
        ("u1,None,5", "item is missing"),
        ("u1,,5", "item is missing"),
        ("-1,a,5", "user -1 is negative"),
        ("u1,-5,5", "item -5 is negative"),
        ("12.5,a,5", "user 12.5 is no whole number"),
        ("u1,a,", "time is missing"),
        ("u1,a,x", "time 'x' is neither a number nor like 2015-01-31 12:00:00"),
        ("u1,a,0x10", "time '0x10' is neither"),
        ("u1,a,5.5", "time '5.5' is one of the decimal numbers, others are whole numbers"),
        ("u1,a,9223372036854775808", "time '9223372036854775808' has more digits than are kept"),
        ("u1,a,2015-01-01", "time '2015-01-01' is one of the times without a zone, others are"),
        ("u1,a", "2 columns where there should be 3, separated by commas"),
        ("u1", "1 column where there should be 3"),
        ("u1,a,5,6", "4 columns where there should be 3"),
        ("u1;a;5", "the header is separated by commas, this line by semicolons"),
        ("u1\ta\t5", "the header is separated by commas, this line by tabs"),
        ('"u1,a,5', "a quote is not closed"),
        ('"u"1,a,5', "a quote is opened and not closed, or within a field"),
        ("u1\0,a,5", "NUL byte"),
        ("u1\r,a,5", "a carriage return within the line"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(refused, tmp_path, line, reason):
    """If wrong: a row is read as something else, or the user looks for it in vain."""
    from userbench.data.format import BadRows

    message = refused(f"{LOG}{line}\n" + "u3,c,7\n" * 5)
    assert message.startswith("log.csv:5: ") and reason in message
    bad = BadRows(1)
    assert rows(blocks(tmp_path, ["log.csv"], bad))[-1] == ("u3", "c", 7)
    assert [row.line for row in bad.rows] == [5]
    # The whole of what is good is read where one bad row is allowed.
    assert len(rows(blocks(tmp_path, ["log.csv"], BadRows(1)))) == 8


@pytest.mark.parametrize(
    "times, line, reason",
    [
        (
            ["2015-01-01 10:00:00", "2015-01-01T10:00:00Z"],
            3,
            "with a zone, others are times without",
        ),
        (["2015-01-01T10:00:00+01:00", "2015-01-01"], 3, "without a zone, others are times with"),
        (["2015-01-01", "1420070400"], 3, "whole numbers, others are times without"),
        (["2015-13-01"], 2, "neither a number nor like"),
        (["01/02/2015"] * 9, 2, "neither a number nor like"),
        (["1.5", "0.123456789012345678"], 3, "more digits than are kept"),
        (["1.5", "9007199254740993"], 3, "one of the whole numbers, others are decimal"),
        (["1.5", "nan"], 3, "time is missing"),
        (["1.5", "1e999"], 3, "more digits than are kept"),
        (["x", "5", "6"], 2, "neither a number"),
    ],
)
def test_times_that_do_not_agree(refused, times, line, reason):
    """If wrong: hours are added or lost where zones mix; texts and numbers are ordered by guess."""
    message = refused(HEADER + "".join(f"1,1,{time}\n" for time in times))
    assert message.startswith(f"log.csv:{line}: ") and reason in message


def test_a_bad_first_time_does_not_decide_for_all(tmp_path):
    from userbench.data.format import BadRows

    write(tmp_path, {"log.csv": HEADER + "1,1,x\n1,2,\n1,3,5\n1,4,6\n"})
    assert rows(blocks(tmp_path, ["log.csv"], BadRows(2))) == [("1", "3", 5), ("1", "4", 6)]


@pytest.mark.parametrize(
    "content, settings, reason",
    [
        (LOG, {"item": "movie"}, "log.csv:1: no column 'movie'; there are: user, item, time (sep"),
        (LOG.replace(",", ";"), {"item": "m"}, "user, item, time (separated by semicolons)"),
        (LOG, {"separator": "\t"}, "there are: user,item,time (separated by tabs)"),
        (LOG, {"filter": {"rating": ">= 4"}}, "no column 'rating'"),
        (LOG, {"filter": {"time": "about 4"}}, "'about 4' is no condition"),
        (LOG, {"filter": {"item": "> 4"}}, "log.csv:2: item 'a' is no number"),
        (LOG, {"columns": ["user", "item", "time"]}, "log.csv:1: is a header line"),
        (LOG, {"columns": ["user", "item"]}, "no column 'time' among `columns`: user, item"),
        ("1::2::3::4\n", {}, "1, 2, 3, 4 (separated by '::')"),
        ("1::2::3::4\n", {"columns": ["user", "item", "time"]}, "4 columns, separated by '::'"),
        ("user,user,item,time\n", {}, "column 'user' is there twice"),
        ("user,item,time,title\n" * 2, {"max_rows": 1, "time": None}, None),
        ("", {}, "log.csv:1: the file is empty"),
        (HEADER, {}, "log.csv: no good row"),
        (LOG, {"filter": {"time": "> 9"}}, "no good row that meets the filter"),
        ("\n" + LOG, {}, "log.csv:1: blank line"),
        (LOG.encode("utf-16"), {}, "log.csv:1: NUL byte or UTF-16"),
        (LOG.replace("\n", "\r"), {}, "log.csv:1: lines end with a carriage return alone"),
        ("user,item,time\ncaf\xe9,1,2\n".encode("latin-1"), {}, "log.csv:2: not UTF-8: 'café'"),
        (b'{"user": 1}\n', {}, "log.csv: is JSON"),
        (b"\xd0\xcf\x11\xe0...", {}, "is an Excel file"),
        (gzip.compress(LOG.encode(), mtime=0)[:-5], {}, "log.csv: damaged or cut off"),
        (gzip.compress(gzip.compress(b"1", mtime=0), mtime=0), {}, "is compressed twice"),
        (LOG, {"max_rows": 2}, "more than 2 rows. Raise max_rows"),
    ],
)
def test_a_bad_file_is_named_with_its_reason(refused, content, settings, reason):
    if reason is None:
        return
    assert reason in refused(content, **settings)


def parquet(**columns):
    """A table with the other columns filled in."""
    n_rows = len(next(iter(columns.values())))
    others = {name: [1] * n_rows for name in ("user", "item", "time") if name not in columns}
    return pa.table(others | columns)


@pytest.mark.parametrize(
    "table, reason",
    [
        (parquet(user=[1.0, 12.5]), "log.csv:2: user 12.5 is no whole number"),
        (parquet(user=[1.0, float("nan")]), "log.csv:2: user is missing"),
        (parquet(user=[1.0, 2.0**53]), "log.csv:2: user 9007199254740992 is a float"),
        (parquet(user=[1, None]), "log.csv:2: user is missing"),
        (parquet(item=[1, 2, -1]), "log.csv:3: item -1 is negative"),
        (parquet(item=["a", ""]), "log.csv:2: item is missing"),
        (parquet(item=["a", None]), "log.csv:2: item is missing"),
        (parquet(item=[True]), "log.csv: item has type bool"),
        (parquet(item=[[1]]), "log.csv: item has type list"),
        (parquet(time=[1.5, float("inf")]), "log.csv:2: time 'inf'"),
        (parquet(time=["2015-01-01", None]), "log.csv:2: time is missing"),
        (parquet(time=pa.array([1], pa.timestamp("ns"))), "timestamp[ns] loses digits"),
        (parquet(time=[True]), "log.csv: time has type bool"),
        (pa.table({"user": [1], "time": [1]}), "no column 'item'; there are: user, time"),
    ],
)
def test_bad_parquet_is_named_with_its_row(refused, table, reason):
    assert reason in refused(table)


def test_files_that_disagree_in_types_are_refused(refused):
    """If wrong: 7 and "7" are two users, or half of a log is read as something else."""
    both = {"d/1.parquet": parquet(user=[1]), "d/2.parquet": parquet(user=["a"])}
    assert "d/2.parquet: user is string, in d/1.parquet int64" in refused(both, "d")
    both = {"e/1.parquet": parquet(time=[1]), "e/2.parquet": parquet(time=[1.5])}
    assert "e/2.parquet: time is decimal numbers, earlier whole numbers" in refused(both, "e")


def test_files_that_are_not_there(refused, tmp_path):
    """If wrong: a `.inter` file without its `.user` is a traceback (RecSysDatasets 91)."""
    write(tmp_path, {"ml.inter": LOG})
    assert (
        refused({}, "ml.user") == "RAW: holds no file ml.user; it holds: ml.inter. Name one of them"
    )
    both = {"a/r.csv": LOG, "b/r.csv": LOG}
    assert "more than one file is named r.csv: a/r.csv and b/r.csv" in refused(both, "r.csv")
    with pytest.raises(ValueError, match="does not exist. Name the folder, zip or file"):
        blocks(tmp_path / "none", ["r.csv"])
    with pytest.raises(ValueError, match="a/r.csv is named twice"):
        blocks(tmp_path, ["a/r.csv", "a"])


def test_damaged_parquet_and_zips(refused, tmp_path):
    stream = io.BytesIO()
    pq.write_table(parquet(user=list(range(3000))), stream)
    whole = stream.getvalue()
    assert "damaged or cut off" in refused(whole[:-9])
    assert "damaged or cut off" in refused(whole[:50] + b"\xff" * 20 + whole[70:])
    with zipfile.ZipFile(tmp_path / "l.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", LOG * 50)
    packed = bytearray((tmp_path / "l.zip").read_bytes())
    packed[45:55] = b"\xff" * 10
    assert "damaged or cut off" in refused(bytes(packed), "l.zip")


def test_what_unpacks_to_too_much_is_refused(refused, monkeypatch):
    """If wrong: a small file fills the memory or runs for days."""
    bomb = gzip.compress(HEADER.encode() + b"1,2,3\n" * 500_000, mtime=0)
    monkeypatch.setattr("userbench.data.events.containers.EXPANSION_LIMIT", 100)
    message = refused(bomb, max_unpacked_gib=0.001)
    assert "unpacks to more than" in message and "Raise max_unpacked_gib" in message
    assert "line longer than" in refused(b"u" * (5 << 20))
    assert "5,000 rows, 10 allowed. Raise max_rows" in refused(
        parquet(user=[1] * 5000), max_rows=10
    )
