"""Simulate users, as raw TTL or App files of any size.

A user has attributes (age, life status, gender) and a few interests, which the attributes make
more or less likely. Behaviours come in sessions of one interest; an interest is a cluster of items
with skewed popularity. Some behaviours are noise, a few reveal an attribute. Targets to recommend
come from the user's late interests. `docs/simulated-world.md` has the equations, what each
parameter changes, and what is left out.

`world.json` beside the raw files marks the data as simulated.
"""

import json
from dataclasses import asdict
from pathlib import Path

from userbench import command_line
from userbench.data.simulation.raw_files import write_raw_files
from userbench.data.simulation.world import FULL_SCALE, Value, choose_world, numbers
from userbench.errors import command
from userbench.results import artifact


def parse_change(text: str) -> tuple[str, Value]:
    """Name and value of `name=value`; ValueError unless the value is a number or JSON list."""
    name, _, value = text.partition("=")
    try:
        return name, numbers(json.loads(value))
    except ValueError:
        raise ValueError(f"--set {text}: expected NAME=NUMBER or NAME=[NUMBER, ...]") from None


@command
def main(argv: list[str] | None = None) -> None:
    """Write the raw files of a simulated corpus."""
    parser = command_line.parser("simulate", __doc__)
    parser.add_argument("--format", choices=FULL_SCALE, required=True, help="of the raw files")
    parser.add_argument("--users", type=int, required=True, help="how many")
    parser.add_argument("--items", type=int, help="catalogue size; by default to scale with users")
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of the world; see docs/simulated-world.md",
    )
    parser.add_argument("--seed", type=int, required=True, help="of the world")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    changes = dict(parse_change(text) for text in args.set)
    if args.items is not None:
        changes["items"] = args.items
    world = choose_world(args.format, args.users, **changes)
    write_raw_files(args.format, world, args.users, args.seed, args.out)
    written = sorted(args.out.iterdir())
    artifact.record(args.out, {**vars(args), "world": asdict(world)}, beside=written)
