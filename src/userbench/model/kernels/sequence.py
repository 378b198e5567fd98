"""What one program of a kernel does to one sequence: the operators of `augment`, one at a time.

Kernels that draw views call these, with numbers in [0, 1) that were drawn before: given the same
numbers they make exactly the views of `augment`. Only equal keys differ: here the earlier position
comes first, there it is left to torch's sort. A sequence has at least one behaviour.
"""

from userbench.model.kernels.language import jit, tl

# Why: comparing 256 keys with 32 at a time, eight warps have 124 registers each on an H100, and
# none is spilled; with four, or 64 at a time, nearly all 255 are used or some are spilled.
STEP, WARPS = 32, 8


@jit
def length_of(row, position, width):
    """Number of behaviours in a row of `width`."""
    behaviours = tl.load(row + position, mask=position < width, other=0)
    return tl.sum((behaviours != 0).to(tl.int32), 0)


@jit
def ceil_share(length, thousandths):
    """ceil(ratio * length)."""
    return (length * thousandths + 999) // 1000


@jit
def floor_share(length, thousandths):
    """floor(ratio * length), at least one."""
    return tl.maximum(length * thousandths // 1000, 1)


@jit
def proper_share(length, thousandths):
    """ceil(ratio * length), or less where that is the whole sequence."""
    up = ceil_share(length, thousandths)
    down = tl.minimum(length * thousandths // 1000, length - 1)
    return tl.where(up < length, up, down)


@jit
def below(uniform, choices):
    """One of 0 .. choices - 1; -1 where there are no choices."""
    return tl.minimum((tl.load(uniform) * choices.to(tl.float64)).to(tl.int32), choices - 1)


@jit
def ranks(keys, position, first, end, BLOCK: tl.constexpr, STEP: tl.constexpr):
    """Of each position from `first` to `end` how many keys among them come before its own.

    Positions outside have no key; their rank is the number of keys.
    """
    inside = (position >= first) & (position < end)
    own = tl.load(keys + position, mask=inside, other=2.0)
    before = tl.zeros([BLOCK], tl.int32)
    # Why counting: a sort of 150 keys by comparing all pairs needs no step that waits for another.
    for start in range(first, end, STEP):
        other = start + tl.arange(0, STEP)
        theirs = tl.load(keys + other, mask=other < end, other=2.0)
        ahead = theirs[None, :] < own[:, None]
        ahead |= (theirs[None, :] == own[:, None]) & (other[None, :] < position[:, None])
        before += tl.sum((ahead & (other < end)[None, :]).to(tl.int32), 1)
    return before


@jit
def write_window(row, out, position, start, count, room):
    """`count` behaviours from `start` on, and padding to `room`."""
    values = tl.load(row + start + position, mask=position < count, other=0)
    tl.store(out + position, values.to(tl.int64), mask=position < room)


@jit
def write_cropped(row, out, uniform, position, length, thousandths, room):
    """A contiguous run of ceil(ratio * n) behaviours."""
    count = tl.maximum(ceil_share(length, thousandths), 1)
    start = below(uniform, length - count + 1)
    write_window(row, out, position, start, count, room)


@jit
def write_reordered(
    row, out, uniform, order, position, length, thousandths, room,
    BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The sequence, with a contiguous run of ceil(ratio * n) behaviours shuffled."""
    count = ceil_share(length, thousandths)
    start = below(uniform, length - count + 1)
    inside = (position >= start) & (position < start + count)
    rank = ranks(order, position, start, start + count, BLOCK, STEP)
    values = tl.load(row + position, mask=position < length, other=0)
    tl.store(out + tl.where(inside, start + rank, position), values, mask=position < room)


@jit
def write_masked(
    row, out, keys, position, length, thousandths, mask_id, room,
    BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The sequence, with ceil(ratio * n) behaviours masked, never all."""
    chosen = ranks(keys, position, 0, length, BLOCK, STEP) < proper_share(length, thousandths)
    values = tl.load(row + position, mask=position < length, other=0)
    tl.store(out + position, tl.where(chosen, mask_id, values), mask=position < room)


@jit
def write_substituted(
    row, out, keys, neighbours, position, length, thousandths, room,
    BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The sequence, with max(1, floor(ratio * n)) behaviours replaced by their neighbours."""
    chosen = ranks(keys, position, 0, length, BLOCK, STEP) < floor_share(length, thousandths)
    values = tl.load(row + position, mask=position < length, other=0)
    others = tl.load(neighbours + values, mask=chosen, other=0)
    tl.store(out + position, tl.where(chosen, others, values), mask=position < room)


@jit
def write_inserted(
    row, out, keys, neighbours, position, length, thousandths, room,
    BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The end of the sequence with the neighbours of max(1, floor(ratio * n)) before them."""
    added = floor_share(length, thousandths)
    anchors = ranks(keys, position, 0, length, BLOCK, STEP) < added
    values = tl.load(row + position, mask=position < length, other=0)
    others = tl.load(neighbours + values, mask=anchors, other=0)
    total = length + added
    place = position + tl.cumsum(anchors.to(tl.int32), 0) - tl.maximum(total - room, 0)
    tl.store(out + place, values, mask=(position < length) & (place >= 0))
    tl.store(out + place - 1, others, mask=anchors & (place >= 1))
    padding = (position >= total) & (position < room)
    tl.store(out + position, tl.zeros_like(values), mask=padding)
