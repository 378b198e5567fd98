"""P-values of several tests at once, against statsmodels, by hand and by simulation."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

RNG = np.random.default_rng


@pytest.fixture
def inference():
    from userbench.report.statistics import inference

    return inference


@pytest.fixture
def multiple_tests():
    from userbench.report.statistics import multiple_tests

    return multiple_tests


@pytest.mark.parametrize("tests", [1, 6, 54])
def test_holm_is_that_of_statsmodels(multiple_tests, tests):
    # Wrong: a p-value of the published tables is another than that of the library.
    p = RNG(0).random((3, tests)) ** 3
    expected = [multipletests(family, method="holm")[1] for family in p]
    np.testing.assert_array_equal(multiple_tests.holm(p), expected)


def test_holm_counts_no_test_that_was_not_made(multiple_tests):
    # By hand: two tests, so the smaller p counts twice; 0.9 twice stays below 1.
    p = np.array([[np.nan, 0.04, 0.01], [np.nan] * 3, [0.9, 0.9, np.nan]])
    expected = [[np.nan, 0.04, 0.02], [np.nan] * 3, [1.0, 1.0, np.nan]]
    np.testing.assert_allclose(multiple_tests.holm(p), expected)


def test_one_sentence_about_a_table_counts_all_its_cells(multiple_tests):
    p = np.array([[0.001, 0.5], [np.nan, 0.02]])
    np.testing.assert_allclose(multiple_tests.holm_over_all(p), [[0.003, 0.5], [np.nan, 0.04]])


def test_against_all_others_by_hand(multiple_tests):
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
    np.testing.assert_allclose(multiple_tests.against_all_others(difference, p), expected)


def test_no_equal_row_is_above_or_below_all_others(inference, multiple_tests):
    # Wrong: the best other row, chosen by its score, makes the others "worse" in 60% of tables.
    rng, tables, rows, seeds = RNG(14), 400, 10, 3
    values = rng.normal(0, 1, (tables, rows, seeds))
    over_seeds = inference.sample(values[:, :, None] - values[:, None, :])
    mean = np.where(np.eye(rows, dtype=bool), np.nan, over_seeds.mean)
    noise = inference.seed_noise(over_seeds._replace(mean=mean))
    p = multiple_tests.against_all_others(
        mean, inference.tail(mean, noise, inference.NO_USER_NOISE)
    )
    assert np.mean(p < 0.05) < 0.05
