"""Paths as people have them, through Snakemake, which formats texts, and the shell."""

import os
import shlex

import pytest
import yaml
from snakemake_calls import snakemake

from userbench.data.formats import ttl
from userbench.experiment.config import Experiment
from userbench.experiment.corpora import FixedCorpus
from userbench.workflow.raw import raw_paths

NAME = """a {v} é#'"$x"""


@pytest.fixture
def config(tmp_path):
    """A config of one untrained row on a real corpus, each path with all that is odd."""
    raw = tmp_path / f"raw {NAME}"
    raw.mkdir()
    for source in ttl.SOURCES.values():
        (raw / f"{source.stem}.csv").write_text("1,2,,1\n")
    task = {"corpus": "ttl", "kind": "classification", "lr": 0.001, "batch_size": 8, "label": "{v}"}
    content = {
        "experiment": "odd",
        "device": "cpu",
        "seeds": [0],
        "corpora": {"ttl": {"format": "ttl", "raw": str(raw)}},
        "splits": {"seed": 1},
        "encoder": {"dim": 16, "layers": 1, "heads": 2, "max_length": 30},
        "pretrain": {"epochs": 1, "batch_size": 64},
        "finetune": {"epochs": 1, "from_epochs": [1]},
        "tasks": {"age": task},
        "runs": {"none": {"label": "{v}"}},
        "table2": {"rows": ["none"], "compared_with": "none"},
    }
    path = tmp_path / f"config {NAME}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path, raw


def test_a_path_may_have_any_character_and_a_checkout_be_linked(checkout, tmp_path, config):
    """If wrong: braces end in a traceback of Snakemake, and a link in "not installed"."""
    path, raw = config
    (tmp_path / "link").symlink_to(checkout)
    link = ["--snakefile", str(tmp_path / "link/Snakefile")]
    words = [*link, "-n", "-p", "--configfile", str(path), "--", "results/odd/report.html"]
    status, output = snakemake(checkout, *words)
    assert status == 0, output
    assert f"--raw {shlex.quote(str(raw))} --max" in output
    assert f"--config {shlex.quote(os.path.relpath(path, checkout))} --out" in output


def test_a_raw_path_with_a_line_break_is_one_line(monkeypatch):
    """If wrong: the plan, which reads the lines of a dry run, ends in "No closing quotation"."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RAW", "~/a")
    for place, problem in (
        ({"raw_env": "RAW"}, "/home/me/a does not exist"),
        ({"raw": "/a\nb"}, r"'/a\\nb' has a line break in it"),
    ):
        corpus = FixedCorpus(format="ttl", **place)
        with pytest.raises(ValueError, match=f"c.yaml: corpora.ttl: {problem}"):
            raw_paths(Experiment.model_construct(corpora={"ttl": corpus}), "c.yaml")


def test_a_checkout_with_braces_in_its_name_is_one_line(checkout):
    """If wrong: a NameError of Snakemake, which takes them for a wildcard."""
    folder = checkout.rename(checkout.with_name("a {v}"))
    status, output = snakemake(folder, "-n", "--configfile", "workflow/config/smoke.yaml")
    folder.rename(checkout)
    assert status != 0 and "Traceback" not in output
    assert "a {v}: Snakemake takes braces for wildcards. Rename this folder" in output
