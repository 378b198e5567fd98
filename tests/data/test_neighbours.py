import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import write_splits, write_store

from userbench.data import arrays, neighbours, splits
from userbench.data.neighbours import Neighbours, item_neighbours, load_neighbours
from userbench.data.ragged import offsets_of

N_ITEMS = 14  # item 14 is never behaved on
SEQUENCES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), min_size=1, max_size=12), min_size=1)


def flat(sequences):
    """Sequences as the flat arrays of a store."""
    offsets = offsets_of(np.array([len(sequence) for sequence in sequences]))
    return np.concatenate(sequences).astype(np.int32), offsets


def by_the_book(sequences, n_items):
    """The formula, pair by pair: a dense table of correlations, 0 on the diagonal."""
    n_users, sums = np.zeros(n_items + 1), np.zeros((n_items + 1, n_items + 1))
    for own in map(set, sequences):
        for i in own:
            n_users[i] += 1
            for j in own - {i}:
                sums[i, j] += 1 / math.log(1 + len(own))
    return sums / np.sqrt(np.maximum(n_users, 1) * np.maximum(n_users, 1)[:, None])


def check(found: Neighbours, expected, top):
    """Every row of `found` is a best-first top of the same row of `expected`."""
    n = len(expected)
    best = -np.sort(-np.pad(expected, [(0, 0), (0, top)]), axis=1)[:, :top]
    np.testing.assert_allclose(found.scores, best, atol=1e-6)
    named = np.take_along_axis(expected, found.items.astype(int), axis=1)
    np.testing.assert_allclose(found.scores, named, atol=1e-6)
    assert ((found.items > 0) == (best > 0)).all()
    assert (found.items != np.arange(n)[:, None])[1:].all()
    assert all(len(set(row[row > 0])) == (row > 0).sum() for row in found.items)
    tied = (np.diff(found.scores) == 0) & (found.items[:, 1:] > 0)
    assert (np.diff(found.items)[tied] > 0).all()
    assert (found.items.shape, found.items.dtype) == ((n, top), np.int32)
    assert (found.scores.shape, found.scores.dtype) == ((n, top), np.float32)
    assert found.max_score == pytest.approx(expected.max(), abs=1e-6)
    assert found.min_score == pytest.approx(expected[expected > 0].min(), abs=1e-6)


@pytest.mark.parametrize("top", [1, 5, 39, 50])
def test_recorded_values(reference, top):
    """If wrong: neighbours are not those of CoSeRec's released code."""
    values = reference("itemcf_iuf")
    found = item_neighbours(values["items"], values["offsets"], 39, top)
    check(found, values["similarity"], top)
    assert found.max_score == pytest.approx(values["max_score"], abs=1e-6)
    assert found.min_score == pytest.approx(values["min_score"], abs=1e-6)


@settings(deadline=None, max_examples=200)
@given(sequences=SEQUENCES, top=st.integers(1, N_ITEMS + 2), at_once=st.integers(1, 500))
def test_formula(sequences, top, at_once):
    """If wrong: repeats, users of one item, unseen items or borders of blocks change the result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "PRODUCTS_AT_ONCE", at_once)
        if all(len(set(sequence)) == 1 for sequence in sequences):
            with pytest.raises(ValueError, match="no user has two different items"):
                item_neighbours(*flat(sequences), N_ITEMS, top)
        else:
            found = item_neighbours(*flat(sequences), N_ITEMS, top)
            check(found, by_the_book(sequences, N_ITEMS), top)


def test_formula_with_rows_far_longer_than_top(monkeypatch):
    """If wrong: the shortcut for long rows loses a neighbour."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 301)
    sequences = [
        rng.choice(300, size, p=popularity / popularity.sum()) + 1
        for size in rng.integers(1, 101, 400)
    ]
    expected = by_the_book([sequence.tolist() for sequence in sequences], 300)
    assert np.median((expected > 0).sum(1)) > 100
    for at_once in (5_000, 100_000):
        monkeypatch.setattr(neighbours, "PRODUCTS_AT_ONCE", at_once)
        check(item_neighbours(*flat(sequences), 300, 5), expected, 5)


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-1, 3), min_size=1, max_size=60), min_size=1, max_size=8),
    top=st.integers(1, 4),
)
def test_lower_bounds(rows, top):
    """If wrong: fewer than `top` entries of a row, or negative ones, are kept for sorting."""
    scores, bounds = flat(rows)
    found = neighbours.lower_bounds(scores.astype(np.float32), bounds, top)
    for row, bound in zip(rows, found.tolist(), strict=True):
        reaching = sum(score >= bound for score in row)
        assert bound >= 0
        assert reaching >= min(top, sum(score >= 0 for score in row))


def test_same_result_in_any_order(monkeypatch):
    """If wrong: equal correlations fall to another item with other blocks or another user order."""
    rng = np.random.default_rng(1)
    sequences = [rng.integers(1, 60, rng.choice([2, 3, 5])) for _ in range(60)]
    first = item_neighbours(*flat(sequences), 60, 5)
    positive = first.scores[:, :-1] > 0
    assert (np.diff(first.scores)[positive] == 0).sum() > 30  # or there is nothing to test
    for at_once in (1, 50, 700):
        monkeypatch.setattr(neighbours, "PRODUCTS_AT_ONCE", at_once)
        shuffled = [sequences[user] for user in rng.permutation(len(sequences))]
        again = item_neighbours(*flat(shuffled), 60, 5)
        assert (again.items == first.items).all()
        assert (again.scores == first.scores).all()
        assert again[2:] == first[2:]


def command(tiny, out, *more):
    """Run the command on the tiny world; later flags win."""
    folders = ["--store", tiny / "store", "--splits", tiny / "splits", "--out", out]
    neighbours.main([*map(str, folders), "--top", "5", *map(str, more)])


def test_command(tiny, tmp_path):
    """If wrong: users of the validation part are counted, or the files do not say what they are."""
    command(tiny, tmp_path / "neighbours")
    behaviours = tiny / "store/behaviours"
    items, offsets = (
        arrays.read_array(behaviours, name).tolist() for name in ("items.npy", "offsets.npy")
    )
    part = splits.load_user_split(tiny / "splits").tolist()
    n_items = arrays.read_manifest(behaviours)["counts"]["items"]
    sequences = [
        items[offsets[user] : offsets[user + 1]] for user, p in enumerate(part) if p == splits.TRAIN
    ]
    expected = by_the_book(sequences, n_items)
    check(load_neighbours(tmp_path / "neighbours"), expected, 5)

    manifest = arrays.read_manifest(tmp_path / "neighbours")
    assert manifest["top"] == 5
    assert manifest["counts"] == {
        "users": len(sequences),
        "items": n_items,
        "items_without_neighbour": int((expected[1:].max(1) == 0).sum()),
        "pairs": int((expected > 0).sum()),
    }
    of = [behaviours, tiny / "splits/users"]
    assert [*manifest["inputs"].values()] == [arrays.identity(folder) for folder in of]
    assert {"seconds", "peak_memory_gib", "libraries", "hardware"} <= set(manifest)

    command(tiny, tmp_path / "again")
    for name in ("items.npy", "scores.npy"):
        written = [(tmp_path / folder / name).read_bytes() for folder in ("neighbours", "again")]
        assert written[0] == written[1]


def test_damage_is_noticed(tiny, tmp_path):
    """If wrong: neighbours of another corpus are used without a word."""
    command(tiny, tmp_path / "neighbours")
    np.save(tmp_path / "neighbours" / "items.npy", np.zeros((301, 5), np.int32))
    with pytest.raises(ValueError, match=r"items\.npy: missing or not as written"):
        load_neighbours(tmp_path / "neighbours")
    with pytest.raises(ValueError, match=r"checksums\.json: does not exist"):
        load_neighbours(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--top", "0"], "top 0 is too few"),
        (["--store", "nowhere"], "nowhere/behaviours/manifest.json: does not exist"),
        (["--splits", "nowhere"], "nowhere/users/checksums.json: does not exist"),
        (["--out", __file__], "exists and is not an earlier result"),
    ],
)
def test_errors_on_the_command_line(tiny, tmp_path, arguments, reason):
    """If wrong: a user's error is a traceback, or leaves something half-written."""
    with pytest.raises(SystemExit) as end:
        command(tiny, tmp_path / "new" / "neighbours", *arguments)
    assert end.value.code.startswith("error: ")
    assert reason in end.value.code
    assert list(tmp_path.iterdir()) == []


def test_corpora_that_cannot_be_used(tiny, tmp_path):
    """If wrong: splits of another store choose the users, or an empty table is written."""
    (tmp_path / "original_desen_pretrain.csv").write_text("1,1\n2,2\n3,3\n" * 4)
    write_store(tmp_path, "ttl", {}, tmp_path / "store")
    write_splits(tmp_path / "store", [], "user", 0, tmp_path / "splits")
    for folder, reason in [(tiny, "drawn for another store"), (tmp_path, "no user has two")]:
        with pytest.raises(SystemExit, match=f"error: .*{reason}"):
            command(folder, tmp_path / "new", "--store", tmp_path / "store")
        assert not (tmp_path / "new").exists()
