"""PeterRec: the warm start itself, its causal form, and its patches."""

import pytest
import torch
from torch.testing import assert_close
from toy_methods import DIM, N_ITEMS, USERS, build


@pytest.mark.parametrize("changes", [{}, {"negatives": 16, "bias_start": "frequency"}])
def test_peterrec_is_masked_item_prediction_bit_for_bit(changes, store):
    """Else a row of Table 2 would not be the warm start of the others, as in AdaptSSR."""
    losses = {"peterrec": [], "mlm": []}
    for name, values in losses.items():
        method = build(name, store, **changes)
        optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
        for users in torch.arange(USERS).view(4, -1):
            loss = method(store.batch(users), 0.0).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
    assert losses["peterrec"] == losses["mlm"]


def test_causal_encoder_does_not_see_later_behaviours(store, batch):
    """Else next-item prediction would only copy its target."""
    encoder = build("peterrec", store, predict="next").encoder.eval()
    rows = batch.items[store.lengths >= 8]
    changed = rows.clone()
    changed[:, 5] = changed[:, 5] % N_ITEMS + 1
    before, after = encoder.hidden(rows), encoder.hidden(changed)
    assert_close(before[:, :5], after[:, :5])
    assert (before[:, 5:8] - after[:, 5:8]).abs().amax(-1).min() > 1e-4


def test_peterrec_next_equals_a_loop_over_prefixes(store, batch):
    """Else an item is predicted from more than its past, or the items have unequal weights."""
    method = build("peterrec", store, predict="next", dropout=0.0, bias_start="frequency")
    losses = []
    with torch.no_grad():
        for row, n in zip(batch.items, store.lengths.tolist(), strict=True):
            for t in range(1, n):
                state = method.encoder.hidden(row[None, :t])[0, -1]
                logits = method.encoder.item_table @ state + method.bias
                losses.append(-logits.log_softmax(0)[row[t]])
    assert_close(method(batch, 0.0).loss, torch.stack(losses).mean(), rtol=1e-4, atol=0)


def test_peterrec_next_has_a_sampled_form(store, batch):
    """Else the item table of the paper's size would need its exact softmax."""
    loss, _ = build("peterrec", store, predict="next", negatives=16)(batch, 0.0)
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("predict", ["masked", "next"])
def test_patches_start_as_identity_and_leave_the_rest_alone(predict, store, batch, tmp_path):
    """Else fine-tuning would not begin at the pre-trained encoder, or would change its weights."""
    from userbench.methods.peterrec import Method
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.training.checkpoint import save, start_from, trained_tensors

    method = build("peterrec", store, predict=predict, transfer="patches")
    method(batch, 0.0).loss.backward()
    save(tmp_path / "epoch1.safetensors", trained_tensors(method), {}, epoch=1)
    encoder = UserEncoder(EncoderConfig(N_ITEMS, dim=DIM, max_length=16), 0.0)
    Method.adapt(encoder, method.config)
    new = start_from(encoder, tmp_path / "epoch1.safetensors")
    patch = ("after_attention", "after_network")
    assert "pooling.query" in new
    assert all(any(part in name for part in patch) for name in new if name != "pooling.query")

    encoder.pooling.load_state_dict(method.encoder.pooling.state_dict())
    method.encoder.eval()
    assert_close(encoder(batch.items), method.encoder(batch.items))

    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.1)
    for _ in range(2):  # the down-projection gets a gradient once the up-projection is not zero
        optimizer.zero_grad()
        (encoder(batch.items) * torch.arange(DIM)).sum().backward()
        optimizer.step()
    moved = {n for n, value in encoder.state_dict().items() if not torch.equal(value, before[n])}
    allowed = (*patch, "network_norm", "pooling")
    assert moved == {name for name in before if any(part in name for part in allowed)}
