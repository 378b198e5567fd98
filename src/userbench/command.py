"""How a command that trains ends where it cannot go on: with one line, and no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_line() -> Iterator[None]:
    """End the process with one line for a user's mistake (ValueError) or a GPU that is full."""
    try:
        yield
    except ValueError as mistake:
        sys.exit(f"error: {mistake}")
    except torch.OutOfMemoryError as full:
        what = " ".join(str(full).split()).split(". ")
        told = ". ".join(what[:2]).rstrip(".")
        sys.exit(
            f"error: {told}. Lower batch_size, jobs_per_gpu (others on the GPU) or, with "
            "together=interleaved, seeds_together; or set precision: bf16"
        )
