"""The encoder as a GPU computes it against the encoder as a CPU does."""

import pytest
import torch

from userbench.data.store import Bounds
from userbench.model import encoder as encoder_module
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.interests import InterestPooling

LENGTHS = (3, 18, 1)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Switches the encoder to its kernels."""
    return lambda: monkeypatch.setattr(encoder_module, "used_for", lambda _: True)


def made(dropout=0.0, scale=0.3, **attributes):
    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(50, dim=32, max_length=24), dropout)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    for name, value in attributes.items():
        setattr(encoder, name, value)
    return encoder


def batch():
    torch.manual_seed(1)
    items = torch.zeros(len(LENGTHS), 20, dtype=torch.int64)
    for row, length in zip(items, LENGTHS, strict=True):
        row[:length] = torch.randint(1, 51, (length,))
    return items


def results(encoder, call):
    """Values and the gradients of all parameters."""
    out = call(encoder)
    torch.manual_seed(2)
    (out * torch.randn(out.shape)).sum().backward()
    return out.detach(), {
        name: value.grad for name, value in encoder.named_parameters() if value.grad is not None
    }


CALLS = {
    "user vectors": lambda encoder: encoder(batch()),
    "hidden states": lambda encoder: encoder.hidden(batch()) * (batch() != 0)[:, :, None],
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_a_cpu(as_on_a_gpu, call, causal):
    """Wrong: a weight is left out, a layer reads another's, or users see each other."""
    expected = results(made(causal=causal), CALLS[call])
    as_on_a_gpu()
    found = results(made(causal=causal), CALLS[call])
    torch.testing.assert_close(found[0], expected[0], atol=2e-5, rtol=1e-4)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("attention", ["dot", "cosine"])
def test_pooling_by_interests(as_on_a_gpu, attention):
    """Wrong: interests see other users' behaviours, or the temperature is left out."""

    def call(encoder):
        torch.manual_seed(3)
        encoder.pooling = InterestPooling(32, 3, attention, 0.5, None, "concatenated")
        torch.nn.init.normal_(encoder.pooling.dictionary)
        return encoder(batch())

    expected = results(made(), call)
    as_on_a_gpu()
    found = results(made(), call)
    torch.testing.assert_close(found[0], expected[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(
        found[1]["pooling.dictionary"], expected[1]["pooling.dictionary"], atol=2e-4, rtol=1e-3
    )


def test_bf16_rounds_states_and_weights(as_on_a_gpu):
    """Wrong: bf16 computes something else, or leaves gradients in bf16."""
    expected = results(made(scale=0.1), CALLS["user vectors"])
    as_on_a_gpu()
    found = results(made(scale=0.1, bf16=True), CALLS["user vectors"])
    torch.testing.assert_close(found[0], expected[0], atol=0.1, rtol=0.1)
    for name, gradient in expected[1].items():
        assert found[1][name].dtype == torch.float32
        error = (found[1][name] - gradient).norm() / gradient.norm()
        assert error < 0.1, name


def test_masks_are_drawn_from_the_generator_alone(as_on_a_gpu):
    """Wrong: a replayed step has the masks of the step before, or a resumed one other masks."""
    as_on_a_gpu()
    encoder, items = made(dropout=0.3), batch()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = encoder(items), encoder(items)
    torch.set_rng_state(state)
    assert torch.equal(encoder(items), first)
    assert not torch.equal(first, second)
    encoder.eval()
    state = torch.get_rng_state()
    assert torch.equal(encoder(items), encoder(items))
    assert torch.equal(torch.get_rng_state(), state)


def test_room_is_what_the_bounds_of_a_batch_say(as_on_a_gpu, monkeypatch):
    """Wrong: padding is computed, or views have less room than their sequences."""
    as_on_a_gpu()
    rooms = []
    monkeypatch.setattr(
        encoder_module.fused,
        "side_by_side",
        lambda items, capacity, real=encoder_module.fused.side_by_side: (
            rooms.append(capacity) or real(items, capacity)
        ),
    )
    encoder, items = made(), batch()
    encoder(items), encoder(torch.cat([items, items]), Bounds(len(items), 20, 24))
    assert rooms == [60, 48]


def test_layers_with_grafts_are_computed_plainly(as_on_a_gpu):
    """Wrong: what a method has put into a layer is left out."""
    as_on_a_gpu()
    encoder = made()
    encoder.layers[0].after_network = torch.nn.Tanh()
    assert not torch.allclose(encoder(batch()), made()(batch()), atol=1e-3)
