"""Intervals, tests and sample sizes against scipy, recorded statsmodels, and simulation."""

import warnings

import numpy as np
import pytest
from scipy import integrate, stats

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report import inference

    return inference


# ------------------------------------------------------------------------------------------ noise


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


def test_what_cannot_be_told_is_nan_without_a_word(inference):
    # Wrong: one seed, or equal differences, end in a warning or in a sure answer.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in ([[0.5], [0.0]], [[0.5, 0.5], [0.0, 0.0]]):
            over_seeds = inference.sample(np.array(values))
            noise = inference.seed_noise(over_seeds)
            users = inference.Noise(np.ones(2), 50.0)
            assert np.isnan(inference.tail(over_seeds.mean, noise, users)).all()
            assert np.isnan(inference.confidence_interval(over_seeds.mean, noise, users).low).all()
        needed = inference.seeds_needed(
            np.array([0.5, 0.0, 0.0, 0.5]), np.array([np.nan, 0.0, 1.0, 0.0])
        )
    np.testing.assert_array_equal(needed, [np.nan, np.inf, np.inf, 2])


# ------------------------------------------------------------------------------------------ tests


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


def test_one_sentence_about_a_table_counts_all_its_cells(inference):
    p = np.array([[0.001, 0.5], [np.nan, 0.02]])
    np.testing.assert_allclose(inference.holm_over_all(p), [[0.003, 0.5], [np.nan, 0.04]])


def test_against_all_others_by_hand(inference):
    difference = np.array(
        [
            [np.nan, 1.0, 2.0],  # leads: the weaker of two tests
            [np.nan, 1.0, 2.0],  # leads, but one cannot be tested
            [1.0, np.nan, -2.0],  # behind one of two: its p, twice
            [-1.0, -2.0, np.nan],  # behind both: the stronger, twice
            [-1.0, -2.0, np.nan],  # behind both, one cannot be tested
            [np.nan, np.nan, np.nan],  # alone
            [0.0, np.nan, np.nan],  # level
        ]
    )
    p = np.array(
        [
            [np.nan, 0.03, 0.01],
            [np.nan, np.nan, 0.01],
            [0.001, np.nan, 0.02],
            [0.3, 0.04, np.nan],
            [0.3, np.nan, np.nan],
            [np.nan] * 3,
            [1.0, np.nan, np.nan],
        ]
    )
    expected = [0.03, np.nan, 0.04, 0.08, 0.6, np.nan, np.nan]
    np.testing.assert_allclose(inference.against_all_others(difference, p), expected)


def test_nobody_of_equal_rows_is_above_or_below_all_others(inference):
    # Wrong: the best other row, chosen by its score, makes the others "worse" in 60% of tables.
    rng, tables, rows, seeds = RNG(14), 400, 10, 3
    values = rng.normal(0, 1, (tables, rows, seeds))
    over_seeds = inference.sample(values[:, :, None] - values[:, None, :])
    mean = np.where(np.eye(rows, dtype=bool), np.nan, over_seeds.mean)
    noise = inference.seed_noise(over_seeds._replace(mean=mean))
    p = inference.against_all_others(mean, inference.tail(mean, noise, inference.NO_USER_NOISE))
    assert np.mean(p < 0.05) < 0.05


# ------------------------------------------------------------------------------------ seeds needed


def test_seeds_needed_are_those_of_statsmodels(inference):
    # statsmodels 0.15.0: TTestPower().solve_power(effect_size=.., power=0.8, alpha=..), rounded up.
    effect = np.array([0.3, 0.5, 1.0, 1.7, 3.0])
    for level, expected in ((0.05, [90, 34, 10, 5, 4]), (0.05 / 6, [139, 52, 16, 8, 5])):
        found = inference.seeds_needed(-2 * effect, np.full(5, 2.0), level)
        assert found.tolist() == expected


@pytest.mark.parametrize(("effect", "test_std"), [(0.8, 0.0), (1.5, 0.0), (2.0, 0.5)])
def test_seeds_needed_reach_their_power(inference, effect, test_std):
    # Wrong: the table sends somebody off to run seeds that will not do.
    users = inference.Noise(np.full(1, test_std**2), 150.0)
    needed = int(inference.seeds_needed(np.array([effect]), np.ones(1), users=users)[0])
    rng, many = RNG(3), 4_000
    power = []
    for n in (needed - 1, needed):
        values = effect + rng.normal(0, 1, (many, n)) + rng.normal(0, test_std, (many, 1))
        over_seeds = inference.sample(values)
        noise = inference.seed_noise(over_seeds)
        power.append(np.mean(inference.tail(over_seeds.mean, noise, users) < 0.05))
    # The power with test users is an approximation.
    assert power[0] < 0.84 and power[1] > (0.77 if test_std == 0 else 0.7)


def test_no_number_of_seeds_makes_up_for_few_test_users(inference):
    users = inference.Noise(np.ones(1), 100.0)
    assert np.isinf(inference.seeds_needed(np.array([2.0]), np.ones(1), users=users)[0])


def test_effect_interval_holds_the_true_effect(inference):
    # Wrong: a guess of seeds whose range holds the true number in fewer cases than it says.
    rng, many = RNG(15), 1_000
    over_seeds = inference.sample(rng.normal(1.0, 1.0, (many, 5)))
    low, high = inference.effect_interval(over_seeds.mean, over_seeds.std, 5)
    inside = (low <= over_seeds.std) & (over_seeds.std <= high)  # the true effect is one std
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("seeds", "bounds"), [(3, (3, 180)), (5, (4, 90))])
def test_a_guess_of_seeds_is_as_wide_as_the_page_says(inference, seeds, bounds):
    # Wrong: "10 seeds needed" is read as a number that was measured.
    over_seeds = inference.sample(RNG(16).normal(1.0, 1.0, (4_000, seeds)))  # ten are needed
    guesses = inference.seeds_needed(over_seeds.mean, over_seeds.std)
    assert np.quantile(guesses, 0.05) == bounds[0]
    assert np.quantile(np.minimum(guesses, 2_000), 0.95) > bounds[1]


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "most", "error"), [(3, 20, 0.0845), (5, 1000, 0.1065)])
def test_running_the_seeds_asked_for_raises_the_error_as_the_page_says(
    inference, seeds, most, error
):
    # Wrong: seeds are added until a difference shows, and its p value is still called 5%.
    rng, many = RNG(17), 4_000
    values = rng.normal(0, 1, (many, most))
    first = inference.sample(values[:, :seeds])
    p = inference.tail(first.mean, inference.seed_noise(first), inference.NO_USER_NOISE)
    found = p < 0.05
    needed = np.maximum(inference.seeds_needed(first.mean, first.std), seeds + 1)
    for run in np.flatnonzero(~found & (needed <= most)):
        found[run] = stats.ttest_1samp(values[run, : int(needed[run])], 0).pvalue < 0.05
    assert np.mean(found) == pytest.approx(error, abs=0.015)


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
    values = RNG(7).integers(4, size=(6, 3, 4, 5)).astype(float)
    opponents = RNG(10).integers(4, size=(6, 4))
    counts = RNG(8).multinomial(5, [0.2] * 5, size=(6, 3))
    found = inference.probability_of_improvement(values, opponents, counts)
    for draw, row in np.ndindex(6, 4):
        by_task = []
        for task in range(3):
            own = np.repeat(values[draw, task, row], counts[draw, task])
            other = np.repeat(values[draw, task, opponents[draw, row]], counts[draw, task])
            wins = [float(a > b) + (a == b) / 2 for a in own for b in other]
            by_task.append(sum(wins) / 25)
        assert found[draw, row] == pytest.approx(np.mean(by_task))


def test_seeds_are_drawn_within_each_task(inference):
    counts = inference.seed_draws(tasks=6, seeds=5, draws=4000)
    assert (counts.sum(-1) == 5).all()
    assert counts.mean(0) == pytest.approx(np.ones((6, 5)), abs=0.1)
    assert np.corrcoef(counts[:, 0, 0], counts[:, 1, 0])[0, 1] == pytest.approx(0, abs=0.06)


def test_drawn_bounds_are_the_middle_95_percent(inference):
    drawn = np.arange(1001.0)[:, None]
    found = inference.percentile_interval(np.array([500.0]), drawn, 3)
    assert [found.low[0], found.high[0]] == [25.0, 975.0]
    assert np.isnan(inference.percentile_interval(np.array([500.0]), drawn, 1).low).all()
