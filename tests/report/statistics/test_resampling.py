"""The bootstrap over test users against metrics of examples that are really repeated."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score


@pytest.fixture
def resampling():
    from userbench.report.statistics import resampling

    return resampling


def classified(n: int, share: float = 0.6, users=None) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    correct = rng.random(n) < share
    return pd.DataFrame({"user": np.arange(n) if users is None else users, "correct": correct})


def scored(n: int) -> pd.DataFrame:
    """Scores with many ties, examples of a user side by side."""
    rng = np.random.default_rng(2)
    label = rng.integers(2, size=n)
    score = (label + rng.normal(0, 1.5, n)).round(1).astype(np.float32)
    return pd.DataFrame({"user": np.arange(n) // 2, "label": label, "score": score})


def ranked(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    user = rng.integers(n // 2, size=n)
    weight = 1 / np.bincount(user)[user]
    return pd.DataFrame({"user": user, "rank": rng.integers(1, 30, n), "weight": weight})


def by_the_book(rows: pd.DataFrame, metric: str) -> float:
    if metric == "auc":
        return roc_auc_score(rows["label"], rows["score"])
    if metric == "accuracy":
        return rows["correct"].mean()
    total = weight = 0.0
    for row in rows.itertuples():
        weight += row.weight
        if row.rank <= 10:
            gain = {"ndcg@10": 1 / np.log2(row.rank + 1), "mrr@10": 1 / row.rank, "hr@10": 1.0}
            total += row.weight * gain[metric]
    return total / weight


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        (classified(50), "accuracy"),
        (scored(60), "auc"),
        *((ranked(50), metric) for metric in ("hr@10", "mrr@10", "ndcg@10")),
    ],
)
def test_a_weight_is_a_number_of_copies(resampling, rows, metric):
    # Wrong: the bootstrap is of another metric than the table's.
    counts = np.random.default_rng(4).integers(4, size=(5, len(rows)))
    found = resampling.weighted_metric(rows, metric, counts)
    for count, value in zip(counts, found, strict=True):
        repeated = rows.loc[np.repeat(rows.index, count)]
        assert value == pytest.approx(by_the_book(repeated, metric), abs=1e-12)


def test_spread_of_independent_examples_is_the_binomial_one(resampling):
    # Wrong: the noise of the test set is over- or understated.
    rows = classified(2000)
    share = rows["correct"].mean()
    expected = np.sqrt(share * (1 - share) / 2000)
    assert resampling.resampled([rows], "accuracy").std() == pytest.approx(expected, rel=0.15)


def test_examples_of_a_user_are_drawn_together(resampling):
    # Wrong: nine copies of every user would make the noise three times too small.
    once = classified(500)
    copies = pd.concat([once] * 9)
    apart = resampling.resampled([once], "accuracy")
    together = resampling.resampled([copies], "accuracy")
    np.testing.assert_allclose(together, apart)


def test_spread_of_auc_is_that_of_a_plain_bootstrap(resampling):
    # Wrong: the vectorised AUC hides an error that shows on resamples only.
    rows = scored(400)
    rng, plain = np.random.default_rng(5), []
    pairs = rows.index.to_numpy().reshape(-1, 2)
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    for _ in range(300):
        picked = pairs[rng.integers(200, size=200)].ravel()
        above, below = (score[picked][label[picked] == side] for side in (1, 0))
        wins = np.sign(above[:, None] - below) / 2 + 0.5
        plain.append(wins.mean())
    found = resampling.resampled([rows], "auc")
    assert found.std() == pytest.approx(np.std(plain), rel=0.2)
    assert found.mean() == pytest.approx(np.mean(plain), abs=0.01)


def test_all_files_see_the_same_draws(resampling, monkeypatch):
    # Wrong: differences between runs are not paired, and seem as noisy as the runs themselves.
    rows = classified(300)
    shuffled = rows.sample(frac=1, random_state=0)
    found = resampling.resampled([rows, shuffled], "accuracy")
    np.testing.assert_allclose(found[:, 0], found[:, 1])
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 1000)  # and memory is no part of the result
    np.testing.assert_array_equal(resampling.resampled([rows, shuffled], "accuracy"), found)


def test_a_draw_of_one_class_has_no_auc(resampling):
    # Wrong: a warning, or a figure where there is none.
    rows = pd.DataFrame({"user": [0, 1], "label": [0, 1], "score": np.float32([0.1, 0.2])})
    found = resampling.resampled([rows], "auc")
    assert set(found[~np.isnan(found)]) == {1.0}
    assert np.isnan(found).any()


def test_an_auc_has_as_many_independent_users_as_its_rarer_class(resampling):
    # Wrong: 3 positives among 1,000 users count as 1,000 and the noise as well known.
    rows = pd.DataFrame({"user": np.arange(1000), "label": np.arange(1000) < 3})
    assert resampling.independent_users(rows, "auc") == 3
    assert resampling.independent_users(pd.concat([rows, rows]), "accuracy") == 1000
