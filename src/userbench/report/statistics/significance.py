"""Sentences, bold cells and doubts of Table 2, from statistics.csv and agreement.csv."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from userbench.report.tables.headline import read_cells, read_order, sentences


class Significance(NamedTuple):
    """`headline` are sentences on the whole table, `best` are the (run, task) that are better than
    every other row, `doubts` is a sentence on each cell that its seeds leave undecided."""

    headline: Sequence[str] = ()
    best: Collection[tuple[str, str]] = ()
    doubts: Sequence[str] = ()


UNTESTED = Significance()


def read_significance(
    path: Path, layout: dict[str, Any], agreement: Path | None = None
) -> Significance:
    """The results of statistics.csv on cells and, if given, of agreement.csv on the order of rows.

    Raises:
        ValueError: a file is damaged, or not made by `report.statistics` or `report.agreement`.
    """
    cells = read_cells(path)
    order = None if agreement is None else read_order(agreement)
    best = cells[(cells["best_other.verdict"] == "better") & (cells["ranked"] == 1)]
    # A failed seed has no score: the notes on missing scores name it.
    doubtful = cells[(cells["note"] != "") & cells["mean"].notna()]
    return Significance(
        sentences(cells, layout, order),
        set(zip(best["run"], best["task"], strict=True)),
        [
            f"{cell.row} on {cell.label}: {cell.note}, so its comparisons are undecided."
            for cell in doubtful.itertuples()
        ],
    )
