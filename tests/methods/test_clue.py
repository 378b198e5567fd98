"""CLUE: its loss by the formula, and its collapse without a part."""

import pytest
import torch
from torch.testing import assert_close
from toy_methods import DIM, build


def test_clue_starts_at_zero(store, batch):
    """An untrained predictor has cosines around 0: -1 here would be a trivial solution."""
    loss, logs = build("clue", store)(batch, 0.0)
    assert abs(loss.item()) < 0.25
    assert logs["projected_spread"] > 0.9


def test_clue_loss_equals_the_formula(store):
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    heads, first, second = Heads(DIM, Config()), torch.randn(9, DIM), torch.randn(9, DIM)
    z = [heads.project(view) for view in (first, second)]
    p = [heads.predict(view) for view in z]
    slow = [
        -sum((a / a.norm()) @ (b / b.norm()) for a, b in zip(p[i], z[1 - i], strict=True)) / 9
        for i in range(2)
    ]
    assert_close(heads(torch.cat([first, second])).loss, (slow[0] + slow[1]) / 2)


@pytest.mark.parametrize("without", ["nothing", "stop_gradient", "predictor"])
def test_clue_stops_the_gradient_at_targets(without):
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    view, target = (torch.randn(9, DIM, requires_grad=True) for _ in range(2))
    Heads(DIM, Config(without=without)).distance(view, target).backward()
    assert view.grad.abs().sum() > 0
    assert (target.grad is None) == (without != "stop_gradient")


@pytest.mark.parametrize("without", ["nothing", "stop_gradient", "predictor"])
def test_clue_collapses_without_its_parts(without):
    """Views that share half of their content agree fully only if all users become one point."""
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    heads = Heads(DIM, Config(without=without))
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.03)
    for _ in range(150):
        users = torch.randn(64, DIM)
        views = [users + torch.randn(64, DIM) for _ in range(2)]
        loss, logs = heads(torch.cat(views))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if without == "nothing":
        assert loss > -0.8
        assert logs["projected_spread"] > 0.9
    else:
        assert loss < -0.99
        assert logs["projected_spread"] < 0.1


def test_spread_is_one_on_the_sphere_and_zero_in_a_point():
    from userbench.methods.clue import spread

    torch.manual_seed(0)
    assert_close(spread(torch.randn(5000, 32)).item(), 1.0, rtol=0.02, atol=0)
    assert spread(torch.ones(10, 32)) == 0
