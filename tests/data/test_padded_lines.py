import hashlib
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from permissions import folder_of_everybody, of_another_user

from userbench.data import padded_lines
from userbench.data.format import BadRows, RawFile, Rows, find_file
from userbench.data.formats.ttl import SOURCES
from userbench.data.padded_lines import read_rows

STEMS = {name: source.stem for name, source in SOURCES.items()}
IDS = st.integers(1, 300) | st.integers(1, 2**31 - 1)


@st.composite
def sequences(draw) -> list[list[int]]:
    """Rows of one width, each with at least one item and zeros on the left only."""
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(IDS, min_size=1, max_size=width), min_size=1, max_size=12))
    return [[0] * (width - len(row)) + row for row in rows]


def tails_of(source: str):
    """Legal tails of one row of a source."""
    if source == "pretrain":
        return st.just([])
    if source == "age":
        return st.lists(st.integers(1, 255), min_size=1, max_size=1)
    return st.lists(IDS, min_size=1, max_size=4)


def text_of(rows: list[list[int]], tails: list[list[int]], end: str, ended: bool) -> bytes:
    lines = [
        ",".join(map(str, row)) + (",," + ",".join(map(str, tail)) if tail else "")
        for row, tail in zip(rows, tails, strict=True)
    ]
    return (end.join(lines) + (end if ended else "")).encode()


def place(folder: Path, content: bytes, where: str, stem: str) -> Path:
    """Put a raw file somewhere; returns what a user would name."""
    if where == "folder":
        path = folder / "deep" / "down" / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return folder
    with zipfile.ZipFile(folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"deep/{stem}_3.csv", content)
        archive.writestr(f"__MACOSX/deep/._{stem}_3.csv", b"not data")
        archive.writestr(f"{stem}.csv/", b"")  # a folder of that name
    return folder / "data.zip"


def lists(blocks: list[Rows]) -> list[tuple[list[int], list[int], int]]:
    """Rows as Python lists: items, tail, line."""
    return [
        (
            rows.items[rows.offsets[i] : rows.offsets[i + 1]].tolist(),
            rows.tail_values[rows.tail_offsets[i] : rows.tail_offsets[i + 1]].tolist(),
            line,
        )
        for rows in blocks
        for i, line in enumerate(rows.lines.tolist())
    ]


@given(
    data=st.data(),
    rows=sequences(),
    source=st.sampled_from(["pretrain", "age", "click"]),
    end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
    where=st.sampled_from(["folder", "zip"]),
    block=st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_equals_line_by_line(tmp_path_factory, data, rows, source, end, ended, where, block):
    """If wrong: some value, row or line number differs from what the text plainly says."""
    tails = [data.draw(tails_of(source)) for _ in rows]
    content = text_of(rows, tails, end, ended)
    path = place(tmp_path_factory.mktemp("raw"), content, where, STEMS[source])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padded_lines, "BLOCK", block)
        file = find_file(path, "ttl", source)
        found = lists(list(read_rows(file, BadRows())))
    expected = [[item for item in row if item] for row in rows]
    assert found == list(zip(expected, tails, range(1, len(rows) + 1), strict=True))
    assert file.size == len(content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


LINES = st.text("0123,-\r ;x\0é", max_size=12) | st.lists(
    st.sampled_from(["0", "1", "02", "2147483647", "2147483648", "9" * 30, "", "-1", "255", "256"]),
    max_size=6,
).map(",".join)


@given(
    lines=st.lists(LINES, min_size=1, max_size=4),
    source=st.sampled_from(["pretrain", "age", "click"]),
    width=st.integers(1, 3),
)
@settings(max_examples=1000, deadline=None)
def test_a_block_fails_if_and_only_if_a_line_does(lines, source, width):
    """If wrong: a bad line slips through the fast path, or a block fails for no reason."""
    facts = SOURCES[source]
    content = [line.encode() for line in lines]
    rows = padded_lines.parse(b"\n".join(content) + b"\n", width, facts, np.arange(len(lines)))
    faults = [padded_lines.fault(line, facts, width) for line in content]
    assert (rows is None) == any(fault is not None for fault in faults)


BAD_LINES = [
    ("pretrain", b"0,x,3", "column 2 is not an integer: 'x'"),
    ("pretrain", b"0,1.5,3", "column 2 is not an integer: '1.5'"),
    ("pretrain", b'0,"2",3', "column 2 is not an integer"),
    ("pretrain", b"0, 2,3", "column 2 is not an integer: ' 2'"),
    ("pretrain", b"0,-2,3", "column 2 is negative: '-2'"),
    ("pretrain", b"0,0,0", "empty sequence"),
    ("pretrain", b"0;2;3", "no comma"),
    ("pretrain", b"0\t2\t3", "no comma"),
    ("pretrain", b"1,0,3", "column 2 is 0 to the right of an item"),
    ("pretrain", b"1,2,0", "column 3 is 0 to the right of an item"),
    ("pretrain", b"0,2147483648,3", "column 2 is outside 0..2147483647"),
    ("pretrain", b"0," + b"9" * 5000 + b",3", "column 2 is outside 0..2147483647"),
    ("pretrain", b"1,2", "2 columns where earlier lines have 3"),
    ("pretrain", b"1,2,3,4", "4 columns where earlier lines have 3"),
    ("pretrain", b"1,,3", "',,' where a sequence alone is expected"),
    ("pretrain", b"1,2,", "column 3 is empty"),
    ("pretrain", b"1,2,3,,7", "',,' where a sequence alone is expected"),
    ("pretrain", b"", "blank line"),
    ("pretrain", b"\r", "blank line"),
    ("pretrain", b"1,\x002,3", "NUL byte"),
    ("pretrain", "1,2,\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1"), "not ASCII"),
    ("age", b"1,2,3", "label missing"),
    ("age", b"1,2,3,", "column 4 is empty"),
    ("age", b"1,2,3,,", "label missing"),
    ("age", b"1,2,3,4", "label missing"),
    ("age", b"1,2,3,,0", "label is outside 1..255: '0'"),
    ("age", b"1,2,3,,256", "label is outside 1..255: '256'"),
    ("age", b"1,2,3,,-1", "label is negative: '-1'"),
    ("age", b"1,2,3,,old", "label is not an integer: 'old'"),
    ("age", b"1,2,3,,1,2", "2 values where one label is expected"),
    ("age", b"1,2,,1", "2 columns where earlier lines have 3"),
    ("click", b"1,2,3,,", "targets missing"),
    ("click", b"1,2,3,,5,", "target is empty"),
    ("click", b"1,2,3,,0", "target is outside"),
    ("click", b"1,2,3,,5,,6", "target is empty"),
]


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize(("source", "line", "reason"), BAD_LINES)
def test_bad_line_is_named(tmp_path, monkeypatch, source, line, reason, block):
    """If wrong: a user with one bad line among millions does not learn where and what it is."""
    monkeypatch.setattr(padded_lines, "BLOCK", block)
    tail = {"pretrain": b"", "age": b",,1", "click": b",,4,5"}[source]
    good = b"0,1,2" + tail
    path = tmp_path / f"{STEMS[source]}.csv"
    path.write_bytes(b"\n".join([good, good, line, good]) + b"\n")
    with pytest.raises(ValueError) as error:
        list(read_rows(find_file(tmp_path, "ttl", source), BadRows()))
    message = str(error.value)
    assert message.startswith(f"{path}:3: ")
    assert reason in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 160  # long content is shortened


def test_app_labels_are_0_and_1(tmp_path):
    """If wrong: binary labels of the App corpus are refused, or others accepted."""
    path = tmp_path / "app_gender.csv"
    path.write_bytes(b"0,5,,0\n0,5,,1\n0,5,,2\n")
    bad = BadRows(1)
    assert [
        tail for _, tail, _ in lists(list(read_rows(find_file(tmp_path, "app", "gender"), bad)))
    ]
    assert [(row.line, row.reason.partition(":")[0]) for row in bad.rows] == [
        (3, "label is outside 0..1")
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ":1: the file is empty"),
        (b"1,2,3\n1,2,3\n1,2", ":3: 2 columns where earlier lines have 3"),
        (b"1,2,3\n1,2,3\n1,2,", ":3: column 3 is empty"),
        (b"1,2,3\n\n", ":2: blank line"),
        (b"\xef\xbb\xbf1,2,3\n", ":1: starts with a byte-order mark"),
        ("1,2,3\n4,5,6\n".encode("utf-16"), ":1: starts with a byte-order mark"),
        ("1,2,3\n4,5,6\n".encode("utf-16-le"), ":1: NUL byte"),
        (b"1,2,3\r4,5,6\r", ":1: column 3 is not an integer"),
    ],
)
def test_bad_file(tmp_path, content, reason):
    """If wrong: an empty, cut off or wrongly encoded file is read as if it were whole."""
    path = tmp_path / "original_desen_pretrain.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        list(read_rows(find_file(tmp_path, "ttl", "pretrain"), BadRows()))
    assert f"{path}{reason}" in str(error.value)


def test_endless_line_needs_little_memory(tmp_path, monkeypatch):
    """If wrong: a file without line ends fills the memory, or hides the lines after it."""
    monkeypatch.setattr(padded_lines, "BLOCK", 1 << 16)
    path = tmp_path / "original_desen_pretrain.csv"
    path.write_bytes(b"1,2,3\n" + b"1," * (16 << 20) + b"1\n4,5,6\n")
    bad = BadRows(1)
    tracemalloc.start()
    found = lists(list(read_rows(find_file(tmp_path, "ttl", "pretrain"), bad)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [([1, 2, 3], [], 1), ([4, 5, 6], [], 3)]
    assert [(row.line, row.reason[:17]) for row in bad.rows] == [(2, "line longer than ")]
    assert peak < 20 << 20  # of a line of 32 MiB


def test_line_limit_does_not_depend_on_blocks(tmp_path, monkeypatch):
    """If wrong: whether a long line is accepted depends on where the blocks are cut."""
    monkeypatch.setattr(padded_lines, "LINE_LIMIT", 9)
    path = tmp_path / "original_desen_pretrain.csv"
    path.write_bytes(b"1,2\n1234,5678\n12345,6789\r\n3,4\n")
    for block in range(1, 40):
        monkeypatch.setattr(padded_lines, "BLOCK", block)
        bad = BadRows(1)
        found = lists(list(read_rows(find_file(tmp_path, "ttl", "pretrain"), bad)))
        assert [line for _, _, line in found] == [1, 2, 4]
        assert [row.line for row in bad.rows] == [3]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_bad_rows_are_skipped_up_to_the_limit(tmp_path, monkeypatch, block):
    """If wrong: a skipped line is not recorded, a good one is lost, or the limit does not hold."""
    monkeypatch.setattr(padded_lines, "BLOCK", block)
    path = tmp_path / "original_desen_age.csv"
    path.write_bytes(b"x,2,,1\n0,2,,1\n1,2,,2\n0,2,,900\n0,7,,3\n")
    file = find_file(tmp_path, "ttl", "age")
    bad = BadRows(2)
    found = lists(list(read_rows(file, bad)))
    assert found == [([2], [1], 2), ([1, 2], [2], 3), ([7], [3], 5)]
    assert [(row.file, row.line) for row in bad.rows] == [(str(path), 1), (str(path), 4)]
    with pytest.raises(ValueError, match=r"age.csv:4: label is outside.*\(2 bad lines, 1 allowed"):
        list(read_rows(file, BadRows(1)))


def test_bad_rows_count_over_all_files(tmp_path):
    """If wrong: every file of a corpus may have the allowed number of bad lines."""
    bad = BadRows(1)
    for source in ("age", "gender"):
        (tmp_path / f"{STEMS[source]}.csv").write_bytes(b"1,2,,1\n1,2,,x\n")
    list(read_rows(find_file(tmp_path, "ttl", "age"), bad))
    with pytest.raises(ValueError, match="gender.csv:2: label is not an integer"):
        list(read_rows(find_file(tmp_path, "ttl", "gender"), bad))


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damaged_zip(tmp_path, damage):
    """If wrong: a download that broke off is read as data or ends in a traceback."""
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 10**6, (3000, 5)).tolist()
    content = text_of(rows, [[]] * 3000, "\n", True)
    path = place(tmp_path, content, "zip", "original_desen_pretrain")
    packed = bytearray(path.read_bytes())
    if damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        del packed[1000:-300]
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"data\.zip"):
        list(read_rows(find_file(path, "ttl", "pretrain"), BadRows(10**6)))


def test_unreadable_file(tmp_path):
    """If wrong: a file that vanishes between finding and reading ends in a traceback."""
    file = RawFile(tmp_path / "gone.csv", "", SOURCES["age"])
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        list(read_rows(file, BadRows()))


def test_a_zip_that_may_not_be_read_is_a_zip():
    """If wrong: the zip of another user is "neither a folder nor a zip"."""
    with folder_of_everybody() as folder:
        path = folder / "data.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("original_desen_pretrain.csv", "1\n")
        path.chmod(0)
        message = of_another_user(lambda: find_file(path, "ttl", "pretrain"))
    assert message.startswith("PermissionError") and "data.zip" in message


def test_a_folder_that_may_not_be_listed_is_not_empty():
    """If wrong: a raw file in the folder of another user "is not there"."""
    with folder_of_everybody() as folder:
        (folder / "raw").mkdir(mode=0)
        message = of_another_user(lambda: find_file(folder, "ttl", "pretrain"))
        assert message.startswith("PermissionError") and "raw" in message


def test_real_excerpt(ttl10k):
    """If wrong: the fast path misreads real rows."""
    for source in ("pretrain", "gender", "click", "like"):
        file = find_file(ttl10k, "ttl", source)
        found = lists(list(read_rows(file, BadRows())))
        for (items, tail, number), line in zip(
            found, file.path.read_text().splitlines(), strict=True
        ):
            head, _, rest = line.partition(",,")
            assert items == [item for item in map(int, head.split(",")) if item], number
            assert tail == [int(value) for value in rest.split(",") if value], number
