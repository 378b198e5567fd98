"""Logs of events in the workflow: which jobs they make, and what makes these run again."""

import json
import re
import shlex
import zipfile

import pytest
import yaml
from repository import ROOT
from snakemake_calls import job_counts, snakemake

RATINGS = {"files": ["ratings.dat"], "columns": ["user", "item"], "user": "user", "item": "item"}
TIMES = {**RATINGS, "columns": ["user", "item", "time"], "time": "time", "time_unit": "s"}
LABELS = {"files": ["users.dat"], "columns": ["user", "age"], "user": "user", "label": "age"}
DAYS = {"train_from": "2015-01-01", "validation_from": "2015-02-01", "test_from": "2015-03-01"}


def config(**corpora):
    """A tiny experiment on these corpora, each with a task or two."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    trained = {"lr": 1.0e-3, "batch_size": 32}
    tasks = {
        "age": {"corpus": "ml", "kind": "classification", "labels": LABELS, "label": "Age"},
        "next": {"corpus": "ml", "kind": "top_n", "next_item": {}, "label": "Next item"},
        "gender": {"corpus": "app", "kind": "binary", "label": "Gender"},
    }
    return {
        **{key: smoke[key] for key in ("splits", "encoder", "pretrain", "finetune")},
        **{"experiment": "mine", "seeds": [0], "device": "cpu", "corpora": corpora},
        "tasks": {n: t | trained for n, t in tasks.items() if t["corpus"] in corpora},
        "runs": {"none": {}, "mlm": {"method": "mlm"}},
        "table2": {"rows": ["none", "mlm"], "compared_with": "none"},
    }


def test_a_log_and_a_simulated_corpus_are_read_each_by_its_own_rules(checkout, tmp_path):
    """Wrong: a log is read as lines of ids, or a day of the config reaches its command changed."""
    (tmp_path / "ratings.dat").write_text("1::2::3\n")
    (tmp_path / "users.dat").write_text("1::2\n")
    log = {"format": "events", "raw": str(tmp_path), "events": {"rating": TIMES}, "hold_out": DAYS}
    app = {"format": "app", "simulate": {"users": 300, "items": 400, "seed": 2}}
    path = tmp_path / "mine.yaml"
    # Why the quotes away: YAML then reads a day as a day, not as a text.
    text = yaml.safe_dump(config(ml=log, app=app), sort_keys=False)
    path.write_text(re.sub(r"'(\d{4}-\d\d-\d\d)'", r"\1", text))
    words = ["-n", "-p", "--configfile", str(path), "--", "results/table2.csv"]
    status, output = snakemake(checkout, *words)
    assert status == 0, output
    counts = job_counts(output)
    assert (counts["events_corpus"], counts["events_task"]) == (1, 2)
    assert (counts["simulate"], counts["behaviours"], counts["task"]) == (1, 1, 1)
    assert (counts["task_split"], counts["user_split"], counts["finetune_ml"]) == (3, 2, 2)
    command = next(line for line in output.splitlines() if "userbench events corpus" in line)
    given = shlex.split(command)
    settings = json.loads(given[given.index("--settings") + 1])
    assert settings["hold_out"] == DAYS
    assert given[given.index("--threads") + 1] == "2"  # of two cores
    assert settings["events"]["rating"]["columns"] == TIMES["columns"]
    tasks = [shlex.split(line) for line in output.splitlines() if "userbench events task" in line]
    sources = [json.loads(words[words.index("--settings") + 1]) for words in tasks]
    assert {"next_item": {"exclude_seen": False}} in sources
    assert [source["labels"]["label"] for source in sources if "labels" in source] == ["age"]


# ------------------------------------------------------------------ what a job knows of raw files


def content(raw, cache, files=("a.csv", "b.csv"), made=None, **settings):
    """The content of a log of these files."""
    from userbench.experiment.corpora import EventCorpus
    from userbench.workflow.raw import content_of_tables

    table = {"files": list(files), "user": "user", "item": "item"}
    corpus = EventCorpus.model_validate(
        {"format": "events", "raw": str(raw), "events": {"view": table}, **settings}
    )
    tables = list(corpus.events.values())
    return content_of_tables("ml", corpus, str(raw), tables, made or raw / "none", cache)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.csv").write_text("user,item\n1,2\n")
    (folder / "b.csv").write_text("user,item\n1,3\n")
    return folder


def test_a_change_of_any_file_of_a_log_is_noticed(raw, tmp_path):
    """Wrong: a second file is exchanged, or both change places, and the old arrays stay."""
    cache = tmp_path / "cache.json"
    before = content(raw, cache)
    (raw / "unrelated.csv").write_text("another\n")
    assert content(raw, cache) == before
    assert content(raw, cache, ["b.csv", "a.csv"]) != before
    (raw / "b.csv").write_text("user,item\n1,4\n")
    assert content(raw, cache) != before
    (raw / "a.csv").rename(raw / "c.csv")
    with pytest.raises(ValueError, match=r"corpora.ml: .* holds no file a.csv; it holds: "):
        content(raw, cache)


def test_a_folder_and_a_zip_of_the_same_files_are_the_same_log(raw, tmp_path):
    cache = tmp_path / "cache.json"
    packed = tmp_path / "raw.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(raw.iterdir()):
            archive.write(path, path.name)
    assert content(packed, cache) == content(raw, cache) == content(raw, cache, ["."])


def test_a_log_is_read_again_where_the_config_would_refuse_it_now(raw, tmp_path):
    """Wrong: a stricter config, or another expected checksum, changes nothing."""
    from userbench.data.raw_bytes import checksum

    cache, made = tmp_path / "cache.json", tmp_path / "made"
    made.mkdir()
    files = {name: {"sha256": checksum(raw / name, "")} for name in ("a.csv", "b.csv")}
    (made / "manifest.json").write_text(json.dumps({"bad_rows": 1, "raw": files}))
    plain = content(raw, cache)
    assert content(raw, cache, made=made) == f"{plain}, too many bad lines"
    assert content(raw, cache, made=made, max_bad_rows=1) == plain
    right = {"b.csv": files["b.csv"]["sha256"]}
    assert content(raw, cache, sha256=right) == plain
    assert content(raw, cache, sha256={"b.csv": "0" * 64}) == f"{plain}, another one is expected"


def test_each_command_gets_the_checksums_of_its_own_files(raw):
    """Wrong: the reader of the events refuses the checksum of a file of labels as unknown."""
    from userbench.experiment.check import read_experiment
    from userbench.workflow.raw import checksums_of, raw_paths, tables_of_tasks

    sums = {name: f"{number:064x}" for number, name in enumerate(("a.csv", "users.dat"))}
    (raw / "users.dat").write_text("1::2\n")
    table = {"files": ["a.csv"], "user": "user", "item": "item"}
    log = {"format": "events", "raw": str(raw), "events": {"view": table}, "sha256": sums}
    asked = config(ml=log | {"hold_out": {"last": 3}})
    found = read_experiment(asked, "a.yaml")
    corpus = found.corpora["ml"]
    assert raw_paths(found, "a.yaml") == {"ml": str(raw)}
    of_events = checksums_of(corpus, str(raw), list(corpus.events.values()))
    of_tasks = checksums_of(corpus, str(raw), tables_of_tasks(found, "ml"))
    assert [*of_events] == ["a.csv"] and [*of_tasks] == ["users.dat"]
    log["sha256"] = {"user.dat": sums["users.dat"]}
    asked = config(ml=log | {"hold_out": {"last": 3}})
    with pytest.raises(ValueError, match="corpora.ml.sha256: 'user.dat' is no file of its events"):
        raw_paths(read_experiment(asked, "a.yaml"), "a.yaml")


def test_the_home_folder_is_filled_in(tmp_path, monkeypatch):
    from userbench.experiment.check import read_experiment
    from userbench.workflow.raw import raw_paths

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ml").mkdir()
    log = {
        "format": "events",
        "raw": "~/ml",
        "events": {"rating": RATINGS},
        "hold_out": {"last": 3},
    }
    found = read_experiment(config(ml=log), "a.yaml")
    assert raw_paths(found, "a.yaml") == {"ml": str(tmp_path / "ml")}
    log["raw"] = "~nobody-of-this-name/ml"
    with pytest.raises(ValueError, match="~nobody-of-this-name/ml does not exist. Set corpora.ml"):
        raw_paths(read_experiment(config(ml=log), "a.yaml"), "a.yaml")
