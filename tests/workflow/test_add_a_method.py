"""What the README shows under "Add a method" works as it is shown there."""

import csv
import re
import shutil
import sys

import pytest
import yaml
from processes import call
from repository import PROGRAMS, ROOT


@pytest.fixture(scope="module")
def shown():
    """The blocks of the section by their language; the one without a language is a command."""
    section = (ROOT / "README.md").read_text().partition("\n### Add a method\n")[2]
    section = section.partition("\n### ")[0]
    return dict(re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def run_of_mine(shown):
    """The row that the README adds: its name and its settings."""
    runs = yaml.safe_load(shown["yaml"])["runs"]
    ((name, settings),) = runs.items()
    return name, settings


@pytest.fixture(scope="module")
def elsewhere(shown, run_of_mine, tmp_path_factory):
    """A folder with the example in a package of its own."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    package, _, module = run_of_mine[1]["method"].rpartition(".")
    file = elsewhere.joinpath(*package.split("."), f"{module}.py")
    file.parent.mkdir(parents=True)
    file.write_text(shown["python"])
    return elsewhere


def test_a_method_is_25_lines(shown):
    """Imports, citation and blank lines included."""
    assert len(shown["python"].splitlines()) <= 25


def test_example_needs_no_clean_up(shown):
    """Pasted into methods/, it passes the linters that every file of the package passes."""
    for words in (["format", "--diff"], ["check"]):
        status, output = call(
            [PROGRAMS / "ruff", *words, "--stdin-filename", "src/userbench/methods/mine.py", "-"],
            cwd=ROOT,
            input=shown["python"],
        )
        assert status == 0, output


def test_example_keeps_the_contract(shown, run_of_mine, elsewhere):
    """The very command of the README, in its environment, says so line by line."""
    python, *words = shown[""].split()
    assert python == "python"
    assert words[-1] == run_of_mine[1]["method"]
    status, output = call([sys.executable, *words], ROOT / "src", elsewhere)
    assert status == 0, output
    assert "ok    gradient reaches the items: 40 of 40" in output
    assert output.count("\nok ") + 1 == len(output.splitlines())


@pytest.mark.slow
def test_example_becomes_a_row_of_table_2(shown, run_of_mine, elsewhere, tmp_path):
    """From raw files to the table by two lines of config; no file of the repository is touched."""
    for part in ("Snakefile", "environment.yml", "workflow", "profiles", "src"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    name, settings = run_of_mine
    config = yaml.safe_load((tmp_path / "workflow/config/smoke.yaml").read_text())
    rows = yaml.safe_load(shown["yaml"])["table2"]["rows"]
    assert name in rows
    assert set(rows) - {name} <= set(config["runs"])
    config["runs"][name] = settings
    config["table2"]["rows"] = ["none", name]
    # Why: the rest of the smoke run says nothing about methods and would take a minute.
    config["seeds"] = config["seeds"][:1]
    config["tasks"] = {task: config["tasks"][task] for task in ("age", "click")}
    del config["corpora"]["app"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    words = ["--cores", "2", "--configfile", "mine.yaml", "--", "results/table2.csv"]
    status, output = call(
        [PROGRAMS / "snakemake", *words], tmp_path / "src", elsewhere, cwd=tmp_path
    )
    assert status == 0, output
    with (tmp_path / "results/table2.csv").open() as file:
        table = {row["run"]: row for row in csv.DictReader(file)}
    assert table[name]["label"] == settings["label"]
    for task in config["tasks"]:
        assert 0 <= float(table[name][f"{task}.mean"]) <= 100
        assert table[name][f"{task}.seeds"] == "1"
    (trained,) = tmp_path.glob(f"results/*/pretrain/{name}/ttl/seed*/curve.json")
    assert trained.stat().st_size > 0
