"""What Table 2, or the table of the frozen protocol, compares: its layout, checked."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from userbench.report.experiment import check_once, layout_of
from userbench.report.tables.published import PUBLISHED_TABLE2


def add_table_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says which of the two tables a command is about."""
    parser.add_argument(
        "--table", choices=("table2", "frozen"), default="table2", help="default: table2"
    )


def read_table2_layout(path: Path, table: str = "table2") -> dict[str, Any]:
    """Layout of Table 2, or of `frozen`, in experiment.json; its `baselines` are the baselines.

    Raises:
        ValueError: the experiment has no such table, or a name is unknown or occurs twice.
    """
    layout = layout_of(path, table)
    check_once((row["run"] for row in layout["rows"] + layout["baselines"]), str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    compared_with = layout["compared_with"]
    if compared_with not in {row["run"] for row in layout["rows"]}:
        raise ValueError(f"{path}: compared_with {compared_with!r} is not among the rows")
    check_published(layout, str(path))
    return layout


def check_published(layout: dict[str, Any], source: str) -> None:
    """ValueError where the layout of Table 2 names a row, task or metric that the paper lacks."""
    published = pd.read_csv(PUBLISHED_TABLE2, keep_default_na=False)
    metrics = dict(zip(published["task"], published["metric"], strict=True))
    for row in layout["rows"] + layout["baselines"]:
        if row["paper"] is not None and row["paper"] not in set(published["method"]):
            raise ValueError(f"{source}: the paper's Table 2 has no row {row['paper']!r}")
    for task in layout["tasks"]:
        if task["paper"] is not None and metrics.get(task["paper"]) != task["metric"]:
            raise ValueError(
                f"{source}: the paper's Table 2 has no {task['metric']} of {task['paper']!r}"
            )
