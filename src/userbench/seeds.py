"""Derived seeds: what must be equal at equal seeds has random numbers of its own.

torch has one stream for everything: a method that draws one number more changes all that follow. So
heads, orders of examples and the stream of a training each start from a seed that is derived from
the run's seed and from names.
"""

import hashlib
import json

import torch


def seed_of(*of: int | str) -> int:
    """The seed that is derived from a run's seed and names."""
    digest = hashlib.sha256(json.dumps(of).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator_of(*of: int | str) -> torch.Generator:
    """A generator for each seed and names, on the CPU: the same numbers on every machine."""
    return torch.Generator().manual_seed(seed_of(*of))
