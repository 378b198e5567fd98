"""CLUE's heads on both views at once against one view after the other."""

import torch
from torch.testing import assert_close

from userbench.methods import clue


def results(users):
    """Loss, logs and gradients of the heads, always with the same weights."""
    torch.manual_seed(0)
    heads = clue.Heads(users.shape[1], clue.Config())
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    given = users.clone().requires_grad_()
    loss, logs = heads(given)
    loss.backward()
    gradients = {name: value.grad for name, value in heads.named_parameters()}
    return loss.detach(), logs, {"users": given.grad, **gradients}


def test_two_views_at_once_are_one_after_the_other(monkeypatch):
    """Wrong: statistics of both views are mixed, a target gets a gradient, a ReLU is left out."""
    torch.manual_seed(1)
    users = torch.randn(2 * 150, 24) * torch.linspace(0.5, 2, 300)[:, None]
    loss, logs, gradients = results(users)
    spread = clue.spread(users)
    monkeypatch.setattr(clue, "used_for", lambda _: True)
    found, found_logs, found_gradients = results(users)
    assert_close(found, loss, atol=1e-6, rtol=1e-5)
    assert_close(found_logs, logs, atol=1e-6, rtol=1e-5)
    assert_close(clue.spread(users), spread, atol=1e-6, rtol=1e-5)
    largest = max(value.abs().max() for value in gradients.values())
    for name, gradient in gradients.items():
        # Batch norm takes the gradient of the bias before it away.
        assert_close(
            found_gradients[name], gradient, atol=2e-6 * float(largest), rtol=1e-3, msg=name
        )
