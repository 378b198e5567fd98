"""A config: what it may hold, what it implies, and which errors in it are found before a run."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from smoke_config import STUDIES

from userbench.experiment.check import main, read_experiment, resolve_checked
from userbench.experiment.config import Experiment, Protocol
from userbench.experiment.files import read_configs
from userbench.experiment.layouts import experiment_file, runs_behind
from userbench.experiment.ledger import LEDGER, read_ledger, switches
from userbench.experiment.runs import resolve

CONFIGS = sorted((ROOT / "workflow/config").glob("*.yaml"))
SMOKE = ROOT / "workflow/config/smoke.yaml"
NONE_AND = {"none": {"label": "None"}}
ABLATION = {"full": "adaptssr", "rows": ["fixed"]}
SIMILARITY = {"corpus": "ttl", "rows": ["clue"]}


def smoke(**changes):
    """The smoke config with other values of some keys; where runs are others, without studies."""
    content = yaml.safe_load(SMOKE.read_text())
    if "runs" in changes:
        for study in STUDIES:
            del content[study]
        content["table2"] = {"rows": ["none"], "compared_with": "none"}
    return {**content, **changes}


def at(place, value):
    """The smoke config with another value at a dotted place."""
    content = smoke()
    *above, last = place.split(".")
    inner = content
    for key in above:
        inner = inner[key]
    inner[last] = value
    return content


def refusal(content, asks=False):
    """The error message for a config; empty where it is accepted."""
    try:
        resolve_checked(read_experiment(content, "a.yaml"), "a.yaml", asks=asks)
    except ValueError as problem:
        return str(problem)
    return ""


INVALID = {
    # Keys.
    "misspelt key": (smoke(sead=[1]), "top level: unknown key 'sead'; did you mean 'seeds'?"),
    "misspelt key of a run": (
        smoke(runs={**NONE_AND, "mlm": {"methd": "mlm"}}),
        "runs.mlm: unknown key 'methd'; did you mean 'method'?",
    ),
    "old key": (
        smoke(runs={**NONE_AND, "mlm": {"method": "mlm", "set": {}}}),
        "runs.mlm: 'set' is now called 'overrides'. Rename it",
    ),
    "old key of a table": (
        smoke(table2={"rows": ["none"], "baseline": "none"}),
        "table2: 'baseline' is now called 'compared_with'. Rename it",
    ),
    "old key of a world": (
        at("corpora.ttl.simulate", {"users": 300, "items": 400, "seed": 1, "set": {}}),
        "corpora.ttl.simulate: 'set' is now called 'overrides'. Rename it",
    ),
    "missing key": (at("verify.margin", {"T1": 1.0}), "verify.margin: 'T2' is missing"),
    "unknown key of margins": (
        at("verify.margin", {"accuracy": 0.4}),
        "verify.margin: unknown key 'accuracy'; known: T1, T2, T3, T4, T5, T6",
    ),
    "number as key": (at("tasks", {3: {}}), "tasks: the key 3 is not a text. Put it in quotes"),
    "truth value as key": (smoke(runs={True: {}}), "runs: the key True is not a text"),
    "name with a space": (
        smoke(runs={**NONE_AND, "a b": {"method": "mlm"}}),
        "runs.a b: 'a b' is no name of small letters, digits, _ and -",
    ),
    # Types and ranges.
    "text for a number": (
        at("tasks.age.lr", "fast"),
        "tasks.age.lr: 'fast' should be a valid number",
    ),
    "1e-3, which YAML reads as a text": (
        at("tasks.age.lr", "1e-3"),
        "tasks.age.lr: '1e-3' should be a valid number. It is read as a text: write 0.001",
    ),
    "2.0 for a whole number": (
        at("pretrain.epochs", 2.0),
        "pretrain.epochs: 2.0 should be a valid integer: write 2",
    ),
    "truth value for a number": (
        at("pretrain.epochs", True),
        "pretrain.epochs: True should be a valid integer",
    ),
    "number for a text": (at("runs.clue.label", 3), "runs.clue.label: 3 should be a valid string"),
    "text for a truth value": (
        at("finetune.test", "no"),
        "finetune.test: 'no' should be a valid boolean",
    ),
    "no seeds": (smoke(seeds=[]), "seeds: [] "),
    "a seed twice": (smoke(seeds=[1, 1]), "seeds: 1 is there twice"),
    "negative seed": (smoke(seeds=[-1]), "seeds.0: -1 should be greater than or equal to 0"),
    "device": (smoke(device="gpu"), "device: 'gpu' "),
    "path as name": (smoke(experiment="../../elsewhere"), "experiment: '../../elsewhere' "),
    "share of 2": (
        smoke(labels={"rows": ["none"], "shares": [2]}),
        "labels.shares.0: 2 should be less than or equal to 1",
    ),
    "no share": (
        smoke(protocol={"label_share": 0}),
        "protocol.label_share: 0 should be greater than or equal to 0.001",
    ),
    "value of a switch": (
        smoke(protocol={"ties": "kind"}),
        "protocol.ties: 'kind' should be 'pessimistic' or 'stable'",
    ),
    "misspelt switch": (
        smoke(protocol={"tie": "stable"}),
        "protocol: unknown key 'tie'; did you mean 'ties'?",
    ),
    "seeds_together": (
        smoke(seeds_together=2),
        "seeds_together: 2 should be a valid boolean",
    ),
    "together": (
        smoke(together="interleaved"),
        "top level: 'together' is no longer a key: seeds of one process are always trained",
    ),
    "jobs_per_gpu": (smoke(jobs_per_gpu=0), "jobs_per_gpu: 0 should be greater than or equal to 1"),
    "gres": (smoke(gres="shard"), "gres: 'shard' "),
    "heads": (
        at("encoder.heads", 3),
        "encoder.dim: 16 is no multiple of heads: 3",
    ),
    # Data.
    "no data": (at("corpora.ttl", {"format": "ttl"}), "corpora.ttl: no data: add `simulate`"),
    "two kinds of data": (
        at("corpora.ttl.raw", "folder"),
        "corpora.ttl: simulated and real at once",
    ),
    "task of no corpus": (
        at("tasks.age.corpus", "tll"),
        "tasks.age.corpus: no corpus 'tll'; known: ttl, app",
    ),
    "corpus of no task": (
        at("corpora.third", {"format": "ttl", "raw": "folder"}),
        "corpora.third: no task is of it",
    ),
    # Names of runs.
    "row that is not there": (
        smoke(table2={"rows": ["none", "peter"], "compared_with": "none"}),
        "table2.rows: no run 'peter'; known: none, mlm",
    ),
    "compared with no row": (
        smoke(table2={"rows": ["none"], "compared_with": "clue"}),
        "table2.compared_with: 'clue' is no row of table2",
    ),
    "warm start of itself": (
        at("runs.clue.init_from", "clue"),
        "runs.clue.init_from: no pre-training run 'clue' above 'clue'; known: mlm, ptum, none",
    ),
    "warm start of a later run": (
        at("runs.clue.init_from", "ccl"),
        "runs.clue.init_from: no pre-training run 'ccl' above 'clue'",
    ),
    "no warm start": (
        smoke(runs={**NONE_AND, "clue": {"method": "clue"}}),
        "protocol.warm_start: run 'clue' would start from a run 'mlm', which is not there",
    ),
    "two encoders": (
        at("runs.peterrec.init_from", "mlm"),
        "runs.peterrec: init_from and encoder_of at once",
    ),
    "unknown input": (
        at("runs.ccl.inputs", {"views.generator": "mml"}),
        "runs.ccl.inputs.views.generator: no pre-training run 'mml' above 'ccl'",
    ),
    "neighbours of held-out users": (
        smoke(protocol={"test_users": "held_out"}),
        "runs.coserec.inputs: neighbours of all users, with test_users: held_out",
    ),
    "neighbours of others": (
        smoke(protocol={"test_users": "others_held_out"}),
        "runs.coserec.inputs: neighbours of all users, with test_users: others_held_out",
    ),
    "epoch that is not trained": (
        at("pretrain.keep", [9]),
        "pretrain.keep: epoch 9 is above pretrain.epochs: 2",
    ),
    "candidate that is not trained": (
        at("finetune.from_epochs", [3]),
        "finetune.from_epochs: epoch 3 is above pretrain.epochs: 2",
    ),
    # Studies.
    "sensitivity": (smoke(sensitivity="adapt"), "sensitivity: no run 'adapt'"),
    "tuning": (smoke(tuning={"adapt": [{}]}), "tuning: no run 'adapt'"),
    "controls": (
        smoke(fairness={"controls": ["mlm_lang"]}),
        "fairness.controls: no run 'mlm_lang'",
    ),
    "control that is a row": (
        smoke(fairness={"controls": ["clue"]}),
        "fairness.controls: 'clue' is a row of table2",
    ),
    "verdict without a table": (smoke(table2=None), "verify: needs table2"),
    "ablation": (smoke(ablation={**ABLATION, "rows": ["warm"]}), "ablation.rows: no run 'warm'"),
    "sweep without a coefficient": (
        smoke(ablation={**ABLATION, "sweep": ["clue"]}),
        "ablation.sweep: run 'clue' has no number as overrides.coefficient",
    ),
    "Figure 5 of no checkpoint": (
        smoke(similarity={"corpus": "ttl", "rows": ["none"]}),
        "similarity.rows: run 'none' pre-trains nothing",
    ),
    "Figure 5 of no corpus": (
        smoke(similarity={**SIMILARITY, "corpus": "tt"}),
        "similarity.corpus: no corpus 'tt'; known: ttl, app",
    ),
    "how Figure 5 encodes": (
        smoke(similarity={**SIMILARITY, "encode": "train"}),
        "similarity.encode: 'train' should be 'evaluation' or 'training'",
    ),
    "two dropout rates": (
        smoke(similarity={**SIMILARITY, "encode": "training", "dropout": 0.1}),
        "similarity.dropout: with encode: training, the rate is that of each pre-training",
    ),
    "parameter of no world": (
        smoke(worlds={"parameters": ["noise"], "differences": [["clue", "none"]]}),
        "corpora.ttl: simulate.overrides has no number as 'noise', which worlds compares",
    ),
    "pair of three": (
        smoke(combination={"pairs": [["clue", "ccl", "none"]]}),
        "combination.pairs.0: ",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_error_is_one_line_with_file_and_key(name):
    """Wrong: a day of training is about something else than what its author wrote."""
    content, expected = INVALID[name]
    message = refusal(content)
    assert message.startswith(f"a.yaml: {expected}"), message
    assert "\n" not in message and "Traceback" not in message


ASKED = {
    "unknown method": (
        smoke(runs={**NONE_AND, "mlm": {"method": "mml"}}),
        "runs.mlm.method: no method 'mml'",
    ),
    "module that cannot be imported": (
        smoke(runs={**NONE_AND, "mlm": {"method": "my_package.mine"}}),
        "runs.mlm.method: no method 'my_package.mine'",
    ),
    "module that is no method": (
        smoke(runs={**NONE_AND, "mlm": {"method": "os.path"}}),
        "runs.mlm.method: os.path has no class Config",
    ),
    "misspelt field": (
        at("runs.cl4srec.overrides", {"temprature": 0.1}),
        "runs.cl4srec.overrides: userbench.methods.cl4srec has no hyper-parameter 'temprature'",
    ),
    "field of another type": (
        at("runs.cl4srec.overrides", {"temperature": "low"}),
        "runs.cl4srec.overrides: userbench.methods.cl4srec: temperature 'low' is no float",
    ),
    "value that is refused": (
        at("runs.cl4srec.overrides", {"temperature": -1.0}),
        "runs.cl4srec.overrides: temperature=-1.0: must be above 0",
    ),
    "rate below 0": (
        at("runs.cl4srec.overrides", {"lr": -0.1}),
        "runs.cl4srec.overrides: lr=-0.1: must be above 0",
    ),
    "field of views": (
        at("runs.cl4srec.overrides", {"views": {"crop": 0.1}}),
        "runs.cl4srec.overrides: views operators has no hyper-parameter 'crop'",
    ),
    "kind of views": (
        at("runs.cl4srec.overrides", {"views": {"kind": "mixed"}}),
        "runs.cl4srec.overrides: no view 'mixed'",
    ),
    "input that is no field": (
        at("runs.clue.inputs", {"views.generator": "mlm"}),
        "runs.clue.overrides: ",
    ),
    "field of a trial": (
        smoke(tuning={"clue": [{}, {"lrr": 1}]}),
        "runs.clue--2.overrides: userbench.methods.clue has no hyper-parameter 'lrr'",
    ),
    "parameter of a world": (
        at("corpora.ttl.simulate.overrides", {"diversity": 2, "nois": 0.1}),
        "corpora.ttl.simulate.overrides: a world has no parameter 'nois'",
    ),
}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder without cached answers."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ASKED)
def test_what_a_method_refuses_is_reported_before_a_run(name, elsewhere, in_process):
    content, expected = ASKED[name]
    message = refusal(content, asks=True)
    assert message.startswith(f"a.yaml: {expected}"), message
    assert "\n" not in message


@pytest.fixture
def in_process(monkeypatch):
    """Questions are answered in this process: another would load torch for each."""
    from userbench import catalogue
    from userbench.experiment import questions

    class Answered:
        returncode = 0

        def __init__(self, words, input, **_):
            assert words[1:] == ["-m", "userbench", "methods", "--json"]
            self.stdout = json.dumps(catalogue.answers(json.loads(input)))

    monkeypatch.setattr(questions.subprocess, "run", Answered)


def test_methods_are_asked_once_per_change(elsewhere, in_process, monkeypatch):
    """Wrong: every dry run loads torch, or an edit of a method goes unseen."""
    from userbench.experiment import questions

    config = read_experiment(smoke(), "a.yaml")
    resolved, notes = resolve_checked(config, "a.yaml")
    assert any("Reconstruction:" in note for note in notes)
    asked = questions.questions(resolved)
    first = questions.ask(asked)
    monkeypatch.setattr(questions.subprocess, "run", None)  # asked again, it would fail
    assert questions.ask(asked) == first
    assert resolve_checked(config, "a.yaml")[1] == notes
    kept = list((elsewhere / questions.CACHE).iterdir())
    assert len(kept) == 1 and kept[0].suffix == ".json"
    other = json.loads(json.dumps(asked))
    other["runs"]["clue"]["overrides"] = {"lr": 1.0}
    assert questions.checksum(other) != questions.checksum(asked)
    monkeypatch.setattr(questions, "CODE", ("method.py",))
    assert questions.checksum(asked) != kept[0].stem


def test_a_file_of_the_user_is_part_of_the_question(elsewhere, monkeypatch):
    """Wrong: she edits her method, and the answers are those of before."""
    from userbench.experiment import questions

    monkeypatch.syspath_prepend(str(elsewhere))
    package = elsewhere / "mine_to_ask"
    package.mkdir()
    (package / "__init__.py").write_text("")
    own = package / "own.py"
    asked = {"runs": {"own": {"method": "mine_to_ask.own", "overrides": {}, "inputs": []}}}
    sums = []
    for text in ("a = 1\n", "a = 2\n"):
        own.write_text(text)
        sums.append(questions.checksum(asked))
    assert sums[0] != sums[1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_here_is_accepted(path, tmp_path):
    """And what the report reads of it survives being written."""
    files = [path.with_name("gpu.yaml"), path] if path.stem == "cut" else [path]
    config = read_experiment(read_configs(files), str(path), files)
    resolved = resolve(config)
    written = experiment_file(resolved)
    assert type(written).model_validate_json(written.model_dump_json()) == written
    for run in resolved.runs.values():
        assert run.starts_from is None or run.starts_from in resolved.runs
        assert run.encoder is None or run.encoder in resolved.runs


def test_a_key_twice_is_found_in_its_file(tmp_path):
    """YAML would take the last one without a word."""
    path = tmp_path / "a.yaml"
    path.write_text(SMOKE.read_text() + "\nseeds: [7]\n")
    with pytest.raises(ValueError, match=rf"{path}:\d+: 'seeds' is there twice, first in line \d+"):
        read_configs([path])
    path.write_text("runs: {a: {method: mlm, method: clue}}\n")
    with pytest.raises(ValueError, match="a.yaml:1: 'method' is there twice, first in line 1"):
        read_configs([path])
    path.write_text("runs: [\n")
    with pytest.raises(ValueError, match="a.yaml: not valid YAML"):
        read_configs([path])
    path.write_text("just a text\n")
    with pytest.raises(ValueError, match="a.yaml: is no mapping"):
        read_configs([path])


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), (True, True)])
def test_seeds_together_may_come_from_the_command_line(text, value):
    """Snakemake makes a text of `--config seeds_together=true`, and a truth value of True alone."""
    assert read_experiment(smoke(seeds_together=text), "a.yaml").seeds_together is value


def test_of_several_files_the_last_counts(tmp_path):
    """As Snakemake merges them: inside of mappings, too."""
    small = tmp_path / "small.yaml"
    small.write_text("seeds: [9]\npretrain: {epochs: 1}\nfinetune: {epochs: 1, from_epochs: [1]}\n")
    config = read_experiment(read_configs([SMOKE, small]), "both")
    assert config.seeds == [9]
    assert (config.pretrain.epochs, config.pretrain.batch_size) == (1, 64)


def test_ledger_and_config_agree():
    """Wrong: a switch that the ledger explains cannot be set, or has another default."""
    entries = read_ledger()
    keys = {entry.key for entry in switches(entries) if entry.where == "protocol"}
    assert keys == set(Protocol.model_fields) - {"label_share"}


def test_a_damaged_ledger_is_refused(tmp_path):
    path, entries = tmp_path / "ledger.yaml", yaml.safe_load(LEDGER.read_text())
    ties = next(entry for entry in entries if entry["id"] == "ties")
    for change, message in (
        ({"default": "stable"}, "ties: the default must be the first choice"),
        ({"choices": ties["choices"] + [{"value": "odd", "means": "x"}]}, "ties: 'odd' should be"),
        ({"choices": ties["choices"] + ties["choices"][:1]}, "ties: 'pessimistic' is named twice"),
        ({"choices": ties["choices"][::-1], "default": "stable"}, "ties: the default is another"),
        ({"id": "order"}, "'order' is named twice"),
        ({"wher": "x"}, "wher"),
    ):
        path.write_text(yaml.safe_dump([{**e, **change} if e is ties else e for e in entries]))
        with pytest.raises(ValueError, match="ledger.yaml") as refused:
            read_ledger(path)
        assert message in str(refused.value)


def test_a_run_has_the_protocol_with_its_own_switches():
    """Wrong: a run's switch is lost, or takes the experiment's others back to their defaults."""
    content = at("runs.clue.protocol", {"order": "fixed"})
    content["protocol"] = {"finetune_dropout": 0.2, "order": "reshuffled", "ties": "stable"}
    runs = resolve(read_experiment(content, "a.yaml")).runs
    clue, ccl = runs["clue"].protocol, runs["ccl"].protocol
    assert (clue.order, clue.finetune_dropout, clue.ties) == ("fixed", 0.2, "stable")
    assert (ccl.order, ccl.finetune_dropout) == ("reshuffled", 0.2)


def test_studies_add_runs():
    """Trials, alternatives and label shares: each with its start, its encoder and its fields."""
    content = smoke(
        tuning={"mlm": [{"lr": 0.1}], "with_coserec": [{"views": {"insert_ratio": 0.2}}]},
        sensitivity="adaptssr",
    )
    resolved = resolve(read_experiment(content, "a.yaml"))
    runs = resolved.runs
    # A trial of the warm start itself starts cold, or its rate would not be what is tuned.
    assert runs["mlm--1"].starts_from is None and runs["mlm--1"].overrides == {"lr": 0.1}
    trial = runs["with_coserec--1"]
    assert trial.overrides == {"views": {"kind": "informative", "insert_ratio": 0.2}}
    assert (trial.starts_from, trial.encoder) == ("mlm", "with_coserec--1")
    order = runs["adaptssr--order-1"]
    assert (order.protocol.order, order.encoder) == ("fixed", "adaptssr--order-1")
    ties = runs["adaptssr--ties-1"]
    assert (ties.protocol.ties, ties.encoder) == ("stable", "adaptssr")
    few = runs["adaptssr--labels-30"]
    assert (few.protocol.label_share, few.encoder, few.starts_from) == (0.3, "adaptssr", None)
    assert runs["none--labels-30"].encoder is None
    assert "adaptssr--labels-100" not in runs
    assert resolved.kept_epochs == [1, 2]


def test_views_of_another_kind_replace_those_of_the_row():
    content = at("runs.cl4srec.overrides", {"lr": 0.1, "views": {"crop_ratio": 0.5}})
    content["tuning"] = {"cl4srec": [{"views": {"kind": "same"}}, {"views": {"mask_ratio": 0.1}}]}
    runs = resolve(read_experiment(content, "a.yaml")).runs
    assert runs["cl4srec--1"].overrides == {"lr": 0.1, "views": {"kind": "same"}}
    both = {"crop_ratio": 0.5, "mask_ratio": 0.1}
    assert runs["cl4srec--2"].overrides == {"lr": 0.1, "views": both}


def test_what_is_absent_has_no_columns_in_figures():
    """Table 2 keeps an empty column, a figure has none, and there is no Figure 5 of that corpus."""
    config = read_experiment(smoke(), "a.yaml")
    whole, part = (
        experiment_file(resolve(config, absent)) for absent in (frozenset(), frozenset(["ttl"]))
    )
    assert len(part.layouts.table2.tasks) == len(whole.layouts.table2.tasks) == 6
    assert [task.task for task in part.layouts.figures["ablation"].tasks] == ["gender", "cvr"]
    assert whole.layouts.figures.keys() - part.layouts.figures.keys() == {"similarity"}
    assert part.layouts.table2.caption_data == "app: 300 simulated users"


def test_runs_behind_a_row_are_all_that_it_is_due_to():
    """What it starts from, and the generator that rewrites its views."""
    resolved = resolve(read_experiment(smoke(), "a.yaml"))
    assert runs_behind(resolved, ["none"]) == []
    assert runs_behind(resolved, ["peterrec"]) == ["mlm"]
    assert runs_behind(resolved, ["ptum"]) == ["ptum"]
    assert runs_behind(resolved, ["ccl", "clue"]) == ["ccl", "clue", "mlm"]
    training = experiment_file(resolved).layouts.training
    assert [row.run for row in training.controls] == ["mlm_long", "ptum_warm"]
    assert training.runs["ccl"].given == ["mlm"] and training.runs["coserec"].given == []


def test_check_says_what_a_config_runs(capsys, elsewhere):
    main([str(SMOKE), "--no-methods"])
    assert "experiment smoke, 17 runs x 2 seeds x 6 tasks" in capsys.readouterr().out
    (elsewhere / "a.yaml").write_text(yaml.safe_dump(smoke(sead=1)))
    with pytest.raises(SystemExit) as ended:
        main(["a.yaml", "--no-methods"])
    assert ended.value.code.startswith("error: a.yaml: top level: unknown key 'sead'")


def test_the_schema_is_for_editors():
    """Every key has its place, and the meaning of each that is not plain."""
    schema = Experiment.model_json_schema()
    assert set(schema["properties"]) == set(Experiment.model_fields)
    assert "one pre-training" in schema["properties"]["seeds"]["description"].lower()


@pytest.mark.slow
def test_checking_needs_neither_torch_nor_numpy():
    """Two seconds, on a laptop as on a login node."""
    code = (
        "import sys; from userbench.experiment.check import main; "
        f"main([{str(SMOKE)!r}, '--no-methods']); "
        "print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_no_two_errors_are_the_same():
    """Each of the list above is about something of its own."""
    messages = sorted(expected for _, expected in INVALID.values())
    assert all(first != second for first, second in pairwise(messages))
    assert Path(LEDGER).is_file()
