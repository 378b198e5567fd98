"""Table 2 against values worked out by hand, and against the ways in which tables mislead."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from experiments import experiment_flag, write_experiment
from score_files import (
    CONTENT,
    LAYOUT,
    MARKUPS,
    baseline_file,
    checkpoints_file,
    make_table2,
    read_csv,
    score_file,
    starts_file,
    statistics_csv,
)


@pytest.mark.parametrize(
    ("starts", "epochs", "note"),
    [
        (1, [20], None),
        (2, [1, 20], "2 candidates of every row"),
        (1, [1, 20], "unequal numbers of candidates: None 1, PeterRec 2, AdaptSSR 2"),
    ],
)
def test_a_note_says_how_many_candidates_there_were(tmp_path, starts, epochs, note):
    # Wrong: a row is the best of five and another one of one, and nobody says so.
    contents = [starts_file("none", seed, starts) for seed in (0, 1)]
    contents += [checkpoints_file(r, seed, epochs) for r in ("mlm", "adaptssr") for seed in (0, 1)]
    md = make_table2(tmp_path, contents=contents)["md"]
    notes = [line for line in md.splitlines() if "Validation chose" in line]
    assert len(notes) == (note is not None)
    assert note is None or notes[0].startswith(f"- Validation chose among {note} (")


FACTS = {
    "age": {"test_users_in_train": 0.0},
    "click": {
        "test_users_in_train": 0.568,
        "constant": {"pessimistic": 0.0, "stable": 0.0105, "random": 0.01138},
    },
}


def test_facts_of_the_data_are_below_the_table(tmp_path):
    # Wrong: a reader takes what users seen in training or ties bring for what a method has learnt.
    from userbench.report.tables import table2

    make_table2(tmp_path)
    paths = []
    for content in (CONTENT[6], CONTENT[-1]):
        paths.append(tmp_path / f"{content['task']}.json")
        paths[-1].write_text(json.dumps(content | {"facts": FACTS[content["task"]]}))
    flags = ["--scores", str(tmp_path / "scores.csv"), *experiment_flag(tmp_path, table2=LAYOUT)]
    for markup in MARKUPS:
        flags += [f"--{markup}", str(tmp_path / f"facts.{markup}")]
    table2.main([*flags, "--baselines", *map(str, paths), str(tmp_path / "absent.json")])
    text = (tmp_path / "facts.md").read_text()
    plain = (tmp_path / "t.md").read_text()
    notes = [line for line in text.splitlines() if line not in plain.splitlines()]
    assert notes == [
        "- T3 Click: 57% of the test users also have training examples.",
        "- A constant score would get 0.00 on T3 Click (ties against the target), 1.05 with stable "
        "ties and 1.14 in random order.",
    ]
    record = json.loads((tmp_path / "facts.csv.provenance.json").read_text())
    assert {Path(name).name for name in record["inputs"]} == {
        *("scores.csv", "experiment.json", "age.json", "click.json")
    }


@pytest.mark.parametrize("longer", [0.0, 0.414])
def test_a_note_says_who_has_more_behaviours_than_a_row_reads(tmp_path, longer):
    # Wrong: a reader takes a bag of more behaviours for a better model of the same ones.
    facts = {"age": {"max_length": 50, "longer_histories": longer}, "click": {}}
    from userbench.report.tables.notes import fact_notes
    from userbench.report.tables.table2_layout import read_table2_layout

    layout = read_table2_layout(write_experiment(tmp_path, table2=LAYOUT))
    notes = [note for note in fact_notes(facts, layout) if "behaviours" in note]
    assert notes == (longer > 0) * [
        "Test users with more than 50 behaviours: T1 Age 41%. All rows read the latest 50, "
        "bag-of-items, too; only the bag of the whole history reads all of them."
    ]


# ---------------------------------------------------------------- table 2: numbers


def test_means_stds_and_improvements_are_those_worked_out_by_hand(tmp_path):
    # Wrong: validation or another epoch enters, population std, improvement in points.
    make_table2(tmp_path)
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


def test_a_baseline_that_repeats_another_one_is_no_row(tmp_path):
    # Wrong: where no user has a longer history, one bag of items is listed twice.
    more = {"run": "bag-of-items-long", "label": "bag-of-items (whole history)"}
    layout = LAYOUT | {"baselines": [LAYOUT["baselines"][0], more, LAYOUT["baselines"][1]]}
    long = baseline_file("bag-of-items-long", "age", "accuracy", 0.95)
    texts = make_table2(tmp_path, layout, [*CONTENT, long])
    assert list(read_csv(tmp_path / "t.csv").index)[3:] == [
        *("bag-of-items", "bag-of-items-long", "popularity"),
    ]
    assert "| bag-of-items (whole history) | 95.00 |" in texts["md"]
    contents = [*CONTENT, long | {"same_as": "bag-of-items"}]
    texts = make_table2(tmp_path, layout, contents)
    assert list(read_csv(tmp_path / "t.csv").index)[3:] == ["bag-of-items", "popularity"]
    assert not any("whole history" in text for text in texts.values())


def test_published_values_are_beside_the_measured(tmp_path):
    # Wrong: a published figure in the wrong row or task; "None" read as a missing name.
    make_table2(tmp_path)
    table = read_csv(tmp_path / "t.csv")
    assert table.loc["none", ["age.paper_mean", "age.paper_std"]].tolist() == [62.87, 0.05]
    assert table.loc["adaptssr", ["cvr.paper_mean", "cvr.paper_std"]].tolist() == [79.92, 0.05]
    assert table.loc[["bag-of-items", "popularity"], "age.paper_mean"].isna().all()


def test_a_task_of_an_absent_corpus_stays_empty(tmp_path):
    # Wrong: the run stops, or the empty column is filled with something.
    texts = make_table2(tmp_path)
    table = read_csv(tmp_path / "t.csv")
    assert table[["cvr.mean", "cvr.std", "cvr.seeds", "cvr.improvement"]].isna().all(axis=None)
    assert "| AdaptSSR | 66.00±8.49 | 20.00 | 3.00±0.00 | 50.00 | – | – |" in texts["md"]


def test_a_table_without_any_score_is_still_a_table(tmp_path):
    # Wrong: a crash where only the published values can be shown.
    contents = [score_file("other", "other", 0, "accuracy", 0.5)]
    texts = make_table2(tmp_path, contents=contents)
    assert "| None | – | – | – | – | – | – |" in texts["md"]
    assert set(read_csv(tmp_path / "t.csv")["data"].fillna("")) == {""}


def test_a_run_that_lacks_a_task_is_an_error(tmp_path):
    # Wrong: a hole in a ranked row, and a best figure among fewer rows than shown.
    contents = [c for c in CONTENT if (c["run"], c["task"]) != ("mlm", "click")]
    with pytest.raises(SystemExit, match="task 'click': no test ndcg@10 of mlm, though"):
        make_table2(tmp_path, contents=contents)
    with pytest.raises(SystemExit, match="task 'age': no test auc of none, mlm, adaptssr"):
        tasks = [{"task": "age", "label": "Age", "metric": "auc"}]
        make_table2(tmp_path, LAYOUT | {"tasks": tasks})


def test_scores_over_different_test_sets_are_an_error(tmp_path):
    # Wrong: runs are ranked although they were tested on different splits.
    other = score_file(
        "mlm", "age", 2, "accuracy", 0.5, examples=dict.fromkeys(("train", "validation", "test"), 7)
    )
    with pytest.raises(SystemExit, match=r"different numbers of test examples \(7, 2001\)"):
        make_table2(tmp_path, contents=[*CONTENT, other])


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
def test_a_wrong_layout_is_reported(tmp_path, changes, reason):
    # Wrong: a misspelt key is ignored, and simulated values pass for real.
    with pytest.raises(SystemExit, match=rf"error: {tmp_path}/experiment.json: .*{reason}"):
        make_table2(tmp_path, LAYOUT | changes)


# ---------------------------------------------------------------- as shown


def test_bold_is_what_is_better_than_every_other_row(tmp_path):
    # Wrong: the highest mean is bold though chance explains it, or a baseline is.
    verdicts = {
        ("adaptssr", "age"): "better",
        ("mlm", "age"): "worse",
        ("adaptssr", "click"): "undecided",
        ("bag-of-items", "age"): "better",
    }
    texts = make_table2(tmp_path, more=statistics_csv(tmp_path, verdicts))
    md, tex, html = texts["md"], texts["tex"], texts["html"]
    measured = md[: md.index("References")]
    assert "| **66.00±8.49** |" in measured
    assert measured.count("**") == 2 and "<ins>" not in measured
    assert "| bag-of-items | 90.00 | 63.64 | – |" in md
    assert r"\textbf{66.00$\pm$8.49}" in tex
    assert r"bag-of-items & 90.00 & 63.64 & --" in tex
    assert "<strong>66.00±8.49</strong>" in html
    assert "<td>90.00</td>" in html
    # Wrong: a mean of a seed that answers the same for everybody is shown without a note.
    note = "MLM on T age: seed 1 predicts one class only, so its comparisons are undecided."
    assert f"- {note}" in md and md.count("undecided") == 1
    record = json.loads((tmp_path / "t.csv.provenance.json").read_text())
    assert {Path(name).name for name in record["inputs"]} == {
        *("scores.csv", "experiment.json", "statistics.csv")
    }


def test_every_form_opens_with_the_headline(tmp_path):
    # Wrong: a reader has to find out for herself what the table says, or one form says else.
    from userbench.report.tables import headline

    flags = statistics_csv(tmp_path, {("adaptssr", "age"): "better", ("mlm", "age"): "worse"})
    agreement = tmp_path / "agreement.csv"
    agreement.write_text("task,label,tau,p_value\nage,T1 Age,-0.3333,0.7\n")
    flags += ["--agreement", str(agreement)]
    texts = make_table2(tmp_path, more=flags)
    asked = experiment_flag(tmp_path, table2=LAYOUT)
    headline.main([*flags, *asked, "--md", str(tmp_path / "headline.md")])
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
        record = json.loads((tmp_path / f"{name}.provenance.json").read_text())
        assert len(record["inputs"]) == files


def test_an_order_without_statistics_is_refused(tmp_path):
    # Wrong: a sentence on the order, and none on the rows.
    with pytest.raises(SystemExit, match="--agreement: give --statistics, too"):
        make_table2(tmp_path, more=["--agreement", "agreement.csv"])


def test_nothing_measured_is_bold_without_statistics(tmp_path):
    # Wrong: a table that was never tested claims a winner.
    md = make_table2(tmp_path)["md"]
    assert "**" not in md[: md.index("References")]


def test_published_rows_are_marked_as_in_the_paper(tmp_path):
    # Wrong: the paper's table is not shown as it was printed.
    texts = make_table2(tmp_path)
    published = texts["md"][texts["md"].index("*Published") :]
    assert "| AdaptSSR | **65.53±0.04** | 4.23 | **2.61±0.03** | 31.16 |" in published
    assert published.count("**") == 2 * 3
    assert published.count("<ins>") == 3
    assert texts["tex"].count(r"\underline{") == texts["html"].count("<u>") == 3


def test_other_files_than_statistics_are_refused(tmp_path):
    # Wrong: a traceback, or a table without its bold cells.
    (tmp_path / "statistics.csv").write_text("run,task\nnone,age\n")
    with pytest.raises(
        SystemExit, match="no column label, data, row, note, baseline.run, best_other.verdict"
    ):
        make_table2(tmp_path, more=["--statistics", str(tmp_path / "statistics.csv")])


def test_unequal_numbers_of_seeds_are_reported(tmp_path):
    # Wrong: a mean of one seed is shown beside means of two without a note.
    equal = make_table2(tmp_path)["md"]
    assert "- Seeds: 2." in equal
    fewer = make_table2(tmp_path, contents=CONTENT[:2] + CONTENT[3:])["md"]
    assert "differs: None 2 to 2, PeterRec 2 to 2, AdaptSSR 1 to 2." in fewer


def test_user_vectors_of_different_widths_are_reported(tmp_path):
    # Wrong: a row whose head reads four times as many numbers is shown without a note.
    texts = make_table2(tmp_path)
    assert read_csv(tmp_path / "t.csv")["width"].dropna().tolist() == [64, 64, 64]
    assert "64" not in "".join(line for line in texts["md"].splitlines() if line.startswith("- "))
    wider = [c | {"width": 256} if c["run"] == "mlm" else c for c in CONTENT]
    texts = make_table2(tmp_path, contents=wider)
    assert read_csv(tmp_path / "t.csv")["width"].dropna().tolist() == [64, 256, 64]
    assert "- User vectors are 64 wide; PeterRec's are 256." in texts["md"]
    assert "User vectors are 64 wide; PeterRec's are 256." in texts["tex"]
    each = [c | {"width": {"none": 64, "mlm": 256}.get(c["run"], 128)} for c in wider]
    md = make_table2(tmp_path, contents=each)["md"]
    assert "- User vectors are 64 wide; AdaptSSR's are 128, PeterRec's are 256." in md


def test_one_run_with_two_widths_is_an_error(tmp_path):
    # Wrong: scores of an older setting of a run are averaged with those of the present one.
    contents = [CONTENT[0] | {"width": 128}, *CONTENT[1:]]
    with pytest.raises(SystemExit, match="run 'none': user vectors of 64 and 128 numbers"):
        make_table2(tmp_path, contents=contents)


def test_negative_and_vanishing_improvements():
    # Wrong: a hyphen for a minus, or "-0.00".
    from userbench.report.tables.cells import number

    assert [number(value) for value in (-25.0, -0.001, 0.0, float("nan"))] == [
        *("−25.00", "0.00", "0.00", "–")
    ]


def test_simulated_data_cannot_be_mistaken(tmp_path):
    # Wrong: values of generated data are read as results.
    simulated = LAYOUT | {"simulated": True}
    texts = make_table2(tmp_path, simulated)
    assert texts["md"].startswith("SIMULATED DATA: TTL")
    assert r"\caption{SIMULATED DATA: TTL" in texts["tex"]
    assert "<caption>SIMULATED DATA: TTL" in texts["html"]
    for text, mark in (("md", r"\[SIMULATED\]"), ("tex", "{[}SIMULATED{]}"), ("html", "[SIM")):
        header = [line for line in texts[text].splitlines() if "T1 Age" in line or "T6" in line]
        assert sum(line.count(mark) for line in header) >= 3 - (text == "html")
    assert set(read_csv(tmp_path / "t.csv")["data"]) == {"simulated"}

    real = make_table2(tmp_path)
    assert not any("SIMULATED" in text for text in real.values())


def test_one_simulated_task_among_real_ones_is_marked_alone(tmp_path):
    # Wrong: the mark is lost, or spreads to real tasks, where corpora are mixed.
    tasks = [LAYOUT["tasks"][0], LAYOUT["tasks"][1] | {"simulated": True}]
    texts = make_table2(tmp_path, LAYOUT | {"tasks": tasks})
    assert texts["md"].startswith("SIMULATED DATA")
    assert r"| T1 Age<br>Acc | Impr.% | T3 Click \[SIMULATED\]<br>NDCG@10 |" in texts["md"]
    assert set(read_csv(tmp_path / "t.csv")["data"]) == {"simulated: click; others real"}


def test_caption_does_not_say_simulated_data_twice():
    # Wrong: "SIMULATED DATA: SIMULATED data: ttl".
    from userbench.report.tables.data_origin import data_statement

    layout = LAYOUT | {"simulated": True, "caption_data": "SIMULATED data: ttl (4,000 users)"}
    assert data_statement(layout) == "SIMULATED DATA: ttl (4,000 users)"


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
def nasty(tmp_path) -> dict[str, str]:
    rows = [LAYOUT["rows"][0] | {"label": NASTY}, *LAYOUT["rows"][1:]]
    tasks = [LAYOUT["tasks"][0] | {"label": NASTY}, *LAYOUT["tasks"][1:]]
    changes = {"rows": rows, "tasks": tasks, "caption_data": NASTY, "notes": [NASTY]}
    return make_table2(tmp_path, LAYOUT | changes)


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
