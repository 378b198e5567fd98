"""Hanging workers, damaged files, changed data, mistakes: each is found, and told in one line."""

import json
from pathlib import Path

import pytest
import torch

from userbench.mistakes import command

# ------------------------------------------------------------------------------- one line


def test_mistakes_end_in_one_line_and_ours_keep_their_traceback():
    """Wrong: a user reads a traceback, or an error of ours is hidden behind one line."""

    @command
    def fail(problem: Exception) -> None:
        raise problem

    cuda = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79 GiB"
    for problem, said in {
        ValueError("x.json: wrong.\n Make it again"): "error: x.json: wrong. Make it again",
        FileNotFoundError(2, "No such file or directory", "x.json"): (
            "error: x.json: no such file or directory. Check the name, or run first what writes it"
        ),
        torch.OutOfMemoryError(cuda): (
            "error: CUDA out of memory. Tried to allocate 20.00 MiB. Lower batch_size or "
            "jobs_per_gpu, or set precision: bf16, in the config"
        ),
        MemoryError(): (
            "error: out of memory. Lower batch_size, or run fewer jobs at once (--cores)"
        ),
    }.items():
        with pytest.raises(SystemExit) as ended:
            fail(problem)
        assert ended.value.code == said
    with pytest.raises(KeyError):
        fail(KeyError("ours"))


COMMANDS = ["pretrain", "finetune", "references", "similarity", "contract"]
COMMANDS += ["data.store", "data.splits", "data.simulate", "data.neighbours", "plan.command"]
COMMANDS += [
    f"report.{name}"
    for name in (
        *("agreement", "comparison", "figures", "ledger", "page", "tables", "tuning", "verdict"),
        "verify",
    )
]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"contract"}))
def test_every_command_ends_that_way(name):
    """Wrong: one command is left out, and a full disk ends it with a traceback."""
    source = Path(__file__).parent.parent / "src/userbench" / f"{name.replace('.', '/')}.py"
    assert "@command\ndef main(" in source.read_text()


def test_no_command_is_forgotten():
    """Wrong: a new command that nobody guards."""
    folder = Path(__file__).parent.parent / "src/userbench"
    mains = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if "def main(" in path.read_text() and path.name != "__main__.py"
    }
    assert mains == set(COMMANDS)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--set", "{ratio: 1}"], "argument --set: '{ratio: 1}' is not JSON: Expecting property"),
        (["--set", "3"], "argument --set: '3' is no JSON object"),
        (["--encoder", "[8]"], "argument --encoder: '[8]' is no JSON object"),
        (["--encoder", '{"dims": 8}'], "--encoder has no hyper-parameter 'dims'. It has: n_items"),
        (["--encoder", '{"dim": 7, "heads": 2}'], "dim 7"),
        (["--method", "mml"], "no method 'mml'"),
        (["--set", '{"mask_ratoi": 0.3}'], "has no hyper-parameter 'mask_ratoi'"),
        (["--set", '{"lr": "fast"}'], "lr 'fast' is no float"),
        (["--seed", "-1"], "--seed: '-1' is no whole number of 0 or more"),
        (["--epochs", "-3"], "--epochs: '-3' is no whole number of 1 or more"),
        (["--batch-size", "1"], "--batch-size: '1' is no whole number of 2 or more"),
    ],
)
def test_flags_of_pretraining_are_checked(flags, said, tiny, tmp_path, capsys):
    """Wrong: a traceback, or hours with a setting that nobody asked for."""
    from userbench import pretrain

    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits"), "--device", "cpu"]
    good = ["--method", "mlm", "--epochs", "1", "--batch-size", "64", "--keep", "1", "--seed", "0"]
    good += ["--encoder", '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}']
    with pytest.raises(SystemExit) as ended:
        pretrain.main([*data, *good, *flags, "--out", str(tmp_path / "out")])
    assert ended.value.code != 0
    assert said in f"{ended.value.code} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "--task {}: without name, kind, lr, batch_size, epochs, out"),
        ('{"naem": "age"}', "--task has no hyper-parameter 'naem'"),
        ({"kind": "clicks"}, "kind 'clicks' is none of"),
        ({"lr": "fast"}, "lr 'fast' is no float"),
        ({"epochs": 0}, "epochs 0"),
    ],
)
def test_tasks_of_finetuning_are_checked(task, said, tiny, tmp_path, capsys):
    """Wrong: a traceback, or a task that is not the one that was asked for."""
    from userbench import finetune

    good = {"name": "age", "kind": "classification", "lr": 1e-2, "batch_size": 64, "epochs": 1}
    if isinstance(task, dict):
        task = json.dumps({**good, "out": str(tmp_path / "age.json"), **task})
    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits"), "--device", "cpu"]
    size = ["--encoder", '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}', "--seed", "0"]
    with pytest.raises(SystemExit) as ended:
        finetune.main([*data, *size, "--run", "none", "--task", task])
    assert ended.value.code != 0
    assert said in f"{ended.value.code} {capsys.readouterr().err}"
    assert list(tmp_path.iterdir()) == []
