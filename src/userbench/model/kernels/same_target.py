"""What each user and a partner did before their last behaviour, in one kernel.

Plain version: `views.same_target.SameTarget.plain`.
"""

import torch
from jaxtyping import Float32, Float64, Int, Int32, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl
from userbench.model.kernels.sequence import below, length_of, write_window


@jit
def same_target_kernel(
    users, items, uniform, of_all, offsets, members, counts, first, ranks, out, found,
    batch, width, room, last, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program for each user of the batch and view: the user's own past, or the partner's."""
    place, view = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.arange(0, BLOCK)
    row, to = items + place * width, out + (view * batch + place) * room
    length = length_of(row, position, width)
    if view == 0:
        write_window(row, to, position, 0, tl.maximum(length - 1, 1), room)
    else:
        user = tl.load(users + place)
        target = tl.load(row + length - 1)
        rank = tl.load(ranks + user)
        member = (rank >= 0).to(tl.int32)
        choices = tl.where(length > 1, tl.load(counts + target).to(tl.int32) - member, 0)
        drawn = below(uniform + place, choices)
        drawn += member * (drawn >= rank).to(tl.int32)
        among = tl.minimum(tl.maximum(tl.load(first + target) + drawn, 0), last)
        partner = tl.where(choices > 0, tl.load(members + among), user)
        begin = tl.load(offsets + partner)
        theirs = (tl.load(offsets + partner + 1) - begin).to(tl.int32)
        write_window(of_all, to, position, begin, tl.maximum(theirs - 1, 1), room)
        tl.store(found + place, (choices > 0).to(tl.float32))


def room_for_views(users: Tensor, items: Tensor, *others: object) -> tuple[Tensor, Tensor]:
    """Room for both views and for who has a partner."""
    out = items.new_empty(2, len(items), others[-1])
    return out, items.new_empty(len(items), dtype=torch.float32)


def traffic(users: Tensor, items: Tensor, *others: object) -> int:
    """Of the store and its groups, it reads what is of the users of the batch."""
    views = 2 * len(items) * others[-1] * items.element_size()
    return items.nbytes + views + views // 4 + 64 * len(items)


@operator(
    "(Tensor users, Tensor items, Tensor uniform, Tensor of_all, Tensor offsets, Tensor members,"
    " Tensor counts, Tensor first, Tensor ranks, int room) -> (Tensor, Tensor)",
    room_for_views,
    traffic,
)
def same_target_views(
    users: Int64[Tensor, " users"], items: Int[Tensor, "users length"],
    uniform: Float64[Tensor, " users"],
    of_all: Int[Tensor, " interactions"], offsets: Int64[Tensor, " bounds"],
    members: Int32[Tensor, " members"], counts: Int64[Tensor, " items"],
    first: Int64[Tensor, " items"], ranks: Int32[Tensor, " all_users"], room: int,
) -> tuple[Int64[Tensor, "views users room"], Float32[Tensor, " users"]]:  # fmt: skip
    """Both views, `room` wide, and 1 for each user with a partner."""
    out, found = room_for_views(users, items, room)
    batch, width = items.shape
    same_target_kernel[(batch, 2)](
        users, items, uniform, of_all, offsets, members, counts, first, ranks, out, found,
        batch, width, room, len(members) - 1, BLOCK=power_of_two(room),
    )  # fmt: skip
    return out, found
