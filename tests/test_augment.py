from collections import Counter
from fractions import Fraction
from math import ceil, floor

import pytest
import torch

MASK = 999


def sequences(users=300, width=30, seed=0):
    """Rows 1..n of every length from 1 up, right-padded: an item's value is its place."""
    torch.manual_seed(seed)
    lengths = torch.cat([torch.arange(1, 13), torch.randint(1, width + 1, (users - 12,))])
    items = torch.arange(1, width + 1).repeat(users, 1)
    return items * (torch.arange(width) < lengths[:, None]), lengths.tolist()


def real(row):
    """The behaviours of a row; zeros may stand only at the right."""
    values = row.tolist()
    n = sum(v != 0 for v in values)
    assert all(v == 0 for v in values[n:])
    return values[:n]


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.6, 0.7, 1.0])
def test_operators_do_what_they_say(ratio):
    from userbench.augment import crop, mask, reorder

    items, lengths = sequences()
    before = items.clone()
    exact = Fraction(str(ratio))
    for n, cropped, shuffled, masked in zip(
        lengths, crop(items, ratio), reorder(items, ratio), mask(items, ratio, MASK), strict=True
    ):
        kept = real(cropped)
        assert len(kept) == max(1, ceil(exact * n))
        assert kept == list(range(kept[0], kept[0] + len(kept)))  # contiguous, restarted at 0

        order = real(shuffled)
        assert sorted(order) == list(range(1, n + 1))
        moved = [place for place, item in enumerate(order) if item != place + 1]
        assert not moved or moved[-1] - moved[0] < ceil(exact * n)

        hidden = [place for place, item in enumerate(real(masked)) if item == MASK]
        count = ceil(exact * n)
        if count == n:
            count = min(floor(exact * n), n - 1)
        assert len(hidden) == count
        assert all(item in (MASK, place + 1) for place, item in enumerate(real(masked)))
    assert torch.equal(items, before)  # the source is never changed


def test_counts_of_the_release():
    """n = 10 -> crop 4, reorder 6, mask 6; n = 2 -> mask 1; n = 1 -> nothing to mask."""
    from userbench.augment import ceil_share, proper_share

    n = torch.tensor([10, 2, 1, 90])
    assert ceil_share(n, 0.4).tolist() == [4, 1, 1, 36]
    assert ceil_share(n, 0.7).tolist() == [7, 2, 1, 63]  # 0.7 * 90 is 62.999... in floats
    assert proper_share(n, 0.6).tolist() == [6, 1, 0, 54]


def test_draws_are_uniform():
    """Windows and subsets must not prefer an end; 5 standard deviations are allowed."""
    from userbench.augment import crop, mask, reorder

    torch.manual_seed(0)
    users = 20_000
    items = torch.arange(1, 6).repeat(users, 1)
    starts = Counter(crop(items, 0.4)[:, 0].tolist())
    assert set(starts) == {1, 2, 3, 4}
    assert all(abs(count - users / 4) < 5 * (users * 3 / 16) ** 0.5 for count in starts.values())
    hidden = (mask(items, 0.4, MASK) == MASK).sum(0)
    assert ((hidden - 0.4 * users).abs() < 5 * (users * 0.24) ** 0.5).all()
    orders = Counter(map(tuple, reorder(items[:, :3], 1.0).tolist()))
    assert len(orders) == 6
    assert all(abs(c - users / 6) < 5 * (users * 5 / 36) ** 0.5 for c in orders.values())


def test_random_view_offers_mask_only_to_two_behaviours_or_more():
    from userbench.augment import random_view

    torch.manual_seed(0)
    one = torch.tensor([[7, 0, 0]]).repeat(500, 1)
    assert torch.equal(random_view(one, 0.4, 0.6, 0.6, MASK), one)
    ten = torch.arange(1, 11).repeat(6000, 1)
    views = random_view(ten, 0.4, 0.6, 0.6, MASK)
    masked = (views == MASK).any(1).double().mean()
    cropped = (views == 0).any(1).double().mean()
    assert abs(masked - 1 / 3) < 0.04
    assert abs(cropped - 1 / 3) < 0.04
    assert (views != 0).any(1).all()  # no view is empty
