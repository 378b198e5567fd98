"""log(1 + x) with all its digits where x is small, in float64: Triton has none."""

from userbench.model.kernels.language import jit, tl


@jit
def log1p(x):
    """log(1 + x) for x >= 0."""
    series = x * (1.0 - x * (0.5 - x * (0.3333333333333333 - x * 0.25)))
    return tl.where(x < 1e-4, series, tl.log(1.0 + x))
