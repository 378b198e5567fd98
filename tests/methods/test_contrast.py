"""Methods that contrast two views, against the slow and obvious version."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from toy_methods import N_ITEMS, USERS, build, nt_xent_by_the_book, seeded, views_of


@pytest.mark.parametrize(
    "name, changes",
    [
        ("cl4srec", {}),
        ("cl4srec", {"similarity": "cosine", "temperature": 0.1}),
        ("coserec", {}),
        ("duorec", {}),
        ("ccl", {}),
        ("idicl", {"separation": 0.0}),
        ("idicl", {"separation": 0.0, "similarity": "dot"}),
        ("clue", {"loss": "infonce"}),
    ],
)
def test_indistinguishable_users_cost_log_of_the_candidates(name, changes, store, batch):
    """log(2B - 1): with another value, a candidate is missing or counted twice."""
    method = build(name, store, dropout=0.0, **changes)
    torch.nn.init.zeros_(method.encoder.items.weight)
    torch.nn.init.zeros_(method.encoder.positions.weight)
    method.encoder.norm.bias.data.normal_()
    assert_close(method(batch, 0.0).loss.item(), math.log(2 * USERS - 1), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("cl4srec", {}),
        ("cl4srec", {"projection": "linear", "similarity": "cosine", "temperature": 0.2}),
        ("coserec", {}),
        ("duorec", {}),
        ("ccl", {}),
        ("clue", {"loss": "infonce"}),
    ],
)
def test_contrast_equals_the_double_loop(name, changes, store, batch):
    method = build(name, store, dropout=0.0, **changes)
    project = getattr(method, "project", lambda users: users)
    with torch.no_grad():
        vectors = [project(method.encoder(view)) for view in views_of(method, batch)]
    slow = nt_xent_by_the_book(*vectors, method.config.similarity, method.config.temperature)
    assert_close(seeded(method, batch).loss.item(), slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cl4srec", "coserec", "duorec"])
def test_next_item_prediction_equals_a_loop_over_users(name, store, batch):
    """Else the target is read, users of one behaviour count, or a weight is not used."""
    method = build(name, store, dropout=0.0, rec_weight=2.0, contrast_weight=0.3)
    torch.nn.init.normal_(method.encoder.items.weight)
    loss, logs = seeded(method, batch)
    assert_close(loss.detach(), 0.3 * logs["contrast"] + 2 * logs["next_item"])
    losses = []
    with torch.no_grad():
        for row, n in zip(batch.items, store.lengths.tolist(), strict=True):
            if n > 1:
                user = method.encoder(row[None, : n - 1])[0]
                losses.append(-(method.encoder.item_table @ user).log_softmax(0)[row[n - 1]])
    assert_close(logs["next_item"], torch.stack(losses).mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["cl4srec", "coserec", "duorec"])
def test_sampled_next_item_prediction_tends_to_the_exact_one(name, store, batch):
    """Else negatives are drawn by other frequencies than their correction assumes."""
    exact = seeded(build(name, store, dropout=0.0, rec_weight=1.0), batch)
    sampled = seeded(build(name, store, dropout=0.0, rec_weight=1.0, negatives=20_000), batch)
    # Without the padding row, which is a candidate of the exact softmax, as in AdaptSSR's code.
    assert_close(
        sampled.logs["next_item"].exp(),
        exact.logs["next_item"].exp() * N_ITEMS / (N_ITEMS + 1),
        rtol=0.02,
        atol=0,
    )


@pytest.mark.parametrize(
    "name, changes",
    [
        ("clue", {}),
        ("clue", {"loss": "infonce"}),
        ("duorec", {}),
        ("idicl", {}),
        ("idicl", {"aggregation": "principal", "interests": 8}),
        ("ptum", {}),
        ("peterrec", {"predict": "next"}),
    ],
)
def test_more_padding_changes_no_loss(name, changes, store, batch):
    method = build(name, store, dropout=0.0, **changes)
    wider = batch._replace(items=F.pad(batch.items, (0, 4)))
    assert_close(seeded(method, wider).loss, seeded(method, batch).loss)
