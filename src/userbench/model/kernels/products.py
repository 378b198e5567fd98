"""Dot products of rows of one matrix, in float64, as kernels of losses make them block by block."""

from userbench.model.kernels.language import jit, tl

AT_ONCE = 16
"""Columns of the matrix that are multiplied at once."""


@jit
def row_values(matrix, rows, columns, n, DIM: tl.constexpr):
    """Values of some rows and columns, in float64; 0 outside of the matrix."""
    inside = (rows < n)[:, None] & (columns < DIM)[None, :]
    at = rows.to(tl.int64)[:, None] * DIM + columns[None, :]
    return tl.load(matrix + at, mask=inside, other=0.0).to(tl.float64)


@jit
def products(
    matrix, left, right, n,
    DIM: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Of each of the `left` rows with each of the `right` ones."""
    # Why kept apart by column until the end: a sum over columns is made once, not in every turn.
    # Why static: unrolled, so that all loads are under way at once.
    parts = tl.zeros((LEFT, RIGHT, AT_ONCE), tl.float64)
    for start in tl.static_range(0, DIM, AT_ONCE):
        columns = start + tl.arange(0, AT_ONCE)
        one = row_values(matrix, left, columns, n, DIM)
        other = row_values(matrix, right, columns, n, DIM)
        parts += one[:, None, :] * other[None, :, :]
    return tl.sum(parts, 2)


@jit
def paired_products(
    matrix, left, right, n, DIM: tl.constexpr, ROWS: tl.constexpr, AT_ONCE: tl.constexpr
):
    """Of each of the `left` rows with the `right` one at the same place."""
    parts = tl.zeros((ROWS, AT_ONCE), tl.float64)
    for start in tl.static_range(0, DIM, AT_ONCE):
        columns = start + tl.arange(0, AT_ONCE)
        one = row_values(matrix, left, columns, n, DIM)
        parts += one * row_values(matrix, right, columns, n, DIM)
    return tl.sum(parts, 1)
