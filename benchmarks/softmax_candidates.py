"""The exact softmax over all items by everyone who offers one: who is right, and who is fastest?

Section "softmax" of `benchmarks.gpu`. None of the libraries is a requirement; one that is missing
where this runs gives a row that says so. All are given fp32 and return fp32 gradients, so rounding
to bf16 is part of the time of those that ask for it.
"""

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from userbench.model.kernels import item_softmax as in_kernels
from userbench.model.kernels import language
from userbench.model.kernels.language import used_for
from userbench.model.losses import StreamedCrossEntropy, sample_items

Given = tuple[Tensor, Tensor, Tensor, Tensor]
"""States, targets (0: nothing to predict), table, bias."""
Candidate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""The mean cross-entropy of what is given."""

TRIALS, COUNTED = 20_000, 2_000  # draws, and of how many items, to see whether they are right
# A loss and a gradient that training may be trusted with, relative.
LOSS_ERROR, GRADIENT_ERROR = 1e-4, 1e-2


class Missing(Exception):
    """What a candidate needs and this machine does not have."""


def plain(states: Tensor, targets: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """Blocks of logits through memory, as on a CPU."""
    total = StreamedCrossEntropy.apply(states, targets, table, bias)
    return total / (targets != 0).sum().clamp(min=1)


def ours(dtype: torch.dtype) -> Callable[[Tensor], Candidate]:
    """Our own kernels, factors rounded to `dtype`."""

    def build(example: Tensor) -> Candidate:
        if not used_for(example):
            raise Missing("needs a GPU and Triton")
        return lambda *given: in_kernels.item_softmax(*given, dtype)

    return build


def of_torch(_: Tensor) -> Candidate:
    """torch 2.13 or newer, in chunks of predictions."""
    if not hasattr(F, "linear_cross_entropy"):
        raise Missing(f"not in torch {torch.__version__}")
    options = torch.nn.LinearCrossEntropyOptions()

    def loss(states: Tensor, targets: Tensor, table: Tensor, bias: Tensor) -> Tensor:
        return F.linear_cross_entropy(
            states, table, targets, linear_bias=bias, ignore_index=0, options=options
        )

    return loss


def liger(_: Tensor) -> Candidate:
    """liger-kernel: chunks of predictions, their logits in memory."""
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        raise Missing("not installed") from None
    module = LigerFusedLinearCrossEntropyLoss(ignore_index=0)
    return lambda states, targets, table, bias: module(table, states, targets, bias)


def cut(filtered: str | None) -> Callable[[Tensor], Candidate]:
    """cut-cross-entropy in bf16, which leaves out small gradients unless `filtered` is None.

    It knows no bias (25.1.1): states have a 1 more, and vectors of items their bias.
    """

    def build(example: Tensor) -> Candidate:
        try:
            from cut_cross_entropy import linear_cross_entropy
        except ImportError:
            raise Missing("not installed") from None
        if not example.is_cuda:
            raise Missing("needs a GPU")

        def loss(states: Tensor, targets: Tensor, table: Tensor, bias: Tensor) -> Tensor:
            longer = F.pad(F.pad(states, (0, 1), value=1.0), (0, 15)).bfloat16()
            wider = F.pad(torch.cat([table, bias[:, None]], 1), (0, 15)).bfloat16()
            return linear_cross_entropy(longer, wider, targets, ignore_index=0, filter_eps=filtered)

        return loss

    return build


CANDIDATES: dict[str, Callable[[Tensor], Candidate]] = {
    "plain": lambda _: plain,
    "ours, bf16": ours(torch.bfloat16),
    "ours, tf32": ours(torch.float32),
    "torch": of_torch,
    "liger-kernel": liger,
    "cut-cross-entropy": cut("auto"),
    "cut-cross-entropy, exact": cut(None),
}


def example(predictions: int, n_items: int, dim: int, device: torch.device) -> Given:
    """States as LayerNorm leaves them, a trained table's logits, a tenth of nothing to predict."""
    torch.manual_seed(0)
    states = torch.randn(predictions, dim, device=device, requires_grad=True)
    table = (torch.randn(n_items, dim, device=device) * 3 / dim**0.5).requires_grad_()
    bias = torch.randn(n_items, device=device, requires_grad=True)
    targets = torch.randint(1, n_items, (predictions,), device=device)
    targets[-(predictions // 10) :] = 0
    return states, targets, table, bias


def step(loss: Candidate, given: Given) -> tuple[Tensor, ...]:
    """The loss, and the gradients of states, table and bias."""
    value = loss(*given)
    states, _, table, bias = given
    return value.detach(), *torch.autograd.grad(value, (states, table, bias))


def errors(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> dict[str, Any]:
    """Relative errors of the loss, and of the worst of the gradients."""
    loss, *gradients = (
        float((one.double() - other.double()).norm() / other.double().norm())
        for one, other in zip(found, expected, strict=True)
    )
    right = loss <= LOSS_ERROR and max(gradients) <= GRADIENT_ERROR
    return {"loss_error": loss, "gradient_error": max(gradients), "ok": right}


def measured(turn: Callable[[], Any], seconds: float, device: torch.device) -> dict[str, float]:
    """Milliseconds of a turn, and the most memory that it took beside what there was."""
    on_gpu = device.type == "cuda"
    for _ in range(2):
        turn()
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    turns, started = 0, time.perf_counter()
    while turns == 0 or time.perf_counter() - started < seconds:
        turn()
        turns += 1
        if on_gpu:
            torch.cuda.synchronize(device)
    found = {"ms": 1000 * (time.perf_counter() - started) / turns, "turns": turns}
    if on_gpu:
        found["peak_memory_gib"] = (torch.cuda.max_memory_allocated(device) - before) / 2**30
    return found


def compared(
    name: str, given: Given, expected: tuple[Tensor, ...], seconds: float
) -> dict[str, Any]:
    """What a candidate is and takes; where there is none, why."""
    try:
        loss = CANDIDATES[name](given[0])
    except Missing as why:
        return {"skipped": str(why)}
    found = errors(step(loss, given), expected)
    return found | measured(lambda: step(loss, given), seconds, given[0].device)


def fills(kernels: bool, given: Given, seconds: float) -> dict[str, Any]:
    """What it takes to draw an item for each prediction, and whether each is drawn by its share."""
    states, _, table, bias = (value.detach() for value in given)
    if kernels and not used_for(states):
        return {"skipped": "needs a GPU and Triton"}
    with mock.patch.object(language, "INSTALLED", kernels):
        few = min(len(bias), COUNTED)
        drawn = sample_items(states[:1].expand(TRIALS, -1), table[:few], bias[:few], 1.0, None)
        logits = (table[1:few] @ states[0] + bias[1:few]).double()
        expected = TRIALS * logits.softmax(0)
        counts = drawn.bincount(minlength=few)[1:]
        often = expected > 5
        deviation = float(((counts - expected) ** 2 / expected)[often].mean())
        right = abs(deviation - 1) < 5 * (2 / int(often.sum())) ** 0.5
        taken = measured(
            lambda: sample_items(states, table, bias, 1.0, None), seconds, states.device
        )
    return {"chi_squared": deviation, "ok": right and len(counts) == few - 1, **taken}
