import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.testing import assert_close


def test_auc_equals_scikit_learn_with_ties():
    from userbench.model.metrics import auc

    torch.manual_seed(0)
    for scores in (torch.randn(500), torch.randint(0, 5, (500,)).float(), torch.zeros(500)):
        positive = torch.rand(500) < 0.3
        assert_close(
            float(auc(scores, positive)),
            float(roc_auc_score(positive.numpy(), scores.numpy())),
            rtol=1e-12,
            atol=0,
        )


def test_auc_of_one_class_is_refused():
    from userbench.model.metrics import auc

    with pytest.raises(ValueError, match="both classes"):
        auc(torch.rand(3), torch.tensor([True, True, True]))


def test_accuracy():
    from userbench.model.metrics import accuracy

    logits = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert_close(float(accuracy(logits, torch.tensor([1, 1, 1]))), 2 / 3)


def test_ranking_equals_released_metrics(reference):
    from userbench.model.metrics import CUTOFFS, ranking_metrics, ranks

    values = reference("ranking")
    scores, labels = torch.from_numpy(values["scores"]), torch.from_numpy(values["labels"])
    found = ranking_metrics(ranks(scores, labels, labels[:, None]))
    for k in CUTOFFS:
        for name in ("hr", "mrr", "ndcg"):
            expected = float(values[f"{name}{k}"])
            assert_close(float(found[f"{name}@{k}"]), expected, rtol=1e-6, atol=0)


def test_rank_by_counting_over_unknown_candidates():
    """The slow obvious rank: other positives leave, the target stays, ties count against it."""
    from userbench.model.metrics import ranks

    torch.manual_seed(0)
    scores = torch.randint(0, 6, (50, 12)).float()
    known = torch.stack([torch.randperm(12)[:4] for _ in range(50)])
    known[::2, 2:] = 12  # padding
    targets = known[:, 1]
    found = ranks(scores, targets, known)
    for row, (target, others) in enumerate(zip(targets.tolist(), known.tolist(), strict=True)):
        competitors = [c for c in range(12) if c == target or c not in others]
        slow = sum(scores[row, c] >= scores[row, target] for c in competitors)
        assert found[row] == slow


def test_ndcg_of_a_rank():
    from userbench.model.metrics import ranking_metrics

    found = ranking_metrics(torch.tensor([1, 3, 11]))
    assert_close(float(found["ndcg@10"]), (1 + 1 / math.log2(4)) / 3)
    assert_close(float(found["ndcg@20"]), (1 + 1 / math.log2(4) + 1 / math.log2(12)) / 3)
    assert_close(float(found["mrr@5"]), (1 + 1 / 3) / 3)
    assert_close(float(found["hr@10"]), 2 / 3)


def test_stable_ties_are_those_of_a_stable_sort():
    """The order a plain sort gives: among equal scores the lower index first."""
    from userbench.model.metrics import ranks

    torch.manual_seed(0)
    scores = torch.randint(0, 4, (50, 9)).float()
    targets = torch.randint(0, 9, (50,))
    nothing_known = torch.full((50, 1), 9)
    order = scores.argsort(dim=1, descending=True, stable=True)
    slow = (order == targets[:, None]).nonzero()[:, 1] + 1
    assert torch.equal(ranks(scores, targets, nothing_known, "stable"), slow)
    assert (ranks(scores, targets, nothing_known) >= slow).all()


@pytest.mark.parametrize("ties", ["pessimistic", "stable"])
def test_ranks_of_shared_scores_are_those_of_a_score_matrix(ties):
    """Wrong: popularity is ranked by other rules than a head whose scores are its counts."""
    from userbench.model.metrics import ranks, ranks_in_order, shared_order

    torch.manual_seed(0)
    for levels in (1, 4, 1000):
        scores = torch.randint(levels, (30,)).double()
        known = torch.stack([torch.randperm(31)[:12] for _ in range(200)])  # 30 is padding
        targets = torch.randint(30, (200,))
        expected = ranks(scores.expand(200, -1), targets, known, ties)
        assert torch.equal(ranks_in_order(shared_order(scores, ties), targets, known), expected)
