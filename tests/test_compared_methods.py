"""What each baseline adds to the contract, against the slow and obvious version."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

N_ITEMS, USERS, DIM = 40, 48, 16


@pytest.fixture(scope="module")
def store():
    """Users of two tastes, with every length from 1 up; several users share a last item."""
    from userbench.conformance import toy_store

    return toy_store()


@pytest.fixture
def batch(store):
    return store.batch(torch.arange(USERS))


def build(name, store, views=None, **changes):
    from userbench.conformance import Case
    from userbench.conformance import build as built
    from userbench.method import load_method

    module = load_method(name)
    config = replace(module.Config(), **changes)
    if views:
        config = replace(config, views=replace(config.views, **views))
    return built(Case(module, config, store))


def seeded(method, batch, seed=1, progress=0.0):
    torch.manual_seed(seed)
    return method(batch, progress)


def views_of(method, batch, seed=1, progress=0.0):
    """The views that `seeded` compares: no random number is drawn before them."""
    torch.manual_seed(seed)
    return method.views(batch, progress)


def nt_xent_by_the_book(first, second, similarity, temperature, groups=None):
    """The double loop; users of one group are no negatives of each other."""
    vectors, n = [*first, *second], len(first)
    if similarity == "cosine":
        vectors = [v / v.norm() for v in vectors]
    total = 0.0
    for i, anchor in enumerate(vectors):
        positive = (i + n) % (2 * n)
        scores = [
            float(anchor @ other) / temperature
            for j, other in enumerate(vectors)
            if j == positive or (j != i and (groups is None or groups[j % n] != groups[i % n]))
        ]
        total += np.logaddexp.reduce(scores) - float(anchor @ vectors[positive]) / temperature
    return total / (2 * n)


# ---------------------------------------------------------------- all that contrast two views


@pytest.mark.parametrize(
    "name, changes",
    [
        ("cl4srec", {}),
        ("cl4srec", {"similarity": "cosine", "temperature": 0.1}),
        ("coserec", {}),
        ("duorec", {}),
        ("ccl", {}),
        ("idicl", {"separation": 0.0}),
        ("idicl", {"separation": 0.0, "similarity": "dot"}),
        ("clue", {"loss": "infonce"}),
    ],
)
def test_indistinguishable_users_cost_log_of_the_candidates(name, changes, store, batch):
    """log(2B - 1): with another value, a candidate is missing or counted twice."""
    method = build(name, store, dropout=0.0, **changes)
    torch.nn.init.zeros_(method.encoder.items.weight)
    torch.nn.init.zeros_(method.encoder.positions.weight)
    method.encoder.norm.bias.data.normal_()
    assert_close(method(batch, 0.0).loss.item(), math.log(2 * USERS - 1), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("cl4srec", {}),
        ("cl4srec", {"projection": "linear", "similarity": "cosine", "temperature": 0.2}),
        ("coserec", {}),
        ("duorec", {}),
        ("ccl", {}),
        ("clue", {"loss": "infonce"}),
    ],
)
def test_contrast_equals_the_double_loop(name, changes, store, batch):
    method = build(name, store, dropout=0.0, **changes)
    project = getattr(method, "project", lambda users: users)
    with torch.no_grad():
        vectors = [project(method.encoder(view)) for view in views_of(method, batch)]
    slow = nt_xent_by_the_book(*vectors, method.config.similarity, method.config.temperature)
    assert_close(seeded(method, batch).loss.item(), slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cl4srec", "coserec", "duorec"])
def test_next_item_prediction_equals_a_loop_over_users(name, store, batch):
    """Else the target is read, users of one behaviour count, or a weight is not used."""
    method = build(name, store, dropout=0.0, rec_weight=2.0, contrast_weight=0.3)
    torch.nn.init.normal_(method.encoder.items.weight)
    loss, logs = seeded(method, batch)
    assert_close(loss.detach(), 0.3 * logs["contrast"] + 2 * logs["next_item"])
    losses = []
    with torch.no_grad():
        for row, n in zip(batch.items, store.lengths.tolist(), strict=True):
            if n > 1:
                user = method.encoder(row[None, : n - 1])[0]
                losses.append(-(method.encoder.item_table @ user).log_softmax(0)[row[n - 1]])
    assert_close(logs["next_item"], torch.stack(losses).mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["cl4srec", "coserec", "duorec"])
def test_sampled_next_item_prediction_tends_to_the_exact_one(name, store, batch):
    """Else negatives are drawn by other frequencies than their correction assumes."""
    exact = seeded(build(name, store, dropout=0.0, rec_weight=1.0), batch)
    sampled = seeded(build(name, store, dropout=0.0, rec_weight=1.0, negatives=20_000), batch)
    # Without the padding row, which is a candidate of the exact softmax, as in AdaptSSR's code.
    assert_close(
        sampled.logs["next_item"].exp(),
        exact.logs["next_item"].exp() * N_ITEMS / (N_ITEMS + 1),
        rtol=0.02,
        atol=0,
    )


@pytest.mark.parametrize(
    "name, changes",
    [
        ("clue", {}),
        ("clue", {"loss": "infonce"}),
        ("duorec", {}),
        ("idicl", {}),
        ("idicl", {"aggregation": "principal", "interests": 8}),
        ("ptum", {}),
        ("peterrec", {"predict": "next"}),
    ],
)
def test_more_padding_changes_no_loss(name, changes, store, batch):
    method = build(name, store, dropout=0.0, **changes)
    wider = batch._replace(items=F.pad(batch.items, (0, 4)))
    assert_close(seeded(method, wider).loss, seeded(method, batch).loss)


# ---------------------------------------------------------------- PeterRec


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


# ---------------------------------------------------------------- PTUM


def test_ptum_starts_at_chance(store, batch):
    """log 5 for each task, one true behaviour among five; else a candidate is missing."""
    loss, logs = build("ptum", store)(batch, 0.0)
    assert_close(loss.item(), 2 * math.log(5), rtol=0.02, atol=0)
    assert_close(logs["masked_behaviour"].item(), math.log(5), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "changes", [{}, {"next_behaviours": 3, "negatives": 7, "next_weight": 2.0}]
)
def test_ptum_equals_a_loop_over_users(changes, store, batch):
    from userbench.model.augment import random_start

    method = build("ptum", store, dropout=0.0, **changes)
    torch.nn.init.normal_(method.encoder.items.weight, std=0.5)
    c, table = method.config, method.encoder.items.weight
    loss = seeded(method, batch).loss
    torch.manual_seed(1)
    masked_at = random_start(store.lengths, torch.ones_like(store.lengths))
    size = (USERS, 1 + c.next_behaviours, c.negatives)
    drawn = store.items[torch.randint(len(store.items), size)]

    def choose(user, true, others):
        scores = torch.stack([user @ table[c] for c in [true, *(o for o in others if o != true)]])
        return -scores.log_softmax(0)[0]

    mbp, nbp = [], []
    for i, n in enumerate(store.lengths.tolist()):
        row = batch.items[i, :n]
        if n > 1:
            masked = row.clone()
            masked[masked_at[i, 0]] = N_ITEMS + 1
            user = method.encoder(masked[None])[0]
            mbp.append(choose(user, row[masked_at[i, 0]], drawn[i, 0]))
        if n > c.next_behaviours:
            user = method.encoder(row[None, : n - c.next_behaviours])[0]
            each = [
                choose(user, row[n - c.next_behaviours + k], drawn[i, 1 + k])
                for k in range(c.next_behaviours)
            ]
            nbp.append(sum(each) / len(each))
    slow = torch.stack(mbp).mean() + c.next_weight * torch.stack(nbp).mean()
    assert_close(loss, slow, rtol=1e-4, atol=0)


def test_ptum_draws_by_popularity_or_uniformly(store):
    counts = build("ptum", store).drawable.bincount(minlength=N_ITEMS + 1)
    assert torch.equal(counts, store.items.bincount(minlength=N_ITEMS + 1))
    counts = build("ptum", store, drawn_from="items").drawable.bincount(minlength=N_ITEMS + 1)
    assert counts.tolist() == [0] + [1] * N_ITEMS


def test_ptum_of_users_too_short_is_zero_with_a_gradient(store):
    loss, _ = build("ptum", store)(store.batch((store.lengths == 1).nonzero()[:, 0]), 0.0)
    loss.backward()
    assert loss.item() == 0


# ---------------------------------------------------------------- CLUE


def test_clue_starts_at_zero(store, batch):
    """An untrained predictor has cosines around 0: -1 here would be a trivial solution."""
    loss, logs = build("clue", store)(batch, 0.0)
    assert abs(loss.item()) < 0.25
    assert logs["projected_spread"] > 0.9


def test_clue_loss_equals_the_formula(store):
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    heads, first, second = Heads(DIM, Config()), torch.randn(9, DIM), torch.randn(9, DIM)
    z = [heads.project(view) for view in (first, second)]
    p = [heads.predict(view) for view in z]
    slow = [
        -sum((a / a.norm()) @ (b / b.norm()) for a, b in zip(p[i], z[1 - i], strict=True)) / 9
        for i in range(2)
    ]
    assert_close(heads(first, second).loss, (slow[0] + slow[1]) / 2)


@pytest.mark.parametrize("without", ["nothing", "stop_gradient", "predictor"])
def test_clue_stops_the_gradient_at_targets(without):
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    view, target = (torch.randn(9, DIM, requires_grad=True) for _ in range(2))
    Heads(DIM, Config(without=without)).distance(view, target).backward()
    assert view.grad.abs().sum() > 0
    assert (target.grad is None) == (without != "stop_gradient")


@pytest.mark.parametrize("without", ["nothing", "stop_gradient", "predictor"])
def test_clue_collapses_without_its_parts(without):
    """Views that share half of their content agree fully only if all users become one point."""
    from userbench.methods.clue import Config, Heads

    torch.manual_seed(0)
    heads = Heads(DIM, Config(without=without))
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.03)
    for _ in range(150):
        users = torch.randn(64, DIM)
        views = [users + torch.randn(64, DIM) for _ in range(2)]
        loss, logs = heads(*views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if without == "nothing":
        assert loss > -0.8
        assert logs["projected_spread"] > 0.9
    else:
        assert loss < -0.99
        assert logs["projected_spread"] < 0.1


def test_spread_is_one_on_the_sphere_and_zero_in_a_point():
    from userbench.methods.clue import spread

    torch.manual_seed(0)
    assert_close(spread(torch.randn(5000, 32)).item(), 1.0, rtol=0.02, atol=0)
    assert spread(torch.ones(10, 32)) == 0


# ---------------------------------------------------------------- IDICL


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


# ---------------------------------------------------------------- DuoRec


def test_duorec_contrasts_compare_their_pairs(store, batch):
    """Without dropout a sequence equals its twin, so "us_x" is "su", and "us" is both terms."""
    losses = {}
    for mode in ("us_x", "us", "un", "su"):
        method = build("duorec", store, dropout=0.0, contrast=mode)
        losses[mode] = seeded(method, batch).loss.item()
    with torch.no_grad():
        own, partner = (method.encoder(view) for view in views_of(method, batch))
    assert_close(losses["un"], nt_xent_by_the_book(own, own, "dot", 1.0), rtol=1e-4, atol=0)
    assert_close(losses["su"], nt_xent_by_the_book(own, partner, "dot", 1.0), rtol=1e-4, atol=0)
    assert_close(losses["us_x"], losses["su"], rtol=1e-5, atol=0)
    assert_close(losses["us"], losses["un"] + losses["su"], rtol=1e-5, atol=0)


def test_duorec_twins_differ_by_dropout(store, batch):
    """Else twins would be equal, and the loss of their contrast almost 0."""
    changes = {"contrast": "un", "similarity": "cosine", "temperature": 0.05}
    equal = seeded(build("duorec", store, dropout=0.0, **changes), batch).loss
    twins = seeded(build("duorec", store, dropout=0.5, **changes), batch).loss
    assert twins > equal + 0.5


def test_duorec_leaves_out_negatives_of_the_same_target(store, batch):
    method = build("duorec", store, dropout=0.0, same_target_negatives="left_out")
    targets = [row[row > 0][-1].item() for row in batch.items]
    with torch.no_grad():
        vectors = [method.encoder(view) for view in views_of(method, batch)]
    slow = nt_xent_by_the_book(*vectors, "dot", 1.0, groups=targets)
    assert_close(seeded(method, batch).loss.item(), slow, rtol=1e-4, atol=0)
    kept = build("duorec", store, dropout=0.0)
    assert seeded(kept, batch).loss > seeded(method, batch).loss


def test_duorec_logs_the_share_with_a_partner(store, batch):
    """Users of one behaviour have no past: they have no partner and are nobody's partner."""
    targets = [row[row > 0][-1].item() for row in batch.items]
    several = [t for t, n in zip(targets, store.lengths.tolist(), strict=True) if n > 1]
    share = sum(several.count(t) > 1 for t in several) / USERS
    logs = build("duorec", store)(batch, 0.0).logs
    assert 0 < share < 1
    assert_close(logs["partnered"].item(), share)


# ---------------------------------------------------------------- CCL


def test_ccl_generator_is_frozen(store, batch):
    """Else the generator would learn from the contrast to write views that are easy to match."""
    method = build("ccl", store)
    generator = method.views.generator
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(3):
        loss, _ = method(batch, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(value, before[n]) for n, value in generator.state_dict().items())
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "project"}
    assert not torch.equal(method.encoder.items.weight, before["items.weight"])


# ---------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("peterrec", {"predict": "previous"}),
        ("peterrec", {"transfer": "some"}),
        ("peterrec", {"bias_start": "popular"}),
        ("ptum", {"negatives": 0}),
        ("ptum", {"next_behaviours": 0}),
        ("ptum", {"drawn_from": "users"}),
        ("clue", {"loss": "byol"}),
        ("clue", {"without": "views"}),
        ("clue", {"temperature": 0.0}),
        ("ccl", {"similarity": "euclidean"}),
        ("idicl", {"aggregation": "some"}),
        ("idicl", {"attention": "additive"}),
        ("idicl", {"user_vector": "first"}),
        ("idicl", {"interests": 0}),
        ("idicl", {"attention_temperature": 0.0}),
        ("cl4srec", {"projection": "mlp"}),
        ("cl4srec", {"rec_weight": -1.0}),
        ("coserec", {"rec_weight": -1.0}),
        ("coserec", {"temperature": -1.0}),
        ("duorec", {"contrast": "x"}),
        ("duorec", {"same_target_negatives": "some"}),
        ("duorec", {"rec_weight": -1.0}),
    ],
)
def test_wrong_values_are_rejected(name, wrong):
    """Else a training would stop later, or the message would not name the hyper-parameter."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        configure(load_method(name), wrong)
    assert "\n" not in str(caught.value)


def test_more_principal_interests_than_interests_are_rejected():
    """Else the k of a top-k would exceed the number of interests."""
    from userbench.methods.idicl import Config

    with pytest.raises(ValueError, match="principal=4: use 1 to interests=2"):
        Config(aggregation="principal", interests=2)


def test_duorec_rejects_views_of_another_kind():
    """Else its views would have no targets."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match="same_target"):
        configure(load_method("duorec"), {"views": {"kind": "operators"}})
