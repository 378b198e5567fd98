"""The table of the frozen protocol: made by the commands of Table 2, with notes of its own."""

import json

import pytest
from experiments import write_experiment
from score_files import (
    CONTENT,
    LAYOUT,
    MARKUPS,
    make_table2,
    read_csv,
    score_file,
    statistics_csv,
    write_score_files,
)

FROZEN = {
    **LAYOUT,
    "folder": "frozen",
    "tasks": [
        {"task": "age", "label": "Age", "metric": "accuracy", "simulated": False},
        {"task": "click", "label": "Click", "metric": "ndcg@10", "simulated": False},
    ],
    "rows": [
        {"run": "none", "label": "None"},
        {"run": "mlm", "label": "Masked items"},
        {"run": "adaptssr", "label": "My method"},
    ],
    "baselines": [{"run": "item-counts", "label": "item counts, the same head"}],
    **{"head": "linear", "epochs": 30, "untrained": ["None"], "given": ["My method"]},
}
COUNTS = [score_file("item-counts", "age", 0, "accuracy", 0.7, width=256)]


def make_frozen(folder, contents, more=(), **changes):
    """The table by markup; and, for comparison, the layout of Table 2 in the same experiment."""
    from userbench.report.tables import table2
    from userbench.results import scores

    csv, out = folder / "frozen_scores.csv", {m: folder / f"frozen.{m}" for m in MARKUPS}
    scores.main(["--scores", *write_score_files(folder, contents), "--out", str(csv)])
    experiment = write_experiment(folder, table2=LAYOUT, frozen={**FROZEN, **changes})
    words = ["--table", "frozen", "--scores", str(csv), "--experiment", str(experiment)]
    table2.main([*words, *(w for m in MARKUPS for w in (f"--{m}", str(out[m]))), *more])
    return {markup: path.read_text(encoding="utf-8") for markup, path in out.items()}


def test_the_frozen_table_has_its_protocol_and_nothing_of_the_paper(tmp_path):
    """Wrong: a reader takes a score of a head on frozen vectors for one of fine-tuning."""
    made = make_frozen(tmp_path, [*CONTENT, *COUNTS])
    table = read_csv(tmp_path / "frozen.csv")
    assert list(table.index) == ["none", "mlm", "adaptssr", "item-counts"]
    assert table["age.mean"].to_list() == pytest.approx([55, 56, 66, 70])
    assert not table["ranked"]["item-counts"] and table["width"]["item-counts"] == 256
    assert table["age.paper_mean"].isna().all()
    md = made["md"]
    assert "Published" not in md and "| User vectors |" in md
    assert r"(frozen\_statistics.md)." in md
    assert (
        "- Frozen protocol: encoders stay as pre-training left them, and on their user vectors a "
        "linear head alone learns, the same for all rows." in md
    )
    assert "Validation chooses the learning rate and one of 30 epochs, and among the" in md
    assert "- None is the untrained encoder: random weights, under the same head." in md
    assert "- Vectors that were given: My method. How they were made is not known here." in md
    assert "item counts have the head of the rows, and one seed" in md
    assert "tab:frozen" in made["tex"] and "Table 2" not in made["html"]


def test_table_2_of_the_same_experiment_says_nothing_of_it(tmp_path):
    """Wrong: the table that was there before has other bytes because another one was added."""
    alone = tmp_path / "alone"
    alone.mkdir()
    made = make_table2(alone)
    assert make_table2(tmp_path, frozen=FROZEN) == made
    assert "Frozen" not in made["md"] and "| Pre-training |" in made["md"]
    assert "tab:table2" in made["tex"] and "<title>Table 2</title>" in made["html"]


def test_a_note_names_untrained_queries_and_users_without_a_vector(tmp_path):
    """Wrong: masked items look bad, or a given file good, for a reason that nobody is told."""
    lacking = {"mlm": {"untrained": ["pool.query"]}, "none": {"untrained": ["items"]}}
    contents = [one | lacking.get(one["run"], {}) for one in CONTENT]
    contents = [
        one | ({"without_vector": 3} if one["run"] == "adaptssr" and one["task"] == "age" else {})
        for one in contents
    ]
    md = make_frozen(tmp_path, contents)["md"]
    assert "- The pre-training of Masked items never trains the query that pools" in md
    assert "- Users without a vector, who have the mean of the others: My method on Age 3." in md
    assert "never trains" not in make_frozen(tmp_path, CONTENT)["md"]


@pytest.mark.parametrize(
    ("head", "words"),
    [("mlp", "the head of fine-tuning (two layers) alone learns"), ("boosted", "gradient-boosted")],
)
def test_the_note_names_the_head(tmp_path, head, words):
    assert words in make_frozen(tmp_path, CONTENT, head=head)["md"]


def test_missing_files_of_the_frozen_table_are_named_where_they_would_be(tmp_path):
    """Wrong: the remedy names a score file of fine-tuning, which is there."""
    contents = [one for one in CONTENT if (one["run"], one["seed"]) != ("mlm", 1)]
    md = make_frozen(tmp_path, contents)["md"]
    assert "seed 1 of Masked items (frozen/mlm/age/seed1.json)" in md


def test_its_headline_needs_no_order_of_the_paper(tmp_path):
    """Wrong: sentences of the frozen table wait for an agreement that it cannot have."""
    from userbench.report.tables import headline

    experiment = write_experiment(tmp_path, frozen=FROZEN)
    flags = statistics_csv(tmp_path, {("mlm", "age"): "better"})
    words = ["--table", "frozen", *flags, "--experiment", str(experiment)]
    headline.main([*words, "--md", str(tmp_path / "headline.md")])
    text = (tmp_path / "headline.md").read_text()
    assert "MLM is better than NONE beyond chance on T age" in text and "Kendall" not in text
    record = json.loads((tmp_path / "headline.md.provenance.json").read_text())
    assert record["config"]["table"] == "frozen"


def test_without_the_table_the_error_names_its_key(tmp_path):
    from userbench.report.tables.table2_layout import read_table2_layout

    experiment = write_experiment(tmp_path, table2=LAYOUT)
    with pytest.raises(ValueError, match="has no frozen. Add the key 'frozen' to its config"):
        read_table2_layout(experiment, "frozen")
