"""Compiles our own kernels for an H100, on any machine: what the interpreter accepts, a GPU's
compiler may not (a variable that changes its shape in a loop, more shared memory than there is).

python tests/shared/compile_kernels.py item_softmax

Prints a line per kernel: the call, its name, bytes of shared memory, whether tensor cores multiply,
and bytes of registers that did not fit.
"""

import argparse
import inspect
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from userbench.methods import clue
from userbench.model import fused
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.kernels import (
    bpr,
    choices,
    informative,
    item_draw,
    item_rows,
    item_softmax,
    item_step,
    masked_and_past,
    nt_xent,
    operators,
    periods,
    same_target,
    separation,
    subsets,
    unit_rows,
)
from userbench.model.kernels import ranking as adaptssr_pairs
from userbench.model.kernels.side_by_side import unpacked

H100 = GPUTarget("cuda", 90, 32)
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
TYPES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int8: "i8",
    torch.uint8: "u8",
}
LAUNCH = {"num_warps", "num_stages"}


def type_of(value: Any) -> str:
    """What Triton calls the type of an argument."""
    if isinstance(value, Tensor):
        return f"*{TYPES[value.dtype]}"
    return "fp32" if isinstance(value, float) else "i32"


def compiled(call: str, kernel: JITFunction, grid: tuple) -> Callable[..., None]:
    """Stands for a launch: compiles the kernel for what it is given."""

    def launch(*args: Any, **others: Any) -> None:
        options = {name: others.pop(name) for name in LAUNCH & others.keys()}
        given = inspect.signature(kernel.fn).bind(*args, **others).arguments
        for value in given.values():
            if isinstance(value, Tensor) and not value.is_floating_point():
                value.data.zero_()  # what the kernel would have written may be an index
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
        print(
            f"{call}:",
            kernel.fn.__name__,
            made.metadata.shared,
            tensor_cores,
            spilled(made.asm["cubin"]),
        )

    return launch


def spilled(binary: bytes) -> int:
    """Bytes that a thread keeps in memory because it has no more registers."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(binary)
        run = subprocess.run(
            [CUOBJDUMP, "-res-usage", path], check=True, capture_output=True, text=True
        )
    return int(re.search(r"STACK:(\d+)", run.stdout + run.stderr)[1])


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


def encoder(dtype: torch.dtype) -> None:
    """The Transformer on 128 users, with dropout, forward and backward."""
    torch.set_float32_matmul_precision("high")
    made = UserEncoder(EncoderConfig(1000), 0.1)
    made.bf16 = dtype == torch.bfloat16
    items = torch.ones(128, 150, dtype=torch.int64)
    with mock.patch.object(torch, "_assert_async"):
        hidden, batch = fused.encode(made, items, 7168)
    users = made.pooling(hidden, batch).sum()
    (users + unpacked(hidden, batch).sum()).backward()


def items() -> None:
    """A step that reads some rows, by ids of either width, then one that reads all."""
    table = torch.empty(4096, 64, requires_grad=True)
    state, pending = item_rows.new_row_state(table, 1e-3), []
    for dtype in (torch.int64, torch.int32):
        ids = torch.zeros(4096, dtype=dtype)
        item_rows.look_up(table, ids, state, pending).sum().backward()
    with torch.no_grad():
        item_step.step_rows(table, state, pending)
        item_rows.item_rows_apply(table, *state)
        item_step.step_all(table, state, pending, torch.empty_like(table))


def ranking(dtype: torch.dtype) -> None:
    """BPR of 128 examples among 17,879 candidates."""
    hidden, weight, bias = torch.empty(128, 64), torch.empty(17_879, 64), torch.empty(17_879)
    given = [value.requires_grad_() for value in (hidden, weight, bias)]
    uniform, picked = torch.empty(128, dtype=torch.float64), torch.arange(128)
    splits = torch.empty(128, dtype=torch.uint8), torch.empty(128, 60, dtype=torch.uint8)
    known = torch.empty(128, 60, dtype=torch.int64)
    positives = bpr.Positives(picked, picked, splits[0], known, splits[1])
    bpr.bpr(*given, uniform, picked, positives).sum().backward()


def chosen() -> None:
    """PTUM's losses: one true behaviour of five, three times for each of 128 users."""
    encoded, vectors = torch.empty(256, 64), torch.empty(128, 3, 5, 64)
    given = [value.requires_grad_() for value in (encoded, vectors)]
    candidates, lengths = torch.ones(128, 3, 5, dtype=torch.int64), torch.ones(128).long()
    sum(choices.task_losses(*given, candidates, lengths)).backward()


def heads(dtype: torch.dtype) -> None:
    """CLUE's projection and predictor, and IDICL's interests, of two views of 128 users."""
    with mock.patch.object(clue, "used_for", lambda _: True):
        loss, logs = clue.Heads(64, clue.Config())(torch.empty(256, 64, requires_grad=True))
        loss.backward()
    unit_rows.unit_rows(torch.empty(256, 4, 64, requires_grad=True), 0.5).sum().backward()
    for entries in (4, 32):
        separation.separation(torch.empty(entries, 64, requires_grad=True))[0].backward()


def contrasts() -> None:
    """NT-Xent of two views of 128 users (IDICL's are 256 wide), and AdaptSSR's hardest pairs."""
    left_out = torch.zeros(128, 128, dtype=torch.bool)
    for width, excluded, cosine in ((64, None, False), (256, left_out, True)):
        views = torch.empty(256, width, requires_grad=True)
        nt_xent.nt_xent(views, excluded, cosine, 0.1).backward()
    views = [torch.empty(128, 64, requires_grad=True) for _ in range(4)]
    for coefficient in ("paper", "unclamped", 0.5):
        adaptssr_pairs.hardest_pairs(views, coefficient, 1.0)[0].backward()


def views() -> None:
    """All that draws views, for 128 users of 150 behaviours at most."""
    items, uniform = torch.ones(128, 150, dtype=torch.int64), torch.ones(2, 128).double()
    keys, order = torch.ones(2, 128, 150), torch.ones(2, 128, 150).double()
    ids, small = torch.ones(1000, dtype=torch.int64), torch.ones(1000, dtype=torch.int32)
    for distinct in (False, True):
        numbers = (*[uniform] * 3, order, keys)
        operators.operator_views(items, *numbers, 400, 600, 600, 9, distinct)
    numbers = (uniform, keys, keys, uniform, uniform, order, keys)
    informative.informative_views(items, ids, *numbers, [100, 400, 700, 200, 200], 9, 4, 150)
    for window in ("halves", "long", "short"):
        periods.period_views(items, uniform, window, 10)
    groups = (small, ids, small, ids, ids, small)  # items, offsets, members, counts, first, ranks
    same_target.same_target_views(ids[:128], items, uniform[0], *groups, 150)
    masked_and_past.masked_and_past(items, uniform[0], 2, 9)
    for share in ("proper", "some"):
        subsets.random_share(items, keys[0], 300, share)
    subsets.ordered_places(torch.ones(19_200, dtype=torch.bool), 6_000)


CALLS: dict[str, Callable[[], None]] = {
    "choices": chosen,
    "contrasts": contrasts,
    "heads": lambda: heads(torch.float32),
    "ranking": lambda: ranking(torch.float32),
    "encoder": lambda: encoder(torch.bfloat16),
    "encoder tf32": lambda: encoder(torch.float32),
    "item_rows": items,
    "item_softmax": lambda: softmax(torch.bfloat16),
    "item_softmax tf32": lambda: softmax(torch.float32),
    "item_draw": lambda: draw(torch.bfloat16),
    "item_draw tf32": lambda: draw(torch.float32),
    "views": views,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="*", help="default: all")
    for name in parser.parse_args().calls or CALLS:
        with mock.patch.object(
            JITFunction, "__getitem__", lambda *launch, name=name: compiled(name, *launch)
        ):
            CALLS[name]()
