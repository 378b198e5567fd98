"""What few seeds can tell: intervals, tests, and how many seeds a test would need.

Functions of arrays whose last axis is the seeds. Why Student's t and no bootstrap: of three normal
values, a 95% percentile bootstrap interval covers the mean in 75% of all cases, of five in 84%; and
Wilcoxon's signed-rank test of five pairs cannot go below p = 0.06.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.stats import nct, rankdata, t

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 1000
# Why: the non-central t is certain long before, and fails to converge long after.
FARTHEST = 100.0


class Estimate(NamedTuple):
    """A figure and its confidence interval; NaN bounds where there is no telling."""

    value: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]


class Difference(NamedTuple):
    """Mean and sample std of paired differences, its interval, and the p value of "none"."""

    value: Float[np.ndarray, "*cells"]
    std: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    p: Float[np.ndarray, "*cells"]


class ThreeSided(NamedTuple):
    """A difference of two means, its 90% interval, and p values of "not so" of three answers."""

    value: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    p_better: Float[np.ndarray, "*cells"]
    p_same: Float[np.ndarray, "*cells"]
    p_worse: Float[np.ndarray, "*cells"]


class Sample(NamedTuple):
    """Mean, sample std and size: what is published of a figure; NaN of what is not known."""

    mean: Float[np.ndarray, "*cells"]
    std: Float[np.ndarray, "*cells"]
    n: Num[np.ndarray, "*cells"] | int


# ------------------------------------------------------------------------------------------ seeds


def sample(values: Float[np.ndarray, "*cells seeds"]) -> Sample:
    """Mean and sample std (n - 1) over seeds; the std of one is NaN."""
    n = values.shape[-1]
    spread = values.std(-1, ddof=1) if n > 1 else np.full(values.shape[:-1], np.nan)
    return Sample(values.mean(-1), spread, n)


def student_interval(over_seeds: Sample) -> Estimate:
    """Mean with its 95% interval (Student, Biometrika 1908); without, where the std is NaN."""
    mean, std, n = over_seeds
    half = t.ppf(1 - LEVEL / 2, np.maximum(n - 1, 1)) * std / np.sqrt(n)
    return Estimate(mean, mean - half, mean + half)


def interval_of(mean: float, std: float, seeds: int) -> tuple[float, float]:
    """`student_interval` of one figure; NaN where there is one seed."""
    _, low, high = student_interval(Sample(np.array(mean), np.array(std), seeds))
    return float(low), float(high)


def paired_test(differences: Float[np.ndarray, "*cells seeds"]) -> Difference:
    """Student's paired t test, two-sided; of one seed p is NaN, where nothing differs it is 1."""
    mean, std, n = sample(differences)
    low, high = student_interval(Sample(mean, std, n))[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where((mean == 0) & (std == 0), 0.0, np.abs(mean) / (std / np.sqrt(n)))
    return Difference(mean, std, low, high, 2 * t.sf(statistic, max(n - 1, 1)))


def holm(p: Float[np.ndarray, "*families tests"]) -> Float[np.ndarray, "*families tests"]:
    """P values adjusted for the tests of a family (Holm, Scand. J. Statist. 1979).

    A NaN is no test: it stays, and does not count.
    """
    order = p.argsort(-1)  # NaN last
    left = np.isfinite(p).sum(-1, keepdims=True) - np.arange(p.shape[-1])
    stepwise = np.maximum.accumulate(np.take_along_axis(p, order, -1) * left, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepwise, 1.0), -1)
    return adjusted


def seeds_needed(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    level: Float[np.ndarray, "*cells"] | float = LEVEL,
) -> Float[np.ndarray, "*cells"]:
    """Seeds for 80% power of the paired t test, were difference and spread the true ones.

    The power is that of the non-central t (Cohen, Statistical Power Analysis, 1988, ch. 2). Above
    MOST_SEEDS infinite; NaN where the spread is unknown.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.abs(difference) / std

    def power(n: Int[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
        return upper_power(effect * np.sqrt(n), n - 1.0, level / 2)

    return np.where(np.isnan(effect), np.nan, fewest(power, effect.shape))


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


# ----------------------------------------------------------------------- against published figures


class Part(NamedTuple):
    """A part of a squared standard error, and its degrees of freedom: infinite if known."""

    variance: Float[np.ndarray, "*cells"]
    df: Num[np.ndarray, "*cells"] | float


def of_runs(std: Float[np.ndarray, "*cells"], n: Num[np.ndarray, "*cells"] | int) -> Part:
    """What the spread over n runs leaves of their mean's error."""
    return Part(std**2 / n, n - 1)


def of_test_users(std: Float[np.ndarray, "*cells"]) -> Part:
    """What two draws of test users, ours and theirs, add: twice the variance of one.

    Taken as independent and as known. Independence is on the safe side: where both are a fifth of
    the same users, a fifth of either is in both, and the true variance is a fifth smaller.
    """
    return Part(2 * std**2, np.inf)


def welch(
    parts: Sequence[Part],
) -> tuple[Float[np.ndarray, "*cells"], Float[np.ndarray, "*cells"]]:
    """Standard error of a sum of independent parts, and its degrees of freedom.

    Welch, Biometrika 1947; Satterthwaite, Biometrics Bulletin 1946. NaN where a part is NaN.
    """
    total = np.sum([part.variance for part in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(total), total**2 / np.sum([p.variance**2 / p.df for p in parts], axis=0)


def three_sided_test(
    difference: Float[np.ndarray, "*cells"],
    parts: Sequence[Part],
    margin: Float[np.ndarray, "*cells"],
) -> ThreeSided:
    """Is our figure above theirs by more than the margin, below it by more, or within it?

    Two one-sided tests of equivalence (Schuirmann, J. Pharmacokinet. Biopharm. 1987) beside those
    of either difference (Goeman, Solari and Stijnen, Stat. Med. 2010), each of 5% by Welch's t: one
    answer holds where the 90% interval lies wholly on its side. NaN where a part is unknown.
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


def power_to_tell(
    difference: Float[np.ndarray, "*cells"],
    parts: Sequence[Part],
    margin: Float[np.ndarray, "*cells"],
) -> Float[np.ndarray, "*cells"]:
    """Power of `three_sided_test` for the answer that is true, were this difference the true one.

    That of equivalence is approximated by non-central t as usual (Chow, Shao and Wang, Sample Size
    Calculations, 2008, ch. 3).
    """
    error, df = welch(parts)
    inside, other = ((margin + sign * np.abs(difference)) / error for sign in (-1, 1))
    same = upper_power(inside, df, LEVEL) + upper_power(other, df, LEVEL) - 1
    return np.where(inside > 0, same, upper_power(-inside, df, LEVEL))


def seeds_to_tell(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    others: Sequence[Part],
    margin: Float[np.ndarray, "*cells"],
) -> Float[np.ndarray, "*cells"]:
    """Our seeds for 80% power of `three_sided_test`, were difference and spread the true ones.

    The other parts of the error stay as they are, so there may be no such number: infinite. NaN
    where our spread is unknown.
    """

    def power(n: Int[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
        return power_to_tell(difference, [of_runs(std, n), *others], margin)

    return np.where(np.isnan(std), np.nan, fewest(power, difference.shape))


# ---------------------------------------------------------------------------------- over the tasks


def average_rank(means: Float[np.ndarray, "*draws tasks rows"]) -> Float[np.ndarray, "*draws rows"]:
    """Mean over tasks of each row's rank (1 = best); equals share theirs (Demsar, JMLR 2006)."""
    return rankdata(-means, axis=-1).mean(-2)


def probability_of_improvement(
    values: Float[np.ndarray, "tasks rows seeds"],
    opponents: Int[np.ndarray, " rows"],
    counts: Int[np.ndarray, "draws tasks seeds"],
) -> Float[np.ndarray, "draws rows"]:
    """Mean over tasks of P(a row's score > its opponent's), ties one half, over pairs of seeds.

    Agarwal et al., Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021, section 4.3.
    `counts` says how often each seed of a task is drawn; ones give the estimate itself.
    """
    difference = values[:, :, :, None] - values[:, opponents, None, :]
    wins = (np.sign(difference) + 1) / 2
    share = counts / counts.sum(-1, keepdims=True)
    return np.einsum("dts,trsu,dtu->dtr", share, wins, share, optimize=True).mean(1)


def seed_draws(tasks: int, seeds: int, draws: int) -> Int[np.ndarray, "draws tasks seeds"]:
    """How often each seed is drawn, with replacement, each task by itself (a stratified bootstrap).

    A seed is drawn for all rows at once, as they share splits and start with it.
    """
    generator = np.random.default_rng(0)
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=(draws, tasks))


def percentile_interval(
    value: Float[np.ndarray, " rows"], drawn: Float[np.ndarray, "draws rows"], seeds: int
) -> Estimate:
    """A figure with its 95% percentile bootstrap interval; of one seed, without.

    It is too narrow: over six tasks it covers about 86% with three seeds and 92% with five.
    """
    if seeds == 1:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return Estimate(value, low, high)
