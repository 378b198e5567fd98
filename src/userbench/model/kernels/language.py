"""Triton where it is installed; elsewhere what stands for it, so that kernel files can be read."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU needs none: Triton is large, and comes with torch for a GPU
    triton, tl = None, SimpleNamespace(constexpr=object)
INSTALLED = triton is not None

Seed = Int64[Tensor, "1"]
"""What all dropout masks of a step are drawn from."""


class Work(NamedTuple):
    """Arithmetic of a kernel that takes longer than what it reads and writes."""

    operations: int
    """In matrix products."""
    exponentials: int


class Declared(NamedTuple):
    """What is known of an operator that is not run, each as a function of its arguments."""

    shapes: Callable[..., Any]
    """What it returns, not filled in."""
    traffic: Callable[..., int] | None
    """The bytes that it moves; None: those of its arguments and results."""
    work: Callable[..., Work] | None
    """None: next to nothing."""


OPERATORS: dict[str, Declared] = {}
"""All operators: `benchmarks/kernels.py` counts them without running one."""


def jit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel in Triton's language; where Triton is missing, nothing can run it."""
    # Why unwrap: Triton reads the source, also of one whose shapes are checked in tests.
    return triton.jit(inspect.unwrap(kernel)) if INSTALLED else kernel


def used_for(values: Tensor) -> bool:
    """Whether these values are computed by kernels of our own."""
    return values.is_cuda and INSTALLED


def operator(
    schema: str,
    shapes: Callable[..., Any],
    traffic: Callable[..., int] | None = None,
    writes: tuple[str, ...] = (),
    work: Callable[..., Work] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes the function that launches a kernel an operator of torch, userbench::<its name>.

    `schema`: its arguments and results as torch writes them; `writes`: arguments it changes.
    """

    def declare(launch: Callable[..., Any]) -> Callable[..., Any]:
        name = launch.__name__
        declared = torch.library.custom_op(
            f"userbench::{name}", launch, mutates_args=writes, schema=schema
        )
        declared.register_fake(shapes)
        OPERATORS[name] = Declared(shapes, traffic, work)
        return declared

    return declare


def draw_seed(device: torch.device) -> Seed:
    """A seed for the masks of one step."""
    return torch.randint(1 << 62, (1,), device=device)


def power_of_two(size: int) -> int:
    """The least power of two that is not below a size: blocks of kernels have such sizes."""
    return 1 << (size - 1).bit_length()
