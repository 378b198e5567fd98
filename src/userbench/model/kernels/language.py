"""Triton where it is installed; elsewhere what stands for it, so that kernel files can be read."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

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
Shapes = Callable[..., Any]
Traffic = Callable[..., int]
OPERATORS: dict[str, tuple[Shapes, Traffic | None]] = {}
"""Of each operator what it returns, not filled in, and the bytes that it moves where they are not
those of its arguments and results: `benchmarks/kernels.py` counts operators without running one."""


def jit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel in Triton's language; where Triton is missing, nothing can run it."""
    # Why unwrap: Triton reads the source, also of one whose shapes are checked in tests.
    return triton.jit(inspect.unwrap(kernel)) if INSTALLED else kernel


def used_for(values: Tensor) -> bool:
    """Whether these values are computed by kernels of our own."""
    return values.is_cuda and INSTALLED


def operator(
    schema: str, shapes: Shapes, traffic: Traffic | None = None, writes: tuple[str, ...] = ()
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
        OPERATORS[name] = shapes, traffic
        return declared

    return declare


def draw_seed(device: torch.device) -> Seed:
    """A seed for the masks of one step."""
    return torch.randint(1 << 62, (1,), device=device)


def power_of_two(size: int) -> int:
    """The least power of two that is not below a size: blocks of kernels have such sizes."""
    return 1 << (size - 1).bit_length()
