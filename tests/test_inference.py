"""Intervals, tests and sample sizes against scipy, recorded statsmodels, and simulation."""

import warnings

import numpy as np
import pytest
from scipy import stats

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report import inference

    return inference


# ------------------------------------------------------------------------------------------ seeds


def test_interval_is_that_of_scipy(inference):
    values = RNG(0).normal(60, 2, (4, 5))
    found = inference.student_interval(inference.sample(values))
    for cell, *bounds in zip(values, found.low, found.high, strict=True):
        expected = stats.t.interval(0.95, 4, cell.mean(), stats.sem(cell))
        np.testing.assert_allclose(bounds, expected)


def test_interval_of_one_figure(inference):
    values = np.array([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = inference.interval_of(values.mean(), values.std(ddof=1), 3)
    np.testing.assert_allclose(found, expected)
    assert np.isnan(inference.interval_of(50.0, np.nan, 1)).all()


@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_covers_what_it_says(inference, seeds):
    # Wrong: a bootstrap or a normal interval, which cover 75% to 88% of so few seeds.
    values = RNG(1).normal(0, 1, (40_000, seeds))
    found = inference.student_interval(inference.sample(values))
    assert np.mean((found.low <= 0) & (found.high >= 0)) == pytest.approx(0.95, abs=0.005)


def test_paired_test_is_that_of_scipy(inference):
    ours, theirs = RNG(2).normal(60, 2, (2, 6, 5))
    found = inference.paired_test(ours - theirs)
    expected = stats.ttest_rel(ours, theirs, axis=1)
    np.testing.assert_allclose(found.p, expected.pvalue)
    np.testing.assert_allclose(found.low, expected.confidence_interval(0.95).low)


def test_what_cannot_be_told_is_nan_without_a_word(inference):
    # Wrong: one seed, or equal differences, end in a warning or in a sure answer.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = inference.paired_test(np.array([[0.5], [0.0]]))
        equal = inference.paired_test(np.array([[0.5, 0.5], [0.0, 0.0]]))
        needed = inference.seeds_needed(
            np.array([0.5, 0.0, 0.0, 0.5]), np.array([np.nan, 0.0, 1.0, 0.0])
        )
    assert np.isnan([one.std, one.low, one.high, one.p]).all()
    assert equal.p[0] == 0
    assert equal.p[1] == 1
    np.testing.assert_array_equal(needed, [np.nan, np.nan, np.inf, 2])


def test_holm_is_that_of_statsmodels(inference):
    # statsmodels 0.15.0: multipletests(.., method="holm").
    p = np.array([0.011, 0.02, 0.034, 0.3, 0.012, 0.04])
    expected = np.array([0.066, 0.08, 0.102, 0.3, 0.066, 0.102])
    np.testing.assert_allclose(inference.holm(p), expected)
    turned = np.stack([p, p[::-1]])
    np.testing.assert_allclose(inference.holm(turned), [expected, expected[::-1]])


def test_holm_counts_no_test_that_was_not_made(inference):
    # By hand: two tests, so the smaller p counts twice; 0.9 twice stays below 1.
    p = np.array([[np.nan, 0.04, 0.01], [np.nan] * 3, [0.9, 0.9, np.nan]])
    expected = [[np.nan, 0.04, 0.02], [np.nan] * 3, [1.0, 1.0, np.nan]]
    np.testing.assert_allclose(inference.holm(p), expected)


def test_seeds_needed_are_those_of_statsmodels(inference):
    # statsmodels 0.15.0: TTestPower().solve_power(effect_size=.., power=0.8, alpha=..), rounded up.
    effect = np.array([0.3, 0.5, 1.0, 1.7, 3.0])
    for level, expected in ((0.05, [90, 34, 10, 5, 4]), (0.05 / 6, [139, 52, 16, 8, 5])):
        found = inference.seeds_needed(-2 * effect, np.full(5, 2.0), level)
        assert found.tolist() == expected


@pytest.mark.parametrize("effect", [0.8, 1.5])
def test_seeds_needed_reach_their_power(inference, effect):
    # Wrong: the table sends somebody off to run seeds that will not do.
    needed = int(inference.seeds_needed(np.array([effect]), np.ones(1))[0])
    power = [
        np.mean(inference.paired_test(RNG(3).normal(effect, 1, (20_000, n))).p < 0.05)
        for n in (needed - 1, needed)
    ]
    assert power[0] < 0.81 and power[1] > 0.79


# ----------------------------------------------------------------------- against published figures

OURS = np.array([65.1, 65.9, 65.4])
THEIRS = np.array([65.49, 65.57, 65.55, 65.49, 65.55])


def runs_of(inference, *samples):
    return [inference.of_runs(one.std, one.n) for one in samples]


def test_three_sided_test_holds_the_equivalence_test_of_statsmodels(inference):
    # statsmodels 0.15.0: ttost_ind(OURS, THEIRS, -0.9, 0.9, usevar="unequal"), and
    # CompareMeans.tconfint_diff(alpha=0.1, usevar="unequal").
    ours, theirs = (inference.sample(values) for values in (OURS[None], THEIRS[None]))
    parts = runs_of(inference, ours, theirs)
    found = inference.three_sided_test(ours.mean - theirs.mean, parts, np.array([0.9]))
    assert found.p_same[0] == pytest.approx(0.034505064415872394)
    bounds = [found.low[0], found.high[0]]
    assert bounds == pytest.approx([-0.7416880039743433, 0.6150213373076782])


def test_three_sided_test_asks_whether_the_margin_is_passed(inference):
    ours, theirs = (inference.sample(values) for values in (OURS[None], THEIRS[None]))
    parts = runs_of(inference, ours, theirs)
    found = inference.three_sided_test(ours.mean - theirs.mean, parts, np.array([0.2]))
    better = stats.ttest_ind(OURS - 0.2, THEIRS, equal_var=False, alternative="greater")
    worse = stats.ttest_ind(OURS + 0.2, THEIRS, equal_var=False, alternative="less")
    assert found.p_better[0] == pytest.approx(better.pvalue)
    assert found.p_worse[0] == pytest.approx(worse.pvalue)


def test_test_users_count_twice_and_as_known(inference):
    # Wrong: one side's test users are forgotten, or two hundred draws count as five runs.
    spread, users = np.array([0.1]), np.array([0.3])
    parts = [inference.of_runs(spread, 5), inference.of_test_users(users)]
    error, df = inference.welch(parts)
    assert error == pytest.approx(np.sqrt(0.1**2 / 5 + 2 * 0.3**2))
    assert df == pytest.approx((0.1**2 / 5 + 2 * 0.3**2) ** 2 / ((0.1**2 / 5) ** 2 / 4))
    known = inference.three_sided_test(np.array([0.5]), parts[1:], np.array([0.2]))
    assert known.p_better[0] == pytest.approx(stats.norm.sf(0.3 / np.sqrt(2 * 0.3**2)))
    assert inference.power_to_tell(np.array([2.0]), parts[1:], np.array([0.2])) == pytest.approx(
        stats.norm.sf(stats.norm.ppf(0.95) - 1.8 / np.sqrt(2 * 0.3**2))
    )


@pytest.mark.parametrize(("difference", "wrong"), [(0.4, "p_same"), (0.4, "p_better")])
def test_at_the_margin_either_answer_is_wrong_in_a_twentieth(inference, difference, wrong):
    # Wrong: "reproduced" is said of figures that are as far off as the margin, too often.
    ours = inference.sample(RNG(4).normal(difference, 0.1, (20_000, 5)))
    theirs = inference.sample(RNG(5).normal(0.0, 0.1, (20_000, 5)))
    parts = runs_of(inference, ours, theirs)
    found = inference.three_sided_test(ours.mean - theirs.mean, parts, np.full(20_000, 0.4))
    assert np.mean(getattr(found, wrong) < 0.05) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("users", [0.0, 0.06])
@pytest.mark.parametrize(("difference", "spread"), [(0.0, 0.4), (0.2, 0.25), (0.9, 0.5)])
def test_seeds_to_tell_reach_their_power(inference, difference, spread, users):
    if users and difference == 0.2:
        difference = 0.1  # at .2, such test users leave no number
    others = [inference.of_runs(np.array([0.1]), 5), inference.of_test_users(np.array([users]))]
    difference, spread = np.array([difference]), np.array([spread])
    needed = int(inference.seeds_to_tell(difference, spread, others, np.array([0.4]))[0])
    answer = "p_same" if difference < 0.4 else "p_better"
    rng, many = RNG(6), 20_000
    split = [inference.of_test_users(np.full(many, users))]
    published = inference.sample(rng.normal(rng.normal(0.0, users, (many, 1)), 0.1, (many, 5)))
    power = []
    for n in (needed - 1, needed):
        means = rng.normal(difference, users, (many, 1))
        ours = inference.sample(rng.normal(means, spread, (many, n)))
        parts = [*runs_of(inference, ours, published), *split]
        found = inference.three_sided_test(ours.mean - published.mean, parts, np.full(many, 0.4))
        power.append(np.mean(getattr(found, answer) < 0.05))
    # The power of equivalence is an approximation, Welch's degrees of freedom another.
    assert power[0] < 0.85 and power[1] > 0.75


def test_no_number_of_seeds_moves_the_published_spread(inference):
    others = [inference.of_runs(np.full(3, 0.5), 5)]
    difference, std = np.array([0.3, 0.4, 0.1]), np.array([0.1, 0.1, np.nan])
    found = inference.seeds_to_tell(difference, std, others, np.full(3, 0.4))
    np.testing.assert_array_equal(found, [np.inf, np.inf, np.nan])


# ---------------------------------------------------------------------------------- over the tasks


def test_average_rank_by_hand(inference):
    means = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 1.0]])
    assert inference.average_rank(means).tolist() == [1.25, 2.25, 2.5]


def test_probability_of_improvement_counts_pairs(inference):
    values = RNG(7).integers(4, size=(3, 4, 5)).astype(float)
    opponents = np.array([1, 0, 0, 2])
    counts = RNG(8).multinomial(5, [0.2] * 5, size=(6, 3))
    found = inference.probability_of_improvement(values, opponents, counts)
    for draw, row in np.ndindex(6, 4):
        by_task = []
        for task in range(3):
            own = np.repeat(values[task, row], counts[draw, task])
            other = np.repeat(values[task, opponents[row]], counts[draw, task])
            wins = [float(a > b) + (a == b) / 2 for a in own for b in other]
            by_task.append(sum(wins) / 25)
        assert found[draw, row] == pytest.approx(np.mean(by_task))


def test_seeds_are_drawn_within_each_task(inference):
    counts = inference.seed_draws(tasks=6, seeds=5, draws=4000)
    assert (counts.sum(-1) == 5).all()
    assert counts.mean(0) == pytest.approx(np.ones((6, 5)), abs=0.1)
    assert np.corrcoef(counts[:, 0, 0], counts[:, 1, 0])[0, 1] == pytest.approx(0, abs=0.06)


def test_bootstrap_over_tasks_covers_as_its_docstring_says(inference):
    # Wrong: somebody reads it as 95%.
    rng = RNG(9)
    for seeds, coverage in ((3, 0.86), (5, 0.92)):
        covered = []
        for _ in range(200):
            values = rng.normal(0, 1, (6, seeds))
            counts = inference.seed_draws(6, seeds, 400)
            drawn = np.einsum("ts,dts->d", values, counts / seeds) / 6
            found = inference.percentile_interval(np.array([values.mean()]), drawn[:, None], seeds)
            covered.append(bool(found.low[0] <= 0 <= found.high[0]))
        assert np.mean(covered) == pytest.approx(coverage, abs=0.06)
