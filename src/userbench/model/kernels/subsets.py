"""A random share of each user's behaviours in one kernel; the places of what is chosen in another.

Plain versions: `augment.random_subset` of a share of the lengths, and `augment.places_of`.
"""

import torch
from jaxtyping import Bool, Float32, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton
from userbench.model.kernels.sequence import STEP, WARPS, ceil_share, length_of, proper_share, ranks

BLOCK = 1024


@jit
def share_kernel(
    items, keys, out, width, thousandths,
    SHARE: tl.constexpr, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """One program for a user."""
    user, position = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    length = length_of(items + user * width, position, width)
    if SHARE == "proper":
        count = proper_share(length, thousandths)
    else:
        count = tl.minimum(tl.maximum(ceil_share(length, thousandths), 1), length - 1)
    chosen = ranks(keys + user * width, position, 0, length, BLOCK, STEP) < count
    tl.store(out + user * width + position, chosen.to(tl.int8), mask=position < width)


@operator(
    "(Tensor items, Tensor keys, int thousandths, str share) -> Tensor",
    lambda items, *_: torch.empty_like(items, dtype=torch.bool),
)
def random_share(
    items: Int[Tensor, "users length"],
    keys: Float32[Tensor, "users length"],
    thousandths: int,
    share: str,
) -> Bool[Tensor, "users length"]:
    """The behaviours of the least keys: `augment.proper_share` of them ("proper"), or one at least
    ("some": `fill.masked_part`); never all."""
    out = torch.empty_like(items, dtype=torch.bool)
    users, width = items.shape
    share_kernel[(users,)](
        items, keys, out.view(torch.int8), width, thousandths,
        SHARE=share, BLOCK=power_of_two(width), STEP=STEP, num_warps=WARPS,
    )  # fmt: skip
    return out


@jit
def places_kernel(chosen, places, size, at_most, BLOCK: tl.constexpr):
    """Program p writes the places of its block, and what is left of its block of places."""
    program = tl.program_id(0)
    inside = tl.arange(0, BLOCK)
    before = 0
    total = 0
    for start in range(0, size, BLOCK):
        other = start + inside
        count = tl.sum(tl.load(chosen + other, mask=other < size, other=0).to(tl.int32), 0)
        before += tl.where(start < program * BLOCK, count, 0)
        total += count
    position = program * BLOCK + inside
    own = tl.load(chosen + position, mask=position < size, other=0).to(tl.int32)
    place = before + tl.cumsum(own, 0) - 1
    tl.store(places + place, position.to(tl.int64), mask=(own != 0) & (place < at_most))
    left = (position >= total) & (position < at_most)
    tl.store(places + position, tl.zeros_like(position).to(tl.int64) + size, mask=left)


def room_for_places(chosen: Tensor, at_most: int) -> Tensor:
    """Room for `at_most` places."""
    return chosen.new_empty(at_most, dtype=torch.long)


@operator("(Tensor chosen, int at_most) -> Tensor", room_for_places)
def ordered_places(chosen: Bool[Tensor, " size"], at_most: int) -> Int64[Tensor, " places"]:
    """The places of what is chosen, in order; those too many are `size`."""
    places = room_for_places(chosen, at_most)
    size = len(chosen)
    programs = triton.cdiv(max(size, at_most), BLOCK)
    places_kernel[(programs,)](chosen.view(torch.int8), places, size, at_most, BLOCK=BLOCK)
    return places
