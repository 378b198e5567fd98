"""What a figure is made of: the runs and tasks that it compares, and their measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from userbench.experiment.config import Part
from userbench.experiment.validation import validated
from userbench.report.experiment import check_once, figure_layout


@dataclass(frozen=True)
class Inputs:
    """What a figure compares, and the measurements that its READS names.

    `layout` is its part of experiment.json (`userbench.experiment.figures.FigureLayout`).
    """

    layout: dict[str, Any]
    scores: pd.DataFrame | None = None
    predictions: Sequence[Path] = ()
    curves: Sequence[Path] = ()
    cosines: pd.DataFrame | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The runs, each with its label, its method, and its encoder's run."""
        return self.layout["rows"]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks, each with its label, its metric and its corpus."""
        return self.layout["tasks"]

    @property
    def options(self) -> dict[str, Any]:
        """Further options of the figure in the config."""
        return self.layout["options"]

    @property
    def methods(self) -> dict[str, tuple[str, bool]]:
        """Method of each run, and whether it is a variant of it."""
        return {row["run"]: (row["method"], row["variant"]) for row in self.rows}

    def row(self, run: str) -> dict[str, Any]:
        """What is known of a run; ValueError where it is not one of the figure."""
        for row in self.rows:
            if row["run"] == run:
                return row
        raise ValueError(f"run {run!r} is not among the rows of the figure")

    def label(self, run: str) -> str:
        """The label of a run; ValueError where it is not one of the figure."""
        return self.row(run)["label"]


def read_layout(name: str, path: Path, options: type[Part]) -> dict[str, Any]:
    """What a figure compares, by experiment.json; `options` is the class of its options.

    Raises:
        ValueError: the experiment has no such figure; a run or task is there twice; an option is
            unknown, missing, or of another type.
    """
    layout = figure_layout(path, name)
    check_once((row["run"] for row in layout["rows"]), str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    checked = validated(layout["options"], options, f"{path}: options of figure {name!r}")
    return layout | {"options": checked.model_dump()}
