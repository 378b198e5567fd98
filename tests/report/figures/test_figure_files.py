"""Every file of report/figures/: what it declares, and what loads it."""

import re
import subprocess
import sys

import pytest
from figure_cases import file_of
from repository import ROOT

FOLDER = ROOT / "src/userbench/report/figures"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_file_has_what_a_figure_needs(path):
    """Wrong: a figure is found to lack something after its runs have been trained."""
    from userbench.experiment.config import Part
    from userbench.experiment.figures import read_figure_file

    declared, module = read_figure_file(path.stem), file_of(path.stem)
    assert (declared.title, declared.caption, declared.reads) == (
        module.TITLE,
        module.CAPTION,
        module.READS,
    )
    assert declared.numbers in module.__doc__
    assert issubclass(getattr(module, "Options", Part), Part)
    assert callable(module.numbers) and callable(module.draw)


def test_no_two_figures_write_the_same_files():
    """Wrong: the second figure overwrites the first, or a section of the page cannot be reached."""
    from userbench.experiment.figures import figure_files, read_figure_file
    from userbench.report.page.render import HERE
    from userbench.report.page.sections import sections

    assert set(figure_files()) == {path.stem for path in FOLDER.glob("[!_]*.py")}
    files = list(map(read_figure_file, figure_files()))
    for field in ("name", "numbers"):
        assert len({getattr(file, field) for file in files}) == len(files)
    of_the_page = re.findall(r'id="(\w+)"', (HERE / "page.html").read_text())
    names = [section.name for section in sections(figure_files())] + of_the_page
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("CAPTION = 'c'\nREADS = ('scores',)\n", "TITLE: Field required"),
        ("TITLE = 't'\nCAPTION = 'c'\nREADS = ('score',)\n", "READS: Input should be 'scores'"),
        ("TITLE = 't'\nCAPTION = print()\nREADS = ('scores',)\n", "CAPTION: Input should be a"),
        ("TITLE = 't'\nCAPTION = 'c'\nREADS = ('curves',)\nNAME = '../a'\n", "NAME: String sho"),
        ("TITLE = (\n", "mine.py:1: '.' was never closed. Correct this file"),
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_one_line(tmp_path, monkeypatch, source, reason):
    """Wrong: the workflow ends with a traceback, or draws what nobody has described."""
    from userbench.experiment import figures

    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ValueError, match=reason) as refused:
        figures.read_figure_file("mine")
    assert "\n" not in str(refused.value)


def test_figures_load_no_torch():
    """Wrong: a laptop without torch cannot draw."""
    loaded = "userbench.report.drawing.command, userbench.report.figures.similarity"
    code = f"import sys, {loaded}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_workflow_reads_figures_without_loading_them():
    """Wrong: a dry run takes as long as matplotlib does, and Snakemake's process needs it."""
    code = (
        "import sys, userbench.experiment.figures as f; f.read_figure_file('similarity');"
        "sys.exit(bool({'pandas', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
