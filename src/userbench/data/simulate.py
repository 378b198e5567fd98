"""A simulated world that writes raw TTL or App files of any size, for tests and dry runs.

A user has attributes (age, life status, gender) and a few interests, which the attributes make
more or less likely. Behaviours come in sessions of one interest; an interest is a cluster of items
with skewed popularity. Some behaviours are noise, a few reveal an attribute. Targets to recommend
come from the user's late interests. `docs/simulated-world.md` has the equations, what each knob
moves and what is left out.

The folder holds `world.json` beside the raw files, so that the data says that it is simulated.
"""

import argparse
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

import userbench
from userbench.errors import command
from userbench.results import artifact

TTL_USERS, APP_USERS = 1_470_149, 1_575_837  # full scale
WIDTH = 100  # ids in a line
SLOTS = 8  # most interests a user can have
LEAST_HEAD = 4.0  # no popularity profile is steeper at its top than this
ATTEMPTS = 6  # redraws inside the same cluster before a repeated item may come from any
ABSENT = -1  # fills the rows of users with fewer targets than others
# Why fixed: every chunk has a random stream of its own, so the files depend on it.
USERS_PER_CHUNK = 8192
# Users with 1, 2, ... targets in a real excerpt.
CLICK_COUNTS = (4753, 2284, 1365, 808, 280)
LIKE_COUNTS = (1625, 126, 4, 1)
ATTRIBUTES = ("age", "life", "gender")
Value = int | float | tuple  # of a parameter of the world


@dataclass(frozen=True)
class World:
    """All parameters of the story; the defaults are TTL at full scale."""

    items: int = 645_972  # size of the item catalogue
    click_targets: int = 17_879  # size of the click catalogue (TTL)
    like_targets: int = 7_539  # size of the like catalogue, a part of the click catalogue (TTL)
    interests: int = 48  # latent interests of the whole population
    diversity: float = 4.0  # mean number of interests drawn per user, 1..8
    persistence: float = 0.7  # probability that the next behaviour continues the session
    drift: float = 0.6  # how far interest weights move from the first to the last behaviour
    noise: float = 0.15  # share of behaviours drawn from global popularity
    head: float = 0.0007  # share of a cluster's members that are about as popular as its first
    tail: float = 1.33  # exponent of popularity below the head; higher: fewer items, used oftener
    rare: float = 0.04  # share of draws in a cluster that take any member, so that all are used
    lengths: tuple[tuple[float, float], ...] = (  # (share of users with n behaviours or fewer, n)
        (0.0, 0.0),
        (0.002, 6.0),
        (0.02, 9.0),
        (0.056, 10.0),
        (0.117, 12.0),
        (0.21, 16.0),
        (0.307, 22.0),
        (0.405, 31.0),
        (0.504, 45.0),
        (0.603, 68.0),
        (0.652, 84.0),
        (0.686, 99.0),
        (1.0, 100.0),
    )
    age_prior: tuple[float, ...] = (0.04, 0.17, 0.39, 0.2, 0.1, 0.06, 0.03, 0.01)
    life_prior: tuple[float, ...] = (0.4, 0.2, 0.15, 0.12, 0.08, 0.05)
    gender_prior: tuple[float, ...] = (0.731, 0.269)
    life_width: float = 0.35  # spread of life status at a given age; lower ties it closer to age
    age_interest: float = 1.2  # standard deviation of the log liking of an interest over ages
    life_interest: float = 0.8  # the same over life statuses
    gender_interest: float = 0.7  # the same over genders
    age_reveal: float = 0.015  # share of behaviours with items typical of the user's age
    life_reveal: float = 0.01  # the same for life status
    gender_reveal: float = 0.025  # the same for gender
    age_label_noise: float = 0.05  # share of age labels replaced by a random user's
    life_label_noise: float = 0.1  # the same for life status
    gender_label_noise: float = 0.02  # the same for gender
    target_recency: float = 0.3  # share of targets from the interest of the last session
    target_noise: float = 0.2  # share of targets drawn from global popularity
    target_tail: float = 1.05  # as `tail`, for targets
    conversion_rate: float = 0.2  # share of positive CVR labels, nearly (App)
    conversion_strength: float = 1.2  # slope of the CVR log odds on the user's interests (App)
    age_labelled: float = 1_470_147 / TTL_USERS  # share of the users whose age is known
    life_labelled: float = 1_020_277 / TTL_USERS  # the same for life status
    gender_labelled: float = 0.9984  # the same for gender
    click_labelled: float = 1_397_197 / TTL_USERS  # share of the users with clicks to recommend
    like_labelled: float = 255_646 / TTL_USERS  # the same for thumb-ups
    cvr_labelled: float = 564_940 / APP_USERS  # share of the users with a CVR label (App)

    def __post_init__(self) -> None:
        """Refuse a value outside its range with a ValueError."""
        shares = ["persistence", "drift", "noise", "rare", "target_recency", "target_noise"]
        shares += [f"{name}_{kind}" for name in ATTRIBUTES for kind in ("reveal", "label_noise")]
        labelled = [f.name for f in fields(self) if f.name.endswith("_labelled")]
        priors = [f"{name}_prior" for name in ATTRIBUTES]
        strengths = [f"{name}_interest" for name in ATTRIBUTES] + ["conversion_strength"]
        clusters = self.interests + sum(len(getattr(self, name)) for name in priors)
        reveals = sum(getattr(self, f"{name}_reveal") for name in ATTRIBUTES)
        rules = {
            **{f"{name} must lie in 0..1": 0 <= getattr(self, name) <= 1 for name in shares},
            **{
                f"{name} must be above 0 and at most 1": 0 < getattr(self, name) <= 1
                for name in labelled
            },
            **{
                f"{name} must be positive shares that sum to 1": is_prior(getattr(self, name))
                for name in priors
            },
            **{f"{name} must not be negative": getattr(self, name) >= 0 for name in strengths},
            f"items must lie in {2 * WIDTH}..9999999": 2 * WIDTH <= self.items < 10**7,
            f"items must be {clusters} or more, one per cluster": self.items >= clusters,
            "interests must be 2 or more": self.interests >= 2,
            "like_targets must lie in 10..click_targets": 10
            <= self.like_targets
            <= self.click_targets,
            "click_targets must lie in interests..9999999": self.interests
            <= self.click_targets
            < 10**7,
            f"diversity must lie in 1..{SLOTS}": 1 <= self.diversity <= SLOTS,
            "noise and reveals must sum to less than 1": self.noise + reveals < 1,
            "head must be positive": self.head > 0,
            "tail and target_tail must be positive and not 1": min(self.tail, self.target_tail) > 0
            and 1 not in (self.tail, self.target_tail),
            "life_width must be 0.1 or more": self.life_width >= 0.1,
            "conversion_rate must lie between 0 and 1": 0 < self.conversion_rate < 1,
            f"lengths must rise from [0, n] to [1, m], m at most {WIDTH}": is_quantile_table(
                self.lengths
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)


def is_prior(shares: tuple[float, ...]) -> bool:
    """Whether shares are positive and sum to one."""
    return min(shares, default=0) > 0 and abs(sum(shares) - 1) < 1e-9


def is_quantile_table(table: tuple[tuple[float, ...], ...]) -> bool:
    """Whether (share, length) pairs rise from nobody to everybody."""
    if len(table) < 2 or {len(pair) for pair in table} != {2}:
        return False
    (first, least), (last, most) = table[0], table[-1]
    rises = bool((np.diff(table, axis=0) > 0).all())
    return rises and first == 0 and last == 1 and least >= 0 and most <= WIDTH


TTL = World()
APP = World(
    items=4_047,
    diversity=5.0,
    persistence=0.0,  # a set of installed apps has no sessions
    drift=0.0,
    lengths=(
        (0.0, 4.0),
        (0.01, 8.0),
        (0.05, 14.0),
        (0.25, 29.0),
        (0.5, 43.0),
        (0.75, 56.0),
        (0.95, 76.0),
        (0.99, 89.0),
        (1.0, 100.0),
    ),
    gender_prior=(0.55, 0.45),
    gender_interest=0.6,
    gender_reveal=0.01,
    gender_label_noise=0.08,
    gender_labelled=1_178_603 / APP_USERS,
)


class Clusters(NamedTuple):
    """A catalogue cut into clusters: consecutive members, the most popular of a cluster first."""

    starts: Int[np.ndarray, " clusters"]
    sizes: Int[np.ndarray, " clusters"]
    heads: Float[np.ndarray, " clusters"]  # ranks about as popular as the first
    tail: float
    rare: float
    cumulative: Float[np.ndarray, " clusters"]  # of each cluster's share of all use
    ids: Int[np.ndarray, " members"]  # as written in the files


class Population(NamedTuple):
    """What all users have in common."""

    attributes: Float[np.ndarray, " combinations"]  # cumulative prior of (age, life, gender)
    likings: Float[np.ndarray, "combinations interests"]  # cumulative over interests
    items: Clusters  # the interests, then one cluster per age, life status and gender
    click: Clusters  # the interests
    like: Clusters
    conversion: Float[np.ndarray, " interests"]  # converting power; mean 0, variance 1 over users


class People(NamedTuple):
    """Some users: what they did, their labels counted from 0, and their hidden interests."""

    items: Int[np.ndarray, "users width"]  # ids, oldest to newest, zeros on the left
    age: Int[np.ndarray, " users"]  # as recorded, hence with label noise
    life: Int[np.ndarray, " users"]
    gender: Int[np.ndarray, " users"]
    interests: Int[np.ndarray, "users slots"]  # one may come twice: then its weights add up
    early: Float[np.ndarray, "users slots"]  # weights at the first behaviour
    late: Float[np.ndarray, "users slots"]  # weights after the last behaviour
    last: Int[np.ndarray, " users"]  # interest of the last session


def build_population(world: World, rng: np.random.Generator) -> Population:
    """Draw the catalogues, and what users of every combination of attributes like."""
    prior = attribute_prior(world)
    likings = draw_likings(world, rng)
    interest_usage = prior.reshape(-1) @ likings
    reveals = [getattr(world, f"{name}_reveal") for name in ATTRIBUTES]
    margins = [prior.sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    typical_usage = [reveal * margin for reveal, margin in zip(reveals, margins, strict=True)]
    pursued = 1 - world.noise - sum(reveals)
    usage = np.concatenate([pursued * interest_usage, *typical_usage])
    conversion = rng.standard_normal(world.interests)
    conversion -= interest_usage @ conversion
    conversion /= np.sqrt(interest_usage @ conversion**2)
    click = build_clusters(interest_usage, world.click_targets, world.target_tail, world, rng)
    return Population(
        np.cumsum(prior.reshape(-1)),
        np.cumsum(likings, axis=1),
        build_clusters(usage / usage.sum(), world.items, world.tail, world, rng),
        click,
        choose_members(click, world.like_targets, rng),
        conversion,
    )


def attribute_prior(world: World) -> Float[np.ndarray, "ages lives genders"]:
    """Joint prior: life status goes with age, gender is independent of both."""
    age, life = np.array(world.age_prior), np.array(world.life_prior)
    distance = np.linspace(0, 1, len(age))[:, None] - np.linspace(0, 1, len(life))
    joint = np.exp(-0.5 * (distance / world.life_width) ** 2)
    for _ in range(100):  # iterative proportional fitting: the margins become the priors
        joint *= life / joint.sum(axis=0)
        joint *= (age / joint.sum(axis=1))[:, None]
    return joint[:, :, None] * np.array(world.gender_prior)


def draw_likings(
    world: World, rng: np.random.Generator
) -> Float[np.ndarray, "combinations interests"]:
    """Draw how likely each interest is for every combination of age, life status and gender."""
    popularity = 0.5 * rng.standard_normal(world.interests)
    age = neighbouring_normals(len(world.age_prior), world.interests, rng)
    life = neighbouring_normals(len(world.life_prior), world.interests, rng)
    gender = rng.standard_normal((len(world.gender_prior), world.interests))
    log_liking = (
        popularity
        + world.age_interest * age[:, None, None]
        + world.life_interest * life[:, None]
        + world.gender_interest * gender
    ).reshape(-1, world.interests)
    likings = np.exp(log_liking - log_liking.max(axis=1, keepdims=True))
    return likings / likings.sum(axis=1, keepdims=True)


def neighbouring_normals(
    values: int, interests: int, rng: np.random.Generator
) -> Float[np.ndarray, "values interests"]:
    """Draw standard normals that correlate at one half between neighbouring values."""
    normals = rng.standard_normal((values, interests))
    for value in range(1, values):
        normals[value] = 0.5 * normals[value - 1] + math.sqrt(0.75) * normals[value]
    return normals


def build_clusters(
    usage: Float[np.ndarray, " clusters"],
    members: int,
    tail: float,
    world: World,
    rng: np.random.Generator,
) -> Clusters:
    """Make clusters as large as they are used, ids in a random order of first appearance."""
    used = usage > 0
    sizes = used + np.floor(usage * (members - used.sum())).astype(np.int64)
    sizes[np.argmax(usage)] += members - sizes.sum()
    starts = np.cumsum(sizes) - sizes
    heads = np.maximum(LEAST_HEAD, world.head * sizes)
    rank = np.arange(members) - np.repeat(starts, sizes)
    density = (rank + np.repeat(heads, sizes)) ** -tail
    total = np.repeat(np.add.reduceat(density, starts[used]), sizes[used])
    popularity = (1 - world.rare) * density / total + world.rare / np.repeat(sizes, sizes)
    rate = np.repeat(usage, sizes) * popularity
    ids = np.empty(members, dtype=np.int64)
    # Why: a member used at rate r first appears after a time that is exponential with mean 1 / r.
    ids[np.argsort(rng.standard_exponential(members) / rate)] = np.arange(1, members + 1)
    return Clusters(starts, sizes, heads, tail, world.rare, np.cumsum(usage), ids)


def choose_members(clusters: Clusters, members: int, rng: np.random.Generator) -> Clusters:
    """Keep random members of a catalogue; their ids and order of popularity stay."""
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
    """Draw users with their attributes, interests and behaviours."""
    combination = pick(population.attributes, rng.random(users))
    shape = tuple(len(getattr(world, f"{name}_prior")) for name in ATTRIBUTES)
    attributes = np.unravel_index(combination, shape)
    others = np.unravel_index(pick(population.attributes, rng.random(users)), shape)
    recorded = [
        np.where(rng.random(users) < getattr(world, f"{name}_label_noise"), other, own)
        for name, own, other in zip(ATTRIBUTES, attributes, others, strict=True)
    ]

    # One search for all combinations: row i of the cumulative likings is shifted by i.
    shifted = (population.likings + np.arange(len(population.likings))[:, None]).reshape(-1)
    found = pick(shifted, combination[:, None] + rng.random((users, SLOTS)))
    interests = np.clip(found - combination[:, None] * world.interests, 0, world.interests - 1)
    slots = 1 + rng.binomial(SLOTS - 1, (world.diversity - 1) / (SLOTS - 1), users)
    weights = rng.standard_exponential((2, users, SLOTS)) * (np.arange(SLOTS) < slots[:, None])
    early, aim = weights / weights.sum(axis=2, keepdims=True)
    late = (1 - world.drift) * early + world.drift * aim

    shares, values = np.array(world.lengths).T
    lengths = np.ceil(np.interp(rng.random(users), shares, values)).astype(np.int64)
    lengths = np.maximum(lengths, 1)
    ends = np.cumsum(lengths)
    user = np.repeat(np.arange(users), lengths)
    position = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)

    begins = (position == 0) | (rng.random(len(user)) >= world.persistence)
    owner = user[begins]
    is_late = rng.random(len(owner)) < position[begins] / lengths[owner]
    weight = np.where(is_late[:, None], late[owner], early[owner])
    interest = draw_interests(interests[owner], weight, rng)[np.cumsum(begins) - 1]

    cluster = interest.copy()
    kind = rng.random(len(user))
    low, first = world.noise, world.interests
    cluster[kind < low] = pick(population.items.cumulative, rng.random((kind < low).sum()))
    for name, own in zip(ATTRIBUTES, attributes, strict=True):
        high = low + getattr(world, f"{name}_reveal")
        revealing = (low <= kind) & (kind < high)
        cluster[revealing] = first + own[user[revealing]]
        low, first = high, first + len(getattr(world, f"{name}_prior"))

    items = np.zeros((users, WIDTH), dtype=np.int64)
    members = draw_distinct(population.items, user, cluster, rng)
    items[np.arange(WIDTH) >= WIDTH - lengths[:, None]] = population.items.ids[members]
    return People(items, *recorded, interests, early, late, interest[ends - 1])


def draw_targets(
    world: World,
    clusters: Clusters,
    counts: tuple[int, ...],
    people: People,
    rng: np.random.Generator,
) -> Int[np.ndarray, "users most"]:
    """Draw ids of each user's targets, from late interests times popularity; ABSENT fills rows.

    `counts` is how many users in all have 1, 2, ... targets.
    """
    users = len(people.items)
    number = 1 + pick(np.cumsum(counts) / sum(counts), rng.random(users))
    user = np.repeat(np.arange(users), number)
    cluster = draw_interests(people.interests[user], people.late[user], rng)
    recent = rng.random(len(user)) < world.target_recency
    cluster[recent] = people.last[user[recent]]
    anywhere = (rng.random(len(user)) < world.target_noise) | (clusters.sizes[cluster] == 0)
    cluster[anywhere] = pick(clusters.cumulative, rng.random(anywhere.sum()))
    targets = np.full((users, len(counts)), ABSENT)
    members = draw_distinct(clusters, user, cluster, rng)
    targets[np.arange(len(counts)) < number[:, None]] = clusters.ids[members]
    return targets


def draw_conversions(
    world: World, population: Population, people: People, rng: np.random.Generator
) -> Int[np.ndarray, " users"]:
    """Draw CVR labels, 0 or 1, from a logistic model of how far the user's interests convert."""
    weights = (people.early + people.late) / 2
    score = (weights * population.conversion[people.interests]).sum(axis=1)
    score /= np.sqrt((weights**2).sum(axis=1))
    # Why: for x ~ N(0, 1), E[sigmoid(b + s x)] is about sigmoid(b / sqrt(1 + pi s^2 / 8)).
    slope = world.conversion_strength
    log_odds = math.log(world.conversion_rate / (1 - world.conversion_rate))
    bias = log_odds * math.sqrt(1 + math.pi * slope**2 / 8)
    chance = 1 / (1 + np.exp(-(bias + slope * score)))
    return (rng.random(len(chance)) < chance).astype(np.int64)


def pick(
    cumulative: Float[np.ndarray, " cells"], uniform: Float[np.ndarray, "*any"]
) -> Int[np.ndarray, "*any"]:
    """Cell of a cumulative distribution that each uniform number falls into."""
    return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)


def draw_interests(
    interests: Int[np.ndarray, "draws slots"],
    weights: Float[np.ndarray, "draws slots"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " draws"]:
    """Draw one of the interests of each row by its weights."""
    passed = np.cumsum(weights, axis=1) <= rng.random(len(weights))[:, None]
    slot = np.minimum(passed.sum(axis=1), interests.shape[1] - 1)
    return interests[np.arange(len(interests)), slot]


def draw_distinct(
    clusters: Clusters,
    user: Int[np.ndarray, " draws"],
    cluster: Int[np.ndarray, " draws"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " draws"]:
    """Draw a member of each given cluster; no user gets a member twice.

    A repeated member is drawn again, from the same cluster at first, then from any.
    """
    member = draw_members(clusters, cluster, rng)
    suspects = np.arange(len(user))
    attempts = 0
    while (again := suspects[repeats(user[suspects], member[suspects])]).size:
        attempts += 1
        wanted = cluster[again]
        if attempts > ATTEMPTS:
            wanted = pick(clusters.cumulative, rng.random(len(again)))
        member[again] = draw_members(clusters, wanted, rng)
        touched = np.zeros(user[-1] + 1, dtype=bool)
        touched[user[again]] = True
        suspects = suspects[touched[user[suspects]]]
    return member


def draw_members(
    clusters: Clusters, cluster: Int[np.ndarray, " draws"], rng: np.random.Generator
) -> Int[np.ndarray, " draws"]:
    """Draw a member of each given cluster: any, or at rank r with density (r + head) ** -tail."""
    size, head = clusters.sizes[cluster], clusters.heads[cluster]
    power = 1 - clusters.tail
    low, high = clusters.heads**power, (clusters.heads + clusters.sizes) ** power
    is_rare = rng.random(len(cluster)) < clusters.rare
    uniform = rng.random(len(cluster))
    popular = (low[cluster] + uniform * (high - low)[cluster]) ** (1 / power) - head
    rank = np.where(is_rare, uniform * size, popular).astype(np.int64)
    return clusters.starts[cluster] + np.clip(rank, 0, size - 1)


def repeats(
    user: Int[np.ndarray, " draws"], member: Int[np.ndarray, " draws"]
) -> Bool[np.ndarray, " draws"]:
    """Which draws have the same user and member as an earlier one."""
    draws = len(user)
    draw_bits, member_bits = draws.bit_length(), int(member.max(initial=0)).bit_length()
    # Why: sorting keys that carry their own index is several times faster than a stable argsort.
    keys = ((user << member_bits | member) << draw_bits) | np.arange(draws)
    keys.sort()
    same = keys[1:] >> draw_bits == keys[:-1] >> draw_bits
    found = np.zeros(draws, dtype=bool)
    found[keys[1:][same] & ((1 << draw_bits) - 1)] = True
    return found


Tails = dict[str, Int[np.ndarray, "users most"]]


def ttl_tails(
    world: World, population: Population, people: People, rng: np.random.Generator
) -> Tails:
    """Label or targets of every user, by TTL task file."""
    click = draw_targets(world, population.click, CLICK_COUNTS, people, rng)
    like = draw_targets(world, population.like, LIKE_COUNTS, people, rng)
    return {
        "original_desen_age.csv": people.age[:, None] + 1,
        "original_desen_lifestatus.csv": people.life[:, None] + 1,
        "original_desen_gender.csv": people.gender[:, None] + 1,
        "original_desen_finetune_click_nouserID.csv": click,
        "original_desen_finetune_like_nouserID.csv": like,
    }


def app_tails(
    world: World, population: Population, people: People, rng: np.random.Generator
) -> Tails:
    """Label of every user, by App task file."""
    return {
        "app_gender.csv": people.gender[:, None],
        "app_cvr.csv": draw_conversions(world, population, people, rng)[:, None],
    }


class Format(NamedTuple):
    """Facts about a corpus: its world, its files and how many users are in them."""

    world: World
    users: int  # at full scale
    least: dict[str, int]  # catalogues that shrink with the users, down to this size
    pretrain: str
    labelled: dict[str, str]  # task files, and the parameter that says which share of users has one
    tails: Callable[[World, Population, People, np.random.Generator], Tails]


FORMATS = {
    "ttl": Format(
        TTL,
        TTL_USERS,
        {"items": 2_000, "click_targets": 400, "like_targets": 200},
        "original_desen_pretrain.csv",
        {
            "original_desen_age.csv": "age_labelled",
            "original_desen_lifestatus.csv": "life_labelled",
            "original_desen_gender.csv": "gender_labelled",
            "original_desen_finetune_click_nouserID.csv": "click_labelled",
            "original_desen_finetune_like_nouserID.csv": "like_labelled",
        },
        ttl_tails,
    ),
    "app": Format(
        APP,
        APP_USERS,
        {},
        "app_pretrain.csv",
        {"app_gender.csv": "gender_labelled", "app_cvr.csv": "cvr_labelled"},
        app_tails,
    ),
}


def choose_world(format: str, users: int, **changes: Value) -> World:
    """The world of a format at a number of users: catalogues to scale, then the given changes.

    ValueError for an unknown format or parameter, and for a value that does not fit.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}. Choose one of: {', '.join(FORMATS)}")
    facts = FORMATS[format]
    defaults = asdict(facts.world)
    for name in changes:
        if name not in defaults:
            known = ", ".join(field.name for field in fields(World))
            raise ValueError(f"a world has no parameter {name!r}. Choose one of: {known}")
    scaled = {
        name: max(least, round(defaults[name] * users / facts.users))
        for name, least in facts.least.items()
    }
    given = {name: shape_like(defaults[name], value, name) for name, value in changes.items()}
    return replace(facts.world, **(scaled | given))


def shape_like(default: Value, value: Value, name: str) -> Value:
    """The value with the types of a default, integers as floats where need be.

    ValueError names the parameter that has a value of another kind.
    """
    if isinstance(default, tuple) and isinstance(value, tuple):
        return tuple(shape_like(default[0], part, name) for part in value)
    if isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(default, int) and isinstance(value, int):
        return value
    kind = {tuple: "a list", float: "a number", int: "an integer"}[type(default)]
    raise ValueError(f"{name}: expected {kind}, not {value!r}")


def simulate(format: str, world: World, users: int, seed: int, out: Path) -> None:
    """Write the raw files of a format and `world.json` into the folder `out`, all or none.

    ValueError when users or seed are out of range, or `out` holds anything but simulated files.
    """
    if users < 1 or seed < 0:
        raise ValueError(f"users must be 1 or more and seed 0 or more, not {users} and {seed}")
    if out.exists() and not (out / "world.json").is_file():
        raise ValueError(f"{out}: exists and was not simulated. Choose another folder")
    facts = FORMATS[format]
    world_seed, users_seed = np.random.SeedSequence(seed).spawn(2)
    population = build_population(world, np.random.default_rng(world_seed))
    cells = render_ids(max(len(population.items.ids), len(population.click.ids)))
    with artifact.atomic(out) as folder, ExitStack() as opened:
        folder.mkdir()
        pretrain, *tasks = [
            opened.enter_context((folder / name).open("wb"))
            for name in (facts.pretrain, *facts.labelled)
        ]
        for first in range(0, users, USERS_PER_CHUNK):
            end = min(first + USERS_PER_CHUNK, users)
            rng = np.random.default_rng(users_seed.spawn(1)[0])
            people = draw_people(world, population, end - first, rng)
            tails = facts.tails(world, population, people, rng)
            lines = render_rows(cells, people.items)
            pretrain.writelines(line + b"\n" for line in lines)
            for file, (name, parameter) in zip(tasks, facts.labelled.items(), strict=True):
                share = getattr(world, parameter)
                # Why: rounding the running total makes the count of the whole file exact.
                holders = round(share * end) - round(share * first)
                holding = np.sort(rng.choice(end - first, holders, replace=False))
                ends = render_rows(cells, tails[name][holding])
                pairs = zip(holding.tolist(), ends, strict=True)
                file.writelines(b"%b,,%b\n" % (lines[user], tail) for user, tail in pairs)
        description = {
            "simulated": True,
            "format": format,
            "users": users,
            "seed": seed,
            "userbench": userbench.__version__,
            "world": asdict(world),
        }
        artifact.write_json(folder / "world.json", description)


def render_ids(largest: int) -> UInt64[np.ndarray, " cells"]:
    """Text of each id from 0 as 8 bytes, `,id` and zero bytes; the last, for ABSENT, is empty."""
    texts = [b",%d" % number for number in range(largest + 1)]
    return np.array([*texts, b""], dtype="S8").view(np.uint64)


def render_rows(
    cells: UInt64[np.ndarray, " cells"], rows: Int[np.ndarray, "rows width"]
) -> list[bytes]:
    """Text of each row, ids between commas."""
    newline = np.frombuffer(b"\n".ljust(8, b"\0"), dtype=np.uint64)
    block = np.column_stack([np.repeat(newline, len(rows)), cells[rows]])
    return block.tobytes().translate(None, b"\0").split(b"\n,")[1:]


def parse_change(text: str) -> tuple[str, Value]:
    """Name and value of `name=value`; ValueError unless the value is a number or JSON list."""
    name, _, value = text.partition("=")
    try:
        return name, numbers(json.loads(value))
    except ValueError:
        raise ValueError(f"--set {text}: expected NAME=NUMBER or NAME=[NUMBER, ...]") from None


def numbers(content: object) -> Value:
    """A number, or nested lists of numbers as tuples; ValueError for anything else."""
    if isinstance(content, list):
        return tuple(numbers(part) for part in content)
    if isinstance(content, int | float) and type(content) is not bool and math.isfinite(content):
        return content
    raise ValueError(f"not a number: {content!r}")


@command
def main(argv: list[str] | None = None) -> None:
    """Write the raw files of a simulated corpus."""
    parser = argparse.ArgumentParser(
        prog="python -m userbench.data.simulate",
        description="Write raw TTL or App files of a simulated world into a folder.",
    )
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, help="catalogue size; by default to scale with users")
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of the world; see docs/simulated-world.md",
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    changes = dict(parse_change(text) for text in args.set)
    if args.items is not None:
        changes["items"] = args.items
    world = choose_world(args.format, args.users, **changes)
    simulate(args.format, world, args.users, args.seed, args.out)
    artifact.record(args.out, {**vars(args), "world": asdict(world)})


if __name__ == "__main__":
    main()
