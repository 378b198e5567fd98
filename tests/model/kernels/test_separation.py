"""How alike interests are, by one kernel, against `methods/idicl.py` in float64."""

import pytest
import torch

from userbench.methods import idicl
from userbench.model.kernels.separation import separation


@pytest.mark.parametrize(("entries", "dim"), [(2, 5), (4, 64), (7, 20)])
def test_separation_and_gradient_equal_the_plain_version(entries, dim):
    """Wrong: an entry is compared with itself, or has half of its gradient."""
    torch.manual_seed(0)
    dictionary = (0.02 * torch.randn(entries, dim)).requires_grad_()
    penalty, mean = separation(dictionary)
    (3 * penalty).backward()
    plain = dictionary.detach().double().requires_grad_()
    expected = idicl.separation(plain)
    (3 * expected.penalty).backward()
    torch.testing.assert_close(penalty.double(), expected.penalty, rtol=1e-6, atol=0)
    torch.testing.assert_close(mean.double(), expected.mean_cosine, rtol=1e-5, atol=1e-7)
    error = (dictionary.grad.double() - plain.grad).norm() / plain.grad.norm()
    assert error < 1e-6


def test_one_entry_has_nothing_to_be_kept_apart_from():
    """Wrong: 0 / 0."""
    dictionary = torch.randn(1, 5, requires_grad=True)
    penalty, mean = separation(dictionary)
    penalty.backward()
    assert not penalty.any() and not mean.any() and not dictionary.grad.any()
