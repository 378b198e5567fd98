"""What a GPU may do faster: the precision of the encoder, and steps replayed as CUDA graphs.

A step of a small Transformer is hundreds of short kernels, and to launch them takes longer than
they run. A graph of them is captured once and replayed, on tensors that keep their addresses.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from userbench.model.encoder import UserEncoder

# What is chosen by the device (`chosen`).
AUTO = "auto"
PRECISIONS = ("fp32", "tf32", "bf16")
CAPTURES = ("none", "graph", "compile")
# Why: curricula have twenty stages (`views/fill.py`, `views/informative.py`).
STAGES = 20
# The options of a loop, a dataclass that names precision, capture and item_table.
AnyOptions = TypeVar("AnyOptions")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of both loops that choose how a GPU is used."""
    parser.add_argument(
        "--precision",
        default=AUTO,
        help=f"of the encoder: {', '.join(PRECISIONS)}; auto: bf16 on a GPU, fp32 on a CPU",
    )
    parser.add_argument(
        "--capture",
        default=AUTO,
        help=f"of a step on a GPU: {', '.join(CAPTURES)}; auto: graph on a GPU, none on a CPU",
    )


def chosen(options: AnyOptions, device: torch.device | str) -> AnyOptions:
    """The options with the precision and the capture that `auto` stands for on a device."""
    on_gpu = torch.device(device).type == "cuda"
    # Why: GPUs before Ampere have no units for bf16, and compute it slowly in others.
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    # Why: a lazy item table waits for the device, to know its rows.
    may_capture = on_gpu and options.item_table != "lazy"
    best = {
        "precision": "bf16" if has_bf16 else "fp32",
        "capture": "graph" if may_capture else "none",
    }
    changes = {name: value for name, value in best.items() if getattr(options, name) == AUTO}
    return replace(options, **changes)


def accelerate(
    encoder: UserEncoder, precision: str, capture: str, device: torch.device | str
) -> None:
    """Let an encoder compute as `chosen`; ValueError for what there is not, or not on the device.

    "tf32": matrix products on a GPU round their factors to 10 bits. "bf16": those of the
    Transformer and, on a GPU, of the softmax over all items to 7 bits; other losses and heads
    are as with "fp32". "compile": what is captured is first compiled.
    """
    device = torch.device(device)
    on_gpu = device.type == "cuda"
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if capture not in CAPTURES:
        raise ValueError(f"capture {capture!r}: use one of {', '.join(CAPTURES)}")
    if capture != "none" and not on_gpu:
        raise ValueError(f"capture {capture}: needs a GPU. Use capture none")
    if device.index is not None and on_gpu:
        torch.cuda.set_device(device)  # graphs are captured on the current one
    if on_gpu:
        # Why not for bf16: heads cost little, and tf32 flips four times as many of CLUE's ReLUs.
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    encoder.bf16, encoder.compiled = precision == "bf16", capture == "compile"


def captured(
    step: Callable[..., Float[Tensor, ""]], capture: str
) -> Callable[..., Float[Tensor, ""]]:
    """The step, replayed as CUDA graphs where `capture` asks for it."""
    return step if capture == "none" else Graphs(step)


class Captured(NamedTuple):
    """A step on tensors of its own, which can be made again and again."""

    inputs: list[Any]
    replay: Callable[[], None]
    loss: Float[Tensor, ""]


class Graphs:
    """A step of training, captured when its inputs have some shape for the second time.

    Tensors among the inputs are copied to where the graph reads them. Everything else is part of
    the graph, which is captured anew for another value; of a float, the progress of training, only
    for another twentieth.
    """

    def __init__(self, step: Callable[..., Float[Tensor, ""]]):
        self.step = step
        self.start(stage=[])

    def start(self, stage: list[int]) -> None:
        """Forget what was captured."""
        self.stage = stage
        self.seen: set[tuple] = set()
        self.captured: dict[tuple, Captured] = {}
        # Why one pool: graphs are replayed one at a time, and only their loss outlives that.
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None

    def __call__(self, *inputs: Any) -> Float[Tensor, ""]:
        """The loss of the step just made, valid until the next one."""
        given, structure = tree_flatten(inputs)
        stage = [int(STAGES * value) for value in given if isinstance(value, float)]
        if stage != self.stage:
            self.start(stage)
        key = tuple(
            value.shape if isinstance(value, Tensor) else value
            for value in given
            if not isinstance(value, float)
        )
        if key not in self.seen:  # Why: rare shapes come once, and a first step makes things.
            self.seen.add(key)
            return self.step(*inputs)
        if key not in self.captured:
            own = [value.clone() if isinstance(value, Tensor) else value for value in given]
            self.captured[key] = self.capture(own, tree_unflatten(own, structure))
        graph = self.captured[key]
        for own, value in zip(graph.inputs, given, strict=True):
            if isinstance(own, Tensor):
                own.copy_(value, non_blocking=True)
        graph.replay()
        return graph.loss

    def capture(self, own: list[Any], inputs: tuple[Any, ...]) -> Captured:
        """A CUDA graph of the step; ValueError for a step that has to wait for the device."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                loss = self.step(*inputs)
        except RuntimeError as problem:
            why = str(problem).partition("\n")[0]
            raise ValueError(f"the step cannot be captured ({why}). Use capture none") from problem
        return Captured(own, graph.replay, loss)
