"""What docs/figures.md shows under "Add a figure" works: one file, and one entry of a config."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml
from figure_cases import predictions, scores
from processes import call
from repository import PROGRAMS, ROOT
from snakemake_calls import config_flags, job_counts, snakemake

NAME = "bars"
FILE = f"src/userbench/report/figures/{NAME}.py"


@pytest.fixture(scope="module")
def shown():
    """The blocks of the section by their language."""
    section = (ROOT / "docs/figures.md").read_text().partition("\n## Add a figure\n")[2]
    return dict(re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def asked(shown):
    """The entry of the config."""
    return yaml.safe_load(shown["yaml"])["figures"]


@pytest.fixture(scope="module")
def with_figure(checkout, shown):
    """A copy of the workflow with the new file, and nothing else changed."""
    (checkout / FILE).write_text(shown["python"])
    return checkout


def test_the_example_needs_no_clean_up(shown):
    """Pasted into report/figures/, it passes the linters that every file of the package passes."""
    for words in (["format", "--diff"], ["check"]):
        status, output = call(
            [PROGRAMS / "ruff", *words, "--stdin-filename", FILE, "-"],
            cwd=ROOT,
            input=shown["python"],
        )
        assert status == 0, output


def inputs_of(folder, words, target, rule):
    """What the job of a rule reads, by the graph of the workflow."""
    status, output = snakemake(folder, "--filegraph", *words, target)
    assert status == 0, output
    node = output.partition(f">{rule}</font>")[2].partition(">output ")[0]
    return set(re.findall('face="monospace">(.*?)</font>', node))


def test_it_gets_its_jobs_and_its_place_among_all(with_figure, asked, tmp_path):
    """Wrong: another file has to be edited before the workflow knows the figure."""
    _, output = snakemake(with_figure, "-n", *config_flags(tmp_path, seeds=[0]))
    before = job_counts(output)
    words = config_flags(tmp_path, seeds=[0], figures=asked)
    status, output = snakemake(with_figure, "-n", *words)
    assert status == 0, output
    more = {NAME: 1, f"publish_{NAME}": 1, "figure_scores": before["figure_scores"] + 1}
    assert job_counts(output) == before | more | {"total": before["total"] + 3}
    made = {f"results/smoke/{NAME}.{kind}" for kind in ("csv", "svg", "pdf", "png")}
    assert made | {FILE} < inputs_of(with_figure, words, "results/report.html", "page")


def test_it_is_made_of_its_runs_and_tasks_and_of_its_own_code(with_figure, asked, tmp_path):
    """Wrong: it waits for tasks that it does not show, or an edit of another figure remakes it."""
    words = config_flags(tmp_path, seeds=[0], figures=asked)
    read = inputs_of(with_figure, words, f"results/{NAME}.svg", NAME)
    code = {path for path in read if path.startswith("src/")}
    assert "src/userbench/report/drawing/marks.py" in code
    assert {path for path in code if "/figures/" in path} == {FILE}
    assert read - code == {
        f"results/smoke/{NAME}_scores.csv",
        "results/smoke/experiment.json",
        *(
            f"results/smoke/finetune/{run}/{task}/seed0.predictions.parquet"
            for run in asked[NAME]["rows"]
            for task in asked[NAME]["tasks"]
        ),
    }


@pytest.mark.slow
def test_it_is_drawn_and_on_the_page(with_figure, asked, shown, tmp_path):
    """The very commands of the workflow, on toy results, make its files and its section."""
    words = config_flags(tmp_path, seeds=[0, 1, 2], figures=asked)
    _, output = snakemake(
        with_figure, "-n", "-p", *words, f"results/{NAME}.svg", "results/report.html"
    )
    commands = [
        re.search(rf"^Shell command: (python -m userbench {call} .*)$", output, re.M)[1]
        for call in ("experiment", f"figure {NAME}", "page")
    ]
    folder = with_figure / "results/smoke"
    (folder / "logs").mkdir(parents=True)
    measured = scores(asked[NAME]["rows"])
    measured.to_csv(folder / f"{NAME}_scores.csv", index=False)
    for path in predictions(tmp_path, measured):
        run, task, seed, _ = path.name.split(".")
        place = folder / f"finetune/{run}/{task}/seed{seed}.predictions.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
    for command in commands:
        status, _ = call(["bash", "-c", command], with_figure / "src", cwd=with_figure)
        assert status == 0, "".join(log.read_text() for log in folder.glob("logs/*.log"))
    frame = pd.read_csv(folder / f"{NAME}.csv", keep_default_na=False)
    assert list(frame["run"].unique()) == asked[NAME]["rows"]
    assert list(frame["task"].unique()) == asked[NAME]["tasks"]
    for kind in ("svg", "pdf", "png"):
        assert (folder / f"{NAME}.{kind}").stat().st_size > 5_000
    page = (folder / "report.html").read_text()
    section = page.partition(f'<section id="{NAME}">')[2].partition("</section>")[0]
    for constant in ("TITLE", "CAPTION"):
        (text,) = re.findall(rf'^{constant} = "(.*)"$', shown["python"], re.MULTILINE)
        assert text in section
    assert f"Files: {NAME}.csv, {NAME}.pdf, {NAME}.png, {NAME}.svg" in section
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"brs": {"rows": ["none"]}},
            "figures.brs: no file report/figures/brs.py; there are: ablat",
        ),
        ({"bars": {"rows": ["nune"]}}, "figures.bars.rows: no run 'nune'; known: none, mlm"),
        ({"bars": {"rows": ["none"], "tasks": ["agee"]}}, "figures.bars.tasks: no task 'agee'"),
        ({"bars": {"rows": ["none"], "corpora": ["tt"]}}, "figures.bars.corpora: no corpus 'tt'"),
        (
            {"bars": {"rows": ["none"], "corpora": ["app"], "tasks": ["age"]}},
            "figures.bars.tasks: 'age' is of none of the figure's corpora",
        ),
        (
            {"bars": {"rows": ["none"], "width": 1}},
            "figures.bars: unknown key 'width'; known: rows",
        ),
        (
            {"similarity": {"rows": ["mlm"]}},
            "figures.similarity: this figure has a key of its own, 's",
        ),
    ],
)
def test_an_error_in_the_entry_is_one_line(with_figure, tmp_path, entry, message):
    """Wrong: a figure that nobody draws, or an error after its runs have been trained."""
    path = config_flags(tmp_path, figures=entry)[1]
    words = [PROGRAMS / "python", "-m", "userbench", "check", "--no-methods", path]
    status, output = call(words, with_figure / "src")
    assert status == 1 and output.startswith(f"error: {path}: {message}"), output
    assert output.count("\n") == 1


def test_an_option_that_the_file_lacks_is_one_line(with_figure, tmp_path):
    """Wrong: a misspelt option is ignored, and the figure is not the one that was asked for."""
    experiment = tmp_path / "experiment.json"
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    smoke["figures"] = {NAME: {"rows": ["none"], "options": {"widht": 1}}}
    asked = ["--config", json.dumps(smoke)]
    python, package = PROGRAMS / "python", with_figure / "src"
    made = [python, "-m", "userbench", "experiment", *asked, "--out", experiment]
    assert call(made, package)[0] == 0
    words = [NAME, "--experiment", experiment, "--scores", "s.csv", "--csv", "c", "--out", "o"]
    status, output = call([python, "-m", "userbench", "figure", *words], package)
    assert status == 1
    assert output.endswith("figure 'bars': top level: unknown key 'widht'; did you mean 'width'?\n")
