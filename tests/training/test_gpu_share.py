"""A share of a GPU's memory, and whether MPS runs; no GPU is needed."""

import os
import subprocess
import sys

import pytest
import torch

from userbench.training import gpu_share

GIB = 1 << 30


@pytest.mark.parametrize(
    ("gib", "jobs", "share"),
    [(80, 2, 39 / 80), (80, 8, 9 / 80), (8, 8, 0.5 / 8), (16, 16, 0.5 / 16)],
)
def test_shares_and_the_contexts_beside_them_fit_on_a_gpu(gib, jobs, share):
    """Wrong: a job of many takes all there is, and the next one cannot even start."""
    assert gpu_share.share_of(gib * GIB, jobs) == pytest.approx(share)
    assert jobs * gpu_share.share_of(gib * GIB, jobs) < 1


@pytest.mark.parametrize(("jobs", "limited"), [("1", []), ("4", [(19 / 80, "cuda:0")])])
def test_only_who_shares_a_gpu_is_limited(monkeypatch, jobs, limited):
    """Wrong: a job's greed ends its neighbours; or one that is alone finds half of its GPU."""
    seen = []
    gpu = type("Properties", (), {"total_memory": 80 * GIB})
    monkeypatch.setenv("USERBENCH_JOBS_PER_GPU", jobs)
    monkeypatch.setattr(gpu_share, "lease_gpu", lambda *_: None)
    monkeypatch.setattr(gpu_share, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda share, device: seen.append((share, str(device))),
    )
    device = gpu_share.take_device("cuda:0")
    assert seen == limited
    facts = gpu_share.gpu_facts(device)["gpu_shared"]
    assert facts["jobs_per_gpu"] == int(jobs) and facts["mps"] in ("yes", "no", "unknown")
    assert gpu_share.take_device("cpu") == torch.device("cpu")
    assert seen == limited and gpu_share.gpu_facts(torch.device("cpu")) == {}


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("written", "found"),
    [(None, "no"), (lambda: os.getpid(), "yes"), (ended, "unknown"), (lambda: "?", "unknown")],
)
def test_a_daemon_of_mps_is_found_by_its_file(tmp_path, monkeypatch, written, found):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if written:
        (tmp_path / "nvidia-cuda-mps-control.pid").write_text(f"{written()}\n")
    assert gpu_share.mps() == found


def test_what_cannot_be_read_ends_no_training(tmp_path, monkeypatch):
    """A folder in its place, as nobody expects."""
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    (tmp_path / "nvidia-cuda-mps-control.pid").mkdir()
    assert gpu_share.mps() == "unknown"
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "absent"))
    assert gpu_share.mps() == "no"


def test_records_of_a_training_say_how_it_shared_its_gpu():
    from userbench.training.state import TrainingState

    about = {"gpu_shared": {"jobs_per_gpu": 2, "mps": "yes"}}
    state = TrainingState(0, None, {}, [0], about=about)
    assert state.facts()["gpu_shared"] == about["gpu_shared"]
    assert "gpu_shared" not in TrainingState(0, None, {}, [0]).facts()
