"""What Table 2 compares: its layout in experiment.json, checked."""

from pathlib import Path
from typing import Any

import pandas as pd

from userbench.report.experiment import check_once, layout_of
from userbench.report.tables.published import PUBLISHED_TABLE2


def read_table2_layout(path: Path) -> dict[str, Any]:
    """Layout of Table 2 of experiment.json; its `baselines` are the baselines.

    Raises:
        ValueError: the experiment has no Table 2, or a name is unknown or occurs twice.
    """
    layout = layout_of(path, "table2")
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
