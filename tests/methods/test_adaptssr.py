import math

import pytest
import torch
from torch.testing import assert_close

VIEWS = ("u_hat", "u_hat_plus", "u_tilde", "u_tilde_plus")


def loss_by_the_book(a, a_again, b, b_again, coefficient, pairs, temperature=1.0):
    """The paper's formulas, one user and one pair at a time."""
    views = [torch.nn.functional.normalize(v, dim=-1) for v in (a, a_again, b, b_again)]
    a, a_again, b, b_again = views
    total = 0.0
    for i in range(len(a)):
        cross = [max(float(s[i] @ t[i]), 0) for s in (a, a_again) for t in (b, b_again)]
        weight = 1 - sum(cross) / 4 if coefficient == "paper" else coefficient
        for anchor, again, explicit in ((a, a_again, (b, b_again)), (b, b_again, (a, a_again))):
            others = [view[j] for view in views for j in range(len(a)) if j != i]
            implicit = float(anchor[i] @ again[i])
            near = [float(anchor[i] @ view[i]) for view in explicit]
            far = [float(anchor[i] @ other) for other in others]
            if pairs == "hardest":
                quadruples = [(max(near), min(near), max(far))]
            else:
                quadruples = [(v, v, w) for v in near for w in far]
            margins = [weight * (implicit - v) + (1 - weight) * (u - w) for v, u, w in quadruples]
            terms = [math.log(1 + math.exp(-margin / temperature)) for margin in margins]
            total += sum(terms) / len(terms)
    return total / (2 * len(a))


@pytest.mark.parametrize("case", ["small", "batch", "aligned"])
def test_released_form_equals_the_authors_code(reference, case):
    from userbench.methods.adaptssr import Config, adaptssr

    values = reference("adaptssr_loss")
    views = [torch.from_numpy(values[f"{case}/{name}"]).requires_grad_() for name in VIEWS]
    loss, _ = adaptssr(views, Config(coefficient="released"))
    expected = float(values[f"{case}/loss_batch_mean_lambda"])
    assert_close(loss.item(), expected, rtol=1e-5, atol=0)
    loss.backward()
    for name, view in zip(VIEWS, views, strict=True):
        gradient = torch.from_numpy(values[f"{case}/grad_{name}"])
        assert_close(view.grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pairs", ["hardest", "all"])
@pytest.mark.parametrize("coefficient", ["paper", 0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_paper_form_equals_the_formulas(coefficient, pairs, temperature):
    from userbench.methods.adaptssr import Config, adaptssr

    torch.manual_seed(0)
    user = torch.randn(7, 5)  # views of one user resemble each other, some more than others
    views = [user + spread * torch.randn(7, 5) for spread in (0.2, 0.3, 0.8, 1.5)]
    config = Config(coefficient=coefficient, pairs=pairs, temperature=temperature)
    loss, _ = adaptssr(views, config)
    slow = loss_by_the_book(*views, coefficient, pairs, temperature)
    assert_close(loss.item(), slow, rtol=1e-5, atol=0)


def test_no_gradient_through_the_coefficient():
    """Else the loss would fall by changing its own weights."""
    from userbench.methods.adaptssr import Config, adaptssr, first_order_weight

    torch.manual_seed(0)
    crossed = torch.randn(4, 6, requires_grad=True)
    for coefficient in ("paper", "released"):
        assert not first_order_weight(coefficient, crossed, crossed[:2]).requires_grad
    weight = first_order_weight("paper", torch.full((4, 6), -0.5), crossed[:2])
    assert_close(weight, torch.ones(6))  # clamped: dissimilar views give all weight to order one
    views = [torch.randn(6, 4, requires_grad=True) for _ in range(4)]
    loss, _ = adaptssr(views, Config())
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, views))


def test_logs_are_shares_of_orders_that_hold():
    """Else the curve of a training would show orders that do not hold."""
    from userbench.methods.adaptssr import Config, adaptssr

    basis = torch.eye(4)
    tilted = basis + 0.1 * basis.roll(1, 0)
    _, logs = adaptssr([basis, basis, tilted, tilted], Config())
    assert float(logs["implicit_above_explicit"]) == 1
    assert float(logs["explicit_above_others"]) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coefficient": "batch"}, r"coefficient='batch': use paper, .*, or a number in \[0, 1\]"),
        ({"coefficient": 1.5}, "coefficient=1.5: use paper, "),
        ({"pairs": "some"}, "pairs='some': use one of hardest, all"),
        ({"temperature": 0.0}, "temperature=0.0: must be above 0"),
    ],
)
def test_wrong_values_are_rejected(wrong, message):
    """Else a number that weighs no order, or no choice at all, would be trained with."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match=message):
        configure(load_method("adaptssr"), wrong)
