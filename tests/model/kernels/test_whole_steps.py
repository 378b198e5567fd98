"""Whole steps of methods with kernels of our own against the steps of a CPU.

Tensors of the CPU say that they are a GPU's, so that every branch for one is taken, and kernels run
in the interpreter. Dropout is off, and CCL is left out: masks and fills are drawn otherwise there.
"""

from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from userbench import conformance
from userbench.method import configure, load_method
from userbench.training import optimizer

CASES = {
    **{name: (name, {}) for name in ("adaptssr", "cl4srec", "clue", "coserec", "duorec")},
    **{name: (name, {}) for name in ("idicl", "mlm", "peterrec", "ptum")},
    "mlm sampled": ("mlm", {"negatives": 16}),
    "peterrec next": ("peterrec", {"predict": "next"}),
    "cl4srec joint": ("cl4srec", {"rec_weight": 1.0}),
    "adaptssr fixed": ("adaptssr", {"coefficient": 0.5}),
    "adaptssr all pairs": ("adaptssr", {"pairs": "all"}),
    "clue infonce": ("clue", {"loss": "infonce"}),
}
USERS = 6


@contextmanager
def as_a_gpu():
    """Inside, tensors take the code paths of a GPU."""
    with (
        mock.patch.object(Tensor, "is_cuda", property(lambda _: True)),
        mock.patch.object(optimizer, "DEFERRED_FROM", 1),
    ):
        yield


@pytest.fixture(scope="module")
def store():
    return conformance.toy_store()


def step(case, store):
    """The loss of a step, and the mean gradients that Adam keeps: a tenth of those of the step."""
    name, changes = CASES[case]
    module = load_method(name)
    config = configure(module, {**changes, "dropout": 0.0})
    method = conformance.build(conformance.Case(module, config, store))
    adam = optimizer.Adam(method, 1e-2, "dense", method.encoder.items)
    torch.manual_seed(1)
    loss, _ = method(store.bounded_batch(conformance.EVERYONE[:USERS]), 0.5)
    adam.step(loss)
    means = {
        name: adam.of_others.state[value]["exp_avg"]
        for name, value in method.named_parameters()
        if value in adam.of_others.state
    }
    if adam.deferred is not None:
        means["encoder.items.weight"] = adam.deferred.state.moments.chunk(2, 1)[0]
    return loss.detach(), means


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_a_cpu(case, store):
    """Wrong: a kernel computes another loss or gradient, or one that Adam is not given."""
    loss, means = step(case, store)
    with as_a_gpu():
        found, found_means = step(case, store)
    assert_close(found, loss, rtol=1e-4, atol=1e-5)
    assert found_means.keys() == means.keys()
    for name, value in means.items():
        error = (found_means[name] - value).norm()
        assert error <= 1e-3 * value.norm() + 1e-7, (name, error, value.norm())
