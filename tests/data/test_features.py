"""The features of a task's users against columns scaled one by one."""

import numpy as np
import pyarrow as pa
import pytest


def vectors(ids, values):
    from userbench.data.vectors import Vectors

    return Vectors(pa.array(ids), np.asarray(values, np.float32), {})


def test_features_are_standardised_by_the_training_users():
    """Wrong: test users shift what a head is trained on, or rows belong to other users."""
    from userbench.data.features import features_of

    random = np.random.default_rng(0)
    values = random.normal(5, 3, size=(40, 4))
    order = random.permutation(40)
    given = vectors([str(user) for user in order], values[order])
    asked, is_train = np.arange(5, 35), np.arange(30) % 3 > 0
    found = features_of(given, pa.array(asked), is_train, "v.parquet, task age", 0)
    values = values.astype(np.float32).astype(np.float64)
    train = values[asked[is_train]]
    expected = (values[asked] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6)
    assert found.missing == 0


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-3, 1e4])
def test_what_is_constant_up_to_rounding_is_zero(scale):
    """Wrong: rounding errors of a column that says nothing become as large as all others."""
    from userbench.data.features import features_of

    noise = np.random.default_rng(0).normal(size=(100, 1))
    given = vectors(range(100), 3 + scale * noise)
    everybody = np.ones(100, bool)
    found = features_of(given, pa.array(range(100)), everybody, "v", 0).values
    assert (np.abs(found).max() == 0) == (scale < 1e-6)
    assert scale < 1e-6 or abs(found.std() - 1) < 1e-3


def test_the_scale_of_vectors_does_not_matter():
    """Wrong: a run gains by multiplying its vectors."""
    from userbench.data.features import features_of

    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    ids, train = pa.array(range(50)), np.arange(50) < 30
    first = features_of(vectors(range(50), values), ids, train, "v", 0).values
    second = features_of(vectors(range(50), values * 1024), ids, train, "v", 0).values
    assert np.array_equal(first, second)


def test_users_without_a_vector_get_the_mean():
    """Wrong: who has no vector is an outlier, or moves the others."""
    from userbench.data.features import features_of

    values = np.random.default_rng(0).normal(size=(20, 3))
    given = vectors(range(20), values)
    ids, train = pa.array(range(25)), np.arange(25) % 2 == 0
    found = features_of(given, ids, train, "v", 5)
    assert found.missing == 5 and (found.values[20:] == 0).all()
    without = features_of(given, ids[:20], train[:20], "v", 0)
    assert np.array_equal(found.values[:20], without.values)


def test_too_many_users_without_a_vector_are_one_line():
    """Wrong: half of a task is scored by the mean vector, and nobody notices."""
    from userbench.data.features import features_of

    ids, train = pa.array(["a", "b", "c", "d"]), np.array([True, True, False, False])
    given = vectors(["a", "x", "b"], np.eye(3))
    with pytest.raises(ValueError, match="^v, task age: 2 of its 4 users have no vector, the fir"):
        features_of(given, ids, train, "v, task age", 1)
    with pytest.raises(ValueError, match="user c. Add them, or allow for them .max_bad_rows"):
        features_of(given, ids, train, "v, task age", 1)
    other = vectors(["u1", "u2"], np.eye(2))
    with pytest.raises(ValueError, match="no training user has a vector, such as user a; its fi"):
        features_of(other, ids, train, "v, task age", 9)
