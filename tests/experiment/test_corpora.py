"""Event logs in a config: what it may hold, which errors are found, what commands get."""

import json
from dataclasses import MISSING, fields
from datetime import date

import pytest
import yaml

from userbench.experiment import corpora
from userbench.experiment.check import read_experiment
from userbench.experiment.cuts import cut_notes
from userbench.experiment.layouts import table2
from userbench.experiment.runs import resolve
from userbench.experiment.schema import main as schema

CONFIG = """
experiment: mine
device: cpu
seeds: [0]
corpora:
  ml:
    format: events
    label: MovieLens-1M
    raw: ~/data/ml-1m
    events:
      rating:
        files: [ratings.dat]
        columns: [user, item, rating, time]
        user: user
        item: item
        time: time
        time_unit: s
        filter: {rating: ">= 4"}
    min_user_events: 5
    max_length: 200
    hold_out: {last: 3}
splits: {seed: 1}
encoder: {dim: 16, layers: 1, heads: 2, max_length: 30}
pretrain: {epochs: 1, batch_size: 64}
finetune: {epochs: 1, from_epochs: [1]}
tasks:
  age:
    corpus: ml
    kind: classification
    labels: {files: [users.dat], columns: [user, age], user: user, label: age}
    label: Age
    lr: 1.0e-3
    batch_size: 32
  coupon:
    corpus: ml
    kind: top_n
    targets: {files: [coupons.parquet], user: user, item: coupon, part: part}
    label: Coupon
    lr: 1.0e-3
    batch_size: 32
  next: {corpus: ml, kind: top_n, next_item: {}, label: Next item, lr: 1.0e-3, batch_size: 32}
runs: {none: {}}
table2: {rows: [none], compared_with: none}
"""
DAYS = {"train_from": "2015-01-01", "validation_from": "2015-02-01", "test_from": "2015-03-01"}
LABELS = {"files": ["users.dat"], "user": "user", "label": "age"}
FIXED = {"format": "ttl", "simulate": {"users": 300, "items": 400, "seed": 1}}
TABLE = {"files": ["tags.dat"], "user": "user", "item": "item"}
ABSENT = object()


def changed(place, value):
    """The config above with another value at a dotted place, or without it."""
    content = yaml.safe_load(CONFIG)
    *above, last = place.split(".")
    inner = content
    for key in above:
        inner = inner[key]
    if value is ABSENT:
        del inner[last]
    else:
        inner[last] = value
    return content


INVALID = {
    # Keys and types.
    "misspelt format": (
        changed("corpora.ml.format", "evnts"),
        "corpora.ml.format: 'evnts' should be one of 'app', 'ttl', 'events'",
    ),
    "no format": (changed("corpora.ml.format", ABSENT), "corpora.ml: 'format' is missing"),
    "no mapping": (changed("corpora.ml", 3), "corpora.ml: 3 is no mapping of keys to values"),
    "misspelt key": (
        changed("corpora.ml.max_lenth", 3),
        "corpora.ml: unknown key 'max_lenth'; did you mean 'max_length'?",
    ),
    "key of another format": (
        changed("corpora.ml.simulate", FIXED["simulate"]),
        "corpora.ml: unknown key 'simulate'; ",
    ),
    "key of events at another format": (
        changed("corpora.ml", {**FIXED, "hold_out": {"last": 3}}),
        "corpora.ml: unknown key 'hold_out'; ",
    ),
    "misspelt key of a table": (
        changed("corpora.ml.events.rating.itm", "item"),
        "corpora.ml.events.rating: unknown key 'itm'; did you mean 'item'?",
    ),
    "no column of the item": (
        changed("corpora.ml.events.rating.item", ABSENT),
        "corpora.ml.events.rating: 'item' is missing",
    ),
    "one file": (
        changed("corpora.ml.events.rating.files", "ratings.dat"),
        "corpora.ml.events.rating.files: 'ratings.dat' should be a valid list: write [ratings.dat]",
    ),
    "kind of event": (
        changed("corpora.ml.events", {"a b": {}}),
        "corpora.ml.events.a b: 'a b' is no name of small letters, digits, _ and -",
    ),
    "repeats": (
        changed("corpora.ml.repeats", "none"),
        "corpora.ml.repeats: 'none' should be 'all', 'first', 'last' or 'consecutive'",
    ),
    "label in a table of targets": (
        changed("tasks.coupon.targets.label", "age"),
        "tasks.coupon.targets: unknown key 'label'; ",
    ),
    # Data, times, cuts.
    "no raw": (
        changed("corpora.ml.raw", ABSENT),
        "corpora.ml: no data: add the log's `raw` or `raw_env`",
    ),
    "unit without a time": (
        changed("corpora.ml.events.rating.time", ABSENT),
        "corpora.ml.events.rating: time_unit without time. Name the column as `time`",
    ),
    "a kind without a time": (
        changed("corpora.ml.events.tag", TABLE),
        "corpora.ml: events.tag has no `time`, others have. Add it, or leave it out of all",
    ),
    "both cuts": (
        changed("corpora.ml.hold_out", {"last": 3, **DAYS}),
        "corpora.ml.hold_out: write `last: 3`, or train_from, validation_from and test_from",
    ),
    "part of the days": (
        changed("corpora.ml.hold_out", {"test_from": "2015-01-01"}),
        "corpora.ml.hold_out: write `last: 3`, or train_from, validation_from and test_from",
    ),
    "no cut": (changed("corpora.ml.hold_out", {}), "corpora.ml.hold_out: write `last: 3`, or"),
    "days out of order": (
        changed("corpora.ml.hold_out", {**DAYS, "train_from": "2015-02-01"}),
        "corpora.ml.hold_out: train_from, validation_from and test_from must be in this order",
    ),
    "no day": (
        changed("corpora.ml.hold_out", {**DAYS, "test_from": "March"}),
        "corpora.ml.hold_out.test_from: 'March' is no day. Write it like 2015-01-31",
    ),
    "too few for three parts": (
        changed("corpora.ml.hold_out", {"last": 2}),
        "corpora.ml.hold_out.last: 2 should be 3",
    ),
    "two units of time": (
        changed("corpora.ml.events.tag", {**TABLE, "time": "time", "time_unit": "ms"}),
        "corpora.ml: events rating and tag differ in `time_unit`. Write all times in one unit",
    ),
    "ties without times": (
        changed(
            "corpora.ml",
            {"format": "events", "raw": "log", "events": {"tag": TABLE}, "ties": "shuffle"},
        ),
        "corpora.ml: ties: shuffle: without `time` there are no ties. Add it, or write file",
    ),
    "no condition": (
        changed("corpora.ml.events.rating.filter", {"rating": "4"}),
        "corpora.ml.events.rating.filter.rating: '4' is no condition. Write one like '>= 4', '==",
    ),
    "days without times": (
        changed(
            "corpora.ml",
            {
                "format": "events",
                "raw": "log",
                "events": {"view": {"files": ["a.csv"], "user": "u", "item": "i"}},
                "hold_out": DAYS,
            },
        ),
        "corpora.ml: hold_out by days needs `time` in events.view. Add it, or write `last: 3`",
    ),
    # Tasks and their corpora.
    "no examples": (
        changed("tasks.next.next_item", ABSENT),
        "tasks.next: needs one of labels, targets and next_item, as 'ml' is a log of events. Write",
    ),
    "two kinds of examples": (
        changed("tasks.next.labels", LABELS),
        "tasks.next: needs one of labels, targets and next_item, as 'ml' is a log of events and "
        "has labels and next_item. Write one of them",
    ),
    "source": (
        changed("tasks.age.source", "a"),
        "tasks.age.source: 'ml' is a log of events. Leave",
    ),
    "task of the paper": (
        changed("tasks.age.paper", "T1"),
        "tasks.age.paper: 'ml' is a log, and none of the paper's. Leave it out",
    ),
    "labels to rank": (
        changed("tasks.age.kind", "top_n"),
        "tasks.age.kind: 'top_n' does not fit labels. Write classification or binary",
    ),
    "targets to classify": (
        changed("tasks.coupon.kind", "binary"),
        "tasks.coupon.kind: 'binary' does not fit targets. Write top_n",
    ),
    "next item of a corpus that holds nothing out": (
        changed("corpora.ml.hold_out", ABSENT),
        "tasks.next.next_item: corpus 'ml' holds no events out. Add hold_out: {last: 3} to",
    ),
    "labels of a task of another format": (
        changed("corpora.ml", FIXED),
        "tasks.age.labels: only tasks of a corpus of format events have it. Leave it out",
    ),
}


@pytest.mark.parametrize(("content", "message"), INVALID.values(), ids=INVALID)
def test_errors_are_one_line_with_key_and_remedy(content, message):
    with pytest.raises(ValueError) as raised:
        read_experiment(content, "a.yaml")
    assert str(raised.value).startswith(f"a.yaml: {message}")
    assert "\n" not in str(raised.value)


def test_commands_get_what_the_config_says():
    """Wrong: the log is read by other columns, or cut at another place, than the config says."""
    from userbench.data.events.settings import HoldOut, Table, corpus_settings_of

    config = read_experiment(yaml.safe_load(CONFIG), "a.yaml")
    settings = corpus_settings_of(json.loads(json.dumps(config.corpora["ml"].settings())))
    assert settings.events == {
        "rating": Table(
            files=["ratings.dat"],
            columns=["user", "item", "rating", "time"],
            user="user",
            item="item",
            time="time",
            time_unit="s",
            filter={"rating": ">= 4"},
        )
    }
    assert (settings.min_user_events, settings.min_item_users) == (5, 1)
    assert (settings.max_length, settings.hold_out) == (200, HoldOut(last=3))
    days = {key: date.fromisoformat(day) for key, day in DAYS.items()}
    for given in (DAYS, days):  # YAML reads a day as a day, JSON as a text
        config = read_experiment(changed("corpora.ml.hold_out", given), "a.yaml")
        settings = corpus_settings_of(json.loads(json.dumps(config.corpora["ml"].settings())))
        assert settings.hold_out == HoldOut(**days)


def test_tables_and_corpora_have_the_keys_and_defaults_of_the_settings():
    """Wrong: a key of the config is not read by any command, or has another default there."""
    from userbench.data.events import settings

    tables = (corpora.EventTable, corpora.LabelTable, corpora.TargetTable)
    keys = {name: field for table in tables for name, field in table.model_fields.items()}
    own = corpora.EventCorpus.model_fields.keys() - corpora.Corpus.model_fields.keys()
    corpus = {name: corpora.EventCorpus.model_fields[name] for name in own}
    hold_out = corpora.HoldOut.model_fields
    for kind, model in (
        (settings.Table, keys),
        (settings.CorpusSettings, corpus),
        (settings.HoldOut, hold_out),
    ):
        assert model.keys() == {field.name for field in fields(kind)}
        for field in fields(kind):
            default = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            own = model[field.name]
            if default == settings.HoldOut():  # what the config calls None
                default = None
            required = default is MISSING or (kind is settings.Table and own.is_required())
            assert required or own.default == default, field.name


def test_the_schema_knows_the_keys_of_every_format(capsys):
    schema([])
    shown = json.loads(capsys.readouterr().out)["$defs"]
    assert {"min_item_users", "hold_out"} <= shown["EventCorpus"]["properties"].keys()
    assert "simulate" in shown["FixedCorpus"]["properties"]
    assert shown["EventTable"]["properties"]["time"]["description"].startswith("Column that orders")


def notes_of(content):
    """What the table says of the log of a config."""
    return cut_notes(resolve(read_experiment(content, "a.yaml")))


def test_the_table_says_which_cut_was_made():
    """Wrong: a row measured with the future in its input reads like one without."""
    notes = notes_of(yaml.safe_load(CONFIG))
    assert notes == [
        "MovieLens-1M: everybody's last 3 events are asked for; events of others that happened "
        "later are in the input, so the future leaks into it.",
        "Coupon: its parts are those of the column part, not drawn.",
        "Next item: items that a user's input holds are candidates, too.",
    ]
    first, *_ = notes_of(changed("corpora.ml.hold_out", DAYS))
    assert first == (
        "MovieLens-1M: all events from 2015-01-01 on are asked for, and those before it are the "
        "input; training targets begin at 2015-01-01, validation targets at 2015-02-01, test "
        "targets at 2015-03-01."
    )
    content = changed("tasks.next.next_item", {"exclude_seen": True})
    del content["corpora"]["ml"]["label"]
    for key in ("time", "time_unit"):
        del content["corpora"]["ml"]["events"]["rating"][key]
    _, order, _, candidates = notes_of(content)
    assert order == "ml: the log has no time; the order of its files is that of the events."
    assert candidates == "Next item: items that a user's input holds are no candidates."
    assert table2(resolve(read_experiment(content, "a.yaml")), ["Of a method."]).notes[1:] == [
        order,
        "Coupon: its parts are those of the column part, not drawn.",
        candidates,
        "Of a method.",
    ]
