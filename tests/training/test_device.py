"""What `device: auto` stands for: what torch can use, not what there is in name."""

import warnings

import pytest
import torch

from userbench.training import device
from userbench.workflow import device as of_workflow


@pytest.fixture(autouse=True)
def asked_anew():
    """No answer of another test counts, and none of these for another."""
    device.why_no_gpu.cache_clear()
    yield
    device.why_no_gpu.cache_clear()


def test_a_gpu_that_is_absent_is_refused():
    assert device.pick_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert device.pick_device("auto").type == "cpu"
        with pytest.raises(ValueError, match="device cuda:1: torch sees no GPU .*Use device cpu"):
            device.pick_device("cuda:1")


def test_a_gpu_that_torch_has_no_code_for_is_not_chosen(monkeypatch):
    """If wrong: `auto` is cuda on an old GPU, and each training stops at its first step."""
    error = "CUDA error: no kernel image is available for execution on the device\nCompile with .."

    def refuses(*_, **__):
        raise RuntimeError(error)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device.torch, "zeros", refuses)
    assert device.pick_device("auto").type == "cpu"
    assert device.chosen_by_auto() == (
        "the CPU, because torch cannot use the GPU "
        "(CUDA error: no kernel image is available for execution on the device)"
    )


def test_the_reason_is_that_of_torch(monkeypatch):
    """If wrong: the user of a driver that is too old is not told about the driver."""

    def warns():
        warnings.warn(
            "CUDA initialization: The NVIDIA driver is too old (found 11040).", stacklevel=1
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warns)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (
        "(CUDA initialization: The NVIDIA driver is too old (found 11040))" in device.why_no_gpu()
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    device.why_no_gpu.cache_clear()
    assert "(CUDA_VISIBLE_DEVICES is '')" in device.why_no_gpu()


def test_nvidia_smi_is_no_gpu(tmp_path, monkeypatch):
    """If wrong: where a container has the program and no GPU, each training stops."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where this machine has a GPU
    found = of_workflow.chosen_device()
    assert found.device == "cpu" and "because torch sees no GPU here" in found.sentence


def test_torch_that_cannot_answer_is_no_machine_without_a_gpu(tmp_path, monkeypatch):
    """If wrong: with a damaged torch, or a driver that hangs, weeks of training go to the CPU."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ImportError: libcudart.so.13' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(of_workflow, "has_signs_of_a_gpu", lambda: True)
    monkeypatch.setattr(of_workflow.sys, "executable", str(python))
    with pytest.raises(ValueError, match="torch cannot be asked for a GPU: ImportError: libcud"):
        of_workflow.chosen_device()
    python.write_text("#!/bin/sh\nexec sleep 9\n")
    monkeypatch.setattr(of_workflow, "SECONDS_TO_ANSWER", 0.05)
    with pytest.raises(ValueError, match=r"torch did not say within 0.05 s .* set device: cpu"):
        of_workflow.chosen_device()
