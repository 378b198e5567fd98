"""Leases of GPUs that are not there, between real processes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from repository import ROOT

# Leases a GPU, prints which one, and holds it until its input ends.
HOLD = """
import logging, sys
from pathlib import Path
from userbench.training import gpu_lease
logging.basicConfig(level=logging.INFO)
gpu_lease.folder = lambda: Path(sys.argv[1])
gpu_lease.lease_gpu("auto", int(sys.argv[2]))
print(gpu_lease.os.environ.get(gpu_lease.VISIBLE), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that wants one of so many GPUs; all end with the test."""
    started = []

    def start(count=2, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "CUDA"))}
        log = tmp_path / f"log{len(started)}"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", HOLD, str(tmp_path), str(count)],
                env={**inherited, "PYTHONPATH": str(ROOT / "src"), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        process.log = log
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def device(process):
    """What a process was given; waits for it."""
    return process.stdout.readline().strip()


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_gpu_goes_to_one_process(start):
    """Started at once, or two would look at the same moment and take the same one."""
    processes = [start(count=4) for _ in range(4)]
    assert sorted(map(device, processes)) == ["0", "1", "2", "3"]


def test_a_killed_process_holds_nothing_and_who_waits_says_so(start):
    first, second = start(), start()
    taken = {device(first): first, device(second): second}
    waiting = start()
    wait_for(lambda: "all 2 slots are in use" in waiting.log.read_text())
    assert waiting.log.read_text().count("\n") == 1  # one line, however long it waits
    taken["1"].send_signal(signal.SIGKILL)
    assert device(waiting) == "1"


def test_a_gpu_gets_a_second_process_after_all_gpus_have_one(start):
    shared = {"USERBENCH_JOBS_PER_GPU": "2"}
    given = [device(start(**shared)) for _ in range(4)]
    assert Counter(given[:2]) == {"0": 1, "1": 1}
    assert Counter(given) == {"0": 2, "1": 2}


def test_leases_go_by_the_names_of_what_is_visible(start):
    """The second of `3,5` is 5, also for a process that sees `5` alone."""
    given = [device(start(CUDA_VISIBLE_DEVICES="3,5")) for _ in range(2)]
    assert given == ["3", "5"]
    waiting = start(count=1, CUDA_VISIBLE_DEVICES="5")
    wait_for(lambda: "GPU 5: all 1 slots" in waiting.log.read_text())


@pytest.mark.parametrize(
    ("name", "count", "environment"),
    [
        ("auto", 0, {}),  # no GPU: no setting is needed
        ("cpu", 2, {}),
        ("cuda:2", 4, {}),  # taken as it says
        ("cuda", 2, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}),  # Slurm has given one
    ],
)
def test_no_lease_is_taken(name, count, environment, tmp_path, monkeypatch):
    from userbench.training import gpu_lease

    monkeypatch.delenv(gpu_lease.VISIBLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(gpu_lease, "folder", lambda: tmp_path)
    gpu_lease.lease_gpu(name, count)
    assert not list(tmp_path.iterdir()) and not gpu_lease.held
    assert os.environ.get(gpu_lease.VISIBLE) == environment.get(gpu_lease.VISIBLE)


def test_a_process_takes_one_gpu_however_often_it_asks(tmp_path, monkeypatch):
    from userbench.training import gpu_lease

    monkeypatch.delenv(gpu_lease.VISIBLE, raising=False)
    monkeypatch.setattr(gpu_lease, "folder", lambda: tmp_path)
    monkeypatch.setattr(gpu_lease, "held", [])
    for _ in range(2):
        gpu_lease.lease_gpu("cuda", 2)
        assert os.environ[gpu_lease.VISIBLE] == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-0-0"]
    gpu_lease.held.pop().release()


def test_a_folder_of_somebody_else_is_refused(monkeypatch):
    """Whoever made it could take the locks, or lay links in it."""
    from userbench.training import gpu_lease

    monkeypatch.setattr(gpu_lease.os, "getuid", lambda: 12345678)
    path = gpu_lease.Path("/tmp/userbench-12345678")
    try:
        with pytest.raises(ValueError, match="is not a folder of yours"):
            gpu_lease.folder()
    finally:
        path.rmdir()


def test_a_symbolic_link_is_no_slot(tmp_path):
    """Wrong: a link in the folder makes a training overwrite a file of the user's."""
    from userbench.training import gpu_lease

    precious = tmp_path / "precious"
    precious.write_text("results")
    (tmp_path / "gpu-0-0").symlink_to(precious)
    with pytest.raises(OSError):
        gpu_lease.try_lock(tmp_path / "gpu-0-0", str(os.getpid()))
    assert precious.read_text() == "results"


def test_a_slot_names_its_process_also_while_others_want_it(tmp_path):
    """Wrong: who asks for a slot erases who has it."""
    from userbench.training import gpu_lease

    first = gpu_lease.try_lock(tmp_path / "gpu-0-0", str(os.getpid()))
    assert gpu_lease.try_lock(tmp_path / "gpu-0-0", str(os.getpid())) is None
    assert (tmp_path / "gpu-0-0").read_text() == f"{os.getpid()}\n"
    first.release()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_training_goes_on_and_says_so(number, tmp_path, monkeypatch, caplog):
    """Wrong: where the folder of leases cannot be locked, every training stops."""
    from userbench.training import gpu_lease

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.delenv(gpu_lease.VISIBLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(gpu_lease, "folder", lambda: tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    gpu_lease.lease_gpu("auto", 2)
    assert not gpu_lease.held and gpu_lease.VISIBLE not in os.environ
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}/gpu-0-0: its file system has no locks (")
    assert "Trainings are not kept from sharing a GPU: run one at a time" in line
