import math

import pytest
import torch
from conftest import encoder_with
from torch.testing import assert_close


def test_mlm_equals_released_loss(reference):
    """Another softmax (without the padding row, untied, without bias) would differ."""
    from userbench.losses import item_softmax

    values = reference("mlm_loss")
    items, masked = torch.from_numpy(values["item_seq"]), torch.from_numpy(values["mask"])
    encoder = encoder_with(values)
    hidden = encoder.hidden(items.masked_fill(masked, encoder.config.mask_id))
    loss = item_softmax(
        hidden[masked],
        items[masked],
        encoder.item_table,
        torch.from_numpy(values["weight/mlm_head.bias"]),
    )
    assert_close(loss.item(), float(values["loss"]), rtol=1e-5, atol=0)


def test_sampled_softmax_tends_to_the_exact_one():
    """A wrong correction for the sampling frequency would leave a bias that no sample removes."""
    from userbench.losses import item_softmax, sampled_item_softmax

    torch.manual_seed(0)
    states, table, bias = torch.randn(20, 8), torch.randn(30, 8), torch.randn(30)
    targets = torch.randint(30, (20,))
    frequency = torch.rand(30).softmax(0)
    exact = item_softmax(states, targets, table, bias)
    negatives = frequency.multinomial(400_000, replacement=True)
    # Leaving a row's own target out of its negatives while keeping it once as the target is the
    # exact softmax in expectation.
    sampled = sampled_item_softmax(states, targets, table, bias, negatives, frequency)
    assert_close(sampled, exact, rtol=5e-3, atol=5e-3)


def test_finite_refuses_nan():
    """A NaN must stop training before any score is written."""
    from userbench.losses import finite

    assert finite(torch.tensor(1.5), 3, 0.1) == 1.5
    with pytest.raises(ValueError, match="step 3"):
        finite(torch.tensor(torch.nan), 3, 0.1)


@pytest.mark.parametrize("case", ["dot_tau1", "dot_tau05", "cos_tau01", "cos_tau1"])
def test_nt_xent_equals_the_released_codes(reference, case):
    """CoSeRec's and DuoRec's code agree on this loss; it and its gradients are recorded."""
    from userbench.losses import nt_xent

    values = {
        name.removeprefix(f"{case}/"): torch.from_numpy(value)
        for name, value in reference("nt_xent").items()
        if name.startswith(f"{case}/")
    }
    views = [values[name].requires_grad_() for name in ("view1", "view2")]
    similarity = "cosine" if case.startswith("cos") else "dot"
    loss = nt_xent(*views, similarity, values["tau"].item())
    loss.backward()
    assert loss.item() == pytest.approx(values["loss"].item(), rel=1e-5)
    for view, name in zip(views, ("grad1", "grad2"), strict=True):
        torch.testing.assert_close(view.grad, values[name], rtol=1e-4, atol=1e-6)


def test_nt_xent_without_excluded_negatives():
    """Two users of one group: by the book, with the pairs written out."""
    from userbench.losses import nt_xent

    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 4)
    groups = torch.tensor([7, 8, 7])
    excluded = groups[:, None] == groups
    views = torch.cat([first, second])
    total = 0.0
    for i in range(6):
        allowed = [
            j for j in range(6) if j != i and (groups[j % 3] != groups[i % 3] or j % 3 == i % 3)
        ]
        scores = torch.stack([views[i] @ views[j] / 0.5 for j in allowed])
        total += scores.logsumexp(0) - views[i] @ views[(i + 3) % 6] / 0.5
    assert nt_xent(first, second, "dot", 0.5, excluded).item() == pytest.approx(total.item() / 6)


def test_nt_xent_of_vectors_that_say_nothing():
    """Equal cosines everywhere: the loss of guessing among 2B - 1 candidates."""
    from userbench.losses import nt_xent

    same = torch.ones(8, 4)
    assert nt_xent(same, same, "cosine", 0.1).item() == pytest.approx(math.log(15))
