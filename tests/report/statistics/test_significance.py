"""The suite's verdicts claim what is not so in 5% of cases at most (campaigns/significance.py)."""

import numpy as np
import pytest
from significance import best_of, standard_error, two_rows, whole_table

SMALL, LARGE = 400, 2000
SIZES = [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large", marks=pytest.mark.long)]


def within(rate: float, tables: int) -> bool:
    """Whether so many tables may show this rate where the true one is 5%: three standard errors."""
    return rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)


@pytest.mark.parametrize("tables", SIZES)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("users", [96, 500, 2000])
def test_two_equal_rows_do_not_differ(users, seeds, tables):
    # Wrong: the users who happened to be tested decide; of seeds alone, in 12% to 63% of tables.
    rates = two_rows(tables, users, seeds)
    assert within(rates.claimed, tables)
    assert rates.seeds_alone > 0.1


@pytest.mark.parametrize("tables", SIZES)
@pytest.mark.parametrize("seeds", [3, 5])
def test_rows_of_which_runs_collapse_do_not_differ(seeds, tables):
    # Wrong: a run that answers the same for everybody makes the other row "better".
    assert within(two_rows(tables, 500, seeds, collapse=0.2).claimed, tables)


@pytest.mark.parametrize("tables", SIZES)
def test_a_large_difference_is_seen(tables):
    # Wrong: nothing is claimed falsely because nothing is claimed.
    rates = two_rows(tables, 500, 5, gain=4 * standard_error(500, 5))
    assert rates.claimed > 0.85


@pytest.mark.parametrize("tables", [pytest.param(100, id="small"), SIZES[1]])
@pytest.mark.parametrize("seeds", [3, 5])
def test_one_sentence_about_a_table_of_equal_rows_claims_nothing(seeds, tables):
    # Wrong: of 54 cells some are beyond 5%, and the sentence names them.
    assert within(whole_table(tables, 500, seeds)["any"].claimed, tables)


@pytest.mark.parametrize("tables", [pytest.param(60, id="small"), SIZES[1]])
def test_equal_rows_are_neither_above_nor_below_all_others(tables):
    # Wrong: the best other row is chosen by its score, and every row seems worse than it.
    rates = best_of(tables, 500, 5)
    assert within(rates.claimed, 10 * tables)
    assert rates.seeds_alone > 0.3
