"""Views drawn by one kernel against the plain way, from the same numbers: equal to the last id."""

from dataclasses import replace

import pytest
import torch

from userbench.data.store import BehaviourStore
from userbench.methods import ptum
from userbench.model import augment
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.kernels.masked_and_past import masked_and_past
from userbench.model.kernels.subsets import ordered_places, random_share
from userbench.view import load_views
from userbench.views.fill import masked_part

N_ITEMS, MASK = 50, 51
VARIANTS = [
    ("operators", {}),
    ("operators", {"distinct": True}),
    ("operators", {"crop_ratio": 0.0001, "mask_ratio": 1.0, "reorder_ratio": 1.0}),
    ("informative", {}),
    ("informative", {"short_length": -1, "insert_ratio": 1.0}),
    ("informative", {"short_length": 100, "substitute_ratio": 0.7, "insert_ratio": 0.001}),
    ("periods", {}),
    ("periods", {"least_share": 0.9}),
    ("periods", {"window": "long"}),
    ("periods", {"window": "short"}),
    ("same_target", {}),
]
SHORT = [1, 2, 3, 4, 5, 6]
# One behaviour, two, the full width, and widths that are no multiples of blocks.
LENGTHS = {1: [1] * 5, 2: [1, 2] * 4, 37: [*SHORT, 36, 37] * 3, 70: [1, 33, 69, 70]}


def store_of(width: int) -> BehaviourStore:
    torch.manual_seed(width)
    lengths = torch.tensor(LENGTHS[width])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    items = torch.randint(1, N_ITEMS + 1, (int(offsets[-1]),), dtype=torch.int32)
    items[offsets[1:] - 1] = torch.arange(len(lengths), dtype=torch.int32) % 4 + 1
    return BehaviourStore(items, offsets, lengths, N_ITEMS, width)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
@pytest.mark.parametrize("width", LENGTHS)
def test_views_equal_the_plain_ones(kind, options, width, monkeypatch):
    """Wrong: another operator, count, place or neighbour, or something left of another view."""
    store, module = store_of(width), load_views(kind)
    # Room for some insertions; of others the oldest behaviours are dropped.
    encoder = UserEncoder(EncoderConfig(N_ITEMS, dim=16, max_length=width + 3), 0.1)
    views = replace(module.Options(), **options).build(encoder)
    learnt = store_of(37) if kind == "informative" else store
    # The last users are held out: they have a partner without being one.
    views.prepare(learnt, torch.arange(learnt.n_users - 2))
    batch, drawn = store.batch(torch.arange(store.n_users)), []
    for by_kernel in (False, True):
        monkeypatch.setattr(module, "used_for", lambda _, answer=by_kernel: answer)
        torch.manual_seed(1)
        drawn.append((*views(batch, 0.3), getattr(views, "partnered", torch.zeros(()))))
    for plain, found in zip(*drawn, strict=True):
        assert torch.equal(plain, found)


@pytest.mark.parametrize("width", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_ptum_hides_equals_the_plain_way(width, count):
    store = store_of(width)
    items = store.batch(torch.arange(store.n_users)).items
    uniform = torch.rand(len(items), dtype=torch.float64)
    plain = ptum.hide(items, uniform, count, MASK)
    found = masked_and_past(items, uniform, count, MASK)
    assert all(torch.equal(*pair) for pair in zip(plain, found, strict=True))


@pytest.mark.parametrize("width", LENGTHS)
@pytest.mark.parametrize("ratio", [0.0001, 0.3, 1.0])
def test_random_shares_equal_the_plain_ones(width, ratio):
    """Wrong: all of a sequence, or a part of its padding, is masked."""
    store = store_of(width)
    items = store.batch(torch.arange(store.n_users)).items
    keys = torch.rand(items.shape)
    for plain, share in ((augment.proper_part, "proper"), (masked_part, "some")):
        found = random_share(items, keys, round(1000 * ratio), share)
        assert torch.equal(found, plain(items, ratio, keys))


def test_of_equal_keys_the_earlier_comes_first():
    """Wrong: two positions of equal keys are both chosen, or none: the count is missed."""
    store = store_of(70)
    items = store.batch(torch.arange(store.n_users)).items
    keys = torch.rand(items.shape).mul(4).floor() / 4
    found = random_share(items, keys, 300, "proper")
    ranks = keys.masked_fill(items == 0, 2).argsort(dim=1, stable=True).argsort(dim=1)
    lengths = augment.lengths_of(items)
    assert torch.equal(found, ranks < augment.proper_share(lengths, 0.3)[:, None])


@pytest.mark.parametrize("size", [1, 1023, 3000])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("spare", [0, 2000])
def test_places_are_in_order(size, share, spare):
    chosen = torch.rand(size) < share
    exact = chosen.nonzero().squeeze(1)
    at_most = len(exact) + spare
    if at_most:
        places = ordered_places(chosen, at_most)
        assert torch.equal(places[: len(exact)], exact)
        assert (places[len(exact) :] == size).all()
        assert torch.equal(places, augment.places_of(chosen[:, None], at_most))
