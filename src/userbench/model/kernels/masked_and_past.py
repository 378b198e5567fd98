"""PTUM's two views of each user, and the behaviours that they hide, in one kernel.

Plain version: `methods.ptum.hide`.
"""

from jaxtyping import Float64, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl
from userbench.model.kernels.sequence import below, length_of, write_window


@jit
def masked_and_past_kernel(
    items, uniform, views, hidden, lengths, users, width, count, mask_id, BLOCK: tl.constexpr
):
    """A program for each user and view: one behaviour masked, or the last `count` split off."""
    user, view = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.arange(0, BLOCK)
    row, to = items + user * width, views + (view * users + user) * width
    of_user = hidden + user * (count + 1)
    length = length_of(row, position, width)
    if view == 0:
        masked = below(uniform + user, length)
        values = tl.load(row + position, mask=position < length, other=0)
        values = tl.where(position == masked, mask_id, values)
        tl.store(to + position, values, mask=position < width)
        tl.store(of_user, tl.load(row + masked))
        tl.store(lengths + user, length.to(tl.int64))
    else:
        kept = tl.maximum(length - count, 1)
        write_window(row, to, position, 0, kept, width)
        for number in range(0, count):
            following = tl.load(row + tl.minimum(kept + number, width - 1))
            tl.store(of_user + 1 + number, following)


def room_for_both(items: Tensor, _: object, count: int, mask_id: int) -> tuple[Tensor, ...]:
    """Room for the views, what they hide, and the lengths."""
    users, width = items.shape
    hidden = items.new_empty(users, count + 1)
    return items.new_empty(2 * users, width), hidden, items.new_empty(users)


@operator(
    "(Tensor items, Tensor uniform, int count, int mask_id) -> (Tensor, Tensor, Tensor)",
    room_for_both,
)
def masked_and_past(
    items: Int64[Tensor, "users length"], uniform: Float64[Tensor, " users"],
    count: int, mask_id: int,
) -> tuple[
    Int[Tensor, "views_of_users length"], Int[Tensor, "users hidden"], Int[Tensor, " users"]
]:  # fmt: skip
    """All users with one behaviour masked, then all without their last; what is hidden; lengths."""
    views, hidden, lengths = room_for_both(items, uniform, count, mask_id)
    users, width = items.shape
    masked_and_past_kernel[(users, 2)](
        items, uniform, views, hidden, lengths, users, width, count, mask_id,
        BLOCK=power_of_two(width),
    )  # fmt: skip
    return views, hidden, lengths
