"""One workflow at a time in a folder of results: the lock, between real processes."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from userbench.workflow.alone import claim

# Claims a folder, says so, and works there until its input ends.
WORK = """
import sys
from pathlib import Path
from userbench.workflow.alone import claim
lock = claim(Path(sys.argv[1]))
print("claimed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that works in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path / "results")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.communicate()


def test_the_message_names_who_works_there_however_often_it_is_asked(other, tmp_path):
    """Wrong: the user cannot find the other workflow, or asking erases its name."""
    owner = f"process {other.pid} on {socket.gethostname()}"
    for _ in range(2):
        with pytest.raises(ValueError) as refusal:
            claim(tmp_path / "results")
        assert str(refusal.value) == (
            f"Another workflow works in {tmp_path / 'results'} ({owner}). Wait until it has ended"
        )


def test_a_killed_workflow_leaves_no_lock(other, tmp_path):
    """Wrong: after a kill, the folder stays locked until somebody deletes a file."""
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock = claim(tmp_path / "results")
    assert f"process {os.getpid()} on " in Path(lock.lock_file).read_text()
    lock.release()


def test_the_lock_follows_no_link(tmp_path):
    """Wrong: a link named .lock makes a workflow overwrite some other file."""
    (tmp_path / "precious").write_text("data")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        claim(tmp_path)
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_workflow_goes_on_and_says_so(number, tmp_path, monkeypatch, caplog):
    """Wrong: on a shared file system without locks, no workflow runs at all."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert claim(tmp_path) is None
    assert caplog.messages == [
        f"{tmp_path}: its file system has no locks ({os.strerror(number)}). A second workflow "
        "there is not refused: start one at a time"
    ]


HUNG_UP = """
import signal, sys
from userbench.workflow.alone import end_on_hang_up
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "nohup" else signal.SIG_DFL)
end_on_hang_up()
signal.signal(signal.SIGTERM, lambda *_: print("as SIGTERM"))  # Snakemake sets its own later
signal.raise_signal(signal.SIGHUP)
print("goes on")
"""


@pytest.mark.parametrize(
    ("how", "said"), [("ssh", "as SIGTERM\ngoes on\n"), ("nohup", "goes on\n")]
)
def test_a_hang_up_ends_a_workflow_as_sigterm_does(how, said):
    """Wrong: a lost connection leaves Snakemake's locks, or ends a workflow under nohup."""
    call = [sys.executable, "-c", HUNG_UP, how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert (run.stdout, run.returncode) == (said, 0), run.stderr
