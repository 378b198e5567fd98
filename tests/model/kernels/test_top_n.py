"""The kernels of a step of fine-tuning by BPR against `model/tasks.py`."""

import pytest
import torch
import torch.nn.functional as F

from userbench.model.kernels.bpr import bpr
from userbench.model.kernels.unknown import unknown_candidates
from userbench.model.tasks import unknown_candidates as plain_candidates


def test_the_same_candidates_are_drawn():
    """Wrong: a known candidate is drawn, or another one than on a CPU from the same number."""
    torch.manual_seed(0)
    n, rows, width = 9, 40, 6
    known, known_from = torch.full((rows, width), n), torch.randint(3, (rows, width)).byte()
    for row, size in enumerate(torch.randint(width + 1, (rows,)).tolist()):
        known[row, :size] = torch.randperm(n)[:size].sort().values
    of_example = torch.randint(rows, (300,))
    last = torch.randint(3, (300,)).byte()
    picked, uniform = torch.randperm(300)[:200], torch.rand(200, dtype=torch.float64)
    uniform[:9] = 1  # more than is ever drawn: the last candidate, and no one behind it
    drawn = unknown_candidates(known, known_from, of_example, last, picked, uniform, n)

    given = known[of_example[picked]]
    given = given.masked_fill(known_from[of_example[picked]] > last[picked, None], n)
    assert torch.equal(drawn, plain_candidates(given, n, uniform))
    assert not (drawn[:, None] == given).any() and (drawn < n).all()


@pytest.mark.parametrize(("users", "dim"), [(1, 4), (13, 20)])
def test_loss_and_gradients_equal_the_plain_version(users, dim):
    """Wrong: a sign, a bias, or the mean is another."""
    torch.manual_seed(0)
    given = [torch.randn(users, dim), torch.randn(2, users, dim), torch.randn(2, users, 1)]
    given = [value.requires_grad_() for value in given]
    plain = [value.detach().double().requires_grad_() for value in given]
    loss = bpr(*given)
    (2 * loss).backward()
    hidden, pairs, biases = plain
    margin = (hidden * (pairs[0] - pairs[1])).sum(1) + (biases[0] - biases[1])[:, 0]
    expected = -F.logsigmoid(margin).mean()
    (2 * expected).backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    for found, value in zip(given, plain, strict=True):
        torch.testing.assert_close(found.grad.double(), value.grad, rtol=1e-5, atol=1e-7)


def test_a_loss_near_0_keeps_its_digits():
    """Wrong: log(1 + x) rounds a small x away."""
    user, pair = torch.full((1, 1), 12.0), torch.tensor([1.0, 0.0]).view(2, 1, 1)
    loss = bpr(user, pair, torch.zeros(2, 1, 1))
    expected = -F.logsigmoid(torch.tensor(12.0, dtype=torch.float64))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
