"""PTUM against a loop over users."""

import math

import pytest
import torch
from torch.testing import assert_close
from toy_methods import N_ITEMS, USERS, build, seeded


def test_ptum_starts_at_chance(store, batch):
    """log 5 for each task, one true behaviour among five; else a candidate is missing."""
    loss, logs = build("ptum", store)(batch, 0.0)
    assert_close(loss.item(), 2 * math.log(5), rtol=0.02, atol=0)
    assert_close(logs["masked_behaviour"].item(), math.log(5), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "changes", [{}, {"next_behaviours": 3, "negatives": 7, "next_weight": 2.0}]
)
def test_ptum_equals_a_loop_over_users(changes, store, batch):
    from userbench.model.augment import random_start

    method = build("ptum", store, dropout=0.0, **changes)
    torch.nn.init.normal_(method.encoder.items.weight, std=0.5)
    c, table = method.config, method.encoder.items.weight
    loss = seeded(method, batch).loss
    torch.manual_seed(1)
    masked_at = random_start(store.lengths, torch.ones_like(store.lengths))
    size = (USERS, 1 + c.next_behaviours, c.negatives)
    drawn = store.items[torch.randint(len(store.items), size)]

    def choose(user, true, others):
        scores = torch.stack([user @ table[c] for c in [true, *(o for o in others if o != true)]])
        return -scores.log_softmax(0)[0]

    mbp, nbp = [], []
    for i, n in enumerate(store.lengths.tolist()):
        row = batch.items[i, :n]
        if n > 1:
            masked = row.clone()
            masked[masked_at[i, 0]] = N_ITEMS + 1
            user = method.encoder(masked[None])[0]
            mbp.append(choose(user, row[masked_at[i, 0]], drawn[i, 0]))
        if n > c.next_behaviours:
            user = method.encoder(row[None, : n - c.next_behaviours])[0]
            each = [
                choose(user, row[n - c.next_behaviours + k], drawn[i, 1 + k])
                for k in range(c.next_behaviours)
            ]
            nbp.append(sum(each) / len(each))
    slow = torch.stack(mbp).mean() + c.next_weight * torch.stack(nbp).mean()
    assert_close(loss, slow, rtol=1e-4, atol=0)


def test_ptum_draws_by_popularity_or_uniformly(store):
    counts = build("ptum", store).drawable.bincount(minlength=N_ITEMS + 1)
    assert torch.equal(counts, store.items.bincount(minlength=N_ITEMS + 1))
    counts = build("ptum", store, drawn_from="items").drawable.bincount(minlength=N_ITEMS + 1)
    assert counts.tolist() == [0] + [1] * N_ITEMS


def test_ptum_of_users_too_short_is_zero_with_a_gradient(store):
    loss, _ = build("ptum", store)(store.batch((store.lengths == 1).nonzero()[:, 0]), 0.0)
    loss.backward()
    assert loss.item() == 0
