"""Differences of rows, paired by seed and by test user: their noise, and what they decide."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from userbench.report.statistics.inference import (
    LEVEL,
    NO_SPREAD,
    Noise,
    sample,
    seed_noise,
    tail,
    user_noise,
)
from userbench.report.statistics.paired_scores import PairedScores
from userbench.report.statistics.power import (
    MOST_SEEDS,
    POWER,
    effect_interval,
    seeds_needed,
    upper_power,
)


class Differences(NamedTuple):
    """Differences of entries to opponents, the last axis; noise and p-values of their means.

    `p` is NaN of an entry and itself, and where a note, one seed or no spread forbids a test.
    """

    mean: Float[np.ndarray, "tasks entries others"]
    std: Float[np.ndarray, "tasks entries others"]
    seeds: Noise
    users: Noise
    p: Float[np.ndarray, "tasks entries others"]


def differences(found: PairedScores, others: Int[np.ndarray, " others"]) -> Differences:
    """The difference of every entry to each of these rows, paired by seed and by test user."""
    noted = found.notes != ""
    over_seeds = sample(found.values[:, :, None] - found.values[:, None, others])
    itself = np.arange(len(found.entries))[:, None] == others
    mean = np.where(itself, np.nan, over_seeds.mean)
    seeds = seed_noise(over_seeds._replace(mean=mean))
    means = found.draws.mean(-1)
    users = user_noise(means[:, :, :, None] - means[:, :, None, others], found.users[:, None, None])
    p = tail(mean, seeds, users)
    p = np.where(noted[:, :, None] | noted[:, None, others], np.nan, p)
    return Differences(mean, over_seeds.std, seeds, users, p)


class Guess(NamedTuple):
    """Seeds needed, more than there are, and the 90% interval of that guess; infinite: too many.

    NaN of one seed and without spread. `few_users`: no number of seeds is enough, as the noise of
    the test users alone is too large.
    """

    seeds: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    few_users: Bool[np.ndarray, "*cells"]


def guess_seeds(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    seeds: int,
    level: Float[np.ndarray, "*cells"],
    users: Noise,
) -> Guess:
    """Seeds needed to detect a paired difference of this size at this level."""
    std = np.where(std > NO_SPREAD, std, np.nan)
    smallest, largest = effect_interval(difference, std, seeds)
    guesses = [
        np.maximum(seeds_needed(size, std, level, users), seeds + 1)
        for size in (difference, largest, smallest)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(difference) / np.sqrt(users.variance)
    return Guess(*guesses, upper_power(far, np.asarray(users.df), level / 2) < POWER)


def decision(difference: float, std: float, p: float, note: str, guess: Guess) -> str:
    """The result of the test of a difference, in words; `note` is why it may not be tested."""
    if note:
        return f"undecided: {note}"
    if np.isnan(difference):
        return ""
    if np.isnan(std):
        return "undecided: one seed has no spread"
    if std <= NO_SPREAD:
        same = abs(difference) <= NO_SPREAD
        return "undecided: " + ("no difference" if same else "all seeds differ by the same")
    if p < LEVEL:
        return "better" if difference > 0 else "worse"
    if guess.few_users:
        return "undecided: too few test users, whatever the number of seeds"
    if np.isinf(guess.seeds):
        return f"undecided: more than {MOST_SEEDS:,} seeds needed"
    high = f"more than {MOST_SEEDS:,}" if np.isinf(guess.high) else f"{guess.high:.0f}"
    return f"undecided: about {guess.seeds:.0f} seeds needed ({guess.low:.0f} to {high})"
