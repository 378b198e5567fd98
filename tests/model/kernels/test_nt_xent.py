"""NT-Xent by one kernel against `losses.nt_xent` in float64."""

import pytest
import torch

from userbench.model import losses
from userbench.model.kernels.nt_xent import nt_xent


def plain(views, excluded, similarity, temperature):
    """Loss, not rounded to float32, and gradient."""
    views = views.detach().double().requires_grad_()
    # Why by hand: `losses.nt_xent` rounds its result.
    unit = torch.nn.functional.normalize(views, dim=-1) if similarity == "cosine" else views
    scores = unit @ unit.T / temperature
    users = len(views) // 2
    margins = scores - (scores * torch.eye(2 * users).roll(users, 0)).sum(1, keepdim=True)
    same = torch.eye(users, dtype=torch.bool) if excluded is None else excluded
    margins = margins.masked_fill((same | torch.eye(users).bool()).repeat(2, 2), -torch.inf)
    loss = torch.nn.functional.softplus(margins.logsumexp(1)).mean()
    loss.backward()
    return loss.detach(), views.grad


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize(
    ("users", "width", "temperature"), [(2, 5, 1.0), (21, 20, 0.1), (17, 80, 0.5)]
)
def test_loss_and_gradient_equal_the_plain_version(similarity, users, width, temperature):
    """Wrong: another score, a row that is its own negative, or one half of the gradient."""
    torch.manual_seed(0)
    views = torch.randn(2 * users, width, requires_grad=True)
    loss = nt_xent(views, None, similarity == "cosine", temperature)
    (3 * loss).backward()
    expected, gradient = plain(views, None, similarity, temperature)
    torch.testing.assert_close(loss.double(), expected, rtol=3e-7, atol=0)
    torch.testing.assert_close(views.grad.double(), 3 * gradient, rtol=1e-6, atol=1e-8)
    rounded = losses.nt_xent(*views.detach().chunk(2), similarity, temperature)
    torch.testing.assert_close(loss, rounded, rtol=3e-7, atol=0)


def test_excluded_pairs_are_no_negatives():
    """Wrong: users of one target repel, in the loss or in the gradient of one of the two."""
    torch.manual_seed(0)
    views = torch.randn(18, 12, requires_grad=True)
    excluded = torch.rand(9, 9) < 0.4  # not symmetric
    excluded[3] = True  # a user without any negative
    loss = nt_xent(views, excluded, True, 0.2)
    loss.backward()
    expected, gradient = plain(views, excluded, "cosine", 0.2)
    torch.testing.assert_close(loss.double(), expected, rtol=3e-7, atol=0)
    torch.testing.assert_close(views.grad.double(), gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("temperature", [0.05, 0.02])
def test_a_loss_near_0_keeps_its_digits(temperature):
    """Wrong: scores of 20 or 50 are rounded to float32, or log(1 + x) rounds a small x away."""
    torch.manual_seed(0)
    views = torch.eye(8).repeat(2, 1) + 0.05 * torch.randn(16, 8)
    views.requires_grad_()
    loss = nt_xent(views, None, True, temperature)
    loss.backward()
    expected, gradient = plain(views, None, "cosine", temperature)
    assert 0 < expected < 1e-4
    torch.testing.assert_close(loss.double(), expected, rtol=2e-7, atol=0)
    error = (views.grad.double() - gradient).norm() / gradient.norm()
    assert error < 2e-7


def test_a_vector_of_zeros_has_a_finite_gradient():
    """Wrong: a length of 0 divides."""
    torch.manual_seed(0)
    views = torch.randn(6, 4)
    views[1] = 0
    views.requires_grad_()
    nt_xent(views, None, True, 1.0).backward()
    assert views.grad.isfinite().all()
