"""How far unit vectors spread along each column, in one kernel.

Plain version, on a CPU: `spread` of `methods/clue.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.kernels.language import jit, operator, power_of_two, tl, triton

EPS = 1e-12
COLS = 8


@jit
def kernel(users, out, n, dim, EPS: tl.constexpr, USERS: tl.constexpr, COLS: tl.constexpr):
    """One program for `COLS` columns."""
    user, column = tl.arange(0, USERS), tl.arange(0, COLS)
    squares = tl.zeros((USERS, COLS), tl.float32)
    for start in range(0, dim, COLS):
        cols = start + column
        inside = (user < n)[:, None] & (cols < dim)[None, :]
        values = tl.load(users + user[:, None] * dim + cols[None, :], mask=inside, other=0.0)
        squares += values * values
    scale = 1.0 / tl.maximum(tl.sqrt(tl.sum(squares, 1)), EPS)
    cols = tl.program_id(0) * COLS + column
    inside = (user < n)[:, None] & (cols < dim)[None, :]
    values = tl.load(users + user[:, None] * dim + cols[None, :], mask=inside, other=0.0)
    values = values * scale[:, None]
    centred = tl.where(inside, values - tl.sum(values, 0)[None, :] / n, 0.0)
    variance = tl.sum(centred * centred, 0) / (n - 1)
    tl.store(out + cols, tl.sqrt(variance * dim), mask=cols < dim)


@operator("(Tensor users) -> Tensor", lambda users: users.new_empty(users.shape[1]))
def spreads(users: Float[Tensor, "users dim"]) -> Float[Tensor, " dim"]:
    """Standard deviation of each column of unit vectors over all users, times sqrt(d)."""
    n, dim = users.shape
    out = torch.empty(dim, device=users.device)
    kernel[(triton.cdiv(dim, COLS),)](users, out, n, dim, EPS=EPS, USERS=power_of_two(n), COLS=COLS)
    return out
