"""Where a run stands, saved between two steps: what was killed goes on with the same bits.

After every step a run yields a tree of what it needs to go on from there: numbers, texts, tensors,
its model, its optimizer, the files it has finished. A saved state is a folder: `state.safetensors`,
tensors and a JSON text, and links to the finished files, since Snakemake deletes the outputs of a
job that failed. A damaged state, or one of other settings, code or inputs, is never used.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import userbench
from userbench.data.arrays import identity as of_arrays
from userbench.model.losses import all_finite
from userbench.results.artifact import (
    CHECKSUMS,
    atomic,
    installed,
    provenance_of,
    provenance_path,
    sha256,
)

log = logging.getLogger("userbench")

Standing = dict[str, Any]
"""A tree of numbers, texts, tensors, models and optimizers."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
SECONDS_BETWEEN_SAVES = 60.0
TENSOR = "tensor"
# Flags of the loops whose values are files or folders that a run reads, beside its data.
READ = ("init", "set")


@runtime_checkable
class Optimizer(Protocol):
    """What steps the weights of a model."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it remembers, as it stands."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember that instead."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of both loops that say where and how often a run is saved."""
    parser.add_argument("--state", type=Path, help="folder for what a killed run goes on from")
    parser.add_argument(
        "--save-every", type=float, default=SECONDS_BETWEEN_SAVES, metavar="SECONDS"
    )


class State:
    """The saved state of one run: a folder that is there until the run has ended well."""

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self.folder, self.path = folder, folder / "state.safetensors"
        # As it comes back from JSON.
        self.identity = json.loads(json.dumps(identity, default=os.fspath))
        self.checksums: dict[Path, str] = {}

    def save(self, standing: Standing) -> None:
        """Save where a run stands, whole or not at all; never a model that is not finite."""
        if "model" in standing and not all_finite(standing["model"].parameters()):
            return  # Why no error: the loop will find it, and knows what to name.
        tensors: dict[str, Tensor] = {}
        told = {
            "identity": self.identity,
            "files": self.keep(standing["files"]),
            "standing": pack(standing, "", tensors),
        }
        text = json.dumps(told, default=os.fspath)
        with atomic(self.path) as partial:
            save_file(tensors, partial, {"told": text, "sha256": checksum(text, tensors)})

    def keep(self, files: list[Path]) -> dict[str, dict[str, str]]:
        """Let finished files outlive their deletion: where each lies, its name here, its checksum.

        With each goes its provenance record.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {}
        for number, path in enumerate(files):
            for file in (path, provenance_path(path)):
                kept = self.folder / f"{number}-{file.name}"
                if not kept.exists():
                    link(file, kept)
                if kept not in self.checksums:
                    self.checksums[kept] = sha256(kept)
                found[str(file)] = {"kept": kept.name, "sha256": self.checksums[kept]}
        return found

    def load(self) -> Standing:
        """Where the run stood, its finished files put back; empty where it has to start.

        Models and optimizers are the tensors that `put_back` takes.
        """
        if self.path.exists():
            try:
                return self.read()
            except ValueError as problem:
                log.info("%s: %s. The run starts from the beginning", self.path, problem)
        self.remove()  # also what was linked before a first state was there
        return {}

    def read(self) -> Standing:
        """`load`; ValueError for a state that is damaged, or not of this run."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                # Why clone: kernels may sum in another order where memory is not aligned.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as problem:
            raise ValueError(f"cannot be read ({problem})") from None
        if metadata.get("sha256") != checksum(metadata.get("told", ""), tensors):
            raise ValueError("is damaged, its checksum differs")
        told = json.loads(metadata["told"])
        other = [name for name, value in self.identity.items() if told["identity"][name] != value]
        if other:
            raise ValueError(f"is of other {', '.join(other)}")
        kept = {Path(path): self.folder / file["kept"] for path, file in told["files"].items()}
        for file, here in zip(told["files"].values(), kept.values(), strict=True):
            if not here.exists() or sha256(here) != file["sha256"]:
                raise ValueError(f"{here.name} beside it is damaged or gone")
            self.checksums[here] = file["sha256"]
        for path, here in kept.items():
            if not path.exists():
                link(here, path)
        return unpack(told["standing"], tensors)

    def remove(self) -> None:
        """Forget the run: it has ended well, or starts anew."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.checksums.clear()


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links.

    Neither changes with the other: artefacts are replaced, never written into.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A tree as JSON; its tensors go to `tensors`, each by its place in the tree."""
    if isinstance(value, nn.Module):
        value = tensors_of(value)
    elif hasattr(value, "state_dict"):
        value = value.state_dict()
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {TENSOR: name}
    if isinstance(value, dict):
        return {str(key): pack(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [pack(part, f"{name}/{i}", tensors) for i, part in enumerate(value)]
    return value


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree that `pack` was given: tuples are lists, models and optimizers what they held."""
    if isinstance(value, dict):
        if list(value) == [TENSOR]:
            return tensors[value[TENSOR]]
        return {key: unpack(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [unpack(part, tensors) for part in value]
    return value


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """Checksum of all that a state holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def tensors_of(model: nn.Module) -> dict[str, Any]:
    """All that a model holds, as it stands.

    Its `state_dict` would let a lazy item table catch up first (`optimizer.py`): saving would then
    move bits of a run that nobody disturbed.
    """
    return {
        "tensors": {**dict(model.named_parameters()), **dict(model.named_buffers())},
        # What has a gradient counts as trained (`checkpoint.trained_tensors`).
        "trained": [name for name, value in model.named_parameters() if value.grad is not None],
        "extra": {name: part.get_extra_state() for name, part in parts_with_extra_state(model)},
    }


def parts_with_extra_state(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Parts of a model that hold more than parameters and buffers, by torch's own hook for it."""
    for name, part in model.named_modules():
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            yield name, part


@torch.no_grad()
def put_back(saved: Standing, model: nn.Module, optimizer: Optimizer) -> None:
    """Let a model, its optimizer and torch's generators stand where they stood."""
    held = saved["model"]
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in held["tensors"].items():
        own[name].copy_(value)
    for name, value in model.named_parameters():
        value.grad = torch.zeros_like(value) if name in held["trained"] else None
    for name, part in parts_with_extra_state(model):
        part.set_extra_state(held["extra"][name])
    optimizer.load_state_dict(saved["optimizer"])
    set_random_state(saved["random"], next(model.parameters()).device)


def random_state(device: torch.device) -> list[Tensor]:
    """Where torch's generators stand."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Put torch's generators back to where they stood."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


def identity(args: Namespace, device: torch.device, data: list[Path]) -> dict[str, Any]:
    """What must be equal for a state to be of this run; `args` as `together.arguments_of` gives.

    `data` are the folders of arrays that it reads.
    """
    told = vars(args)
    return {
        "settings": {name: value for name, value in told.items() if name != "device"},
        "device": device.type,
        "data": [of_arrays(folder) for folder in data],
        "inputs": {name: contents(told[name]) for name in READ if told.get(name)},
        "code": code_checksum(told.get("method")),
        "version": {"userbench": userbench.__version__, "torch": installed("torch")},
    }


def contents(value: Any) -> Any:
    """Checksums of the files, and of the arrays in the folders, that a value names."""
    if isinstance(value, dict):
        return [contents(part) for part in value.values()]
    if isinstance(value, list):
        return [contents(part) for part in value]
    if not isinstance(value, str | Path):
        return None
    path = Path(value)
    if (path / CHECKSUMS).exists():
        return of_arrays(path)
    return (provenance_of(path).get("sha256") or sha256(path)) if path.is_file() else None


def code_checksum(method: str | None) -> str:
    """Checksum of the sources loaded: of this package, and of a method from elsewhere."""
    ours, theirs = Path(userbench.__file__).parent, (method or "").partition(".")
    sources = set()
    for name, module in [*sys.modules.items()]:
        file = Path(getattr(module, "__file__", None) or "")
        of_method = theirs[1] and name.partition(".")[0] == theirs[0]
        if file.is_file() and (ours in file.parents or of_method):
            sources.add(file)
    return hashlib.sha256("".join(sorted(map(sha256, sources))).encode()).hexdigest()


@contextmanager
def signals_to(handle: Callable[[int], None]) -> Iterator[None]:
    """Call `handle` with the number of a signal that asks for a state, wherever the code is."""
    before = {each: signal.signal(each, lambda number, _: handle(number)) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
