"""Which source files a job depends on: an edit reruns the jobs whose results it can change."""

import pytest
from repository import ROOT

from userbench.workflow.sources import PACKAGE, part_sources, sources

FORMATS = sorted(f"data/formats/{path.name}" for path in (PACKAGE / "data/formats").glob("[a-z]*"))
SIMULATION = sorted(
    f"data/simulation/{p.name}" for p in (PACKAGE / "data/simulation").glob("[a-z]*")
)
EVENTS = sorted(f"data/events/{path.name}" for path in (PACKAGE / "data/events").glob("[a-z]*.py"))
RAW = [
    *EVENTS,
    *("data/format.py", "data/padded_lines.py", "data/ingest.py", "data/draw_splits.py"),
    *("data/simulate.py", *FORMATS, *SIMULATION),
]


def names(files) -> set[str]:
    """Paths as seen from the package."""
    return {path.relative_to(PACKAGE).as_posix() for path in files}


@pytest.mark.parametrize("command", ["pretrain", "finetune", "baselines", "similarity"])
def test_training_does_not_depend_on_what_reads_raw_files(command):
    """Wrong: a new raw format trains every encoder again, though its arrays are the same."""
    assert len(FORMATS) >= 2 and all((PACKAGE / name).is_file() for name in RAW)
    found = names(sources(command))
    assert {"data/arrays.py", "data/store.py", f"{command}.py"} <= found
    assert not found & set(RAW)


@pytest.mark.parametrize("kind", ["methods", "views"])
def test_nor_do_methods_and_views(kind):
    """Wrong: as above, by what a method imports."""
    for path in (PACKAGE / kind).glob("[a-z]*.py"):
        assert not names(part_sources(kind, path.stem)) & set(RAW), path.name


def test_nor_do_splits_and_neighbours():
    """Wrong: they are made again, and with them all that reads them."""
    for command in ("data.draw_splits", "data.neighbours"):
        others = {f"{command.replace('.', '/')}.py"}
        assert not names(sources(command)) & set(RAW) - others


def test_logs_and_lines_of_ids_are_read_apart():
    """Wrong: an edit of the reader of events trains on TTL anew, or the other way round."""
    assert not names(sources("data.ingest")) & set(EVENTS)
    for part in ("corpus", "tasks"):
        found = names(sources(f"data.events.{part}"))
        assert "data/events/tables.py" in found
        assert not found & {"data/ingest.py", "data/padded_lines.py", *FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_reading_depends_on_its_own_format_alone(format):
    """Wrong: an edit of a format does not read its corpora again, or reads those of another."""
    module = format.removesuffix(".py").replace("/", ".")
    found = names([*sources("data.ingest"), *sources(module)])
    assert found & set(FORMATS) == {format}
    assert {"data/format.py", "data/padded_lines.py", "data/ingest.py"} <= found


def test_rules_that_read_raw_files_take_the_format_as_an_input():
    """Wrong: the format is found by its name at run time, and an edit of it reruns nothing."""
    rules = (ROOT / "workflow/rules/data.smk").read_text(encoding="utf-8")
    assert rules.count('with_format("data.ingest")') == 2 and 'code("data.ingest")' not in rules
