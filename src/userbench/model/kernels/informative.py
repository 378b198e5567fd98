"""Two views of each user by substitute, insert, mask, crop or reorder, all in one kernel.

Plain version: `views.informative.Informative.view`, which makes every operator's view of all users.
"""

from jaxtyping import Float32, Float64, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl
from userbench.model.kernels.sequence import (
    STEP,
    WARPS,
    below,
    length_of,
    write_cropped,
    write_inserted,
    write_masked,
    write_reordered,
    write_substituted,
)

Drawn = Float64[Tensor, "views users"]
Keys = Float32[Tensor, "views users length"]


@jit
def informative_kernel(
    items, neighbours, operator, substitute, mask, crop, reorder, order, insert, out,
    users, width, room, substitute_share, insert_share, mask_share, crop_share, reorder_share,
    mask_id, short, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """A program for each user and view; sequences of up to `short` are not cropped or reordered."""
    user, view = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.arange(0, BLOCK)
    row, at = items + user * width, view * users + user
    length = length_of(row, position, width)
    number = below(operator + at, tl.where(length > short, 5, 3))
    to, keys = out + at * room, at * width
    if number == 0:
        write_substituted(
            row, to, substitute + keys, neighbours, position, length, substitute_share, room,
            BLOCK, STEP,
        )  # fmt: skip
    elif number == 1:
        write_inserted(
            row, to, insert + keys, neighbours, position, length, insert_share, room, BLOCK, STEP
        )
    elif number == 2:
        write_masked(row, to, mask + keys, position, length, mask_share, mask_id, room, BLOCK, STEP)
    elif number == 3:
        write_cropped(row, to, crop + at, position, length, crop_share, room)
    else:
        write_reordered(
            row, to, reorder + at, order + keys, position, length, reorder_share, room,
            BLOCK, STEP,
        )  # fmt: skip


@operator(
    "(Tensor items, Tensor neighbours, Tensor operator, Tensor substitute, Tensor mask,"
    " Tensor crop, Tensor reorder, Tensor order, Tensor insert, int[] shares, int mask_id,"
    " int short, int room) -> Tensor",
    lambda items, *others: items.new_empty(2, len(items), others[-1]),
    # Of the neighbours it reads those of the behaviours at most.
    lambda items, _, *others: (
        3 * items.nbytes
        + sum(numbers.nbytes for numbers in others if isinstance(numbers, Tensor))
        + 2 * len(items) * others[-1] * items.element_size()
    ),
)
def informative_views(
    items: Int[Tensor, "users length"], neighbours: Int64[Tensor, " items_and_padding"],
    operator: Drawn, substitute: Keys, mask: Keys, crop: Drawn, reorder: Drawn,
    order: Float64[Tensor, "views users length"], insert: Keys,
    shares: list[int], mask_id: int, short: int, room: int,
) -> Int64[Tensor, "views users room"]:  # fmt: skip
    """Both views, `room` wide; shares, in thousandths, in the order of the operators."""
    users, width = items.shape
    out = items.new_empty(2, users, room)
    informative_kernel[(users, 2)](
        items, neighbours, operator, substitute, mask, crop, reorder, order, insert, out,
        users, width, room, *shares, mask_id, short,
        BLOCK=power_of_two(room), STEP=STEP, num_warps=WARPS,
    )  # fmt: skip
    return out
