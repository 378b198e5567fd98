"""The masks that kernels of our own draw, for the plain versions that they are compared with."""

import torch
from torch import Tensor

from userbench.model.kernels.language import Seed, jit, tl, triton

BLOCK = 256


@jit
def keep_kernel(seed, out, n, place, rate, BLOCK: tl.constexpr):
    """Which elements dropout keeps."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    keep = tl.rand(tl.load(seed) + place, at) >= rate
    tl.store(out + at, keep.to(tl.int8), mask=at < n)


def dropout_scale(seed: Seed, place: int, rate: float, *shape: int) -> Tensor:
    """What dropout multiplies each value by, in float64."""
    keep = torch.empty(*shape, dtype=torch.int8)
    keep_kernel[(triton.cdiv(keep.numel(), BLOCK),)](
        seed, keep, keep.numel(), place, rate, BLOCK=BLOCK
    )
    return keep.double() / (1 - rate)
