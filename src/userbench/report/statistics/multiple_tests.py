"""P-values of several tests at once: Holm's adjustment, and one row against all others."""

import numpy as np
from jaxtyping import Float


def holm(p: Float[np.ndarray, "*families tests"]) -> Float[np.ndarray, "*families tests"]:
    """P-values adjusted for the tests of a family (Holm, Scand. J. Statist. 1979).

    NaN is no test: it stays NaN and does not count, which statsmodels' `multipletests` cannot do.
    """
    order = p.argsort(-1)  # NaN last
    left = np.isfinite(p).sum(-1, keepdims=True) - np.arange(p.shape[-1])
    stepwise = np.maximum.accumulate(np.take_along_axis(p, order, -1) * left, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepwise, 1.0), -1)
    return adjusted


def holm_over_all(p: Float[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
    """P-values adjusted for all cells of a table, for sentences about the whole table."""
    return holm(np.ravel(p)).reshape(p.shape)


def against_all_others(
    difference: Float[np.ndarray, "*cells others"], p: Float[np.ndarray, "*cells others"]
) -> Float[np.ndarray, "*cells"]:
    """P-value of "better than every other row", or of "worse than at least one" where one leads.

    `p` is two-sided, of each difference to another row. A row is better than every other if every
    single test says so, which needs no correction (Berger, Technometrics 1982); it is worse than
    one of m if the least p, times m, says so (Bonferroni). No opponent is chosen by its score, so
    the choice favours none. Where a difference is NaN there is no opponent; where only its p is
    NaN, "better than every other" is undecided.
    """
    exists = np.isfinite(difference)
    leads = np.all((difference > 0) | ~exists, axis=-1) & exists.any(-1)
    behind = exists & (difference < 0) & np.isfinite(p)
    best = np.where(exists, p, -np.inf).max(-1)  # NaN stays NaN
    worst = np.where(behind, p, 1.0).min(-1) * exists.sum(-1)
    found = np.where(leads, best, np.minimum(worst, 1.0))
    return np.where(exists.any(-1) & (leads | behind.any(-1)), found, np.nan)
