"""The tuning report against trials worked out by hand, and against a look at test scores."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import experiment_flag
from trial_files import trial_file


@pytest.fixture
def tuning():
    from userbench.report.tables import tuning

    return tuning


def trial(row: str, n: int, **settings: Any) -> dict:
    return {
        "run": f"{row}--{n}",
        "method_row": row,
        "trial": n,
        "settings": settings,
        "label": {"clue": "CLUE", "duo": "Duo|Rec"}[row],
    }


LAYOUT = {
    "trials": [
        trial("clue", 1, similarity="dot"),
        trial("clue", 2, similarity="cosine", temperature=0.1),
        trial("duo", 1),
        trial("duo", 2, views={"kind": "same_target"}),
    ],
    "tasks": [
        {"task": "age", "label": "T1 Age", "metric": "accuracy", "corpus": "ttl"},
        {"task": "click", "label": "click", "metric": "ndcg@10", "corpus": "ttl"},
        {"task": "cvr", "label": "T6 CVR", "metric": "auc", "corpus": "app"},
    ],
}
for task in LAYOUT["tasks"]:
    task["simulated"] = task["corpus"] == "app"


def without(entry: dict, key: str) -> dict:
    return {name: value for name, value in entry.items() if name != key}


# run: task: a value per seed
VALUES = {
    "clue--1": {"age": [0.5, 0.7], "click": [0.01, 0.01], "cvr": [0.6, 0.6]},
    "clue--2": {"age": [0.4, 0.4], "click": [0.03, 0.03], "cvr": [0.5, 0.5]},
    "duo--1": {"age": [0.6, 0.6], "click": [0.02, 0.02], "cvr": [0.5, 0.7]},
    "duo--2": {"age": [0.6, 0.6], "click": [0.02, 0.02], "cvr": [0.7, 0.5]},
}


def contents(values=VALUES, **changes: Any) -> list[dict]:
    return [
        trial_file(run, task, seed, value, **changes)
        for run, tasks in values.items()
        for task, each in tasks.items()
        for seed, value in enumerate(each)
    ]


def tune(tuning, folder: Path, files: list[dict] | None = None, layout: dict = LAYOUT):
    """Run the command; the table and the Markdown."""
    paths = []
    for n, content in enumerate(contents() if files is None else files):
        paths.append(folder / f"score{n}.json")
        paths[-1].write_text(json.dumps(content))
    out, md = folder / "tuning.csv", folder / "tuning.md"
    flags = [*experiment_flag(folder, tuning=layout), "--out", str(out), "--md", str(md)]
    tuning.main(["--scores", *map(str, paths), *flags])
    return pd.read_csv(out), md.read_text(encoding="utf-8")


def test_the_chosen_trial_is_the_one_worked_out_by_hand(tuning, tmp_path):
    # Wrong: another epoch's score enters, a task with large values outweighs the others, or
    # one corpus decides for another.
    table, _ = tune(tuning, tmp_path)
    assert list(table.columns) == tuning.COLUMNS
    assert len(table) == 4 * 3 * 2
    # clue on ttl: age .6 and .4 about .5 (+20, -20), click .01 and .03 about .02 (-50, +50)
    relative = table.groupby(["corpus", "row", "trial"])["relative"].unique().explode()
    expected = {
        **{("ttl", "clue", 1): -15.0, ("ttl", "clue", 2): 15.0},
        **{("app", "clue", 1): 100 / 11, ("app", "clue", 2): -100 / 11},
        **{(c, "duo", t): 0.0 for c in ("ttl", "app") for t in (1, 2)},
    }
    assert relative.to_dict() == pytest.approx(expected, abs=1e-6)
    chosen = table[table["chosen"] == 1].groupby(["corpus", "row"])["trial"].unique().explode()
    assert chosen.to_dict() == {
        **{("ttl", "clue"): 2, ("app", "clue"): 1},
        **{("ttl", "duo"): 1, ("app", "duo"): 1},  # ties: the first
    }


def test_every_trial_is_kept_with_its_settings(tuning, tmp_path):
    # Wrong: a losing trial is dropped, or its settings or its chosen epoch are lost.
    table, _ = tune(tuning, tmp_path)
    first = table.iloc[0].to_dict()
    assert first == {
        **{"corpus": "ttl", "row": "clue", "trial": 1, "settings": '{"similarity": "dot"}'},
        **{"task": "age", "metric": "accuracy", "seed": 0, "pretrain_epoch": 5, "epoch": 1},
        **{"validation": 0.5, "relative": -15.0, "chosen": 0},
    }
    settings = dict.fromkeys(table["settings"])
    assert [json.loads(text) for text in settings] == [t["settings"] for t in LAYOUT["trials"]]
    assert (tmp_path / "tuning.csv.provenance.json").exists()


def test_test_scores_are_never_read(tuning, tmp_path):
    # Wrong: test scores move the choice, or the report needs them to be there.
    texts = []
    for test in (0.0, 1.0, None):
        tune(tuning, tmp_path, contents(test=test))
        texts.append([(tmp_path / name).read_bytes() for name in ("tuning.csv", "tuning.md")])
    assert texts[0] == texts[1] == texts[2]


def test_the_order_of_the_files_does_not_matter(tuning, tmp_path):
    # Wrong: the tables of two equal runs differ.
    tune(tuning, tmp_path)
    text = (tmp_path / "tuning.csv").read_bytes()
    tune(tuning, tmp_path, contents()[::-1])
    assert (tmp_path / "tuning.csv").read_bytes() == text


def test_the_summary_shows_choice_worst_and_budget(tuning, tmp_path):
    # Wrong: a bar in a label shifts the cells, simulated values pass for real, test for chosen.
    _, md = tune(tuning, tmp_path)
    lines = md.splitlines()
    assert "## ttl" in lines
    assert r"## app \[SIMULATED\]" in lines
    assert md.count("Budgets are equal: 2 trials for every row; seeds of each: 0, 1.") == 2
    assert (
        r"| Pre-training | Trials | Chosen settings | T1 Age<br>accuracy | click<br>ndcg@10 |" in md
    )
    chosen = "similarity cosine, temperature 0.1"
    assert f"| CLUE | 2 | {chosen} | 40.00 / 60.00 | 3.00 / 1.00 |" in lines
    assert "| CLUE | 2 | similarity dot | 60.00 / 50.00 |" in lines
    assert r"| Duo\|Rec | 2 | defaults | 60.00 / 60.00 |" in lines
    assert "no test score was read" in md


def test_unequal_budgets_are_reported(tuning, tmp_path):
    # Wrong: one method had more attempts than another, and the summary calls it fair.
    layout = LAYOUT | {"trials": LAYOUT["trials"][:3]}
    files = contents({run: VALUES[run] for run in list(VALUES)[:3]})
    _, md = tune(tuning, tmp_path, files, layout)
    assert r"Budgets differ, in trials: CLUE 2, Duo\|Rec 1; seeds of each: 0, 1." in md
    assert "Budgets are equal" not in md


def test_a_task_without_any_score_is_left_out(tuning, tmp_path):
    # Wrong: an absent corpus stops the report, or leaves empty columns.
    files = [content for content in contents() if content["task"] != "cvr"]
    table, md = tune(tuning, tmp_path, files)
    assert set(table["corpus"]) == {"ttl"}
    assert "CVR" not in md


def test_scores_of_zero_do_not_divide(tuning, tmp_path):
    # Wrong: a task nobody can do makes all comparisons NaN.
    values = {run: tasks | {"click": [0.0, 0.0]} for run, tasks in VALUES.items()}
    table, _ = tune(tuning, tmp_path, contents(values))
    own = table[(table["corpus"] == "ttl") & (table["row"] == "clue")]
    assert own.groupby("trial")["relative"].first().tolist() == [10.0, -10.0]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (contents()[1:], "trial 'clue--1' has no score of task 'age', seed 0, though others"),
        ([*contents(), contents()[0]], "--scores: 'clue--1, task age, seed 0' is named twice"),
        ([contents()[0] | {"run": "mlm"}], r"score0.json: run 'mlm' is no trial of the layout"),
        ([contents()[0] | {"corpus": "x"}], "of task 'age' on corpus 'x' is not in the layout"),
        ([contents()[0] | {"best": {"pretrain_epoch": 9, "epoch": 1}}], "score0.json: not one"),
        ([{}], r"score0.json: top level: 'run' is missing"),
    ],
)
def test_bad_scores_are_reported(tuning, tmp_path, files, reason):
    # Wrong: trials are compared over different tasks, or a trial is silently dropped.
    with pytest.raises(SystemExit, match=f"error: .*{reason}"):
        tune(tuning, tmp_path, files)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trials": []}, r"layouts.tuning.trials: \[\] should have at least 1"),
        ({"trials": LAYOUT["trials"][:1] * 2}, "'clue--1' is named twice"),
        (
            {"trials": [LAYOUT["trials"][0], LAYOUT["trials"][0] | {"run": "again"}]},
            "'clue, trial 1' is named twice",
        ),
        ({"tasks": [without(LAYOUT["tasks"][0], "simulated")]}, "tasks.0: 'simulated' is missing"),
        ({"best": 1}, "tuning: unknown key 'best'"),
    ],
)
def test_a_wrong_layout_is_reported(tuning, tmp_path, changes, reason):
    # Wrong: a misspelt key passes, or simulated data are not declared.
    with pytest.raises(SystemExit, match=reason):
        tune(tuning, tmp_path, layout=LAYOUT | changes)
