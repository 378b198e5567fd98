import pytest
import torch
from toy_methods import USERS


@pytest.fixture(scope="module")
def store():
    """Users of two tastes, with every length from 1 up; several users share a last item."""
    from userbench.conformance import toy_store

    return toy_store()


@pytest.fixture
def batch(store):
    return store.batch(torch.arange(USERS))
