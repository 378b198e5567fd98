"""Attention within each user's behaviours, side by side, with dropout on its probabilities.

Plain version, on a CPU: `encoder.SelfAttention`. One program for a user and a head: sequences are
short, so it goes through all their blocks, forwards (Rabe and Staats, 2021; Dao et al., 2022) and
backwards, and no sum is shared by programs.
"""

from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from userbench.model.kernels.language import Seed, jit, operator, power_of_two, tl, triton

Projected = Float[Tensor, "rows queries_keys_values"]
Mixed = Float[Tensor, "rows dim"]
Normaliser = Float[Tensor, "rows heads"]
BLOCK = 64
# Why: with fewer, a program's blocks do not fit into registers.
WARPS = 8


@jit
def part(base, rows, end, cols, row_stride, width):
    """A block of a head's queries, keys or values; 0 behind the last row."""
    at = rows.to(tl.int64)[:, None] * row_stride + cols[None, :]
    inside = (rows < end)[:, None] & (cols < width)[None, :]
    return tl.load(base + at, mask=inside, other=0.0)


@jit
def put(base, rows, end, cols, row_stride, width, values):
    """Write such a block."""
    at = rows.to(tl.int64)[:, None] * row_stride + cols[None, :]
    inside = (rows < end)[:, None] & (cols < width)[None, :]
    tl.store(base + at, values.to(base.dtype.element_ty), mask=inside)


@jit
def scores_of(
    query, key, of_query, of_key, end, scale, CAUSAL: tl.constexpr, PRECISION: tl.constexpr
):
    """Scores of some queries (rows) and keys (columns); -inf where one may not see the other."""
    scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * scale
    allowed = (of_query < end)[:, None] & (of_key < end)[None, :]
    if CAUSAL:
        allowed = allowed & (of_query[:, None] >= of_key[None, :])
    return tl.where(allowed, scores, -float("inf"))


@jit
def kept(seed, of_query, of_key, start, head, heads, longest, rate):
    """What dropout multiplies each probability by."""
    row = of_query.to(tl.int64)[:, None] * heads + head
    at = row * longest + (of_key - start)[None, :]
    return tl.where(tl.rand(seed, at.to(tl.int32)) >= rate, 1.0 / (1.0 - rate), 0.0)


@jit
def attention_kernel(
    projected, starts, seed, mixed, normaliser, users, capacity, heads, width, longest,
    place, rate, scale,
    CAUSAL: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    COLS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A user and a head; programs behind the last user clear a block of what is left each."""
    user, head = tl.program_id(0), tl.program_id(1)
    dim = heads * width
    cols = tl.arange(0, COLS)
    if user >= users:
        left = tl.load(starts + users) + (user - users) * BLOCK + tl.arange(0, BLOCK)
        nothing = tl.zeros((BLOCK, COLS), tl.float32)
        put(mixed + head * width, left, capacity, cols, dim, width, nothing)
    else:
        start, end = tl.load(starts + user), tl.load(starts + user + 1)
        drawn = tl.load(seed) + place
        of_head = projected + head * width
        for q0 in range(start, end, BLOCK):
            of_query = q0 + tl.arange(0, BLOCK)
            query = part(of_head, of_query, end, cols, 3 * dim, width)
            top = tl.full((BLOCK,), -float("inf"), tl.float32)
            total = tl.zeros((BLOCK,), tl.float32)
            sums = tl.zeros((BLOCK, COLS), tl.float32)
            for k0 in range(start, end, BLOCK):
                of_key = k0 + tl.arange(0, BLOCK)
                key = part(of_head + dim, of_key, end, cols, 3 * dim, width)
                value = part(of_head + 2 * dim, of_key, end, cols, 3 * dim, width)
                scores = scores_of(query, key, of_query, of_key, end, scale, CAUSAL, PRECISION)
                higher = tl.maximum(top, tl.max(scores, 1))
                # Why: a row that may see nothing yet has no highest score.
                level = tl.where(higher == -float("inf"), 0.0, higher)
                shares = tl.exp(scores - level[:, None])
                faded = tl.exp(top - level)
                total = total * faded + tl.sum(shares, 1)
                if DROP:
                    shares *= kept(drawn, of_query, of_key, start, head, heads, longest, rate)
                sums = sums * faded[:, None] + tl.dot(
                    shares.to(value.dtype), value, input_precision=PRECISION
                )
                top = higher
            real = of_query < end
            total = tl.where(real, total, 1.0)
            put(mixed + head * width, of_query, end, cols, dim, width, sums / total[:, None])
            tl.store(normaliser + of_query * heads + head, top + tl.log(total), mask=real)


@jit
def asked(projected, given, mixed, normaliser, of_query, end, head, heads, cols, width):
    """A block of queries, the gradients of what they took, these along it, and normalisers."""
    dim, first = heads * width, head * width
    query = part(projected + first, of_query, end, cols, 3 * dim, width)
    gradient = part(given + first, of_query, end, cols, dim, width)
    came_out = part(mixed + first, of_query, end, cols, dim, width)
    along = tl.sum(gradient.to(tl.float32) * came_out.to(tl.float32), 1)
    log_sum = tl.load(normaliser + of_query * heads + head, mask=of_query < end, other=0.0)
    return query, gradient, along, log_sum


@jit
def attention_gradient_kernel(
    given, projected, mixed, normaliser, starts, seed, out, users, capacity, heads, width, longest,
    place, rate, scale,
    CAUSAL: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    COLS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A user and a head: gradients of keys and values by blocks of keys, then those of queries."""
    user, head = tl.program_id(0), tl.program_id(1)
    dim = heads * width
    cols = tl.arange(0, COLS)
    of_head, result = projected + head * width, out + head * width
    if user >= users:
        left = tl.load(starts + users) + (user - users) * BLOCK + tl.arange(0, BLOCK)
        nothing = tl.zeros((BLOCK, COLS), tl.float32)
        for which in range(3):
            put(result + which * dim, left, capacity, cols, 3 * dim, width, nothing)
    else:
        start, end = tl.load(starts + user), tl.load(starts + user + 1)
        drawn = tl.load(seed) + place
        for k0 in range(start, end, BLOCK):
            of_key = k0 + tl.arange(0, BLOCK)
            key = part(of_head + dim, of_key, end, cols, 3 * dim, width)
            value = part(of_head + 2 * dim, of_key, end, cols, 3 * dim, width)
            by_key = tl.zeros((BLOCK, COLS), tl.float32)
            by_value = tl.zeros((BLOCK, COLS), tl.float32)
            for q0 in range(start, end, BLOCK):
                of_query = q0 + tl.arange(0, BLOCK)
                query, gradient, along, log_sum = asked(
                    projected, given, mixed, normaliser, of_query, end, head, heads, cols, width
                )
                scores = scores_of(query, key, of_query, of_key, end, scale, CAUSAL, PRECISION)
                shares = tl.exp(scores - log_sum[:, None])
                by_share = tl.dot(gradient, tl.trans(value), input_precision=PRECISION)
                dropped = shares
                if DROP:
                    keep = kept(drawn, of_query, of_key, start, head, heads, longest, rate)
                    by_share *= keep
                    dropped = shares * keep
                by_score = shares * (by_share - along[:, None])
                by_value += tl.dot(
                    tl.trans(dropped.to(gradient.dtype)), gradient, input_precision=PRECISION
                )
                by_key += tl.dot(
                    tl.trans(by_score.to(query.dtype)), query, input_precision=PRECISION
                )
            put(result + dim, of_key, end, cols, 3 * dim, width, by_key * scale)
            put(result + 2 * dim, of_key, end, cols, 3 * dim, width, by_value)
        for q0 in range(start, end, BLOCK):
            of_query = q0 + tl.arange(0, BLOCK)
            query, gradient, along, log_sum = asked(
                projected, given, mixed, normaliser, of_query, end, head, heads, cols, width
            )
            by_query = tl.zeros((BLOCK, COLS), tl.float32)
            for k0 in range(start, end, BLOCK):
                of_key = k0 + tl.arange(0, BLOCK)
                key = part(of_head + dim, of_key, end, cols, 3 * dim, width)
                value = part(of_head + 2 * dim, of_key, end, cols, 3 * dim, width)
                scores = scores_of(query, key, of_query, of_key, end, scale, CAUSAL, PRECISION)
                shares = tl.exp(scores - log_sum[:, None])
                by_share = tl.dot(gradient, tl.trans(value), input_precision=PRECISION)
                if DROP:
                    by_share *= kept(drawn, of_query, of_key, start, head, heads, longest, rate)
                by_score = shares * (by_share - along[:, None])
                by_query += tl.dot(by_score.to(key.dtype), key, input_precision=PRECISION)
            put(result, of_query, end, cols, 3 * dim, width, by_query * scale)


def sizes(projected: Projected, starts: Tensor, heads: int) -> dict[str, int]:
    """Block sizes and the numbers that both kernels need."""
    width = projected.shape[1] // (3 * heads)
    return {
        "users": len(starts) - 1,
        "capacity": len(projected),
        "heads": heads,
        "width": width,
        "scale": width**-0.5,
        # Why 16: the least side of a product on a GPU.
        "COLS": max(16, power_of_two(width)),
        "BLOCK": BLOCK,
    }


def precision_of(values: Tensor) -> str:
    """How products of fp32 are made: as torch makes its own."""
    exact = torch.get_float32_matmul_precision() == "highest"
    return "ieee" if exact and values.dtype == torch.float32 else "tf32"


def mixed_like(projected: Projected, starts: Tensor, seed: Tensor, heads: int, *_: Any):
    """Room for what comes out and for the normalisers of its softmaxes."""
    rows, columns = projected.shape
    normaliser = projected.new_empty(rows, heads, dtype=torch.float32)
    return projected.new_empty(rows, columns // 3), normaliser


@operator(
    "(Tensor projected, Tensor starts, Tensor seed, int heads, int longest, int place,"
    " float rate, bool causal) -> (Tensor, Tensor)",
    mixed_like,
)
def attention_forward(
    projected: Projected, starts: Int32[Tensor, " ends"], seed: Seed, heads: int, longest: int,
    place: int, rate: float, causal: bool,
) -> tuple[Mixed, Normaliser]:  # fmt: skip
    """What every behaviour takes from those of its user, and the softmaxes' normalisers."""
    mixed, normaliser = mixed_like(projected, starts, seed, heads)
    programs = len(starts) - 1 + triton.cdiv(len(projected), BLOCK)
    attention_kernel[(programs, heads)](
        projected, starts, seed, mixed, normaliser, longest=longest, place=place, rate=rate,
        CAUSAL=causal, DROP=rate > 0, PRECISION=precision_of(projected),
        num_warps=WARPS, **sizes(projected, starts, heads),
    )  # fmt: skip
    return mixed, normaliser


@operator(
    "(Tensor given, Tensor projected, Tensor mixed, Tensor normaliser, Tensor starts,"
    " Tensor seed, int heads, int longest, int place, float rate, bool causal) -> Tensor",
    lambda given, projected, *_: torch.empty_like(projected),
)
def attention_backward(
    given: Mixed, projected: Projected, mixed: Mixed, normaliser: Normaliser,
    starts: Int32[Tensor, " ends"], seed: Seed, heads: int, longest: int, place: int,
    rate: float, causal: bool,
) -> Projected:  # fmt: skip
    """Gradients of queries, keys and values."""
    out = torch.empty_like(projected)
    programs = len(starts) - 1 + triton.cdiv(len(projected), BLOCK)
    attention_gradient_kernel[(programs, heads)](
        given, projected, mixed, normaliser, starts, seed, out, longest=longest, place=place,
        rate=rate, CAUSAL=causal, DROP=rate > 0, PRECISION=precision_of(projected),
        num_warps=WARPS, **sizes(projected, starts, heads),
    )  # fmt: skip
    return out


class Attention(torch.autograd.Function):
    """The operator and its gradient; probabilities are made again."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, starts: Tensor, seed: Tensor, *drawn: Any) -> Tensor:
        """What every behaviour takes from the others."""
        mixed, normaliser = attention_forward(projected, starts, seed, *drawn)
        ctx.save_for_backward(projected, mixed, normaliser, starts, seed)
        ctx.drawn = drawn
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple:
        """One kernel."""
        of_projected = attention_backward(given.contiguous(), *ctx.saved_tensors, *ctx.drawn)
        return of_projected, *[None] * 7


def attention(
    projected: Projected, starts: Int32[Tensor, " ends"], seed: Seed, heads: int, longest: int,
    place: int, rate: float, causal: bool,
) -> Mixed:  # fmt: skip
    """Multi-head attention of each user's behaviours among themselves.

    `projected`: queries, keys and values of all heads, side by side; `longest`: no user has more
    behaviours; `rate`: of dropout on the probabilities; `causal`: none sees a later one.
    """
    return Attention.apply(projected, starts, seed, heads, longest, place, rate, causal)
