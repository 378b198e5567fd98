"""PTUM's losses by one kernel against `methods/ptum.py` in float64."""

import pytest
import torch

from userbench.methods import ptum
from userbench.model.encoder import ItemTable
from userbench.model.kernels.choices import task_losses


class Table(ItemTable):
    """An item table of these vectors."""

    def __init__(self, vectors: torch.Tensor):
        torch.nn.Module.__init__(self)
        self.vectors = vectors

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.vectors[ids]


@pytest.mark.parametrize(("users", "count", "drawn", "dim"), [(5, 1, 1, 4), (13, 3, 5, 20)])
def test_losses_and_gradients_equal_the_plain_version(users, count, drawn, dim):
    """Wrong: a user who is too short counts, a drawn true behaviour is a rival."""
    torch.manual_seed(0)
    encoded = torch.randn(2 * users, dim, requires_grad=True)
    table = torch.randn(9, dim, requires_grad=True)
    candidates = torch.randint(9, (users, 1 + count, 1 + drawn))
    lengths = torch.arange(users) % 5 + 1
    losses = task_losses(encoded, table[candidates], candidates, lengths)
    (losses[0] + 3 * losses[1]).backward()

    plain = [value.detach().double().requires_grad_() for value in (encoded, table)]
    expected = ptum.task_losses(plain[0], candidates, lengths, Table(plain[1]))
    (expected[0] + 3 * expected[1]).backward()
    for found, value in zip(losses, expected, strict=True):
        torch.testing.assert_close(found.double(), value, rtol=1e-6, atol=0)
    for found, value in zip((encoded, table), plain, strict=True):
        torch.testing.assert_close(found.grad.double(), value.grad, rtol=1e-5, atol=1e-6)


def test_where_nobody_counts_losses_and_gradients_are_0():
    """Wrong: a batch of the shortest users gives 0 / 0."""
    torch.manual_seed(0)
    encoded, vectors = torch.randn(6, 4, requires_grad=True), torch.randn(3, 3, 5, 4)
    candidates = torch.randint(9, (3, 3, 5))
    losses = task_losses(encoded, vectors, candidates, torch.ones(3, dtype=torch.int64))
    sum(losses).backward()
    assert not sum(losses).any() and not encoded.grad.any()
