"""How tables and figures say whether their data are real or simulated."""

from collections.abc import Sequence
from typing import Any

SIMULATED = " [SIMULATED]"


def origin(tasks: Sequence[dict[str, Any]]) -> str:
    """What these tasks were measured on: real, simulated, or which task on which."""
    simulated = [task["task"] for task in tasks if task["simulated"]]
    if len(simulated) in (0, len(tasks)):
        return ("simulated" if simulated else "real") if tasks else ""
    return f"simulated: {' '.join(simulated)}; others real"


def data_statement(layout: dict[str, Any]) -> str:
    """A statement on the data; it begins with SIMULATED DATA if any task is simulated."""
    text = layout["caption_data"].rstrip(". ")
    if not layout["simulated"] and not any(task["simulated"] for task in layout["tasks"]):
        return text
    if text.upper().startswith("SIMULATED DATA"):
        return "SIMULATED DATA" + text[len("SIMULATED DATA") :]
    return f"SIMULATED DATA: {text}"
