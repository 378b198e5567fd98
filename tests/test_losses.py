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
