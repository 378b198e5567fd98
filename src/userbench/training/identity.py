"""The identity of a training: settings, inputs, code and versions, equal for its saved state."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import userbench
from userbench.data.arrays import identity as identity_of_arrays
from userbench.results.artifact import CHECKSUMS, installed, provenance_of, sha256
from userbench.results.loaded_code import loaded_code

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
        "code": code_checksum(),
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


def code_checksum() -> str:
    """Checksum of the sources loaded: of this package, and of methods and views from elsewhere."""
    return hashlib.sha256(json.dumps(loaded_code()).encode()).hexdigest()
