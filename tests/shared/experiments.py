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


def figure_row(run: str, method: str, variant: bool = False, **more: Any) -> dict[str, Any]:
    """A run of a figure; "None" is a label, not a missing one."""
    about = {"run": run, "row": run, "label": run.title(), "method": method, "variant": variant}
    return {**about, "encoder": None, "overrides": {}, "label_share": 1.0, **more}


def figure_layout(
    rows: list[dict[str, Any]], tasks: dict[str, tuple[str, str]], /, **options: Any
) -> dict[str, Any]:
    """What a figure compares, on tasks of these labels and metrics, each of a corpus of its own."""
    columns = [
        {"task": name, "label": label, "metric": metric, "simulated": True, "corpus": f"of_{name}"}
        for name, (label, metric) in tasks.items()
    ]
    about = {"caption_data": "ttl: 300 simulated users", "simulated": True}
    corpora = {task["corpus"]: {"users": 300, "world": {}} for task in columns}
    return {**about, "rows": rows, "tasks": columns, "corpora": corpora, "options": options}
