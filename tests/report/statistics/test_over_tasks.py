"""Ranks, probabilities of improvement and their bootstrap, by hand."""

import numpy as np
import pytest

RNG = np.random.default_rng


@pytest.fixture
def over_tasks():
    from userbench.report.statistics import over_tasks

    return over_tasks


def test_average_rank_by_hand(over_tasks):
    means = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 1.0]])
    assert over_tasks.average_rank(means).tolist() == [1.25, 2.25, 2.5]


def test_probability_of_improvement_counts_pairs(over_tasks):
    values = RNG(7).integers(4, size=(6, 3, 4, 5)).astype(float)
    opponents = RNG(10).integers(4, size=(6, 4))
    counts = RNG(8).multinomial(5, [0.2] * 5, size=(6, 3))
    found = over_tasks.probability_of_improvement(values, opponents, counts)
    for draw, row in np.ndindex(6, 4):
        by_task = []
        for task in range(3):
            own = np.repeat(values[draw, task, row], counts[draw, task])
            other = np.repeat(values[draw, task, opponents[draw, row]], counts[draw, task])
            wins = [float(a > b) + (a == b) / 2 for a in own for b in other]
            by_task.append(sum(wins) / 25)
        assert found[draw, row] == pytest.approx(np.mean(by_task))


def test_seeds_are_drawn_within_each_task(over_tasks):
    counts = over_tasks.seed_draws(tasks=6, seeds=5, draws=4000)
    assert (counts.sum(-1) == 5).all()
    assert counts.mean(0) == pytest.approx(np.ones((6, 5)), abs=0.1)
    assert np.corrcoef(counts[:, 0, 0], counts[:, 1, 0])[0, 1] == pytest.approx(0, abs=0.06)


def test_drawn_bounds_are_the_middle_95_percent(over_tasks):
    drawn = np.arange(1001.0)[:, None]
    found = over_tasks.percentile_interval(np.array([500.0]), drawn, 3)
    assert [found.low[0], found.high[0]] == [25.0, 975.0]
    assert np.isnan(over_tasks.percentile_interval(np.array([500.0]), drawn, 1).low).all()
