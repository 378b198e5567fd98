"""Tasks of a corpus of event logs: what becomes of tables of labels and targets, row by row."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_stores import INPUT, write_log_store

from userbench.data import arrays, draw_splits
from userbench.data.events import tasks
from userbench.data.splits import load_split
from userbench.data.store import load_labels, load_targets
from userbench.experiment.validation import read_json
from userbench.results.contents import ExampleManifest


@pytest.fixture
def store(tmp_path) -> Path:
    """A store whose users have texts as ids."""
    return write_log_store(tmp_path, pa.array([f"u{user}" for user in range(len(INPUT))]))


def write_csv(folder: Path, text: str, name: str = "table.csv") -> None:
    """A file from words: lines are separated by blanks."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(text.split()) + "\n")


def make(store: Path, source: str, task: str = "mine", max_bad_rows: int = 0, **content) -> Path:
    """The folder of a task made of the files in raw/."""
    table = {"files": ["."], "user": "user"} | content
    settings = {source: table}
    out = store / "tasks" / task
    tasks.write_task(store.parent / "raw", settings, store, out, max_bad_rows)
    return out


def labels(store: Path, text: str, max_bad_rows: int = 0, **content) -> tuple[dict, dict]:
    """Label by user of a table, and the manifest."""
    write_csv(store.parent / "raw", text)
    out = make(store, "labels", max_bad_rows=max_bad_rows, label="label", **content)
    found, manifest = load_labels(store, "mine", "cpu"), arrays.read_manifest(out)
    assert read_json(out / "manifest.json", ExampleManifest)["counts"] == manifest["counts"]
    names = list(manifest["counts"]["classes"])
    assert len(names) == found.n_classes
    users = found.users.tolist()
    assert users == sorted(set(users))
    own = [names[label] for label in found.labels.tolist()]
    assert manifest["counts"]["classes"] == {name: own.count(name) for name in names}
    return dict(zip(users, own, strict=True)), manifest


def test_labels_are_joined_by_the_ids_of_the_events(store):
    """Wrong: a label goes to another user, or classes are in the order of chance."""
    found, manifest = labels(store, "user,label u3,9 u0,10 u5,-1 u1,9")
    assert found == {0: "10", 1: "9", 3: "9", 5: "-1"}
    assert list(manifest["counts"]["classes"]) == ["-1", "9", "10"]
    folder = store / "tasks/mine"
    assert arrays.read_array(folder, "classes.npy").tolist() == [-1, 9, 10]
    assert not (folder / "classes.parquet").exists()
    assert manifest["counts"]["rows"] == 4 and manifest["bad_rows"] == 0
    (raw,) = manifest["raw"].values()
    assert raw["name"] == "table.csv" and raw["sha256"]


def test_text_labels_are_classes_in_code_point_order(store):
    """Wrong: classes move with the locale or the order of rows; class 1 of two is not named."""
    found, manifest = labels(store, "user,label u0,é u2,M u1,f u4,M")
    assert found == {0: "é", 1: "f", 2: "M", 4: "M"}
    assert list(manifest["counts"]["classes"]) == ["M", "f", "é"]
    assert "class_1" not in manifest
    folder = store / "tasks/mine"
    assert pq.read_table(folder / "classes.parquet")["id"].to_pylist() == ["M", "f", "é"]
    assert arrays.read_array(folder, "classes.npy").tolist() == [0, 1, 2]
    before = arrays.identity(folder)
    assert labels(store, "user,label u4,M u1,f u2,M u0,é")[0] == found
    assert arrays.identity(folder) == before
    labels(store, "user,label u4,M u1,g u2,M u0,é")
    assert arrays.identity(folder) != before
    assert labels(store, "user,label u0,F u1,M u2,01")[1].get("class_1") is None
    assert labels(store, "user,label u0,F u1,M u2,M")[1]["class_1"] == "M"


@pytest.mark.parametrize("ids", [pa.array([7, 3, 12, 5, 0, 99]), pa.array(list("730519"))])
def test_whole_numbers_are_the_same_id_in_text_and_in_parquet(tmp_path, ids):
    """Wrong: the users of a CSV are not those of a Parquet file, or 007 is 7."""
    store = write_log_store(tmp_path, ids)
    text = f"user,label {ids[3]},1 {ids[0]},0"
    assert labels(store, text)[0] == {0: "0", 3: "1"}
    with pytest.raises(ValueError, match=r"table.csv:4: user '007' has no events"):
        labels(store, f"{text} 007,1")


def test_users_without_events_are_bad_rows(store, tmp_path):
    """Wrong: a mistyped id is lost without a word, or stops her who allows for some."""
    text = "user,label u0,1 x,1 u1,0 y,0"
    with pytest.raises(ValueError, match=r"table.csv:3: user 'x' has no events. Remove the row"):
        labels(store, text)
    assert not (store / "tasks").exists()
    found, manifest = labels(store, text, max_bad_rows=2)
    assert found == {0: "1", 1: "0"}
    assert (manifest["bad_rows"], manifest["counts"]["rows_of_unknown_users"]) == (2, 2)
    listed = (store / "tasks/mine/bad_rows.tsv").read_text().splitlines()
    assert [line.split("\t")[1] for line in listed] == ["line", "3", "5"]


@pytest.mark.parametrize(
    "settings",
    [
        {"min_user_events": 5},
        {"min_item_users": 2},
        {"hold_out": {"train_from": "2015-01-01"}},
        {"events": {"view": {"filter": {"rating": ">= 4"}}}},
    ],
    ids=str,
)
def test_users_that_the_settings_may_have_left_out_are_no_bad_rows(tmp_path, settings):
    """Wrong: whoever filters her events must allow for as many bad rows as users are lost."""
    users = pa.array([f"u{user}" for user in range(len(INPUT))])
    store = write_log_store(tmp_path, users, settings)
    found, manifest = labels(store, "user,label u0,1 x,1 u1,0")
    assert found == {0: "1", 1: "0"}
    assert manifest["counts"]["rows_of_users_left_out"] == 1 and manifest["bad_rows"] == 0
    with pytest.raises(ValueError, match="table.csv:2: user 'x' has no events, nor has any other"):
        labels(store, "user,label x,1 y,0")


def test_a_user_has_one_label(store):
    """Wrong: a user of two files counts twice, or her label is that of the last file."""
    write_csv(store.parent / "raw", "user,label u1,1 u0,0", "z.csv")
    found, manifest = labels(store, "user,label u0,0 u2,1 u0,0")
    assert found == {0: "0", 1: "1", 2: "1"}
    assert manifest["counts"]["repeated_rows"] == 2 and len(manifest["raw"]) == 2
    write_csv(store.parent / "raw", "user,label u1,1 u0,1", "z.csv")
    again = r"z.csv:3: user 'u0' has label '1', but '0' in .*table.csv:2. Keep one of both"
    with pytest.raises(ValueError, match=again):
        labels(store, "user,label u0,0 u2,1 u0,0")
    found, manifest = labels(store, "user,label u0,0 u2,1 u0,0", max_bad_rows=1)
    assert found == {0: "0", 1: "1", 2: "1"}
    assert manifest["bad_rows"] == 1 and manifest["counts"]["repeated_rows"] == 1


@pytest.mark.parametrize(
    ("text", "content", "reason"),
    [
        ("user,label,p u0,1,dev u1,0,test", {"part": "p"}, "table.csv:2: part 'dev' is none of"),
        ("user,label u0,1 u1,0", {"item": "label"}, "`item` is label. Leave it out"),
        ("user,label u0,1 u1,0", {"time": "label"}, "`time` is label. Leave it out"),
        ("user,label u0,1 u1,0", {"label": None}, "`label` is None. Name that column"),
    ],
)
def test_what_cannot_be_a_task_is_refused(store, text, content, reason):
    """Wrong: a task that nothing can be learnt from, or settings that do nothing."""
    write_csv(store.parent / "raw", text)
    with pytest.raises(ValueError, match=reason):
        make(store, "labels", **{"label": "label"} | content)
    assert not (store / "tasks").exists()


def test_labels_bring_their_parts(store, tmp_path):
    """Wrong: her test users are trained on."""
    text = (
        "user,label,part u2,1,test u0,0,train u3,1,train u1,0,validation u2,1,validation u4,1,test"
    )
    write_csv(store.parent / "raw", text)
    out = make(store, "labels", label="label", part="part")
    assert arrays.read_array(out, "parts.npy").tolist() == [0, 1, 1, 0, 2]
    assert arrays.read_manifest(out)["counts"]["users_in_several_parts"] == 1
    draw_splits.write_task_split(out, "user", 0, tmp_path / "splits/tasks/mine")
    assert load_split(tmp_path / "splits", "mine").tolist() == [0, 1, 1, 0, 2]


def targets(store: Path, **content) -> tuple[dict, dict]:
    """Targets by user, as ids with the part where there is one, and the manifest."""
    out = make(store, "targets", item="item", **content)
    found, manifest = load_targets(store, "mine", "cpu"), arrays.read_manifest(out)
    ids = arrays.read_array(out, "target_ids.npy").tolist()
    if (out / "targets.parquet").exists():
        assert ids == list(range(len(ids)))
        ids = pq.read_table(out / "targets.parquet")["id"].to_pylist()
    assert manifest["counts"]["candidates"] == found.n_candidates == len(ids)
    by_user: dict = {}
    parts = arrays.read_array(out, "parts.npy") if (out / "parts.npy").exists() else None
    for place, (user, target) in enumerate(zip(found.users.tolist(), found.targets, strict=True)):
        asked = ids[target] if parts is None else (ids[target], int(parts[place]))
        by_user.setdefault(user, []).append(asked)
    return by_user, manifest


def test_targets_have_a_catalogue_of_their_own(store):
    """Wrong: a target is another one, or a pair counts twice."""
    write_csv(store.parent / "raw", "user,item u3,9 u0,10 u3,007 u1,9 u3,9")
    found, manifest = targets(store)
    assert found == {0: ["10"], 1: ["9"], 3: ["007", "9"]}
    assert manifest["counts"]["repeated_targets"] == 1 and manifest["counts"]["rows"] == 3
    write_csv(store.parent / "raw", "user,item u3,9 u0,10 u3,7 u1,9 u3,9")
    assert targets(store)[0] == {0: [10], 1: [9], 3: [7, 9]}
    write_csv(store.parent / "raw", f"user,item u3,9 u0,{2**63}")
    assert targets(store)[0] == {0: [str(2**63)], 3: ["9"]}
    write_csv(store.parent / "raw", "user,item u3,9 u0,9")
    with pytest.raises(ValueError, match=r"table.csv: every target is '9'"):
        targets(store)


def test_a_target_of_several_parts_is_in_the_earliest(store):
    """Wrong: what is asked for in the test was a target of training."""
    rows = "u3,9,test u3,7,test u0,7,test u3,9,train u0,9,train u1,7,test u1,7,validation u3,9,test"
    write_csv(store.parent / "raw", f"user,item,part {rows}")
    found, manifest = targets(store, part="part")
    assert found == {0: [(7, 2), (9, 0)], 1: [(7, 1)], 3: [(7, 2), (9, 0)]}
    assert manifest["counts"]["pairs_in_several_parts"] == 2


def test_the_command_writes_what_its_flags_say(store):
    """Wrong: a flag is not passed on."""
    write_csv(store.parent / "raw", "user,label u0,1 x,1 u1,0")
    parser = argparse.ArgumentParser()
    tasks.add_flags(parser)
    settings = {"labels": {"files": ["."], "user": "user", "label": "label"}}
    flags = ["--settings", json.dumps(settings), "--max-bad-rows", "1", "--store", str(store)]
    out = store / "tasks/mine"
    args = parser.parse_args([*flags, "--raw", str(store.parent / "raw"), "--out", str(out)])
    tasks.run(args)
    assert load_labels(store, "mine", "cpu").users.tolist() == [0, 1]


@pytest.mark.parametrize(
    "settings",
    [{}, {"label": {}}, {"labels": {}, "next_item": {}}, {"next_item": []}]
    + [{"next_item": {"seen": True}}, {"next_item": {"exclude_seen": 1}}],
    ids=json.dumps,
)
def test_settings_name_one_source(store, settings):
    """Wrong: a misspelt key means something else than was meant."""
    with pytest.raises(ValueError, match="--settings"):
        tasks.write_task(store.parent, settings, store, store / "tasks/mine")
