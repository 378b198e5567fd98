"""What PTUM asks of each user, in one kernel: which behaviour was masked, and which come next.

Plain version, on a CPU: `questions` of `methods/ptum.py`; the integers are equal.
"""

from typing import Any

import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl

Questions = tuple[
    Int[Tensor, "sequences length"], Int[Tensor, "users predictions"], Int64[Tensor, " users"]
]
"""All sequences with one behaviour masked, then all without the last; what is asked; lengths."""


@jit
def kernel(
    items, uniform, sequences, true, lengths, users, length, asked, mask_id, LENGTH: tl.constexpr
):
    """One program for one user."""
    user = tl.program_id(0)
    position = tl.arange(0, LENGTH)
    inside = position < length
    row = items + user * length
    item = tl.load(row + position, mask=inside, other=0)
    kept = tl.sum((item != 0).to(tl.int32))
    tl.store(lengths + user, kept.to(tl.int64))
    place = tl.minimum((tl.load(uniform + user) * kept).to(tl.int32), kept - 1)
    place = tl.maximum(place, 0)
    masked = tl.where(position == place, mask_id, item)
    tl.store(sequences + user * length + position, masked, mask=inside)
    past = tl.maximum(kept - (asked - 1), 1)
    before = tl.where(position < past, item, 0)
    tl.store(sequences + (users + user) * length + position, before, mask=inside)
    tl.store(true + user * asked, tl.load(row + place))
    for following in range(1, asked):
        at = tl.minimum(past + following - 1, length - 1)
        tl.store(true + user * asked + following, tl.load(row + at))


def results_like(items: Tensor, _: Any, count: int, __: Any) -> tuple[Tensor, ...]:
    """Room for sequences, what is asked, and lengths."""
    users, length = items.shape
    return (
        items.new_empty(2 * users, length),
        items.new_empty(users, 1 + count),
        items.new_empty(users, dtype=torch.int64),
    )


@operator(
    "(Tensor items, Tensor uniform, int count, int mask_id) -> (Tensor, Tensor, Tensor)",
    results_like,
)
def masked_and_next(
    items: Int[Tensor, "users length"], uniform: Float64[Tensor, " users"], count: int, mask_id: int
) -> Questions:
    """Which behaviour is masked is drawn by the `uniform` numbers; the last `count` come next."""
    results = results_like(items, uniform, count, mask_id)
    users, length = items.shape
    kernel[(users,)](
        items, uniform, *results, users, length, 1 + count, mask_id, LENGTH=power_of_two(length)
    )
    return results
