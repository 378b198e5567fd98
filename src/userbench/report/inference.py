"""Significance of results over seeds and over test users: intervals, tests, seeds needed.

Functions of arrays whose last axis is the seeds. A mean of scores has two kinds of noise: other
seeds would train other models, and other test users would score the same models otherwise. More
seeds lower only the first. docs/statistics.md says which number is over which of them.

Why Student's t and no bootstrap over seeds: of three normal values, a 95% percentile bootstrap
interval covers the mean in 75% of all cases, of five in 84%; and Wilcoxon's signed-rank test of
five pairs cannot go below p = 0.06.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import ndtr, stdtr, stdtrit
from scipy.stats import nct, rankdata, t

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 1000
# Why: the non-central t is certain long before, and fails to converge long after.
FARTHEST = 100.0
# Why not 0: equal differences of floats spread by rounding. Scores are percent.
NO_SPREAD = 1e-8
NORMAL_GRID = np.linspace(-8.0, 8.0, 601)
CELLS_AT_ONCE = 2048  # bounds the memory of one (cells, grid) matrix


class Estimate(NamedTuple):
    """A value and its confidence interval; NaN bounds where there is none."""

    value: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]


class Noise(NamedTuple):
    """Estimated variance of a mean, and degrees of freedom of that estimate; infinite if known."""

    variance: Float[np.ndarray, "*cells"]
    df: Num[np.ndarray, "*cells"] | float


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


# ------------------------------------------------------------------------------------------ noise


def sample(values: Float[np.ndarray, "*cells seeds"]) -> Sample:
    """Mean and sample std (n - 1) over seeds; the std of one is NaN."""
    n = values.shape[-1]
    spread = values.std(-1, ddof=1) if n > 1 else np.full(values.shape[:-1], np.nan)
    return Sample(values.mean(-1), spread, n)


def of_runs(std: Float[np.ndarray, "*cells"], n: Num[np.ndarray, "*cells"] | int) -> Noise:
    """Variance that the spread over n runs leaves to their mean."""
    return Noise(std**2 / n, n - 1)


def seed_noise(over_seeds: Sample) -> Noise:
    """Variance that other seeds would give the mean; NaN of one seed, and where no seed differs.

    Why NaN where none differs: no spread is no evidence that there is none. Seeds that all give
    one score are mostly models that all answer the same.
    """
    _, std, n = over_seeds
    return of_runs(np.where(std > NO_SPREAD, std, np.nan), n)


def user_noise(
    drawn: Float[np.ndarray, "resamples ..."], users: Num[np.ndarray, "..."] | int
) -> Noise:
    """Variance that other test users would give a mean, from its values on draws of the `users`.

    A bootstrap variance of n users is (n - 1) / n of an unbiased one, and its own error is that of
    n - 1 values and of a finite number of draws (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, 19.3). Draws in which a metric is undefined are left out.
    """
    defined = np.isfinite(drawn)
    draws = defined.sum(0)
    filled = np.where(defined, drawn, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(0) / draws
        variance = (defined * (filled - mean) ** 2).sum(0) / (draws - 1)
        correction = users / (np.maximum(users, 2) - 1)
        df = 1 / (1 / (np.maximum(users, 2) - 1) + 1 / np.maximum(draws - 1, 1))
    return Noise(variance * correction, df)


NO_USER_NOISE = Noise(np.zeros(()), 1.0)


def tail(
    distance: Float[np.ndarray, "*cells"], seeds: Noise, users: Noise
) -> Float[np.ndarray, "*cells"]:
    """Probability that noise alone takes a mean farther than `distance` from its true value.

    Behrens and Fisher's distribution of a sum of two independent t values, each of its own degrees
    of freedom (Fisher, Annals of Eugenics 1935). Why not one t of Welch and Satterthwaite's
    degrees: with three seeds it rejects a true hypothesis in up to 8% of cases at a level of 5%,
    and in 16 times too many at .05 / 54, the level of a whole table; this one in 5% at most, at any
    level. It is an integral over the users' t, whose quantiles are those of a normal grid.
    """
    if not np.any(users.variance):  # Student's t alone needs no integral
        return 2 * stdtr(seeds.df, -np.abs(distance) / np.sqrt(seeds.variance))
    parts = np.broadcast_arrays(distance, seeds.variance, seeds.df, users.variance, users.df)
    shape = parts[0].shape
    flat = np.stack([np.ravel(part).astype(float) for part in parts])
    weights = np.exp(-(NORMAL_GRID**2) / 2)
    weights /= weights.sum()
    found = []
    for some in np.array_split(flat, -(-flat.shape[1] // CELLS_AT_ONCE) or 1, axis=1):
        far, seed_variance, seed_df, user_variance, user_df = some[..., None]
        by_users = np.sqrt(user_variance) * stdtrit(user_df, ndtr(NORMAL_GRID))
        beyond = stdtr(seed_df, -(np.abs(far) - by_users) / np.sqrt(seed_variance))
        found.append(2 * (weights * beyond).sum(-1))
    return np.minimum(np.concatenate(found), 1.0).reshape(shape)


def confidence_interval(
    mean: Float[np.ndarray, "*cells"], seeds: Noise, users: Noise = NO_USER_NOISE
) -> Estimate:
    """A mean with its 95% interval, in which `tail` of a bound's distance is 5%.

    Without `users`, Student's (Biometrika 1908). NaN bounds where a noise is not known.
    """
    parts = np.broadcast_arrays(mean, seeds.variance, seeds.df, users.variance, users.df)
    mean, seeds, users = parts[0], Noise(*parts[1:3]), Noise(*parts[3:])
    by_seeds, by_users = (
        stdtrit(noise.df.astype(float), 1 - LEVEL / 2) * np.sqrt(noise.variance)
        for noise in (seeds, users)
    )
    # The half width lies between the larger part and the sum of both: bisection.
    near, far = np.maximum(by_seeds, by_users), by_seeds + by_users
    while np.any(far - near > 1e-6 * far):
        middle = (near + far) / 2
        inside = tail(middle, seeds, users) > LEVEL
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return Estimate(mean, mean - far, mean + far)


def interval_of(
    mean: float, std: float, seeds: int, users: Noise = NO_USER_NOISE
) -> tuple[float, float]:
    """`confidence_interval` of one mean; NaN where no seed differs."""
    noise = seed_noise(Sample(mean, np.array([std]), seeds))
    _, low, high = confidence_interval(np.array([mean]), noise, users)
    return low.item(), high.item()


# ------------------------------------------------------------------------------------------ tests


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


def holm_over_all(p: Float[np.ndarray, "*cells"]) -> Float[np.ndarray, "*cells"]:
    """P values adjusted for all cells of a table: what one sentence about all of it needs."""
    return holm(np.ravel(p)).reshape(p.shape)


def against_all_others(
    difference: Float[np.ndarray, "*cells others"], p: Float[np.ndarray, "*cells others"]
) -> Float[np.ndarray, "*cells"]:
    """P value of "better than every other", or of "worse than at least one other" where one leads.

    `p` is two-sided, of each difference to another row; a row is better than every other only where
    every single test says so, which needs no correction (Berger, Technometrics 1982); it is worse
    than one of m where the least p does, times m (Bonferroni). No opponent is chosen by its score,
    so none is favoured by the choice. A NaN difference is nobody to compare with; a NaN p of one
    who is there leaves "better than every other" open.
    """
    there = np.isfinite(difference)
    leads = np.all((difference > 0) | ~there, axis=-1) & there.any(-1)
    behind = there & (difference < 0) & np.isfinite(p)
    best = np.where(there, p, -np.inf).max(-1)  # NaN stays NaN
    worst = np.where(behind, p, 1.0).min(-1) * there.sum(-1)
    found = np.where(leads, best, np.minimum(worst, 1.0))
    return np.where(there.any(-1) & (leads | behind.any(-1)), found, np.nan)


# ------------------------------------------------------------------------------------ seeds needed


def seeds_needed(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    level: Float[np.ndarray, "*cells"] | float = LEVEL,
    users: Noise = NO_USER_NOISE,
) -> Float[np.ndarray, "*cells"]:
    """Seeds for 80% power of the test of a paired difference, were it and its noise the true ones.

    The power is that of the non-central t (Cohen, Statistical Power Analysis, 1988, ch. 2) with
    Satterthwaite's degrees of freedom; the users' noise stays as it is, however many seeds there
    are. Above MOST_SEEDS infinite; NaN where the spread is unknown.
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
            # NaN: the distribution lies so far above that nothing of it is below.
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


# ----------------------------------------------------------------------- against published figures


def of_test_users(std: Float[np.ndarray, "*cells"]) -> Noise:
    """What two draws of test users, ours and theirs, add: twice the variance of one.

    Taken as independent and as known. Independence is on the safe side: where both are a fifth of
    the same users, a fifth of either is in both, and the true variance is a fifth smaller.
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
    parts: Sequence[Noise],
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
    others: Sequence[Noise],
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
    values: Float[np.ndarray, "draws tasks rows seeds"],
    opponents: Int[np.ndarray, "draws rows"],
    counts: Int[np.ndarray, "draws tasks seeds"],
) -> Float[np.ndarray, "draws rows"]:
    """Mean over tasks of P(a row's score > its opponent's), ties one half, over pairs of seeds.

    Agarwal et al., Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021, section 4.3.
    `counts` says how often each seed of a task is drawn; ones give the estimate itself.
    """
    theirs = np.take_along_axis(values, opponents[:, None, :, None], axis=2)
    wins = (np.sign(values[..., :, None] - theirs[..., None, :]) + 1) / 2
    share = counts / counts.sum(-1, keepdims=True)
    return np.einsum("dts,dtrsu,dtu->dtr", share, wins, share, optimize=True).mean(1)


def seed_draws(tasks: int, seeds: int, draws: int) -> Int[np.ndarray, "draws tasks seeds"]:
    """How often each seed is drawn, with replacement, each task by itself (a stratified bootstrap).

    A seed is drawn for all rows at once, as they share splits and start with it.
    """
    generator = np.random.default_rng(0)
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=(draws, tasks))


def percentile_interval(
    value: Float[np.ndarray, " rows"], drawn: Float[np.ndarray, "draws rows"], seeds: int
) -> Estimate:
    """A value and the middle 95% of its bootstrap draws; of one seed, without.

    It covers less than 95%: of so few seeds the draws vary too little (docs/statistics.md).
    """
    if seeds == 1:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return Estimate(value, low, high)
