"""Raw files as people have them: folders with links, names and zips of other systems."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from userbench.data import ingest
from userbench.data.events import containers
from userbench.data.format import find_file

NAME = "original_desen_pretrain"
TEXT = b"0,3,4\n0,0,5\n1,2,3\n"
IN_PARTS = gzip.compress(TEXT[:6]) + gzip.compress(TEXT[6:])
ZSTD = pa.compress(TEXT, "zstd", asbytes=True)


def zipped(path: Path, place: str, **packing: int) -> Path:
    """A zip with the raw file at a place; `packing` is written into its entry afterwards."""
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = place  # which would lose nothing on Linux, but say what is meant
        archive.writestr(entry, TEXT)
        for name, value in packing.items():
            setattr(archive.filelist[0], name, value)
    return path


def linked(folder: Path) -> Path:
    """The file in a folder elsewhere, linked to; and links in a circle."""
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / f"{NAME}.csv").write_bytes(TEXT)
    (folder / "elsewhere/back").symlink_to(folder / "raw")
    (folder / "raw").mkdir()
    (folder / "raw/link").symlink_to(folder / "elsewhere")
    (folder / "raw/again").symlink_to(folder / "elsewhere")
    return folder / "raw"


def alone(folder: Path, name: str, content: bytes) -> Path:
    """A folder that holds one file."""
    (folder / "raw").mkdir()
    (folder / "raw" / name).write_bytes(content)
    return folder / "raw"


KEPT = {
    "plain": lambda folder: alone(folder, f"{NAME}.csv", TEXT),
    "capital letters": lambda folder: alone(folder, f"{NAME}.CSV", TEXT),
    "gzip": lambda folder: alone(folder, f"{NAME}.csv.gz", gzip.compress(TEXT)),
    "gzip in two parts": lambda folder: alone(folder, f"{NAME}.csv.gz", IN_PARTS),
    "zstd": lambda folder: alone(folder, f"{NAME}.csv.zst", ZSTD),
    "links": linked,
    "zip": lambda folder: zipped(folder / "raw.zip", f"data/{NAME}.csv"),
    "zip of Windows": lambda folder: zipped(folder / "raw.zip", f"data\\deep\\{NAME}.csv"),
}


@pytest.mark.parametrize("way", KEPT)
def test_files_are_read_however_they_are_kept(tmp_path, way):
    """If wrong: a raw file that is there is "not there"."""
    raw = KEPT[way](tmp_path)
    ingest.write_behaviours(raw, "ttl", tmp_path / "store/behaviours")
    assert np.load(tmp_path / "store/behaviours/offsets.npy").tolist() == [0, 2, 3, 6]
    assert np.load(tmp_path / "store/behaviours/item_ids.npy").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_damaged_compressed_file_is_one_line(tmp_path):
    """If wrong: half of a download is read as a corpus of fewer users."""
    whole = gzip.compress(b"".join(b"%d,%d\n" % (n, n * n) for n in range(1, 9000)))
    for damaged in (whole[:-9], whole[: len(whole) // 2], whole[:500] + b"abc" + whole[503:]):
        (tmp_path / f"{NAME}.csv.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{NAME}.csv.gz: "):
            ingest.write_behaviours(tmp_path, "ttl", tmp_path / "store")
        assert not (tmp_path / "store").exists()


def test_the_plain_file_counts_beside_its_copy(tmp_path):
    """If wrong: what was read until now is refused because its packed copy was kept."""
    for name in (f"{NAME}.csv", f"{NAME}.csv.gz"):
        (tmp_path / name).write_bytes(TEXT)
    assert find_file(tmp_path, "ttl", "pretrain").path == tmp_path / f"{NAME}.csv"


@pytest.mark.parametrize(
    ("packing", "problem"),
    [
        ({"compress_type": 9}, r"is packed by Deflate64, which Python cannot unpack\. Unpack it w"),
        ({"flag_bits": 1}, r"is encrypted\. Unpack it with its password, pass the folder"),
    ],
)
def test_a_zip_that_python_cannot_unpack_needs_no_other_copy(tmp_path, packing, problem):
    """If wrong: "Fetch it again", for ever."""
    raw = zipped(tmp_path / "raw.zip", f"{NAME}.csv", **packing)
    with pytest.raises(ValueError, match=rf"raw\.zip: {problem}") as refused:
        ingest.write_behaviours(raw, "ttl", tmp_path / "store")
    assert "again" not in str(refused.value)
    (file,) = containers.find_files(raw, [f"{NAME}.csv"])
    with pytest.raises(ValueError, match=problem), containers.opened(file, limit=1000):
        pass


def test_logs_are_found_in_the_same_places(tmp_path):
    """If wrong: a log is "not there", or half of it is read, where a raw file is found."""
    (file,) = containers.find_files(linked(tmp_path), [f"{NAME}.csv"])
    assert file.path.read_bytes() == TEXT
    raw = zipped(tmp_path / "raw.zip", f"data\\{NAME}.csv")
    for name in (f"data/{NAME}.csv", "data", f"{NAME}.csv"):
        (file,) = containers.find_files(raw, [name])
        with containers.opened(file, limit=1000) as content:
            assert b"".join(content.chunks()) == TEXT
