"""Raw files of simulated users, in the formats of the real ones."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

import userbench
from userbench.data.format import find_source
from userbench.data.simulation.people import People, draw_conversions, draw_people, draw_targets
from userbench.data.simulation.population import Population, build_population
from userbench.data.simulation.world import CLICK_COUNTS, LIKE_COUNTS, World
from userbench.results import artifact

# Why fixed: every chunk has a random stream of its own, so the files depend on it.
USERS_PER_CHUNK = 8192
Tails = dict[str, Int[np.ndarray, "users most"]]


def ttl_tails(
    world: World, population: Population, people: People, rng: np.random.Generator
) -> Tails:
    """Label or targets of every user, by TTL task; labels begin at 1."""
    click = draw_targets(world, population.click, CLICK_COUNTS, people, rng)
    like = draw_targets(world, population.like, LIKE_COUNTS, people, rng)
    return {
        "age": people.age[:, None] + 1,
        "life_status": people.life[:, None] + 1,
        "gender": people.gender[:, None] + 1,
        "click": click,
        "like": like,
    }


def app_tails(
    world: World, population: Population, people: People, rng: np.random.Generator
) -> Tails:
    """Label of every user, by App task; labels begin at 0."""
    return {
        "gender": people.gender[:, None],
        "cvr": draw_conversions(world, population, people, rng)[:, None],
    }


class Tasks(NamedTuple):
    """The task files of a format."""

    labelled: dict[str, str]  # by source, the parameter with the share of users who have a line
    tails: Callable[[World, Population, People, np.random.Generator], Tails]


TASKS = {
    "ttl": Tasks(
        {
            "age": "age_labelled",
            "life_status": "life_labelled",
            "gender": "gender_labelled",
            "click": "click_labelled",
            "like": "like_labelled",
        },
        ttl_tails,
    ),
    "app": Tasks({"gender": "gender_labelled", "cvr": "cvr_labelled"}, app_tails),
}


def write_raw_files(format: str, world: World, users: int, seed: int, out: Path) -> None:
    """Write the raw files of a format and `world.json` into the folder `out`, atomically.

    Raises:
        ValueError: users or seed are out of range, or `out` holds anything but simulated files.
    """
    if users < 1 or seed < 0:
        raise ValueError(f"users must be 1 or more and seed 0 or more, not {users} and {seed}")
    if out.exists() and not (out / "world.json").is_file():
        raise ValueError(f"{out}: exists and was not simulated. Choose another folder")
    tasks = TASKS[format]
    world_seed, users_seed = np.random.SeedSequence(seed).spawn(2)
    population = build_population(world, np.random.default_rng(world_seed))
    cells = render_ids(max(len(population.items.ids), len(population.click.ids)))
    with artifact.atomic(out) as folder, ExitStack() as opened:
        folder.mkdir()
        files = {
            source: opened.enter_context((folder / file_name(format, source)).open("wb"))
            for source in ("pretrain", *tasks.labelled)
        }
        for first in range(0, users, USERS_PER_CHUNK):
            end = min(first + USERS_PER_CHUNK, users)
            rng = np.random.default_rng(users_seed.spawn(1)[0])
            people = draw_people(world, population, end - first, rng)
            tails = tasks.tails(world, population, people, rng)
            lines = render_rows(cells, people.items)
            files["pretrain"].writelines(line + b"\n" for line in lines)
            for source, parameter in tasks.labelled.items():
                share = getattr(world, parameter)
                # Why: rounding the running total makes the count of the whole file exact.
                holders = round(share * end) - round(share * first)
                holding = np.sort(rng.choice(end - first, holders, replace=False))
                ends = render_rows(cells, tails[source][holding])
                pairs = zip(holding.tolist(), ends, strict=True)
                files[source].writelines(b"%b,,%b\n" % (lines[user], tail) for user, tail in pairs)
        description = {
            "simulated": True,
            "format": format,
            "users": users,
            "seed": seed,
            "userbench": userbench.__version__,
            "world": asdict(world),
        }
        artifact.write_json(folder / "world.json", description)


def file_name(format: str, source: str) -> str:
    """Name of the raw file of a source."""
    return f"{find_source(format, source).stem}.csv"


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
