"""What all simulated users share: their attributes, what each group likes, the catalogues."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from userbench.data.simulation.clusters import Clusters, build_clusters, choose_members
from userbench.data.simulation.world import ATTRIBUTES, World


class Population(NamedTuple):
    """What all users have in common."""

    attributes: Float[np.ndarray, " combinations"]  # cumulative prior of (age, life, gender)
    likings: Float[np.ndarray, "combinations interests"]  # cumulative over interests
    items: Clusters  # the interests, then one cluster per age, life status and gender
    click: Clusters  # the interests
    like: Clusters
    conversion: Float[np.ndarray, " interests"]  # converting power; mean 0, variance 1 over users


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
