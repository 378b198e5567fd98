"""AdaptSSR's loss by one kernel against `methods/adaptssr.py` in float64."""

import pytest
import torch

from userbench.methods import adaptssr
from userbench.model.kernels.ranking import hardest_pairs

# Each view somewhat farther from the first, so that every order holds for some and not for others.
SPREADS = (0.2, 0.5, 0.6, 0.8)


def views_of(users: int, width: int) -> torch.Tensor:
    torch.manual_seed(0)
    user = torch.randn(users, width)
    return torch.cat([user + spread * torch.randn(users, width) for spread in SPREADS])


def compared(views: torch.Tensor, config: adaptssr.Config):
    """Loss, logs and gradient of the kernel and of the plain version."""
    found, plain = views.clone().requires_grad_(), views.double().requires_grad_()
    loss, logs = hardest_pairs(found.chunk(4), config.coefficient, config.temperature)
    theirs = adaptssr.adaptssr(plain.chunk(4), config)
    (2 * loss).backward()
    (2 * theirs.loss).backward()
    torch.testing.assert_close(loss.double(), theirs.loss, rtol=3e-7, atol=0)
    for log, value in theirs.logs.items():
        torch.testing.assert_close(logs[log].double(), value.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.grad.double(), plain.grad, rtol=1e-5, atol=1e-9)
    return theirs


@pytest.mark.parametrize(
    ("coefficient", "users", "width", "temperature"),
    [
        *(("paper", *sizes) for sizes in ((2, 5, 1.0), (19, 20, 0.1), (11, 70, 0.5))),
        *((coefficient, 9, 12, 0.5) for coefficient in ("unclamped", 0.0, 0.3, 1.0)),
    ],
)
def test_loss_logs_and_gradient_equal_the_plain_version(coefficient, users, width, temperature):
    """Wrong: another pair, another weight, or a role of a row that its gradient leaves out."""
    config = adaptssr.Config(coefficient=coefficient, temperature=temperature)
    logs = compared(views_of(users, width), config).logs
    if width == 20:
        assert all(0 < float(log) < 1 for log in logs.values())


def test_a_row_may_be_the_hardest_other_of_many():
    """Wrong: one anchor overwrites what another gives to the same row."""
    views = views_of(9, 16)
    views[2 * 9 + 4] = views.sum(0)  # near to everybody
    compared(views, adaptssr.Config())


def test_equal_explicit_views_share_their_gradient():
    """Wrong: of two equal views, which a user without dropout has, one gets what is both's."""
    views = 2 + views_of(7, 12)
    views[2 * 7] = views[3 * 7] = -views[0] + 0.1 * torch.randn(12)  # the hardest of nobody else
    compared(views, adaptssr.Config())


def test_of_equal_hardest_others_the_first_gets_the_gradient():
    """Wrong: a gradient is lost, or given twice, where two users have equal vectors."""
    view, other = views_of(14, 12)[:14].split(7)
    views = torch.cat([view, view, other, other])
    found = views.clone().requires_grad_()
    hardest_pairs(found.chunk(4), "paper", 1.0)[0].backward()
    plain = views.double().requires_grad_()
    adaptssr.adaptssr(plain.chunk(4), adaptssr.Config()).loss.backward()
    # The plain version divides it among the two, so their sums are equal.
    sums = [gradient.view(2, 2, 7, 12).sum(1) for gradient in (found.grad.double(), plain.grad)]
    torch.testing.assert_close(*sums, rtol=1e-5, atol=1e-9)


def test_a_vector_of_zeros_has_a_finite_gradient():
    """Wrong: a length of 0 divides."""
    views = views_of(5, 8)
    views[3] = 0
    views.requires_grad_()
    hardest_pairs(views.chunk(4), "paper", 1.0)[0].backward()
    assert views.grad.isfinite().all()
