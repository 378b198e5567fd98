"""Several tasks at once: average ranks, probabilities of improvement, and their bootstrap."""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from userbench.report.statistics.inference import LEVEL, Estimate


def average_rank(means: Float[np.ndarray, "*draws tasks rows"]) -> Float[np.ndarray, "*draws rows"]:
    """Mean over tasks of each row's rank (1 = best); ties share theirs (Demsar, JMLR 2006)."""
    return rankdata(-means, axis=-1).mean(-2)


def probability_of_improvement(
    values: Float[np.ndarray, "draws tasks rows seeds"],
    opponents: Int[np.ndarray, "draws rows"],
    counts: Int[np.ndarray, "draws tasks seeds"],
) -> Float[np.ndarray, "draws rows"]:
    """Mean over tasks of P(a row's score > its opponent's), ties one half, over pairs of seeds.

    Agarwal et al., Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021, section 4.3.
    `counts` is how often each seed of a task is drawn; ones give the estimate itself.
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
    """A value and the middle 95% of its bootstrap draws; NaN bounds for one seed.

    It covers less than 95%: draws of so few seeds vary too little (docs/statistics.md).
    """
    if seeds == 1:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return Estimate(value, low, high)
