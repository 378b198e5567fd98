"""The test against published values, against statsmodels, scipy and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, ttost_ind

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report.statistics import inference

    return inference


@pytest.fixture
def power():
    from userbench.report.statistics import power

    return power


@pytest.fixture
def equivalence():
    from userbench.report.statistics import equivalence

    return equivalence


OURS = np.array([65.1, 65.9, 65.4])
THEIRS = np.array([65.49, 65.57, 65.55, 65.49, 65.55])


def runs_of(inference, *samples):
    return [inference.of_runs(one.std, one.n) for one in samples]


def test_three_sided_test_is_the_equivalence_test_of_statsmodels(inference, equivalence):
    ours, theirs = (inference.sample(values) for values in (OURS[None], THEIRS[None]))
    parts = runs_of(inference, ours, theirs)
    found = equivalence.three_sided_test(ours.mean - theirs.mean, parts, np.array([0.9]))
    expected, _, _ = ttost_ind(OURS, THEIRS, -0.9, 0.9, usevar="unequal")
    assert found.p_same[0] == pytest.approx(expected)
    interval = CompareMeans.from_data(OURS, THEIRS).tconfint_diff(alpha=0.1, usevar="unequal")
    assert [found.low[0], found.high[0]] == pytest.approx(interval)


def test_three_sided_test_asks_whether_the_margin_is_passed(inference, equivalence):
    ours, theirs = (inference.sample(values) for values in (OURS[None], THEIRS[None]))
    parts = runs_of(inference, ours, theirs)
    found = equivalence.three_sided_test(ours.mean - theirs.mean, parts, np.array([0.2]))
    better = stats.ttest_ind(OURS - 0.2, THEIRS, equal_var=False, alternative="greater")
    worse = stats.ttest_ind(OURS + 0.2, THEIRS, equal_var=False, alternative="less")
    assert found.p_better[0] == pytest.approx(better.pvalue)
    assert found.p_worse[0] == pytest.approx(worse.pvalue)


def test_test_users_count_twice_and_as_known(inference, equivalence):
    # Wrong: one side's test users are forgotten, or two hundred draws count as five runs.
    spread, users = np.array([0.1]), np.array([0.3])
    parts = [inference.of_runs(spread, 5), equivalence.of_test_users(users)]
    error, df = equivalence.welch(parts)
    assert error == pytest.approx(np.sqrt(0.1**2 / 5 + 2 * 0.3**2))
    assert df == pytest.approx((0.1**2 / 5 + 2 * 0.3**2) ** 2 / ((0.1**2 / 5) ** 2 / 4))
    known = equivalence.three_sided_test(np.array([0.5]), parts[1:], np.array([0.2]))
    assert known.p_better[0] == pytest.approx(stats.norm.sf(0.3 / np.sqrt(2 * 0.3**2)))
    assert equivalence.power_to_decide(
        np.array([2.0]), parts[1:], np.array([0.2])
    ) == pytest.approx(stats.norm.sf(stats.norm.ppf(0.95) - 1.8 / np.sqrt(2 * 0.3**2)))


@pytest.mark.parametrize(("difference", "wrong"), [(0.4, "p_same"), (0.4, "p_better")])
def test_at_the_margin_either_answer_is_wrong_in_a_twentieth(
    inference, equivalence, difference, wrong
):
    # Wrong: values are called "reproduced" that are as far off as the margin, too often.
    ours = inference.sample(RNG(4).normal(difference, 0.1, (20_000, 5)))
    theirs = inference.sample(RNG(5).normal(0.0, 0.1, (20_000, 5)))
    parts = runs_of(inference, ours, theirs)
    found = equivalence.three_sided_test(ours.mean - theirs.mean, parts, np.full(20_000, 0.4))
    assert np.mean(getattr(found, wrong) < 0.05) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("users", [0.0, 0.06])
@pytest.mark.parametrize(("difference", "spread"), [(0.0, 0.4), (0.2, 0.25), (0.9, 0.5)])
def test_seeds_to_decide_reach_their_power(
    inference, power, equivalence, difference, spread, users
):
    if users and difference == 0.2:
        difference = 0.1  # at .2, such test users leave no number
    others = [inference.of_runs(np.array([0.1]), 5), equivalence.of_test_users(np.array([users]))]
    difference, spread = np.array([difference]), np.array([spread])
    needed = int(equivalence.seeds_to_decide(difference, spread, others, np.array([0.4]))[0])
    answer = "p_same" if difference < 0.4 else "p_better"
    rng, many = RNG(6), 20_000
    split = [equivalence.of_test_users(np.full(many, users))]
    published = inference.sample(rng.normal(rng.normal(0.0, users, (many, 1)), 0.1, (many, 5)))
    power = []
    for n in (needed - 1, needed):
        means = rng.normal(difference, users, (many, 1))
        ours = inference.sample(rng.normal(means, spread, (many, n)))
        parts = [*runs_of(inference, ours, published), *split]
        found = equivalence.three_sided_test(ours.mean - published.mean, parts, np.full(many, 0.4))
        power.append(np.mean(getattr(found, answer) < 0.05))
    # The power of equivalence is an approximation, Welch's degrees of freedom another.
    assert power[0] < 0.85 and power[1] > 0.75


def test_no_number_of_seeds_moves_the_published_spread(inference, equivalence):
    others = [inference.of_runs(np.full(3, 0.5), 5)]
    difference, std = np.array([0.3, 0.4, 0.1]), np.array([0.1, 0.1, np.nan])
    found = equivalence.seeds_to_decide(difference, std, others, np.full(3, 0.4))
    np.testing.assert_array_equal(found, [np.inf, np.inf, np.nan])
