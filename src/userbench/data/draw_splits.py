"""Draw the splits of a corpus: a part for each user, or for each example of a task.

userbench split users --behaviours STORE/behaviours --seed 0 --out SPLITS/users
userbench split examples --examples STORE/tasks/age --kind classification --by user --seed 0
    --out SPLITS/tasks/age

Users are 90% train and 10% validation, examples 60% train, 20% validation and 20% test. Examples
that come with parts of their own (`parts.npy` beside them) keep these: nothing is drawn. Why a task
cannot be scored by its split, if it cannot, is said in a line (`data/limits.py`).
"""

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from userbench import command_line
from userbench.data import arrays
from userbench.data.limits import PARTS, absent_classes, check_behaviours, check_users, usable_parts
from userbench.data.raw_bytes import check_raw
from userbench.errors import command

PRETRAIN_CUTS = (0.9,)
TASK_CUTS = (0.6, 0.8)  # the paper's 6:2:2


def write_user_split(behaviours: Path, seed: int, out: Path) -> None:
    """Write the part of each user of a store in pre-training."""
    started = time.perf_counter()
    check_request(seed, out)
    check_raw(behaviours)
    check_behaviours(behaviours)
    n_users = arrays.read_checksums(behaviours)["users"]
    parts = draw(n_users, PRETRAIN_CUTS, generator(seed, "pretrain"))
    check_users(parts, f"{behaviours} has too few users: use more data")
    write_parts(parts, PARTS[:2], behaviours, out, {"seed": seed}, started)


def write_task_split(examples: Path, by: str, seed: int, out: Path, kind: str = "") -> None:
    """Write the part of each example of a task; `examples` is its folder in the store.

    `by` "interaction" splits examples, as the authors' code does: a user can be in several parts.
    `by` "user" splits users: all examples of a user are in one part.
    Examples with parts of their own keep them, whatever `by` and `seed` say. With the `kind` of the
    task, its limits are printed.
    """
    started = time.perf_counter()
    check_request(seed, out)
    check_raw(examples)
    if arrays.PARTS_FILE in arrays.read_checksums(examples)["arrays"]:
        parts, settings = arrays.read_array(examples, arrays.PARTS_FILE), {"parts": "given"}
    else:
        parts, settings = drawn(examples, by, seed), {"seed": seed, "by": by}
    if kind:
        report(examples, parts, kind)
    write_parts(parts, PARTS, examples, out, settings, started)


def drawn(examples: Path, by: str, seed: int) -> UInt8[np.ndarray, " examples"]:
    """The part of each example of a task, as `write_task_split` says."""
    task, users = examples.name, arrays.example_users(examples)
    if by == "user":
        owners, owner = np.unique(users, return_inverse=True)
        return draw(len(owners), TASK_CUTS, generator(seed, task))[owner]
    return draw(len(users), TASK_CUTS, generator(seed, task))


def report(examples: Path, parts: UInt8[np.ndarray, " examples"], kind: str) -> None:
    """Print what these parts are too few for.

    Raises:
        ValueError: the task is of another kind than its data.
    """
    found = usable_parts(examples, parts, kind, "by_stage")
    if found.limit:
        print(f"task {examples.name} cannot be scored: {found.limit}", file=sys.stderr)
        return
    for part, count in found.without_rival.items():
        what = f"{count:,} pairs of {part} are left out: their users know all other candidates"
        print(f"task {examples.name}: {what}", file=sys.stderr)
    for what in absent_classes(examples, parts) if kind != "top_n" else ():
        print(f"task {examples.name}: {what}", file=sys.stderr)


def check_request(seed: int, out: Path) -> None:
    """ValueError for a negative seed, or for a folder that holds something else."""
    if seed < 0:
        raise ValueError(f"seed {seed} is negative. Give 0 or more")
    arrays.check_out(out)


def write_parts(
    parts: UInt8[np.ndarray, " n"],
    names: tuple[str, ...],
    of: Path,
    out: Path,
    settings: dict[str, Any],
    started: float,
) -> None:
    """Write a split, into parts of these names, of the users or examples in the folder `of`."""
    counts = np.bincount(parts, minlength=len(names)).tolist()
    manifest = {**settings, "counts": dict(zip(names, counts, strict=True))}
    meaning = {"of": arrays.identity(of)}
    arrays.write_arrays(
        out, {arrays.PARTS_FILE: parts}, meaning, manifest, inputs=[of], started=started
    )


def generator(seed: int, name: str) -> np.random.Generator:
    """The random generator of a name: no task's split depends on another's."""
    # Deviation: the authors' code shuffles by Python's `random`, seeds 2309 (pre-training), 1730
    # (labels), 1354 (click, like): other examples are in each part (ledger: exact_splits).
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def draw(
    n: int, cuts: tuple[float, ...], generator: np.random.Generator
) -> UInt8[np.ndarray, " n"]:
    """Part of each of n examples: a random order, cut at int(cut * n) as in the authors' code."""
    parts = np.zeros(n, np.uint8)
    order = generator.permutation(n)
    for cut in cuts:
        parts[order[int(cut * n) :]] += 1
    return parts


@command
def main(argv: list[str] | None = None) -> None:
    """Write one split."""
    parser = command_line.parser("split", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    users = commands.add_parser("users", help="of the users, for pre-training")
    users.add_argument("--behaviours", type=Path, required=True, help="folder of the users")
    examples = commands.add_parser("examples", help="of the examples of a task")
    examples.add_argument("--examples", type=Path, required=True, help="folder of the task")
    examples.add_argument(
        "--by", choices=["interaction", "user"], required=True, help="what is drawn"
    )
    kinds = ["classification", "binary", "top_n"]
    examples.add_argument("--kind", choices=kinds, default="", help="of the task: print its limits")
    for one in (users, examples):
        one.add_argument("--seed", type=int, required=True, help="of the draw")
        one.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    if args.what == "examples":
        write_task_split(args.examples, args.by, args.seed, args.out, args.kind)
    else:
        write_user_split(args.behaviours, args.seed, args.out)
