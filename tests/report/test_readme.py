"""README's table and sentences are made from results, and equal them digit for digit."""

import shutil
from pathlib import Path

import pytest
from experiments import experiment_flag
from repository import ROOT
from score_files import LAYOUT, make_table2, statistics_csv

KEPT = ROOT / "docs/results/default"


@pytest.fixture
def readme():
    from userbench.report import readme

    return readme


@pytest.fixture
def results(tmp_path) -> Path:
    """A folder as docs/ keeps it: three tables and experiment.json, each with its record."""
    from userbench.report.tables import headline
    from userbench.results.artifact import record

    made, folder = tmp_path / "made", tmp_path / "kept"
    made.mkdir()
    folder.mkdir()
    verdicts = {("adaptssr", "age"): "better", ("mlm", "age"): "worse"}
    flags = statistics_csv(made, verdicts)
    (made / "agreement.csv").write_text("task,label,tau,p_value\nage,T1 Age,-0.3333,0.7\n")
    flags += ["--agreement", str(made / "agreement.csv")]
    layout = LAYOUT | {"rows": [{**row, "label": f"_{row['run']}_"} for row in LAYOUT["rows"]]}
    make_table2(made, layout, more=flags)
    words = [*flags, *experiment_flag(folder, table2=layout)]
    words += ["--md", str(folder / "h.md")]
    headline.main(words)
    (made / "t.csv").rename(made / "table2.csv")
    shutil.copy(made / "t.csv.provenance.json", folder / "table2.csv.provenance.json")
    record(folder / "experiment.json", {})
    for name in ("table2", "statistics", "agreement"):
        shutil.copy(made / f"{name}.csv", folder)
        if name != "table2":
            record(folder / f"{name}.csv", {})
    return folder


def test_parts_are_those_of_the_tables(readme, results):
    # Wrong: a value in another row or column, a baseline that looks like a row, an open markup.
    made = readme.parts(results)
    assert made["headline"] == (results / "h.md").read_text()
    assert made["table2"] == (
        "| percent | T1 Acc | T3 NDCG@10 | T6 AUC |\n"
        "|---|---:|---:|---:|\n"
        "| \\_none\\_ | 55.00±7.07 | 2.00±0.00 | – |\n"
        "| \\_mlm\\_ | 56.00±1.41 | 1.50±0.00 | – |\n"
        "| \\_adaptssr\\_ | 66.00±8.49 | 3.00±0.00 | – |\n"
        "| *bag-of-items* | 90.00 | – | – |\n"
        "| *popularity* | – | 1.00 | – |\n"
    )


PAGE = "# A page\n\n<!-- headline -->\nold\n<!-- /headline -->\n\nwords\n\n<!-- table2 -->\n"
PAGE += "<!-- /table2 -->\n\nthe end \\1\n"


def test_parts_are_written_between_their_markers(readme, results, tmp_path, capsys):
    # Wrong: words around a part are lost, or the second call changes what the first has written.
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    made = readme.parts(results)
    words = ["--results", str(results)]
    for _ in range(2):
        readme.main([*words, "--write", str(page)])
        assert page.read_text() == (
            f"# A page\n\n<!-- headline -->\n\n{made['headline']}\n<!-- /headline -->\n\nwords\n\n"
            f"<!-- table2 -->\n\n{made['table2']}\n<!-- /table2 -->\n\nthe end \\1\n"
        )
    readme.main(words)
    assert capsys.readouterr().out == f"{made['headline']}\n{made['table2']}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("<!-- table2 -->\n", ""),
        lambda text: text.replace("<!-- /table2 -->", "<!-- /table -->"),
        lambda text: text + "<!-- table2 -->\n",
        lambda text: text.replace("<!-- /table2 -->", "").replace("old", "<!-- /table2 -->"),
    ],
)
def test_markers_must_be_there_once(readme, results, tmp_path, damage):
    # Wrong: a README without its table, or one of which everything is replaced, in silence.
    page = tmp_path / "page.md"
    page.write_text(damage(PAGE))
    with pytest.raises(SystemExit, match="page.md: needs one line <!-- table2 --> and, below it"):
        readme.main(["--results", str(results), "--write", str(page)])
    assert page.read_text() == damage(PAGE)


def test_edited_tables_are_refused(readme, results):
    # Wrong: a digit that was edited by hand is in README as if it had been measured.
    table = results / "table2.csv"
    text = table.read_text()
    table.write_text(text.replace("55.0", "75.0", 1))
    with pytest.raises(SystemExit, match="table2.csv: damaged: its checksum differs"):
        readme.main(["--results", str(results)])
    table.write_text(text)
    layout = results / "experiment.json"
    layout.write_text(layout.read_text().replace("T1", "T2"))
    with pytest.raises(SystemExit, match="experiment.json: damaged: its checksum differs"):
        readme.main(["--results", str(results)])
    (results / "table2.csv.provenance.json").unlink()
    with pytest.raises(SystemExit, match="table2.csv: no provenance record beside it"):
        readme.main(["--results", str(results)])


def test_readme_holds_the_kept_results_digit_for_digit(readme):
    # Wrong: numbers or sentences in README that no result has. `make readme` writes them again.
    if not KEPT.is_dir():
        pytest.skip(f"{KEPT.relative_to(ROOT)} is not there: there is nothing to compare with")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.put_in(text, readme.parts(KEPT)) == text
