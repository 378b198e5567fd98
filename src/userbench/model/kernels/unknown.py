"""One candidate per example that its user is not known to like, in one kernel.

Plain version, on a CPU: `tasks.unknown_candidates` of `Ranking.known_to`; the integers are equal.
"""

from typing import Any

import torch
from jaxtyping import Float64, Int, Int64, UInt8
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl


@jit
def kernel(
    known, known_from, rows, last, picked, uniform, out, width, n_candidates, WIDTH: tl.constexpr
):
    """One program for one example; its user's positives ascend, with padding behind them."""
    program = tl.program_id(0)
    example = tl.load(picked + program)
    row, stage = tl.load(rows + example), tl.load(last + example)
    places = tl.arange(0, WIDTH)
    at = row * width + places
    candidate = tl.load(known + at, mask=places < width, other=n_candidates)
    since = tl.load(known_from + at, mask=places < width, other=255)
    real = ((candidate < n_candidates) & (since <= stage)).to(tl.int64)
    free = n_candidates - tl.sum(real)
    draw = (tl.load(uniform + program) * free).to(tl.int64)
    draw = tl.minimum(draw, free - 1)
    # Those before a known candidate that are free, too, are as many as it is itself, less the known
    # ones before it.
    free_before = candidate - (tl.cumsum(real, 0) - real)
    tl.store(out + program, draw + tl.sum(tl.where(free_before <= draw, real, 0)))


def traffic(known: Tensor, known_from: Tensor, rows: Tensor, last: Tensor, picked: Tensor,
            *_: Any) -> int:  # fmt: skip
    """Bytes that are read and written: of the tables only the rows of the examples."""
    return len(picked) * (9 * known.shape[1] + 8 + 1 + 3 * 8)


@operator(
    "(Tensor known, Tensor known_from, Tensor rows, Tensor last, Tensor picked, Tensor uniform,"
    " int n_candidates) -> Tensor",
    lambda known, known_from, rows, last, picked, *_: torch.empty_like(picked),
    traffic,
)
def unknown_candidates(
    known: Int64[Tensor, "rows known"], known_from: UInt8[Tensor, "rows known"],
    rows: Int64[Tensor, " examples"], last: UInt8[Tensor, " examples"],
    picked: Int64[Tensor, " users"], uniform: Float64[Tensor, " users"], n_candidates: int,
) -> Int[Tensor, " users"]:  # fmt: skip
    """The candidates that `uniform` numbers draw for the `picked` examples."""
    out = torch.empty_like(picked)
    width = known.shape[1]
    kernel[(len(picked),)](
        known, known_from, rows, last, picked, uniform, out, width, n_candidates,
        WIDTH=power_of_two(width),
    )  # fmt: skip
    return out
