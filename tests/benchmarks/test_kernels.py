"""The counter of kernels: operators by hand, and the steps that must not grow unnoticed."""

import pandas as pd
import pytest
import torch
from repository import ROOT
from torch import nn

from benchmarks import kernels, kernels_page
from benchmarks.configurations import BUDGETS
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.kernels.item_softmax import item_softmax_parts
from userbench.model.kernels.residual_norm import residual_norm_forward

DOCS = ROOT / "docs"
ITEMS = 2_000
# Of steps without a budget: kernels today. A change that needs more says so here.
MOST = {"ccl": 123, "mlm": 99, "peterrec": 91}


def test_operators_are_counted_by_part():
    """Wrong: views count as kernels, bytes are those of broadcast copies, or parts are mixed."""
    operators = kernels.Operators()
    values, row = torch.ones(100, 8), torch.ones(8)
    with operators:
        with operators.within("views"):
            values.view(8, 100).T + 1.0  # one kernel: 3,200 bytes read and as many written
        values * row.expand(100, 8)  # the row is read once
    found = operators.counts()
    assert found["views"] == kernels.Count(1, 6_400e-9)
    assert found["loss"] == kernels.Count(1, (6_400 + 32) * 1e-9)
    assert sum(part.kernels for part in found.values()) == 2


def test_a_layer_costs_what_one_counts_by_hand():
    """A linear layer: one product forward; backward, of weights, inputs and bias, three."""
    operators, layer = kernels.Operators(), nn.Linear(8, 4)
    inputs, gradient = torch.ones(16, 8, requires_grad=True), torch.ones(16, 4)
    with operators, kernels.as_on_a_gpu(operators):
        loss = layer(inputs)
        before = sum(operators.kernels.values())
        loss.backward(gradient)
    found = operators.counts()
    assert before == 1 and found["loss"].kernels == 1
    assert found["backward"].kernels == 3
    assert not torch.ones(1).is_cuda  # the CPU is itself again


def test_prediction_is_linear_in_kernels_and_bytes():
    assert kernels.Count(100, 2.0).milliseconds == pytest.approx(0.395 + 1.246)
    assert kernels.Count(100, 2.0, 0.5).milliseconds == pytest.approx(0.395 + 1.246 + 0.5)


def test_arithmetic_counts_where_every_item_meets_every_prediction():
    """Wrong: the exact softmax over a catalogue is predicted to take no longer than reading it."""
    operators, states, targets = kernels.Operators(), torch.ones(16, 8), torch.arange(16)
    table, bias = torch.ones(51, 8), torch.ones(50)
    with operators, kernels.as_on_a_gpu(operators):
        item_softmax_parts(states, targets, table, bias)
    found = operators.counts()["loss"]
    logits = 16 * 50
    assert found.kernels == 1
    expected = 4 * 8 * logits / 400e12 + logits / 3.75e12
    assert found.arithmetic == pytest.approx(1e3 * expected)


@pytest.mark.slow
@pytest.mark.parametrize("step", [*BUDGETS, *MOST])
def test_no_step_has_more_kernels_than_its_budget(step):
    """Wrong: an edit makes a step slower on a GPU, where nobody measures it."""
    parts = kernels.STEPS[step](n_items=ITEMS)
    most = BUDGETS[step][0] if step in BUDGETS else MOST[step]
    assert kernels.whole_step(parts).kernels <= most
    assert all(parts[part].kernels > 0 for part in ("encoder", "loss", "backward", "optimizer"))


def test_kept_counts_are_within_the_budgets():
    """Wrong: the page shows a step that moves more bytes, at the paper's size, than it may."""
    counts = pd.read_csv(DOCS / kernels_page.KEPT)
    whole = counts[counts["part"] == "step"].set_index("step")
    assert set(whole.index) == set(kernels.STEPS)
    for step, (most_kernels, most_gigabytes) in BUDGETS.items():
        assert whole.loc[step, "kernels"] <= most_kernels
        assert whole.loc[step, "gigabytes"] <= most_gigabytes


def test_the_page_shows_the_kept_counts():
    """Wrong: docs/performance.md has figures of other counts (make gpu-steps, then its section)."""
    measured = kernels_page.fastest(DOCS / kernels_page.MEASURED)
    text = kernels_page.section(pd.read_csv(DOCS / kernels_page.KEPT), measured)
    assert text in (DOCS / "performance.md").read_text(encoding="utf-8")


def test_a_kernel_of_our_own_is_counted_and_not_run():
    """Wrong: a machine without Triton cannot count, or reads and writes are left out."""
    operators, values, vector = kernels.Operators(), torch.ones(8, 4), torch.ones(4)
    with operators, kernels.as_on_a_gpu(operators):
        seed = torch.ones(1, dtype=torch.int64)
        operators.clear()
        out = residual_norm_forward(values, vector, values, vector, vector, seed, 0, 0.1)
    assert out.shape == (8, 4) and not out.any()
    moved = 4 * (3 * 32 + 3 * 4) + 8  # two matrices in, one out, three vectors, the seed
    assert operators.counts()["loss"] == kernels.Count(1, moved * 1e-9)


def test_a_step_moves_the_rows_of_the_item_table_that_it_reads():
    """Wrong: the whole table is read or written, or has a gradient of its size."""
    encoder, operators = UserEncoder(EncoderConfig(100_000), dropout=0.0), kernels.Operators()
    adam = kernels.adam_on_a_gpu(operators, encoder, 1e-3, encoder)
    ids = torch.randint(100_000, (8, 50))
    with operators, kernels.as_on_a_gpu(operators):
        for _ in range(2):
            operators.clear()
            adam.step(encoder.items(ids).sum())
    moved = sum(operators.bytes.values())
    rows = ids.numel() * encoder.items.weight[0].nbytes
    assert 8 * rows < moved < 20 * rows < encoder.items.weight.nbytes
