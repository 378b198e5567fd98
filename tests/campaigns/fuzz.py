"""A mutation fuzzer of the readers of raw files (`make fuzz`).

python tests/campaigns/fuzz.py --files 20000

Each file set is a valid corpus (pre-training, labels, targets) of which one file is damaged in one
to three ways. `examine` writes the store of it and says which of the two promised outcomes it was:
a store that validates and holds what the text plainly says, or a ValueError that names the file,
the line and a remedy, and nothing written. Anything else is an AssertionError. `bomb` reads what is
too large rather than wrong, under a hard limit of the address space.
"""

import argparse
import bz2
import contextlib
import gzip
import io
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from userbench.data import arrays, ingest, padded_lines, store
from userbench.data.format import INT32_MAX, Source, find_source, is_named_after, load_format

SOURCES = {
    "ttl": {"age": "age", "click": "click"},
    "app": {"gender": "gender", "cvr": "cvr"},
}
REMEDY = r"\. [A-Z][a-z]+ [^.]*"
LINE = re.compile(rf"(?P<file>.*\.csv):(?P<line>[1-9][0-9]*): (?P<what>.+){REMEDY}", re.DOTALL)
# What concerns no line: the file is absent, no zip, not the one of its checksum, ...
WHOLE = re.compile(rf"(?P<file>[^:]+): (?P<what>.+){REMEDY}", re.DOTALL)
NUMBERS = [
    *(b"-1", b"1.5", b"1e3", b"+5", b"0x10", b"1_000", b" 7", b"7 ", b"", b"NaN", b"inf", b"-0"),
    *(b"2147483647", b"2147483648", b"9223372036854775808", b"18446744073709551616", b"9" * 400),
    *(b"0" * 400 + b"7", b"2026-11-24", b"99999-99-99", b"1790000000000", b"0", b"00", b"x"),
    *("٣".encode(), "é".encode("latin-1"), b"\xff", b"\0", b'"7"', b'"7', b"'7'", b"True", b"None"),
]
HEADERS = [b"user,item,label", b"x_1,x_2,x_3,x_4", b'"x_1","x_2"', b"# comment", b"0,1,2,3"]


class Corpus(NamedTuple):
    """Text of each source of a format, and how much of it may be bad."""

    format: str
    files: dict[str, bytes]
    max_bad_rows: int


# ----------------------------------------------------------------------------- valid, then damaged


def valid(random: Random) -> Corpus:
    """A corpus of a few dozen users without any fault."""
    format = random.choice(list(SOURCES))
    width = random.randint(1, 6)
    largest = random.choice([9, 300, 2**31 - 1])
    rows = []
    for _ in range(random.randint(3, 30)):
        items = [random.randint(1, largest) for _ in range(random.randint(1, width))]
        rows.append(b",".join(b"%d" % item for item in [0] * (width - len(items)) + items))
    files = {"pretrain": rows}
    for source in SOURCES[format].values():
        facts = find_source(format, source)
        chosen = random.sample(rows, random.randint(1, len(rows)))
        ends = [
            b",".join(
                b"%d" % random.randint(facts.low, min(facts.high, 9))
                for _ in range(1 if facts.tail == "label" else random.randint(1, 4))
            )
            for _ in chosen
        ]
        files[source] = [b"%b,,%b" % pair for pair in zip(chosen, ends, strict=True)]
    end = random.choice([b"\n", b"\n", b"\r\n"])
    return Corpus(
        format,
        {
            source: end.join(lines) + end * random.choice([1, 1, 0])
            for source, lines in files.items()
        },
        random.choice([0, 0, 0, 3]),
    )


def in_a_field(random: Random, text: bytes) -> bytes:
    """Another value in one field."""
    parts = re.split(rb"([,\r\n]+)", text)
    parts[2 * random.randrange((len(parts) + 1) // 2)] = random.choice(NUMBERS)
    return b"".join(parts)


def in_a_line(random: Random, text: bytes) -> bytes:
    """One line cut, doubled, moved, emptied, widened, quoted, or another one's tail on it."""
    lines = text.split(b"\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    line = lines[at]
    cut = random.randint(0, len(line))
    lines[at] = random.choice(
        [
            *(line[:cut], line[cut:], line + b"\n" + line, lines[other], b"", b"\r", b" ", b","),
            *(line + b",", b"," + line, line + b",,", line + b",,1", line + b",0", b"0," + line),
            *(b'"' + line, b'"' + line + b'"', line + b"," + lines[other], line[:cut] + b'"'),
            *(re.sub(rb"[1-9][0-9]*", b"0", line), line.replace(b",,", b","), line + b"\r\r"),
            *(b",".join([line] * random.choice([3, 300])), line[::-1], line * 40),
        ]
    )
    return b"\n".join(lines)


def separators(random: Random, text: bytes) -> bytes:
    """Other separators or line ends, everywhere or in one place."""
    old, new = random.choice(
        [(b",", b";"), (b",", b"\t"), (b",", b" "), (b",", b"|"), (b",", b", "), (b",,", b",")]
        + [(b"\n", b"\r"), (b"\n", b"\n\r"), (b"\n", b"\r\n"), (b"\n", b"\n\n"), (b"\n", b" ")]
        + [(b"\n", "\u2028".encode()), (b"\n", b"\x0b"), (b"\n", b"\x00")]
    )
    return text.replace(old, new, random.choice([-1, 1, 2]))


def encoding(random: Random, text: bytes) -> bytes:
    """Other encodings, with and without marks."""
    decoded = text.decode("latin-1")
    name = random.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp037"])
    return random.choice(
        [decoded.encode(name), b"\xef\xbb\xbf" + text, text + b"\x1a", text + b"\0"]
    )


def in_the_bytes(random: Random, text: bytes) -> bytes:
    """A few bytes changed, taken away or put in, wherever they are."""
    content = bytearray(text)
    for _ in range(random.choice([1, 1, 2, 8])):
        at = random.randint(0, len(content))
        how = random.randrange(3)
        byte = random.choice(b"\0\xff\x80,\r\n\"'-.0 9;\xe9") if random.random() < 0.7 else None
        byte = random.randrange(256) if byte is None else byte
        content[at : at + (how > 0)] = bytes([byte] * (how < 2))
    return bytes(content)


def whole(random: Random, text: bytes) -> bytes:
    """Empty, cut off, with headers, shuffled, compressed, or something else altogether."""
    lines = text.split(b"\n")
    header = random.choice(HEADERS)
    return random.choice(
        [
            *(b"", b"\n", b"\r\n\r\n", b"\0" * 100, b"\n" * 1000, b"," * 1000, b'"' * 1000),
            *(text[: random.randint(0, len(text))], text + text, b"\n" + text, text + b"\n\n"),
            *(header + b"\n" + text, text + header, (header + b"\n") * 2 + text),
            *(b"\n".join(random.sample(lines, len(lines))), b"\n".join(lines[::-1])),
            *(gzip.compress(text), bz2.compress(text), gzip.compress(text)[:-5]),
            *(b"{}", b"<html>404</html>", b"PK\x03\x04" + text, random.randbytes(300)),
        ]
    )


MUTATIONS: list[Callable[[Random, bytes], bytes]] = [
    *(in_a_field, in_a_field, in_a_line, in_a_line, separators, encoding, in_the_bytes, whole),
]


def damaged(random: Random) -> Corpus:
    """A valid corpus of which one file is damaged."""
    corpus = valid(random)
    source = random.choice(list(corpus.files))
    text = corpus.files[source]
    for _ in range(random.choice([1, 1, 2, 3])):
        text = random.choice(MUTATIONS)(random, text)
    return corpus._replace(files={**corpus.files, source: text})


def placed(random: Random, corpus: Corpus, folder: Path) -> Path:
    """The corpus as a folder or as a zip, which may be damaged, too; what a user would name."""
    names = {
        source: find_source(corpus.format, source).stem + random.choice([".csv", ".csv", "_3.csv"])
        for source in corpus.files
    }
    if random.random() < 0.8:
        for source, text in corpus.files.items():
            path = folder / "raw" / random.choice(["", "deep", "a b"]) / names[source]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        if random.random() < 0.03:
            path.unlink()
        return folder / "raw"
    packed = io.BytesIO()
    how = random.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    with zipfile.ZipFile(packed, "w", how) as archive:
        for source, text in corpus.files.items():
            archive.writestr(random.choice(["", "../../", "/", "é\n/"]) + names[source], text)
    content = packed.getvalue()
    if random.random() < 0.5:
        content = in_the_bytes(random, content)
    if random.random() < 0.2:
        content = content[: random.randint(0, len(content))]
    path = folder / random.choice(["data.zip", "data.gz", "data"])
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------------------- what must come out


# How the first two bytes say that a file is to be unpacked.
PACKED = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress}


class Plain(NamedTuple):
    """What a file plainly says: its rows, or the number of its first bad line."""

    rows: list[tuple[tuple[int, ...], tuple[int, ...]]]
    bad: int | None


def unpacked(text: bytes) -> bytes | None:
    """The content of a file, which may be compressed; None where it is damaged."""
    try:
        return PACKED.get(text[:2], bytes)(text)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def plain(text: bytes, source: Source) -> Plain:
    """The slow and obvious reader."""
    rows, width = [], None
    if (text := unpacked(text)) is None:
        return Plain(rows, 1)
    if not text:
        return Plain(rows, 1)
    lines = text.split(b"\n")
    for number, line in enumerate(lines[:-1] if lines[-1] == b"" else lines, 1):
        fits = len(line) <= padded_lines.LINE_LIMIT and re.fullmatch(
            rb"([0-9]+(?:,[0-9]+)*)(,,([0-9]+(?:,[0-9]+)*))?\r?", line
        )
        if not fits or (fits[2] is None) != (source.tail == "none"):
            return Plain(rows, number)
        # Why by their length first: Python refuses to read thousands of digits.
        texts = [
            [part.lstrip(b"0") or b"0" for part in (g or b"").split(b",")] for g in fits.group(1, 3)
        ]
        if any(len(part) > 10 for part in texts[0] + texts[1]):
            return Plain(rows, number)
        sequence = [int(part) for part in texts[0]]
        tail = [int(part) for part in texts[1]] if source.tail != "none" else []
        items = [item for item in sequence if item]
        width = width or len(sequence)
        if (
            len(sequence) != width
            or not items
            or sequence != [0] * (width - len(items)) + items
            or max(items) > INT32_MAX
            or not all(source.low <= value <= source.high for value in tail)
            or (source.tail == "label" and len(tail) > 1)
        ):
            return Plain(rows, number)
        rows.append((tuple(items), tuple(tail)))
    return Plain(rows, None)


def write_store(corpus: Corpus, path: Path, out: Path) -> None:
    """The behaviours at `path`, and the examples of each task."""
    behaviours, allowed = out / "behaviours", corpus.max_bad_rows
    ingest.write_behaviours(path, corpus.format, behaviours, allowed)
    for task, source in SOURCES[corpus.format].items():
        to = out / "tasks" / task
        ingest.write_task(path, corpus.format, source, behaviours, to, allowed)


def examine(corpus: Corpus, path: Path, out: Path, block: int) -> str:
    """Read the corpus at `path` into a store at `out`; the outcome in a word, or AssertionError."""
    before = sorted(out.parent.iterdir())
    block, padded_lines.BLOCK = padded_lines.BLOCK, block
    try:
        write_store(corpus, path, out)
    except ValueError as error:
        assert type(error) is ValueError, f"not explained: {error!r}"
        if out.exists():  # what was read before the file that is refused
            parts = [part for part in (out / "behaviours", *out.glob("tasks/*")) if part.exists()]
            assert all((part / "manifest.json").exists() for part in parts), f"half of {parts}"
            shutil.rmtree(out)
        assert sorted(out.parent.iterdir()) == before, f"left behind, though refused: {error}"
        return refused(str(error), corpus, path)
    finally:
        padded_lines.BLOCK = block
    assert sorted(out.parent.iterdir()) == sorted([*before, out]), "rubbish beside the store"
    accepted(corpus, out)
    return "read"


def refused(message: str, corpus: Corpus, path: Path) -> str:
    """Check a refusal: one line, that names file, line and remedy, and is true."""
    assert "\n" not in message, f"lines: {message!r}"
    assert str(path) in message, f"no file: {message}"
    found = LINE.fullmatch(message)
    if found is None:
        assert WHOLE.fullmatch(message), f"no place or no remedy: {message}"
        return "file refused"
    assert len(found["what"]) < 250, f"long-winded: {message}"
    if corpus.max_bad_rows == 0 and not zipfile.is_zipfile(path):
        facts = load_format(corpus.format).SOURCES
        (source,) = (s for s in corpus.files if is_named_after(facts[s], Path(found["file"]).name))
        rows, bad = plain(corpus.files[source], facts[source])
        line = int(found["line"])
        if unpacked(corpus.files[source]) is None:
            return "line refused"  # a bad line before the damage
        if "not among the pre-training rows" in message:
            users = {items for items, _ in plain(corpus.files["pretrain"], facts["pretrain"]).rows}
            assert rows[line - 1][0] not in users, f"it is among them: {message}"
        else:
            assert line == bad, f"line {bad} is the first bad one: {message}"
    return "line refused"


def accepted(corpus: Corpus, out: Path) -> None:
    """Check a store: it can be opened, and holds what its files plainly say."""
    opened = store.BehaviourStore.open(out, 1000, "cpu")
    assert (opened.items > 0).all() and (opened.items <= opened.n_items).all()
    n_bad = 0
    for part in (out / "behaviours", *out.glob("tasks/*")):
        assert len(arrays.read_checksums(part)["arrays"]) == len(list(part.glob("*.npy")))
        bad = arrays.read_manifest(part)["bad_rows"]
        if bad:
            assert bad <= corpus.max_bad_rows
            assert len((part / "bad_rows.tsv").read_text().splitlines()) == bad + 1
        n_bad += bad
    if n_bad:
        return
    facts = load_format(corpus.format).SOURCES
    expected = {source: plain(text, facts[source]) for source, text in corpus.files.items()}
    assert not any(one.bad for one in expected.values()), f"a bad line was read: {expected}"
    ids = arrays.read_array(out / "behaviours", "item_ids.npy")
    users = [
        tuple(ids[part].tolist())
        for part in np.split(opened.items.numpy(), opened.offsets[1:-1].numpy())
    ]
    assert users == [items for items, _ in expected["pretrain"].rows]
    for task, source in SOURCES[corpus.format].items():
        if facts[source].tail == "label":
            found = store.load_labels(out, task, "cpu")
            classes = arrays.read_array(out / "tasks" / task, "classes.npy")
            values = classes[found.labels.numpy()]
            pairs = zip(found.users.tolist(), values.tolist(), strict=True)
            assert [(users[user], (value,)) for user, value in pairs] == expected[source].rows
        else:
            found = store.load_targets(out, task, "cpu")
            target_ids = arrays.read_array(out / "tasks" / task, "target_ids.npy")
            values = target_ids[found.targets.numpy()]
            pairs = zip(found.users.tolist(), values.tolist(), strict=True)
            assert {(users[user], value) for user, value in pairs} == {
                (items, value) for items, tail in expected[source].rows for value in tail
            }


def fuzz(files: int, seed: int) -> Counter[str]:
    """Examine so many file sets; return how often each outcome came. A failure names its seed."""
    outcomes: Counter[str] = Counter()
    for number in range(seed, seed + files):
        random = Random(number)
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            corpus = damaged(random)
            path = placed(random, corpus, Path(name))
            block = random.choice([1, 7, 40, 300, 4 << 20])
            try:
                outcomes[examine(corpus, path, Path(name, "store"), block)] += 1
            except Exception as fault:
                kept = Path(tempfile.gettempdir(), f"fuzz-{number}")
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(name, kept)
                raise AssertionError(f"file set {number}, kept in {kept}: {fault!r}") from fault
    return outcomes


# ------------------------------------------------------------------------------- what is too large

MIB = 1 << 20
ROOM = 400


def bomb(kind: str, write: Callable[[bytes], object]) -> None:
    """Write one raw file that is too large in some way, bit by bit."""
    if kind == "one line":
        for _ in range(200):
            write(b"1," * (MIB // 2))
    elif kind == "separators":
        write(b"," * MIB + b"\n")
    elif kind == "line ends":
        for _ in range(200):
            write(b"\n" * MIB)
    elif kind == "quote":
        write(b'1,2,"3\n' + b"1,2,3\n" * (10 * MIB))
    elif kind == "columns":
        for _ in range(20):
            write(b"1," * (MIB // 2 - 1) + b"1\n")
        write(b"1,2\n")
    elif kind == "digits":
        for _ in range(100):
            write(b"1" * MIB)


BOMBS = ("one line", "separators", "line ends", "quote", "columns", "digits")
LIMITED = """
import resource, sys
from pathlib import Path
from userbench.data.formats import ttl
from userbench.data.ingest import write_behaviours
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmSize"):
        room = int(line.split()[1]) * 1024 + int(sys.argv[1]) * (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for folder in map(Path, sys.argv[2:]):
    try:
        write_behaviours(folder / "raw", "ttl", folder / "store")
    except ValueError as error:
        print(error)
"""


def explode(folder: Path, room: int) -> dict[str, str]:
    """Read all bombs with `room` MiB of address space beyond the imports; the message for each."""
    for kind in BOMBS:
        path = folder / kind / "raw" / "original_desen_pretrain.csv"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            bomb(kind, file.write)
    folders = [folder / kind for kind in BOMBS]
    command = [sys.executable, "-c", LIMITED, str(room), *folders]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not list(folder.glob("*/*store*")), "a partial store"
    return dict(zip(BOMBS, run.stdout.splitlines(), strict=True))


def main() -> None:
    """Fuzz, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("error")
    arrays.environment = dict  # Why: it asks git, and takes longer than reading.
    fuzz(50, args.seed)  # Why: what is loaded at the first reading is not memory of a file.
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = fuzz(args.files, args.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    print(f"{args.files:,} file sets: {counts}; peak memory {peak / 1024:.0f} MiB,")
    print(f"{(peak - start) / 1024:.0f} MiB above that of the first fifty")
    with tempfile.TemporaryDirectory() as name:
        for kind, message in explode(Path(name), ROOM).items():
            print(f"bomb, {kind}: {message}")


if __name__ == "__main__":
    main()
