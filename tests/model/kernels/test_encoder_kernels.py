"""The encoder's kernels against their plain versions in float64, at sizes that fill no block."""

import math

import pytest
import torch
import torch.nn.functional as F
from kernel_masks import dropout_scale

from userbench.model.kernels.attention import attention
from userbench.model.kernels.bias_gelu import bias_gelu
from userbench.model.kernels.embedding import embedding
from userbench.model.kernels.pooling import pooling
from userbench.model.kernels.side_by_side import side_by_side, unpacked

SEED, PLACE = torch.tensor([11]), 2
LENGTHS = (1, 70, 3, 64, 2)
CAPACITY = 160


def rows_of(lengths=LENGTHS, width=75):
    items = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in zip(items, lengths, strict=True):
        row[:length] = torch.randint(1, 100, (length,))
    return items


def starts_of(lengths=LENGTHS):
    return F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).int()


def wide(*tensors):
    return [value.detach().double().requires_grad_() for value in tensors]


def check(found, expected, given, plain, atol=1e-4):
    """Values and gradients, whatever the gradient of what comes out."""
    torch.manual_seed(1)
    gradient = torch.randn(found.shape)
    (found * gradient).sum().backward()
    (expected * gradient).sum().backward()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(given, plain, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, atol=atol, rtol=1e-4)


def test_behaviours_lie_side_by_side():
    """Wrong: a behaviour is lost, moved, or left from what lay there before."""
    items = rows_of()
    batch = side_by_side(items, CAPACITY)
    total = sum(LENGTHS)
    assert torch.equal(batch.items[:total], items[items != 0])
    assert torch.equal(batch.positions[:total], (items != 0).nonzero()[:, 1].int())
    assert not batch.items[total:].any() and not batch.positions[total:].any()
    assert torch.equal(batch.starts, starts_of())


def test_more_behaviours_than_there_is_room_for_stop_the_device():
    """Wrong: behaviours that did not fit are left out in silence."""
    with pytest.raises(RuntimeError, match="more behaviours than its bound"):
        side_by_side(rows_of(), 128)


def test_rows_of_users_and_back():
    """Wrong: a state goes to another user, or the gradient of padding to a neighbour."""
    batch = side_by_side(rows_of(), CAPACITY)
    hidden = torch.randn(CAPACITY, 24).requires_grad_()
    rows = unpacked(hidden, batch)
    (plain,) = wide(hidden)
    expected = torch.stack(
        [F.pad(part, (0, 0, 0, 75 - len(part))) for part in plain[: sum(LENGTHS)].split(LENGTHS)]
    )
    check(rows, expected, [hidden], [plain], atol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "width", "rate"), [(2, 32, 0.0), (2, 32, 0.2), (1, 12, 0.2)])
def test_attention_stays_within_each_user(heads, width, rate, causal):
    """Wrong: users see each other, masks differ forwards and backwards, or a block is left out."""
    torch.manual_seed(0)
    dim, total, longest = heads * width, sum(LENGTHS), 75
    projected = torch.randn(CAPACITY, 3 * dim).requires_grad_()
    mixed = attention(projected, starts_of(), SEED, heads, longest, PLACE, rate, causal)
    assert not mixed[total:].any()

    (plain,) = wide(projected)
    masks = dropout_scale(SEED, PLACE, rate, CAPACITY, heads, longest)
    parts = []
    for start, length in zip(starts_of().tolist(), LENGTHS, strict=False):
        own = plain[start : start + length].unflatten(1, (3, heads, width))
        query, key, value = own.permute(1, 2, 0, 3)
        scores = query @ key.mT / math.sqrt(width)
        if causal:
            above = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(above, -torch.inf)
        keep = masks[start : start + length, :, :length].transpose(0, 1)
        parts.append(((scores.softmax(-1) * keep) @ value).transpose(0, 1).flatten(1))
    expected = torch.cat([*parts, torch.zeros(CAPACITY - total, dim)])
    check(mixed, expected, [projected], [plain])
    assert not projected.grad[total:].any()


@pytest.mark.parametrize(("rows", "dim"), [(1, 256), (37, 256), (33, 24)])
def test_bias_and_gelu(rows, dim):
    """Wrong: another GELU, or a bias whose gradient misses rows."""
    torch.manual_seed(0)
    given = [torch.randn(rows, dim).requires_grad_(), torch.randn(dim).requires_grad_()]
    plain = wide(*given)
    check(bias_gelu(*given), F.gelu(plain[0] + plain[1]), given, plain)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_embedding_of_items_and_positions(rate):
    """Wrong: a position's gradient misses a user, or the norm is made after dropout."""
    torch.manual_seed(0)
    dim, batch = 24, side_by_side(rows_of(), CAPACITY)
    items, positions = torch.randn(CAPACITY, dim), torch.randn(80, dim)
    given = [items, positions, *torch.randn(2, dim)]
    given = [value.clone().requires_grad_() for value in given]
    items, positions, gamma, beta = given
    out = embedding(
        items, batch.positions, batch.starts, positions, gamma, beta, SEED, PLACE, rate, False
    )
    plain = wide(*given)
    total = plain[0] + plain[1][batch.positions.long()]
    normed = F.layer_norm(total, (dim,), plain[2], plain[3], 1e-12)
    expected = normed * dropout_scale(SEED, PLACE, rate, CAPACITY, dim)
    real = (torch.arange(CAPACITY) < sum(LENGTHS))[:, None]
    check(out * real, expected * real, given, plain)


@pytest.mark.parametrize("queries", [1, 4])
def test_pooling_of_each_user(queries):
    """Wrong: shares of a user do not sum to one, or a query's gradient misses a block."""
    torch.manual_seed(0)
    given = [torch.randn(CAPACITY, 24), torch.randn(queries, 24)]
    given = [value.requires_grad_() for value in given]
    pooled = pooling(given[0], starts_of(), given[1])
    plain = wide(*given)
    parts = plain[0][: sum(LENGTHS)].split(LENGTHS)
    expected = torch.stack([(part @ plain[1].T).softmax(0).T @ part for part in parts])
    check(pooled, expected, given, plain)
