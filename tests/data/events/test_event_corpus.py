"""From files of events to a store: what is in it, in which order, under which numbers and ids."""

import json
import random
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from slow_corpus import PARTS, Row, SlowCorpus, slow_corpus

from userbench.data import arrays, draw_splits
from userbench.data.events import command, log
from userbench.data.events.corpus import write_corpus
from userbench.data.events.histories import read_histories
from userbench.data.events.settings import corpus_settings_of
from userbench.data.format import BadRows
from userbench.data.ids import item_table, user_ids
from userbench.data.neighbours import write_neighbours
from userbench.data.store import BehaviourStore
from userbench.experiment.validation import read_json
from userbench.results.contents import BehaviourManifest

VIEWS = {"files": ["views.csv"], "user": "user", "item": "item", "time": "time"}


def settings_of(**changes):
    """Settings of a corpus of one kind of event."""
    return corpus_settings_of({"events": {"view": VIEWS}} | changes)


def write_log(folder: Path, rows: list[Row], name: str = "views.csv") -> Path:
    """The folder of a file with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["user,item,time", *(f"{row.user},{row.item},{row.time}" for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def rows_of(text: str) -> list[Row]:
    """Rows of words like `ann:x:3`."""
    return [Row(*word.split(":"), place) for place, word in enumerate(text.split())]


def make(folder: Path, rows: list[Row], max_bad_rows: int = 0, **changes) -> Path:
    """The store of a log."""
    raw, store = write_log(folder / "raw", rows), folder / "store"
    write_corpus(raw, settings_of(**changes), store, max_bad_rows)
    return store


def read(store: Path) -> SlowCorpus:
    """What is in a store, in ids."""
    behaviours, held = store / "behaviours", store / "held_out"
    users, ids = user_ids(store).to_pylist(), [None, *item_table(store)["id"].to_pylist()]
    if "kind" in item_table(store).column_names:
        ids = [None, *((r["kind"], r["id"]) for r in item_table(store).to_pylist())]
    items, offsets = (arrays.read_array(behaviours, f"{n}.npy") for n in ("items", "offsets"))
    sequences = [[ids[item] for item in own] for own in np.split(items, offsets[1:-1])]
    asked = zip(
        *(arrays.read_array(held, f"{n}.npy") for n in ("users", "items", "parts")), strict=True
    )
    held_out = [(users[user], ids[item], PARTS[part]) for user, item, part in asked]
    return SlowCorpus(users, ids[1:], sequences, held_out)


DAY = 86_400
CASES = [
    {},
    {"hold_out": {"last": 3}, "repeats": "last", "max_length": 4},
    {"min_user_events": 4, "min_item_users": 3, "hold_out": {"last": 3}, "repeats": "consecutive"},
    {
        "hold_out": {"train_from": "1970-01-06", "validation_from": "1970-01-08"}
        | {"test_from": "1970-01-09"},
        "max_length": 3,
    },
]


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("as_text", [False, True])
def test_a_store_is_what_a_slow_version_makes(tmp_path, case, as_text):
    """Wrong: an event is lost, in another place, with another number, or in another part."""
    changes, draw = CASES[case], random.Random(case)
    times = [day * DAY + draw.choice([0, 0, 7]) for day in range(10)]
    rows = []
    for place in range(160):
        user, item = draw.choice([*range(3, 30), 100]), draw.choice([*range(12), 100, 20])
        names = (f"u{user}", f"i{item}") if as_text else (user, item)
        rows.append(Row(*names, draw.choice(times), place))
    table = VIEWS | {"time_unit": "s"}
    store = make(tmp_path, rows, **{"events": {"view": table}} | changes)
    slow = {name: value for name, value in changes.items() if name != "hold_out"}
    held = changes.get("hold_out", {})
    begins = [date.fromisoformat(held[name]) for name in held if name != "last"]
    cut = held.get("last") or [(day - date(1970, 1, 1)).days * DAY for day in begins] or None
    assert read(store) == slow_corpus(rows, hold_out=cut, **slow)
    manifest = read_json(store / "behaviours/manifest.json", BehaviourManifest)
    assert manifest["counts"]["interactions"] == sum(map(len, read(store).sequences))
    raw_ids = arrays.read_array(store / "behaviours", "item_ids.npy").tolist()
    assert raw_ids == [0, *([*range(1, len(raw_ids))] if as_text else read(store).items)]


def test_the_store_is_that_of_the_same_behaviours_as_lines(tiny, tmp_path):
    """Wrong: events are trained on otherwise than lines of the same behaviours."""
    lines = tiny / "store/behaviours"
    items, offsets, ids = (
        arrays.read_array(lines, f"{name}.npy") for name in ("items", "offsets", "item_ids")
    )
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    # Interleaved as in a log, each user's in their order.
    order = np.argsort(np.arange(len(items)) - offsets[users], kind="stable")
    text = "".join(f"{u},{i}\n" for u, i in zip(users[order], ids[items[order]], strict=True))
    (tmp_path / "views.csv").write_text("user,item\n" + text)
    table = {"files": ["views.csv"], "user": "user", "item": "item"}
    write_corpus(tmp_path, settings_of(events={"view": table}), tmp_path / "store")
    ours = tmp_path / "store/behaviours/checksums.json"
    assert ours.read_bytes() == (lines / "checksums.json").read_bytes()


def test_results_do_not_depend_on_threads_nor_blocks(tmp_path, monkeypatch):
    """Wrong: another machine trains on another order of events."""
    draw = random.Random(5)
    rows = [
        Row(f"u{draw.randrange(40)}", draw.randrange(9), draw.randrange(4), n) for n in range(3000)
    ]
    raw, found = write_log(tmp_path / "raw", rows), []
    for threads, at_once, ties in [(1, 7, "file"), (2, 1 << 18, "file"), (2, 512, "shuffle")]:
        monkeypatch.setattr(log, "ROWS_AT_ONCE", at_once)
        settings, store = settings_of(ties=ties, seed=1), tmp_path / f"store{at_once}"
        write_corpus(raw, settings, store, threads=threads)
        ties = arrays.read_manifest(store / "behaviours")["events"]["share_of_ties"]
        found.append((arrays.identity(store / "behaviours"), ties))
    assert found[0] == found[1] and found[1][0] != found[2][0]
    assert found[2][1] == found[0][1] > 0.9
    drawn = read(store)
    assert [sorted(own) for own in drawn.sequences] == [
        sorted(own) for own in read(tmp_path / "store7").sequences
    ]


def test_ids_are_numbers_only_where_all_of_them_are(tmp_path):
    """Wrong: 007 becomes 7, or 10 comes before 9."""
    numbers = read(make(tmp_path / "a", rows_of("10:9:1 9:10:1")))
    assert (numbers.users, numbers.items) == ([10, 9], [9, 10])
    late = rows_of(" ".join(["10:9:1"] * 5000 + ["9:007:1"]))
    texts = read(make(tmp_path / "b", late))
    assert (texts.users, texts.items) == ([10, 9], ["007", "9"])
    beyond = read(make(tmp_path / "c", rows_of("1:9:1 2:10:1 1:9223372036854775808:1")))
    assert beyond.items == ["10", "9", "9223372036854775808"]
    signs = read(
        make(tmp_path / "d", rows_of("1:\N{LATIN SMALL LETTER E WITH ACUTE}:1 2:z:1 1:Z:1"))
    )
    assert signs.items == ["Z", "z", "é"]


def test_several_kinds_and_files_are_one_sequence(tmp_path):
    """Wrong: a bought item is the viewed one, or files are not read in the order of their names."""
    raw = write_log(tmp_path, rows_of("ann:x:2 bob:x:1"), "b.csv")
    write_log(tmp_path, rows_of("ann:y:2 bob:z:1"), "a.csv")
    write_log(tmp_path, rows_of("bob:x:1 ann:x:0"), "bought.csv")
    kinds = {
        "view": VIEWS | {"files": ["a.csv", "b.csv"]},
        "buy": VIEWS | {"files": ["bought.csv"]},
    }
    write_corpus(raw, settings_of(events=kinds), tmp_path / "store")
    found = read(tmp_path / "store")
    view, buy = (lambda item: ("view", item)), (lambda item: ("buy", item))
    assert found.users == ["ann", "bob"]
    assert found.items == [view("x"), view("y"), view("z"), buy("x")]
    assert found.sequences == [[buy("x"), view("y"), view("x")], [view("z"), view("x"), buy("x")]]


def test_no_held_out_event_reaches_pre_training(tmp_path):
    """Wrong: pre-training sees what is asked: in the store, in neighbours or in batches."""
    rows = []
    for user in range(20):  # everybody ends with the planted item, then with a known one
        own = ["a", "b", f"own{user % 3}", "c", "planted", "z"]
        rows += [Row(f"u{user}", item, time, 0) for time, item in enumerate(own)]
    rows += [Row("v1", "z", 0, 0), Row("v2", "z", 0, 0)]
    store = make(tmp_path, rows, hold_out={"last": 3})
    found = read(store)
    assert "planted" not in found.items and {"z", "a"} <= {*found.items}
    assert {*found.held_out} == {(f"u{u}", "z", "test") for u in range(20)}
    ids = [None, *item_table(store)["id"].to_pylist()]
    behaviours = BehaviourStore.open(store, 50, "cpu")
    batch = behaviours.batch(torch.arange(behaviours.n_users))
    seen = [[ids[item] for item in own if item] for own in batch.items.tolist()]
    assert seen == found.sequences
    assert not any("z" in own for own in seen[:20])
    draw_splits.write_user_split(store / "behaviours", 0, tmp_path / "splits/users")
    write_neighbours(store, tmp_path / "splits", 5, tmp_path / "neighbours")
    near = arrays.read_array(tmp_path / "neighbours", "items.npy")
    assert len(near) == len(ids) and not near[ids.index("z")].any()
    assert ids.index("z") not in near and near[ids.index("a")].any()


def test_what_is_left_out_is_counted(tmp_path):
    """Wrong: nobody sees how many users are asked nothing, or what the cut made of rare items."""
    late = "ann:x:1 ann:y:86400 ann:new:172800 ann:x:259200 bob:y:1 new:x:86400 cy:x:5 cy:x:5"
    dates = {"train_from": "1970-01-02", "validation_from": "1970-01-03", "test_from": "1970-01-04"}
    table = {"view": VIEWS | {"time_unit": "s", "filter": {"item": "!= nothing"}}}
    rows = rows_of(late + " ann:nothing:9")
    store = make(tmp_path, rows, events=table, hold_out=dates)
    manifest = arrays.read_manifest(store / "behaviours")
    assert manifest["held_out"] == {
        "cut": "dates",
        "events": {"train": 1, "validation": 0, "test": 1},
        "items_outside_catalogue": {"train": 0, "validation": 1, "test": 0},
        "of_users_without_input": {"train": 1, "validation": 0, "test": 0},
        "users_without_input": 1,
        "users_asked_nothing": 2,
        "users_without_held_out": 2,
    }
    facts = manifest["events"]
    assert (facts["order"], facts["duplicated_rows"], facts["filtered_rows"]) == ("time", 1, 1)
    assert facts["share_of_ties"] == 2 / 8
    assert [step["events"] for step in facts["steps"]] == [8, 4]
    names = [Path(name).name for name in manifest["raw"]]
    assert names == ["views.csv"]


def test_dates_cut_times_of_any_form_at_midnight(tmp_path):
    """Wrong: an event just before a date is asked for; a double rounds nanoseconds to the date."""
    begins = [pd.Timestamp(f"2015-0{month}-01") for month in (1, 2, 3)]
    names = ("train_from", "validation_from", "test_from")
    dates = dict(zip(names, (str(begin.date()) for begin in begins), strict=True))
    before = [begin.value - 1 for begin in begins]
    times = np.array([*before, *(begin.value for begin in begins)])
    own = pa.table({"user": ["ann"] * 6 + ["bob"] * 2, "item": [*"abcdefaz"]})
    for form, unit in [("ns", "ns"), ("us", None), ("zone", None)]:
        column = pa.array([*times, 0, 0])
        if unit is None:
            column = (column.cast(pa.timestamp("ns"))).cast(pa.timestamp("us"), safe=False)
            column = column.cast(pa.timestamp("us", "UTC")) if form == "zone" else column
        (raw := tmp_path / form / "raw").mkdir(parents=True)
        pq.write_table(own.append_column("time", column), raw / "views.csv")
        settings = settings_of(events={"view": VIEWS | {"time_unit": unit}}, hold_out=dates)
        write_corpus(raw, settings, tmp_path / form / "store")
        manifest = arrays.read_manifest(tmp_path / form / "store/behaviours")["held_out"]
        # d, e and f are at midnight; b is just before February, c before March, a before it all.
        outside = manifest["items_outside_catalogue"]
        assert outside == {"train": 2, "validation": 2, "test": 1}


def test_bad_rows_are_listed_and_kept_out(tmp_path):
    """Wrong: a row that cannot be read is an event, or nobody finds which it was."""
    store = make(tmp_path, rows_of("ann:x:1 :y:1 bob:y:2 ann:y:3"), max_bad_rows=1)
    assert read(store).sequences == [["x", "y"], ["y"]]
    (line,) = (store / "behaviours/bad_rows.tsv").read_text().splitlines()[1:]
    assert (
        line.split("\t")[1] == "3" and arrays.read_manifest(store / "behaviours")["bad_rows"] == 1
    )


LOG = "ann:x:1 ann:y:2 ann:x:3 ann:z:4 bob:y:1"
DATES = {"train_from": "1970-01-02", "validation_from": "1970-01-03", "test_from": "1970-01-04"}


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ("ann:x:1 ann:y:2", {}, "too few users are left (read: 2 events of 1 users"),
        ("ann:x:1 bob:x:2", {}, "too few items are left (read: 2 events of 2 users and 1 items)"),
        (LOG, {"min_user_events": 2}, "min_user_events: 2, min_item_users: 1: 4 events of 1 users"),
        (LOG, {"min_user_events": 9}, "9, min_item_users: 1: 0 events of 0 users and 0 items"),
        (LOG, {"hold_out": {"first": 2}}, "no key 'first'"),
        (LOG, {"hold_out": {"last": 2}}, "only 3 gives each of the three parts"),
        (LOG, {"hold_out": {"last": 3} | DATES}, "not both"),
        (LOG, {"hold_out": {"train_from": "2015-01-01"}}, "all three"),
        (LOG, {"hold_out": DATES | {"test_from": "1970-01-03"}}, "do not ascend"),
        (LOG, {"hold_out": DATES | {"test_from": "soon"}}, "test_from 'soon' is no date"),
        (LOG, {"hold_out": DATES}, "times are numbers. Give their `time_unit`"),
        ("ann:x:1 bob:y:1", {"hold_out": {"last": 3}}, "no user has more than 3 events"),
        (
            LOG,
            {"hold_out": DATES, "events": {"view": VIEWS | {"time_unit": "s"}}},
            "no event that is left is from train_from 1970-01-02 on and before 1970-01-03",
        ),
        (LOG, {"hold_out": DATES, "events": {"view": VIEWS | {"time": None}}}, "need a column"),
        (LOG, {"ties": "shuffle", "events": {"view": VIEWS | {"time": None}}}, "no ties"),
        (LOG, {"events": {"view": VIEWS | {"item": None}}}, "no `item`"),
        (LOG, {"events": {"a": VIEWS, "b": VIEWS | {"time": None}}}, "others none"),
        (LOG, {"events": {"a": VIEWS, "b": VIEWS | {"time_unit": "s"}}}, "`time_unit` differs"),
        (LOG, {"events": {}}, "no table"),
        (LOG, {"seed": -1}, "seed -1 is negative"),
        (LOG, {"repeat": "first"}, "'repeat'"),
        (LOG, {"repeats": "none"}, "use one of all, first, last, consecutive"),
    ],
)
def test_settings_that_do_not_suit_are_one_line(tmp_path, capsys, rows, changes, message):
    """Wrong: a store without sense is written, or the reason is not said."""
    raw = write_log(tmp_path / "raw", rows_of(rows))
    settings = json.dumps({"events": {"view": VIEWS}} | changes)
    flags = ["--raw", str(raw), "--settings", settings, "--out", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as ended:
        command.main(["corpus", *flags])
    assert message in str(ended.value) and "\n" not in str(ended.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_kinds_with_other_types_are_refused(tmp_path):
    """Wrong: 7 of one file and 007 of the other are made one by a guess."""
    raw = write_log(tmp_path / "raw", rows_of(LOG))
    table = {"user": [1, 2], "item": ["x", "y"], "time": [1, 2]}
    pq.write_table(pa.table(table), raw / "buys.parquet")
    kinds = {"view": VIEWS, "buy": VIEWS | {"files": ["buys.parquet"]}}
    with pytest.raises(ValueError, match=r"buys.parquet: user is int64, in .*views.csv string"):
        write_corpus(raw, settings_of(events=kinds), tmp_path / "store")


def test_more_events_than_can_be_counted_are_refused(tmp_path, monkeypatch):
    """Wrong: numbers of 31 bits overflow, and events go to other users."""
    monkeypatch.setattr(log, "MOST_ROWS", 4)
    with pytest.raises(ValueError, match=r"views.csv: more than 4 events"):
        make(tmp_path, rows_of(LOG))


def test_another_file_than_expected_is_refused(tmp_path):
    """Wrong: a corpus is made of another release than the config names."""
    raw = write_log(tmp_path / "raw", rows_of(LOG))
    for checksums, message in [
        ({"views.csv": "0"}, "expected 0"),
        ({"v.csv": "0"}, "unknown file"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_corpus(raw, settings_of(), tmp_path / "store", checksums=checksums)
    assert not (tmp_path / "store").exists()


def test_a_new_log_is_read_as_items_of_the_store(tmp_path):
    """Wrong: an item gets the vector of another, or new users are held to what made the corpus."""
    kept = {"repeats": "consecutive", "max_length": 4, "min_user_events": 2}
    store = make(tmp_path, rows_of(LOG + " bob:x:5"), hold_out={"last": 3}, **kept)
    known = item_table(store)
    assert known["id"].to_pylist() == ["x", "y"]
    new = "dee:new:1 dee:other:2 dee:x:0 ann:y:1 eve:x:1 eve:x:2 eve:y:9 eve:x:3 eve:x:10 eve:y:11"
    raw = write_log(tmp_path / "new", rows_of(new))
    bad = BadRows(0)
    found = read_histories(raw, settings_of(**kept), known, bad, tmp_path / "beside")
    assert found.users.to_pylist() == ["dee", "ann", "eve"]
    assert np.split(found.items, found.offsets[1:-1])[0].tolist() == [1, 3, 3]
    assert np.split(found.items, found.offsets[1:-1])[2].tolist() == [1, 2, 1, 2]
    assert (found.unknown_events, found.unknown_items) == (2, 2)
    assert [path.name for path in tmp_path.iterdir() if "sorting" in path.name] == []
