"""Intervals and tests of a mean of scores, over seeds and over test users.

Functions of arrays whose last axis is the seeds. A mean of scores has two kinds of noise: other
seeds would train other models, and other test users would score the same models otherwise. More
seeds reduce only the first. docs/statistics.md says which number is over which of them.

Why Student's t and no bootstrap over seeds: of three normal values, a 95% percentile bootstrap
interval covers the mean in 75% of all cases, of five in 84%; and Wilcoxon's signed-rank test of
five pairs cannot go below p = 0.06.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num
from scipy.special import ndtr, stdtr, stdtrit

LEVEL = 0.05
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


class Sample(NamedTuple):
    """Mean, sample std and size, as one publishes them; NaN where unknown."""

    mean: Float[np.ndarray, "*cells"]
    std: Float[np.ndarray, "*cells"]
    n: Num[np.ndarray, "*cells"] | int


def sample(values: Float[np.ndarray, "*cells seeds"]) -> Sample:
    """Mean and sample std (n - 1) over seeds; the std of one is NaN."""
    n = values.shape[-1]
    spread = values.std(-1, ddof=1) if n > 1 else np.full(values.shape[:-1], np.nan)
    return Sample(values.mean(-1), spread, n)


def of_runs(std: Float[np.ndarray, "*cells"], n: Num[np.ndarray, "*cells"] | int) -> Noise:
    """Variance of the mean of n runs with this spread."""
    return Noise(std**2 / n, n - 1)


def seed_noise(over_seeds: Sample) -> Noise:
    """Variance of the mean over other seeds; NaN of one seed, and where no seed differs.

    Why NaN where none differs: no spread is no evidence that there is none. Seeds that all give
    one score are mostly models that all answer the same.
    """
    _, std, n = over_seeds
    return of_runs(np.where(std > NO_SPREAD, std, np.nan), n)


def user_noise(
    drawn: Float[np.ndarray, "resamples ..."], users: Num[np.ndarray, "..."] | int
) -> Noise:
    """Variance of a mean over other test users, from its values on draws of these `users`.

    A bootstrap variance of n users is (n - 1) / n of an unbiased one, and its own error is that of
    n - 1 values and of a finite number of draws (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, 19.3). Draws in which a metric is undefined are left out.
    """
    draws = np.isfinite(drawn).sum(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nanvar: of a cell without any draw
        variance = np.nanvar(drawn, axis=0, ddof=1)
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
    """A mean with its 95% interval: `tail` of the distance of its bounds is 5%.

    Without `users` it is Student's (Biometrika 1908). NaN bounds where a noise is unknown.
    """
    parts = np.broadcast_arrays(mean, seeds.variance, seeds.df, users.variance, users.df)
    mean, seeds, users = parts[0], Noise(*parts[1:3]), Noise(*parts[3:])
    by_seeds, by_users = (
        stdtrit(noise.df.astype(float), 1 - LEVEL / 2) * np.sqrt(noise.variance)
        for noise in (seeds, users)
    )
    # The half width lies between the larger part and the sum of both: bisection, as the root
    # finders of scipy.optimize end at other digits.
    near, far = np.maximum(by_seeds, by_users), by_seeds + by_users
    while np.any(far - near > 1e-6 * far):
        middle = (near + far) / 2
        inside = tail(middle, seeds, users) > LEVEL
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return Estimate(mean, mean - far, mean + far)


def interval_of(
    mean: float, std: float, seeds: int, users: Noise = NO_USER_NOISE
) -> tuple[float, float]:
    """Bounds of `confidence_interval` of one mean; NaN where no seed differs."""
    noise = seed_noise(Sample(mean, np.array([std]), seeds))
    _, low, high = confidence_interval(np.array([mean]), noise, users)
    return low.item(), high.item()
