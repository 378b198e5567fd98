"""The softmax over all items by kernels against logits, softmax and mean in float64."""

import pytest
import torch
import torch.nn.functional as F

from userbench.model.kernels import item_logits
from userbench.model.kernels import item_softmax as kernels
from userbench.model.kernels.item_logits import tiling
from userbench.model.kernels.item_softmax import item_softmax

MASK_ROW = 1  # of the table, behind the last item


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks and parts small enough that a small catalogue has several, none a whole one."""
    monkeypatch.setattr(item_logits, "ROWS", 32)
    monkeypatch.setattr(item_logits, "ITEMS", 32)
    monkeypatch.setattr(item_logits, "PARTS", 4)
    monkeypatch.setattr(kernels, "PARTS_MERGED", 2)
    monkeypatch.setattr(kernels, "TARGETS_COUNTED", 16)


def inputs(n: int, items: int, dim: int, scale: float = 0.3) -> list[torch.Tensor]:
    torch.manual_seed(0)
    states, table = torch.randn(n, dim), scale * torch.randn(items + MASK_ROW, dim)
    return [value.requires_grad_() for value in (states, table, torch.randn(items))]


def targets_with_padding(n: int, items: int) -> torch.Tensor:
    """Some of nothing to predict, within the others and in whole blocks behind them."""
    targets = torch.randint(1, items, (n,))
    targets[n // 4 : n // 4 + 3] = 0
    targets[n // 2 :] = 0
    return targets


def plain(given: list[torch.Tensor], targets: torch.Tensor) -> tuple[torch.Tensor, list]:
    """Loss and gradients of three times it, by definition."""
    states, table, bias = wide = [value.detach().double().requires_grad_() for value in given]
    logits = F.linear(states, table[: len(bias)], bias)
    total = F.cross_entropy(logits, targets, ignore_index=0, reduction="sum")
    loss = total / (targets != 0).sum().clamp(min=1)
    return loss, torch.autograd.grad(3 * loss, wide)


@pytest.mark.parametrize(
    ("n", "items", "dim"), [(1, 40, 64), (70, 301, 64), (41, 130, 24), (33, 64, 130)]
)
def test_values_and_gradients_equal_the_plain_version(n, items, dim):
    """Wrong: a part or block is left out or read twice, padding counts, the row of the mask is an
    item, or targets have another order than predictions."""
    given = inputs(n, items, dim)
    targets = targets_with_padding(n, items) if n > 1 else torch.tensor([items - 1])
    loss = item_softmax(given[0], targets, given[1], given[2], torch.float32)
    expected, gradients = plain(given, targets)
    torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(3 * loss, given)
    for ours, theirs in zip(found, gradients, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=2e-6, rtol=1e-5)
    assert not found[1][items:].any()


def test_large_logits_keep_their_differences():
    """Wrong: exponentials of logits themselves, which overflow from 88 on."""
    given = inputs(20, 100, 64, scale=10.0)
    targets = torch.arange(1, 21)
    loss = item_softmax(given[0], targets, given[1], given[2], torch.float32)
    torch.testing.assert_close(loss.double(), plain(given, targets)[0], atol=1e-4, rtol=1e-5)


def test_a_batch_of_nothing_to_predict_is_zero():
    given = inputs(40, 50, 64)
    loss = item_softmax(given[0], torch.zeros(40).long(), given[1], given[2], torch.float32)
    assert loss == 0
    assert not any(value.any() for value in torch.autograd.grad(loss, given))


def test_bf16_factors_change_little():
    """What the precision bf16 is allowed to do: 1e-4 of the loss, 1e-2 of gradients.

    Logits have a standard deviation of 3, as those of trained tables.
    """
    given = inputs(100, 300, 64, scale=3 / 8)
    targets = torch.randint(1, 300, (100,))
    expected, gradients = plain(given, targets)
    loss = item_softmax(given[0], targets, given[1], given[2], torch.bfloat16)
    assert abs(loss - expected) < 1e-4 * expected
    for ours, theirs in zip(torch.autograd.grad(3 * loss, given), gradients, strict=True):
        assert ours.dtype == torch.float32
        error = (ours - theirs).norm() / theirs.norm()
        assert 0 < error < 1e-2


def test_parts_cover_the_catalogue_once():
    """Wrong: items behind the last part, or a part without any, whose sum would be nothing."""
    for n_items in (1, 31, 32, 33, 127, 128, 129, 300, 4_047):
        tiles = tiling(n_items, 64)
        assert tiles.width % tiles.items == 0 and tiles.parts <= item_logits.PARTS
        assert (tiles.parts - 1) * tiles.width < n_items <= tiles.parts * tiles.width
