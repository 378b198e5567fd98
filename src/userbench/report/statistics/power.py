"""Seeds needed: the power of a paired t test, and how uncertain that guess is."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import nct, t

from userbench.report.statistics.inference import LEVEL, NO_USER_NOISE, Noise

POWER = 0.8
MOST_SEEDS = 1000
# Why: the non-central t is certain long before, and fails to converge long after.
FARTHEST = 100.0


def seeds_needed(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    level: Float[np.ndarray, "*cells"] | float = LEVEL,
    users: Noise = NO_USER_NOISE,
) -> Float[np.ndarray, "*cells"]:
    """Seeds for 80% power of the test of a paired difference, taking it and its noise as true.

    The power is that of the non-central t (Cohen, Statistical Power Analysis, 1988, ch. 2) with
    Satterthwaite's degrees of freedom; more seeds do not reduce the users' noise, of which
    statsmodels' `TTestPower` knows nothing. Infinite above MOST_SEEDS; NaN where the spread is
    unknown.
    """
    difference, std = np.broadcast_arrays(np.abs(difference), std)

    def power(n: Int[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
        of_seeds = std**2 / n
        variance = of_seeds + users.variance
        with np.errstate(divide="ignore", invalid="ignore"):
            df = variance**2 / (of_seeds**2 / (n - 1.0) + users.variance**2 / users.df)
            far = difference / np.sqrt(variance)
        df = np.where(variance > 0, df, n - 1.0)
        return upper_power(
            np.where(variance > 0, far, np.sign(difference) * FARTHEST), df, level / 2
        )

    return np.where(np.isnan(std), np.nan, fewest(power, difference.shape))


def effect_interval(
    difference: Float[np.ndarray, "*cells"], std: Float[np.ndarray, "*cells"], seeds: int
) -> tuple[Float[np.ndarray, "*cells"], Float[np.ndarray, "*cells"]]:
    """90% interval of the size of a difference, in units of its noise over seeds, times `std`.

    By inverting the non-central t (Steiger and Fouladi, What If There Were No Significance Tests,
    1997, ch. 9). It bounds the guess of the seeds needed: with few seeds it is wide.
    scipy.special.nctdtrinc inverts it, too, but differs in the sixth digit.
    """
    df = seeds - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.abs(difference) / (std / np.sqrt(seeds))
    seen = np.nan_to_num(seen).clip(0, FARTHEST)
    bounds = []
    for probability in (0.95, 0.05):  # of a smaller value than was seen
        near, far = np.zeros_like(seen), np.full_like(seen, 2 * FARTHEST)
        for _ in range(40):
            middle = (near + far) / 2
            # NaN: the distribution is so far above that nothing of it is below.
            below = np.nan_to_num(nct.cdf(seen, df, middle)) <= probability
            near, far = np.where(below, near, middle), np.where(below, middle, far)
        bounds.append(far * std / np.sqrt(seeds))
    low, high = bounds
    return np.where(low < 1e-6 * std, 0.0, low), high


def upper_power(
    noncentrality: Float[np.ndarray, "*cells"],
    df: Float[np.ndarray, "*cells"],
    level: Float[np.ndarray, "*cells"] | float,
) -> Float[np.ndarray, "*cells"]:
    """Probability that a one-sided t test of this level rejects."""
    far = np.nan_to_num(noncentrality).clip(-FARTHEST, FARTHEST)
    return nct.sf(t.ppf(1 - level, df), df, far)


def fewest(
    power: Callable[[Int[np.ndarray, "*cells"]], Float[np.ndarray, "*cells"]],
    shape: tuple[int, ...],
) -> Float[np.ndarray, "*cells"]:
    """The least n from 2 to MOST_SEEDS with power 80%, by bisection; infinite where none has."""
    too_few, enough = np.full(shape, 1), np.full(shape, MOST_SEEDS + 1)
    while np.any(enough - too_few > 1):
        middle = (too_few + enough) // 2
        reached = power(np.maximum(middle, 2)) >= POWER
        too_few, enough = np.where(reached, too_few, middle), np.where(reached, middle, enough)
    return np.where(enough > MOST_SEEDS, np.inf, np.maximum(enough, 2))
