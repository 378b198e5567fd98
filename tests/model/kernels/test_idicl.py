"""The kernels of IDICL's loss against `methods/idicl.py` in float64."""

import pytest
import torch
import torch.nn.functional as F

from userbench.methods import idicl
from userbench.model.kernels.separation import separation
from userbench.model.kernels.unit import of_length


@pytest.mark.parametrize(("users", "dim"), [(1, 4), (7, 20)])
def test_vectors_of_one_length(users, dim):
    """Wrong: another length, or a gradient that would change it."""
    torch.manual_seed(0)
    vectors = torch.randn(users, 3, dim, requires_grad=True)
    weights = torch.randn(users, 3, dim)
    out = of_length(vectors, 0.7)
    (out * weights).sum().backward()
    plain = vectors.detach().double().requires_grad_()
    expected = F.normalize(plain, dim=-1) * 0.7
    (expected * weights).sum().backward()
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(vectors.grad.double(), plain.grad, rtol=1e-5, atol=1e-6)


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
