import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import write_store

from userbench.data import arrays, ingest, ragged
from userbench.data.arrays import read_array, read_checksums, read_manifest
from userbench.data.store import BehaviourStore, load_labels, load_targets

SOURCES = {"age": "age", "click": "click"}
STEMS = {
    "pretrain": "original_desen_pretrain",
    "age": "original_desen_age",
    "click": "original_desen_finetune_click_nouserID",
}
USERS = [[5, 9], [7], [9, 5], [5, 9], [300, 7, 5]]
AGE = [([9, 5], [3]), ([5, 9], [1]), ([5, 9], [3]), ([300, 7, 5], [1])]
CLICK = [([7], [40, 8]), ([9, 5], [8, 8]), ([7], [40, 2])]


def write_raw(folder: Path, users=USERS, age=AGE, click=CLICK, width: int = 4) -> Path:
    """Raw files of these rows: (sequence, tail) pairs."""

    def line(row, tail):
        padded = [0] * (width - len(row)) + row
        return ",".join(map(str, padded)) + (",," + ",".join(map(str, tail)) if tail else "")

    folder.mkdir(parents=True, exist_ok=True)
    for source, rows in [("pretrain", [(u, []) for u in users]), ("age", age), ("click", click)]:
        text = "\n".join(line(*row) for row in rows) + "\n"
        (folder / f"{STEMS[source]}.csv").write_text(text)
    return folder


def arrays_of(folder: Path) -> dict[str, list]:
    """All arrays of a store, by their paths in it."""
    return {
        (part / name).relative_to(folder).as_posix(): read_array(part, name).tolist()
        for part in parts_of(folder)
        for name in read_checksums(part)["arrays"]
    }


def parts_of(folder: Path) -> list[Path]:
    """The folders of arrays in a store."""
    return [folder / "behaviours", *sorted(folder.glob("tasks/*"))]


def slow_arrays(users, age, click) -> dict[str, list]:
    """The store's arrays by dictionaries and loops; task rows of no user are left out."""
    first = {}
    for user, row in enumerate(users):
        first.setdefault(tuple(row), user)
    age, click = (
        [(row, tail) for row, tail in rows if tuple(row) in first] for rows in (age, click)
    )
    item_ids = [0, *sorted({item for row in users for item in row})]
    classes = sorted({tail[0] for _, tail in age})
    target_ids = sorted({target for _, tail in click for target in tail})
    known = {}
    for row, tail in click:
        known.setdefault(first[tuple(row)], set()).update(map(target_ids.index, tail))
    known = {user: sorted(known[user]) for user in sorted(known)}

    def bounds(rows):
        return [0, *np.cumsum([len(row) for row in rows]).tolist()]

    return {
        "behaviours/items.npy": [item_ids.index(item) for row in users for item in row],
        "behaviours/offsets.npy": bounds(users),
        "behaviours/item_ids.npy": item_ids,
        "tasks/age/users.npy": [first[tuple(row)] for row, _ in age],
        "tasks/age/labels.npy": [classes.index(tail[0]) for _, tail in age],
        "tasks/age/classes.npy": classes,
        "tasks/click/users.npy": list(known),
        "tasks/click/targets.npy": [target for targets in known.values() for target in targets],
        "tasks/click/target_offsets.npy": bounds(known.values()),
        "tasks/click/target_ids.npy": target_ids,
    }


@st.composite
def corpora(draw):
    """Users from so few ids that duplicates are common; task rows of these users and others."""
    sequence = st.lists(st.sampled_from([1, 2, 2**31 - 1]), min_size=1, max_size=4)
    users = draw(st.lists(sequence, min_size=1, max_size=12))
    label, targets = st.tuples(st.integers(1, 9)), st.lists(st.integers(1, 9), min_size=1)
    rows = [
        draw(st.lists(st.tuples(st.sampled_from(users) | sequence, tail.map(list)), max_size=12))
        for tail in (label, targets)
    ]
    known = [(users[0], [1])]  # a task without any row is an error
    return users, rows[0] + known, known + rows[1]


@given(corpus=corpora(), weak_hash=st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_dictionaries_and_loops(tmp_path_factory, corpus, weak_hash):
    """If wrong: an array differs from the raw rows; a hash collision joins the wrong user."""
    tmp_path = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "environment", dict)  # asks git: slow
        patch.setattr(ragged, "ROWS_AT_ONCE", 5)
        patch.setattr(ragged, "ITEMS_AT_ONCE", 7)
        if weak_hash:
            lengths = lambda items, offsets: np.diff(offsets).astype(np.uint64)  # noqa: E731
            patch.setattr(ragged, "hash_rows", lengths)
        write_store(write_raw(tmp_path / "raw", *corpus), "ttl", SOURCES, tmp_path / "store", 99)
    assert arrays_of(tmp_path / "store") == slow_arrays(*corpus)
    users, age, click = corpus
    manifests = [read_manifest(part) for part in parts_of(tmp_path / "store")]
    bad = [sum(row not in users for row, _ in rows) for rows in (age, click)]
    assert [manifest["bad_rows"] for manifest in manifests] == [0, *bad]
    counts, *of_tasks = (manifest["counts"] for manifest in manifests)
    several = [row for row in set(map(tuple, users)) if users.count(list(row)) > 1]
    joined = [row for row, _ in age if row in users], {tuple(row) for row, _ in click}
    ambiguous = [sum(tuple(row) in several for row in rows) for rows in joined]
    assert of_tasks[0]["ambiguous_joins"] == ambiguous[0]
    distinct = set(map(tuple, users))
    assert counts["duplicate_users"] == len(users) - len(distinct)
    hashed = {len(row) for row in distinct} if weak_hash else distinct
    assert counts["hash_collisions"] == len(distinct) - len(hashed)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The store of the rows above."""
    folder = tmp_path_factory.mktemp("small")
    write_store(write_raw(folder / "raw"), "ttl", SOURCES, folder / "store")
    return folder / "store"


def test_counts(small):
    """If wrong: what the manifest reports about the data is not what was read."""
    manifests = {part.name: read_manifest(part) for part in parts_of(small)}
    assert {name: manifest["counts"] for name, manifest in manifests.items()} == {
        "behaviours": {
            "users": 5,
            "interactions": 10,
            "mean_length": 2.0,
            "median_length": 2.0,
            "max_length": 3,
            "share_of_max_length": 0.2,
            "duplicate_users": 1,
            "hash_collisions": 0,
            "items": 4,
        },
        "age": {
            "rows": 4,
            "classes": {"1": 2, "3": 2},
            "users_with_several_rows": 1,
            "ambiguous_joins": 2,
        },
        "click": {
            "rows": 2,
            "pairs": 4,
            "candidates": 3,
            "merged_rows": 1,
            "repeated_targets": 2,
            "users_with_several_rows": 1,
            "ambiguous_joins": 0,
        },
    }
    assert not list(small.rglob("bad_rows.tsv"))
    raw = {key: file for manifest in manifests.values() for key, file in manifest["raw"].items()}
    assert raw.keys() == STEMS.keys()
    for source, file in raw.items():
        content = (small.parent / "raw" / f"{STEMS[source]}.csv").read_bytes()
        assert file["name"] == f"{STEMS[source]}.csv"
        assert file["size"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    narrow = ("items.npy", "users.npy", "targets.npy")
    for part in parts_of(small):
        for name, array in read_checksums(part)["arrays"].items():
            assert array["dtype"] == ("int32" if name in narrow else "int64")


def test_equal_content_has_equal_checksums(small, tmp_path):
    """If wrong: trainings run again, as raw files were moved or one more line may be bad."""
    raw = write_raw(tmp_path / "elsewhere", age=[*AGE, ([9, 9], [1])])
    (raw / "beside.csv").write_text("1,2\n")
    write_store(raw, "ttl", {**SOURCES, "age2": "age"}, tmp_path / "store", 1)
    for part in parts_of(small):
        same = tmp_path / "store" / part.relative_to(small)
        assert (same / "checksums.json").read_bytes() == (part / "checksums.json").read_bytes()
    # Equal arrays of a task are others where they speak of other users.
    users = [[5, 9], [7], [9, 5], [5, 9], [300, 7, 5], [6]]
    write_store(write_raw(tmp_path / "raw", users), "ttl", SOURCES, tmp_path / "other")
    of_task, of_other = (
        read_checksums(folder / "tasks/age") for folder in (small, tmp_path / "other")
    )
    assert of_task["arrays"] == of_other["arrays"] and of_task != of_other


def test_item_indices_do_not_depend_on_the_order_of_rows(small, tmp_path):
    """If wrong: the same corpus in another order has another vocabulary."""
    write_store(write_raw(tmp_path / "raw", USERS[::-1]), "ttl", SOURCES, tmp_path / "store")
    for folder in (tmp_path / "store", small):
        assert read_array(folder / "behaviours", "item_ids.npy").tolist() == [0, 5, 7, 9, 300]


def test_hash_distinguishes_rows():
    """If wrong: order, length or row borders do not enter the hash, and joins become slow."""
    rows = [[1, 2], [2, 1], [1], [2], [1, 2, 2], [3], [1, 1], [1, 1, 1], [1, 2]]
    items = np.array([item for row in rows for item in row], np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    hashes = ragged.hash_rows(items, offsets)
    assert len(set(hashes.tolist())) == len(rows) - 1
    assert hashes[0] == hashes[-1]


@pytest.mark.parametrize("max_length", [1, 2, 3, 50])
def test_batch_equals_the_slow_loop(small, max_length):
    """If wrong: a user is encoded from other items than the most recent ones, oldest first."""
    behaviours = BehaviourStore.open(small, max_length, "cpu")
    items, offsets = (
        read_array(small / "behaviours", name) for name in ("items.npy", "offsets.npy")
    )
    assert (behaviours.n_users, behaviours.n_items) == (5, 4)
    for users in ([0], [1], [4, 1, 1, 0], [1, 1], list(range(5))):
        batch = behaviours.batch(torch.tensor(users))
        rows = [items[offsets[u] : offsets[u + 1]][-max_length:].tolist() for u in users]
        width = max(map(len, rows))
        assert batch.users.tolist() == users
        assert batch.items.dtype == torch.int64
        assert batch.items.tolist() == [row + [0] * (width - len(row)) for row in rows]
        assert behaviours.lengths[batch.users].tolist() == list(map(len, rows))
    flat = [
        behaviours.items[behaviours.offsets[u] : behaviours.offsets[u + 1]].tolist()
        for u in range(5)
    ]
    assert flat == [items[offsets[u] : offsets[u + 1]][-max_length:].tolist() for u in range(5)]


def test_labels_and_targets_on_the_device(small):
    """If wrong: an example is trained or judged with another user's label or targets."""
    labelled = load_labels(small, "age", "cpu")
    assert labelled.users.tolist() == [2, 0, 0, 4]
    assert labelled.labels.tolist() == [1, 0, 1, 0]
    assert labelled.n_classes == 2

    examples = load_targets(small, "click", "cpu")  # ids 2, 8, 40
    assert examples.n_candidates == 3
    assert list(zip(examples.users.tolist(), examples.targets.tolist(), strict=True)) == [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    for user, row in zip(examples.users.tolist(), examples.rows.tolist(), strict=True):
        begin, end = examples.known_offsets[row : row + 2].tolist()
        assert examples.known_targets[begin:end].tolist() == {1: [0, 1, 2], 2: [1]}[user]


@pytest.mark.parametrize("damage", ["changed", "missing", "checksums"])
def test_a_damaged_store_is_refused(tmp_path, damage):
    """If wrong: an experiment runs on an array that is not the one that was written."""
    out = tmp_path / "store"
    write_store(write_raw(tmp_path / "raw"), "ttl", {}, out)
    behaviours = out / "behaviours"
    if damage == "changed":
        items = np.load(behaviours / "items.npy")
        items[0] += 1
        np.save(behaviours / "items.npy", items)
    elif damage == "missing":
        (behaviours / "items.npy").unlink()
    else:
        (behaviours / "checksums.json").write_text('{"arrays": ')
    named = r"checksums\.json" if damage == "checksums" else r"items\.npy"
    with pytest.raises(ValueError, match=rf"{named}: .*Delete .* run the workflow again"):
        BehaviourStore.open(out, 10, "cpu")


def test_no_store_and_no_task(small, tmp_path):
    """If wrong: a wrong path or task ends in a traceback."""
    with pytest.raises(ValueError, match=r"checksums\.json: does not exist"):
        BehaviourStore.open(tmp_path, 10, "cpu")
    with pytest.raises(ValueError, match=r"like/checksums\.json: does not exist"):
        load_labels(small, "like", "cpu")


def run(*arguments: str) -> str:
    """Run the command; the message it exits with, empty if it ends well."""
    try:
        ingest.main(list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return ""


def command(raw: Path, out: Path, *more: str) -> str:
    """Read the pre-training file, and then the task age; the message of the first that fails."""
    read, behaviours = ["--format=ttl", f"--raw={raw}"], out / "behaviours"
    of_task = [f"--behaviours={behaviours}", "--source=age", f"--out={out / 'tasks/age'}"]
    return run("behaviours", *read, f"--out={behaviours}", *more) or run(
        "task", *read, *of_task, *more
    )


def test_rows_of_no_user_are_bad_rows(tmp_path):
    """If wrong: a task row of an unknown user is dropped in silence, or joined to another user."""
    rows = write_raw(tmp_path / "raw", age=[([5, 9], [1]), ([5], [2]), ([9, 5], [2])])
    out = tmp_path / "new" / "store"
    assert command(rows, out) == (
        f"error: {rows / STEMS['age']}.csv:2: sequence not among the pre-training rows. "
        "Use files of one release"
    )
    assert [path.name for path in out.iterdir()] == ["behaviours"]
    assert command(rows, out, "--max-bad-rows=1") == ""
    assert read_array(out / "tasks/age", "users.npy").tolist() == [0, 2]
    assert not (out / "behaviours/bad_rows.tsv").exists()
    assert (out / "tasks/age/bad_rows.tsv").read_text().splitlines() == [
        "file\tline\treason",
        f"{rows / STEMS['age']}.csv\t2\tsequence not among the pre-training rows. "
        "Use files of one release",
    ]
    assert read_manifest(out / "tasks/age")["bad_rows"] == 1


def test_checksums(tmp_path):
    """If wrong: another copy of the data passes for the recorded one."""
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "store"
    right = hashlib.sha256((raw / f"{STEMS['age']}.csv").read_bytes()).hexdigest()
    name = f"{STEMS['age']}.csv"
    wrong = json.dumps({name: "0" * 64})
    message = command(raw, out, f"--sha256={wrong}")
    assert message.startswith(f"error: {raw / name}: SHA-256 is {right}, expected 0000")
    assert not (out / "tasks").exists()
    assert "unknown file 'age.csv'" in command(raw, out, '--sha256={"age.csv": "0"}')
    (raw / name).rename(raw / f"{STEMS['age']}_3.csv")
    assert command(raw, out, f"--sha256={json.dumps({name: right.upper()})}") == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sha256={'age'}"], "--sha256 {'age'}: not JSON"),
        (['--sha256=["age"]'], "not a JSON object of strings"),
        (["--max-bad-rows=-1"], "-1 bad rows cannot be allowed"),
        (["--raw=nowhere"], "nowhere: does not exist"),
    ],
)
def test_errors_on_the_command_line(tmp_path, arguments, reason):
    """If wrong: a user's error is a traceback, or leaves something half-written."""
    raw = write_raw(tmp_path / "raw")
    message = command(raw, tmp_path / "store", *arguments)
    assert message.startswith("error: ")
    assert reason in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--source=height"], "format 'ttl' has no source 'height'"),
        (["--source=pretrain"], "source 'pretrain' has no labels or targets"),
        (["--out=a b"], "'a b' cannot name a task"),
        (["--behaviours=nowhere"], "nowhere/manifest.json: does not exist"),
    ],
)
def test_errors_about_a_task(small, tmp_path, arguments, reason):
    """If wrong: a task is joined to no user, or its folder is one that no rule looks into."""
    read = ["--format=ttl", f"--raw={small.parent / 'raw'}", f"--behaviours={small / 'behaviours'}"]
    message = run("task", *read, "--source=age", f"--out={tmp_path / 'age'}", *arguments)
    assert message.startswith("error: ") and reason in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_only_earlier_results_are_replaced(tmp_path):
    """If wrong: a slip in --out deletes a user's folder."""
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "store"
    read = ["behaviours", "--format=ttl", f"--raw={raw}"]
    for slip in (raw, raw / f"{STEMS['age']}.csv"):
        assert "exists and is not an earlier result" in run(*read, f"--out={slip}")
    assert len(list(raw.iterdir())) == 3
    assert command(raw, out) == ""
    before = arrays_of(out)
    assert command(raw, out) == ""
    assert arrays_of(out) == before
    (raw / f"{STEMS['age']}.csv").write_text("")
    assert "the file is empty" in command(raw, out)
    assert arrays_of(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "store"]


def test_nothing_left_is_an_error(tmp_path):
    """If wrong: a store without users or a task without rows is written."""
    raw = write_raw(tmp_path / "raw", age=[([1], [1])])
    assert "no row belongs to a pre-training row" in command(
        raw, tmp_path / "store", "--max-bad-rows=9"
    )
    raw = write_raw(tmp_path / "raw", users=[[0]])
    assert "no good line" in command(raw, tmp_path / "store", "--max-bad-rows=9")


def test_real_excerpt(ttl10k, tmp_path):
    """If wrong: real data is misread. One `like` row is of a user beyond the excerpt's 10,000."""
    sources = {"gender": "gender", "click": "click", "like": "like"}
    with pytest.raises(ValueError, match="like_nouserID.csv:1756: sequence not among"):
        write_store(ttl10k, "ttl", {"like": "like"}, tmp_path / "store")
    write_store(ttl10k, "ttl", sources, tmp_path / "store", max_bad_rows=1)
    tasks = {part.name: read_manifest(part)["counts"] for part in parts_of(tmp_path / "store")}
    counts = tasks["behaviours"]
    assert (counts["users"], counts["items"], counts["interactions"]) == (10_000, 123_726, 545_742)
    assert counts["duplicate_users"] == counts["hash_collisions"] == 0
    assert (counts["median_length"], counts["max_length"]) == (45, 100)
    assert tasks["gender"]["classes"] == {"1": 7_297, "2": 2_687}
    assert (tasks["click"]["rows"], tasks["click"]["pairs"]) == (9_490, 18_048)
    assert (tasks["like"]["rows"], tasks["like"]["pairs"]) == (1_755, 1_892)
