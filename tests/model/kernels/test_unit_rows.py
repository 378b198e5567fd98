"""Unit vectors by one kernel against `F.normalize` in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from userbench.model.kernels.unit_rows import unit_rows


@pytest.mark.parametrize("shape", [(3, 4, 24), (5, 1), (7, 64)])
def test_values_and_gradients_equal_the_plain_version(shape):
    """Wrong: another length, a scale that is left out, or a gradient along the vector."""
    torch.manual_seed(0)
    values = torch.randn(shape, requires_grad=True)
    with torch.no_grad():
        values.flatten(0, -2)[0] = 0  # as long as nothing
    plain = values.detach().double().requires_grad_()
    found, expected = unit_rows(values, 0.5), F.normalize(plain, dim=-1) * 0.5
    gradient = torch.randn(shape)
    (found * gradient).sum().backward()
    (expected * gradient).sum().backward()
    assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)
    real = values.detach().norm(dim=-1, keepdim=True) > 0
    assert_close((values.grad * real).double(), plain.grad * real, atol=1e-5, rtol=1e-5)
    assert values.grad.isfinite().all()
