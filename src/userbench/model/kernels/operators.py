"""Two views of each user by crop, reorder or mask, all in one kernel.

Plain version: `views.operators.Operators.plain`, which makes every operator's view of every user.
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
    write_masked,
    write_reordered,
)

Drawn = Float64[Tensor, "views users"]


@jit
def operators_kernel(
    items, operator, crop, reorder, order, mask, out, users, width,
    crop_share, mask_share, reorder_share, mask_id,
    DISTINCT: tl.constexpr, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """A program for each user and view; no mask for a user of one behaviour."""
    user, view = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.arange(0, BLOCK)
    row, at = items + user * width, view * users + user
    length = length_of(row, position, width)
    offered = tl.where(length > 1, 3, 2)
    if DISTINCT:
        number = below(operator + user, offered)
        if view == 1:
            among_others = below(operator + at, offered - 1)
            number = among_others + (among_others >= number).to(tl.int32)
    else:
        number = below(operator + at, offered)
    to = out + at * width
    if number == 0:
        write_cropped(row, to, crop + at, position, length, crop_share, width)
    elif number == 1:
        write_reordered(
            row, to, reorder + at, order + at * width, position, length, reorder_share, width,
            BLOCK, STEP,
        )  # fmt: skip
    else:
        write_masked(
            row, to, mask + at * width, position, length, mask_share, mask_id, width, BLOCK, STEP
        )


@operator(
    "(Tensor items, Tensor operator, Tensor crop, Tensor reorder, Tensor order, Tensor mask,"
    " int crop_share, int mask_share, int reorder_share, int mask_id, bool distinct) -> Tensor",
    lambda items, *_: items.new_empty(2, *items.shape),
)
def operator_views(
    items: Int[Tensor, "users length"],
    operator: Drawn, crop: Drawn, reorder: Drawn,
    order: Float64[Tensor, "views users length"], mask: Float32[Tensor, "views users length"],
    crop_share: int, mask_share: int, reorder_share: int, mask_id: int, distinct: bool,
) -> Int64[Tensor, "views users length"]:  # fmt: skip
    """Both views; shares in thousandths."""
    users, width = items.shape
    out = items.new_empty(2, users, width)
    operators_kernel[(users, 2)](
        items, operator, crop, reorder, order, mask, out, users, width,
        crop_share, mask_share, reorder_share, mask_id,
        DISTINCT=distinct, BLOCK=power_of_two(width), STEP=STEP, num_warps=WARPS,
    )  # fmt: skip
    return out
