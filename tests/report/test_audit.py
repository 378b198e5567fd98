"""`userbench audit`: no finding on results as they were made, and every damage by its name."""

import importlib
import json
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from experiments import figure_layout, figure_row, write_experiment
from stores import write_splits

from userbench.__main__ import COMMANDS

LAYOUT = {
    "caption_data": "200 simulated users",
    "simulated": True,
    "tasks": [{"task": "age", "label": "T1 Age", "metric": "accuracy", "paper": "T1"}],
    "rows": [
        {"run": "none", "label": "None", "paper": "None"},
        {"run": "mlm", "label": "MLM"},
    ],
    "baselines": [
        {"run": "bag-of-items", "label": "bag-of-items"},
        {"run": "bag-of-items-long", "label": "bag-of-items (whole history)"},
    ],
    "compared_with": "none",
}
CURVES = figure_layout(
    [figure_row("none", "none"), figure_row("mlm", "mlm", encoder="mlm")],
    {"age": ("T1 Age", "accuracy")},
)
TRAINING = {
    "runs": {"mlm": {"start": None, "given": [], "epochs": 1}},
    "rows": [
        {"run": "none", "label": "None", "encoder": None, "candidates": []},
        {"run": "mlm", "label": "MLM", "encoder": "mlm", "candidates": [1]},
    ],
    "controls": [],
}


def call(name: str, *words: str) -> None:
    """Run a command of the workflow in this process, as if it were called by its rule."""
    modules = {name: module for group in COMMANDS.values() for name, module in group.items()}
    words = [*map(str, words)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "orig_argv", ["python", "-m", "userbench", name, *words])
        importlib.import_module(f"userbench.{modules[name]}").main(words)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """An experiment of two rows and two seeds, made by the commands of the rules: results/toy."""
    from userbench.results.artifact import record

    folder = tmp_path_factory.mktemp("made")
    toy = Path("results/toy")
    store, splits = toy / "data/ttl", toy / "splits/interaction/ttl"
    with chdir(folder):
        shutil.copytree(tiny / "store", store)
        write_splits(store, ["age"], "interaction", 0, splits)
        data = ["--store", store, "--splits", splits]
        loop = ["--encoder", '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}']
        loop += ["--seed", 0, 1, "--device", "cpu"]
        epochs = ["--epochs", 1, "--batch-size", 64, "--keep", 1]
        out = toy / "pretrain/mlm/ttl/seed{seed}"
        call("pretrain", *data, *loop, *epochs, "--method", "mlm", "--out", out)
        for run, more in (("none", []), ("mlm", ["--init", out / "epoch1.safetensors"])):
            task = {"name": "age", "kind": "classification", "lr": 1e-3, "batch_size": 64}
            task |= {"epochs": 1, "out": str(toy / f"finetune/{run}/age/seed{{seed}}.json")}
            call("finetune", *data, *loop, "--run", run, *more, "--task", json.dumps(task))
        asked = []
        for run, history in (("bag-of-items", "latest"), ("bag-of-items-long", "whole")):
            task = {"name": "age", "kind": "classification", "metric": "accuracy"}
            task |= {"history": history, "out": str(toy / f"finetune/{run}/age/seed0.json")}
            asked += ["--task", json.dumps(task)]
        call("baselines", *data, "--max-length", 20, "--seed", 0, *asked)
        experiment_json = write_experiment(
            toy,
            table1={"tasks": {"age": {"corpus": "ttl", "paper": "T1"}}, "simulated": ["ttl"]},
            table2=LAYOUT,
            training=TRAINING,
            verify={f"T{n}": 1.0 for n in range(1, 7)},
            figures={"learning_curves": CURVES},
        )
        record(experiment_json, {})
        scores, asked = toy / "scores.csv", ["--experiment", experiment_json]
        curves = ["--curves", *sorted(toy.glob("pretrain/*/*/*/curve.json"))]
        files = sorted(toy.glob("finetune/*/*/seed?.json"))
        call("scores", "--scores", *files, "--out", scores)
        predictions = ["--predictions", *sorted(toy.glob("finetune/*/*/*.parquet"))]
        to = ["--csv", toy / "statistics.csv", "--md", toy / "statistics.md"]
        to += ["--aggregate-csv", toy / "aggregate.csv", "--aggregate-md", toy / "aggregate.md"]
        call("statistics", "--scores", scores, *predictions, *asked, *to)
        call("agreement", "--scores", scores, *asked, "--out", toy / "agreement.csv")
        kinds = [
            w
            for kind in ("csv", "md", "tex", "html")
            for w in (f"--{kind}", toy / f"table2.{kind}")
        ]
        statistics_flags = [
            "--statistics",
            toy / "statistics.csv",
            "--agreement",
            toy / "agreement.csv",
        ]
        call("table2", "--scores", scores, *statistics_flags, *asked, *curves, *kinds)
        call("headline", *statistics_flags, *asked, "--md", toy / "headline.md")
        one = ["--store", f"ttl={store}/behaviours/manifest.json"]
        one += ["--examples", f"age={store}/tasks/age/manifest.json"]
        call("table1", *one, *asked, "--out", toy / "table1.csv")
        read = [
            w
            for name in ("statistics", "table1", "agreement")
            for w in (f"--{name}", toy / f"{name}.csv")
        ]
        to = ["--csv", toy / "verdict.csv", "--md", toy / "verdict.md"]
        call("verdict", *read, *asked, *to)
        drawn = ["--csv", toy / "learning_curves.csv", "--out", toy / "learning_curves"]
        call("figure", "learning_curves", "--scores", scores, *asked, *curves, *drawn)
        for path in toy.iterdir():
            if path.is_file():
                shutil.copy(path, "results")  # as the rule publish does
    return folder / "results"


@pytest.fixture
def results(made, tmp_path) -> Path:
    """Results that may be damaged, in another place than where they were made."""
    return shutil.copytree(made, tmp_path / "moved")


def audited(results: Path) -> tuple[set[str], str]:
    """Files of which something cannot be traced, and the output."""
    from userbench.report.audit.command import audit, lines_of

    audits = audit(results)
    broken = {f.file for one in audits for f in one.findings if not f.is_note}
    return {Path(file).relative_to(results).as_posix() for file in broken}, "\n".join(
        lines_of(audits)
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_results_as_made_can_be_traced(results):
    """If wrong: the audit cries wolf; or looks at nothing, and everything passes."""
    broken, output = audited(results)
    assert not broken, output
    assert "6 test scores" in output and "everything can be traced" in output
    # scores, table2 in four forms, statistics, aggregate and verdict in two, agreement, table1,
    # curves, headline
    assert "15 tables and pages computed again" in output


@pytest.mark.parametrize("forged", [False, True])
def test_a_changed_digit_of_a_score_is_found(results, forged):
    """By its checksum; and by the predictions, where the checksum was changed with it."""
    from userbench.results.artifact import sha256

    path = results / "toy/finetune/none/age/seed1.json"
    old = sha256(path)
    content = json.loads(path.read_text())
    (test,) = (score for score in content["scores"] if score["split"] == "test")
    test["value"] = round(test["value"] + 0.001, 6)
    path.write_text(json.dumps(content, indent=1))
    if forged:
        edit(path.with_name(f"{path.name}.provenance.json"), old, sha256(path))
    broken, output = audited(results)
    assert "toy/finetune/none/age/seed1.json" in broken
    assert f"scores.csv: was made from another {path}" in output
    assert (f"{path}: was changed" in output) != forged
    if forged:
        assert f"test accuracy is {test['value']}, of its predictions" in output
        assert "scores.csv: row " in output  # and the number itself, in the table


def test_a_flipped_bit_is_found(results):
    for place in ("pretrain/mlm/ttl/seed0/epoch1.safetensors", "data/ttl/behaviours/items.npy"):
        path = results / "toy" / place
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    broken, output = audited(results)
    assert {
        f"toy/{p}" for p in ("data/ttl/behaviours/items.npy", "finetune/mlm/age/seed0.json")
    } < broken
    assert "epoch1.safetensors: was changed" in output
    assert "items.npy: is missing, or not as its checksums say" in output
    assert "toy/finetune/mlm/age/seed1.json" not in broken  # that was made from the other seed


def test_what_may_not_be_read_is_called_unreadable(results, monkeypatch):
    """Wrong: a file of another user counts as changed, or ends the audit."""
    from userbench.results import artifact

    closed = [results / name for name in ("toy/scores.csv", "toy/data/ttl/behaviours/items.npy")]
    read = artifact.sha256

    def refuse(path: Path) -> str:
        if path in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(artifact, "sha256", refuse)
    broken, output = audited(results)
    for path in closed:
        assert f"{path}: cannot be read (permission denied; it belongs to " in output
    for wrong in ("was changed", "not as", "made from another", "of another"):
        assert wrong not in output


@pytest.mark.parametrize("forged", [False, True])
def test_an_edited_cell_is_found(results, forged):
    """Also where whoever edited it has put the new checksum into the record."""
    from userbench.results.artifact import sha256

    for name in ("table2.csv", "aggregate.csv", "learning_curves.csv"):
        path = results / "toy" / name
        *lines, last = path.read_text(encoding="utf-8").splitlines()
        fields = last.split(",")
        place = next(i for i, field in enumerate(fields) if "." in field and field[0].isdigit())
        fields[place] = f"{float(fields[place]) + 0.01:.4f}"
        old = sha256(path)
        path.write_text("\n".join([*lines, ",".join(fields)]) + "\n", encoding="utf-8")
        if forged:
            edit(path.with_name(name + ".provenance.json"), old, sha256(path))
    broken, output = audited(results)
    for name in ("table2.csv", "aggregate.csv", "learning_curves.csv"):
        assert {f"toy/{name}", name} <= broken  # the copy at the root is that of no experiment
        assert f"{name}: row " in output and ", computed again " in output
        assert (f"{results}/toy/{name}: was changed" in output) != forged


def test_pages_and_images_belong_to_their_table(results):
    edit(results / "toy/table2.md", "T1 Age", "T2 Age")
    edit(results / "toy/headline.md", "No row", "Every row")
    edit(results / "toy/learning_curves.svg", "<svg", "<svg ")
    (results / "toy/statistics.md").unlink()
    broken, output = audited(results)
    pages = {"toy/table2.md", "toy/learning_curves.svg", "toy/statistics.md", "toy/headline.md"}
    assert pages < broken
    assert "table2.md: line " in output


def test_another_layout_is_found(results):
    """A label, or what is simulated, that was edited after the tables were made."""
    edit(results / "toy/experiment.json", "T1 Age", "T2 Age")
    broken, output = audited(results)
    assert {"toy/experiment.json", "toy/table2.csv", "toy/verdict.csv"} < broken
    assert f"table2.csv: was made from another {results}/toy/experiment.json" in output


def test_a_missing_record_and_a_missing_file_are_found(results):
    (results / "toy/pretrain/mlm/ttl/seed0/curve.json.provenance.json").unlink()
    (results / "toy/finetune/none/age/seed1.json").unlink()
    (results / "toy/finetune/mlm/age/notes.txt").write_text("0.9")
    broken, output = audited(results)
    assert "curve.json: no provenance record" in output
    assert "notes.txt: no provenance record" in output
    assert "seed1.json: is not there, though its provenance record is" in output
    assert "scores.csv: was made from" in output and "which is not there" in output
    assert "finetune/none/age: no seed 1, which other cells have" in output


def test_swapped_files_are_found(results):
    """Whole, with good checksums and in the wrong place."""
    folder = results / "toy/finetune"
    for ending in ("json", "json.provenance.json", "predictions.parquet"):
        one, other = folder / f"none/age/seed0.{ending}", folder / f"mlm/age/seed0.{ending}"
        old = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(old)
    _, output = audited(results)
    assert "none/age/seed0.json: holds run mlm, task age, seed 0" in output


def test_a_record_that_is_none_is_a_finding(results):
    """If wrong: one damaged file ends the audit of all others."""
    contents = ["", "[]", "{}", '{"artefact": 3}', "[" * 9999, "\udcff", "null", '{"arrays": []}']
    records = sorted((results / "toy").rglob("*.csv.provenance.json"))[: len(contents) - 1]
    damaged = [*records, results / "toy/data/ttl/behaviours/manifest.json"]
    for path, content in zip(damaged, contents, strict=False):
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
    broken, output = audited(results)
    for path in damaged:
        name = path.relative_to(results).as_posix()
        assert {name, name.removesuffix(".provenance.json")} & broken, output


def test_a_record_cannot_make_the_audit_write_elsewhere(results, tmp_path):
    """If wrong: results from a stranger write files of their choice."""
    from userbench.report.audit.tables import run_again

    mark, path = tmp_path / "mark", results / "toy/agreement.csv"
    command = json.loads(path.with_name(path.name + ".provenance.json").read_text())["command"]
    for number, words in enumerate(
        ([], ["--ou", mark], [f"--out={mark}"], ["--log", mark], ["--out", mark], ["--md", mark])
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        if not words:
            assert [p.name for p in run_again(command, path, folder)] == ["agreement.csv"]
            continue
        try:
            run_again([*command, *map(str, words)], path, folder)
        except ValueError as refused:
            assert "not run again" in str(refused) or "cannot be made again" in str(refused)
        assert not mark.exists()
    elsewhere = [str(tmp_path / "mark") if w.endswith("agreement.csv") else w for w in command]
    with pytest.raises(ValueError, match="did not write it"):
        run_again(elsewhere, path, tmp_path)
    with pytest.raises(ValueError, match="not of a table"):
        run_again(["python", "-m", "userbench", "simulate", "--out", str(mark)], path, tmp_path)


def test_doubts_are_notes(results):
    """Another commit, a changed tree and another machine do not make a number untraceable."""
    path = results / "toy/finetune/none/age/seed1.json.provenance.json"
    record = json.loads(path.read_text())
    record["git"] = {"commit": "0" * 40, "changed": True}
    record["libraries"]["torch"] = "1.0"
    record["hardware"]["gpu"] = "another"
    path.write_text(json.dumps(record))
    broken, output = audited(results)
    assert not broken
    for note in ("seeds differ in commit", "in libraries", "in hardware", "000000000000 (1)"):
        assert note in output
    assert (
        "1 artefacts were made from a changed source tree" in output
        or "artefacts were made" in output
    )


def test_code_that_git_could_not_tell_is_not_outside_a_checkout(tmp_path):
    """If wrong: of results from a node without git, the audit says what is not so."""
    from userbench.report.audit.experiment import Audit

    audit = Audit(tmp_path)
    states = {"a": {"unknown": "git cannot be run here"}, "b": {}, "c": {"commit": "0" * 40}}
    audit.records = {tmp_path / name: {"git": git} for name, git in states.items()}
    audit.compare_origins()
    assert [finding.what for finding in audit.findings] == [
        "1 artefacts name no commit: made outside a checkout",
        "the code of 1 artefacts is not known: git cannot be run here",
        "made by several code versions: 000000000000 (1)",
    ]


def test_tables_of_a_command_that_is_gone_are_noted(results):
    """If wrong: tables of an older version pass as computed again."""
    for name in ("agreement.csv", "table2.csv"):
        path = results / f"toy/{name}.provenance.json"
        record = json.loads(path.read_text())
        record["command"][3] = "former"
        path.write_text(json.dumps(record))
        shutil.copy(path, results)  # as the rule publish does
    broken, output = audited(results)
    assert not broken
    assert "2 tables were made by userbench former, which this version does not" in output
    assert "10 tables and pages computed again" in output


def test_the_command_ends_with_a_status(results, tmp_path, capsys):
    from userbench.report.audit import command as audit

    files = ["--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv")]
    audit.main([str(results), *files])
    assert "everything can be traced" in capsys.readouterr().out
    (results / "toy/scores.csv.provenance.json").unlink()
    with pytest.raises(SystemExit) as end:
        audit.main([str(results), *files])
    assert end.value.code == 1
    report = json.loads((tmp_path / "a.json").read_text())
    assert str(results / "toy/scores.csv") in {finding["file"] for finding in report["findings"]}
    assert "scores.csv,no provenance record,False" in (tmp_path / "a.csv").read_text()
    for folder in (tmp_path / "absent", results / "toy/data"):
        with pytest.raises(SystemExit, match=r"^error: .*(no such folder|holds no experiment)"):
            audit.main([str(folder)])


@pytest.mark.slow
def test_commands_end_quietly_where_nobody_reads_on(results):
    """`userbench verify | head`: no traceback of a broken pipe."""
    pipe = f"{sys.executable} -m userbench audit {results} | true"
    run = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True)
    assert "BrokenPipe" not in run.stderr and "error" not in run.stderr
