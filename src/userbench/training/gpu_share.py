"""The part of a GPU that one training has: a GPU of its own, or a share of the memory of one.

Processes that share a GPU run beside each other under NVIDIA's MPS, and by turns without it
(docs/sharing-a-gpu.md). A process that asks for more memory than its share fails alone: it finds
none, though the others have left some.
"""

import logging
import os
from pathlib import Path
from typing import Any

import psutil
import torch

from userbench.training.device import chosen_by_auto, pick_device
from userbench.training.gpu_lease import jobs_per_gpu, lease_gpu

log = logging.getLogger("userbench")

PIPES = "CUDA_MPS_PIPE_DIRECTORY"
DEFAULT_PIPES = "/tmp/nvidia-mps"
# The control daemon of MPS writes it when it starts, and deletes it when it ends.
PROCESS_ID = "nvidia-cuda-mps-control.pid"
# Why: the CUDA context of a process and its libraries take memory that torch does not count.
CONTEXT_BYTES = 1 << 30


def take_device(name: str) -> torch.device:
    """The device of the command line; of a GPU that is shared, no more than this process's share.

    Waits for a free place of a GPU. ValueError for a device that is not there.
    """
    lease_gpu(name, torch.cuda.device_count())
    device = pick_device(name)
    if name == "auto":
        log.info("device auto: %s", chosen_by_auto())
    jobs = jobs_per_gpu()
    if device.type == "cuda" and jobs > 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(share_of(total, jobs), device)
    return device


def share_of(total: int, jobs: int) -> float:
    """The part of a GPU's memory that torch may take in each of so many processes."""
    share = total / jobs
    return max(share - CONTEXT_BYTES, share / 2) / total


def gpu_facts(device: torch.device) -> dict[str, Any]:
    """How this process shares its GPU, for the records of what it makes; empty on a CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu_shared": {"jobs_per_gpu": jobs_per_gpu(), "mps": mps()}}


def mps() -> str:
    """Whether CUDA runs under MPS here: "yes", "no", or "unknown".

    A process is a client of the control daemon that it finds when CUDA starts. "unknown": its file
    is there and cannot be read, or names no process, as where it runs in another container.
    """
    path = Path(os.environ.get(PIPES) or DEFAULT_PIPES, PROCESS_ID)
    try:
        return "yes" if psutil.pid_exists(int(path.read_text())) else "unknown"
    except (FileNotFoundError, NotADirectoryError):
        return "no"
    except (OSError, ValueError):
        return "unknown"
