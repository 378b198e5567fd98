"""A layer's end by one kernel against bias, dropout, sum and LayerNorm in float64."""

import pytest
import torch
import torch.nn.functional as F
from kernel_masks import dropout_scale

from userbench.model.kernels.residual_norm import residual_norm

PLACE = 3


def inputs(rows: int, dim: int, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    product, residual = torch.randn(2, rows, dim).to(dtype)
    bias, gamma, beta = torch.randn(3, dim)
    return [value.requires_grad_() for value in (product, bias, residual, gamma, beta)]


@pytest.mark.parametrize(("rows", "dim"), [(1, 64), (37, 64), (33, 24)])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_values_and_gradients_equal_the_plain_version(rows, dim, rate):
    """Wrong: another sum, mask or norm, or a row beyond the last block that is read."""
    given = inputs(rows, dim, torch.float32)
    seed = torch.tensor([7])
    first, second = residual_norm(*given, seed, PLACE, rate)
    of_first, of_second = torch.randn(2, rows, dim)
    ((first * of_first).sum() + (second * of_second).sum()).backward()

    plain = [value.detach().double().requires_grad_() for value in given]
    product, bias, residual, gamma, beta = plain
    dropped = (product + bias) * dropout_scale(seed, PLACE, rate, rows, dim)
    out = F.layer_norm(residual + dropped, (dim,), gamma, beta, 1e-12)
    (out * (of_first + of_second)).sum().backward()
    torch.testing.assert_close(first.double(), out, atol=1e-5, rtol=1e-5)
    for found, expected in zip(given, plain, strict=True):
        torch.testing.assert_close(found.grad.double(), expected.grad, atol=1e-4, rtol=1e-4)


def test_one_reader_alone_gives_the_same_gradient():
    """Wrong: the gradient of a reader that does not exist is added."""
    gradients = []
    for reader in (0, 1):
        given = inputs(5, 64, torch.float32)
        residual_norm(*given, torch.tensor([7]), PLACE, 0.1)[reader].square().sum().backward()
        gradients.append([value.grad for value in given])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_bf16_rounds_only_what_is_written():
    """Wrong: sums or the norm are made in bf16."""
    given = inputs(37, 64, torch.bfloat16)
    seed = torch.tensor([7])
    out = residual_norm(*given, seed, PLACE, 0.1).first
    wide = [value.detach().float() for value in given]
    expected = residual_norm(*wide, seed, PLACE, 0.1).first
    assert out.dtype == torch.bfloat16
    # One place of bf16: the interpreter cuts where a GPU rounds.
    torch.testing.assert_close(out.float(), expected, atol=1e-4, rtol=2**-7)


def test_another_seed_or_place_draws_another_mask():
    given = inputs(37, 64, torch.float32)
    outs = [
        residual_norm(*given, torch.tensor([seed]), place, 0.5).first
        for seed, place in ((7, 3), (7, 3), (8, 3), (7, 4))
    ]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2]) and not torch.equal(outs[0], outs[3])
