"""Simulated users: their attributes, interests and behaviours, their targets and conversions."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from userbench.data.simulation.clusters import Clusters, draw_distinct, pick
from userbench.data.simulation.population import Population
from userbench.data.simulation.world import ATTRIBUTES, SLOTS, WIDTH, World

ABSENT = -1  # fills the rows of users with fewer targets than others


class People(NamedTuple):
    """Some users: their items, their labels counted from 0, and their hidden interests."""

    items: Int[np.ndarray, "users width"]  # ids, oldest to newest, zeros on the left
    age: Int[np.ndarray, " users"]  # as recorded, hence with label noise
    life: Int[np.ndarray, " users"]
    gender: Int[np.ndarray, " users"]
    interests: Int[np.ndarray, "users slots"]  # one may come twice: then its weights add up
    early: Float[np.ndarray, "users slots"]  # weights at the first behaviour
    late: Float[np.ndarray, "users slots"]  # weights after the last behaviour
    last: Int[np.ndarray, " users"]  # interest of the last session


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


def draw_interests(
    interests: Int[np.ndarray, "draws slots"],
    weights: Float[np.ndarray, "draws slots"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " draws"]:
    """Draw one of the interests of each row by its weights."""
    passed = np.cumsum(weights, axis=1) <= rng.random(len(weights))[:, None]
    slot = np.minimum(passed.sum(axis=1), interests.shape[1] - 1)
    return interests[np.arange(len(interests)), slot]
