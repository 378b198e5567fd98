"""Random numbers of their own for what must be equal at equal seeds, whatever else is drawn.

torch has one stream for everything: a method that draws one number more moves all that follow. So
heads, orders of examples and the stream of a training each begin from a seed made of the run's seed
and of names.
"""

import hashlib
import json

import torch


def seed_of(*of: int | str) -> int:
    """The seed that a run's seed and names stand for."""
    digest = hashlib.sha256(json.dumps(of).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator_of(*of: int | str) -> torch.Generator:
    """A generator of its own for each seed and names, on the CPU: the same numbers everywhere."""
    return torch.Generator().manual_seed(seed_of(*of))
