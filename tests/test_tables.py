"""Tables against figures worked out by hand, and against the ways in which tables mislead."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import experiment_flag, write_experiment

MARKUPS = ("csv", "md", "tex", "html")


@pytest.fixture
def tables():
    from userbench.report import tables

    return tables


def score_file(run: str, task: str, seed: int, metric: str, test: float, /, **changes: Any) -> dict:
    """A score file of two epochs, the second of which was chosen and tested."""
    epoch = {"pretrain_epoch": 3, "metric": metric}
    return {
        "run": run,
        "task": task,
        "corpus": "ttl",
        "seed": seed,
        "kind": {"accuracy": "classification", "auc": "binary"}.get(metric, "top_n"),
        "metric": metric,
        "width": 64,
        "examples": {"train": 6000, "validation": 2000, "test": 2001},
        "best": {"pretrain_epoch": 3, "epoch": 2},
        "scores": [
            {**epoch, "epoch": 1, "split": "validation", "value": 0.11},
            {**epoch, "epoch": 2, "split": "validation", "value": 0.99},
            {**epoch, "epoch": 2, "split": "test", "value": test},
        ],
    } | changes


def reference_file(run: str, task: str, metric: str, test: float) -> dict:
    """A score file of a reference: nothing was trained, so no epoch and no user vector."""
    epoch = {"pretrain_epoch": 0, "epoch": 0}
    scores = [
        {**epoch, "split": part, "metric": metric, "value": test} for part in ("validation", "test")
    ]
    content = score_file(run, task, 0, metric, test, best=epoch, scores=scores)
    return {key: value for key, value in content.items() if key != "width"}


CONTENT = [
    *(score_file("none", "age", seed, "accuracy", [0.5, 0.6][seed]) for seed in (0, 1)),
    *(score_file("adaptssr", "age", seed, "accuracy", [0.6, 0.72][seed]) for seed in (0, 1)),
    *(score_file("mlm", "age", seed, "accuracy", [0.55, 0.57][seed]) for seed in (0, 1)),
    reference_file("bag-of-items", "age", "accuracy", 0.9),
    *(score_file("none", "click", seed, "ndcg@10", 0.02) for seed in (0, 1)),
    *(score_file("adaptssr", "click", seed, "ndcg@10", 0.03) for seed in (0, 1)),
    *(score_file("mlm", "click", seed, "ndcg@10", 0.015) for seed in (0, 1)),
    reference_file("popularity", "click", "ndcg@10", 0.01),
]
LAYOUT = {
    "caption_data": "TTL (10,000 users)",
    "simulated": False,
    "tasks": [
        {"task": "age", "label": "T1 Age", "metric": "accuracy", "paper": "T1"},
        {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "paper": "T3"},
        {"task": "cvr", "label": "T6 CVR", "metric": "auc", "paper": "T6"},
    ],
    "rows": [
        {"run": "none", "label": "None", "paper": "None"},
        {"run": "mlm", "label": "PeterRec", "paper": "PeterRec"},
        {"run": "adaptssr", "label": "AdaptSSR", "paper": "AdaptSSR"},
    ],
    "references": [
        {"run": "bag-of-items", "label": "bag-of-items"},
        {"run": "popularity", "label": "popularity"},
    ],
    "compared_with": "none",
}


FACTS = {
    "age": {"test_users_in_train": 0.0},
    "click": {
        "test_users_in_train": 0.568,
        "constant": {"pessimistic": 0.0, "stable": 0.0105, "random": 0.01138},
    },
}


def write_score_files(folder: Path, contents: list[dict]) -> list[str]:
    paths = [folder / f"score{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(json.dumps(content))
    return [str(path) for path in paths]


def make_table2(
    tables, folder: Path, layout: dict = LAYOUT, contents=CONTENT, more=(), **layouts: dict
) -> dict[str, str]:
    """Run both commands; the text of table 2 by markup."""
    scores, out = folder / "scores.csv", {markup: folder / f"t.{markup}" for markup in MARKUPS}
    tables.main(["scores", "--scores", *write_score_files(folder, contents), "--out", str(scores)])
    flags = [word for markup in MARKUPS for word in (f"--{markup}", str(out[markup]))]
    flags += [*experiment_flag(folder, table2=layout, **layouts), *more]
    tables.main(["table2", "--scores", str(scores), *flags])
    return {markup: path.read_text(encoding="utf-8") for markup, path in out.items()}


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""]).set_index("run")


# ---------------------------------------------------------------- scores


def test_every_value_is_one_sorted_row(tables, tmp_path):
    # Wrong: values lost, doubled or rounded; an order that depends on the order of the files.
    value = 0.1234567890123456
    contents = [*CONTENT, score_file("zzz", "age", 10, "accuracy", value)]
    paths, texts = write_score_files(tmp_path, contents), []
    for order in (paths, paths[::-1]):
        tables.main(["scores", "--scores", *order, "--out", str(tmp_path / "scores.csv")])
        texts.append((tmp_path / "scores.csv").read_text())
    assert texts[0] == texts[1]
    scores = tables.read_scores(tmp_path / "scores.csv")
    assert len(scores) == sum(len(content["scores"]) for content in contents)
    assert scores["value"].iloc[-3] == value
    row = scores[(scores["run"] == "adaptssr") & (scores["task"] == "age")].iloc[0]
    assert row.to_dict() == {
        **{"corpus": "ttl", "run": "adaptssr", "task": "age", "seed": 0, "metric": "accuracy"},
        **{"split": "test", "pretrain_epoch": 3, "start": 1, "epoch": 2, "examples": 2001},
        **{"width": 64, "value": 0.6},
    }
    references = scores["run"].isin(["bag-of-items", "popularity"])
    assert scores.loc[references, "width"].isna().all()
    assert (scores.loc[~references, "width"] == 64).all()
    assert (tmp_path / "scores.csv.provenance.json").exists()


def bad(**changes: Any) -> str:
    return json.dumps(score_file("none", "age", 0, "accuracy", 0.5, **changes))


GOOD_SCORES = score_file("none", "age", 0, "accuracy", 0.5)["scores"]
BAD_FILES = {
    "not valid JSON": bad()[:-9],
    "NaN is not JSON": bad().replace("0.99", "NaN"),
    "Infinity is not JSON": bad().replace("0.99", "-Infinity"),
    "top level: 'seed' is missing": bad().replace('"seed"', '"sead"'),
    "scores.1.value: 1.5 should be less than or equal to 1": bad().replace("0.99", "1.5"),
    "scores.1.value: -0.5 should be greater than or equal to 0": bad().replace("0.99", "-0.5"),
    "scores.1.value: '0.99' should be a valid number": bad().replace("0.99", '"0.99"'),
    "metric: 'f1' should match pattern": bad(metric="f1"),
    "exactly the best epoch": bad(best={"pretrain_epoch": 3, "epoch": 1}),
    "exactly the best epoch, pretrain_epoch 3, epoch 2, must": bad(scores=GOOD_SCORES[:2]),
    "no test score of its own metric": bad(metric="auc"),
    "top level: 'width' is missing": bad().replace('"width"', '"wide"'),
    "width: 0 should be greater than or equal to 1": bad(width=0),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_score_file_stops_with_its_name_and_reason(tables, tmp_path, reason):
    # Wrong: a damaged or foreign file silently changes a mean.
    path = tmp_path / "bad.json"
    path.write_text(BAD_FILES[reason])
    with pytest.raises(SystemExit) as stop:
        tables.main(["scores", "--scores", str(path), "--out", str(tmp_path / "scores.csv")])
    message = str(stop.value.code)
    assert message.startswith(f"error: {path}: ")
    assert reason in message
    assert "\n" not in message
    assert not (tmp_path / "scores.csv").exists()


def test_bytes_that_are_no_text_are_reported(tables, tmp_path):
    # Wrong: a traceback for a file in a wrong encoding.
    path = tmp_path / "bad.json"
    path.write_bytes(b'{"run": "\xff\xfe"}')
    with pytest.raises(SystemExit, match="bad.json: not valid JSON"):
        tables.main(["scores", "--scores", str(path), "--out", str(tmp_path / "scores.csv")])


def test_one_score_given_twice_is_refused(tables, tmp_path):
    # Wrong: the same seed counted twice makes the std too small.
    paths = write_score_files(tmp_path, [CONTENT[0], CONTENT[0]])
    with pytest.raises(SystemExit, match="score1.json: a second value for corpus ttl, run none"):
        tables.main(["scores", "--scores", *paths, "--out", str(tmp_path / "scores.csv")])


def starts_file(run: str, seed: int, starts: int) -> dict:
    """A score file of a run without pre-training whose last start is the best on validation."""
    metric, scores = {"pretrain_epoch": 0, "metric": "accuracy"}, []
    for start in range(1, starts + 1):
        for epoch in (1, 2):
            value = 0.1 * start + 0.01 * epoch + 0.001 * seed
            told = {"start": start, "epoch": epoch, "split": "validation", "value": value}
            scores.append({**metric, **told})
    best = {"pretrain_epoch": 0, "start": starts, "epoch": 2}
    scores.append({**metric, **best, "split": "test", "value": 0.5})
    return score_file(run, "age", seed, "accuracy", 0.5, best=best, scores=scores)


def test_several_starts_are_rows_of_their_own(tables, tmp_path):
    # Wrong: scores of two starts collide, or the tested one must not be the second.
    paths = write_score_files(tmp_path, [starts_file("none", 0, 3), CONTENT[2]])
    tables.main(["scores", "--scores", *paths, "--out", str(tmp_path / "scores.csv")])
    scores = tables.read_scores(tmp_path / "scores.csv")
    own = scores[scores["run"] == "none"]
    validation = own[own["split"] == "validation"]
    assert list(
        zip(validation["start"], validation["epoch"], validation["value"], strict=True)
    ) == [
        (start, epoch, pytest.approx(0.1 * start + 0.01 * epoch))
        for start in (1, 2, 3)
        for epoch in (1, 2)
    ]
    assert own.loc[own["split"] == "test", ["start", "epoch"]].to_numpy().tolist() == [[3, 2]]
    assert set(scores.loc[scores["run"] == "adaptssr", "start"]) == {1}
    other = starts_file("none", 0, 3)
    other["best"]["start"] = 1
    (tmp_path / "bad.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="exactly the best epoch, pretrain_epoch 0, start 1"):
        tables.gather_scores([tmp_path / "bad.json"])


def checkpoints_file(run: str, seed: int, epochs: list[int]) -> dict:
    """A score file of a run of which several checkpoints were fine-tuned, the last one tested."""
    content = score_file(run, "age", seed, "accuracy", 0.5)
    own = [point | {"pretrain_epoch": e} for e in epochs for point in content["scores"][:2]]
    best = content["best"] | {"pretrain_epoch": epochs[-1]}
    return content | {"best": best, "scores": [*own, content["scores"][2] | best]}


@pytest.mark.parametrize(
    ("starts", "epochs", "said"),
    [
        (1, [20], None),
        (2, [1, 20], "2 candidates of every row"),
        (1, [1, 20], "unequal numbers of candidates: None 1, PeterRec 2, AdaptSSR 2"),
    ],
)
def test_a_note_says_how_many_candidates_there_were(tables, tmp_path, starts, epochs, said):
    # Wrong: a row is the best of five and another one of one, and nobody says so.
    contents = [starts_file("none", seed, starts) for seed in (0, 1)]
    contents += [checkpoints_file(r, seed, epochs) for r in ("mlm", "adaptssr") for seed in (0, 1)]
    md = make_table2(tables, tmp_path, contents=contents)["md"]
    notes = [line for line in md.splitlines() if "Validation chose" in line]
    assert len(notes) == (said is not None)
    assert said is None or notes[0].startswith(f"- Validation chose among {said} (")


def test_a_csv_that_is_no_score_table_is_refused(tables, tmp_path):
    # Wrong: a hand-edited table goes through, or ends in a traceback.
    from userbench.report.statistics import SCORE_COLUMNS

    for text in ("a,b\n1,2\n", "", ",".join(SCORE_COLUMNS) + "\n" + "x," * 9):
        (tmp_path / "scores.csv").write_text(text)
        with pytest.raises(ValueError, match=r"scores\.csv: .* Make it again"):
            tables.read_scores(tmp_path / "scores.csv")


def test_facts_of_the_data_stand_below_the_table(tables, tmp_path):
    # Wrong: a reader takes what users seen in training or ties bring for what a method has learnt.
    make_table2(tables, tmp_path)
    paths = []
    for content in (CONTENT[6], CONTENT[-1]):
        paths.append(tmp_path / f"{content['task']}.json")
        paths[-1].write_text(json.dumps(content | {"facts": FACTS[content["task"]]}))
    flags = ["--scores", str(tmp_path / "scores.csv"), *experiment_flag(tmp_path, table2=LAYOUT)]
    for markup in MARKUPS:
        flags += [f"--{markup}", str(tmp_path / f"facts.{markup}")]
    tables.main(["table2", *flags, "--references", *map(str, paths), str(tmp_path / "absent.json")])
    text = (tmp_path / "facts.md").read_text()
    plain = (tmp_path / "t.md").read_text()
    notes = [line for line in text.splitlines() if line not in plain.splitlines()]
    assert notes == [
        "- T3 Click: 57% of the test users also have training examples.",
        "- A constant score would get 0.00 on T3 Click (ties against the target), 1.05 with stable "
        "ties and 1.14 in random order.",
    ]
    told = json.loads((tmp_path / "facts.csv.provenance.json").read_text())
    assert {Path(name).name for name in told["inputs"]} == {
        *("scores.csv", "experiment.json", "age.json", "click.json")
    }


@pytest.mark.parametrize("longer", [0.0, 0.414])
def test_a_note_says_who_has_more_behaviours_than_a_row_reads(tables, tmp_path, longer):
    # Wrong: a reader takes a bag of more behaviours for a better model of the same ones.
    facts = {"age": {"max_length": 50, "longer_histories": longer}, "click": {}}
    layout = tables.read_layout(write_experiment(tmp_path, table2=LAYOUT))
    notes = [note for note in tables.fact_notes(facts, layout) if "behaviours" in note]
    assert notes == (longer > 0) * [
        "Test users with more than 50 behaviours: T1 Age 41%. All rows read the latest 50, "
        "bag-of-items, too; only the bag of the whole history reads all of them."
    ]


# ---------------------------------------------------------------- table 2: numbers


def test_means_stds_and_improvements_are_those_worked_out_by_hand(tables, tmp_path):
    # Wrong: validation or another epoch enters, population std, improvement in points.
    make_table2(tables, tmp_path)
    table = read_csv(tmp_path / "t.csv")
    assert list(table.index) == ["none", "mlm", "adaptssr", "bag-of-items", "popularity"]
    assert list(table["ranked"]) == [True, True, True, False, False]
    assert set(table["data"]) == {"real"}
    assert list(table["age.mean"].dropna()) == [55.0, 56.0, 66.0, 90.0]
    assert list(table["age.std"].dropna()) == [7.0711, 1.4142, 8.4853]  # |a - b| / sqrt(2)
    assert list(table["age.seeds"].dropna()) == [2, 2, 2, 1]
    assert list(table["age.improvement"].dropna()) == [1.8182, 20.0, 63.6364]
    assert list(table["click.improvement"].dropna()) == [-25.0, 50.0, -50.0]
    assert pd.isna(table.loc["none", "age.improvement"])
    assert pd.isna(table.loc["bag-of-items", "age.std"])
    assert table.loc["popularity", [c for c in table if c.startswith("age")]].isna().all()


def test_a_reference_that_repeats_another_one_is_no_row(tables, tmp_path):
    # Wrong: where nobody has a longer history, one bag of items stands there twice.
    more = {"run": "bag-of-items-long", "label": "bag-of-items (whole history)"}
    layout = LAYOUT | {"references": [LAYOUT["references"][0], more, LAYOUT["references"][1]]}
    long = reference_file("bag-of-items-long", "age", "accuracy", 0.95)
    texts = make_table2(tables, tmp_path, layout, [*CONTENT, long])
    assert list(read_csv(tmp_path / "t.csv").index)[3:] == [
        *("bag-of-items", "bag-of-items-long", "popularity"),
    ]
    assert "| bag-of-items (whole history) | 95.00 |" in texts["md"]
    contents = [*CONTENT, long | {"same_as": "bag-of-items"}]
    texts = make_table2(tables, tmp_path, layout, contents)
    assert list(read_csv(tmp_path / "t.csv").index)[3:] == ["bag-of-items", "popularity"]
    assert not any("whole history" in text for text in texts.values())


def test_published_figures_stand_beside_the_measured(tables, tmp_path):
    # Wrong: a published figure in the wrong row or task; "None" read as a missing name.
    make_table2(tables, tmp_path)
    table = read_csv(tmp_path / "t.csv")
    assert table.loc["none", ["age.paper_mean", "age.paper_std"]].tolist() == [62.87, 0.05]
    assert table.loc["adaptssr", ["cvr.paper_mean", "cvr.paper_std"]].tolist() == [79.92, 0.05]
    assert table.loc[["bag-of-items", "popularity"], "age.paper_mean"].isna().all()


def test_a_task_of_an_absent_corpus_stays_empty(tables, tmp_path):
    # Wrong: the run stops, or the empty column is filled with something.
    texts = make_table2(tables, tmp_path)
    table = read_csv(tmp_path / "t.csv")
    assert table[["cvr.mean", "cvr.std", "cvr.seeds", "cvr.improvement"]].isna().all(axis=None)
    assert "| AdaptSSR | 66.00±8.49 | 20.00 | 3.00±0.00 | 50.00 | – | – |" in texts["md"]


def test_a_table_without_any_score_is_still_a_table(tables, tmp_path):
    # Wrong: a crash where only the published figures can be shown.
    contents = [score_file("other", "other", 0, "accuracy", 0.5)]
    texts = make_table2(tables, tmp_path, contents=contents)
    assert "| None | – | – | – | – | – | – |" in texts["md"]
    assert set(read_csv(tmp_path / "t.csv")["data"].fillna("")) == {""}


def test_a_run_that_lacks_a_task_is_an_error(tables, tmp_path):
    # Wrong: a hole in a ranked row, and a best figure among fewer rows than shown.
    contents = [c for c in CONTENT if (c["run"], c["task"]) != ("mlm", "click")]
    with pytest.raises(SystemExit, match="task 'click': no test ndcg@10 of mlm, though"):
        make_table2(tables, tmp_path, contents=contents)
    with pytest.raises(SystemExit, match="task 'age': no test auc of none, mlm, adaptssr"):
        tasks = [{"task": "age", "label": "Age", "metric": "auc"}]
        make_table2(tables, tmp_path, LAYOUT | {"tasks": tasks})


def test_scores_over_different_test_sets_are_an_error(tables, tmp_path):
    # Wrong: runs are ranked although they were tested on different splits.
    other = score_file(
        "mlm", "age", 2, "accuracy", 0.5, examples=dict.fromkeys(("train", "validation", "test"), 7)
    )
    with pytest.raises(SystemExit, match=r"different numbers of test examples \(7, 2001\)"):
        make_table2(tables, tmp_path, contents=[*CONTENT, other])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compared_with": "nobody"}, "compared_with 'nobody' is not among the rows"),
        ({"tasks": []}, r"layouts.table2.tasks: \[\] should have at least 1 item"),
        ({"rows": LAYOUT["rows"] * 2}, "'none' is named twice"),
        (
            {"tasks": [LAYOUT["tasks"][0] | {"simulatd": True}]},
            "tasks.0: unknown key 'simulatd'",
        ),
        ({"tasks": [LAYOUT["tasks"][0] | {"paper": "T5"}]}, "no accuracy of 'T5'"),
        ({"rows": [LAYOUT["rows"][0] | {"paper": "BERT"}]}, "no row 'BERT'"),
        ({"sorted": True}, "layouts.table2: unknown key 'sorted'"),
    ],
)
def test_a_wrong_layout_is_reported(tables, tmp_path, changes, reason):
    # Wrong: a misspelt key is ignored, and simulated figures pass for real.
    with pytest.raises(SystemExit, match=rf"error: {tmp_path}/experiment.json: .*{reason}"):
        make_table2(tables, tmp_path, LAYOUT | changes)


# ---------------------------------------------------------------- table 2: as shown


def statistics_csv(folder: Path, verdicts: dict[tuple[str, str], str]) -> list[str]:
    """The flag of a file of statistics in which rows are so against all others."""
    rows = [
        {"run": run, "task": task, "ranked": int(run != "bag-of-items"), "best_other.verdict": said}
        | {"row": run.upper(), "label": f"T {task}", "mean": 1.0, "baseline.run": "none"}
        | {"data": "real", "seeds": 2, "best_other.p_holm": 0.5}
        | {"baseline.difference": 11.0, "baseline.p_table": 0.01 if said == "better" else 0.6}
        | {"note": "seed 1 predicts one class only" if said == "worse" else ""}
        for (run, task), said in verdicts.items()
    ]
    itself = {"run": "none", "task": "age", "ranked": 1, "best_other.verdict": "undecided"}
    itself |= {"row": "NONE", "label": "T age", "mean": 1.0, "note": "", "baseline.run": ""}
    itself |= {"data": "real", "seeds": 2}
    pd.DataFrame([itself, *rows]).to_csv(folder / "statistics.csv", index=False)
    return ["--statistics", str(folder / "statistics.csv")]


def test_bold_is_what_is_better_than_every_other_row(tables, tmp_path):
    # Wrong: the highest mean is bold though chance explains it, or a reference is.
    verdicts = {
        ("adaptssr", "age"): "better",
        ("mlm", "age"): "worse",
        ("adaptssr", "click"): "undecided",
        ("bag-of-items", "age"): "better",
    }
    texts = make_table2(tables, tmp_path, more=statistics_csv(tmp_path, verdicts))
    md, tex, html = texts["md"], texts["tex"], texts["html"]
    measured = md[: md.index("References")]
    assert "| **66.00±8.49** |" in measured
    assert measured.count("**") == 2 and "<ins>" not in measured
    assert "| bag-of-items | 90.00 | 63.64 | – |" in md
    assert r"\textbf{66.00$\pm$8.49}" in tex
    assert r"bag-of-items & 90.00 & 63.64 & --" in tex
    assert "<strong>66.00±8.49</strong>" in html
    assert "<td>90.00</td>" in html
    # Wrong: a mean of a seed that answers the same for everybody stands there without a word.
    said = "MLM on T age: seed 1 predicts one class only, so its comparisons are undecided."
    assert f"- {said}" in md and md.count("undecided") == 1
    told = json.loads((tmp_path / "t.csv.provenance.json").read_text())
    assert {Path(name).name for name in told["inputs"]} == {
        *("scores.csv", "experiment.json", "statistics.csv")
    }


def test_every_form_opens_with_what_the_table_says(tables, tmp_path):
    # Wrong: a reader has to find out for herself what the table says, or one form says else.
    flags = statistics_csv(tmp_path, {("adaptssr", "age"): "better", ("mlm", "age"): "worse"})
    agreement = tmp_path / "agreement.csv"
    agreement.write_text("task,label,tau,p_value\nage,T1 Age,-0.3333,0.7\n")
    flags += ["--agreement", str(agreement)]
    texts = make_table2(tables, tmp_path, more=flags)
    asked = experiment_flag(tmp_path, table2=LAYOUT)
    tables.main(["headline", *flags, *asked, "--md", str(tmp_path / "headline.md")])
    lines = (tmp_path / "headline.md").read_text().splitlines()
    assert lines[0] == "- ADAPTSSR is better than NONE beyond chance on T age (+11.00 points)."
    assert lines[-1].startswith("- Kendall's tau of this order") and "−0.33 on T1 Age" in lines[-1]
    assert texts["md"].startswith("\n".join([*lines, "", "TTL ("]))
    html, tex = Tags(), texts["tex"]
    html.feed(texts["html"])
    at = 0
    for line in lines:
        sentence = line.removeprefix("- ")
        at = html.text.index(sentence, at)
        assert sentence.replace("%", r"\%").replace("−", "$-$") in tex[: tex.index("Test scores")]
    assert at < html.text.index("Test scores in percent")
    for name, files in (("t.csv", 4), ("headline.md", 3)):
        told = json.loads((tmp_path / f"{name}.provenance.json").read_text())
        assert len(told["inputs"]) == files


def test_an_order_without_statistics_is_refused(tables, tmp_path):
    # Wrong: a sentence on the order, and none on the rows.
    with pytest.raises(SystemExit, match="--agreement: give --statistics, too"):
        make_table2(tables, tmp_path, more=["--agreement", "agreement.csv"])


def test_nothing_measured_is_bold_without_statistics(tables, tmp_path):
    # Wrong: a table that was never tested claims a winner.
    md = make_table2(tables, tmp_path)["md"]
    assert "**" not in md[: md.index("References")]


def test_published_rows_are_marked_as_in_the_paper(tables, tmp_path):
    # Wrong: the paper's table is not shown as it was printed.
    texts = make_table2(tables, tmp_path)
    published = texts["md"][texts["md"].index("*Published") :]
    assert "| AdaptSSR | **65.53±0.04** | 4.23 | **2.61±0.03** | 31.16 |" in published
    assert published.count("**") == 2 * 3
    assert published.count("<ins>") == 3
    assert texts["tex"].count(r"\underline{") == texts["html"].count("<u>") == 3


def test_other_files_than_statistics_are_refused(tables, tmp_path):
    # Wrong: a traceback, or a table without its bold cells.
    (tmp_path / "statistics.csv").write_text("run,task\nnone,age\n")
    with pytest.raises(
        SystemExit, match="no column label, data, row, note, baseline.run, best_other.verdict"
    ):
        make_table2(tables, tmp_path, more=["--statistics", str(tmp_path / "statistics.csv")])


def test_unequal_numbers_of_seeds_are_said(tables, tmp_path):
    # Wrong: a mean of one seed stands beside means of two without a word.
    equal = make_table2(tables, tmp_path)["md"]
    assert "- Seeds: 2." in equal
    fewer = make_table2(tables, tmp_path, contents=CONTENT[:2] + CONTENT[3:])["md"]
    assert "differs: None 2 to 2, PeterRec 2 to 2, AdaptSSR 1 to 2." in fewer


def test_user_vectors_of_different_widths_are_said(tables, tmp_path):
    # Wrong: a row whose head reads four times as many numbers stands among others without a word.
    texts = make_table2(tables, tmp_path)
    assert read_csv(tmp_path / "t.csv")["width"].dropna().tolist() == [64, 64, 64]
    assert "64" not in "".join(line for line in texts["md"].splitlines() if line.startswith("- "))
    wider = [c | {"width": 256} if c["run"] == "mlm" else c for c in CONTENT]
    texts = make_table2(tables, tmp_path, contents=wider)
    assert read_csv(tmp_path / "t.csv")["width"].dropna().tolist() == [64, 256, 64]
    assert "- User vectors are 64 wide; PeterRec's are 256." in texts["md"]
    assert "User vectors are 64 wide; PeterRec's are 256." in texts["tex"]
    each = [c | {"width": {"none": 64, "mlm": 256}.get(c["run"], 128)} for c in wider]
    md = make_table2(tables, tmp_path, contents=each)["md"]
    assert "- User vectors are 64 wide; AdaptSSR's are 128, PeterRec's are 256." in md


def test_one_run_with_two_widths_is_an_error(tables, tmp_path):
    # Wrong: scores of an older setting of a run are averaged with those of the present one.
    contents = [CONTENT[0] | {"width": 128}, *CONTENT[1:]]
    with pytest.raises(SystemExit, match="run 'none': user vectors of 64 and 128 numbers"):
        make_table2(tables, tmp_path, contents=contents)


def test_negative_and_vanishing_improvements(tables):
    # Wrong: a hyphen for a minus, or "-0.00".
    assert [tables.number(value) for value in (-25.0, -0.001, 0.0, float("nan"))] == [
        *("−25.00", "0.00", "0.00", "–")
    ]


def test_simulated_data_cannot_be_mistaken(tables, tmp_path):
    # Wrong: figures of generated data are read as results.
    simulated = LAYOUT | {"simulated": True}
    texts = make_table2(tables, tmp_path, simulated)
    assert texts["md"].startswith("SIMULATED DATA: TTL")
    assert r"\caption{SIMULATED DATA: TTL" in texts["tex"]
    assert "<caption>SIMULATED DATA: TTL" in texts["html"]
    for text, mark in (("md", r"\[SIMULATED\]"), ("tex", "{[}SIMULATED{]}"), ("html", "[SIM")):
        header = [line for line in texts[text].splitlines() if "T1 Age" in line or "T6" in line]
        assert sum(line.count(mark) for line in header) >= 3 - (text == "html")
    assert set(read_csv(tmp_path / "t.csv")["data"]) == {"simulated"}

    real = make_table2(tables, tmp_path)
    assert not any("SIMULATED" in text for text in real.values())


def test_one_simulated_task_among_real_ones_is_marked_alone(tables, tmp_path):
    # Wrong: the mark is lost, or spreads to real tasks, where corpora are mixed.
    tasks = [LAYOUT["tasks"][0], LAYOUT["tasks"][1] | {"simulated": True}]
    texts = make_table2(tables, tmp_path, LAYOUT | {"tasks": tasks})
    assert texts["md"].startswith("SIMULATED DATA")
    assert r"| T1 Age<br>Acc | Impr.% | T3 Click \[SIMULATED\]<br>NDCG@10 |" in texts["md"]
    assert set(read_csv(tmp_path / "t.csv")["data"]) == {"simulated: click; others real"}


def test_caption_does_not_say_simulated_data_twice(tables):
    # Wrong: "SIMULATED DATA: SIMULATED data: ttl".
    layout = LAYOUT | {"simulated": True, "caption_data": "SIMULATED data: ttl (4,000 users)"}
    assert tables.data_statement(layout) == "SIMULATED DATA: ttl (4,000 users)"


# ---------------------------------------------------------------- table 2: markup


NASTY = "<script>alert(1)</script> a|b_c*d & 50% #1 {x} \\y ~z ^2 $m$ [SIC]\nend"


class Tags(HTMLParser):
    """Collects tags and text; complains about tags that do not nest."""

    VOID = ("meta", "col")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def nasty(tables, tmp_path) -> dict[str, str]:
    rows = [LAYOUT["rows"][0] | {"label": NASTY}, *LAYOUT["rows"][1:]]
    tasks = [LAYOUT["tasks"][0] | {"label": NASTY}, *LAYOUT["tasks"][1:]]
    changes = {"rows": rows, "tasks": tasks, "caption_data": NASTY, "notes": [NASTY]}
    return make_table2(tables, tmp_path, LAYOUT | changes)


def test_html_escapes_nests_and_names_its_cells(nasty):
    # Wrong: a label runs as a script, or a screen reader cannot tell what a cell belongs to.
    page = Tags()
    page.feed(nasty["html"])
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert "<script>alert(1)</script> a|b_c*d & 50%" in page.text
    assert names.count("table") == names.count("caption") == 1
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert None not in scopes
    assert scopes.count("row") == 3 + 2 + 3
    assert names.count("td") == (3 + 2 + 3) * 2 * 3
    assert not re.search(r"https?://|src=|href=", nasty["html"])
    assert "color-scheme: light dark" in nasty["html"]


def test_markdown_keeps_its_columns(nasty):
    # Wrong: a bar in a label shifts the cells, a tag in it is taken for HTML.
    lines = [line for line in nasty["md"].splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {1 + 1 + 2 * 3}
    assert r"\<script\>" in nasty["md"]
    assert not re.search(r"(?<!\\)<script", nasty["md"])


def test_latex_escapes_and_keeps_its_columns(nasty):
    # Wrong: it does not compile, or a comment sign swallows the rest of a row.
    lines = nasty["tex"].splitlines()
    assert lines[0].startswith("% needs")
    body = "\n".join(lines[1:])
    assert not re.search(r"(?<!\\)[%#_~^]", body.replace(r"\setlength{\tabcolsep}", ""))
    text = r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} a\textbar{}"
    assert text + r"b\_c{*}d \& 50\% \#1 \{x\} \textbackslash{}y" in body
    assert r"\textasciitilde{}z \textasciicircum{}2 \$m\$ {[}SIC{]} end" in body
    assert body.isascii()
    unescaped = re.sub(r"\\[{}]", "", body)
    assert unescaped.count("{") == unescaped.count("}")
    assert re.findall(r"\\begin{(.*?)}", body) == ["table*", "tabular"]
    assert re.findall(r"\\end{(.*?)}", body) == ["tabular", "table*"]
    rows = [line for line in lines if line.endswith(r"\\")]
    for row in rows:
        spans = [int(n) - 1 for n in re.findall(r"\\multicolumn{(\d+)}", row)]
        assert len(re.findall(r"(?<!\\)&", row)) + sum(spans) == 2 * 3
    assert set(re.findall(r"\\(\w*rule)", body)) == {"toprule", "cmidrule", "midrule", "bottomrule"}


# ---------------------------------------------------------------- table 1


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


def make_table1(
    tables, folder: Path, manifest: Any = MANIFEST, tasks=TASKS, simulated=(), more=()
) -> str:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    out = folder / "table1.csv"
    store = ["--store", f"ttl={folder / 'manifest.json'}", "--examples"]
    for task in EXAMPLES.keys() & tasks.keys():
        path = folder / f"{task}.json"
        path.write_text(json.dumps({"format": "ttl", "counts": EXAMPLES[task]}))
        store.append(f"{task}={path}")
    asked = experiment_flag(folder, table1={"tasks": tasks, "simulated": simulated})
    tables.main(["table1", *store, *more, *asked, "--out", str(out)])
    return out.read_text()


def test_table1_has_the_paper_beside_the_stores(tables, tmp_path):
    # Wrong: pairs counted as samples, published counts passed off as measured, 1470149.0.
    lines = make_table1(tables, tmp_path).splitlines()
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


def test_table1_says_what_is_simulated(tables, tmp_path):
    # Wrong: counts of generated data pass for real, or a misspelt name leaves them unmarked.
    text = make_table1(tables, tmp_path, simulated=["ttl"])
    assert text.count(",simulated,") == 4
    assert ",real," not in text
    with pytest.raises(SystemExit, match="'tlt' is simulated, but no --store has this name"):
        make_table1(tables, tmp_path, simulated=["tlt"])


def test_table1_reports_bad_input(tables, tmp_path):
    # Wrong: a traceback, or a task silently without its published figures.
    with pytest.raises(SystemExit, match=r"manifest.json: counts: 'users' is missing"):
        make_table1(tables, tmp_path, {"format": "ttl", "counts": {}})
    with pytest.raises(SystemExit, match="click: the paper's Table 1 has no task 'T9'"):
        make_table1(tables, tmp_path, tasks={"click": {"corpus": "ttl", "paper": "T9"}})
    with pytest.raises(SystemExit, match="--store ttl: write NAME=manifest.json"):
        asked = experiment_flag(tmp_path, table1={"tasks": {}, "simulated": []})
        tables.main(["table1", "--store", "ttl", *asked, "--out", str(tmp_path / "t")])
    more = ["--examples", f"age={tmp_path / 'age.json'}"]
    with pytest.raises(SystemExit, match="--examples age: the experiment has no task of this name"):
        make_table1(tables, tmp_path, tasks={}, more=more)


def test_published_improvements_are_those_of_the_published_means(tables):
    # Wrong: the copy of the paper's Table 2 was damaged. Means are rounded, so to 0.6 points.
    published = tables.published_table2()
    means = published["mean_percent"].unstack("task")
    improvement = 100 * (means / means.loc["None"] - 1)
    shown = published["improvement_percent"].unstack("task")
    assert means.shape == (10, 6)
    assert ((improvement - shown).abs().drop(index="None") < 0.6).all(axis=None)
