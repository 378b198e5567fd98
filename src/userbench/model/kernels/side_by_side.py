"""Behaviours of all users side by side, without padding: where each user's begin, and back again.

Plain version: boolean indexing, `items[items != 0]`, whose shape the host would have to wait for.
Here there is room for `capacity` behaviours, and what is left of it lies behind the last user's.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

Items = Int[Tensor, "users length"]
BLOCK = 64


class SideBySide(NamedTuple):
    """Behaviours of all users, one user after the other; item 0 where nothing is left."""

    items: Int64[Tensor, " capacity"]
    positions: Int32[Tensor, " capacity"]
    starts: Int32[Tensor, " users_and_end"]
    """User u has the behaviours from starts[u] to starts[u + 1]."""
    rows: Items
    """The same behaviours, a padded row for each user."""


@jit
def lengths_kernel(items, lengths, width, COLS: tl.constexpr):
    """One program for a user."""
    user, cols = tl.program_id(0).to(tl.int64), tl.arange(0, COLS)
    row = tl.load(items + user * width + cols, mask=cols < width, other=0)
    tl.store(lengths + user, tl.sum((row != 0).to(tl.int32), 0))


@operator(
    "(Tensor items) -> Tensor",
    lambda items: items.new_empty(len(items), dtype=torch.int32),
)
def row_lengths(items: Items) -> Int32[Tensor, " users"]:
    """Number of behaviours of each user."""
    lengths = items.new_empty(len(items), dtype=torch.int32)
    width = items.shape[1]
    lengths_kernel[(len(items),)](items, lengths, width, COLS=power_of_two(width))
    return lengths


@jit
def pack_kernel(
    items, lengths, packed, positions, starts, users, width, capacity,
    COLS: tl.constexpr, USERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program for each user; those after them clear what is left, a block each."""
    program = tl.program_id(0)
    before = 0
    for block in range(0, users, USERS):
        others = block + tl.arange(0, USERS)
        known = (others < users) & (others < program)
        before += tl.sum(tl.load(lengths + others, mask=known, other=0), 0)
    if program < users:
        length = tl.load(lengths + program)
        cols = tl.arange(0, COLS)
        inside = (cols < length) & (before + cols < capacity)
        row = tl.load(items + program.to(tl.int64) * width + cols, mask=cols < length, other=0)
        tl.store(packed + before + cols, row, mask=inside)
        tl.store(positions + before + cols, cols, mask=inside)
        tl.store(starts + program, before)
    else:
        left = before + (program - users) * BLOCK + tl.arange(0, BLOCK)
        tl.store(packed + left, tl.zeros_like(left).to(tl.int64), mask=left < capacity)
        tl.store(positions + left, tl.zeros_like(left), mask=left < capacity)
        if program == users:
            tl.store(starts + users, before)


def room(items: Items, lengths: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for items, positions and starts."""
    small = {"dtype": torch.int32}
    return (
        items.new_empty(capacity, dtype=torch.int64),
        items.new_empty(capacity, **small),
        items.new_empty(len(items) + 1, **small),
    )


@operator("(Tensor items, Tensor lengths, int capacity) -> (Tensor, Tensor, Tensor)", room)
def pack_rows(
    items: Items, lengths: Int32[Tensor, " users"], capacity: int
) -> tuple[Int64[Tensor, " capacity"], Int32[Tensor, " capacity"], Int32[Tensor, " ends"]]:
    """Items, positions and starts, see `SideBySide`."""
    packed, positions, starts = room(items, lengths, capacity)
    users, width = items.shape
    pack_kernel[(users + triton.cdiv(capacity, BLOCK),)](
        items, lengths, packed, positions, starts, users, width, capacity,
        COLS=power_of_two(width), USERS=min(1024, power_of_two(users)), BLOCK=BLOCK,
    )  # fmt: skip
    return packed, positions, starts


def side_by_side(items: Items, capacity: int) -> SideBySide:
    """The behaviours of right-padded rows; more than `capacity` stop the device."""
    packed, positions, starts = pack_rows(items, row_lengths(items), capacity)
    torch._assert_async(starts[-1] <= capacity, "a batch has more behaviours than its bound")
    return SideBySide(packed, positions, starts, items)


@jit
def unpack_kernel(
    source, starts, out, length, dim, INTO_ROWS: tl.constexpr, BLOCK: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """A block of a user's positions: from side by side into padded rows, or back."""
    user = tl.program_id(0)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    cols = tl.arange(0, COLS)
    start, end = tl.load(starts + user), tl.load(starts + user + 1)
    real = (places < end - start)[:, None] & (cols < dim)[None, :]
    padded = (user.to(tl.int64) * length + places)[:, None] * dim + cols[None, :]
    packed = (start.to(tl.int64) + places)[:, None] * dim + cols[None, :]
    if INTO_ROWS:
        values = tl.load(source + packed, mask=real, other=0.0)
        inside = (places < length)[:, None] & (cols < dim)[None, :]
        tl.store(out + padded, values.to(out.dtype.element_ty), mask=inside)
    else:
        values = tl.load(source + padded, mask=real, other=0.0)
        tl.store(out + packed, values.to(out.dtype.element_ty), mask=real)


@operator(
    "(Tensor packed, Tensor starts, int length) -> Tensor",
    lambda packed, starts, length: packed.new_empty(
        len(starts) - 1, length, packed.shape[1], dtype=torch.float32
    ),
)
def unpack_rows(
    packed: Float[Tensor, "capacity dim"], starts: Int32[Tensor, " ends"], length: int
) -> Float[Tensor, "users {length} dim"]:
    """Padded rows in fp32; 0 at padding."""
    users, dim = len(starts) - 1, packed.shape[1]
    out = packed.new_empty(users, length, dim, dtype=torch.float32)
    unpack_kernel[(users, triton.cdiv(length, BLOCK))](
        packed, starts, out, length, dim, INTO_ROWS=True, BLOCK=BLOCK, COLS=power_of_two(dim)
    )
    return out


@operator("(Tensor rows, Tensor starts, Tensor(a!) out) -> ()", lambda *_: None, writes=("out",))
def pack_hidden(
    rows: Float[Tensor, "users length dim"],
    starts: Int32[Tensor, " ends"],
    out: Float[Tensor, "capacity dim"],
) -> None:
    """Write the values of padded rows side by side."""
    users, length, dim = rows.shape
    unpack_kernel[(users, triton.cdiv(length, BLOCK))](
        rows, starts, out, length, dim, INTO_ROWS=False, BLOCK=BLOCK, COLS=power_of_two(dim)
    )


class Unpacked(torch.autograd.Function):
    """Padded rows, and the gradients of what they were made of."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, starts: Tensor, length: int) -> Tensor:
        """Padded rows."""
        ctx.save_for_backward(starts)
        ctx.made_of = packed.shape, packed.dtype
        return unpack_rows(packed, starts, length)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_rows: Tensor) -> tuple[Tensor, None, None]:
        """Side by side again; 0 for what lies behind the last user's behaviours."""
        shape, dtype = ctx.made_of
        out = of_rows.new_zeros(shape, dtype=dtype)
        pack_hidden(of_rows.contiguous(), *ctx.saved_tensors, out)
        return out, None, None


def unpacked(
    hidden: Float[Tensor, "capacity dim"], batch: SideBySide
) -> Float[Tensor, "users length dim"]:
    """Hidden states in the rows of their users, in fp32; 0 at padding."""
    return Unpacked.apply(hidden, batch.starts, batch.rows.shape[1])
