import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded_encoder import encoder_with
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """Size of the largest tensor made while it is on."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_mlm_equals_released_loss(reference):
    """Another softmax (without the padding row, untied, without bias) would differ."""
    from userbench.model.losses import item_softmax

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


@pytest.mark.parametrize("predictions", [1, 7, 40])
@pytest.mark.parametrize("at_once", [1, 700, 1 << 19])
def test_streamed_softmax_equals_the_whole_one(predictions, at_once, monkeypatch):
    """Value and every gradient, in blocks of items that divide the catalogue and that do not."""
    from userbench.model import losses

    monkeypatch.setattr(losses, "CHUNK", 3)
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", at_once)
    monkeypatch.setitem(losses.LOGITS_KEPT, "cpu", 0)
    torch.manual_seed(0)
    shapes = [(predictions, 6), (101, 6), (101,)]
    states, table, bias = (torch.randn(*shape, requires_grad=True) for shape in shapes)
    targets = torch.randint(101, (predictions,))
    inputs = [states, table, bias]
    logits = torch.nn.functional.linear(states, table, bias)
    whole = torch.nn.functional.cross_entropy(logits, targets)
    expected = torch.autograd.grad(3 * whole, inputs)
    streamed = losses.item_softmax(states, targets, table, bias)
    assert_close(streamed, whole, rtol=1e-5, atol=0)
    found = torch.autograd.grad(3 * streamed, inputs)
    for ours, naive in zip(found, expected, strict=True):
        assert_close(ours, naive, rtol=1e-5, atol=1e-6)


def test_streamed_softmax_never_holds_all_logits():
    """A batch of the paper's size over its catalogue would have 5 GB of them, and of gradients."""
    from userbench.model.losses import LOGITS_AT_ONCE, item_softmax

    states = torch.randn(1100, 4, requires_grad=True)
    table, bias = torch.randn(20_000, 4, requires_grad=True), torch.zeros(20_000)
    with Largest() as largest:
        item_softmax(states, torch.arange(1100), table, bias).backward()
    assert largest.elements <= LOGITS_AT_ONCE["cpu"] < 20_000 * 1100 / 10


def test_streamed_softmax_of_nothing_is_zero(monkeypatch):
    from userbench.model import losses

    monkeypatch.setitem(losses.LOGITS_KEPT, "cpu", -1)
    states = torch.zeros(0, 4, requires_grad=True)
    loss = losses.item_softmax(states, torch.zeros(0).long(), torch.randn(9, 4), torch.zeros(9))
    loss.backward()
    assert loss == 0 and states.grad.shape == (0, 4)


def test_sampled_softmax_tends_to_the_exact_one():
    """A wrong correction for the sampling frequency would leave a bias that no sample removes."""
    from userbench.model.losses import item_softmax, sampled_item_softmax

    torch.manual_seed(0)
    states, table, bias = torch.randn(20, 8), torch.randn(30, 8), torch.randn(30)
    targets = torch.randint(30, (20,))
    frequency = torch.rand(30).softmax(0)
    exact = item_softmax(states, targets, table, bias)
    negatives = frequency.multinomial(400_000, replacement=True)
    # Leaving a row's own target out of its negatives while keeping it once as the target is the
    # exact softmax in expectation.
    sampled = sampled_item_softmax(states, targets, table.__getitem__, bias, negatives, frequency)
    assert_close(sampled, exact, rtol=5e-3, atol=5e-3)


def test_finite_refuses_nan():
    """A NaN must stop training before any score is written."""
    from userbench.model.losses import finite

    good, bad = torch.tensor(1.5), torch.tensor(torch.nan)
    assert finite(good, [good], "step 3", 0.1, None) == 1.5
    for loss, weight in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match="step 3"):
            finite(loss, [weight], "step 3", 0.1, None)


@pytest.mark.parametrize("case", ["dot_tau1", "dot_tau05", "cos_tau01", "cos_tau1"])
def test_nt_xent_equals_the_released_codes(reference, case):
    """CoSeRec's and DuoRec's code agree on this loss; it and its gradients are recorded."""
    from userbench.model.losses import nt_xent

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
    from userbench.model.losses import nt_xent

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


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4]])
def test_nt_xent_has_all_digits_of_a_float32(similarity, groups):
    """Wrong: of a tiny loss, or of its gradient, rounding leaves noise."""
    from userbench.model.losses import nt_xent

    torch.manual_seed(0)
    groups = torch.tensor(groups)
    excluded = groups[:, None] == groups

    def in_float64(first, second, temperature):
        """Row by row, log(1 + sum_j exp(S(i, j) - S(i, p)))."""
        views = torch.cat([first, second])
        if similarity == "cosine":
            views = views / views.norm(dim=1, keepdim=True)
        scores, total = views @ views.T / temperature, 0.0
        for i in range(12):
            others = [j for j in range(12) if groups[j % 6] != groups[i % 6]]
            total += (scores[i, others] - scores[i, (i + 6) % 12]).exp().sum().log1p()
        return total / 12

    one = F.normalize(torch.randn(6, 8), dim=1)
    sizes = []
    for other in (one + 0.05 * torch.randn(6, 8), one.roll(1, 0)):  # near the own, another
        for temperature in np.geomspace(0.01, 1, 24).tolist():
            exact = [view.double().requires_grad_() for view in (one, other)]
            expected = in_float64(*exact, temperature)
            expected.backward()
            views = [view.clone().requires_grad_() for view in (one, other)]
            loss = nt_xent(*views, similarity, temperature, excluded)
            loss.backward()
            assert_close(loss.item(), expected.item(), rtol=1e-7, atol=0)
            for view, reference in zip(views, exact, strict=True):
                assert_close(view.grad.double(), reference.grad, rtol=1e-7, atol=0)
            sizes.append(expected.item())
    assert min(sizes) < 1e-6
    assert max(sizes) > 10
    assert np.diff(np.log10(np.sort(sizes))).max() < 2  # no wide gap between them


def test_nt_xent_without_any_negative():
    """Wrong: a batch whose users are all excluded from each other ends the training by a NaN."""
    from userbench.model.losses import nt_xent

    views = [view.requires_grad_() for view in torch.randn(2, 3, 4)]
    loss = nt_xent(*views, "dot", 1.0, torch.ones(3, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert all((view.grad == 0).all() for view in views)


def test_nt_xent_of_vectors_that_say_nothing():
    """Equal cosines everywhere: the loss of guessing among 2B - 1 candidates."""
    from userbench.model.losses import nt_xent

    same = torch.ones(8, 4)
    assert nt_xent(same, same, "cosine", 0.1).item() == pytest.approx(math.log(15))


def softmax_without(logits, banned):
    """Row by row, the definition."""
    logits = logits.double().index_fill(1, torch.tensor([0]), -torch.inf)
    return logits.scatter(1, banned[:, None], -torch.inf).softmax(1)


@pytest.mark.parametrize(("chunk", "temperature"), [(1, 1.0), (13, 0.5), (50, 2.0)])
def test_sampled_items_follow_the_softmax(chunk, temperature, monkeypatch):
    """Whatever the chunks, also where the last one is not full, or holds nothing but a banned item.

    The sum of squared deviations, each over its variance, is chi-squared.
    """
    from userbench.model import losses

    monkeypatch.setattr(losses, "CHUNK", chunk)
    monkeypatch.setattr(losses, "ROWS_AT_ONCE", {"cpu": 30_000})
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", {"cpu": 200_000})
    torch.manual_seed(0)
    n_items, draws = 40, 100_000
    states, table, bias = torch.randn(3, 8), torch.randn(n_items + 1, 8), torch.randn(n_items + 1)
    logits = (states @ table.T + bias) / temperature
    for banned in (torch.tensor([0, 0, 0]), logits[:, 1:].argmax(1) + 1):
        without = banned.repeat_interleave(draws) if banned.any() else None
        rows = states.repeat_interleave(draws, 0)
        drawn = losses.sample_items(rows, table, bias, temperature, without).view(3, draws)
        share = softmax_without(logits, banned)
        for row, expected, one in zip(drawn, share * draws, banned, strict=True):
            counts = row.bincount(minlength=n_items + 1)
            assert counts[0] == counts[one] == 0
            often = expected > 5
            seldom = ~often & (expected > 0)
            squares = ((counts - expected) ** 2 / expected)[often].sum()
            assert squares < often.sum() + 5 * (2 * often.sum()) ** 0.5
            rest = expected[seldom].sum()
            assert abs(counts[seldom].sum() - rest) < 5 * rest.sqrt() + 1


def test_sampled_items_need_no_gradient_and_may_be_none():
    from userbench.model.losses import sample_items

    table = torch.randn(5, 4, requires_grad=True)
    bias = torch.zeros(5, requires_grad=True)
    drawn = sample_items(torch.randn(0, 4), table, bias, 1.0, None)
    assert drawn.shape == (0,)
    certain = torch.tensor([0, -torch.inf, 0, -torch.inf, -torch.inf])
    assert sample_items(torch.zeros(3, 4), table, certain, 1.0, None).tolist() == [2, 2, 2]
    assert bias.tolist() == [0] * 5
    assert certain[0] == 0  # the caller's bias is left as it was


def test_sampled_items_never_hold_all_logits():
    """At 600 thousand items, a thousand rows of logits would be gigabytes."""
    from userbench.model.losses import LOGITS_AT_ONCE, sample_items

    torch.manual_seed(0)
    table, states = torch.randn(20_000, 4), torch.randn(1100, 4)
    banned = torch.randint(20_000, (1100,))
    with Largest() as largest:
        sample_items(states, table, torch.zeros(20_000), 1.0, banned)
    assert largest.elements <= LOGITS_AT_ONCE["cpu"] < 20_000 * 1100 / 10
