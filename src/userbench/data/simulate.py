"""A simulated world that writes raw TTL or App files of any size, for tests and dry runs.

A user has attributes (age, life status, gender) and a few interests that the attributes make more
or less likely. Behaviours come in sessions of one interest; an interest is a cluster of items with
skewed popularity. Some behaviours are noise, a few reveal an attribute. Targets to recommend come
from the user's late interests. `docs/simulated-world.md` has the equations and what is left out.

The folder holds `world.json` beside the raw files, so that the data says that it is simulated.
"""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

import userbench
from userbench import artifact

LENGTH = 100  # ids in a line
SLOTS = 8  # most interests a user can have
USERS_PER_CHUNK = 8192  # fixed: every chunk has its own random stream, so results depend on it
TTL_USERS, APP_USERS = 1_470_149, 1_575_837  # full scale
FLOOR_ITEMS, FLOOR_CLICK_TARGETS, FLOOR_LIKE_TARGETS = 2_000, 400, 200
LEAST_HEAD = 4.0  # a popularity profile is never steeper at its top than this
ABSENT = -1  # marks the end of a row of targets
ATTEMPTS = 6  # redraws inside the same cluster before a repeated item may come from anywhere


def is_distribution(shares: tuple[float, ...]) -> bool:
    """Whether shares are positive and sum to one."""
    return min(shares) > 0 and abs(sum(shares) - 1) < 1e-9


@dataclass(frozen=True)
class World:
    """All parameters of the story; the defaults are TTL at full scale."""

    items: int = 645_972  # size of the item catalogue
    click_targets: int = 17_879  # size of the click catalogue (TTL)
    like_targets: int = 7_539  # size of the like catalogue, a part of the click catalogue (TTL)
    interests: int = 48  # latent interests of the whole population
    diversity: float = 4.0  # mean number of interests drawn per user, 1..8
    persistence: float = 0.7  # probability that the next behaviour continues the session
    drift: float = 0.6  # how far the interest weights move from the first to the last behaviour
    noise: float = 0.15  # share of behaviours drawn from global popularity
    head: float = 0.009  # share of a cluster's items that are about equally popular, at its top
    tail: float = 1.55  # exponent of popularity below the head; higher: fewer items used, oftener
    lengths: tuple[tuple[float, int], ...] = (  # (share of users with at most n behaviours, n)
        (0.0, 0),
        (0.002, 6),
        (0.02, 9),
        (0.056, 10),
        (0.117, 12),
        (0.21, 16),
        (0.308, 22),
        (0.405, 31),
        (0.505, 45),
        (0.603, 68),
        (0.652, 84),
        (0.686, 99),
        (1.0, 100),
    )
    age_prior: tuple[float, ...] = (0.04, 0.17, 0.39, 0.2, 0.1, 0.06, 0.03, 0.01)
    life_prior: tuple[float, ...] = (0.4, 0.2, 0.15, 0.12, 0.08, 0.05)
    gender_prior: tuple[float, ...] = (0.731, 0.269)
    life_width: float = 0.5  # spread of life status at a given age; lower ties it closer to age
    age_interest: float = 1.0  # standard deviation of log preference for an interest between ages
    life_interest: float = 1.0  # the same between life statuses
    gender_interest: float = 0.5  # the same between genders
    age_reveal: float = 0.01  # share of behaviours with items typical of the user's age
    life_reveal: float = 0.01  # the same for life status
    gender_reveal: float = 0.01  # the same for gender
    age_label_noise: float = 0.1  # share of age labels that are another random user's
    life_label_noise: float = 0.1  # the same for life status
    gender_label_noise: float = 0.02  # the same for gender
    target_recency: float = 0.3  # share of targets from the interest of the last session
    target_noise: float = 0.2  # share of targets drawn from global popularity
    target_head: float = 0.009  # as `head`, for targets
    target_tail: float = 1.1  # as `tail`, for targets
    conversion_rate: float = 0.2  # share of positive CVR labels, about (App)
    conversion_strength: float = 1.5  # slope of the CVR log odds on the user's interests (App)

    def __post_init__(self) -> None:
        """Refuse values outside their range with a ValueError."""
        shares = ["persistence", "drift", "noise", "target_recency", "target_noise"]
        shares += [f"{name}_{kind}" for name in ATTRIBUTES for kind in ("reveal", "label_noise")]
        priors = ("age_prior", "life_prior", "gender_prior")
        rules = [(f"{name} must lie in 0..1", 0 <= getattr(self, name) <= 1) for name in shares]
        rules += [
            (f"{name} must be positive shares that sum to 1", is_distribution(getattr(self, name)))
            for name in priors
        ]
        reveals = self.age_reveal + self.life_reveal + self.gender_reveal
        rules += [
            (f"items must be {2 * LENGTH} or more", self.items >= 2 * LENGTH),
            ("items must have at most 7 digits", self.items < 10**7),
            ("interests must be 2 or more", self.interests >= 2),
            ("items must outnumber interests", self.items >= 2 * self.interests),
            ("like_targets must be 10 or more", self.like_targets >= 10),
            ("like_targets must be at most click_targets", self.like_targets <= self.click_targets),
            (f"diversity must lie in 1..{SLOTS}", 1 <= self.diversity <= SLOTS),
            ("noise and reveal shares must sum to less than 1", self.noise + reveals < 1),
            ("head and target_head must be positive", min(self.head, self.target_head) > 0),
            ("tail and target_tail must not be 1", self.tail != 1 and self.target_tail != 1),
            ("life_width must be positive", self.life_width > 0),
            ("conversion_rate must lie between 0 and 1", 0 < self.conversion_rate < 1),
            (
                f"lengths must rise from (0, 0) to (1, n) with n at most {LENGTH}",
                self.lengths[0] == (0, 0)
                and self.lengths[-1][0] == 1
                and self.lengths[-1][1] <= LENGTH
                and bool((np.diff(self.lengths, axis=0) > 0).all()),
            ),
        ]
        for rule, holds in rules:
            if not holds:
                raise ValueError(rule)


ATTRIBUTES = ("age", "life", "gender")
TTL = World()
APP = World(
    items=4_047,
    diversity=5.0,
    persistence=0.0,  # a set of installed apps has no sessions
    drift=0.0,
    lengths=(
        (0.0, 0),
        (0.01, 8),
        (0.05, 15),
        (0.25, 30),
        (0.5, 43),
        (0.75, 57),
        (0.95, 77),
        (0.99, 90),
        (1.0, 100),
    ),
    gender_prior=(0.55, 0.45),
    gender_label_noise=0.1,
)

CLICK_COUNTS = (4753, 2284, 1365, 808, 280)  # users with 1, 2, ... clicks in a real excerpt
LIKE_COUNTS = (1625, 126, 4, 1)


class Clusters(NamedTuple):
    """A catalogue cut into clusters of consecutive ranks, the most popular member first."""

    starts: Int[np.ndarray, " clusters"]
    sizes: Int[np.ndarray, " clusters"]
    cumulative: Float[np.ndarray, " clusters"]  # of the share of behaviours that go to a cluster
    heads: Float[np.ndarray, " clusters"]
    tail: float
    ids: Int[np.ndarray, " members"]  # public id of each member


class Population(NamedTuple):
    """What all users have in common."""

    attributes: Float[np.ndarray, " combinations"]  # cumulative prior of (age, life, gender)
    interests: Float[np.ndarray, "combinations interests"]  # cumulative, per attributes
    items: Clusters  # interests first, then one cluster per value of age, life, gender
    click: Clusters  # clusters are the interests
    like: Clusters
    conversion: Float[np.ndarray, " interests"]  # CVR log odds per unit of interest, standardised


class People(NamedTuple):
    """A chunk of users: what they did and who they are; labels count from 0."""

    items: Int[np.ndarray, "users length"]  # oldest to newest, zeros on the left
    age: Int[np.ndarray, " users"]  # as recorded, hence with label noise
    life: Int[np.ndarray, " users"]
    gender: Int[np.ndarray, " users"]
    interests: Int[np.ndarray, "users slots"]  # may repeat an interest: its weights add up
    early: Float[np.ndarray, "users slots"]  # weights at the first behaviour
    late: Float[np.ndarray, "users slots"]  # weights after the last behaviour
    last: Int[np.ndarray, " users"]  # interest of the last session


def build_population(world: World, rng: np.random.Generator) -> Population:
    """Draw the catalogues and what every combination of attributes likes."""
    joint = attribute_prior(world)
    likings = interest_distributions(world, rng)
    combinations = len(likings)
    shared = joint.reshape(-1) @ likings
    reveals = [getattr(world, f"{name}_reveal") for name in ATTRIBUTES]
    marginals = [joint.sum(axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    revealing = [share * prior for share, prior in zip(reveals, marginals, strict=True)]
    pursued = 1 - world.noise - sum(reveals)
    usage = np.concatenate([pursued * shared, *revealing])
    click = build_clusters(shared, world.click_targets, world.target_head, world.target_tail, rng)
    affinity = rng.standard_normal(world.interests)
    affinity -= shared @ affinity
    return Population(
        np.cumsum(joint.reshape(-1)),
        np.cumsum(likings, axis=1).reshape(combinations, -1),
        build_clusters(usage / usage.sum(), world.items, world.head, world.tail, rng),
        click,
        choose_members(click, world.like_targets, rng),
        affinity / np.sqrt(shared @ affinity**2),
    )


def attribute_prior(world: World) -> Float[np.ndarray, "ages lives genders"]:
    """Joint prior: life status follows age, gender is independent of both."""
    age, life = np.array(world.age_prior), np.array(world.life_prior)
    distance = np.linspace(0, 1, len(age))[:, None] - np.linspace(0, 1, len(life))
    joint = np.exp(-0.5 * (distance / world.life_width) ** 2)
    for _ in range(200):  # iterative proportional fitting: both margins become the priors
        joint *= life / joint.sum(axis=0)
        joint *= (age / joint.sum(axis=1))[:, None]
    return joint[:, :, None] * np.array(world.gender_prior)


def interest_distributions(
    world: World, rng: np.random.Generator
) -> Float[np.ndarray, "combinations interests"]:
    """How likely an interest is, for every combination of age, life status and gender."""
    popularity = 0.5 * rng.standard_normal(world.interests)
    age = smooth_effects(len(world.age_prior), world.interests, rng)
    life = smooth_effects(len(world.life_prior), world.interests, rng)
    gender = rng.standard_normal((len(world.gender_prior), world.interests))
    logits = (
        popularity
        + world.age_interest * age[:, None, None]
        + world.life_interest * life[:, None]
        + world.gender_interest * gender
    ).reshape(-1, world.interests)
    likings = np.exp(logits - logits.max(axis=1, keepdims=True))
    return likings / likings.sum(axis=1, keepdims=True)


def smooth_effects(
    values: int, interests: int, rng: np.random.Generator
) -> Float[np.ndarray, "values interests"]:
    """Standard normal preferences; those of neighbouring values correlate at one half."""
    effects = rng.standard_normal((values, interests))
    for value in range(1, values):
        effects[value] = 0.5 * effects[value - 1] + np.sqrt(0.75) * effects[value]
    return effects


def build_clusters(
    usage: Float[np.ndarray, " clusters"],
    members: int,
    head: float,
    tail: float,
    rng: np.random.Generator,
) -> Clusters:
    """Share out members by usage, and number them in a random order of first appearance."""
    sizes = np.maximum(np.floor(usage * members), usage > 0).astype(np.int64)
    sizes[np.argmax(usage)] += members - sizes.sum()
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(members) - np.repeat(starts, sizes)
    heads = np.maximum(LEAST_HEAD, head * sizes)
    weight = (rank + np.repeat(heads, sizes)) ** -tail
    total = np.add.reduceat(weight, starts[sizes > 0])
    share = weight * np.repeat(usage[sizes > 0] / total, sizes[sizes > 0])
    # Why: a member used at rate r first appears after a time ~ Exp(1) / r.
    first_seen = rng.standard_exponential(members) / share
    ids = np.empty(members, dtype=np.int64)
    ids[np.argsort(first_seen)] = np.arange(1, members + 1)
    return Clusters(starts, sizes, np.cumsum(usage), heads, tail, ids)


def choose_members(clusters: Clusters, members: int, rng: np.random.Generator) -> Clusters:
    """Keep a random part of a catalogue; ids and order of popularity stay."""
    chosen = np.sort(rng.choice(len(clusters.ids), members, replace=False))
    owner = np.searchsorted(clusters.starts, chosen, side="right") - 1
    sizes = np.bincount(owner, minlength=len(clusters.sizes))
    usage = np.diff(clusters.cumulative, prepend=0.0) * (sizes > 0)
    return clusters._replace(
        starts=np.cumsum(sizes) - sizes,
        sizes=sizes,
        cumulative=np.cumsum(usage / usage.sum()),
        ids=clusters.ids[chosen],
    )


def draw_people(
    world: World, population: Population, users: int, rng: np.random.Generator
) -> People:
    """Draw users and their behaviours."""
    combination = draw_rows(population.attributes, rng.random(users))
    shape = (len(world.age_prior), len(world.life_prior), len(world.gender_prior))
    attributes = np.stack(np.unravel_index(combination, shape))
    recorded = attributes.copy()
    others = np.stack(np.unravel_index(draw_rows(population.attributes, rng.random(users)), shape))
    for index, name in enumerate(ATTRIBUTES):
        wrong = rng.random(users) < getattr(world, f"{name}_label_noise")
        recorded[index, wrong] = others[index, wrong]

    flat = (population.interests + np.arange(len(population.interests))[:, None]).reshape(-1)
    wanted = combination[:, None] + rng.random((users, SLOTS))
    interests = np.searchsorted(flat, wanted, side="right") - combination[:, None] * world.interests
    interests = np.minimum(interests, world.interests - 1)
    slots = 1 + rng.binomial(SLOTS - 1, (world.diversity - 1) / (SLOTS - 1), users)
    weights = rng.standard_exponential((2, users, SLOTS)) * (np.arange(SLOTS) < slots[:, None])
    early, target = weights / weights.sum(axis=2, keepdims=True)
    late = (1 - world.drift) * early + world.drift * target

    shares, values = np.array(world.lengths).T
    length = np.ceil(np.interp(rng.random(users), shares, values)).astype(np.int64)
    length = np.maximum(length, 1)
    end = np.cumsum(length)
    row = np.repeat(np.arange(users), length)
    position = np.arange(end[-1]) - np.repeat(end - length, length)

    interest = draw_sessions(world, row, position, length, interests, early, late, rng)
    cluster = interest.copy()
    kind = rng.random(end[-1])
    low = world.noise
    cluster[kind < low] = draw_rows(population.items.cumulative, rng.random((kind < low).sum()))
    first = world.interests
    for index, name in enumerate(ATTRIBUTES):
        high = low + getattr(world, f"{name}_reveal")
        revealing = np.flatnonzero((kind >= low) & (kind < high))
        cluster[revealing] = first + attributes[index, row[revealing]]
        low, first = high, first + shape[index]

    items = np.zeros((users, LENGTH), dtype=np.int64)
    items[np.arange(LENGTH) >= LENGTH - length[:, None]] = population.items.ids[
        draw_without_repeats(population.items, row, cluster, rng)
    ]
    return People(items, *recorded, interests, early, late, interest[end - 1])


def draw_rows(cumulative, uniform):
    """Index of the cell of a cumulative distribution that each uniform number falls into."""
    found = np.searchsorted(cumulative, uniform, side="right")
    return np.minimum(found, len(cumulative) - 1)


def draw_sessions(world, row, position, length, interests, early, late, rng):
    """Interest of each behaviour: a session keeps its interest, the next draws one anew."""
    begins = (position == 0) | (rng.random(len(row)) >= world.persistence)
    owner = row[begins]
    progress = position[begins] / length[owner]
    cumulative = np.cumsum(np.stack([early, late]), axis=2)
    moment = (rng.random(len(owner)) < progress).astype(np.int64)
    slot = (cumulative[moment, owner] <= rng.random(len(owner))[:, None]).sum(axis=1)
    slot = np.minimum(slot, SLOTS - 1)
    return interests[owner, slot][np.cumsum(begins) - 1]


def draw_without_repeats(clusters, row, cluster, rng):
    """Draw a member of each given cluster; no row gets a member twice.

    A repeated member is drawn again, from the same cluster at first, then from any.
    """
    cluster = cluster.copy()
    member = draw_members(clusters, cluster, rng)
    suspects = np.arange(len(row))
    for attempt in count():
        again = suspects[repeats(row[suspects], member[suspects])]
        if not again.size:
            return member
        if attempt >= ATTEMPTS:
            cluster[again] = draw_rows(clusters.cumulative, rng.random(again.size))
        member[again] = draw_members(clusters, cluster[again], rng)
        touched = np.zeros(row[-1] + 1, dtype=bool)
        touched[row[again]] = True
        suspects = suspects[touched[row[suspects]]]


def draw_members(clusters, cluster, rng):
    """Draw a member of each given cluster: the density at rank r is (r + head) ** -tail."""
    power = 1 - clusters.tail
    low = clusters.heads**power
    span = (clusters.sizes + clusters.heads) ** power - low
    reached = low[cluster] + rng.random(len(cluster)) * span[cluster]
    rank = reached ** (1 / power) - clusters.heads[cluster]
    rank = np.minimum(rank.astype(np.int64), clusters.sizes[cluster] - 1)
    return clusters.starts[cluster] + rank


def repeats(row, member):
    """Which entries have the same row and member as an earlier entry."""
    entry_bits = int(len(row)).bit_length()
    member_bits = int(member.max(initial=0)).bit_length()
    key = ((row << member_bits) | member) << entry_bits | np.arange(len(row))
    key.sort()
    same = key[1:] >> entry_bits == key[:-1] >> entry_bits
    found = np.zeros(len(row), dtype=bool)
    found[key[1:][same] & ((1 << entry_bits) - 1)] = True
    return found


def draw_targets(world, clusters, counts, people, rng):
    """Draw each user's targets from late interests times popularity; -1 fills short rows."""
    users = len(people.items)
    chances = np.cumsum(counts) / sum(counts)
    number = 1 + draw_rows(chances, rng.random(users))
    row = np.repeat(np.arange(users), number)
    slot = (np.cumsum(people.late, axis=1)[row] <= rng.random(len(row))[:, None]).sum(axis=1)
    cluster = people.interests[row, np.minimum(slot, SLOTS - 1)]
    recent = rng.random(len(row)) < world.target_recency
    cluster[recent] = people.last[row[recent]]
    anywhere = (rng.random(len(row)) < world.target_noise) | (clusters.sizes[cluster] == 0)
    cluster[anywhere] = draw_rows(clusters.cumulative, rng.random(anywhere.sum()))
    targets = np.full((users, len(counts)), ABSENT)
    targets[np.arange(len(counts)) < number[:, None]] = clusters.ids[
        draw_without_repeats(clusters, row, cluster, rng)
    ]
    return targets


def draw_conversions(world, population, people, rng):
    """Draw CVR labels: a logistic model of how much a user cares for the converting interests."""
    weight = (people.early + people.late) / 2
    score = (weight * population.conversion[people.interests]).sum(axis=1)
    score /= np.sqrt((weight**2).sum(axis=1))
    # Why: E[sigmoid(b + s x)] for x ~ N(0, 1) is about sigmoid(b / sqrt(1 + pi s^2 / 8)).
    slope = world.conversion_strength
    odds = np.log(world.conversion_rate / (1 - world.conversion_rate))
    bias = odds * np.sqrt(1 + np.pi * slope**2 / 8)
    chance = 1 / (1 + np.exp(-(bias + slope * score)))
    return (rng.random(len(chance)) < chance).astype(np.int64)


def ttl_tails(world, population, people, rng):
    """What stands behind the sequence in each TTL task file; -1 is nothing."""
    return {
        "original_desen_age.csv": people.age[:, None] + 1,
        "original_desen_lifestatus.csv": people.life[:, None] + 1,
        "original_desen_gender.csv": people.gender[:, None] + 1,
        "original_desen_finetune_click_nouserID.csv": draw_targets(
            world, population.click, CLICK_COUNTS, people, rng
        ),
        "original_desen_finetune_like_nouserID.csv": draw_targets(
            world, population.like, LIKE_COUNTS, people, rng
        ),
    }


def app_tails(world, population, people, rng):
    """What stands behind the sequence in each App task file."""
    return {
        "app_gender.csv": people.gender[:, None],
        "app_cvr.csv": draw_conversions(world, population, people, rng)[:, None],
    }


class Format(NamedTuple):
    """The files of a corpus: the one of all sequences, and the share of users in each task."""

    pretrain: str
    labelled: dict[str, float]
    tails: Callable[[World, Population, People, np.random.Generator], dict[str, np.ndarray]]


FORMATS = {
    "ttl": Format(
        "original_desen_pretrain.csv",
        {
            "original_desen_age.csv": 1_470_147 / TTL_USERS,
            "original_desen_lifestatus.csv": 1_020_277 / TTL_USERS,
            "original_desen_gender.csv": 0.9984,
            "original_desen_finetune_click_nouserID.csv": 1_397_197 / TTL_USERS,
            "original_desen_finetune_like_nouserID.csv": 255_646 / TTL_USERS,
        },
        ttl_tails,
    ),
    "app": Format(
        "app_pretrain.csv",
        {"app_gender.csv": 1_178_603 / APP_USERS, "app_cvr.csv": 564_940 / APP_USERS},
        app_tails,
    ),
}


def choose_world(format: str, users: int, **changes) -> World:
    """The world of a format for this many users: catalogues scale with the users, then `changes`.

    ValueError for an unknown parameter and for a value of the wrong type or outside its range.
    """
    world = APP
    if format == "ttl":
        scale = users / TTL_USERS
        items = changes.get("items", max(FLOOR_ITEMS, round(TTL.items * scale)))
        world = replace(
            TTL,
            items=items,
            click_targets=max(FLOOR_CLICK_TARGETS, round(TTL.click_targets * scale)),
            like_targets=max(FLOOR_LIKE_TARGETS, round(TTL.like_targets * scale)),
            
        )
    for name, value in changes.items():
        if not hasattr(world, name):
            known = ", ".join(field.name for field in fields(world))
            raise ValueError(f"the world has no parameter {name!r}. Choose from: {known}")
        default = getattr(world, name)
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} must be {type(default).__name__}, got {value!r}")
    return replace(world, **changes)


def simulate(format: str, world: World, users: int, seed: int, out: Path) -> None:
    """Write the raw files of a format and `world.json` into the folder `out`, whole or not at all.

    ValueError when users or seed are out of range, or `out` holds something else.
    """
    if users < 1 or seed < 0:
        raise ValueError(f"users must be 1 or more and seed 0 or more, got {users} and {seed}")
    if out.exists() and not (out / "world.json").is_file():
        raise ValueError(f"{out}: exists and is not a simulated corpus. Choose another --out")
    facts = FORMATS[format]
    population = build_population(world, np.random.default_rng([seed, 0]))
    cells = render_cells(max(world.items, world.click_targets))
    with artifact.atomic(out) as folder, ExitStack() as files:
        folder.mkdir()
        pretrain, *tasks = [
            files.enter_context((folder / name).open("wb"))
            for name in (facts.pretrain, *facts.labelled)
        ]
        for first in range(0, users, USERS_PER_CHUNK):
            end = min(first + USERS_PER_CHUNK, users)
            rng = np.random.default_rng([seed, 1, first])
            people = draw_people(world, population, end - first, rng)
            lines = render_lines(cells, people.items)
            pretrain.write(b"\n".join(lines) + b"\n")
            tails = facts.tails(world, population, people, rng)
            for file, (name, share) in zip(tasks, facts.labelled.items(), strict=True):
                # Why: rounding the running total makes the count of the whole file exact.
                holders = round(share * end) - round(share * first)
                chosen = np.sort(rng.choice(end - first, holders, replace=False))
                ends = render_lines(cells, tails[name][chosen])
                pairs = zip(chosen.tolist(), ends, strict=True)
                file.write(b"".join([b"%b,,%b\n" % (lines[user], tail) for user, tail in pairs]))
        artifact.write_json(
            folder / "world.json",
            {
                "simulated": True,
                "format": format,
                "users": users,
                "seed": seed,
                "userbench": userbench.__version__,
                "world": asdict(world),
            },
        )


def render_cells(largest):
    """Text of every id as 8 bytes, `,id` and zero bytes; the last cell (ABSENT) is all zeros."""
    texts = [b",%d" % number for number in range(largest + 1)] + [b""]
    return np.array(texts, dtype="S8").view(np.uint64)


def render_lines(cells, rows):
    """Text of each row, ids separated by commas."""
    if not len(rows):
        return []
    block = np.empty((len(rows), rows.shape[1] + 1), dtype=np.uint64)
    block[:, 0] = np.frombuffer(b"\n".ljust(8, b"\0"), dtype=np.uint64)
    block[:, 1:] = cells[rows]
    return block.tobytes().translate(None, b"\0").split(b"\n,")[1:]


def parse_change(text: str):
    """Name and value of `name=value`, the value in JSON; ValueError when it is neither."""
    name, equals, value = text.partition("=")
    try:
        content = json.loads(value)
    except json.JSONDecodeError:
        equals = ""
    if not equals:
        raise ValueError(f"--set {text}: expected name=value with a number or a JSON list")
    return name, as_tuple(content)


def as_tuple(content):
    """JSON lists as tuples, at any depth."""
    return tuple(map(as_tuple, content)) if isinstance(content, list) else content


def main() -> None:
    """Command line: see the module docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m userbench.data.simulate",
        description="Write raw TTL or App files of a simulated world.",
    )
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, help="size of the catalogue; default: by users")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", action="extend")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        changes = dict(parse_change(text) for text in args.set)
        if args.items is not None:
            changes["items"] = args.items
        world = choose_world(args.format, args.users, **changes)
        simulate(args.format, world, args.users, args.seed, args.out)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
