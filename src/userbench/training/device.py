"""The device that a training runs on, and why: the one place where torch is asked for a GPU.

A machine may have a GPU in name alone: a driver that is too old, a torch that is built without
CUDA or without code for this GPU, or an empty CUDA_VISIBLE_DEVICES. `python -m
userbench.training.device` answers in a process of its own, for a workflow, which imports no torch.
"""

import json
import os
import warnings
from functools import cache

import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"


def pick_device(name: str) -> torch.device:
    """`auto`: a GPU where torch can use one, else the CPU.

    Raises:
        ValueError: a GPU is named that torch cannot use.
    """
    if name == "auto":
        return torch.device("cpu" if why_no_gpu() else "cuda")
    if name.startswith("cuda") and (problem := why_no_gpu(name)):
        raise ValueError(f"device {name}: {problem}. Use device cpu")
    return torch.device(name)


def chosen_by_auto() -> str:
    """What `auto` stands for here, and why, in a sentence."""
    if problem := why_no_gpu():
        return f"the CPU, because {problem}"
    return f"the GPU, which torch can use ({torch.cuda.get_device_name()})"


@cache
def why_no_gpu(name: str = "cuda") -> str:
    """Why torch can use no GPU, or not this one; empty where it can."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            return (
                f"torch sees no GPU here ({why_not_seen([str(each.message) for each in caught])})"
            )
    try:
        torch.zeros(1, device=name).add_(1).item()
    except torch.OutOfMemoryError:  # by other processes: the training says so, and when it needs it
        return ""
    except RuntimeError as problem:
        return f"torch cannot use the GPU ({first_line(str(problem))})"
    return ""


def why_not_seen(warned: list[str]) -> str:
    """The reason why torch sees no GPU; `warned` is what it said when it was asked."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    if VISIBLE in os.environ:
        return f"{VISIBLE} is {os.environ[VISIBLE]!r}"
    return first_line(warned[0]) if warned else "no driver, or no GPU"


def first_line(text: str) -> str:
    """The first line of a message, without its full stop."""
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(". ")


if __name__ == "__main__":
    print(json.dumps({"device": pick_device("auto").type, "sentence": chosen_by_auto()}))
