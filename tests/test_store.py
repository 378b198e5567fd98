import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from userbench.data import store
from userbench.data.store import BehaviourStore, load_labels, load_targets, read_array, write_store

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
    names = store.read_manifest(folder)["arrays"]
    return {name: read_array(folder, name).tolist() for name in names}


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
        "items.npy": [item_ids.index(item) for row in users for item in row],
        "offsets.npy": bounds(users),
        "item_ids.npy": item_ids,
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
        patch.setattr(store, "environment", dict)  # asks git: slow
        patch.setattr(store, "USERS_AT_ONCE", 5)
        patch.setattr(store, "ITEMS_AT_ONCE", 7)
        if weak_hash:
            lengths = lambda items, offsets: np.diff(offsets).astype(np.uint64)  # noqa: E731
            patch.setattr(store, "hash_rows", lengths)
        write_store(write_raw(tmp_path / "raw", *corpus), "ttl", SOURCES, tmp_path / "store", 99)
    assert arrays_of(tmp_path / "store") == slow_arrays(*corpus)
    users, age, click = corpus
    manifest = store.read_manifest(tmp_path / "store")
    assert manifest["bad_rows"] == sum(row not in users for row, _ in age + click)
    counts = manifest["counts"]
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
    manifest = store.read_manifest(small)
    assert manifest["counts"] == {
        "users": 5,
        "interactions": 10,
        "mean_length": 2.0,
        "median_length": 2.0,
        "max_length": 3,
        "share_of_max_length": 0.2,
        "duplicate_users": 1,
        "hash_collisions": 0,
        "items": 4,
        "tasks": {
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
        },
    }
    assert not (small / "bad_rows.tsv").exists()
    for source, file in manifest["raw"].items():
        content = (small.parent / "raw" / f"{STEMS[source]}.csv").read_bytes()
        assert file["name"] == f"{STEMS[source]}.csv"
        assert file["size"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    dtypes = {name: array["dtype"] for name, array in manifest["arrays"].items()}
    narrow = (
        "items.npy",
        "tasks/age/users.npy",
        "tasks/click/users.npy",
        "tasks/click/targets.npy",
    )
    assert dtypes == {name: "int32" if name in narrow else "int64" for name in dtypes}


def test_item_indices_do_not_depend_on_the_order_of_rows(small, tmp_path):
    """If wrong: the same corpus in another order has another vocabulary."""
    write_store(write_raw(tmp_path / "raw", USERS[::-1]), "ttl", SOURCES, tmp_path / "store")
    assert read_array(tmp_path / "store", "item_ids.npy").tolist() == [0, 5, 7, 9, 300]
    assert read_array(small, "item_ids.npy").tolist() == [0, 5, 7, 9, 300]


def test_hash_tells_rows_apart():
    """If wrong: order, length or row borders do not enter the hash, and joins become slow."""
    rows = [[1, 2], [2, 1], [1], [2], [1, 2, 2], [3], [1, 1], [1, 1, 1], [1, 2]]
    items = np.array([item for row in rows for item in row], np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    hashes = store.hash_rows(items, offsets)
    assert len(set(hashes.tolist())) == len(rows) - 1
    assert hashes[0] == hashes[-1]


@pytest.mark.parametrize("max_length", [1, 2, 3, 50])
def test_batch_equals_the_slow_loop(small, max_length):
    """If wrong: a user is encoded from other items than the most recent ones, oldest first."""
    behaviours = BehaviourStore.open(small, max_length, "cpu")
    items, offsets = read_array(small, "items.npy"), read_array(small, "offsets.npy")
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


@pytest.mark.parametrize("damage", ["changed", "missing", "manifest"])
def test_a_damaged_store_is_refused(tmp_path, damage):
    """If wrong: an experiment runs on an array that is not the one that was written."""
    out = tmp_path / "store"
    write_store(write_raw(tmp_path / "raw"), "ttl", SOURCES, out)
    if damage == "changed":
        items = np.load(out / "items.npy")
        items[0] += 1
        np.save(out / "items.npy", items)
    elif damage == "missing":
        (out / "items.npy").unlink()
    else:
        (out / "manifest.json").write_text('{"arrays": ')
    named = r"manifest\.json" if damage == "manifest" else r"items\.npy"
    with pytest.raises(ValueError, match=rf"{named}: .*Delete .* run the workflow again"):
        BehaviourStore.open(out, 10, "cpu")


def test_no_store_and_no_task(small, tmp_path):
    """If wrong: a wrong path or task ends in a traceback."""
    with pytest.raises(ValueError, match=r"manifest\.json: does not exist"):
        BehaviourStore.open(tmp_path, 10, "cpu")
    with pytest.raises(ValueError, match=r"like/users\.npy: not in the manifest"):
        load_labels(small, "like", "cpu")


def run(*arguments: str) -> str:
    """Run the command; the message it exits with, empty if it ends well."""
    try:
        store.main(list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return ""


def command(raw: Path, out: Path, *more: str) -> str:
    return run(
        "--format=ttl", f"--raw={raw}", f"--out={out}", f"--sources={json.dumps(SOURCES)}", *more
    )


def test_rows_of_no_user_are_bad_rows(tmp_path):
    """If wrong: a task row of nobody is dropped in silence, or joined to somebody."""
    rows = write_raw(tmp_path / "raw", age=[([5, 9], [1]), ([5], [2]), ([9, 5], [2])])
    out = tmp_path / "new" / "store"
    assert command(rows, out) == (
        f"error: {rows / STEMS['age']}.csv:2: sequence not among the pre-training rows. "
        "Use files of one release"
    )
    assert not (tmp_path / "new").exists()
    assert command(rows, out, "--max-bad-rows=1") == ""
    assert read_array(out, "tasks/age/users.npy").tolist() == [0, 2]
    assert (out / "bad_rows.tsv").read_text().splitlines() == [
        "file\tline\treason",
        f"{rows / STEMS['age']}.csv\t2\tsequence not among the pre-training rows. "
        "Use files of one release",
    ]
    assert store.read_manifest(out)["bad_rows"] == 1


def test_checksums(tmp_path):
    """If wrong: another copy of the data passes for the recorded one."""
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "store"
    right = hashlib.sha256((raw / f"{STEMS['age']}.csv").read_bytes()).hexdigest()
    name = f"{STEMS['age']}.csv"
    wrong = json.dumps({name: "0" * 64})
    message = command(raw, out, f"--sha256={wrong}")
    assert message.startswith(f"error: {raw / name}: SHA-256 is {right}, expected 0000")
    assert not out.exists()
    assert "unknown file 'age.csv'" in command(raw, out, '--sha256={"age.csv": "0"}')
    (raw / name).rename(raw / f"{STEMS['age']}_3.csv")
    assert command(raw, out, f"--sha256={json.dumps({name: right.upper()})}") == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sources={'age'}"], "--sources {'age'}: not JSON"),
        (['--sources=["age"]'], "not a JSON object of strings"),
        (['--sources={"age": "height"}'], "format 'ttl' has no source 'height'"),
        (['--sources={"age": "pretrain"}'], "source 'pretrain' has no labels or targets"),
        (['--sources={"../age": "age"}'], "'../age' cannot name a task"),
        (['--sources={"pretrain": "age"}'], "'pretrain' cannot name a task"),
        (["--max-bad-rows=-1"], "-1 bad rows cannot be allowed"),
        (["--raw=nowhere"], "nowhere: does not exist"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, arguments, reason):
    """If wrong: a user's mistake is a traceback, or leaves something half-written."""
    raw = write_raw(tmp_path / "raw")
    message = command(raw, tmp_path / "store", *arguments)
    assert message.startswith("error: ")
    assert reason in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_only_earlier_results_are_replaced(tmp_path):
    """If wrong: a slip in --out deletes a user's folder."""
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "store"
    assert "exists and is not an earlier result" in command(raw, raw)
    assert "exists and is not an earlier result" in command(raw, raw / f"{STEMS['age']}.csv")
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
    counts = store.read_manifest(tmp_path / "store")["counts"]
    tasks = counts["tasks"]
    assert (counts["users"], counts["items"], counts["interactions"]) == (10_000, 123_726, 545_742)
    assert counts["duplicate_users"] == counts["hash_collisions"] == 0
    assert (counts["median_length"], counts["max_length"]) == (45, 100)
    assert tasks["gender"]["classes"] == {"1": 7_297, "2": 2_687}
    assert (tasks["click"]["rows"], tasks["click"]["pairs"]) == (9_490, 18_048)
    assert (tasks["like"]["rows"], tasks["like"]["pairs"]) == (1_755, 1_892)
