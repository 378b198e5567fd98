"""In which precision, and on which GPU, the trainings behind a table were computed."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from userbench.results.artifact import provenance_of

CAPTURED = {
    "none": "",
    "graph": ", steps captured as CUDA graphs",
    "compile": ", steps compiled and captured as CUDA graphs",
}
# What needs no sentence.
USUAL = "on a CPU in fp32"


def computation_notes(files: Iterable[Path]) -> list[str]:
    """A sentence on how these curves and scores were computed; none where all were in fp32 on CPUs.

    By their provenance records; files without one, and those that no training wrote, are left out.
    """
    ways = Counter(filter(None, (way_of(provenance_of(path)) for path in files)))
    if set(ways) <= {USUAL}:
        return []
    if len(ways) == 1:
        return [f"Pre-trained and fine-tuned {next(iter(ways))}."]
    each = "; ".join(f"{count} {way}" for way, count in ways.most_common())
    return [f"Trainings were not all computed alike: {each}."]


def scored_files(scores: Path) -> list[Path]:
    """The score files that scores.csv was gathered from, by its provenance record."""
    return [scores.parent / name for name in provenance_of(scores).get("inputs", {})]


def way_of(record: dict[str, Any]) -> str:
    """How a training was computed; empty of what was none."""
    config = record.get("config", {})
    if not {"precision", "capture", "device"} <= config.keys():
        return ""
    gpu = record.get("hardware", {}).get("gpu") if config["device"] != "cpu" else None
    return f"on {gpu or 'a CPU'} in {config['precision']}{CAPTURED.get(config['capture'], '')}"
