"""The identity of a training: settings, inputs, code and versions, equal for its saved state."""

import hashlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import userbench
from userbench.data.arrays import identity as identity_of_arrays
from userbench.results.artifact import CHECKSUMS, installed, provenance_of, sha256

# Options of the loops whose values are files or folders that a training reads, beside its data.
READ = ("init", "set")


def identity(options: Any, device: torch.device, data: list[Path]) -> dict[str, Any]:
    """The identity of the training of one seed.

    `options` is the dataclass that the loop is given, `data` the folders of arrays that it reads.
    """
    settings = asdict(options)
    return {
        "settings": {name: value for name, value in settings.items() if name != "device"},
        "device": device.type,
        "data": [identity_of_arrays(folder) for folder in data],
        "inputs": {name: contents(settings[name]) for name in READ if settings[name]},
        "code": code_checksum(options.method),
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
        return identity_of_arrays(path)
    return (provenance_of(path).get("sha256") or sha256(path)) if path.is_file() else None


def code_checksum(method: str | None) -> str:
    """Checksum of the sources loaded: of this package, and of a method from elsewhere."""
    package, (top, dot, _) = Path(userbench.__file__).parent, (method or "").partition(".")
    sources = set()
    for name, module in [*sys.modules.items()]:
        file = Path(getattr(module, "__file__", None) or "")
        of_method = dot and name.partition(".")[0] == top
        if file.is_file() and (package in file.parents or of_method):
            sources.add(file)
    return hashlib.sha256("".join(sorted(map(sha256, sources))).encode()).hexdigest()
