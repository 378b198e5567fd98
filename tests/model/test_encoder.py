import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close


def close_to_reference(ours, theirs):
    assert_close(ours, torch.from_numpy(theirs), rtol=1e-5, atol=1e-5)


def test_equals_released_encoder(released_encoder, reference):
    """Another architecture, pooling or initial weight layout than the released one would differ."""
    values = reference("encoder")
    items = torch.from_numpy(values["item_seq"])
    close_to_reference(released_encoder(items), values["user"])
    real = items != 0
    hidden = released_encoder.hidden(items)
    close_to_reference(hidden[real], values["hidden"][real.numpy()])


def test_mask_vector_replaces_the_item_embedding(released_encoder, reference):
    """A mask that hid the position, or left attention, would differ."""
    values = reference("masked_encoder")
    items, masked = torch.from_numpy(values["item_seq"]), torch.from_numpy(values["mask"])
    view = items.masked_fill(masked, released_encoder.config.mask_id)
    close_to_reference(released_encoder(view), values["user"])
    real = items != 0
    hidden = released_encoder.hidden(view)
    close_to_reference(hidden[real], values["hidden"][real.numpy()])


def test_padding_and_other_users_of_a_batch_do_not_change_a_user(released_encoder, reference):
    """A user's vector must not depend on padding nor on who else is in the batch."""
    items = torch.from_numpy(reference("encoder")["item_seq"])
    together = released_encoder(items)
    for row, vector in zip(items, together, strict=True):
        alone = released_encoder(row[row != 0][None])
        assert_close(alone[0], vector, rtol=1e-5, atol=1e-5)


def test_groups_by_length_keep_order_and_gradients():
    """Grouping is a matter of speed: vectors and gradients must be those of one padded batch."""
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(n_items=50, dim=8, max_length=12), dropout=0.0)
    lengths = torch.randint(1, 13, (200, 1))
    items = torch.randint(1, 51, (200, 12)) * (torch.arange(12) < lengths)
    grouped = encoder(items)
    grouped.square().sum().backward()
    gradients = {name: value.grad.clone() for name, value in encoder.named_parameters()}
    encoder.zero_grad()
    whole = encoder.pooling(encoder.encode(encoder.items(items), items), items)
    whole.square().sum().backward()
    assert_close(grouped, whole)
    for name, value in encoder.named_parameters():
        assert_close(gradients[name], value.grad, rtol=1e-4, atol=1e-5)


def test_dropout_is_dropout():
    """The cheap bits must keep the rate, the scale, and fresh independent masks."""
    from userbench.model.encoder import Dropout

    torch.manual_seed(0)
    for rate in (0.1, 0.5):
        dropout = Dropout(rate)
        values = torch.ones(1003, 1001, requires_grad=True)
        once, again = dropout(values), dropout(values)
        kept = once != 0
        assert abs(kept.double().mean() - (1 - rate)) < 2e-3
        assert_close(once[kept], torch.full_like(once[kept], 1 / (1 - rate)), rtol=1e-4, atol=0)
        both = (kept & (again != 0)).double().mean()
        assert abs(both - (1 - rate) ** 2) < 2e-3
        # The four values that share one 64-bit word are independent of each other too.
        flat = kept.flatten()[: kept.numel() // 4 * 4].view(-1, 4).double()
        correlation = torch.corrcoef(flat.T) - torch.eye(4, dtype=torch.float64)
        assert correlation.abs().max() < 0.01
        (gradient,) = torch.autograd.grad(once.sum(), values)
        assert_close(gradient, once.detach())
        assert dropout.eval()(values) is values


def test_attention_dropout_averages_to_attention():
    """Training and evaluation run different attention code: without dropout both are one."""
    from userbench.model.encoder import EncoderConfig, Places, SelfAttention

    torch.manual_seed(0)
    attention = SelfAttention(EncoderConfig(n_items=1, dim=16), dropout=1e-9)
    items = (torch.arange(7) < torch.tensor([[7], [4], [1]])).long()
    hidden, places = torch.randn(12, 16), Places(items, packed=True)
    allowed = (items != 0)[:, None, None, :]
    trained = attention.train()(hidden, places, allowed)
    assert_close(trained, attention.eval()(hidden, places, allowed))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans())
@settings(deadline=None, max_examples=25)
def test_leaving_out_padding_changes_nothing(lengths, causal):
    """Not the vectors, not the gradients, not which value meets which bit of dropout."""
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(n_items=20, dim=8, max_length=9), dropout=0.3)
    encoder.causal = causal
    items = torch.randint(1, 21, (len(lengths), 9)) * (
        torch.arange(9) < torch.tensor(lengths)[:, None]
    )
    found = []
    for encoder.packed in (True, False):
        torch.manual_seed(1)
        encoder.zero_grad()
        vectors = encoder(items)
        vectors.square().sum().backward()
        found.append([vectors, *(v.grad.clone() for v in encoder.parameters())])
    for packed, padded in zip(*found, strict=True):
        assert_close(packed, padded, rtol=1e-4, atol=1e-6)


def test_initial_weights_are_those_of_the_released_code():
    """N(0, 0.02) everywhere, the padding row too; biases 0 and norms 1."""
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(n_items=5000), dropout=0.1)
    for name, value in encoder.named_parameters():
        if "norm" in name:
            assert bool((value == (0 if name.endswith("bias") else 1)).all()), name
        elif name.endswith("bias"):
            assert bool((value == 0).all()), name
        else:
            assert abs(value.std() - 0.02) < 0.006, name
    assert F.normalize(encoder.items.weight[0], dim=0).norm() > 0.9  # random, not zero


def test_gpu_gives_the_cpus_vectors(released_encoder, reference):
    """The GPU path (one group, fused attention) must be the same function."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    items = torch.from_numpy(reference("encoder")["item_seq"])
    on_cpu = released_encoder(items)
    on_gpu = released_encoder.cuda()(items.cuda()).cpu()
    assert_close(on_gpu, on_cpu, rtol=1e-4, atol=1e-4)
