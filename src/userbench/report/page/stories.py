"""The story behind each cell of Table 2: its seeds, their checkpoints, config, code and machine.

Of a score file the record beside it names the checkpoints it was fine-tuned from, and their records
the checkpoints that these started from.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from userbench.report.page.shown import read_table
from userbench.report.statistics.inference import interval_of
from userbench.report.tables.cells import number
from userbench.results import artifact


def read_json(path: Path) -> Any:
    """Content of a JSON file; ValueError, naming it, where it is damaged."""
    artifact.check_recorded(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}. Run its rule again.") from error


class Story(NamedTuple):
    """A score file with its provenance, and the checkpoint its best epoch started from."""

    path: Path
    score: dict[str, Any]
    provenance: dict[str, Any]
    checkpoint: Path | None

    @property
    def trained(self) -> bool:
        """Whether it was fine-tuned, though its fit may have failed; a baseline has no vectors."""
        return "width" in self.score


def read_story(path: Path) -> Story:
    """A score file and the record beside it; ValueError where one of them is damaged."""
    score, provenance = read_json(path), artifact.provenance_of(path)
    candidates = [Path(name) for name in provenance.get("config", {}).get("init") or []]
    # What failed has no best epoch, nor a checkpoint that it is due to.
    name = f"epoch{(score['best'] or {}).get('pretrain_epoch')}.safetensors"
    return Story(path, score, provenance, next((c for c in candidates if c.name == name), None))


def encoder_name(checkpoint: Path) -> str:
    """Run, corpus and seed of a checkpoint, from its path <run>/<corpus>/seed<k>/epoch<e>."""
    return "/".join(checkpoint.parts[-4:-1])


def describe_encoder(checkpoint: Path) -> dict[str, Any]:
    """Where an encoder comes from: config, code, machine, checksum, losses, and its warm start."""
    provenance = artifact.provenance_of(checkpoint)
    curve = checkpoint.with_name("curve.json")
    start = provenance.get("config", {}).get("init")
    return {
        "name": encoder_name(checkpoint),
        "run": checkpoint.parts[-4],
        "file": str(checkpoint),
        "epoch": provenance.get("epoch"),
        "sha256": provenance.get("sha256"),
        "start": {"file": start, "sha256": artifact.provenance_of(Path(start)).get("sha256")}
        if start
        else None,
        "config": provenance.get("config"),
        "environment": environment_of(provenance),
        "finished": provenance.get("finished"),
        "seconds": provenance.get("wall_seconds"),
        "curve": read_json(curve) if curve.exists() else [],
    }


def environment_of(provenance: dict[str, Any]) -> dict[str, Any]:
    """Code version, libraries and hardware of a record."""
    return {
        key: provenance[key]
        for key in ("userbench", "git", "python", "libraries", "hardware")
        if key in provenance
    }


def encoders_of(one: Story) -> list[Path]:
    """The checkpoint that a score started from, and the one that this checkpoint started from."""
    if one.checkpoint is None:
        return []
    start = artifact.provenance_of(one.checkpoint).get("config", {}).get("init")
    return [one.checkpoint, *([Path(start)] if start else [])]


def describe_seed(one: Story, config: Sequence[str]) -> dict[str, Any]:
    """Story of one score: its values, config, code and machine, and the command that repeats it."""
    best = one.score["best"]
    stage = "finetune" if one.trained else "baselines"
    again = ["snakemake", "--cores", "1", "--configfile", *config, "--forcerun"]
    corpus, target = one.score["corpus"], ["--", str(one.path)]
    rule, trained = f"{stage}_{corpus}", encoders_of(one)
    return {
        "seed": one.score["seed"],
        "best": best,
        "examples": one.score["examples"],
        "scores": one.score["scores"],
        "encoder": encoder_name(one.checkpoint) if one.checkpoint else None,
        "config": one.provenance.get("config"),
        "environment": environment_of(one.provenance),
        "finished": one.provenance.get("finished"),
        "seconds": one.provenance.get("task_seconds"),
        "again": shlex.join([*again, rule, *target]),
        "again_all": shlex.join([*again, "pretrain", rule, *target]) if trained else None,
    }


def describe_cells(
    summary: pd.DataFrame, layout: dict[str, Any], stories: list[Story], config: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Every measured cell of Table 2, by <run>/<task>: its numbers and the story of each seed."""
    cells = {}
    for row in summary.to_dict("records"):
        for task in layout["tasks"]:
            name = task["task"]
            mean, std, seeds = (row[f"{name}.{key}"] for key in ("mean", "std", "seeds"))
            if pd.isna(mean):
                continue
            paper = [row[f"{name}.paper_{key}"] for key in ("mean", "std")]
            bounds = interval_of(mean, std, seeds)
            own = [s for s in stories if (s.score["run"], s.score["task"]) == (row["run"], name)]
            cells[f"{row['run']}/{name}"] = {
                "label": row["label"],
                "task": task["label"],
                "metric": task["metric"],
                "improvement": number(row[f"{name}.improvement"]),
                "simulated": task["simulated"],
                "mean": mean,
                "interval": " to ".join(map(number, bounds)) if seeds > 1 else None,
                "paper": None if pd.isna(paper[0]) else "±".join(map(number, paper)),
                "seeds": [
                    describe_seed(one, config) for one in sorted(own, key=lambda s: s.score["seed"])
                ],
            }
    return cells


def add_verdicts(cells: dict[str, dict[str, Any]], path: Path, layout: dict[str, Any]) -> None:
    """Give each cell that the paper has its verdict, where there are verdicts."""
    if not path.exists():
        return
    tasks = {task["paper"]: task["task"] for task in layout["tasks"] if task["paper"]}
    for row in read_table(path).to_dict("records"):
        cell = cells.get(f"{row['run']}/{tasks.get(row['task'])}")
        if cell is not None:
            cell["verdict"] = row["verdict"]


def distinct_environments(
    stories: list[Story], encoders: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each environment that a score or an encoder was made in, with how many were."""
    found = [environment_of(one.provenance) for one in stories]
    found += [encoder["environment"] for encoder in encoders.values()]
    counts: dict[str, int] = {}
    for environment in found:
        text = json.dumps(environment, sort_keys=True)
        counts[text] = counts.get(text, 0) + 1
    return [json.loads(text) | {"files": count} for text, count in counts.items() if text != "{}"]
