import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import ROOT
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import BernoulliNB

from userbench.data import simulate
from userbench.data.simulation.clusters import Clusters, build_clusters, draw_members, repeats
from userbench.data.simulation.people import (
    ABSENT,
    People,
    draw_conversions,
    draw_people,
    draw_targets,
)
from userbench.data.simulation.population import build_population
from userbench.data.simulation.raw_files import (
    TASKS,
    USERS_PER_CHUNK,
    file_name,
    render_ids,
    render_rows,
    write_raw_files,
)
from userbench.data.simulation.world import (
    APP,
    CLICK_COUNTS,
    FULL_SCALE,
    LIKE_COUNTS,
    TTL,
    World,
    choose_world,
)

USERS = 10_000  # more than one chunk
TTL_TASKS = {  # rows of the full release, labels or ids from, to, most tails of a row
    "original_desen_age.csv": (1_470_147, 1, 8, 1),
    "original_desen_lifestatus.csv": (1_020_277, 1, 6, 1),
    "original_desen_gender.csv": (1_467_797, 1, 2, 1),
    "original_desen_finetune_click_nouserID.csv": (1_397_197, 1, 400, 5),
    "original_desen_finetune_like_nouserID.csv": (255_646, 1, 400, 4),
}
APP_TASKS = {"app_gender.csv": (1_178_603, 0, 1, 1), "app_cvr.csv": (564_940, 0, 1, 1)}
CORPORA = [
    ("ttl", "original_desen_pretrain.csv", TTL_TASKS, 1_470_149),
    ("app", "app_pretrain.csv", APP_TASKS, 1_575_837),
]


def write(format: str, folder: Path, users: int, seed: int = 1, **changes) -> Path:
    write_raw_files(format, choose_world(format, users, **changes), users, seed, folder)
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("simulated")
    return {format: write(format, root / format, USERS) for format in ("ttl", "app")}


@pytest.fixture(scope="module")
def like_the_excerpt() -> "Drawn":
    """As many users as the real excerpt has, from the full catalogue."""
    return Drawn(TTL, 10_000)


class Drawn:
    """Users drawn in memory, and the population they come from."""

    def __init__(self, world: World, users: int = 4_000, seed: int = 0):
        self.world, self.rng = world, np.random.default_rng(seed)
        self.population = build_population(world, self.rng)
        self.people = draw_people(world, self.population, users, self.rng)

    def targets(self, name: str = "click") -> np.ndarray:
        clusters = getattr(self.population, name)
        counts = {"click": CLICK_COUNTS, "like": LIKE_COUNTS}[name]
        return draw_targets(self.world, clusters, counts, self.people, self.rng)

    def conversions(self) -> np.ndarray:
        return draw_conversions(self.world, self.population, self.people, self.rng)


def small_world(**changes) -> World:
    return choose_world("ttl", 4_000, items=4_000, **changes)


def read_lines(path: Path) -> list[str]:
    """Lines of a file that ends in a newline and has no other line ends."""
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n")
    assert "\r" not in text
    return text[:-1].split("\n")


def parse_sequence(text: str, n_items: int) -> list[int]:
    """Items of a sequence of 100 ids, zeros on the left, no item twice; written canonically."""
    ids = [int(word) for word in text.split(",")]
    items = [item for item in ids if item]
    assert ",".join(map(str, ids)) == text
    assert ids == [0] * (100 - len(items)) + items
    assert len(items) >= 1
    assert len(set(items)) == len(items)
    assert min(items) >= 1
    assert max(items) <= n_items
    return items


@pytest.mark.parametrize(("format", "pretrain", "tasks", "full"), CORPORA)
def test_every_line_has_the_documented_form(corpora, format, pretrain, tasks, full):
    # Else the readers of the real files would refuse the simulated ones, or read other numbers.
    folder = corpora[format]
    assert {path.name for path in folder.iterdir()} == {pretrain, "world.json", *tasks}
    world = json.loads((folder / "world.json").read_text())["world"]
    sequences = read_lines(folder / pretrain)
    assert len(sequences) == USERS
    for sequence in sequences:
        parse_sequence(sequence, world["items"])
    known = set(sequences)
    for name, (rows, low, high, most) in tasks.items():
        lines = read_lines(folder / name)
        assert abs(len(lines) - USERS * rows / full) <= 1
        for line in lines:
            sequence, tail = line.split(",,")
            assert sequence in known
            labels = [int(word) for word in tail.split(",")]
            assert ",".join(map(str, labels)) == tail
            assert low <= min(labels)
            assert max(labels) <= high
            assert 1 <= len(set(labels)) == len(labels) <= most


@pytest.mark.parametrize(("format", "pretrain", "tasks", "full"), CORPORA)
def test_task_rows_follow_the_order_of_users(corpora, format, pretrain, tasks, full):
    # Else a user could be in a task twice, or with the sequence of somebody else.
    place = {line: row for row, line in enumerate(read_lines(corpora[format] / pretrain))}
    for name in tasks:
        rows = [place[line.split(",,")[0]] for line in read_lines(corpora[format] / name)]
        assert all(before < after for before, after in zip(rows, rows[1:], strict=False))


def test_labelled_rows_at_full_scale_are_those_of_the_paper():
    # Else Table 1 of a full-scale simulation would differ from the paper's.
    for format, _, tasks, full in CORPORA:
        facts = FULL_SCALE[format]
        assert facts.users == full
        written = {file_name(format, s): share for s, share in TASKS[format].labelled.items()}
        assert written.keys() == tasks.keys()
        for name, (rows, *_) in tasks.items():
            assert round(getattr(facts.world, written[name]) * full) == rows


def test_a_larger_share_of_thumb_ups_changes_no_other_file(tmp_path):
    # Else a world with more thumb-ups would also have other behaviours, or other clicks.
    users = 500
    for name, share in {"few": 0.2, "many": 0.6}.items():
        world = choose_world("ttl", users, like_labelled=share)
        write_raw_files("ttl", world, users, 3, tmp_path / name)
    like = "original_desen_finetune_like_nouserID.csv"
    rows = {name: len(read_lines(tmp_path / name / like)) for name in ("few", "many")}
    assert rows == {"few": 100, "many": 300}
    for name in TTL_TASKS.keys() - {like}:
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_world_json_says_what_was_simulated(corpora):
    # Else simulated numbers could be taken for real ones, or could not be made again.
    description = json.loads((corpora["app"] / "world.json").read_text())
    assert description["simulated"] is True
    assert (description["format"], description["users"], description["seed"]) == ("app", USERS, 1)
    assert description["world"] == json.loads(json.dumps(asdict(APP)))


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("format", ["ttl", "app"])
def test_seed_decides_every_byte(tmp_path, format):
    # Else a run could not be repeated, or repeats would all see the same users.
    users = USERS_PER_CHUNK + 10
    first = checksums(write(format, tmp_path / "first", users))
    assert checksums(write(format, tmp_path / "again", users)) == first
    other = checksums(write(format, tmp_path / "other", users, seed=2))
    assert all(other[name] != first[name] for name in first)


def test_a_simulated_folder_is_replaced_whole(tmp_path):
    # Else files of an older, larger simulation would stay beside the new ones.
    folder = write("app", tmp_path / "world", 300)
    (folder / "app_stale.csv").write_text("")
    write("app", folder, 200)
    assert len(read_lines(folder / "app_pretrain.csv")) == 200
    assert not (folder / "app_stale.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


# --- Marginals of the real data


def test_lengths_are_those_of_the_real_data(like_the_excerpt):
    # Else padding, truncation and speed would be measured on sequences of another length.
    lengths = (like_the_excerpt.people.items > 0).sum(axis=1)
    assert lengths.mean() == pytest.approx(54.84, abs=1)
    assert np.median(lengths) == pytest.approx(45, abs=2)
    assert (lengths == 100).mean() == pytest.approx(0.314, abs=0.015)
    assert (lengths <= 10).mean() == pytest.approx(0.056, abs=0.007)
    assert lengths.min() >= 1
    apps = (Drawn(APP, 5_000).people.items > 0).sum(axis=1)
    assert apps.mean() == pytest.approx(44.13, abs=1)
    assert apps.max() <= 100


def test_item_popularity_has_the_real_head_and_tail(like_the_excerpt):
    # Else caches, softmaxes and rare-item effects would be those of another catalogue.
    items = like_the_excerpt.people.items
    counts = np.sort(np.bincount(items[items > 0]))[::-1]
    seen = counts[counts > 0]
    assert len(counts) <= TTL.items + 1
    assert len(seen) == pytest.approx(123_726, rel=0.1)
    assert (seen == 1).mean() == pytest.approx(0.593, abs=0.08)
    assert seen[0] == pytest.approx(434, rel=0.25)
    assert seen[9] == pytest.approx(369, rel=0.25)
    assert seen[999] == pytest.approx(74, rel=0.25)


def test_targets_per_user_are_as_many_as_in_the_real_data():
    # Else Table 1 and the number of training pairs would be off.
    drawn = Drawn(small_world(), 8_000)
    for name, counts in (("click", CLICK_COUNTS), ("like", LIKE_COUNTS)):
        targets = drawn.targets(name)
        number = (targets != ABSENT).sum(axis=1)
        shares = np.bincount(number, minlength=len(counts) + 1)[1:] / len(number)
        assert shares == pytest.approx(np.array(counts) / sum(counts), abs=0.015)
        for row in targets[:2_000].tolist():
            present = [target for target in row if target != ABSENT]
            assert len(set(present)) == len(present)
            assert row == present + [ABSENT] * (len(row) - len(present))


def test_like_targets_are_click_targets():
    # The real ones share ids; else knowledge could not pass between the two tasks.
    population = Drawn(small_world()).population
    assert sorted(population.click.ids) == list(range(1, 401))
    assert len(set(population.like.ids)) == 200
    assert set(population.like.ids) < set(population.click.ids)
    owners = dict(zip(population.click.ids, owner_of(population.click), strict=True))
    assert [owners[target] for target in population.like.ids] == list(owner_of(population.like))


def test_labels_follow_the_priors(like_the_excerpt):
    # Else the majority class, hence the chance level of every table, would not be the stated one.
    people = like_the_excerpt.people
    for labels, prior in (
        (people.age, TTL.age_prior),
        (people.life, TTL.life_prior),
        (people.gender, TTL.gender_prior),
    ):
        assert np.bincount(labels) / len(labels) == pytest.approx(prior, abs=0.015)
    assert 0.35 <= max(TTL.age_prior) <= 0.45
    assert 0.35 <= max(TTL.life_prior) <= 0.45
    assert np.corrcoef(people.age, people.life)[0, 1] > 0.3


def test_catalogues_scale_with_users():
    # Else a small corpus would be all rare items, or a full one too small.
    assert choose_world("ttl", 1_470_149) == TTL
    assert choose_world("app", 300) == APP
    quarter = choose_world("ttl", 1_470_149 // 4)
    assert quarter.items == pytest.approx(TTL.items / 4, abs=1)
    assert quarter.click_targets == pytest.approx(TTL.click_targets / 4, abs=1)
    small = choose_world("ttl", 300)
    assert (small.items, small.click_targets, small.like_targets) == (2_000, 400, 200)
    assert choose_world("ttl", 300, items=500, click_targets=300).click_targets == 300


# --- What the knobs move


def bag_of_items(people: People, n_items: int) -> sparse.csr_matrix:
    row, column = np.nonzero(people.items)
    ones, shape = np.ones(len(row)), (len(people.items), n_items + 1)
    return sparse.csr_matrix((ones, (row, people.items[row, column])), shape=shape)


def bag_auc(drawn: Drawn, name: str) -> float:
    """AUC of naive Bayes on the items for the most frequent value, half the users for training."""
    bag, labels = bag_of_items(drawn.people, drawn.world.items), getattr(drawn.people, name)
    is_usual = labels == np.bincount(labels).argmax()
    half = len(labels) // 2
    model = BernoulliNB(alpha=0.1).fit(bag[:half], is_usual[:half])
    return float(roc_auc_score(is_usual[half:], model.predict_log_proba(bag[half:])[:, 1]))


@pytest.mark.parametrize("name", ["age", "life", "gender"])
@pytest.mark.parametrize(
    ("knob", "low", "high"),
    [
        ("noise", 0.6, 0.0),
        ("{}_interest", 0.2, 1.5),
        ("{}_reveal", 0.0, 0.05),
        ("{}_label_noise", 0.4, 0.0),
    ],
)
def test_label_knobs_move_how_well_labels_are_known(name, knob, low, high):
    # Else the level of a task could not be set.
    worse, better = (
        bag_auc(Drawn(small_world(**{knob.format(name): value}), 2_000), name)
        for value in (low, high)
    )
    assert better > worse + 0.02


def owner_of(clusters: Clusters) -> np.ndarray:
    """Cluster of every member."""
    return np.repeat(np.arange(len(clusters.sizes)), clusters.sizes)


def cluster_rows(drawn: Drawn) -> np.ndarray:
    """Cluster of every item of every user, -1 for padding."""
    clusters = drawn.population.items
    owner = np.full(len(clusters.ids) + 1, -1)
    owner[clusters.ids] = owner_of(clusters)
    return owner[drawn.people.items]


def same_neighbour_share(drawn: Drawn) -> float:
    rows = cluster_rows(drawn)
    return float((rows[:, 1:] == rows[:, :-1])[rows[:, :-1] >= 0].mean())


def interests_per_user(drawn: Drawn) -> float:
    rows = cluster_rows(drawn)[:500]
    return float(np.mean([len(set(row)) for row in rows.tolist()]))


def late_change(drawn: Drawn) -> float:
    return float(np.abs(drawn.people.late - drawn.people.early).sum(axis=1).mean())


def distinct_items(drawn: Drawn) -> float:
    return float(len(np.unique(drawn.people.items)))


def top_share(drawn: Drawn) -> float:
    return float(np.bincount(drawn.people.items[drawn.people.items > 0]).max())


def life_spread(drawn: Drawn) -> float:
    return float(-np.corrcoef(drawn.people.age, drawn.people.life)[0, 1])


def conversion_share(drawn: Drawn) -> float:
    return float(drawn.conversions().mean())


def last_interest_share(drawn: Drawn) -> float:
    clusters = drawn.population.click
    owner = np.full(len(clusters.ids) + 1, -1)
    owner[clusters.ids] = owner_of(clusters)
    return float((owner[drawn.targets()[:, 0]] == drawn.people.last).mean())


def conversion_auc(drawn: Drawn) -> float:
    people = drawn.people
    weights = (people.early + people.late) / 2
    score = (weights * drawn.population.conversion[people.interests]).sum(axis=1)
    return float(roc_auc_score(drawn.conversions(), score))


@pytest.mark.parametrize(
    ("knob", "values", "measure"),
    [
        ("persistence", (0.0, 0.5, 0.9), same_neighbour_share),
        ("diversity", (1.0, 3.0, 8.0), interests_per_user),
        ("drift", (0.0, 0.5, 1.0), late_change),
        ("tail", (3.0, 2.0, 0.5), distinct_items),
        ("head", (1.0, 0.1, 0.001), top_share),
        ("rare", (0.0, 0.02, 0.2), distinct_items),
        ("life_width", (0.2, 0.5, 2.0), life_spread),
        ("target_recency", (0.0, 0.5, 1.0), last_interest_share),
        ("target_noise", (1.0, 0.5, 0.0), last_interest_share),
        ("conversion_rate", (0.05, 0.2, 0.5), conversion_share),
        ("conversion_strength", (0.0, 1.0, 3.0), conversion_auc),
    ],
)
def test_knobs_move_what_they_claim(knob, values, measure):
    # Else a parameter would be without effect, or turn the wrong way.
    low, middle, high = (
        measure(Drawn(choose_world("ttl", 2_000, items=20_000, **{knob: value}), 1_000))
        for value in values
    )
    assert low < middle < high


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_conversion_rate_is_nearly_the_stated_one(rate):
    # Else the base rate of T6 could not be set.
    shares = [
        conversion_share(Drawn(replace(APP, conversion_rate=rate), users=1_000, seed=seed))
        for seed in range(6)
    ]
    assert np.mean(shares) == pytest.approx(rate, abs=0.03)


def test_ids_do_not_give_the_cluster_away():
    # Else an encoder could read the interest off the number.
    clusters = Drawn(small_world()).population.items
    by_id = owner_of(clusters)[np.argsort(clusters.ids)]
    share = clusters.sizes / clusters.sizes.sum()
    assert sorted(clusters.ids) == list(range(1, 4_001))
    assert (by_id[1:] == by_id[:-1]).mean() == pytest.approx((share**2).sum(), abs=0.015)


# --- Levels: what a simple model without any pre-training reaches on 4,000 users


def bag_level(drawn: Drawn, labels: np.ndarray) -> float:
    """Test accuracy, for two classes AUC, of TF-IDF and logistic regression on a 6:2:2 split."""
    bag = TfidfTransformer(sublinear_tf=True).fit_transform(
        bag_of_items(drawn.people, drawn.world.items)
    )
    train, test = slice(0, int(0.6 * len(labels))), slice(int(0.8 * len(labels)), None)
    model = LogisticRegression(C=3, max_iter=1_000).fit(bag[train], labels[train])
    if len(model.classes_) == 2:
        return float(roc_auc_score(labels[test], model.predict_proba(bag[test])[:, 1]))
    return float((model.predict(bag[test]) == labels[test]).mean())


def test_a_bag_of_items_reaches_the_intended_levels():
    # Else the tasks would be trivial or hopeless, and the rows of a table could not differ.
    ttl, app = Drawn(small_world()), Drawn(choose_world("app", 4_000))
    assert 0.53 < bag_level(ttl, ttl.people.age) < 0.68
    assert 0.45 < bag_level(ttl, ttl.people.life) < 0.57
    assert 0.83 < bag_level(ttl, ttl.people.gender) < 0.93
    assert 0.72 < bag_level(app, app.people.gender) < 0.85
    assert 0.66 < bag_level(app, app.conversions()) < 0.82


def ndcg_at_10(scores: np.ndarray, targets: np.ndarray) -> float:
    """Mean over (user, target) pairs, a user's other targets left out of the ranking."""
    gains = []
    for score, row in zip(scores, targets.tolist(), strict=True):
        present = [target for target in row if target != ABSENT]
        for target in present:
            rivals = score.copy()
            rivals[present] = -1
            rank = int((rivals > score[target]).sum())
            gains.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
    return float(np.mean(gains))


def target_chances(drawn: Drawn) -> np.ndarray:
    """True probability of each click target for each user, by target id."""
    world, clusters, people = drawn.world, drawn.population.click, drawn.people
    users = np.arange(len(people.items))
    taste = np.zeros((len(users), world.interests))
    np.add.at(taste, (users[:, None], people.interests), (1 - world.target_recency) * people.late)
    np.add.at(taste, (users, people.last), world.target_recency)
    anywhere = np.diff(clusters.cumulative, prepend=0)
    chances = (1 - world.target_noise) * taste + world.target_noise * anywhere
    result = np.zeros((len(users), len(clusters.ids) + 1))
    result[:, clusters.ids] = chances[:, owner_of(clusters)] * popularity_in_cluster(clusters)
    return result


def popularity_in_cluster(clusters: Clusters) -> np.ndarray:
    """Probability of each member once its cluster is chosen, by integrating the density."""
    shares = []
    for size, head in zip(clusters.sizes, clusters.heads, strict=True):
        below = (np.arange(size + 1) + head) ** (1 - clusters.tail)
        popular = np.diff(below) / (below[-1] - below[0])
        shares.append((1 - clusters.rare) * popular + clusters.rare / size)
    return np.concatenate(shares)


def test_knowing_the_interests_beats_popularity():
    # Else T3 and T4 would have nothing to learn beyond popularity.
    drawn = Drawn(small_world(), 2_000)
    targets = drawn.targets()
    counts = np.bincount(targets[targets != ABSENT], minlength=401).astype(float)
    popularity = ndcg_at_10(np.tile(counts, (len(targets), 1)), targets)
    oracle = ndcg_at_10(target_chances(drawn), targets)
    assert popularity > 0.02
    assert oracle > 2 * popularity


# --- The pieces, against the slow and obvious


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=40))
def test_repeats_are_those_of_a_set(pairs):
    # Else rows could keep an item twice, or a first occurrence would be drawn again.
    user, member = np.array(pairs).T
    expected = [pair in pairs[:index] for index, pair in enumerate(pairs)]
    assert repeats(user, member).tolist() == expected


def test_members_are_drawn_by_their_density():
    # Else `head`, `tail` and `rare` would not mean what the equations say.
    rng = np.random.default_rng(0)
    clusters = build_clusters(np.array([0.3, 0.7]), 40, 1.5, small_world(rare=0.1), rng)
    drawn = draw_members(clusters, np.repeat([0, 1], 100_000), rng)
    frequency = np.bincount(drawn, minlength=40) / 100_000
    assert frequency == pytest.approx(popularity_in_cluster(clusters), abs=0.006)


def test_rows_render_like_join():
    # Else ids would be written wrong; a row of targets must end where its targets do.
    cells = render_ids(1_000_000)
    rows = np.array([[0, 0, 7], [10, 999_999, 1_000_000], [5, -1, -1]])
    expected = [b"0,0,7", b"10,999999,1000000", b"5"]
    assert render_rows(cells, rows) == expected
    assert render_rows(cells, rows[:0]) == []


def test_a_full_row_from_a_tiny_catalogue_has_no_repeat():
    # Else drawing would never end, or repeat, where interests are smaller than sequences.
    world = small_world(lengths=((0.0, 99), (1.0, 100)), diversity=1.0, interests=40)
    items = Drawn(replace(world, items=200), 200).people.items
    assert all(Counter(row).most_common(1)[0][1] == 1 for row in items.tolist())
    assert items.min() >= 1


# --- Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "nose=1"], "no parameter 'nose'"),
        (["--set", "noise"], "expected NAME=NUMBER"),
        (["--set", "noise=NaN"], "expected NAME=NUMBER"),
        (["--set", 'noise="a"'], "expected NAME=NUMBER"),
        (["--set", "noise=2"], "noise must lie in 0..1"),
        (["--set", "interests=3.5"], "interests: expected an integer"),
        (["--set", "age_prior=[0.5,0.6]"], "age_prior must be positive shares"),
        (["--set", "age_prior=[]"], "age_prior must be positive shares"),
        (["--set", "age_prior=[[1]]"], "age_prior: expected a number"),
        (["--set", "lengths=[[0,0],[1,101]]"], "lengths must rise"),
        (["--set", "lengths=[1,2]"], "lengths: expected a list"),
        (["--set", "tail=1"], "tail"),
        (["--items", "100"], "items must lie in 200..9999999"),
        (["--users", "0"], "users must be 1 or more"),
        (["--seed", "-1"], "seed 0 or more"),
    ],
)
def test_an_error_is_one_clear_line(tmp_path, arguments, message):
    # Else a typing error would end in a traceback, or silently simulate another world.
    given = ["--format", "ttl", "--users", "50", "--seed", "0", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        simulate.main(given + arguments)
    assert str(stop.value).startswith("error: ")
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_not_simulated_is_left_alone(tmp_path):
    # Else a slip in --out would delete real data.
    (tmp_path / "real.csv").write_text("1,2\n")
    with pytest.raises(SystemExit, match="was not simulated"):
        simulate.main(["--format", "app", "--users", "50", "--seed", "0", "--out", str(tmp_path)])
    assert (tmp_path / "real.csv").read_text() == "1,2\n"


def test_the_command_needs_no_torch_and_takes_lists(tmp_path):
    # Else the data rule would load a library of gigabytes, or --set could not set a prior.
    command = (
        "import sys; from userbench.data.simulate import main; main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules"
    )
    arguments = ["--format", "app", "--users", "60", "--items", "500", "--seed", "4"]
    arguments += ["--set", "gender_prior=[0.5,0.5]", "noise=0.3", "--out", str(tmp_path / "app")]
    subprocess.run([sys.executable, "-c", command, *arguments], check=True)
    world = json.loads((tmp_path / "app" / "world.json").read_text())["world"]
    assert (world["gender_prior"], world["noise"], world["items"]) == ([0.5, 0.5], 0.3, 500)


def test_every_parameter_is_documented():
    # Else a parameter would be there that no page names.
    page = ROOT / "docs" / "simulated-world.md"
    text = page.read_text()
    assert [field.name for field in fields(TTL) if f"| `{field.name}` |" not in text] == []
