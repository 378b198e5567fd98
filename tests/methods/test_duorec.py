"""DuoRec: pairs of its contrasts, and users of the same next item."""

import pytest
import torch
from torch.testing import assert_close
from toy_methods import USERS, build, nt_xent_by_the_book, seeded, views_of


def test_duorec_contrasts_compare_their_pairs(store, batch):
    """Without dropout a sequence equals its twin, so "us_x" is "su", and "us" is both terms."""
    losses = {}
    for mode in ("us_x", "us", "un", "su"):
        method = build("duorec", store, dropout=0.0, contrast=mode)
        losses[mode] = seeded(method, batch).loss.item()
    with torch.no_grad():
        own, partner = (method.encoder(view) for view in views_of(method, batch))
    assert_close(losses["un"], nt_xent_by_the_book(own, own, "dot", 1.0), rtol=1e-4, atol=0)
    assert_close(losses["su"], nt_xent_by_the_book(own, partner, "dot", 1.0), rtol=1e-4, atol=0)
    assert_close(losses["us_x"], losses["su"], rtol=1e-5, atol=0)
    assert_close(losses["us"], losses["un"] + losses["su"], rtol=1e-5, atol=0)


def test_duorec_twins_differ_by_dropout(store, batch):
    """Else twins would be equal, and the loss of their contrast almost 0."""
    changes = {"contrast": "un", "similarity": "cosine", "temperature": 0.05}
    equal = seeded(build("duorec", store, dropout=0.0, **changes), batch).loss
    twins = seeded(build("duorec", store, dropout=0.5, **changes), batch).loss
    assert twins > equal + 0.5


def test_duorec_leaves_out_negatives_of_the_same_target(store, batch):
    method = build("duorec", store, dropout=0.0, same_target_negatives="left_out")
    targets = [row[row > 0][-1].item() for row in batch.items]
    with torch.no_grad():
        vectors = [method.encoder(view) for view in views_of(method, batch)]
    slow = nt_xent_by_the_book(*vectors, "dot", 1.0, groups=targets)
    assert_close(seeded(method, batch).loss.item(), slow, rtol=1e-4, atol=0)
    kept = build("duorec", store, dropout=0.0)
    assert seeded(kept, batch).loss > seeded(method, batch).loss


def test_duorec_logs_the_share_with_a_partner(store, batch):
    """Users of one behaviour have no past: they have no partner and are nobody's partner."""
    targets = [row[row > 0][-1].item() for row in batch.items]
    several = [t for t, n in zip(targets, store.lengths.tolist(), strict=True) if n > 1]
    share = sum(several.count(t) > 1 for t in several) / USERS
    logs = build("duorec", store)(batch, 0.0).logs
    assert 0 < share < 1
    assert_close(logs["partnered"].item(), share)


def test_duorec_rejects_views_of_another_kind():
    """Else its views would have no targets."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match="same_target"):
        configure(load_method("duorec"), {"views": {"kind": "operators"}})
