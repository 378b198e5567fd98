"""What Table 2 compares, as experiment.json says, and how its data are described."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userbench.report.experiment import check_once, layout_of
from userbench.report.published import check_published


def read_layout(path: Path) -> dict[str, Any]:
    """Layout of Table 2 of experiment.json; its `references` are the baselines.

    Raises:
        ValueError: the experiment has no Table 2, or a name is unknown or occurs twice.
    """
    layout = layout_of(path, "table2")
    check_once((row["run"] for row in layout["rows"] + layout["references"]), str(path))
    check_once((task["task"] for task in layout["tasks"]), str(path))
    compared_with = layout["compared_with"]
    if compared_with not in {row["run"] for row in layout["rows"]}:
        raise ValueError(f"{path}: compared_with {compared_with!r} is not among the rows")
    check_published(layout, str(path))
    return layout


def label_compared_with(layout: dict[str, Any]) -> str:
    """Label of the row that the others are compared with."""
    return next(row["label"] for row in layout["rows"] if row["run"] == layout["compared_with"])


def origin(tasks: Sequence[dict[str, Any]]) -> str:
    """What these tasks were measured on: real, simulated, or which task on which."""
    simulated = [task["task"] for task in tasks if task["simulated"]]
    if len(simulated) in (0, len(tasks)):
        return ("simulated" if simulated else "real") if tasks else ""
    return f"simulated: {' '.join(simulated)}; others real"


def data_statement(layout: dict[str, Any]) -> str:
    """What the layout says of the data; it begins with SIMULATED DATA if any task is simulated."""
    text = layout["caption_data"].rstrip(". ")
    if not layout["simulated"] and not any(task["simulated"] for task in layout["tasks"]):
        return text
    if text.upper().startswith("SIMULATED DATA"):
        return "SIMULATED DATA" + text[len("SIMULATED DATA") :]
    return f"SIMULATED DATA: {text}"
