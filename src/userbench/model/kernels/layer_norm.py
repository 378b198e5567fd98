"""LayerNorm of a program's rows, and its gradient: what kernels that end in a norm share."""

from userbench.model.kernels.language import jit, tl

EPS = 1e-12


@jit
def normalised(total, inside, dim, EPS: tl.constexpr):
    """Rows minus their mean over their standard deviation, and 1 / the latter."""
    mean = tl.sum(total, 1) / dim
    centred = tl.where(inside, total - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / dim + EPS)
    return centred * rstd[:, None], rstd


@jit
def norm_gradient(given, unit, rstd, scale, inside, dim):
    """Gradient of what was normalised to `unit` and multiplied by `scale`."""
    inner = given * scale[None, :]
    along = tl.sum(inner * unit, 1) / dim
    rest = inner - tl.sum(inner, 1)[:, None] / dim - unit * along[:, None]
    return tl.where(inside, rest * rstd[:, None], 0.0)
