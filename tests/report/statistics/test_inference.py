"""Intervals and tests of a mean against scipy and simulation."""

import warnings

import numpy as np
import pytest
from scipy import integrate, stats

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report.statistics import inference

    return inference


@pytest.fixture
def power():
    from userbench.report.statistics import power

    return power


def test_interval_is_that_of_scipy(inference):
    values = RNG(0).normal(60, 2, (4, 5))
    over_seeds = inference.sample(values)
    found = inference.confidence_interval(over_seeds.mean, inference.seed_noise(over_seeds))
    for cell, *bounds in zip(values, found.low, found.high, strict=True):
        expected = stats.t.interval(0.95, 4, cell.mean(), stats.sem(cell))
        np.testing.assert_allclose(bounds, expected, rtol=1e-6)


def test_interval_of_one_mean(inference):
    values = np.array([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = inference.interval_of(values.mean(), values.std(ddof=1), 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isnan(inference.interval_of(50.0, np.nan, 1)).all()
    assert np.isnan(inference.interval_of(50.0, 0.0, 3)).all()  # no spread is no evidence


@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_covers_what_it_says(inference, seeds):
    # Wrong: a bootstrap or a normal interval, which cover 75% to 88% of so few seeds.
    over_seeds = inference.sample(RNG(1).normal(0, 1, (4_000, seeds)))
    found = inference.confidence_interval(over_seeds.mean, inference.seed_noise(over_seeds))
    assert np.mean((found.low <= 0) & (found.high >= 0)) == pytest.approx(0.95, abs=0.012)


def test_tail_over_seeds_alone_is_the_paired_test_of_scipy(inference):
    ours, theirs = RNG(2).normal(60, 2, (2, 6, 5))
    over_seeds = inference.sample(ours - theirs)
    users = inference.NO_USER_NOISE
    found = inference.tail(over_seeds.mean, inference.seed_noise(over_seeds), users)
    np.testing.assert_allclose(found, stats.ttest_rel(ours, theirs, axis=1).pvalue)


@pytest.mark.parametrize(("seeds", "users"), [((0.5, 2), (1.2, 95)), ((2.0, 4), (0.3, 12))])
def test_tail_is_that_of_a_sum_of_two_t(inference, seeds, users):
    # Wrong: p values of the sum of both kinds of noise, at any distance.
    seeds, users = inference.Noise(*seeds), inference.Noise(*users)
    for distance in (0.5, 2.0, 6.0):
        expected, _ = integrate.quad(
            lambda z, far=distance: (
                stats.t.pdf(z, users.df)
                * stats.t.sf(
                    (far - np.sqrt(users.variance) * z) / np.sqrt(seeds.variance), seeds.df
                )
            ),
            *(-np.inf, np.inf),
        )
        found = inference.tail(np.array(distance), seeds, users)
        assert found == pytest.approx(2 * expected, rel=1e-3)


def test_interval_ends_where_the_tail_is_a_twentieth(inference):
    seeds = inference.Noise(np.array([0.5, 2.0, 1e-6]), 2)
    users = inference.Noise(np.array([1.0, 0.1, 1.0]), 100.0)
    found = inference.confidence_interval(np.zeros(3), seeds, users)
    np.testing.assert_allclose(inference.tail(found.high, seeds, users), 0.05, rtol=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_two_kinds_of_noise_together_reject_no_more_than_they_say(inference, seeds, ratio):
    # Wrong: one t of Satterthwaite's degrees, which rejects 13% with two seeds, 8% with three.
    rng, many = RNG(11), 4_000
    over_users = rng.normal(0, 1, many)
    values = over_users[:, None] + rng.normal(0, np.sqrt(ratio * seeds), (many, seeds))
    over_seeds = inference.sample(values)
    users = inference.Noise(rng.chisquare(199, many) / 199, 199.0)
    p = inference.tail(over_seeds.mean, inference.seed_noise(over_seeds), users)
    # Four standard errors of so many cells.
    assert np.mean(p < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / many)
    assert np.mean(p < 0.005) < 0.005 + 4 * np.sqrt(0.005 * 0.995 / many)


def test_user_noise_is_the_unbiased_variance_of_a_mean(inference):
    # Wrong: the noise of few test users is understated by the share that a bootstrap loses.
    rng, users = RNG(12), 12
    found = []
    for _ in range(3000):
        values = rng.normal(0, 1, users)
        drawn = values[rng.integers(users, size=(50, users))].mean(1)
        found.append(inference.user_noise(drawn, users).variance)
    assert np.mean(found) == pytest.approx(1 / users, rel=0.035)  # a twelfth less without


def test_user_noise_leaves_out_draws_without_a_value(inference):
    drawn = RNG(13).normal(0, 1, (50, 2))
    drawn[:10, 0] = np.nan
    found = inference.user_noise(drawn, 1_000_000)
    expected = [drawn[10:, 0].var(ddof=1), drawn[:, 1].var(ddof=1)]
    np.testing.assert_allclose(found.variance, expected, rtol=1e-5)
    np.testing.assert_allclose(found.df, [39, 49], rtol=1e-3)


def test_what_cannot_be_computed_is_nan_without_a_warning(inference, power):
    # Wrong: one seed, or equal differences, end in a warning or in a sure answer.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in ([[0.5], [0.0]], [[0.5, 0.5], [0.0, 0.0]]):
            over_seeds = inference.sample(np.array(values))
            noise = inference.seed_noise(over_seeds)
            users = inference.Noise(np.ones(2), 50.0)
            assert np.isnan(inference.tail(over_seeds.mean, noise, users)).all()
            assert np.isnan(inference.confidence_interval(over_seeds.mean, noise, users).low).all()
        needed = power.seeds_needed(
            np.array([0.5, 0.0, 0.0, 0.5]), np.array([np.nan, 0.0, 1.0, 0.0])
        )
    np.testing.assert_array_equal(needed, [np.nan, np.inf, np.inf, 2])
