"""What `device: auto` stands for on the machine that runs the workflow.

Torch decides (`training/device.py`), in a process of its own that is asked once; not at all where
nothing on the machine looks like a GPU, because importing torch takes seconds.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SECONDS_TO_ANSWER = 120
# The files through which drivers of NVIDIA, of AMD, and of Windows (below its Linux) are reached.
DRIVERS = ("nvidia*", "kfd", "dxg")


class Chosen(NamedTuple):
    """`cuda` or `cpu`, and a sentence that says why."""

    device: str
    sentence: str


def chosen_device() -> Chosen:
    """The device of trainings here.

    Raises:
        ValueError: torch could not be asked.
    """
    if not has_signs_of_a_gpu():
        return Chosen("cpu", "the CPU, because there is no driver of a GPU here")
    words = [sys.executable, "-m", "userbench.training.device"]
    remedy = "Correct the installation, or set device: cpu"
    try:
        run = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER)
    except subprocess.TimeoutExpired:
        problem = f"torch did not say within {SECONDS_TO_ANSWER} s whether it can use a GPU"
        raise ValueError(f"device auto: {problem}. {remedy}") from None
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:] or [f"status {run.returncode}"]
        raise ValueError(f"device auto: torch cannot be asked for a GPU: {last[0]}. {remedy}")
    return Chosen(**json.loads(run.stdout.splitlines()[-1]))


def has_signs_of_a_gpu() -> bool:
    """Whether a driver of a GPU, or what comes with one, is on this machine."""
    drivers = (path for pattern in DRIVERS for path in Path("/dev").glob(pattern))
    return shutil.which("nvidia-smi") is not None or any(drivers)
