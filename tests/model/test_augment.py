from collections import Counter
from fractions import Fraction
from math import ceil, floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

MASK = 999
NEIGHBOUR = 1000  # of item i is item NEIGHBOUR + i

lengths = st.lists(st.integers(1, 25), min_size=1, max_size=8)
ratios = st.integers(1, 1000).map(lambda thousandths: thousandths / 1000)
seeds = st.integers(0, 2**32)


def sequences(users=300, width=30, seed=0):
    """Rows 1..n of every length from 1 up, right-padded: an item's value is its place."""
    torch.manual_seed(seed)
    lengths = torch.cat([torch.arange(1, 13), torch.randint(1, width + 1, (users - 12,))])
    items = torch.arange(1, width + 1).repeat(users, 1)
    return items * (torch.arange(width) < lengths[:, None]), lengths.tolist()


def real(row):
    """The behaviours of a row; zeros are only at the right."""
    values = row.tolist()
    n = sum(v != 0 for v in values)
    assert all(v == 0 for v in values[n:])
    return values[:n]


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.6, 0.7, 1.0])
def test_operators_do_what_they_say(ratio):
    from userbench.model.augment import crop, mask, reorder

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


def test_counts_of_the_published_data():
    """n = 10 -> crop 4, reorder 6, mask 6; n = 2 -> mask 1; n = 1 -> nothing to mask."""
    from userbench.model.augment import ceil_share, proper_share

    n = torch.tensor([10, 2, 1, 90])
    assert ceil_share(n, 0.4).tolist() == [4, 1, 1, 36]
    assert ceil_share(n, 0.7).tolist() == [7, 2, 1, 63]  # 0.7 * 90 is 62.999... in floats
    assert proper_share(n, 0.6).tolist() == [6, 1, 0, 54]


def test_draws_are_uniform():
    """Windows and subsets must not prefer an end; 5 standard deviations are allowed."""
    from userbench.model.augment import crop, mask, reorder

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


def rows_of(lengths, columns=0):
    """A row 1..n for each length, right-padded to at least `columns`."""
    width = max(*lengths, columns)
    items = torch.arange(1, width + 1).repeat(len(lengths), 1)
    return items * (torch.arange(width) < torch.tensor(lengths)[:, None])


def neighbours_of(columns):
    table = torch.arange(columns + 1) + NEIGHBOUR
    table[0] = 0
    return table


def at_least_one(ratio, n):
    return max(1, round(ratio * 1000) * n // 1000)


@settings(deadline=None)
@given(lengths, ratios, seeds, st.integers(0, 3))
def test_substitute_replaces_as_many_as_it_says(lengths, ratio, seed, padding):
    from userbench.model.augment import substitute

    torch.manual_seed(seed)
    items = rows_of(lengths, max(lengths) + padding)
    before = items.clone()
    view = substitute(items, ratio, neighbours_of(items.shape[1]))
    assert torch.equal(items, before)
    for n, row in zip(lengths, view, strict=True):
        places = real(row)
        assert sum(item > NEIGHBOUR for item in places) == at_least_one(ratio, n)
        assert [item % NEIGHBOUR for item in places] == list(range(1, n + 1))


@settings(deadline=None)
@given(lengths, ratios, seeds, st.integers(0, 30))
def test_insert_keeps_the_sequence_and_its_end(lengths, ratio, seed, more):
    """An anchor right after its neighbour; where columns run out, the oldest are missing."""
    from userbench.model.augment import insert

    torch.manual_seed(seed)
    items = rows_of(lengths)
    before, width = items.clone(), items.shape[1] + more
    table = neighbours_of(items.shape[1])
    view = insert(items, ratio, table, width)
    assert view.shape == (len(lengths), width)
    assert torch.equal(items, before)
    for n, row in zip(lengths, view, strict=True):
        grown, total = real(row), n + at_least_one(ratio, n)
        assert len(grown) == min(total, width)
        kept = [item for item in grown if item < NEIGHBOUR]
        assert kept == list(range(n - len(kept) + 1, n + 1))
        for place, item in enumerate(grown):
            if item > NEIGHBOUR:
                assert grown[place + 1] == item - NEIGHBOUR
        if total <= width:
            assert len(kept) == n


def test_anchors_are_uniform():
    """Every behaviour is as often an anchor as any other; 5 standard deviations are allowed."""
    from userbench.model.augment import insert, substitute

    torch.manual_seed(0)
    users = 20_000
    items = torch.arange(1, 6).repeat(users, 1)
    table = neighbours_of(5)
    allowed = 5 * (users * 0.24) ** 0.5
    for view in (substitute(items, 0.4, table), insert(items, 0.4, table, 7)):
        counts = Counter(view[view > NEIGHBOUR].tolist())
        assert len(counts) == 5
        assert all(abs(count - 0.4 * users) < allowed for count in counts.values())


@given(lengths, st.integers(0, 3))
def test_drop_last(lengths, padding):
    """The target must not stay in what it is predicted from; no sequence may become empty."""
    from userbench.model.augment import drop_last

    items = rows_of(lengths, max(lengths) + padding)
    past, last = drop_last(items)
    assert last.tolist() == lengths
    assert [real(row) for row in past] == [list(range(1, max(n, 2))) for n in lengths]


@settings(deadline=None)
@given(lengths, ratios, seeds)
def test_halves_share_the_sequence(lengths, least, seed):
    from userbench.model.augment import halves

    torch.manual_seed(seed)
    items = rows_of(lengths)
    for n, early, late in zip(lengths, *halves(items, least), strict=True):
        early, late, whole = real(early), real(late), list(range(1, n + 1))
        if n == 1:
            assert early == late == whole
        else:
            assert early + late == whole
            shortest = min(ceil(Fraction(round(least * 1000), 1000) * n), n // 2)
            assert min(len(early), len(late)) >= shortest


@settings(deadline=None)
@given(lengths, st.integers(1, 12), seeds)
def test_adjacent_windows_touch(lengths, width, seed):
    from userbench.model.augment import adjacent

    torch.manual_seed(seed)
    items = rows_of(lengths)
    for n, early, late in zip(lengths, *adjacent(items, width), strict=True):
        early, late = real(early), real(late)
        assert len(early) == len(late) == max(1, min(width, n // 2))
        both = early if n == 1 else early + late
        assert both == list(range(both[0], both[0] + len(both)))


def test_cuts_and_windows_are_uniform():
    from userbench.model.augment import adjacent, halves

    torch.manual_seed(0)
    users = 20_000
    items = torch.arange(1, 11).repeat(users, 1)
    cuts = Counter((halves(items, 0.2).early != 0).sum(1).tolist())
    assert set(cuts) == set(range(2, 9))
    starts = Counter(adjacent(items, 3).early[:, 0].tolist())
    assert set(starts) == set(range(1, 6))
    for counts in (cuts, starts):
        share = 1 / len(counts)
        allowed = 5 * (users * share * (1 - share)) ** 0.5
        assert all(abs(count - users * share) < allowed for count in counts.values())


def test_operators_are_drawn_of_those_offered():
    """One that a user is not offered must never be drawn; the others equally often."""
    from userbench.model.augment import draw_operator

    torch.manual_seed(0)
    offered = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1]]).bool()
    users = 9000
    drawn = draw_operator(offered.repeat_interleave(users, 0)).view(3, users)
    for row, choices in zip(drawn, offered, strict=True):
        counts = row.bincount(minlength=4)
        assert torch.equal(counts > 0, choices)
        share = 1 / int(choices.sum())
        allowed = 5 * (users * share * (1 - share)) ** 0.5 + 1
        assert all(abs(count - users * share) < allowed for count in counts[choices].tolist())


def test_views_by_operator():
    from userbench.model.augment import by_operator

    views = [torch.full((3, 2), value) for value in (5, 6, 7)]
    assert by_operator(torch.tensor([2, 0, 1]), views)[:, 0].tolist() == [7, 5, 6]
