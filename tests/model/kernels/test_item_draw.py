"""Items drawn by kernels against the softmax in float64, by the chi-squared test."""

import pytest
import torch

from userbench.model.kernels import item_draw, item_logits
from userbench.model.kernels.item_draw import item_draw_blocks, item_draw_items, sample_items
from userbench.model.kernels.item_logits import LOWEST

ITEMS, DIM, BLOCK = 150, 24, 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Parts of several blocks, the last of them not whole."""
    monkeypatch.setattr(item_logits, "ROWS", 512)
    monkeypatch.setattr(item_logits, "ITEMS", BLOCK)
    monkeypatch.setattr(item_logits, "PARTS", 4)
    monkeypatch.setattr(item_draw, "ROWS_AT_ONCE", 256)


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same state in all rows; a table with the row of the mask behind the last item."""
    torch.manual_seed(0)
    states, table = torch.randn(1, DIM).expand(rows, -1), 0.3 * torch.randn(ITEMS + 1, DIM)
    return states, table, torch.randn(ITEMS)


def shares(states, table, bias, temperature: float, banned: int) -> torch.Tensor:
    """The softmax without padding and the banned item."""
    logits = (table[:ITEMS].double() @ states[0].double() + bias.double()) / temperature
    return logits.index_fill(0, torch.tensor([0, banned]), -torch.inf).softmax(0)


def assert_drawn_by(share: torch.Tensor, drawn: torch.Tensor) -> None:
    """Chi-squared of what is expected more than five times, and of all else together."""
    counts, expected = drawn.bincount(minlength=len(share)), share * len(drawn)
    assert not counts[expected == 0].any()
    often = expected > 5
    counts = torch.cat([counts[often], counts[~often].sum()[None]])
    expected = torch.cat([expected[often], expected[~often].sum()[None] + 1e-9])
    squares = ((counts - expected) ** 2 / expected)[expected > 0.5]
    freedom = len(squares) - 1
    assert freedom > 5 and squares.sum() < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(("temperature", "ban"), [(1.0, False), (0.5, True)])
def test_blocks_are_kept_by_their_share_of_the_part(temperature, ban):
    """Wrong: first or last blocks are preferred, or the sum of a part is not that of its items."""
    states, table, bias = inputs(2_000)
    likely = int(shares(states, table, bias, 1.0, 0).argmax())
    banned = torch.full((2_000,), likely) if ban else None
    share = shares(states, table, bias, temperature, likely if ban else 0)
    tops, totals, blocks = item_draw_blocks(
        states.contiguous(), table, bias, banned, torch.tensor([7]), temperature
    )
    width = item_logits.tiling(ITEMS, DIM).width
    masses = (totals * (tops - tops.max()).exp()).double()
    assert len(blocks) == 4 and width > 2 * BLOCK
    for part, (kept, mass) in enumerate(zip(blocks, masses, strict=True)):
        own = share[part * width : (part + 1) * width]
        assert torch.allclose(mass / masses.sum(0), own.sum().expand(2_000), rtol=1e-4)
        by_block = torch.nn.functional.pad(own, (0, -len(own) % BLOCK)).view(-1, BLOCK).sum(1)
        counts = ((kept - part * width) // BLOCK).bincount(minlength=len(by_block))
        expected = by_block / own.sum() * 2_000
        assert ((counts - expected) ** 2 / expected).sum() < 25  # two degrees of freedom


@pytest.mark.parametrize(("temperature", "ban"), [(1.0, False), (0.5, True)])
def test_items_follow_the_softmax(temperature, ban):
    """Wrong: padding, the row of the mask or a banned item is drawn, or not each by its share."""
    rows = 2_000
    states, table, bias = inputs(rows)
    likely = int(shares(states, table, bias, 1.0, 0).argmax())
    banned = torch.full((rows,), likely) if ban else None
    torch.manual_seed(3)
    drawn = sample_items(states, table, bias, temperature, banned)
    assert_drawn_by(shares(states, table, bias, temperature, likely if ban else 0), drawn)


def test_a_part_is_drawn_by_its_share():
    """Wrong: the largest logits of parts are left out where their sums are compared."""
    rows = 1_000
    states, table, bias = inputs(rows)
    tops = torch.tensor([3.0, 5.0, LOWEST, 4.0])[:, None].repeat(1, rows)
    totals = torch.tensor([2.0, 0.5, 0.0, 1.0])[:, None].repeat(1, rows)
    blocks = torch.tensor([16, 48, 96, 144], dtype=torch.int32)[:, None].repeat(1, rows)
    drawn = item_draw_items(
        states.contiguous(), table, bias, None, torch.tensor([7]), 1.0, tops, totals, blocks
    )
    counts = (drawn // BLOCK).bincount(minlength=10)[[1, 3, 9]]
    expected = (totals[:, 0] * tops[:, 0].exp())[[0, 1, 3]]
    expected = expected / expected.sum() * rows
    assert counts.sum() == rows
    assert ((counts - expected) ** 2 / expected).sum() < 25


def test_what_is_certain_is_drawn_and_bf16_tables_serve():
    """Wrong: something else is drawn where one item alone is left."""
    states, table, bias = inputs(20)
    bias = torch.full((ITEMS,), -torch.inf)
    bias[[7, 149]] = 0.0
    banned = torch.tensor([7, 149]).repeat(10)
    drawn = sample_items(states, table.bfloat16(), bias, 1.0, banned)
    assert drawn.tolist() == [149, 7] * 10


def test_every_row_and_every_seed_draws_anew():
    states, table, bias = inputs(50)
    torch.manual_seed(3)
    first = sample_items(states, table, bias, 1.0, None)
    second = sample_items(states, table, bias, 1.0, None)
    torch.manual_seed(3)
    assert torch.equal(sample_items(states, table, bias, 1.0, None), first)
    assert not torch.equal(first, second) and len(first.unique()) > 10
