"""The task of next items: from what a corpus holds out to ranks, against slow versions."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from log_stores import HELD_OUT, INPUT, write_log_store

from userbench.data import arrays, draw_splits
from userbench.data.events.tasks import write_task
from userbench.data.ids import item_table, user_ids
from userbench.data.splits import check_task_splits
from userbench.data.store import load_labels, load_targets


@pytest.fixture
def store(tmp_path) -> Path:
    """A store whose users have texts as ids."""
    return write_log_store(tmp_path, pa.array([f"u{user}" for user in range(len(INPUT))]))


def make(store: Path, exclude_seen: bool) -> Path:
    """The folder of the task."""
    settings = {"next_item": {"exclude_seen": exclude_seen}}
    write_task(store.parent, settings, store, store / "tasks/next")
    return store / "tasks/next"


def next_items_by_the_book(exclude_seen: bool) -> dict[int, tuple[dict[int, int], set[int]]]:
    """Of each asked user the part by candidate, and the candidates that are seen."""
    found: dict = {}
    for user, item, part in HELD_OUT:
        asked, _ = found.setdefault(user, ({}, set()))
        asked[item - 1] = min(part, asked.get(item - 1, 2))
    for user, (asked, seen) in found.items():
        seen |= {item - 1 for item in INPUT[user]} - asked.keys() if exclude_seen else set()
    return found


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_next_items_are_those_held_out(store, monkeypatch, exclude_seen, at_once):
    """Wrong: an item of the catalogue is no candidate, or what was seen is asked for."""
    from userbench.data import ragged

    monkeypatch.setattr(ragged, "ROWS_AT_ONCE", at_once)
    out = make(store, exclude_seen)
    found = load_targets(store, "next", "cpu")
    parts = arrays.read_array(out, "parts.npy").tolist()
    assert found.n_candidates == 6
    assert arrays.read_array(out, "target_ids.npy").tolist() == [100, 110, 120, 130, 140, 150]
    expected = next_items_by_the_book(exclude_seen)
    for row, (user, (asked, seen)) in enumerate(sorted(expected.items())):
        own = (found.rows == row).nonzero()[:, 0].tolist()
        assert {int(found.targets[e]): parts[e] for e in own} == asked
        assert set(found.users[own].tolist()) == {user}
        if exclude_seen:
            begin, end = found.seen_offsets[row : row + 2].tolist()
            assert found.seen[begin:end].tolist() == sorted(seen)
    assert (found.seen is not None) == exclude_seen == (out / "seen.npy").exists()
    counts = arrays.read_manifest(out)["counts"]
    assert counts["rows"] == 3 and counts["repeated_targets"] == 2
    assert counts["pairs_in_several_parts"] == 2


def test_nothing_held_out_is_no_task(tmp_path):
    """Wrong: an empty task is written, which fails when it is trained."""
    store = write_log_store(tmp_path, pa.array(["a"] * len(INPUT)), held_out=[])
    with pytest.raises(ValueError, match=r"held_out: no event is held out.*hold_out"):
        make(store, False)


def random_store(folder: Path) -> tuple[Path, list[list[int]], list[tuple[int, int, int]]]:
    """A store of 60 users and 25 items, of whom 50 have three events held out."""
    rng = np.random.default_rng(3)
    inputs = [rng.integers(1, 26, rng.integers(1, 12)).tolist() for _ in range(60)]
    inputs[0].append(25)
    popular = np.minimum(rng.geometric(0.15, (50, 3)), 25)
    held_out = [
        (user, int(item), part) for user in range(50) for part, item in enumerate(popular[user])
    ]
    ids = pa.array([f"u{user}" for user in range(60)])
    return write_log_store(folder, ids, None, inputs, held_out), inputs, held_out


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_popularity_ranks_next_items_as_the_book_does(tmp_path, exclude_seen):
    """Wrong: test targets are counted, seen items are rivals, or a repeated target counts twice."""
    from userbench import baselines
    from userbench.results.predictions import predictions_path, read_predictions

    store, inputs, held_out = random_store(tmp_path)
    out = make(store, exclude_seen)
    draw_splits.write_task_split(out, "user", 0, tmp_path / "splits/tasks/next")
    task = {"name": "next", "kind": "top_n", "metric": "ndcg@10", "out": str(tmp_path / "n.json")}
    flags = ["--store", str(store), "--splits", str(tmp_path / "splits"), "--max-length", "9"]
    baselines.main([*flags, "--seed", "0", "--task", json.dumps(task)])
    part_of: dict[tuple[int, int], int] = {}
    for user, item, part in held_out:
        part_of[user, item] = min(part, part_of.get((user, item), 2))
    trained = [item for (_, item), part in part_of.items() if part == 0]
    expected = []
    for (user, item), part in sorted(part_of.items()):
        if part == 2:
            own = {other for other in range(1, 26) if (user, other) in part_of}
            seen = set(inputs[user]) if exclude_seen else set()
            rivals = set(range(1, 26)) - own - seen
            ahead = [r for r in rivals if trained.count(r) >= trained.count(item)]
            expected.append((user, 1 + len(ahead)))
    rows = read_predictions(predictions_path(tmp_path / "n.json")).rows
    assert list(zip(rows["user"], rows["rank"], strict=True)) == expected


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_next_items_are_learnt(tmp_path, exclude_seen):
    """Wrong: fine-tuning cannot read the task, or its test leaves out a pair."""
    from userbench import finetune

    store, _, _ = random_store(tmp_path)
    out = make(store, exclude_seen)
    draw_splits.write_task_split(out, "user", 0, tmp_path / "splits/tasks/next")
    task = {"name": "next", "kind": "top_n", "lr": 0.01, "batch_size": 16, "epochs": 1}
    flags = ["--store", str(store), "--splits", str(tmp_path / "splits"), "--run", "none"]
    flags += ["--seed", "0", "--device", "cpu", "--encoder", '{"dim": 8, "heads": 2, "layers": 1}']
    file = tmp_path / "next.json"
    finetune.main([*flags, "--task", json.dumps(task | {"out": str(file)})])
    content = json.loads(file.read_text())
    parts = np.bincount(arrays.read_array(out, "parts.npy")).tolist()
    assert list(content["examples"].values()) == parts and all(parts)


def test_a_log_becomes_tasks_by_commands(tmp_path):
    """Wrong: what the two commands of logs write and read does not fit together."""
    from userbench.data.events.command import main

    rng = np.random.default_rng(1)
    log = [
        (int(u), int(i))
        for u, i in zip(rng.integers(20, 90, 900), rng.integers(5, 40, 900), strict=True)
    ]
    raw, store = tmp_path / "raw", tmp_path / "store"
    raw.mkdir()
    (raw / "log.dat").write_text("".join(f"{u}::{i}::{t}\n" for t, (u, i) in enumerate(log)))
    (raw / "users.dat").write_text("".join(f"{u}::{u % 3}\n" for u in range(10, 95)))
    columns = {"columns": ["user", "item", "time"], "user": "user", "item": "item"}
    events = {"seen": {"files": ["log.dat"], **columns, "time": "time", "time_unit": "s"}}
    settings = {"events": events, "min_user_events": 5, "hold_out": {"last": 3}}
    flags = ["--raw", str(raw), "--settings"]
    main(["corpus", *flags, json.dumps(settings), "--out", str(store)])
    labels = {"files": ["users.dat"], "columns": ["user", "age"], "user": "user", "label": "age"}
    for name, task in (
        ("age", {"labels": labels}),
        ("next", {"next_item": {"exclude_seen": True}}),
    ):
        out = ["--store", str(store), "--out", str(store / "tasks" / name)]
        main(["task", *flags, json.dumps(task), *out])
        draw_splits.write_task_split(
            store / "tasks" / name, "user", 0, tmp_path / f"splits/tasks/{name}"
        )
    check_task_splits(tmp_path / "splits", store, ["age", "next"])

    ids, items = user_ids(store).to_pylist(), item_table(store)["id"].to_pylist()
    own = {user: [item for u, item in log if u == user] for user in ids}
    ages = load_labels(store, "age", "cpu")
    assert [ids[user] for user in ages.users.tolist()] == ids
    assert ages.labels.tolist() == [user % 3 for user in ids]
    counts = arrays.read_manifest(store / "tasks/age")["counts"]
    assert counts["rows_of_users_left_out"] == 85 - len(ids)
    asked = load_targets(store, "next", "cpu")
    for row, user in enumerate(np.unique(asked.users.numpy()).tolist()):
        targets = {items[t] for t in asked.targets[asked.rows == row].tolist()}
        begin, end = asked.seen_offsets[row : row + 2].tolist()
        seen = {items[c] for c in asked.seen[begin:end].tolist()}
        assert targets == set(own[ids[user]][-3:])
        assert seen == set(own[ids[user]][:-3]) - targets
