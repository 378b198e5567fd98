"""IDICL: interests and dictionary against loops over behaviours and entries."""

import math

import pytest
import torch
from torch.testing import assert_close
from toy_methods import DIM, N_ITEMS, build, nt_xent_by_the_book, seeded, views_of


def interests_by_the_book(hidden, row, dictionary, config):
    """Interests of one user from its hidden states, one behaviour and one entry at a time."""
    hidden = [h for h, item in zip(hidden, row, strict=True) if item > 0]

    def score(h, entry):
        if config.attention == "cosine":
            h, entry = h / h.norm(), entry / entry.norm()
        return h @ entry / config.attention_temperature

    scores = [torch.stack([score(h, entry) for h in hidden]) for entry in dictionary]
    mixed = [sum(a * h for a, h in zip(s.softmax(0), hidden, strict=True)) for s in scores]
    if config.aggregation == "every":
        return torch.stack(mixed)
    relevance = torch.stack([s.exp().mean().log() for s in scores])
    best = relevance.argsort(descending=True)[: config.principal].tolist()
    weights = relevance[best].softmax(0)
    return sum(w * mixed[k] for w, k in zip(weights, best, strict=True))[None]


@pytest.mark.parametrize(
    "changes, width",
    [
        ({}, 4 * DIM),
        ({"interests": 1}, DIM),
        ({"attention": "cosine", "user_vector": "mean"}, DIM),
        (
            {
                "aggregation": "principal",
                "interests": 12,
                "attention": "cosine",
                "attention_temperature": 0.1,
            },
            DIM,
        ),
    ],
)
def test_interests_equal_a_loop(changes, width, batch):
    from userbench.methods.idicl import Config, Method
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    config, encoder = Config(**changes), UserEncoder(EncoderConfig(N_ITEMS, dim=DIM), 0.0)
    Method.adapt(encoder, config)
    pooling = encoder.pooling
    torch.nn.init.normal_(pooling.dictionary)
    hidden = torch.randn(*batch.items.shape, DIM)
    slow = torch.stack(
        [
            interests_by_the_book(h, row, pooling.dictionary, config)
            for h, row in zip(hidden, batch.items, strict=True)
        ]
    )
    assert_close(pooling.interests(hidden, batch.items), slow, rtol=1e-4, atol=1e-5)
    users = slow.mean(1) if config.user_vector == "mean" else slow.flatten(1)
    assert_close(pooling(hidden, batch.items), users, rtol=1e-4, atol=1e-5)
    assert pooling.width == users.shape[1] == width


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_interest_similarity_is_a_mean_over_interests(similarity):
    """Else one long interest would dominate the cosine of the whole concatenation."""
    from userbench.methods.idicl import aligned

    torch.manual_seed(0)
    x, y = torch.randn(2, 5, 3, 7)
    for i in range(5):
        dots = [x[i, k] @ y[i, k] for k in range(3)]
        if similarity == "cosine":
            dots = [d / x[i, k].norm() / y[i, k].norm() for k, d in enumerate(dots)]
        found = aligned(x, similarity)[i] @ aligned(y, similarity)[i]
        assert_close(found, sum(dots) / 3)


@pytest.mark.parametrize("changes", [{}, {"aggregation": "principal", "interests": 8}])
def test_idicl_loss_equals_the_formula(changes, store, batch):
    from userbench.methods.idicl import aligned

    method = build("idicl", store, dropout=0.0, separation=0.5, **changes)
    pooling = method.encoder.pooling
    with torch.no_grad():
        vectors = [
            aligned(pooling.interests(method.encoder.hidden(view), view), "cosine")
            for view in views_of(method, batch)
        ]
    contrast = nt_xent_by_the_book(*vectors, "dot", 0.1)
    rows = [row / row.norm() for row in pooling.dictionary.detach()]
    off = [float(a @ b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    loss, logs = seeded(method, batch)
    slow = contrast + 0.5 * math.sqrt(sum(cosine**2 for cosine in off))
    assert_close(loss.item(), slow, rtol=1e-4, atol=0)
    assert_close(logs["dictionary_cosine"].item(), sum(off) / len(off), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"interests": 1}, {"aggregation": "principal"}])
def test_dictionary_learns_through_attention_alone(changes, store, batch):
    """Else the penalty alone would train it, or a dictionary of one entry would become NaN."""
    for separation in (0.0, 1.0):
        method = build("idicl", store, separation=separation, **changes)
        method(batch, 0.0).loss.backward()
        gradient = method.encoder.pooling.dictionary.grad
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_penalty_keeps_interests_apart(store, batch):
    method = build("idicl", store)
    method.encoder.pooling.dictionary.data.fill_(0.02).add_(0.002 * torch.randn(4, DIM))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    cosines = []
    for _ in range(30):
        loss, logs = method(batch, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cosines.append(float(logs["dictionary_cosine"]))
    assert cosines[0] > 0.9
    assert cosines[-1] < 0.5


def test_idicl_is_fine_tuned_with_its_dictionary(store, batch, tmp_path):
    """Else a user would get another vector from the checkpoint, or one of another width."""
    from userbench.methods.idicl import Method
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.training.checkpoint import save, start_from, trained_tensors

    method = build("idicl", store, interests=3)
    method(batch, 0.0).loss.backward()
    save(tmp_path / "epoch1.safetensors", trained_tensors(method), {}, epoch=1)
    encoder = UserEncoder(EncoderConfig(N_ITEMS, dim=DIM, max_length=16), 0.5)
    Method.adapt(encoder, method.config)
    assert start_from(encoder, tmp_path / "epoch1.safetensors") == []
    assert encoder.width == 3 * DIM
    assert_close(encoder.eval()(batch.items), method.encoder.eval()(batch.items))


def test_more_principal_interests_than_interests_are_rejected():
    """Else the k of a top-k would exceed the number of interests."""
    from userbench.methods.idicl import Config

    with pytest.raises(ValueError, match="principal=4: use 1 to interests=2"):
        Config(aggregation="principal", interests=2)
