"""Checkpoints: named tensors in safetensors, written atomically, checked when read; no code."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from userbench.errors import check_readable
from userbench.results.artifact import again, atomic, check_recorded, provenance_of, record, sha256

OWN = "method."
"""Prefix of what a method trains beside its encoder, e.g. the output bias of a softmax."""


def trained_tensors(method: nn.Module) -> dict[str, Tensor]:
    """Tensors that the stage just run has trained: the encoder's by their names, others as `OWN`.

    What it never touched (the pooling query in masked item prediction) is left out: whoever starts
    from this checkpoint draws it anew, as AdaptSSR's code does.
    """
    trained = [name for name, value in method.named_parameters() if value.grad is not None]
    return {
        name.removeprefix("encoder.") if name.startswith("encoder.") else OWN + name: value
        for name, value in method.state_dict().items()
        if name in trained
    }


def save(
    path: Path, tensors: dict[str, Tensor], config: dict[str, Any], epoch: int, **facts: Any
) -> None:
    """Write tensors with their resolved config, and the provenance record beside them."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic(path) as partial:
        # Why one key: safetensors writes several in no fixed order, and equal runs would differ.
        content = json.dumps({"epoch": epoch, "config": config}, default=os.fspath)
        save_file(contiguous, partial, metadata={"userbench": content})
        # Why inside: there is never a checkpoint without its record.
        record(path, config, sha256=sha256(partial), epoch=epoch, **facts)


def epoch_of(path: Path) -> int:
    """The pre-training epoch after which a checkpoint was written; ValueError as in `load`."""
    try:
        with safe_open(path, framework="numpy") as file:
            return int(json.loads(file.metadata()["userbench"])["epoch"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as problem:
        check_readable(path, problem)
        raise ValueError(f"{path}: names no epoch ({problem!r}). {again(path, {})}") from None


def load(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint.

    Raises ValueError where the file is damaged or is not the one that its provenance record names,
    OSError where it cannot be read.
    """
    check_recorded(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        check_readable(path, problem)
        remedy = again(path, provenance_of(path))
        raise ValueError(f"{path}: cannot be read as a checkpoint ({problem}). {remedy}") from None


def start_from(encoder: nn.Module, path: Path) -> list[str]:
    """Load a checkpoint into an encoder; return the names it does not hold, which stay as drawn.

    What the checkpoint's method trained beside its encoder is left. Raises ValueError where the
    checkpoint has other tensors or sizes than the encoder.
    """
    return fill(encoder, load(path), path)


def fill(encoder: nn.Module, tensors: dict[str, Tensor], path: Path) -> list[str]:
    """`start_from`, of tensors that were loaded from `path` already."""
    tensors = {name: value for name, value in tensors.items() if not name.startswith(OWN)}
    own = encoder.state_dict()
    for name, value in tensors.items():
        expected = tuple(own[name].shape) if name in own else None
        if expected != tuple(value.shape):
            raise ValueError(
                f"{path}: tensor {name} is {tuple(value.shape)}, the encoder has {expected}. "
                "Pre-train on the same store with the same encoder settings."
            )
    encoder.load_state_dict({**own, **tensors})
    return sorted(own.keys() - tensors.keys())
