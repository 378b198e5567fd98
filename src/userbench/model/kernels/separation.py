"""How alike the entries of a dictionary are, in one kernel; the gradient in one.

Plain version, on a CPU: `separation` of `methods/idicl.py`. Products are in float64.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl
from userbench.model.kernels.products import AT_ONCE, paired_products, products, row_values

Entries = Float[Tensor, "entries dim"]
EPS = 1e-12


@jit
def crossed(
    entries,
    entry,
    n,
    DIM: tl.constexpr,
    EPS: tl.constexpr,
    ENTRIES: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Cosines of one entry with all others (0 with itself), and 1 / the length of each."""
    own, all_entries = entry + tl.arange(0, 1), tl.arange(0, ENTRIES)
    squares = paired_products(entries, all_entries, all_entries, n, DIM, ENTRIES, AT_ONCE)
    scale = 1.0 / tl.maximum(tl.sqrt(squares), EPS)
    itself = all_entries == entry
    scale_of_own = tl.sum(tl.where(itself, scale, 0.0), 0)
    cosines = products(entries, own, all_entries, n, DIM, 1, ENTRIES, AT_ONCE)
    cosines = tl.sum(cosines, 0) * scale * scale_of_own
    return tl.where(itself | (all_entries >= n), 0.0, cosines), scale, scale_of_own


@jit
def forward_kernel(
    entries,
    out,
    n,
    DIM: tl.constexpr,
    EPS: tl.constexpr,
    ENTRIES: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """One program for all entries."""
    total = tl.zeros((ENTRIES,), tl.float64)
    squares = tl.zeros((ENTRIES,), tl.float64)
    for entry in range(0, n):
        cosines, _, _ = crossed(entries, entry, n, DIM, EPS, ENTRIES, AT_ONCE)
        total += cosines
        squares += cosines * cosines
    tl.store(out, tl.sqrt(tl.sum(squares, 0)).to(tl.float32))
    tl.store(out + 1, (tl.sum(total, 0) / tl.maximum(n * (n - 1), 1)).to(tl.float32))


@jit
def backward_kernel(
    of_norm, norm, entries, of_entries, n, DIM: tl.constexpr,
    EPS: tl.constexpr, ENTRIES: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One program for one entry."""
    entry = tl.program_id(0)
    cosines, scale, own = crossed(entries, entry, n, DIM, EPS, ENTRIES, AT_ONCE)
    size = tl.load(norm).to(tl.float64)
    # Twice, because each cosine stands in two places. Entries at right angles have no slope.
    of_cosines = cosines * (2.0 * tl.load(of_norm).to(tl.float64) / tl.where(size > 0.0, size, 1.0))
    along = tl.where(own * EPS < 1.0, tl.sum(of_cosines * cosines, 0), 0.0)
    weights = of_cosines * scale - tl.where(tl.arange(0, ENTRIES) == entry, along * own, 0.0)
    for start in range(0, DIM, AT_ONCE):
        columns = start + tl.arange(0, AT_ONCE)
        values = row_values(entries, tl.arange(0, ENTRIES), columns, n, DIM)
        found = tl.sum(weights[:, None] * values, 0) * own
        tl.store(of_entries + entry * DIM + columns, found.to(tl.float32), mask=columns < DIM)


@operator("(Tensor entries) -> Tensor", lambda entries: entries.new_empty(2))
def separation_forward(entries: Entries) -> Float[Tensor, "2"]:
    """Norm of all cosines between two entries, and their mean."""
    out = entries.new_empty(2)
    n, dim = entries.shape
    forward_kernel[(1,)](
        entries, out, n, DIM=dim, EPS=EPS, ENTRIES=power_of_two(n), AT_ONCE=AT_ONCE
    )
    return out


@operator(
    "(Tensor of_norm, Tensor norm, Tensor entries) -> Tensor",
    lambda _, __, entries: torch.empty_like(entries),
)
def separation_backward(
    of_norm: Float[Tensor, ""], norm: Float[Tensor, ""], entries: Entries
) -> Entries:
    """Gradient of the norm in the entries."""
    of_entries = torch.empty_like(entries)
    n, dim = entries.shape
    backward_kernel[(n,)](
        of_norm, norm, entries, of_entries, n,
        DIM=dim, EPS=EPS, ENTRIES=power_of_two(n), AT_ONCE=AT_ONCE,
    )  # fmt: skip
    return of_entries


class Separation(torch.autograd.Function):
    """The norm, its gradient, and the mean, which has none."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor) -> tuple[Tensor, Tensor]:
        """One kernel."""
        ctx.set_materialize_grads(False)
        norm, mean = separation_forward(entries).unbind()
        ctx.save_for_backward(norm, entries)
        ctx.mark_non_differentiable(mean)
        return norm, mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_norm: Tensor, _: None) -> Tensor:
        """One kernel."""
        return separation_backward(of_norm, *ctx.saved_tensors)


def separation(entries: Entries) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """||offdiag(D^ D^T)||_F of the entries in unit vectors, and their mean cosine."""
    return Separation.apply(entries)
