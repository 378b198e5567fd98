"""Several seeds in one process, one after the other: each writes what it would write alone.

`{seed}` in a path or a text of the command line is replaced by each of them.
"""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from userbench.command_line import at_least
from userbench.errors import describe_error
from userbench.results.artifact import check_writable
from userbench.training.gpu_share import gpu_facts
from userbench.training.identity import identity
from userbench.training.state import SECONDS_BETWEEN_SAVES, TrainingState


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of both loops that name the seeds, and where and how often each is saved."""
    parser.add_argument(
        "--seed",
        type=at_least(0),
        nargs="+",
        required=True,
        help="one or several, trained one after the other",
    )
    parser.add_argument("--state", type=Path, help="folder from which a stopped training resumes")
    parser.add_argument(
        "--save-every",
        type=float,
        default=SECONDS_BETWEEN_SAVES,
        metavar="SECONDS",
        help="between two saved states",
    )


def with_seed(value: Any, seed: int) -> Any:
    """The value with `{seed}` replaced in all of its texts and paths."""
    if isinstance(value, dict):
        return {name: with_seed(part, seed) for name, part in value.items()}
    if isinstance(value, list):
        return [with_seed(part, seed) for part in value]
    if isinstance(value, str | Path):
        return type(value)(str(value).replace("{seed}", str(seed)))
    return value


def states_of(
    args: argparse.Namespace, options: list[Any], device: torch.device, data: list[Path]
) -> list[TrainingState]:
    """The state of each seed's training, which has its own `options` and reads `data`.

    Raises ValueError where two seeds would be saved to one folder.
    """
    folders = [with_seed(args.state, seed) for seed in args.seed]
    check_outputs(folder for folder in folders if folder is not None)
    return [
        TrainingState(
            own.seed,
            folder,
            identity(own, device, data) if folder else {},
            args.seed,
            args.save_every,
            gpu_facts(device),
        )
        for own, folder in zip(options, folders, strict=True)
    ]


def check_outputs(outputs: Iterable[Path]) -> None:
    """ValueError where two seeds would write to one place, OSError where they may not write."""
    seen: set[Path] = set()
    for path in outputs:
        check_writable(path)
        if path in seen:
            raise ValueError(f"{path}: is named twice. Put {{seed}} in it, and each seed once")
        seen.add(path)


class SeedErrors:
    """The errors of single seeds: the others are trained all the same."""

    def __init__(self) -> None:
        self.messages: dict[int, str] = {}

    @contextmanager
    def caught(self, state: TrainingState) -> Iterator[None]:
        """Inside, one seed is trained; an error of its input or of the system ends it alone."""
        try:
            yield
        except TimeoutError:  # the limit of the process, not of this seed
            raise
        except (ValueError, OSError) as problem:
            self.messages[state.seed] = f"{describe_error(problem)}{state.keep_finished()}"

    def raise_if_any(self, states: list[TrainingState]) -> None:
        """ValueError with every message, of several seeds with the seeds that failed.

        The saved states are deleted where there is none.
        """
        if self.messages:
            named = [f"seed {seed}: {message}" for seed, message in self.messages.items()]
            one = len(states) == 1
            raise ValueError(*self.messages.values() if one else ["; ".join(named)])
        for state in states:
            state.remove()
