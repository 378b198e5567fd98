"""Table 1 against counts worked out by hand, and the copies of the paper's tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from experiments import experiment_flag

MANIFEST = {
    "format": "ttl",
    "counts": {
        "users": 10,
        "items": 7,
        "mean_length": 3.14159,
    },
}
EXAMPLES = {
    "age": {"rows": 9, "classes": {"1": 4, "5": 5}},
    "click": {"rows": 8, "pairs": 12, "candidates": 6},
    "gender": {"rows": 7, "classes": {"1": 3, "2": 4}},
}
TASKS = {
    "age": {"corpus": "ttl", "paper": "T1"},
    "click": {"corpus": "ttl", "paper": "T3"},
    "gender": {"corpus": "ttl", "paper": None},
    "app_gender": {"corpus": "app", "paper": "T5"},
}


def make_table1(folder: Path, manifest: Any = MANIFEST, tasks=TASKS, simulated=(), more=()) -> str:
    from userbench.report.tables import table1

    (folder / "manifest.json").write_text(json.dumps(manifest))
    out = folder / "table1.csv"
    store = ["--store", f"ttl={folder / 'manifest.json'}", "--examples"]
    for task in EXAMPLES.keys() & tasks.keys():
        path = folder / f"{task}.json"
        path.write_text(json.dumps({"format": "ttl", "counts": EXAMPLES[task]}))
        store.append(f"{task}={path}")
    asked = experiment_flag(folder, table1={"tasks": tasks, "simulated": simulated})
    table1.main([*store, *more, *asked, "--out", str(out)])
    return out.read_text()


def test_table1_has_the_paper_beside_the_stores(tmp_path):
    # Wrong: pairs counted as samples, published counts passed off as measured, 1470149.0.
    lines = make_table1(tmp_path).splitlines()
    assert lines[0].startswith("dataset,corpus,task,description,data,behavior_sequences.paper,")
    assert lines[1:] == [
        "TTL,ttl,,,real,1470149,10,645972,7,54.84,3.14,,,,",
        "TTL,ttl,T1,age prediction,real,,,,,,,1470147,9,8,2",
        "TTL,,T2,life status prediction,,,,,,,,1020277,,6,",
        "TTL,ttl,T3,click recommendation,real,,,,,,,1397197,8,17879,6",
        "TTL,,T4,thumb-up recommendation,,,,,,,,255646,,7539,",
        "TTL,ttl,gender,,real,,,,,,,,7,,2",
        "App,,,,,1575837,,4047,,44.13,,,,,",
        "App,,T5,gender prediction,,,,,,,,1178603,,2,",
        "App,,T6,CVR prediction,,,,,,,,564940,,2,",
    ]


def test_table1_says_what_is_simulated(tmp_path):
    # Wrong: counts of generated data pass for real, or a misspelt name leaves them unmarked.
    text = make_table1(tmp_path, simulated=["ttl"])
    assert text.count(",simulated,") == 4
    assert ",real," not in text
    with pytest.raises(SystemExit, match="'tlt' is simulated, but no --store has this name"):
        make_table1(tmp_path, simulated=["tlt"])


@pytest.mark.parametrize("label", ["MovieLens-1M", "TTL"])
def test_table1_lists_event_logs_after_the_corpora_of_the_paper(tmp_path, label):
    # Wrong: published counts beside her own log, or a log that is left out, or out of order.
    from userbench.report.tables import table1

    corpora = {"ttl": MANIFEST, "ml": {**MANIFEST, "format": "events"}}
    tasks = {
        "next": {"corpus": "ml", "paper": None, "label": "Next item"},
        "age": {"corpus": "ml", "paper": None, "label": "Age"},
    }
    counts = {
        "next": {"rows": 8, "candidates": 7},
        "age": {"rows": 9, "classes": {"1": 4, "5": 5}},
    }
    words = {"--store": [], "--examples": []}
    for flag, found in (("--store", corpora), ("--examples", counts)):
        for name, content in found.items():
            path = tmp_path / f"{name}.json"
            content = content if flag == "--store" else {"format": "events", "counts": content}
            path.write_text(json.dumps(content))
            words[flag].append(f"{name}={path}")
    asked = experiment_flag(
        tmp_path, table1={"tasks": tasks, "simulated": [], "logs": {"ml": label}}
    )
    out = ["--out", str(tmp_path / "table1.csv")]
    own = [
        f"{label},ml,,,real,,10,,7,,3.14,,,,",
        f"{label},ml,Next item,,real,,,,,,,,8,,7",
        f"{label},ml,Age,,real,,,,,,,,9,,2",
    ]
    table1.main(["--store", *words["--store"], "--examples", *words["--examples"], *asked, *out])
    lines = (tmp_path / "table1.csv").read_text().splitlines()
    assert lines[1] == "TTL,ttl,,,real,1470149,10,645972,7,54.84,3.14,,,,"
    assert lines[-3:] == own
    # Of the paper's corpora none is here: what it says of them is not beside her log.
    table1.main(["--store", words["--store"][1], "--examples", *words["--examples"], *asked, *out])
    assert (tmp_path / "table1.csv").read_text().splitlines()[1:] == own


def test_table1_reports_bad_input(tmp_path):
    # Wrong: a traceback, or a task silently without its published values.
    from userbench.report.tables import table1

    with pytest.raises(SystemExit, match=r"manifest.json: counts: 'users' is missing"):
        make_table1(tmp_path, {"format": "ttl", "counts": {}})
    with pytest.raises(SystemExit, match="click: the paper's Table 1 has no task 'T9'"):
        make_table1(tmp_path, tasks={"click": {"corpus": "ttl", "paper": "T9"}})
    with pytest.raises(SystemExit, match="--store ttl: write NAME=manifest.json"):
        asked = experiment_flag(tmp_path, table1={"tasks": {}, "simulated": []})
        table1.main(["--store", "ttl", *asked, "--out", str(tmp_path / "t")])
    more = ["--examples", f"age={tmp_path / 'age.json'}"]
    with pytest.raises(SystemExit, match="--examples age: the experiment has no task of this name"):
        make_table1(tmp_path, tasks={}, more=more)


def test_published_improvements_are_those_of_the_published_means():
    # Wrong: the copy of the paper's Table 2 was damaged. Means are rounded, so to 0.6 points.
    from userbench.report.tables.published import published_table2

    published = published_table2()
    means = published["mean_percent"].unstack("task")
    improvement = 100 * (means / means.loc["None"] - 1)
    shown = published["improvement_percent"].unstack("task")
    assert means.shape == (10, 6)
    assert ((improvement - shown).abs().drop(index="None") < 0.6).all(axis=None)
