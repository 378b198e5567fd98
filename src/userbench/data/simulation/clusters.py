"""Catalogues cut into clusters of items with skewed popularity, and draws from them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from userbench.data.simulation.world import World

LEAST_HEAD = 4.0  # no popularity profile is steeper at its top than this
ATTEMPTS = 6  # redraws inside the same cluster before a repeated item may come from any


class Clusters(NamedTuple):
    """A catalogue cut into clusters: consecutive members, the most popular of a cluster first."""

    starts: Int[np.ndarray, " clusters"]
    sizes: Int[np.ndarray, " clusters"]
    heads: Float[np.ndarray, " clusters"]  # ranks about as popular as the first
    tail: float
    rare: float
    cumulative: Float[np.ndarray, " clusters"]  # of each cluster's share of all use
    ids: Int[np.ndarray, " members"]  # as written in the files


def build_clusters(
    usage: Float[np.ndarray, " clusters"],
    members: int,
    tail: float,
    world: World,
    rng: np.random.Generator,
) -> Clusters:
    """Make clusters whose sizes follow their use, with ids in random order of first appearance."""
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
    """Keep random members of a catalogue, with their ids and order of popularity."""
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


def draw_distinct(
    clusters: Clusters,
    user: Int[np.ndarray, " draws"],
    cluster: Int[np.ndarray, " draws"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " draws"]:
    """Draw a member of each of these clusters; no user gets a member twice.

    A repeated member is drawn again, first from the same cluster, then from any.
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
    """Draw a member of each cluster: any, or rank r with density (r + head) ** -tail."""
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


def pick(
    cumulative: Float[np.ndarray, " cells"], uniform: Float[np.ndarray, "*any"]
) -> Int[np.ndarray, "*any"]:
    """Cell of a cumulative distribution that each uniform number falls into."""
    return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)
