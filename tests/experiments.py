"""experiment.json with the layouts of a test, for the commands of the report."""

import json
from pathlib import Path
from typing import Any


def write_experiment(folder: Path, **layouts: dict[str, Any]) -> Path:
    """experiment.json in a folder; tasks of Table 2 are of what the whole table is of."""
    if "table2" in layouts:
        about = {"simulated": layouts["table2"]["simulated"]}
        tasks = [about | task for task in layouts["table2"]["tasks"]]
        layouts["table2"] = layouts["table2"] | {"tasks": tasks}
    path = folder / "experiment.json"
    content = {"experiment": "toy", "seeds": [0], "runs": {}, "layouts": layouts}
    path.write_text(json.dumps(content))
    return path


def experiment_flag(folder: Path, **layouts: dict[str, Any]) -> list[str]:
    """The flag of a command that reads these layouts."""
    return ["--experiment", str(write_experiment(folder, **layouts))]
