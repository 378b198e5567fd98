"""The file of a saved training state: written atomically, checked when it is read.

A state is a folder: `state.safetensors`, which holds tensors and a JSON text, and links to the
files that the training has finished, since Snakemake deletes the outputs of a job that failed. A
state that is damaged, or of other settings, code or inputs, is never used.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from userbench.errors import check_readable
from userbench.results.artifact import atomic, provenance_path, sha256

log = logging.getLogger("userbench")

TENSOR = "tensor"


class StateFile:
    """The saved state of one training: a folder that exists until the training has ended well."""

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self.folder, self.path = folder, folder / "state.safetensors"
        # As it comes back from JSON.
        self.identity = json.loads(json.dumps(identity, default=os.fspath))
        self.checksums: dict[Path, str] = {}

    def save(self, state: dict[str, Any], files: list[Path]) -> None:
        """Save a tree of numbers, texts, tensors and dataclasses, and the finished files."""
        tensors: dict[str, Tensor] = {}
        content = {
            "identity": self.identity,
            "files": self.keep(files),
            "state": pack(state, "", tensors),
        }
        text = json.dumps(content, default=os.fspath)
        with atomic(self.path) as partial:
            save_file(tensors, partial, {"content": text, "sha256": checksum(text, tensors)})

    def keep(self, files: list[Path]) -> dict[str, dict[str, str]]:
        """Link finished files and their provenance records into the folder.

        Returns, for each file, its name in the folder and its checksum.
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

    def load(self) -> dict[str, Any]:
        """The tree that was saved, its finished files linked back; empty where there is none.

        Dataclasses come back as dictionaries of their fields, tuples as lists.
        """
        if self.path.exists():
            try:
                return self.read()
            except ValueError as problem:
                log.info("%s: %s. The training starts from the beginning", self.path, problem)
        self.remove()  # also what was linked before a first state was there
        return {}

    def read(self) -> dict[str, Any]:
        """`load`; ValueError for a state that is damaged, of an older version or another run.

        OSError where it cannot be read: nothing is then deleted.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                # Why clone: kernels may sum in another order where memory is not aligned.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as problem:
            check_readable(self.path, problem)
            raise ValueError(f"cannot be read ({problem})") from None
        if "content" not in metadata and "sha256" in metadata:
            raise ValueError("was written by an older version of userbench")
        if metadata.get("sha256") != checksum(metadata.get("content", ""), tensors):
            raise ValueError("is damaged, its checksum differs")
        content = json.loads(metadata["content"])
        saved_by = content["identity"]
        other = [name for name, value in self.identity.items() if saved_by.get(name) != value]
        if other:
            raise ValueError(f"is of other {', '.join(other)}")
        kept = {Path(path): self.folder / file["kept"] for path, file in content["files"].items()}
        for file, here in zip(content["files"].values(), kept.values(), strict=True):
            if not here.exists() or sha256(here) != file["sha256"]:
                raise ValueError(f"{here.name} beside it is damaged or gone")
            self.checksums[here] = file["sha256"]
        for path, here in kept.items():
            if not path.exists():
                link(here, path)
        return unpack(content["state"], tensors)

    def remove(self) -> None:
        """Delete the folder: the training has ended well, or starts from the beginning."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.checksums.clear()


def link(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system has no links.

    Neither changes with the other: artefacts are replaced, never written into.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A tree as JSON; its tensors go to `tensors`, each named by its place in the tree."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {TENSOR: name}
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): pack(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [pack(part, f"{name}/{i}", tensors) for i, part in enumerate(value)]
    return value


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree that `pack` was given, its dataclasses as dictionaries and its tuples as lists."""
    if isinstance(value, dict):
        if list(value) == [TENSOR]:
            return tensors[value[TENSOR]]
        return {key: unpack(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [unpack(part, tensors) for part in value]
    return value


def rebuild(kind: Any, value: Any) -> Any:
    """The value of a type that `pack` and `unpack` have reduced to JSON and tensors.

    Dataclasses, named tuples and paths are made anew, by the types of their fields.
    """
    if value is None or kind is Any:
        return value
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: rebuild(hints[name], part) for name, part in value.items()})
    if kind is Path:
        return Path(value)
    if get_origin(kind) is list:
        return [rebuild(*get_args(kind), part) for part in value]
    if get_origin(kind) is UnionType:  # or None
        return rebuild(get_args(kind)[0], value)
    if hasattr(kind, "_fields"):
        return kind(*value)
    return value


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """Checksum of all that a state holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
