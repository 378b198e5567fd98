"""Who is left out of pre-training, against the slow obvious version."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stores import write_splits, write_store

TASKS = ["age", "click"]
LENGTHS = (3, 50)  # of what an encoder reads: users equal in the latest three items, or in all


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, Path]:
    """Store and splits of 300 users: every third repeats another one, in all or in the latest."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(3)
    rows: list[list[int]] = []
    for user in range(300):
        items = rng.integers(1, 40, rng.integers(1, 9)).tolist()
        if user % 3 == 2:
            items = rows[rng.integers(len(rows))]
            items = items if user % 2 else [*rng.integers(1, 40, 2).tolist(), *items[-3:]]
        rows.append(items)
    lines = [",".join(map(str, [0] * (20 - len(row)) + row)) for row in rows]
    raw = folder / "raw"
    raw.mkdir()
    (raw / "original_desen_pretrain.csv").write_text("\n".join(lines) + "\n")
    for name, some in (("age", lines[:150]), ("finetune_click_nouserID", lines[100:220])):
        tails = [f"{row},,{n % 4 + 1},{n % 7 + 5}" for n, row in enumerate(some)]
        tails = [t.rpartition(",")[0] for t in tails] if name == "age" else tails
        (raw / f"original_desen_{name}.csv").write_text("\n".join(tails) + "\n")
    write_store(raw, "ttl", {task: task for task in TASKS}, folder / "store")
    write_splits(folder / "store", TASKS, "interaction", 1, folder / "splits")
    return folder / "store", folder / "splits"


def opened(store: Path, length: int):
    from userbench.data.store import BehaviourStore

    return BehaviourStore.open(store, length, "cpu")


def examples(store: Path, splits: Path, task: str) -> list[tuple[int, int]]:
    """User and part of each example."""
    users = np.load(store / f"tasks/{task}/users.npy").tolist()
    if task == "click":
        counts = np.diff(np.load(store / "tasks/click/target_offsets.npy")).tolist()
        users = [user for user, n in zip(users, counts, strict=True) for _ in range(n)]
    return list(zip(users, np.load(splits / f"tasks/{task}/parts.npy").tolist(), strict=True))


def held_by_the_book(store: Path, splits: Path, tasks: list[str], length: int):
    """Users in a test split, and those with the behaviours of one of them, one by one."""
    tested = {u for task in tasks for u, part in examples(store, splits, task) if part == 2}
    behaviours = store / "behaviours"
    items, bounds = (np.load(behaviours / f"{name}.npy").tolist() for name in ("items", "offsets"))
    read = [items[a:b][-length:] for a, b in zip(bounds, bounds[1:], strict=False)]
    held = {user for user in range(len(read)) if any(read[user] == read[t] for t in tested)}
    return tested, held


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("tasks", [["age"], TASKS])
def test_test_users_and_their_likes_are_left_out(corpus, tasks, length):
    """Wrong: a sequence that is tested is seen under another user's number, or anybody else is
    left out, or the counts are of others."""
    from userbench.data.held_out import without_test_users

    store, splits = corpus
    tested, held = held_by_the_book(store, splits, tasks, length)
    before = np.load(splits / "users/parts.npy").tolist()
    found = without_test_users(store, splits, tasks, opened(store, length))
    assert found.parts.tolist() == [2 if u in held else p for u, p in enumerate(before)]
    assert tested < held  # or nothing was seen of those who are alike
    counts = found.counts
    assert (counts["tested"], counts["alike"]) == (len(tested), len(held - tested))
    for part, name in enumerate(("train", "validation")):
        removed = sum(before[user] == part for user in held)
        assert counts["removed"][name] == removed > 0
        assert counts["left"][name] == before.count(part) - removed
    assert counts["missing"] == {"train": 0, "validation": 0}
    for task in tasks:
        own = examples(store, splits, task)
        of_test = {user for user, part in own if part == 2}
        also = of_test & {user for user, part in own if part == 0}
        expected = {"test_users": len(of_test), "also_in_training": len(also)}
        assert counts["tasks"][task] == expected
    assert counts["tasks"].get("click", {"also_in_training": 1})["also_in_training"] > 0


def test_more_users_are_alike_in_what_a_short_encoder_reads(corpus):
    """Wrong: whole histories are compared, where an encoder is given the latest behaviours."""
    found = {n: len(held_by_the_book(*corpus, ["age"], n)[1]) for n in LENGTHS}
    assert found[3] > found[50]


def test_hashes_are_equal_where_sequences_are(corpus, monkeypatch):
    """Wrong: users at the bounds of a block are hashed with items of their neighbours."""
    from userbench.data import ragged

    store = opened(corpus[0], 3)
    whole = store.hashes()
    monkeypatch.setattr(ragged, "ROWS_AT_ONCE", 7)
    assert np.array_equal(store.hashes(), whole)
    rows = [tuple(part.tolist()) for part in store.items.split(store.lengths.tolist())]
    for user in range(0, 300, 5):
        assert (whole == whole[user]).tolist() == [row == rows[user] for row in rows]


@pytest.mark.parametrize("length", LENGTHS)
def test_the_control_leaves_out_as_many_others(corpus, length):
    """Wrong: the control has more or fewer users to learn from, or has not seen test users."""
    from userbench.data.held_out import without_as_many_others, without_test_users

    store, splits = corpus
    _, held = held_by_the_book(store, splits, ["age"], length)
    before, behaviours = np.load(splits / "users/parts.npy"), opened(store, length)
    wanted = without_test_users(store, splits, ["age"], behaviours).counts
    drawn = {}
    for seed in range(200):
        found = without_as_many_others(store, splits, ["age"], behaviours, seed)
        assert {**found.counts} == wanted
        out = set((found.parts == 2).nonzero().squeeze(1).tolist())
        assert not out & held
        for part in (0, 1):
            assert sum(before[u] == part for u in out) == sum(before[u] == part for u in held)
        kept = torch.from_numpy(before)[found.parts != 2]
        assert torch.equal(found.parts[found.parts != 2], kept)
        drawn[seed] = out
    again = without_as_many_others(store, splits, ["age"], behaviours, 3)
    assert set((again.parts == 2).nonzero().squeeze(1).tolist()) == drawn[3]
    assert len({tuple(sorted(out)) for out in drawn.values()}) == 200
    # Every other user of a part as often as any, within five errors.
    others = [u for u in range(300) if before[u] == 0 and u not in held]
    share = sum(before[u] == 0 for u in held) / len(others)
    error = (share * (1 - share) / 200) ** 0.5
    for user in others:
        times = sum(user in out for out in drawn.values()) / 200
        assert abs(times - share) < 5 * error


def let_be_tested(monkeypatch, tested: list[int]) -> None:
    """Let a task be tested by these of its examples, whatever the file says."""
    from userbench.data import held_out

    load = held_out.load_split

    def load_split(folder, name):
        parts = load(folder, name)
        if name == "age":
            parts[:] = 0
            parts[tested] = 2
        return parts

    monkeypatch.setattr(held_out, "load_split", load_split)


def test_too_few_others_are_all_left_out_and_that_is_reported(corpus, monkeypatch, caplog):
    """Wrong: the control is larger than what it is compared with, without a note."""
    from userbench.data.held_out import without_as_many_others, without_test_users

    store, splits = corpus
    behaviours = opened(store, 3)
    users = np.load(store / "tasks/age/users.npy")
    let_be_tested(monkeypatch, list(range(len(users))))  # all who have a label
    before = np.load(splits / "users/parts.npy")
    wanted = without_test_users(store, splits, ["age"], behaviours).counts
    with caplog.at_level("WARNING", logger="userbench"):
        found = without_as_many_others(store, splits, ["age"], behaviours, 0)
    there = int((before == 0).sum()) - wanted["removed"]["train"]
    assert found.counts["removed"]["train"] == there < wanted["removed"]["train"]
    missing = wanted["removed"]["train"] - there
    assert found.counts["missing"]["train"] == missing > 0
    assert found.counts["left"]["train"] == wanted["removed"]["train"]
    assert f"{wanted['removed']['train']} users of train are to be left out" in caplog.text
    assert f"but only {there} are in no test split" in caplog.text


def test_no_user_left_is_one_clear_line(corpus, monkeypatch):
    """Wrong: an empty epoch, and a division by zero."""
    from userbench.data import held_out

    store, splits = corpus
    behaviours = opened(store, 50)
    everyone = torch.ones(behaviours.n_users, dtype=torch.bool).numpy()
    monkeypatch.setattr(held_out, "alike", lambda hashes, picked: everyone)
    with pytest.raises(ValueError, match="of 300 users 0 are left for training"):
        held_out.without_test_users(store, splits, ["age"], behaviours)
