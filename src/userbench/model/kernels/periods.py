"""Two periods of each user in one kernel; plain versions: `augment.halves`, `adjacent`, `crop`."""

from jaxtyping import Float64, Int, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl
from userbench.model.kernels.sequence import (
    below,
    ceil_share,
    length_of,
    write_cropped,
    write_window,
)


@jit
def periods_kernel(
    items, uniform, out, users, width, size, WINDOW: tl.constexpr, BLOCK: tl.constexpr
):
    """A program for each user and period."""
    user, view = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.arange(0, BLOCK)
    row, at = items + user * width, view * users + user
    to = out + at * width
    length = length_of(row, position, width)
    if WINDOW == "long":
        write_cropped(row, to, uniform + at, position, length, size, width)
    elif WINDOW == "short":
        count = tl.minimum(tl.maximum(length // 2, 1), size)
        both = tl.minimum(2 * count, length)
        start = below(uniform + user, length - both + 1) + view * (both - count)
        write_window(row, to, position, start, count, width)
    else:
        low = tl.maximum(tl.minimum(ceil_share(length, size), length // 2), 1)
        cut = low + below(uniform + user, tl.maximum(length - low, low) - low + 1)
        start = tl.where((view == 1) & (length > 1), cut, 0)
        count = tl.where(view == 0, cut, length - start)
        write_window(row, to, position, start, count, width)


@operator(
    "(Tensor items, Tensor uniform, str window, int size) -> Tensor",
    lambda items, *_: items.new_empty(2, *items.shape),
)
def period_views(
    items: Int[Tensor, "users length"],
    uniform: Float64[Tensor, "draws users"],
    window: str,
    size: int,
) -> Int64[Tensor, "periods users length"]:
    """Both periods; `size`: thousandths of the sequence, or behaviours of a short window.

    Long windows are drawn apart and need two draws a user, the others one.
    """
    users, width = items.shape
    out = items.new_empty(2, users, width)
    periods_kernel[(users, 2)](
        items, uniform, out, users, width, size, WINDOW=window, BLOCK=power_of_two(width)
    )
    return out
