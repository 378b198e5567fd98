"""BPR by kernels against BPR by torch: the same negatives, so the same loss and gradients."""

import pytest
import torch
from torch.testing import assert_close

from userbench.data.store import TargetExamples
from userbench.model import tasks
from userbench.model.tasks import Task, build_head

CANDIDATES, USERS, DIM = 130, 37, 24


def examples():
    """Users with 1 to 60 positives of 130; every pair is an example."""
    torch.manual_seed(0)
    counts = torch.randint(1, 61, (USERS,))
    targets = torch.cat([torch.randperm(CANDIDATES)[:count] for count in counts])
    rows = torch.arange(USERS).repeat_interleave(counts)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return TargetExamples(rows, targets, rows, CANDIDATES, targets, offsets)


def seen_besides():
    """`examples`, of whose candidates each user has seen up to 20 that are no target."""
    pairs, seen = examples(), []
    for row in range(USERS):
        own = set(pairs.targets[pairs.rows == row].tolist())
        seen.append([c for c in torch.randperm(CANDIDATES)[: row % 21].tolist() if c not in own])
    counts = torch.tensor([len(own) for own in seen])
    return pairs._replace(
        seen=torch.tensor([c for own in seen for c in own], dtype=torch.int32),
        seen_offsets=torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
    )


def loss_and_gradients(protocol, pairs):
    stages = torch.randint(3, (len(pairs.users),), dtype=torch.uint8)
    task = Task("click", "top_n", 1e-3, 32, 1, known_targets=protocol)
    head = build_head(task, pairs, stages, DIM, DIM, seed=0)
    torch.nn.init.normal_(head.head.score.bias)
    picked = torch.randperm(len(pairs.users))[:45]
    users = torch.randn(45, DIM, requires_grad=True)
    loss = head.loss(users, picked)
    loss.backward()
    return loss.detach(), [users.grad, *(value.grad for value in head.parameters())]


@pytest.mark.parametrize("protocol", ["by_stage", "all"])
@pytest.mark.parametrize("pairs", [examples, seen_besides])
def test_loss_and_gradients_are_those_of_a_cpu(protocol, pairs, monkeypatch):
    """Wrong: another negative, one that is a known positive, or a row whose gradient is lost."""
    loss, gradients = loss_and_gradients(protocol, pairs())
    monkeypatch.setattr(tasks, "used_for", lambda _: True)
    found, found_gradients = loss_and_gradients(protocol, pairs())
    assert_close(found, loss)
    for one, other in zip(found_gradients, gradients, strict=True):
        assert_close(one, other, atol=1e-7, rtol=1e-4)


def test_a_small_loss_keeps_its_digits(monkeypatch):
    """Wrong: log(1 + x) rounds a small x away, and the loss of a good order is 0 or coarse."""

    def loss():
        pairs = examples()
        stages = torch.zeros(len(pairs.users), dtype=torch.uint8)
        head = build_head(Task("click", "top_n", 1e-3, 32, 1), pairs, stages, DIM, DIM, seed=0)
        with torch.no_grad():  # the targets of the first user are far above all others
            head.head.score.bias[pairs.targets[:1]] = 12.0
        return head.loss(torch.zeros(1, DIM), torch.tensor([0])).detach()

    expected = loss()
    monkeypatch.setattr(tasks, "used_for", lambda _: True)
    assert 0 < expected < 1e-4
    assert_close(loss(), expected, rtol=1e-5, atol=0)


def test_large_margins_do_not_overflow(monkeypatch):
    """Wrong: the loss of a wrong order by far is infinite or NaN."""
    monkeypatch.setattr(tasks, "used_for", lambda _: True)
    head = build_head(
        Task("click", "top_n", 1e-3, 32, 1),
        examples(),
        torch.zeros(len(examples().users), dtype=torch.uint8),
        DIM,
        DIM,
        seed=0,
    )
    with torch.no_grad():
        head.head.score.bias.copy_(torch.linspace(-400, 400, CANDIDATES))
    users = torch.randn(20, DIM, requires_grad=True)
    loss = head.loss(users, torch.arange(20))
    loss.backward()
    assert loss.isfinite() and loss > 1
    assert users.grad.isfinite().all()


def test_who_knows_every_candidate_has_no_negative(monkeypatch):
    """Wrong: the draw among no candidates is -1, which is the last one, or memory of others."""
    every = torch.arange(CANDIDATES)
    rows, offsets = torch.zeros_like(every), torch.tensor([0, CANDIDATES])
    pairs = TargetExamples(rows, every, rows, CANDIDATES, every, offsets)
    stages = torch.zeros(CANDIDATES, dtype=torch.uint8)
    for kernel in (False, True):
        monkeypatch.setattr(tasks, "used_for", lambda _, kernel=kernel: kernel)
        head = build_head(Task("click", "top_n", 1e-3, 32, 1), pairs, stages, DIM, DIM, seed=0)
        loss = head.loss(torch.randn(5, DIM), torch.arange(5))
        loss.backward()
        assert_close(loss.detach(), torch.tensor(2.0).log())
        assert not head.head.score.weight.grad.any()
