"""An item table stepped by kernels of our own against dense Adam in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from userbench.model.encoder import EncoderConfig, ItemTable
from userbench.model.kernels import item_step
from userbench.model.kernels.item_rows import Pending
from userbench.model.kernels.item_step import PLACES, item_gradient_add, sums_by_id
from userbench.training import optimizer as optimizers
from userbench.training.checkpoint import trained_tensors
from userbench.training.optimizer import Adam, DeferredAdamOnGpu

ITEMS, DIM, LR = 37, 6, 2e-3
SOME, OTHERS, AGAIN = [3, 0, 7, 3, 38], [[7, 9], [0, 38]], [3, 9]
MANY = [38, 7] * 40  # over several blocks of sorted places
LOOKED_AT = torch.tensor([0, 3, 5, 7, 9, 36, 38])  # padding, the mask, two that are never read


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch):
    """Tables take the path of a GPU, whatever their size."""
    monkeypatch.setattr(optimizers, "DEFERRED_FROM", 1)
    monkeypatch.setattr(optimizers, "used_for", lambda _: True)


class Table:
    """A table that trains on what it is asked for; its gradients do not depend on its values."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.items = ItemTable(EncoderConfig(ITEMS, dim=DIM, heads=1))
        self.items.weight.data.normal_(0, 0.02, generator=generator)
        self.model = torch.nn.ModuleDict({"table": self.items, "layer": torch.nn.Linear(DIM, 1)})
        self.adam = Adam(self.model, LR, "dense", self.items)

    @property
    def values(self):
        return self.items(torch.arange(ITEMS + 2)).detach()

    def rest(self, steps):
        """Steps that read other rows than these tests look at."""
        self.adam.deferred.state.steps.add_(steps)

    def step(self, *looked_up, whole=False):
        loss = self.model["layer"].weight.sum()
        for number, ids in enumerate(map(torch.tensor, looked_up)):
            loss = loss + (self.items(ids) * direction(ids, number)).sum()
        if whole:
            loss = loss + (self.items.without_mask() * of_whole()).sum()
        self.adam.step(loss)


class Dense(Table):
    """The same by torch's Adam over all rows, in float64."""

    def __init__(self):
        super().__init__()
        self.table = self.items.weight.detach().double().requires_grad_()
        self.adam = torch.optim.Adam([self.table], lr=LR)

    @property
    def values(self):
        return self.table.detach()

    def rest(self, steps):
        self.table.grad = torch.zeros_like(self.table)
        for _ in range(steps):
            self.adam.step()

    def step(self, *looked_up, whole=False):
        loss = 0
        for number, ids in enumerate(map(torch.tensor, looked_up)):
            vectors = F.embedding(ids, self.table, padding_idx=0)
            loss = loss + (vectors * direction(ids, number)).sum()
        if whole:
            loss = loss + (self.table[:-1] * of_whole()).sum()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def direction(ids, number):
    """Gradients of a look-up, of very different size."""
    generator = torch.Generator().manual_seed(int(ids.sum()) + 100 * number)
    size = 10 ** (8 * torch.rand(*ids.shape, 1, generator=generator) - 8)
    return size * torch.randn(*ids.shape, DIM, generator=generator)


def of_whole():
    """A gradient of all rows but the mask's."""
    return direction(torch.arange(ITEMS + 1), 0)


def both():
    return Table(), Dense()


def check(ours, dense):
    found = ours.items(LOOKED_AT).double()
    assert_close(found, dense.values[LOOKED_AT], rtol=0, atol=5e-8)


def test_rows_move_as_by_dense_adam():
    """Wrong: a missed step, a bias correction or a moment that did not fade; a look-up lost."""
    ours, dense = both()
    for rest, looked_up in (
        *((0, [SOME]), (0, [AGAIN]), (1, [SOME, OTHERS]), (30, [AGAIN])),
        *((200, [SOME, AGAIN]), (0, [MANY]), (60, [OTHERS]), (17, [SOME])),
    ):
        for table in (ours, dense):
            table.rest(rest)
            table.step(*looked_up)
        check(ours, dense)
    assert (dense.values - Dense().values).abs().max() > 5 * LR


def test_rows_move_as_by_dense_adam_where_the_whole_table_is_read():
    """Wrong: late rows in a softmax over all items; gradients of look-ups lost or not added."""
    ours, dense = both()
    for rest, looked_up, whole in (
        *((0, [SOME], False), (3, [OTHERS], True), (5, [AGAIN, SOME], False)),
        *((30, [], True), (0, [OTHERS, AGAIN], True), (9, [SOME], False)),
    ):
        for table in (ours, dense):
            table.rest(rest)
            table.step(*looked_up, whole=whole)
        check(ours, dense)


def test_after_many_steps_corrections_are_none():
    """Wrong: a step beyond the last kept correction reads something else."""
    ours, dense = both()
    state = ours.adam.deferred.state
    for table in (ours, dense):
        table.step(SOME)
    state.steps.fill_(20_000)
    state.moved_at.fill_(20_000)
    dense.adam.state[dense.table]["step"].fill_(20_000)
    for table in (ours, dense):
        table.rest(3)
        table.step(SOME)
        table.rest(3)
    check(ours, dense)


def test_gradients_of_one_id_are_added_over_many_blocks(monkeypatch):
    """Wrong: a sum that stops at the border of a block, or takes in its neighbour's rows."""
    generator = torch.Generator().manual_seed(0)
    monkeypatch.setattr(item_step, "BORDERS", 2)
    longest = 5 * PLACES + 5  # three rounds of the loop
    ids = torch.cat([torch.full((longest,), 5), torch.randint(0, 12, (99,), generator=generator)])
    ids = ids[torch.randperm(len(ids), generator=generator)]
    gradient = torch.randn(len(ids), DIM, generator=generator)
    parts = [Pending(ids[:60].view(6, 10).int(), gradient[:60].view(6, 10, DIM))]
    parts.append(Pending(ids[60:].int(), gradient[60:]))
    found, steps = torch.zeros(12, DIM), torch.zeros(1, dtype=torch.int32)
    item_gradient_add(found, *sums_by_id(steps, parts))
    expected = torch.zeros(12, DIM).double().index_add_(0, ids, gradient.double())
    expected[0] = 0  # padding
    assert_close(found.double(), expected, rtol=0, atol=2e-5)


def test_padding_stays_and_has_no_gradient():
    """Wrong: its row moves with the gradient of every place that is padding."""
    ours = Table()
    before = ours.values[0].clone()
    for _ in range(3):
        ours.step([0, 0, 3])
        ours.rest(2)
    assert torch.equal(ours.values[0], before)
    assert not ours.adam.deferred.state.moments[0].any()


def test_a_look_up_changes_nothing():
    """Wrong: an evaluation leaves other bits behind, or gradients for the next step."""
    ours, undisturbed = Table(), Table()
    for table in (ours, undisturbed):
        table.step(SOME)
        table.rest(7)
    with torch.no_grad():
        first = ours.items(torch.arange(ITEMS + 2))
    ours.items(torch.tensor(SOME)).sum().backward()  # of another loss, never stepped down
    for table in (ours, undisturbed):
        table.step(AGAIN)
    assert torch.equal(ours.items.weight, undisturbed.items.weight)
    assert not torch.equal(first, Table().values)
    assert not ours.items.pending


def test_whoever_reads_the_weights_finds_them_up_to_date():
    """Wrong: a checkpoint, a softmax or a similarity of late rows; one left out as untrained."""
    ours = Table()
    ours.step(SOME)
    assert "method.table.weight" in trained_tensors(ours.model)
    for read in (lambda: ours.items.without_mask(), lambda: ours.model.state_dict()):
        ours.rest(9)
        values = ours.values.clone()
        assert not torch.equal(ours.items.weight, values)
        read()
        assert torch.equal(ours.items.weight, values)


def test_loaded_weights_stay_as_they_were_loaded():
    """Wrong: the best epoch, loaded before the test, is moved by steps that came after it."""
    ours = Table()
    ours.step(SOME)
    best = {name: value.clone() for name, value in ours.model.state_dict().items()}
    ours.rest(9)
    ours.model.load_state_dict(best)
    assert torch.equal(ours.values, best["table.weight"])


def test_a_resumed_training_goes_on_with_the_same_bits():
    """Wrong: something that is kept of earlier steps is not saved, or replaced where a graph
    reads it."""

    def go_on(table):
        for _ in range(2):
            table.rest(4)
            table.step(SOME, AGAIN)
        return table.values

    ours = Table()
    ours.step(SOME, OTHERS)
    ours.rest(21)
    saved = {name: value.clone() for name, value in ours.adam.deferred.state_dict().items()}
    weight = ours.items.weight.detach().clone()
    resumed = Table()
    addresses = [value.data_ptr() for value in resumed.adam.deferred.state]
    resumed.items.weight.data.copy_(weight)
    resumed.adam.load_state_dict({**resumed.adam.state_dict(), "deferred": saved})
    assert [value.data_ptr() for value in resumed.items.row_state] == addresses
    assert torch.equal(go_on(resumed), go_on(ours))


def test_a_frozen_table_is_looked_up_as_any():
    items = ItemTable(EncoderConfig(ITEMS, dim=DIM, heads=1)).requires_grad_(False)
    model = torch.nn.ModuleDict({"table": items, "layer": torch.nn.Linear(DIM, 1)})
    assert Adam(model, LR, "dense", items).deferred is None
    assert isinstance(Table().adam.deferred, DeferredAdamOnGpu)
    assert not items(torch.tensor(SOME)).requires_grad
