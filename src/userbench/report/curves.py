"""Learning curves of pre-training, by where they lie: <run>/<corpus>/seed<k>/curve.json."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """What a learning curve is of."""

    run: str
    corpus: str
    seed: int


def place_of(path: Path) -> Place:
    """Run, corpus and seed of a curve; ValueError where it lies elsewhere."""
    found = re.fullmatch(r"seed([0-9]+)", path.parent.name)
    if path.name != "curve.json" or found is None or len(path.parts) < 4:
        raise ValueError(
            f"{path}: is no <run>/<corpus>/seed<k>/curve.json, which says what a learning curve is "
            "of. Give the file at its place"
        )
    return Place(path.parts[-4], path.parts[-3], int(found[1]))


def by_run(paths: Iterable[Path], runs: Iterable[str]) -> dict[str, list[Path]]:
    """The curves of each of these runs, in the order given.

    Raises:
        ValueError: a curve is given twice, or a run has none.
    """
    found: dict[Place, Path] = {}
    for path in paths:
        place = place_of(path)
        if place in found:
            raise ValueError(f"{path}: a second curve of {'/'.join(map(str, place))}. Give one")
        found[place] = path
    curves = {run: [path for place, path in found.items() if place.run == run] for run in runs}
    for run, own in curves.items():
        if not own:
            remedy = "Give --curves its curve.json of each corpus and seed"
            raise ValueError(f"run {run!r}: no learning curve. {remedy}")
    return curves
