"""Is our mean above a published one by more than a margin, below it by more, or within it?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t

from userbench.report.statistics.inference import LEVEL, Noise, of_runs
from userbench.report.statistics.power import fewest, upper_power


class ThreeSided(NamedTuple):
    """A difference of two means, its 90% interval, and p-values of the three null hypotheses: that
    the difference is not above, not within and not below the margin."""

    value: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    p_better: Float[np.ndarray, "*cells"]
    p_same: Float[np.ndarray, "*cells"]
    p_worse: Float[np.ndarray, "*cells"]


def of_test_users(std: Float[np.ndarray, "*cells"]) -> Noise:
    """Noise of two draws of test users, ours and theirs: twice the variance of one.

    They are taken as independent, and their variance as known. Independence is on the safe side:
    where both are a fifth of the same users, a fifth of either is in both, and the true variance is
    a fifth smaller.
    """
    return Noise(2 * std**2, np.inf)


def welch(
    parts: Sequence[Noise],
) -> tuple[Float[np.ndarray, "*cells"], Float[np.ndarray, "*cells"]]:
    """Standard error of a sum of independent parts, and its degrees of freedom.

    Welch, Biometrika 1947; Satterthwaite, Biometrics Bulletin 1946. NaN where a part is NaN.
    """
    total = np.sum([part.variance for part in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(total), total**2 / np.sum([p.variance**2 / p.df for p in parts], axis=0)


def three_sided_test(
    difference: Float[np.ndarray, "*cells"],
    parts: Sequence[Noise],
    margin: Float[np.ndarray, "*cells"],
) -> ThreeSided:
    """Tests whether our mean is above theirs by more than the margin, below by more, or within it.

    Two one-sided tests of equivalence (Schuirmann, J. Pharmacokinet. Biopharm. 1987) beside those
    of either difference (Goeman, Solari and Stijnen, Stat. Med. 2010), each at 5% by Welch's t: an
    answer holds where the 90% interval lies entirely on its side. NaN where a part is unknown.
    statsmodels' `ttost_ind` has two samples, and no part that is known, such as test users.
    """
    error, df = welch(parts)
    above, below = (difference - margin) / error, (difference + margin) / error
    half = t.ppf(1 - LEVEL, df) * error
    return ThreeSided(
        difference,
        difference - half,
        difference + half,
        p_better=t.sf(above, df),
        p_same=np.maximum(t.cdf(above, df), t.sf(below, df)),
        p_worse=t.cdf(below, df),
    )


def power_to_decide(
    difference: Float[np.ndarray, "*cells"],
    parts: Sequence[Noise],
    margin: Float[np.ndarray, "*cells"],
) -> Float[np.ndarray, "*cells"]:
    """Power of `three_sided_test` for the true answer, if this difference is the true one.

    That of equivalence is approximated by the non-central t as usual (Chow, Shao and Wang, Sample
    Size Calculations, 2008, ch. 3).
    """
    error, df = welch(parts)
    inside, other = ((margin + sign * np.abs(difference)) / error for sign in (-1, 1))
    same = upper_power(inside, df, LEVEL) + upper_power(other, df, LEVEL) - 1
    return np.where(inside > 0, same, upper_power(-inside, df, LEVEL))


def seeds_to_decide(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    others: Sequence[Noise],
    margin: Float[np.ndarray, "*cells"],
) -> Float[np.ndarray, "*cells"]:
    """Our seeds for 80% power of `three_sided_test`, if difference and spread are the true ones.

    The other parts of the error stay as they are, so there may be no such number: infinite then.
    NaN where our spread is unknown.
    """

    def power(n: Int[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
        return power_to_decide(difference, [of_runs(std, n), *others], margin)

    return np.where(np.isnan(std), np.nan, fewest(power, difference.shape))
