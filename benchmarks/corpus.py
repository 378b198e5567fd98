"""Simulated users in memory: lengths and popularity as in TTL, catalogues of any size."""

from typing import NamedTuple

import numpy as np
import torch

from userbench.data.simulation.people import ABSENT, draw_people, draw_targets
from userbench.data.simulation.population import build_population
from userbench.data.simulation.world import CLICK_COUNTS, choose_world
from userbench.data.store import BehaviourStore, LabelledExamples, TargetExamples

SEED = 0


class Corpus(NamedTuple):
    """Users with their behaviours, ages and click targets."""

    store: BehaviourStore
    ages: LabelledExamples
    clicks: TargetExamples


def simulate(
    n_users: int, n_items: int, n_candidates: int, max_length: int, device: torch.device
) -> Corpus:
    """The same users for the same sizes, always."""
    world = choose_world("ttl", n_users, items=n_items, click_targets=n_candidates)
    rng = np.random.default_rng(SEED)
    population = build_population(world, rng)
    people = draw_people(world, population, n_users, rng)
    targets = draw_targets(world, population.click, CLICK_COUNTS, people, rng)
    lengths = torch.from_numpy((people.items > 0).sum(1))
    store = BehaviourStore(
        items=torch.from_numpy(people.items[people.items > 0].astype(np.int32)).to(device),
        offsets=bounds(lengths).to(device),
        lengths=lengths.to(device),
        n_items=n_items,
        max_length=max_length,
    )
    everyone = torch.arange(n_users)
    ages = LabelledExamples(
        everyone.to(device), torch.from_numpy(people.age).to(device), len(world.age_prior)
    )
    counts = torch.from_numpy((targets != ABSENT).sum(1))
    owners = everyone.repeat_interleave(counts).to(device)
    picked = torch.from_numpy(targets[targets != ABSENT] - 1).to(device)
    clicks = TargetExamples(owners, picked, owners, n_candidates, picked, bounds(counts).to(device))
    return Corpus(store, ages, clicks)


def simulated_store(
    users: int, n_items: int, max_length: int, device: torch.device
) -> BehaviourStore:
    """Lengths as in TTL and items by Zipf's law, made where they are used."""
    torch.manual_seed(0)
    shares, values = np.array(choose_world("ttl", users, items=n_items).lengths).T
    uniform = np.random.default_rng(0).random(users)
    lengths = np.ceil(np.interp(uniform, shares, values)).clip(1, max_length)
    lengths = torch.from_numpy(lengths).long()
    offsets = bounds(lengths)
    rank = (torch.rand(int(offsets[-1]), device=device) * np.log(n_items)).exp()
    return BehaviourStore(
        items=rank.int().clamp_(1, n_items),
        offsets=offsets.to(device),
        lengths=lengths.to(device),
        n_items=n_items,
        max_length=max_length,
    )


def bounds(counts: torch.Tensor) -> torch.Tensor:
    """Where each user's part begins, and where the last one ends."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
