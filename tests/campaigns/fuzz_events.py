"""A mutation fuzzer of the readers of event logs (`make fuzz`).

python tests/campaigns/fuzz_events.py --files 5000

Each log is a valid one, as text or Parquet, plain, compressed or in a zip, of which the text or the
container is damaged. `examine` makes the store of it and says which of the two promised outcomes it
was: a store that holds what the log plainly says, or a ValueError that names the file, the line and
a remedy, and nothing written. `bombs` are small files that unpack to large ones, read under a hard
limit of the address space.
"""

import argparse
import bz2
import contextlib
import gzip
import io
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import MUTATIONS, REMEDY, in_the_bytes

from userbench.data import arrays, ids, store
from userbench.data.events import containers
from userbench.data.events.corpus import write_corpus
from userbench.data.events.settings import CorpusSettings, Table

LINE = re.compile(rf"(?P<file>[^:]*):(?P<line>[1-9][0-9]*): (?P<what>.+){REMEDY}", re.DOTALL)
WHOLE = re.compile(rf"(?P<file>[^:]+): (?P<what>.+){REMEDY}", re.DOTALL)
COLUMNS = ["user", "item", "time", "rating"]
SEPARATORS = [",", ",", "\t", "::", ";", "|", " "]
MISSING = {"", "nan", "NaN", "NAN", "null", "NULL", "<NA>", "\\N", "NA", "N/A", "None"}
Row = tuple[str, str, int]


class EventLog(NamedTuple):
    """A log as text or Parquet, how it is read, and how much of it may be bad."""

    content: bytes
    rows: list[Row] | None
    """What it plainly says; None where only the reader knows."""
    bad: int | None
    """Its first bad line."""
    table: Table
    max_bad_rows: int


# ----------------------------------------------------------------------------- valid, then damaged


def rows_of(random: Random) -> list[Row]:
    """Events of a few users with a few items."""
    user = random.choice(["u{}", "{}", "{:04}", "é{}", "1844674407370955161{}"])
    item = random.choice(["i{}", "{}", "sku/{}"])
    start = random.choice([0, 1_400_000_000, 10**15])
    pairs = [(user.format(random.randint(1, 9)), item.format(random.randint(1, 9)))]
    pairs += [
        (user.format(random.randint(1, 9)), item.format(random.randint(1, 9)))
        for _ in range(random.randint(3, 60))
    ]
    return [(one, other, start + random.randint(0, 20)) for one, other in pairs]


def damaged(random: Random) -> EventLog:
    """A log of which the text is damaged, or the values of Parquet; one in ten is not."""
    rows = rows_of(random)
    table = Table(files=["log"], user="user", item="item", time="time")
    allowed = random.choice([0, 0, 0, 3])
    if random.random() < 0.3:
        return EventLog(parquet(random, rows), None, None, table, allowed)
    separator = random.choice(SEPARATORS)
    header = random.random() < 0.7
    lines = [separator.join(COLUMNS)] if header else []
    lines += [separator.join((*map(str, row), str(random.randint(1, 5)))) for row in rows]
    end = random.choice(["\n", "\n", "\r\n"])
    text = (end.join(lines) + end * random.choice([1, 1, 0])).encode()
    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
        text = random.choice(MUTATIONS)(random, text)
    given = None if random.random() < 0.5 else separator
    table = Table(
        **{"files": ["log"], "user": "user", "item": "item", "time": "time"},
        columns=None if header else COLUMNS,
        separator=given,
    )
    found, bad = plain(text, separator if given else None, header)
    return EventLog(text, found, bad, table, allowed)


def parquet(random: Random, rows: list[Row]) -> bytes:
    """Parquet of the rows, with columns of any type and some values that are none."""
    users, items, times = (list(column) for column in zip(*rows, strict=True))
    columns = {"user": users, "item": items, "time": times}
    numbers = [random.randint(1, 9) for _ in rows]
    odd = random.choice(
        [
            *(pa.array(numbers, type) for type in (pa.int8(), pa.uint64(), pa.float32())),
            *([float(n) for n in numbers[1:]] + [one] for one in (1.5, float("nan"), 1e300, -1.0)),
            *(numbers[1:] + [one] for one in (None, -1, 2**62)),
            *(users[1:] + [one] for one in (None, "", "nan", "a\nb", "\0")),
            pa.array(users).dictionary_encode(),
            *([[n] for n in numbers], [{"a": n} for n in numbers], [True] * len(rows)),
            *(
                pa.array(numbers, type)
                for type in (pa.timestamp("ns"), pa.date32(), pa.time64("us"))
            ),
            *([b"\xff"] * len(rows), [None] * len(rows)),
        ]
    )
    columns[random.choice(list(columns))] = odd
    stream = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        stream,
        row_group_size=random.choice([1, 7, 1000]),
        compression=random.choice(["none", "snappy", "zstd", "gzip"]),
    )
    content = stream.getvalue()
    for _ in range(random.choice([0, 0, 1, 3])):
        content = in_the_bytes(random, content)
    return content[: random.randint(0, len(content))] if random.random() < 0.1 else content


def placed(random: Random, log: EventLog, folder: Path) -> tuple[EventLog, Path]:
    """The log on the disk, in a container that may be damaged, too; and what a user would name."""
    how = random.choice(["plain", "plain", "gzip", "zstd", "bz2", "zip"])
    content = log.content
    if how == "gzip":
        content = gzip.compress(content, 1)
    elif how == "bz2":
        content = bz2.compress(content)
    elif how == "zstd":
        content = pa.Codec("zstd").compress(content, asbytes=True)
    elif how == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", random.choice([0, 8, 12, 14])) as archive:
            archive.writestr(random.choice(["", "a/", "é\n/"]) + "log", content)
        content = packed.getvalue()
    if how != "plain" and random.random() < 0.5:
        content = in_the_bytes(random, content)
        if random.random() < 0.3:
            content = content[: random.randint(0, len(content))]
        log = log._replace(rows=None, bad=None)
    folder.mkdir()
    path = folder / "log"
    path.write_bytes(content)
    return log, path if random.random() < 0.5 else folder


# ------------------------------------------------------------------------------- what must come out


def plain(
    text: bytes, separator: str | None, has_header: bool
) -> tuple[list[Row] | None, int | None]:
    """The slow and obvious reader of text: all rows, or the first bad line; or nothing known.

    It knows nothing of quotes, of other separators than the one given, or of times that are not
    whole numbers.
    """
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    first = lines[0].removesuffix(b"\r")
    if separator is None:
        separator = next((s for s in SEPARATORS if first == s.join(COLUMNS).encode()), None)
    if (
        separator is None
        or b"\0" in first
        or b'"' in text
        or has_header != (first == separator.join(COLUMNS).encode())
    ):
        return None, None
    if not has_header and (len(first.split(separator.encode())) != 4 or b"\r" in first):
        return None, None
    rows: list[Row] = []
    for number, line in enumerate(lines[has_header:], 1 + has_header):
        fields = line.removesuffix(b"\r").split(separator.encode())
        if not line.strip(b"\r"):
            continue
        try:
            user, item, time = (field.decode() for field in fields[:3])
        except ValueError:
            return rows, number
        if re.fullmatch(r"[0-9]+\.0*", user):
            user = user.partition(".")[0]
        if re.fullmatch(r"\s*-?[0-9]+\s*", time) is None and not rows:
            return None, None  # which kind of times there are, later rows say
        is_bad = (
            len(fields) != 4
            or b"\0" in line
            and any("\0" in field for field in (user, item, time))
            or b"\r" in line.rstrip(b"\r")
            and separator in ",;"
            or user in MISSING
            or item in MISSING
            or re.fullmatch(r"-[0-9]+(\.[0-9]*)?", user) is not None
            or re.fullmatch(r"-[0-9]+(\.[0-9]*)?", item) is not None
            or re.fullmatch(r"[0-9]+\.[0-9]*", user) is not None
            or re.fullmatch(r"\s*-?[0-9]+\s*", time) is None
            or not -(2**63) <= int(time.strip()[:30]) < 2**63
        )
        if is_bad:
            return (rows, number) if rows else (None, None)
        rows.append((user, item, int(time)))
    return rows, None


def examine(log: EventLog, raw: Path, out: Path, chunk: int) -> str:
    """Make the store of a log; the outcome in a word, or AssertionError."""
    before = sorted(out.parent.iterdir())
    chunk, containers.CHUNK = containers.CHUNK, chunk
    try:
        settings = CorpusSettings(events={"event": log.table})
        write_corpus(raw, settings, out, log.max_bad_rows, threads=1)
    except ValueError as error:
        assert type(error) is ValueError, f"not explained: {error!r}"
        assert sorted(out.parent.iterdir()) == before, f"left behind, though refused: {error}"
        return refused(str(error), log, raw)
    finally:
        containers.CHUNK = chunk
    accepted(log, out)
    return "read"


def refused(message: str, log: EventLog, raw: Path) -> str:
    """Check a refusal: one line, that names file, line and remedy, and is true."""
    assert "\n" not in message, f"lines: {message!r}"
    assert len(message) < 500 + len(str(raw)), f"long-winded: {message}"
    found = LINE.fullmatch(message)
    if found is None:
        assert WHOLE.fullmatch(message), f"no place or no remedy: {message}"
        return "file refused"
    assert str(raw) in found["file"], f"no file: {message}"
    if log.max_bad_rows == 0 and log.rows is not None:
        assert int(found["line"]) == log.bad, f"line {log.bad} is the first bad one: {message}"
    return "line refused"


def accepted(log: EventLog, out: Path) -> None:
    """Check a store: it can be opened, and holds what its log plainly says."""
    opened = store.BehaviourStore.open(out, 1000, "cpu")
    assert (opened.items > 0).all() and (opened.items <= opened.n_items).all()
    bad = arrays.read_manifest(out / "behaviours")["bad_rows"]
    assert bad <= log.max_bad_rows
    if bad or log.rows is None:
        return
    assert log.bad is None, f"line {log.bad} was read"
    of_users: dict[str, list[Row]] = {}
    for row in log.rows:
        of_users.setdefault(row[0], []).append(row)
    items = [sorted(rows, key=lambda row: row[2]) for rows in of_users.values()]
    names = ids.item_table(out)["id"].cast(pa.string()).to_pylist()
    found = [
        [names[item - 1] for item in part.tolist()]
        for part in np.split(opened.items.numpy(), opened.offsets[1:-1].numpy())
    ]
    assert ids.user_ids(out).cast(pa.string()).to_pylist() == list(of_users)
    assert found == [[row[1] for row in rows] for rows in items]


def fuzz(files: int, seed: int) -> Counter[str]:
    """Examine so many logs; return how often each outcome came. A failure names its seed."""
    outcomes: Counter[str] = Counter()
    for number in range(seed, seed + files):
        random = Random(number)
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            log, path = placed(random, damaged(random), Path(name, "raw"))
            chunk = random.choice([1, 7, 40, 300, 4 << 20])
            try:
                outcomes[examine(log, path, Path(name, "store"), chunk)] += 1
            except Exception as fault:
                kept = Path(tempfile.gettempdir(), f"fuzz-events-{number}")
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(name, kept)
                raise AssertionError(f"log {number}, kept in {kept}: {fault!r}") from fault
    return outcomes


# ------------------------------------------------------------------------------- what is too large

MIB = 1 << 20
ROOM = 1500


def bombs(folder: Path) -> None:
    """Write files that are small and unpack to much, or are too large in some way."""
    head, row = b"user,item,time\n", b"1,2,3\n"
    contents = {
        "zeros.gz": gzip.compress(b"\0" * (300 * MIB)),
        "rows.gz": gzip.compress(head + row * (20 * MIB)),
        "rows.bz2": bz2.compress(head + row * (20 * MIB)),
        "rows.zst": pa.Codec("zstd").compress(head + row * (20 * MIB), asbytes=True),
        "one line": head + b"1," * (100 * MIB),
        "separators": b"," * (3 * MIB) + b"\n" + row,
        "line ends": head + b"\n" * (100 * MIB),
        "quote": head + b'1,"2,3\n' + row * (10 * MIB),
        "quotes": head + b'"1,2,3\n' * MIB,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "rows.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", head + row * (20 * MIB))
    one = pa.array([1] * MIB)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("time", pa.int64())])
    with pq.ParquetWriter(folder / "rows.parquet", schema) as writer:
        for _ in range(100):
            writer.write_table(pa.table([one, one, one], schema=schema))


LIMITED = """
import resource, sys
from pathlib import Path
from userbench.data.events.settings import Table
from userbench.data.events.tables import read_table
from userbench.data.format import BadRows
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmSize"):
        room = int(line.split()[1]) * 1024 + int(sys.argv[1]) * (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for path in map(Path, sys.argv[2:]):
    table = Table(files=[path.name], user="user", item="item", time="time",
                  max_unpacked_gib=0.05, max_rows=50_000_000)
    try:
        print("read", sum(len(block.lines) for block in read_table(path.parent, table, BadRows())))
    except ValueError as error:
        print(error)
"""


def explode(folder: Path, room: int = ROOM) -> dict[str, str]:
    """Read all bombs with `room` MiB of address space beyond the imports; the message for each."""
    bombs(folder)
    paths = sorted(folder.iterdir())
    command = [sys.executable, "-c", LIMITED, str(room), *paths]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return dict(zip([path.name for path in paths], run.stdout.splitlines(), strict=True))


def main() -> None:
    """Fuzz, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("error")
    arrays.environment = dict  # Why: it asks git, and takes longer than reading.
    outcomes = fuzz(args.files, args.seed)
    counts = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    print(f"{args.files:,} logs: {counts}")
    with tempfile.TemporaryDirectory() as name:
        for kind, message in explode(Path(name)).items():
            print(f"bomb, {kind}: {message}")


if __name__ == "__main__":
    main()
