"""experiment.json: what the command writes is what a config says, and what is read is checked."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from experiments import write_experiment
from repository import ROOT

CONFIG = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def experiment():
    from userbench.report import experiment

    return experiment


def write(experiment, out: Path, config: dict = CONFIG, *more: str) -> Path:
    experiment.main(["--config", json.dumps(config), *more, "--out", str(out)])
    return out


def test_what_is_written_is_what_the_config_says(experiment, tmp_path):
    # Wrong: a row, a label or a margin that no config has; a value that comes back as another one.
    from userbench.experiment.config import Experiment
    from userbench.experiment.layouts import layouts
    from userbench.experiment.runs import resolve

    path = write(experiment, tmp_path / "experiment.json", CONFIG, "--notes", '["a note"]')
    read = experiment.read_layouts(path)
    assert read == layouts(resolve(Experiment.model_validate(CONFIG)), ["a note"])
    assert read.table2.notes == ["a note"]
    content = json.loads(path.read_text())
    assert content["runs"].keys() >= CONFIG["runs"].keys() and content["seeds"] == CONFIG["seeds"]
    assert experiment.layout_of(path, "verify") == CONFIG["verify"]["margin"]
    # Whole numbers stay whole in figure6.csv.
    worlds = experiment.figure_layout(path, "worlds")["corpora"].values()
    assert {type(corpus["world"]["diversity"]) for corpus in worlds} == {int}
    record = json.loads((tmp_path / "experiment.json.provenance.json").read_text())
    assert record["config"]["config"] == CONFIG and record["config"]["notes"] == ["a note"]
    again = write(experiment, tmp_path / "again.json", CONFIG, "--notes", '["a note"]')
    assert again.read_bytes() == path.read_bytes()


def test_an_absent_corpus_is_in_no_figure(experiment, tmp_path):
    # Wrong: a figure waits for scores of data that is not there; or Table 2 lacks its column.
    config = {key: value for key, value in CONFIG.items() if key != "similarity"}
    read = experiment.read_layouts(
        write(experiment, tmp_path / "e.json", config, "--absent", "app")
    )
    of_app = {name for name, task in CONFIG["tasks"].items() if task["corpus"] == "app"}
    assert of_app
    assert of_app < {task.task for task in read.table2.tasks}
    assert not of_app & {task.task for task in read.figures["combination"].tasks}
    assert "similarity" not in read.figures and "app" not in read.table1.simulated


def without(*path: str) -> dict:
    """The config without a key."""
    config = json.loads(json.dumps(CONFIG))
    *above, last = path
    part = config
    for key in above:
        part = part[key]
    del part[last]
    return config


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--config", "{"], "--config: '{' is not JSON"),
        (["--config", json.dumps(without("seeds"))], "--config: top level: 'seeds' is missing"),
        (["--config", json.dumps(without("runs", "mlm"))], "--config: .*'mlm'"),
        (["--config", json.dumps(CONFIG), "--absent", "tll"], "--absent: no corpus 'tll'; known: "),
        (["--config", json.dumps(CONFIG), "--notes", "x"], "--notes: not valid JSON"),
        (["--config", json.dumps(CONFIG), "--notes", "{}"], "--notes: top level: {} should be a"),
        (["--config", json.dumps(CONFIG), "--notes", '[""]'], "--notes: 0: '' should have"),
    ],
)
def test_an_error_is_one_line(experiment, tmp_path, words, reason, capsys):
    # Wrong: a traceback, or an experiment.json of half a config.
    out = tmp_path / "experiment.json"
    with pytest.raises(SystemExit) as stop:
        experiment.main([*words, "--out", str(out)])
    message = str(stop.value.code) if stop.value.code != 2 else capsys.readouterr().err
    assert re.search(reason, message), message
    assert stop.value.code == 2 or "\n" not in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: None, "is not there. Make it with `userbench experiment`"),
        (lambda text: text[:-9], "not valid JSON: .*. Make it again with `userbench"),
        (lambda text: "[" * 99_999, "not valid JSON: .*. Make it again with `userbench"),
        (lambda text: text.replace('"toy"', "NaN"), "NaN is not JSON.* Make it again"),
        (lambda text: "[]", r"top level: \[\] is no mapping of keys to values. Make it"),
        (
            lambda text: text.replace('"seeds"', '"sedes"'),
            "key 'sedes'; did you mean 'seeds'.. Make it",
        ),
        (
            lambda text: text.replace('"simulated": []', '"simulated": [3]'),
            "table1.simulated.0: 3 ",
        ),
        (lambda text: text.replace('"table1"', '"tabel1"'), "layouts: unknown key 'tabel1'"),
    ],
)
def test_another_file_is_one_line(experiment, tmp_path, damage, reason):
    # Wrong: a traceback, or a table of a layout that is half there.
    path = write_experiment(tmp_path, table1={"tasks": {}, "simulated": []})
    assert experiment.layout_of(path, "table1") == {"tasks": {}, "simulated": []}
    text = damage(path.read_text())
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: .*{reason}") as found:
        experiment.read_layouts(path)
    assert "\n" not in str(found.value) and len(str(found.value)) < 400


def test_an_edited_file_is_refused(experiment, tmp_path):
    # Wrong: simulated data that somebody has called real.
    path = write(experiment, tmp_path / "experiment.json")
    path.write_text(path.read_text().replace('"simulated": true', '"simulated": false', 1))
    with pytest.raises(ValueError, match=f"{path}: damaged: its checksum differs"):
        experiment.read_layouts(path)


@pytest.mark.parametrize(
    ("command", "words", "part", "key"),
    [
        ("statistics.agreement", ["--scores", "s", "--out", "o"], "table2", "table2"),
        ("tables.tuning", ["--scores", "s", "--out", "o", "--md", "m"], "tuning", "tuning"),
        ("tables.effects", ["--scores", "s", "--out", "o"], "effects", "sensitivity"),
        (
            *("drawing.command", ["labels", "--scores", "s", "--csv", "c", "--out", "o"]),
            *("figure 'labels'", "labels"),
        ),
        (
            *("drawing.command", ["learning_curves", "--scores", "s", "--csv", "c", "--out", "o"]),
            *("figure 'learning_curves'", "table2"),
        ),
    ],
)
def test_a_study_that_is_not_there_is_named_with_its_key(tmp_path, command, words, part, key):
    # Wrong: a KeyError for somebody who has only forgotten a key of the config.
    module = importlib.import_module(f"userbench.report.{command}")
    path = write_experiment(tmp_path)
    message = f"{path}: the experiment has no {part}. Add the key '{key}' to its config"
    with pytest.raises(SystemExit, match=f"error: {message}"):
        module.main([*words, "--experiment", str(path)])


def test_reading_it_loads_no_torch():
    # Wrong: a laptop without torch cannot make a table.
    code = "import sys, userbench.report.experiment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
