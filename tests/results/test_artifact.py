import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from unittest.mock import Mock

import pytest

from userbench.results import artifact


def test_writes_are_atomic(tmp_path):
    """A failure half-way leaves the old file as it was and no rubbish beside it."""
    path = tmp_path / "deep" / "scores.json"
    artifact.write_json(path, {"value": 0.1})
    with pytest.raises(RuntimeError), artifact.atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"value": 0.1}
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


def test_folders_are_replaced_whole(tmp_path):
    path = tmp_path / "store"
    for name in ("first", "second"):
        with artifact.atomic(path) as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["second"]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_nan_is_refused(tmp_path):
    """A score that is not a number must never reach a file."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifact.write_json(tmp_path / "scores.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_record_traces_an_artefact(tmp_path):
    path = tmp_path / "epoch1.safetensors"
    artifact.record(path, {"seed": 3, "store": tmp_path}, epoch=1)
    record = artifact.provenance_of(path)
    assert record["config"] == {"seed": 3, "store": str(tmp_path)}
    assert record["epoch"] == 1
    assert record["libraries"]["torch"]
    assert record["hardware"]["cores"] >= 1
    assert record["wall_seconds"] > 0
    assert record["git"] == {} or record["git"].keys() & {"commit", "unknown"}


def test_a_question_about_the_machine_ends_no_command(monkeypatch):
    """If wrong: hours of training are lost where /proc is hidden, or another job has the GPU."""

    def refuse():
        raise OSError(13, "Permission denied", "/proc/meminfo")

    monkeypatch.setattr(artifact.psutil, "virtual_memory", refuse)
    busy = "CUDA error: all CUDA-capable devices are busy\nCompile with `TORCH_USE_CUDA_DSA`"
    monkeypatch.setattr(artifact, "gpu_name", Mock(side_effect=RuntimeError(busy)))
    monkeypatch.setattr(artifact.Path, "read_text", lambda *_: refuse())
    assert artifact.seconds_since_start() >= 0
    found = artifact.hardware()
    assert "Permission denied" in found["memory_gib"] and "denied" in found["processor"]
    assert found["gpu"].startswith("unknown (CUDA error: all CUDA-capable devices are busy Compile")


def test_a_duration_counts_from_the_start_of_the_process():
    """Wrong: by up to a second, as from the time of the boot in whole seconds (psutil)."""
    code = "import time; from userbench.results.artifact import seconds_since_start as seconds;"
    code += "print(time.monotonic() - seconds())"
    before = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert before - 0.02 <= float(run.stdout) <= time.monotonic()  # ticks of 0.01 s


def test_record_names_the_job_of_a_cluster_where_there_is_one(tmp_path, monkeypatch):
    """Beside the hardware: else the page would count each job as an environment of its own."""
    for name in artifact.OF_A_JOB:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "curve.json"
    artifact.record(path, {})
    alone = artifact.provenance_of(path)
    assert "job" not in alone
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    artifact.record(path, {})
    record = artifact.provenance_of(path)
    assert record["job"] == {"slurm_job_id": "7", "cuda_visible_devices": "1"}
    assert record["hardware"] == alone["hardware"]


def test_checksum_is_that_of_the_bytes(tmp_path):
    """Known answer: SHA-256 of three bytes, and of a file longer than one reading."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert artifact.sha256(path).startswith("ba7816bf8f01cfea")
    path.write_bytes(b"a" * 1_000_000 + b"b" * 1_000_000)
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifact.sha256(path) == whole


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_writer_left_is_deleted(tmp_path, dead):
    """By the next writer of the same artefact alone; what somebody still writes stays."""
    path = tmp_path / "store"
    here, elsewhere = artifact.HOST, "another"
    gone = tmp_path / f".store.{here}.{dead}.partial"
    gone.mkdir()
    (gone / "items.npy").write_text("half")
    old = tmp_path / f".store.{elsewhere}.1.partial"
    old.write_text("half")
    os.utime(old, (0, 0))
    stays = [
        tmp_path / f".store.{here}.{os.getppid()}.partial",  # it lives
        tmp_path / f".store.{elsewhere}.2.partial",  # who knows?
        tmp_path / f".other.{here}.{dead}.partial",  # of another artefact
    ]
    for file in stays:
        file.write_text("half")
    # As after a restart in a container, whose processes have the same numbers.
    (tmp_path / f".store.{here}.{os.getpid()}.partial").mkdir()
    with artifact.atomic(path) as partial:
        partial.mkdir()
    assert sorted(tmp_path.iterdir()) == sorted([path, *stays])


def write_tensors(partial):
    """A checkpoint, in a file that safetensors itself renames."""
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, partial)


def write_private_file(partial):
    """A folder with a file that only its owner may read, as `tempfile` makes them."""
    partial.mkdir()
    with tempfile.NamedTemporaryFile(dir=partial, delete=False):
        pass


@pytest.mark.parametrize("write", [write_tensors, write_private_file])
@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_every_artefact_has_the_mode_that_the_umask_gives(write, umask, tmp_path):
    """Wrong: a group cannot read the checkpoints that one of it has trained."""
    before = os.umask(umask)
    try:
        with artifact.atomic(tmp_path / "x") as partial:
            write(partial)
        for path in (tmp_path / "x", *(tmp_path / "x").rglob("*")):
            usual = (0o777 if path.is_dir() else 0o666) & ~umask
            assert stat.S_IMODE(path.stat().st_mode) == usual, path
    finally:
        os.umask(before)


KILLED = """
import os, signal, sys
from pathlib import Path
from userbench.results.artifact import atomic
with atomic(Path(sys.argv[1])) as partial:
    partial.with_name(".tmpA7bC").write_text("half")  # the name that safetensors writes under
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_library_of_a_killed_writer_left_is_deleted(tmp_path):
    """Wrong: after a kill, half a checkpoint stays for ever under a name that nobody knows."""
    path = tmp_path / "epoch1.safetensors"
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert run.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob(".tmp*"))
    artifact.write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_file_that_is_still_written_is_kept(tmp_path):
    """Wrong: after a day, another host deletes what a long job is writing into its folder."""
    partial = tmp_path / ".x.another.1.partial"
    partial.mkdir()
    (partial / "x").write_text("half")
    os.utime(partial, (0, 0))
    artifact.write_text(tmp_path / "x", "other")
    assert partial.exists()
    os.utime(partial / "x", (0, 0))
    os.utime(partial, (0, 0))
    artifact.write_text(tmp_path / "x", "other")
    assert not partial.exists()
