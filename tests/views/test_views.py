"""Augmentation strategies: the contract, for every file in views/, and what each of them adds."""

from collections import Counter
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import userbench

KINDS = sorted(
    path.stem
    for path in Path(userbench.__file__).parent.glob("views/*.py")
    if path.stem != "__init__"
)
VARIANTS = [
    *((kind, {}) for kind in KINDS),
    ("fill", {"ban_original": True}),
    ("fill", {"curriculum": "score"}),
    ("informative", {"hybrid_from": 0.0}),
    ("informative", {"short_length": -1}),
    ("operators", {"distinct": True}),
    ("periods", {"window": "long"}),
    ("periods", {"window": "short"}),
]
N_ITEMS, USERS, MAX_LENGTH = 40, 60, 14
MASK = N_ITEMS + 1


@pytest.fixture(scope="module")
def store():
    """Users of every length from 1 to 12, with five last items; no item twice in a sequence."""
    rng = np.random.default_rng(0)
    rows = [
        [*(rng.permutation(N_ITEMS - 5)[:n] + 6), user % 5 + 1]
        for user, n in enumerate(np.arange(USERS) // 5 % 12)
    ]
    return store_of(rows)


def store_of(rows, n_items=N_ITEMS):
    from userbench.data.store import BehaviourStore

    lengths = torch.tensor([len(row) for row in rows])
    return BehaviourStore(
        items=torch.tensor([item for row in rows for item in row], dtype=torch.int32),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        lengths=lengths,
        n_items=n_items,
        max_length=MAX_LENGTH,
    )


def encoder_of(n_items=N_ITEMS, dropout=0.1, max_length=MAX_LENGTH):
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    return UserEncoder(EncoderConfig(n_items, dim=16, max_length=max_length), dropout)


def build(kind, store, users=None, encoder=None, **options):
    from userbench.view import load_views

    encoder = encoder or encoder_of(store.n_items)
    views = replace(load_views(kind).Options(), **options).build(encoder)
    views.prepare(store, torch.arange(store.n_users) if users is None else users)
    return views


def everyone(store):
    return store.batch(torch.arange(store.n_users))


def real(row):
    """The behaviours of a row; zeros are allowed only at its right."""
    values = row.tolist()
    n = sum(v != 0 for v in values)
    assert all(v == 0 for v in values[n:])
    return values[:n]


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("kind", KINDS)
def test_options(kind):
    from userbench.view import ViewOptions, load_views

    module = load_views(kind)
    assert is_dataclass(module.Options)
    assert issubclass(module.Options, ViewOptions)
    assert module.Options().kind == kind
    assert not next(field for field in fields(module.Options) if field.name == "kind").init
    with pytest.raises(TypeError, match="temprature"):
        module.Options(temprature=1)
    assert any(year in module.__doc__ for year in map(str, range(2015, 2031)))


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
@pytest.mark.parametrize("progress", [0.0, 0.4, 0.999, 1.0])
def test_pairs_can_be_encoded(kind, options, progress, store):
    """Both are concatenated, so they must be equally wide; no view may be empty or all masked."""
    views, batch = build(kind, store, **options), everyone(store)
    before = batch.items.clone()
    pair = views(batch, progress)
    assert pair.first.shape == pair.second.shape
    assert pair.first.shape[1] <= MAX_LENGTH
    for view in pair:
        assert view.dtype == torch.long
        assert not view.requires_grad
        assert ((view >= 0) & (view <= MASK)).all()
        for row in view:
            assert set(real(row)) - {MASK}
    assert torch.equal(batch.items, before)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_same_seed_same_views(kind, options, store):
    def views():
        built = build(kind, store, **options)
        return torch.cat(built(everyone(store), 0.5))

    first = views()
    assert torch.equal(first, views())


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_shortest_batches(kind, options, store):
    """A view of a user of one behaviour must keep it: there is nothing else to encode."""
    views = build(kind, store, **options)
    shortest = (store.lengths == 1).nonzero().squeeze(1)
    for users in (shortest, shortest[:2]):
        pair = views(store.batch(users), 0.5)
        assert pair.first.shape == pair.second.shape
        assert (pair.first[:, 0] != 0).all()
        assert (pair.second[:, 0] != 0).all()
        assert (torch.cat(pair) != MASK).all()


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_encoder_is_not_modified(kind, options, store):
    """Making views may change no weight, gradient or mode of the encoder."""
    encoder = encoder_of().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    build(kind, store, encoder=encoder, **options)(everyone(store), 0.5)
    assert encoder.training
    assert all(part.training for part in encoder.modules())
    assert all(value.requires_grad and value.grad is None for value in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("operators", {"mask_ratio": 1.5}, "mask_ratio"),
        ("informative", {"insert_ratio": -0.1}, "insert_ratio"),
        ("informative", {"short_length": -2}, "short_length"),
        ("informative", {"hybrid_from": 1.5}, "hybrid_from"),
        ("fill", {"curriculum": "steep"}, "curriculum"),
        ("fill", {"max_ratio": 0.0}, "max_ratio"),
        ("fill", {"temperature": 0.0}, "temperature"),
        ("periods", {"window": "weeks"}, "window"),
        ("periods", {"least_share": 0.0}, "least_share"),
        ("periods", {"short_width": 0}, "short_width"),
    ],
)
def test_wrong_options_are_rejected_in_one_line(kind, options, name):
    """Else a training would stop later, or the message would not name the option."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match=name) as caught:
        configure(load_method("cl4srec"), {"views": {"kind": kind, **options}})
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- operators, same, periods


def test_distinct_views_are_of_two_operators():
    """Of ten behaviours, a crop is shorter, a mask shows, a reordering keeps all."""
    store = store_of([list(range(1, 11))] * 2000)

    def operators(view):
        cropped, masked = (view == 0).any(1), (view == MASK).any(1)
        return torch.where(cropped, 0, torch.where(masked, 1, 2))

    torch.manual_seed(0)
    for distinct in (True, False):
        pair = build("operators", store, distinct=distinct)(everyone(store), 0.0)
        drawn = Counter(
            zip(operators(pair.first).tolist(), operators(pair.second).tolist(), strict=True)
        )
        share = 1 / 6 if distinct else 1 / 9
        assert len(drawn) == (6 if distinct else 9)
        assert all(a != b for a, b in drawn) or not distinct
        assert all(
            abs(count - 2000 * share) < 5 * (2000 * share) ** 0.5 for count in drawn.values()
        )


def test_same_is_the_same(store):
    batch = everyone(store)
    first, second = build("same", store)(batch, 0.0)
    assert torch.equal(first, batch.items)
    assert torch.equal(second, batch.items)


def test_periods(store):
    """Halves: all behaviours, none twice. Long: half of them. Short: of the chosen width."""
    batch = everyone(store)
    lengths = store.lengths.tolist()
    halves = build("periods", store)(batch, 0.0)
    for n, row, early, late in zip(lengths, batch.items, *halves, strict=True):
        assert n == 1 or real(early) + real(late) == real(row)
    for view in build("periods", store, window="long")(batch, 0.0):
        assert [len(real(row)) for row in view] == [(n + 1) // 2 for n in lengths]
    for view in build("periods", store, window="short", short_width=4)(batch, 0.0):
        assert [len(real(row)) for row in view] == [max(1, min(4, n // 2)) for n in lengths]


# ---------------------------------------------------------------- informative


def test_short_sequences_are_only_substituted_inserted_or_masked():
    """A crop of four behaviours would leave one of them."""
    short, long = [1, 2, 3, 4], [1, 2, 3, 4, 5]
    store = store_of([short] * 3000 + [long] * 3000)
    torch.manual_seed(0)
    view = build("informative", store)(everyone(store), 0.0).first
    counts = (view != 0).sum(1)
    masked = (view == MASK).any(1)
    for part, n, operators in ((slice(3000), 4, 3), (slice(3000, None), 5, 5)):
        share = {
            "crop": (counts[part] < n).double().mean(),
            "insert": (counts[part] > n).double().mean(),
            "mask": masked[part].double().mean(),
        }
        expected = {"crop": 0 if operators == 3 else 1 / 5, "insert": 1 / operators}
        expected["mask"] = 1 / operators
        assert all(abs(share[name] - value) < 0.05 for name, value in expected.items())
    assert (counts[:3000] >= 4).all()
    always = build("informative", store, short_length=-1)(everyone(store), 0.0).first
    assert abs(((always[:3000] != 0).sum(1) < 4).double().mean() - 1 / 5) < 0.05


def test_neighbours_are_those_of_the_training_users():
    """Else held-out users would leak; an item of no training user gets a random other one."""
    store = store_of([[1, 2], [1, 2], [3, 4], [7, 8], [5, 6], [6, 7]], n_items=8)
    views = build("informative", store, users=torch.tensor([4, 0, 2, 1]))
    table = views.neighbours
    assert table[:7].tolist() == [0, 2, 1, 4, 3, 6, 5]
    assert table[7] in (*range(1, 7), 8)
    assert table[8] in range(1, 8)
    assert views.offline_scores[7] == views.offline_scores[8] <= 0
    drawn = {build_with(seed, store).neighbours[8].item() for seed in range(80)}
    assert drawn == set(range(1, 8))


def build_with(seed, store):
    views = build("informative", store)
    torch.manual_seed(seed)
    views.prepare(store, torch.tensor([0, 1, 2, 4]))
    return views


def test_neighbours_from_a_folder(tiny, tmp_path):
    """Computed before training or read from a folder, the neighbours must be the same."""
    from userbench.data import neighbours
    from userbench.data.splits import TRAIN, load_user_split
    from userbench.data.store import BehaviourStore

    folder = tmp_path / "neighbours"
    paths = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    neighbours.main([*paths, "--top", "2", "--out", str(folder)])
    store = BehaviourStore.open(tiny / "store", 150, "cpu")
    train = (load_user_split(tiny / "splits") == TRAIN).nonzero().squeeze(1)
    encoder = encoder_of(store.n_items, max_length=150)
    tables = []
    for where in (str(folder), None):
        torch.manual_seed(0)
        tables.append(build("informative", store, train, encoder, neighbours=where))
    # The encoder's own seed is set once above, so both draw the same random neighbours.
    assert torch.equal(tables[0].neighbours, tables[1].neighbours)
    torch.testing.assert_close(tables[0].offline_scores, tables[1].offline_scores)
    with pytest.raises(ValueError, match="same store"):
        build("informative", store_of([[1, 2]]), neighbours=str(folder))


def test_most_similar_equals_the_dense_computation(monkeypatch):
    """Padding, mask and the item itself are no candidates; extremes are over all real pairs."""
    from userbench.views import informative

    monkeypatch.setattr(informative, "SIMILARITIES_AT_ONCE", 37 * 5)
    table = encoder_of(37).item_table.detach() + 0.1
    items, scores = informative.most_similar(table)
    dense = (table[1:] @ table[1:].T).numpy()
    others = dense[~np.eye(37, dtype=bool)]
    np.fill_diagonal(dense, -np.inf)
    assert items.tolist() == [0, *(dense.argmax(1) + 1)]
    normalised = (dense.max(1) - others.min()) / (others.max() - others.min())
    np.testing.assert_allclose(scores[1:].numpy(), normalised, rtol=1e-5)


def test_hybrid_takes_the_better_source_from_its_start_on(store):
    """Ties stay offline; twenty refreshes in training, none by validation at progress 1."""
    from userbench.views.informative import most_similar

    encoder = encoder_of()
    views = build("informative", store, encoder=encoder, hybrid_from=0.5)
    batch = everyone(store)
    for progress in (0.0, 0.49, 1.0):
        views(batch, progress)
        assert torch.equal(views.neighbours, views.offline)
    views(batch, 0.5)
    online, scores = most_similar(encoder.item_table.detach())
    by_hand = [
        on if new > old else off
        for on, new, off, old in zip(
            online.tolist(),
            scores.tolist(),
            views.offline.tolist(),
            views.offline_scores.tolist(),
            strict=True,
        )
    ]
    assert views.neighbours.tolist()[1:] == by_hand[1:]
    assert views.neighbours[0] == 0
    assert not torch.equal(views.neighbours, views.offline)
    taken = views.neighbours
    encoder.items.weight.data.normal_()
    for progress in (0.51, 0.549, 1.0):
        views(batch, progress)
        assert views.neighbours is taken
    views(batch, 0.551)
    assert not torch.equal(views.neighbours, taken)


# ---------------------------------------------------------------- operators


def test_mask_is_offered_only_to_two_behaviours_or_more():
    from userbench.data.store import Batch
    from userbench.views.operators import Options

    torch.manual_seed(0)
    views = Options(crop_ratio=0.4, mask_ratio=0.6, reorder_ratio=0.6).build(encoder_of())
    one = torch.tensor([[7, 0, 0]]).repeat(500, 1)
    ten = torch.arange(1, 11).repeat(6000, 1)
    for view in views(Batch(torch.arange(500), one), 0.0):
        assert torch.equal(view, one)
    for view in views(Batch(torch.arange(6000), ten), 0.0):
        masked = (view == MASK).any(1).double().mean()
        cropped = (view == 0).any(1).double().mean()
        assert abs(masked - 1 / 3) < 0.04
        assert abs(cropped - 1 / 3) < 0.04
        assert (view != 0).any(1).all()  # no view is empty


# ---------------------------------------------------------------- fill


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.5, 0.951, 1.0])
def test_fill_changes_the_share_of_its_stage(progress, store):
    """rho = 0.015, 0.030, ..., 0.300; with the original banned, every masked item changes."""
    stage = min(int(20 * progress), 19) + 1
    batch = everyone(store)
    lengths = store.lengths.tolist()
    for ban in (True, False):
        torch.manual_seed(0)
        for view in build("fill", store, ban_original=ban)(batch, progress):
            changed = (view != batch.items).sum(1).tolist()
            for n, count in zip(lengths, changed, strict=True):
                hidden = min(max(1, -(-15 * stage * n // 1000)), n - 1)
                assert count == hidden if ban else count <= hidden
            assert torch.equal(view != 0, batch.items != 0)
            assert (view <= N_ITEMS).all()


@pytest.mark.parametrize("ratio", [0.015, 0.1, 0.3, 1.0])
def test_masked_part(ratio, store):
    from userbench.views.fill import masked_part

    torch.manual_seed(0)
    items = everyone(store).items
    masked = masked_part(items, ratio)
    assert not (masked & (items == 0)).any()
    for n, count in zip(store.lengths.tolist(), masked.sum(1).tolist(), strict=True):
        assert count == min(max(1, -(-round(1000 * ratio) * n // 1000)), n - 1)


def test_fill_draws_from_the_generator():
    """Of two behaviours one is masked: its replacement follows the softmax given the other."""
    store = store_of([[3, 8]] * 15_000, n_items=12)
    encoder = encoder_of(12)
    torch.nn.init.normal_(encoder.items.weight, std=0.3)
    views = build("fill", store, encoder=encoder, temperature=2.0)
    view = torch.cat(views(everyone(store), 0.0))
    with torch.no_grad():
        hidden = encoder.eval().hidden(torch.tensor([[13, 8], [3, 13]]))
        logits = torch.stack([hidden[0, 0], hidden[1, 1]]) @ encoder.item_table.T / 2.0
    logits[:, 0] = -torch.inf
    first, second = logits.double().softmax(1)
    # Half of the users have the first hidden, half the second; either may come back as it was.
    alone = view[view[:, 1] != 8][:, 1].bincount(minlength=13) / 15_000
    expected = second.clone()
    expected[8] = 0
    assert (alone - expected).abs().max() < 0.02
    alone = view[view[:, 0] != 3][:, 0].bincount(minlength=13) / 15_000
    first[3] = 0
    assert (alone - first).abs().max() < 0.02
    unchanged = ((view == torch.tensor([3, 8])).all(1)).double().mean()
    by_chance = (1 - first.sum()) / 2 + second[8] / 2
    assert abs(unchanged - by_chance) < 0.02


def test_generator_is_frozen(store):
    """Else it would learn with the encoder whose warm start it is."""
    encoder = encoder_of().train()
    views = build("fill", store, encoder=encoder)
    before = encoder.items.weight.detach().clone()
    encoder.items.weight.data.add_(1)
    assert torch.equal(views.generator.items.weight, before)
    assert not views.generator.training
    assert not any(value.requires_grad for value in views.generator.parameters())
    assert not views.bias.any()


def test_generator_from_a_checkpoint(store, tmp_path):
    from userbench.methods import mlm
    from userbench.training.checkpoint import save, trained_tensors

    method = mlm.Method(encoder_of(), mlm.Config(bias_start="frequency"))
    method.prepare(store, torch.arange(USERS))
    method(everyone(store), 0.0).loss.backward()
    tensors = trained_tensors(method)
    save(tmp_path / "mlm.safetensors", tensors, {}, epoch=1)
    fresh = encoder_of()
    fresh.items.weight.data.normal_()
    views = build("fill", store, encoder=fresh, generator=str(tmp_path / "mlm.safetensors"))
    assert torch.equal(views.bias, method.bias.detach())
    assert torch.equal(views.generator.items.weight, method.encoder.items.weight)
    assert views(everyone(store), 0.5).first.shape[0] == USERS

    del tensors["method.bias"]
    save(tmp_path / "other.safetensors", tensors, {}, epoch=1)
    with pytest.raises(ValueError, match="no checkpoint of masked item prediction"):
        build("fill", store, generator=str(tmp_path / "other.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        build("fill", store, generator=str(tmp_path / "none.safetensors"))
    with pytest.raises(ValueError, match="same store"):
        build("fill", store_of([[1, 2]], 9), generator=str(tmp_path / "mlm.safetensors"))


def test_scored_views_become_harder(store):
    """Each quarter of training takes the next rank of difficulty, by the encoder being trained."""
    encoder = encoder_of()
    torch.nn.init.normal_(encoder.items.weight, std=0.5)
    views, batch = build("fill", store, encoder=encoder, curriculum="score"), everyone(store)

    def difficulty(progress):
        torch.manual_seed(1)
        pair = views(batch, progress)
        encoder.eval()
        with torch.no_grad():
            own = encoder(batch.items)
            found = [1 - torch.cosine_similarity(own, encoder(view)) for view in pair]
        encoder.train()
        return torch.cat(found)

    # The seed, and so the four candidates, are the same each time.
    ranks = [difficulty(progress) for progress in (0.0, 0.25, 0.5, 0.75)]
    for easier, harder in zip(ranks, ranks[1:], strict=False):
        assert (easier <= harder + 1e-6).all()
        assert (easier < harder - 1e-4).any()
    assert torch.equal(ranks[-1], difficulty(1.0))
    assert torch.equal(ranks[0], difficulty(0.24))


# ---------------------------------------------------------------- same target


def test_partners_are_uniform_among_the_others():
    """Never the user, another last item, a held-out user, or a user of one behaviour."""
    rows = [[1, 9], [2, 9], [3, 9], [4, 9], [9], [5, 8], [6, 8], [7, 7], [8]]
    train = torch.tensor([3, 0, 2, 4, 5, 7, 8])  # 1 and 6 are held out
    store = store_of(rows)
    views = build("same_target", store, users=train)
    expected = {0: {2, 3}, 1: {0, 2, 3}, 2: {0, 3}, 3: {0, 2}, 4: {4}, 5: {5}, 6: {5}, 7: {7}}
    expected[8] = {8}  # its one behaviour is all there is to see
    torch.manual_seed(0)
    draws = 6000
    for user, partners in expected.items():
        drawn = Counter(views.partners(store.batch(torch.full((draws,), user))).tolist())
        assert set(drawn) == partners
        share = 1 / len(partners)
        allowed = 5 * (draws * share * (1 - share)) ** 0.5 + 1
        assert all(abs(count - draws * share) < allowed for count in drawn.values())


def test_views_of_the_same_target(store):
    """The target is in neither view; a user without a partner is both views."""
    train = torch.arange(0, USERS, 2)
    views, batch = build("same_target", store, users=train), everyone(store)
    torch.manual_seed(0)
    partners = views.partners(batch)
    torch.manual_seed(0)
    first, second = views(batch, 0.0)
    sequences = [real(row) for row in batch.items]
    for user, partner in enumerate(partners.tolist()):
        assert real(first[user]) == (sequences[user][:-1] or sequences[user])
        assert real(second[user]) == (sequences[partner][:-1] or sequences[partner])
        assert sequences[partner][-1] == sequences[user][-1]
        assert partner == user or partner % 2 == 0
    assert views.partnered == (partners != torch.arange(USERS)).float().mean()
    assert views.groups(batch).tolist() == [row[-1] for row in sequences]


def test_nobody_has_a_partner():
    """Else a corpus without shared last items could not be trained on."""
    store = store_of([[1], [2]])
    views, batch = build("same_target", store), everyone(store)
    first, second = views(batch, 0.0)
    assert torch.equal(first, batch.items)
    assert torch.equal(second, batch.items)
    assert views.partnered == 0
