"""Hanging workers, damaged files, changed data, user errors: each is reported in one line."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from experiments import experiment_flag
from permissions import folder_of_everybody, of_another_user
from repository import ROOT
from score_files import CONTENT, LAYOUT, make_table2
from stores import write_splits, write_store

from userbench.errors import LIMIT, command

# ------------------------------------------------------------------------------- one line


def test_user_errors_end_in_one_line_and_ours_keep_their_traceback():
    """Wrong: a user reads a traceback, or an error of ours is hidden behind one line."""

    @command
    def fail(problem: Exception) -> None:
        raise problem

    cuda = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79 GiB"
    for problem, message in {
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
        assert ended.value.code == message
    with pytest.raises(KeyError):
        fail(KeyError("ours"))


def test_every_command_ends_that_way():
    """Wrong: one command is left out, and a full disk ends it with a traceback."""
    for path in (ROOT / "src/userbench").rglob("*.py"):
        text = path.read_text()
        if path.name != "__main__.py":  # which calls the others
            assert text.count("\ndef main(") == text.count("\n@command\ndef main("), path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "{ratio: 1}"], "argument --set: '{ratio: 1}' is not JSON: Expecting property"),
        (["--set", "3"], "argument --set: '3' is no JSON object"),
        (["--encoder", "[8]"], "argument --encoder: '[8]' is no JSON object"),
        (["--encoder", '{"dims": 8}'], "--encoder has no hyper-parameter 'dims'. It has: n_items"),
        (["--encoder", '{"n_items": 8}'], "--encoder: leave out n_items"),
        (["--encoder", '{"dim": 7, "heads": 2}'], "dim 7"),
        (["--method", "mml"], "no method 'mml'"),
        (["--set", '{"mask_ratoi": 0.3}'], "has no hyper-parameter 'mask_ratoi'"),
        (["--set", '{"lr": "fast"}'], "lr 'fast' is no float"),
        (["--seed", "-1"], "--seed: '-1' is no whole number of 0 or more"),
        (["--epochs", "-3"], "--epochs: '-3' is no whole number of 1 or more"),
        (["--batch-size", "1"], "--batch-size: '1' is no whole number of 2 or more"),
    ],
)
def test_flags_of_pretraining_are_checked(flags, message, tiny, tmp_path, capsys):
    """Wrong: a traceback, or hours with a setting that nobody asked for."""
    from userbench import pretrain

    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits"), "--device", "cpu"]
    good = ["--method", "mlm", "--epochs", "1", "--batch-size", "64", "--keep", "1", "--seed", "0"]
    good += ["--encoder", '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}']
    with pytest.raises(SystemExit) as ended:
        pretrain.main([*data, *good, *flags, "--out", str(tmp_path / "out")])
    assert ended.value.code != 0
    assert message in f"{ended.value.code} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "--task {}: without name, kind, lr, batch_size, epochs, out"),
        ('{"naem": "age"}', "--task has no hyper-parameter 'naem'"),
        ({"kind": "clicks"}, "kind 'clicks' is none of"),
        ({"lr": "fast"}, "lr 'fast' is no float"),
        ({"epochs": 0}, "epochs 0"),
    ],
)
def test_tasks_of_finetuning_are_checked(task, message, tiny, tmp_path, capsys):
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
    assert message in f"{ended.value.code} {capsys.readouterr().err}"
    assert list(tmp_path.iterdir()) == []


def test_similarity_wants_a_draw(capsys):
    """Wrong: a parquet file without rows, which a figure trips over days later."""
    from userbench import similarity

    with pytest.raises(SystemExit):
        similarity.main(["--draws", "0"])
    assert "argument --draws: '0' is no whole number of 1 or more" in capsys.readouterr().err


# ------------------------------------------------------------------------------- hanging


def test_a_command_that_hangs_ends_and_says_where(monkeypatch, tmp_path, capfd):
    """Wrong: one hanging worker keeps a core, or a GPU, until somebody looks; or leaves half."""
    from userbench.results.artifact import atomic

    @command
    def hang() -> None:
        with atomic(tmp_path / "x") as partial:
            partial.write_text("half")
            threading.Event().wait(60)

    monkeypatch.setenv(LIMIT, "0.005")
    with pytest.raises(SystemExit, match=r"^error: not done after 0.005 minutes, at \S+:\d+ "):
        hang()
    assert "in hang" in capfd.readouterr().err  # the stack
    assert list(tmp_path.iterdir()) == []
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)  # nothing ends what comes after it


HANGS_FOR_GOOD = """
import signal, time
from userbench import errors

errors.SECONDS_TO_CLEAN_UP = 0.2
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # as in code that holds Python up

@errors.command
def main():
    time.sleep(60)

main()
"""


def test_a_command_that_cannot_report_still_ends(monkeypatch):
    """Wrong: what hangs in C code (a driver, a file system) hangs for ever."""
    monkeypatch.setenv(LIMIT, "0.001")
    call = [sys.executable, "-c", HANGS_FOR_GOOD]
    ended = subprocess.run(call, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr and "line 10 in main" in ended.stderr


def test_a_limit_must_be_a_number(monkeypatch):
    """Wrong: a misspelt limit is no limit."""
    monkeypatch.setenv(LIMIT, "1h")
    with pytest.raises(SystemExit, match="USERBENCH_LIMIT_MINUTES=1h: not a number of minutes"):
        command(lambda: None)()


# ------------------------------------------------------------------------------- damaged files


MLM = "pretrain/mlm/ttl/seed0"


def damage(path: Path, how: str) -> None:
    """Cut the last byte off a file, or turn one bit of it over."""
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[-1:]
    else:
        content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory) -> Path:
    """One of everything that is read again, and copies of store and splits."""
    from userbench import finetune, pretrain
    from userbench.data import neighbours
    from userbench.results import scores

    folder = tmp_path_factory.mktemp("written")
    for name in ("store", "splits"):
        shutil.copytree(tiny / name, folder / name)
    data = ["--store", str(folder / "store"), "--splits", str(folder / "splits")]
    neighbours.main([*data, "--top", "3", "--out", str(folder / "neighbours")])
    size = ["--encoder", '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}', "--seed", "0"]
    flags = ["--method", "mlm", "--epochs", "1", "--batch-size", "64", "--keep", "1"]
    pretrain.main([*data, *size, *flags, "--device", "cpu", "--out", str(folder / MLM)])
    task = {"name": "age", "kind": "classification", "lr": 1e-2, "batch_size": 64, "epochs": 1}
    options = json.dumps({**task, "out": str(folder / "age.json")})
    finetune.main([*data, *size, "--device", "cpu", "--run", "none", "--task", options])
    flags = ["--scores", str(folder / "age.json"), "--out", str(folder / "scores.csv")]
    scores.main(flags)
    return folder


def read_checkpoint(folder: Path) -> None:
    from userbench.training.checkpoint import load

    load(folder / f"{MLM}/epoch1.safetensors")


def read_array(folder: Path) -> None:
    from userbench.data.store import BehaviourStore

    BehaviourStore.open(folder / "store", 20, "cpu")


def read_split(folder: Path) -> None:
    from userbench.data.splits import load_split

    load_split(folder / "splits", "age")


def read_neighbours(folder: Path) -> None:
    from userbench.data.neighbours import load_neighbours

    load_neighbours(folder / "neighbours")


def read_score_file(folder: Path) -> None:
    from userbench.results.scores import read_score_file

    read_score_file(folder / "age.json")


def read_predictions(folder: Path) -> None:
    from userbench.results.predictions import read_predictions

    read_predictions(folder / "age.predictions.parquet")


def read_scores(folder: Path) -> None:
    from userbench.results.scores import read_scores

    read_scores(folder / "scores.csv")


def read_curve(folder: Path) -> None:
    from userbench.report.figures.learning_curves import read_curve

    read_curve("mlm", folder / f"{MLM}/curve.json")


READERS = {
    f"{MLM}/epoch1.safetensors": read_checkpoint,
    "store/behaviours/items.npy": read_array,
    "splits/tasks/age/parts.npy": read_split,
    "neighbours/items.npy": read_neighbours,
    "age.json": read_score_file,
    "age.predictions.parquet": read_predictions,
    "scores.csv": read_scores,
    f"{MLM}/curve.json": read_curve,
}


@pytest.mark.parametrize("how", ["truncated", "flipped"])
@pytest.mark.parametrize("name", READERS)
def test_damage_is_found_and_the_command_named(name, how, written):
    """Wrong: one bit that a disk or a copy has lost becomes a result in a table."""
    path, read = written / name, READERS[name]
    read(written)
    whole = path.read_bytes()
    damage(path, how)
    made = path.parent if path.suffix == ".npy" else path
    try:
        with pytest.raises(ValueError, match=rf"^{path}: .*Delete {made} and run the ") as found:
            read(written)
    finally:
        path.write_bytes(whole)
    command = shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]])
    assert str(found.value).endswith(f"or run: {command}")


@pytest.fixture(scope="module")
def shared(written) -> Iterator[Path]:
    """The same where other users may read it."""
    with folder_of_everybody() as folder:
        shutil.copytree(written, folder, dirs_exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        yield folder


CHECKPOINT = f"{MLM}/epoch1.safetensors"


@pytest.mark.parametrize(
    ("name", "record"), [*((name, True) for name in READERS), (CHECKPOINT, False)]
)
def test_what_may_not_be_read_is_not_called_damaged(name, record, shared):
    """Wrong: a user deletes the checkpoint of a colleague, whose permissions alone were wrong."""
    from userbench.results.artifact import provenance_path

    path, read, beside = shared / name, READERS[name], provenance_path(shared / name)
    if not record and beside.exists():
        beside.rename(shared / "kept")
    read(shared)  # imports what another user may not
    path.chmod(0)
    try:
        message = of_another_user(lambda: command(read)(shared))
    finally:
        path.chmod(0o755)
        if not record and (shared / "kept").exists():
            (shared / "kept").rename(beside)
    whose = f"it belongs to {path.owner()}"
    assert message == (
        f"error: {path}: cannot be read (permission denied; {whose}). Get permission to read it, "
        "and run the same command again"
    )


def test_a_folder_that_may_not_be_searched_is_named(shared):
    """Wrong: a file behind it "does not exist", or belongs to nobody who could be asked."""
    folder = shared / "store"
    read_array(shared)
    folder.chmod(0)
    try:
        message = of_another_user(lambda: command(read_array)(shared))
    finally:
        folder.chmod(0o755)
    whose = f"{folder} belongs to {folder.owner()}"
    assert f"cannot be read (permission denied; {whose}). Get permission to read it" in message


def test_a_disk_that_fails_while_a_file_is_read_is_named(monkeypatch, written):
    """Wrong: "input/output error" of no file, or a file that is called damaged."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(
        "userbench.results.artifact.hashlib.sha256", lambda: SimpleNamespace(update=fail)
    )
    for name in ("age.json", "store/behaviours/items.npy"):
        path = written / name
        with pytest.raises(SystemExit) as ended:
            command(READERS[name])(written)
        assert ended.value.code == (
            f"error: {path}: cannot be read (input/output error; it belongs to {path.owner()}). "
            "Check the disk (dmesg) and run the same command again"
        )


@pytest.mark.parametrize("name", ["age.json.provenance.json", "store/behaviours/checksums.json"])
def test_a_damaged_record_is_one_line(name, written):
    """Wrong: a traceback of the JSON parser, which names no file."""
    path = written / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    try:
        with pytest.raises(ValueError, match=rf"^{path}: damaged .*run the workflow again"):
            (read_score_file if name.startswith("age") else read_array)(written)
    finally:
        path.write_bytes(whole)


# ------------------------------------------------------------------------------- changed data


def test_a_raw_file_changed_after_it_was_read_is_noticed(tiny, tmp_path):
    """Wrong: results of a data set that is not on the disk any more, with its name on them."""
    from userbench.data.arrays import read_manifest
    from userbench.data.draw_splits import write_task_split
    from userbench.data.splits import check_task_splits, check_user_split

    def check() -> None:
        check_task_splits(tmp_path / "splits", tmp_path / "store", ["age"])

    shutil.copytree(tiny / "raw", tmp_path / "raw")
    write_store(tmp_path / "raw", "ttl", {"age": "age"}, tmp_path / "store")
    write_splits(tmp_path / "store", ["age"], "user", 0, tmp_path / "splits")
    check()
    examples = tmp_path / "store/tasks/age"
    name = read_manifest(examples)["raw"]["age"]["name"]
    (path,) = (tmp_path / "raw").rglob(name)
    stat = path.stat()

    path.touch()  # another time, the same content: a copy, or a checkout
    check()
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"3\n" if content[-2:] != b"3\n" else content[:-2] + b"2\n")
    os.utime(path, ns=(0, stat.st_mtime_ns - 10**9))  # older than the store, as unzip may leave it
    message = rf"{name}: changed since {examples} was read from it\. Delete {examples} and"
    with pytest.raises(ValueError, match=message):
        check()
    with pytest.raises(ValueError, match=message):
        write_task_split(examples, "user", 0, tmp_path / "again")
    check_user_split(tmp_path / "splits", tmp_path / "store")  # nothing of it was in that file
    path.unlink()  # the raw files may be away: the store is enough
    check()


def test_a_zip_changed_after_it_was_read_is_noticed(tiny, tmp_path):
    """Wrong: the member's checksum is taken for that of the archive, or a lost member crashes."""
    from userbench.data.raw_bytes import check_raw

    def packed(*left_out: str) -> None:
        with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
            for path in (tiny / "raw").rglob("*.csv"):
                if path.name not in left_out:
                    archive.write(path, path.name)

    packed()
    write_store(tmp_path / "raw.zip", "ttl", {"age": "age"}, tmp_path / "store")
    packed()
    os.utime(tmp_path / "raw.zip", (1, 1))
    check_raw(tmp_path / "store/tasks/age")
    packed("original_desen_age.csv")
    with pytest.raises(ValueError, match="raw.zip: changed since"):
        check_raw(tmp_path / "store/tasks/age")


# ------------------------------------------------------------------------------- missing seeds


def test_a_table_names_the_seeds_that_are_missing(tmp_path):
    """Wrong: a mean of fewer seeds is among the others without a note."""
    from userbench.report.statistics import command as statistics

    whole = make_table2(tmp_path)
    assert "Missing" not in whole["md"]
    lost = [c for c in CONTENT if (c["run"], c["task"], c["seed"]) != ("adaptssr", "age", 1)]
    missing = "seed 1 of AdaptSSR (finetune/adaptssr/age/seed1.json)"
    for text in make_table2(tmp_path, contents=lost).values():
        if "Measured" in text:
            assert f"Missing: {missing}" in re.sub(r"\\", "", text)
    scores = ["--scores", str(tmp_path / "scores.csv"), *experiment_flag(tmp_path, table2=LAYOUT)]
    out = [f"--{name}={tmp_path / name}" for name in ("csv", "md", "aggregate-csv", "aggregate-md")]
    with pytest.raises(SystemExit, match=r"Give finetune/adaptssr/age/seed1.json to the command"):
        statistics.main([*scores, "--predictions", "none.parquet", *out])
    assert not (tmp_path / "csv").exists()


# ------------------------------------------------------------------------------- the clock


def test_durations_are_never_negative(monkeypatch):
    """Wrong: a container whose uptime began after its host's gives negative wall seconds."""
    from userbench.results import artifact

    read_text = Path.read_text

    def started_in_the_future(path: Path, *args: str, **kwargs: str) -> str:
        return "1.00 1.00" if path == Path("/proc/uptime") else read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", started_in_the_future)
    assert artifact.seconds_since_start() >= 0


def test_the_page_survives_a_clock_that_went_backwards():
    """Wrong: a bar of negative length, or a page that cannot be made, after the clock was set."""
    from userbench.report.page.jobs import cost_per_row, job, without_pauses

    def record(finished: str, seconds: float) -> dict:
        return {"finished": f"2026-11-24T{finished}+0000", "wall_seconds": seconds}

    jobs = [
        job("pre-training", "a", "ttl", (0,), [record("12:00:00", 600)], Path("absent")),
        # It began at 11:55 and was done at 11:00 by a clock that was set back by an hour.
        job(
            "fine-tuning",
            "a",
            "ttl",
            (0,),
            [record("11:59:00", 60), record("11:00:00", 120)],
            Path("no"),
        ),
        job("fine-tuning", "a", "ttl", (1,), [record("10:00:00", 0)], Path("absent")),
    ]
    shown = without_pauses(sorted(jobs, key=lambda one: one.start))
    assert all(one["minutes"] >= 0 and one["finish"] >= one["begin"] >= 0 for one in shown)
    assert (cost_per_row(jobs, {"a": "a"}, {"a": "A"}).filter(like="minutes") >= 0).all(axis=None)
