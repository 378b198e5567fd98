"""The kernels of CLUE's heads against torch in float64."""

import pytest
import torch
import torch.nn.functional as F

from userbench.methods import clue
from userbench.model.kernels.batch_norm import batch_norm
from userbench.model.kernels.distance import crossed_distance
from userbench.model.kernels.spread import spreads


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("users", "dim"), [(2, 3), (21, 18)])
def test_batch_norm_is_that_of_each_view(relu, users, dim):
    """Wrong: statistics of both views together, or a gradient that forgets one of the two."""
    torch.manual_seed(0)
    rows = 3 + torch.randn(2 * users, dim) * torch.rand(dim)
    given = [rows, torch.randn(dim), torch.randn(dim)]
    given = [value.requires_grad_() for value in given]
    weights = torch.randn(2 * users, dim)
    out = batch_norm(*given, 2, relu)
    (out * weights).sum().backward()

    plain = [value.detach().double().requires_grad_() for value in given]
    parts = [
        F.batch_norm(part, None, None, *plain[1:], training=True) for part in plain[0].chunk(2)
    ]
    expected = torch.cat(parts)
    expected = expected.relu() if relu else expected
    (expected * weights).sum().backward()
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-5)
    for found, value in zip(given, plain, strict=True):
        torch.testing.assert_close(found.grad.double(), value.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stopped", [True, False])
def test_the_cosine_with_the_other_view(stopped):
    """Wrong: a row is compared with its own view, or a gradient flows where it is stopped."""
    torch.manual_seed(0)
    one, other = (torch.randn(26, 20, requires_grad=True) for _ in range(2))
    mean = crossed_distance(one, other.detach() if stopped else other)
    (2 * mean).backward()
    plain = [value.detach().double().requires_grad_() for value in (one, other)]
    expected = -F.cosine_similarity(plain[0], plain[1].roll(13, 0)).mean()
    (2 * expected).backward()
    torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(one.grad.double(), plain[0].grad, rtol=1e-5, atol=1e-7)
    if stopped:
        assert other.grad is None
    else:
        torch.testing.assert_close(other.grad.double(), plain[1].grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("without", ["nothing", "stop_gradient", "predictor"])
def test_heads_on_both_views_at_once_equal_one_after_the_other(without):
    """Wrong: a layer is left out, or another one is followed by ReLU."""
    torch.manual_seed(0)
    heads = clue.Heads(16, clue.Config(without=without))
    views = [torch.randn(9, 16, requires_grad=True) for _ in range(2)]
    gradients = []
    for loss in (heads.at_once(torch.cat(views)).loss, heads(torch.cat(views)).loss):
        inputs = [*views, *heads.parameters()]
        gradients.append([loss.detach(), *torch.autograd.grad(loss, inputs, allow_unused=True)])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_the_spread_of_unit_vectors():
    """Wrong: vectors keep their length, or the deviation is that of another number of users."""
    torch.manual_seed(0)
    users = torch.randn(21, 18) * torch.rand(21, 1)
    expected = F.normalize(users, dim=-1).std(0) * 18**0.5
    torch.testing.assert_close(spreads(users), expected)
