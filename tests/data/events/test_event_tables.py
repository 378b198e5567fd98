"""Tables of rows are read as they are written, or refused with the line and a remedy."""

import bz2
import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LOG = "user,item,time\nu1,a,5\nu2,b,6\nu1,007,6\n"


@pytest.fixture
def read(tmp_path):
    """Write files and read them as one table: its rows as tuples of role values, lines with it."""
    from userbench.data.events.settings import Table
    from userbench.data.events.tables import read_table
    from userbench.data.format import BadRows

    def read(content_of, raw=tmp_path, bad=None, **settings):
        for name, content in content_of.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pa.Table):
                pq.write_table(content, path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        settings = {"user": "user", "item": "item", "time": "time"} | settings
        table = Table(**{"files": list(content_of)} | settings)
        blocks = list(read_table(raw, table, bad or BadRows()))
        return [
            row
            for block in blocks
            for row in zip(*(column.to_pylist() for column in block.columns.values()), strict=True)
        ]

    return read


ROWS = [("u1", "a", 5), ("u2", "b", 6), ("u1", "007", 6)]


def test_every_container_holds_the_same_rows(read, tmp_path):
    """If wrong: the same log is another one when it is compressed, zipped or in parts."""
    assert read({"log.csv": LOG}) == ROWS
    assert read({"log.CSV": LOG.replace("\n", "\r\n")}) == ROWS
    assert read({"bom.csv": "\ufeff" + LOG}) == ROWS
    assert (
        read({"log.csv.gz": gzip.compress(LOG[:20].encode()) + gzip.compress(LOG[20:].encode())})
        == ROWS
    )
    assert read({"log.csv.bz2": bz2.compress(LOG.encode())}) == ROWS
    with pa.CompressedOutputStream(str(tmp_path / "log.zst"), "zstd") as out:
        out.write(LOG.encode())
    assert read({"log2.zst": (tmp_path / "log.zst").read_bytes()}) == ROWS
    parts = {
        f"parts.csv/d{k}/p": f"user,item,time\n{line}\n" for k, line in enumerate(LOG.split()[1:])
    }
    assert read(parts, files=["parts.csv"]) == ROWS
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.csv.gz", gzip.compress(LOG.encode()))
        archive.writestr("__MACOSX/ml-1m/._ratings.csv.gz", b"\0")
    assert read({}, raw=tmp_path / "ml.zip", files=["ratings.csv.gz"]) == ROWS
    assert read({}, raw=tmp_path / "log.csv", files=["log.csv"]) == ROWS
    assert read({}, raw=tmp_path, files=["ml.zip"]) == ROWS


def test_parquet(read):
    table = pa.table({"user": ["u1", "u2", "u1"], "item": ["a", "b", "007"], "time": [5, 6, 6]})
    assert read({"log.parquet": table}) == ROWS
