"""Seeds needed, against statsmodels and simulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import nctdtrinc
from statsmodels.stats.power import TTestPower

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report.statistics import inference

    return inference


@pytest.fixture
def power():
    from userbench.report.statistics import power

    return power


@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
def test_seeds_needed_are_those_of_statsmodels(power, level):
    effect = np.array([0.3, 0.5, 1.0, 1.7, 3.0])
    found = power.seeds_needed(-2 * effect, np.full(5, 2.0), level)
    expected = [TTestPower().solve_power(size, power=0.8, alpha=level) for size in effect]
    assert found.tolist() == np.ceil(expected).tolist()


def test_power_is_that_of_statsmodels(power):
    # The test is one-sided at half the level: the other side has next to no power.
    effect, seeds = np.array([0.2, 1.0, 2.5]), 5
    found = power.upper_power(effect * np.sqrt(seeds), np.full(3, seeds - 1.0), 0.025)
    expected = [TTestPower().power(size, seeds, 0.025, alternative="larger") for size in effect]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_effect_interval_is_that_of_scipy(power):
    # scipy inverts the non-central t by another algorithm: six digits.
    t = np.array([4.0, 7.0, 30.0])
    low, high = power.effect_interval(t / np.sqrt(5), np.ones(3), 5)
    for bound, probability in ((low, 0.95), (high, 0.05)):
        np.testing.assert_allclose(bound * np.sqrt(5), nctdtrinc(4, probability, t), rtol=1e-5)


@pytest.mark.parametrize(("effect", "test_std"), [(0.8, 0.0), (1.5, 0.0), (2.0, 0.5)])
def test_seeds_needed_reach_their_power(inference, power, effect, test_std):
    # Wrong: the table sends somebody off to run seeds that will not do.
    users = inference.Noise(np.full(1, test_std**2), 150.0)
    needed = int(power.seeds_needed(np.array([effect]), np.ones(1), users=users)[0])
    rng, many = RNG(3), 4_000
    power = []
    for n in (needed - 1, needed):
        values = effect + rng.normal(0, 1, (many, n)) + rng.normal(0, test_std, (many, 1))
        over_seeds = inference.sample(values)
        noise = inference.seed_noise(over_seeds)
        power.append(np.mean(inference.tail(over_seeds.mean, noise, users) < 0.05))
    # The power with test users is an approximation.
    assert power[0] < 0.84 and power[1] > (0.77 if test_std == 0 else 0.7)


def test_no_number_of_seeds_makes_up_for_few_test_users(inference, power):
    users = inference.Noise(np.ones(1), 100.0)
    assert np.isinf(power.seeds_needed(np.array([2.0]), np.ones(1), users=users)[0])


def test_effect_interval_holds_the_true_effect(inference, power):
    # Wrong: a guess of seeds whose range holds the true number in fewer cases than it says.
    rng, many = RNG(15), 1_000
    over_seeds = inference.sample(rng.normal(1.0, 1.0, (many, 5)))
    low, high = power.effect_interval(over_seeds.mean, over_seeds.std, 5)
    inside = (low <= over_seeds.std) & (over_seeds.std <= high)  # the true effect is one std
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("seeds", "bounds"), [(3, (3, 180)), (5, (4, 90))])
def test_a_guess_of_seeds_is_as_wide_as_the_page_says(inference, power, seeds, bounds):
    # Wrong: "10 seeds needed" is read as a number that was measured.
    over_seeds = inference.sample(RNG(16).normal(1.0, 1.0, (4_000, seeds)))  # ten are needed
    guesses = power.seeds_needed(over_seeds.mean, over_seeds.std)
    assert np.quantile(guesses, 0.05) == bounds[0]
    assert np.quantile(np.minimum(guesses, 2_000), 0.95) > bounds[1]


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "most", "error"), [(3, 20, 0.0845), (5, 1000, 0.1065)])
def test_running_the_seeds_asked_for_raises_the_error_as_the_page_says(
    inference, power, seeds, most, error
):
    # Wrong: seeds are added until a difference shows, and its p value is still called 5%.
    rng, many = RNG(17), 4_000
    values = rng.normal(0, 1, (many, most))
    first = inference.sample(values[:, :seeds])
    p = inference.tail(first.mean, inference.seed_noise(first), inference.NO_USER_NOISE)
    found = p < 0.05
    needed = np.maximum(power.seeds_needed(first.mean, first.std), seeds + 1)
    for run in np.flatnonzero(~found & (needed <= most)):
        found[run] = stats.ttest_1samp(values[run, : int(needed[run])], 0).pvalue < 0.05
    assert np.mean(found) == pytest.approx(error, abs=0.015)
