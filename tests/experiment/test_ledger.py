"""The ambiguity ledger: its file, and what is refused in it."""

import dataclasses

import pytest
import yaml
from repository import ROOT
from small_ledger import COMPARED, OPEN, RATE, SWITCH, without

SOURCES = ROOT / "src" / "userbench"
LEDGER_FILE = SOURCES / "experiment" / "ledger.yaml"


@pytest.fixture
def ledger():
    from userbench.experiment import ledger

    return ledger


def test_the_ledger_is_well_formed(ledger):
    # Wrong: an entry with a misspelt field, or a default that is not a legal value.
    entries = ledger.read_ledger(LEDGER_FILE)
    assert len(entries) > 20
    assert {entry.where for entry in entries} == {"protocol", "method", "none"}


def test_method_switches_are_those_of_the_method(ledger):
    # Wrong: the ledger documents a switch that a method does not have, or another default.
    from userbench.method import configure, load_method

    entries = [e for e in ledger.read_ledger(LEDGER_FILE) if e.where == "method"]
    assert any(entry.key is None for entry in entries)
    for entry in entries:
        for method in entry.methods:
            module = load_method(method)
            for choice in entry.choices:
                config = configure(module, entry.change(choice.value))
                is_default = choice.value == entry.default
                assert (config == module.Config()) == is_default, (entry.id, choice.value)


def test_differences_of_compared_methods_are_marked_in_their_files(ledger):
    # Wrong: who reads the method does not learn that its authors' code is another.
    for entry in ledger.read_ledger(LEDGER_FILE):
        for method in entry.methods if "methods" in entry.model_fields_set else []:
            file = SOURCES / f"methods/{method}.py"
            assert entry.id in file.read_text(encoding="utf-8"), (method, entry.id)


def test_protocol_switches_are_those_of_the_tasks(ledger):
    # Wrong: a legal value of the loops is missing from the ledger, or their defaults differ.
    from userbench.model import tasks

    entries = {entry.id: entry for entry in ledger.read_ledger(LEDGER_FILE)}
    fields = {field.name: field.default for field in dataclasses.fields(tasks.Task)}
    for name in ("known_targets", "ties", "average", "bias_start"):
        assert entries[name].key == name
        assert {choice.value for choice in entries[name].choices} == set(tasks.LEGAL[name])
        assert entries[name].default == fields[name]
    assert entries["finetune_dropout"].default == fields["dropout"]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([without(SWITCH, "stage")], "0: 'stage' is missing"),
        ([without(SWITCH, "where")], "0: 'where' is missing"),
        ([SWITCH | {"defualt": 1}], "0: unknown key 'defualt'"),
        ([SWITCH | {"where": "loop"}], "0.where: 'loop' should be one of 'none', 'protocol'"),
        ([SWITCH | {"default": "none"}], "warm_start: the default must be the first choice"),
        (
            [SWITCH | {"choices": SWITCH["choices"][:1]}],
            "choices: .* should have at least 2",
        ),
        ([SWITCH | {"choices": SWITCH["choices"] * 2}], "warm_start: 'mlm' is named twice"),
        (
            [RATE | {"choices": [*RATE["choices"], {"value": 1.5, "means": "all"}]}],
            "rate: finetune_dropout: 1.5 should be less than 1",
        ),
        ([RATE | {"key": "rate"}], "rate: top level: unknown key 'rate'; known: .*"),
        (
            [RATE | {"default": 0.1, "choices": RATE["choices"][::-1]}],
            "rate: the default is another in experiment/config.py",
        ),
        ([SWITCH, SWITCH], "'warm_start' is named twice"),
        ([OPEN | {"key": "labels"}], "0: unknown key 'key'"),
        ([SWITCH | {"methods": ["clue"]}], "0: unknown key 'methods'"),
        ([without(SWITCH, "key")], "0: 'key' is missing"),
        ([COMPARED | {"methods": []}], "methods: .* should have at least 1 item"),
        ([without(SWITCH, "key") | {"where": "method"}], "warm_start: 'mlm' names no field. Add a"),
        ([without(OPEN, "here")], "0: 'here' is missing"),
        ([], r"top level: \[\] should have at least 1 item"),
    ],
)
def test_a_bad_ledger_is_reported(tmp_path, entries, reason):
    # Wrong: a switch without a stage, or with an illegal default, reaches the workflow.
    from userbench.report.tables import ambiguities

    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(SystemExit, match=rf"error: .*bad\.yaml: .*{reason}"):
        ambiguities.main(["--ledger", str(path), "--out", str(tmp_path / "page.md")])
    assert not (tmp_path / "page.md").exists()


def test_a_file_that_is_no_yaml_is_reported_in_one_line(tmp_path):
    # Wrong: a traceback, or an error of ten lines.
    from userbench.report.tables import ambiguities

    path = tmp_path / "bad.yaml"
    for content in (b"- {id: [", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(SystemExit) as stop:
            ambiguities.main(["--ledger", str(path), "--out", str(tmp_path / "page.md")])
        assert str(stop.value.code).startswith(f"error: {path}: not valid YAML")
        assert "\n" not in str(stop.value.code)
