"""Compiles our own kernels for an H100, on any machine: what the interpreter accepts, a GPU's
compiler may not (a variable that changes its shape in a loop, more shared memory than there is).

python tests/shared/compile_kernels.py item_softmax

Prints a line per kernel: its name, bytes of shared memory, and whether tensor cores multiply.
"""

import argparse
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from userbench.model.kernels import item_draw, item_rows, item_softmax, item_step

H100 = GPUTarget("cuda", 90, 32)
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32"}
LAUNCH = {"num_warps", "num_stages"}


def type_of(value: Any) -> str:
    """What Triton calls the type of an argument."""
    if isinstance(value, Tensor):
        return f"*{TYPES[value.dtype]}"
    return "fp32" if isinstance(value, float) else "i32"


def compiled(kernel: JITFunction, grid: tuple) -> Callable[..., None]:
    """Stands for a launch: compiles the kernel for what it is given."""

    def launch(*args: Any, **others: Any) -> None:
        options = {name: others.pop(name) for name in LAUNCH & others.keys()}
        given = inspect.signature(kernel.fn).bind(*args, **others).arguments
        fixed = {param.name for param in kernel.params if param.is_constexpr}
        places = {name: (place,) for place, name in enumerate(given)}
        pointers = [name for name, value in given.items() if isinstance(value, Tensor)]
        source = ASTSource(
            fn=kernel,
            signature={k: "constexpr" if k in fixed else type_of(v) for k, v in given.items()},
            constexprs={places[name]: given[name] for name in fixed},
            attrs={places[name]: [["tt.divisibility", 16]] for name in pointers},
        )
        made = triton.compile(source, target=H100, options=options)
        tensor_cores = "wgmma" in made.asm["ptx"] or "mma.sync" in made.asm["ptx"]
        print(kernel.fn.__name__, made.metadata.shared, tensor_cores)

    return launch


def softmax(dtype: torch.dtype) -> None:
    """Forward and backward at 646 thousand items."""
    states, table, bias = torch.empty(2304, 64), torch.empty(645_974, 64), torch.empty(645_973)
    given = [value.requires_grad_() for value in (states, table, bias)]
    targets = torch.empty(2304, dtype=torch.int64)
    item_softmax.item_softmax(states, targets, table, bias, dtype).backward()
    assert all(value.grad is not None for value in given)


def draw(dtype: torch.dtype) -> None:
    """Fills, with and without a banned item."""
    states, table, bias = torch.empty(2304, 64), torch.empty(645_973, 64), torch.empty(645_973)
    for banned in (None, torch.empty(2304, dtype=torch.int64)):
        item_draw.sample_items(states, table.to(dtype), bias, 1.0, banned)


def items() -> None:
    """A step that reads some rows, then one that reads all; ids of either width."""
    table = torch.empty(645_974, 64, requires_grad=True)
    with torch.no_grad():
        state, pending = item_rows.new_row_state(table, 1e-3), []
    for dtype in (torch.int64, torch.int32):
        ids = torch.zeros(4096, dtype=dtype)
        item_rows.look_up(table, ids, state, pending).sum().backward()
    with torch.no_grad():
        item_step.step_rows(table, state, pending)
        item_rows.item_rows_apply(table, *state)
        item_step.step_all(table, state, pending, torch.empty_like(table))


CALLS: dict[str, Callable[[], None]] = {
    "item_softmax": lambda: softmax(torch.bfloat16),
    "item_softmax tf32": lambda: softmax(torch.float32),
    "item_draw": lambda: draw(torch.bfloat16),
    "item_rows": items,
    "item_draw tf32": lambda: draw(torch.float32),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="*", help="default: all")
    with mock.patch.object(JITFunction, "__getitem__", compiled):
        for name in parser.parse_args().calls or CALLS:
            CALLS[name]()
