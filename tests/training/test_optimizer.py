import pytest
import torch
from torch.testing import assert_close

ITEMS = 300


def trained(item_table, steps, forward, dim=6, lr=2e-3):
    """A table trained by `forward(items, layer, step) -> loss`, and its state every 40 steps."""
    from userbench.model.encoder import EncoderConfig, ItemTable
    from userbench.training.optimizer import Adam

    torch.manual_seed(0)
    items = ItemTable(EncoderConfig(ITEMS, dim=dim))
    torch.nn.init.normal_(items.weight, std=0.02)
    layer = torch.nn.Linear(dim, 1)
    model = torch.nn.ModuleDict({"table": items, "layer": layer})
    optimizer = Adam(model, lr, item_table, items)
    states = []
    for step in range(steps):
        optimizer.step(forward(items, layer, step))
        if step % 40 == 0:
            states.append(model.state_dict()["table.weight"].clone())
    return model, torch.stack(states)


def rare_and_frequent(items, layer, step):
    """Gradients of a few items, some in every step and most hardly ever, of very different size.

    They do not depend on the weights: else Adam, which makes a whole step of the smallest gradient,
    would let float noise grow, and the trajectories of two correct optimizers part.
    """
    generator = torch.Generator().manual_seed(step)
    frequency = 1 / torch.arange(1, ITEMS + 1) ** 1.2
    ids = torch.multinomial(frequency, 5, replacement=True, generator=generator) + 1
    size = 10 ** (8 * torch.rand((), generator=generator) - 8)
    direction = torch.randn(5, items.embedding_dim, generator=generator)
    return size * (items(ids) * direction).sum() + layer.weight.sum() + layer.bias.sum()


def all_items_at_times(items, layer, step):
    """As a softmax over all items in every seventh step, a sparse look-up in the others."""
    loss = rare_and_frequent(items, layer, step)
    if step % 7 == 3:
        loss = loss + items.without_mask().sin().sum()
    return loss


@pytest.fixture
def deferred(monkeypatch):
    """Adam defers tables of every size."""
    from userbench.training import optimizer

    monkeypatch.setattr(optimizer, "DEFERRED_FROM", 1)
    monkeypatch.setattr(optimizer, "ROWS_AT_ONCE", 64)


@pytest.mark.parametrize("forward", [rare_and_frequent, all_items_at_times])
def test_deferred_steps_are_those_of_dense_adam(forward, request):
    """At every checkpoint of 500 steps, for rows read in each step and for rows read once."""
    _, dense = trained("dense", 500, forward)
    request.getfixturevalue("deferred")
    model, ours = trained("dense", 500, forward)
    assert model["table"].sparse  # else nothing was deferred
    assert (dense[-1] - dense[0]).abs().max() > 0.05
    assert_close(ours, dense, rtol=0, atol=1e-6)


def test_a_row_read_late_makes_all_its_missed_steps(deferred):
    """Also what is read without training, and no read changes what later reads see."""
    model, _ = trained("dense", 30, rare_and_frequent)
    items = model["table"]
    first = items(torch.arange(ITEMS + 2)).detach().clone()
    assert torch.equal(items.weight, first)
    assert torch.equal(items.without_mask(), first[:-1])
    assert torch.equal(model.state_dict()["table.weight"], first)


def test_loaded_weights_stay_as_they_were_loaded(deferred):
    """The best epoch, loaded before the test, must not be moved by steps that came after it."""
    model, _ = trained("dense", 41, rare_and_frequent)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    for value in best.values():
        value += 1
    model.load_state_dict(best)
    read = model["table"](torch.arange(ITEMS + 2))
    assert torch.equal(read, best["table.weight"])


def test_deferred_table_counts_as_trained(deferred, tmp_path):
    """A checkpoint leaves out what got no gradient: the item table did."""
    from userbench.training.checkpoint import trained_tensors

    model, _ = trained("dense", 3, rare_and_frequent)
    assert set(trained_tensors(model)) == {"method.table.weight", *LAYER}


LAYER = {"method.layer.weight", "method.layer.bias"}


@pytest.mark.parametrize("now", [1, 3, 40, 5000])
@pytest.mark.parametrize("missed", [1, 4, 30, 160])
def test_gauss_rule_sums_as_the_sum_does(now, missed):
    """For every size of v, from rows that have none to rows where epsilon is nothing."""
    import numpy as np

    from userbench.training.optimizer import BETA1, BETA2, EPS, gauss_rule

    since = now
    rule = gauss_rule(np.array([since]), since + missed)
    j = np.arange(1, missed + 1)
    momentum = BETA1**j / (1 - BETA1 ** (since + j))
    spread = np.sqrt(BETA2**j / (1 - BETA2 ** (since + j)))
    for root in (0, 1e-10, 1e-8, 1e-6, 1e-2):
        slow = (momentum / (root * spread + EPS)).sum()
        fast = (rule.weights / (root * rule.nodes + EPS)).sum()
        assert fast == pytest.approx(slow, rel=2e-5)


def test_small_tables_are_stepped_whole():
    model, _ = trained("dense", 1, rare_and_frequent)
    assert not model["table"].sparse


@pytest.mark.parametrize(
    ("cuda", "triton", "rows", "expected"),
    [
        (False, True, 300, "DeferredAdam"),
        (True, True, 300, "DeferredAdamOnGpu"),
        (True, False, 300, "NoneType"),
        (True, True, 200, "NoneType"),
    ],
)
def test_large_tables_are_deferred_where_something_can(cuda, triton, rows, expected, monkeypatch):
    """Wrong: a GPU without Triton stops, or steps its table by the CPU's way, which waits."""
    from userbench.model.encoder import EncoderConfig, ItemTable
    from userbench.model.kernels import language
    from userbench.training import optimizer

    monkeypatch.setattr(optimizer, "DEFERRED_FROM", 300)
    monkeypatch.setattr(language, "INSTALLED", triton)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: cuda))
    items = ItemTable(EncoderConfig(rows - 2, dim=6, heads=1))
    model = torch.nn.ModuleDict({"table": items, "layer": torch.nn.Linear(6, 1)})
    assert type(optimizer.Adam(model, 1e-3, "dense", items).deferred).__name__ == expected


def test_lazy_adam_leaves_rows_without_gradient():
    """Against dense Adam: equal on rows touched in every step, and untouched rows stay."""

    def first_three(items, layer, step):
        rows = torch.tensor([1, 2, 3] if step == 0 else [1, 2])
        return items(rows).square().sum()

    (_, states), (_, dense) = (trained(how, 41, first_three) for how in ("lazy", "dense"))
    start, lazy, dense = states[0], states[1], dense[1]
    assert_close(lazy[1:3], dense[1:3])
    assert torch.equal(lazy[4:], start[4:])
    assert not torch.equal(lazy[3], dense[3])  # moved once; dense Adam goes on by momentum
    with pytest.raises(ValueError, match="item_table"):
        trained("sparse", 1, first_three)
