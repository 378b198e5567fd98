"""What pre-training is behind each row: where it starts, its epochs, and what encoders read.

experiment.json names every run with its epochs, what it starts from and is given; the provenance
records of its learning curves hold the encoder passes (`pretrain.py`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench.report.curves import by_run
from userbench.report.experiment import check_once, layout_of
from userbench.results.artifact import provenance_of

RANDOM = "random"


def read_training(path: Path, curves: Sequence[Path]) -> dict[str, Any]:
    """What is behind rows and controls, by experiment.json; to each run, its `curves` of these.

    Raises:
        ValueError: a run is not there, has no curve, or is named twice.
    """
    training = named_once(layout_of(path, "training"), str(path))
    return with_curves(training, curves)


def read_training_of_rows(
    path: Path, curves: Sequence[Path], part: str = "training"
) -> dict[str, Any]:
    """The same, of the rows alone: a table does not wait for controls."""
    training = named_once(layout_of(path, part), str(path))
    encoders = filter(None, (line["encoder"] for line in training["rows"]))
    needed = {name for encoder in encoders for name in behind(encoder, training["runs"])}
    runs = {name: run for name, run in training["runs"].items() if name in needed}
    return with_curves(training | {"runs": runs, "controls": []}, curves)


def named_once(training: dict[str, Any], source: str) -> dict[str, Any]:
    """The layout; ValueError where it names a run that is not there, or a row twice."""
    lines, runs = training["rows"] + training["controls"], training["runs"]
    check_once((line["run"] for line in lines), source)
    named = [line["encoder"] for line in lines]
    named += [name for run in runs.values() for name in (run["start"], *run["given"])]
    for name in filter(None, named):
        if name not in runs:
            raise ValueError(f"{source}: training: runs lack {name!r}, which is named")
    return training


def with_curves(training: dict[str, Any], curves: Sequence[Path]) -> dict[str, Any]:
    """The layout with the `curves` of each run; ValueError where one has none."""
    own = by_run(curves, training["runs"])
    runs = {name: run | {"curves": own[name]} for name, run in training["runs"].items()}
    return training | {"runs": runs}


def describe(training: dict[str, Any]) -> pd.DataFrame:
    """A row per line of the layout, controls last.

    `start`: the run it starts from, or "random". `epochs` in all, each run behind it once; `fewest`
    where validation chose the first of its checkpoints; `behind`, the epochs of each run. `passes`:
    sequences that its encoder reads per user and step of its own training, `other_passes` those of
    frozen ones; `sequences` per user over all `epochs`. NaN where a record does not say.
    """
    rows = []
    for kind in ("rows", "controls"):
        for line in training[kind]:
            rows.append({"run": line["run"], "row": line["label"], "kind": kind.removesuffix("s")})
            rows[-1] |= describe_line(line, training["runs"])
    return pd.DataFrame(rows)


def describe_line(line: dict[str, Any], runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The columns of `describe` on pre-training."""
    if line["encoder"] is None:
        return {
            **{"start": RANDOM, "fewest": 0, "epochs": 0, "behind": ""},
            **{"passes": 0.0, "other_passes": 0.0, "sequences": 0.0},
        }
    epochs = {name: runs[name]["epochs"] for name in behind(line["encoder"], runs)}
    epochs[line["encoder"]] = max(line["candidates"])
    passes = {name: encoder_passes(runs[name]["curves"]) for name in epochs}
    own, others = passes[line["encoder"]]
    total = sum(epochs.values())
    return {
        "start": runs[line["encoder"]]["start"] or RANDOM,
        "fewest": total - max(line["candidates"]) + min(line["candidates"]),
        "epochs": total,
        "behind": " + ".join(f"{name} {n}" for name, n in epochs.items()),
        "passes": own,
        "other_passes": others,
        "sequences": sum(n * sum(passes[name]) for name, n in epochs.items()),
    }


def behind(encoder: str, runs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Every run whose training an encoder is due to, once, itself last."""
    found, asked = [], [encoder]
    while asked:
        name = asked.pop()
        if name not in found:
            found.append(name)
            asked += [*filter(None, [runs[name]["start"]]), *runs[name]["given"]]
    return reversed(found)


def encoder_passes(files: Sequence[Path]) -> tuple[float, float]:
    """Sequences per user that the trained encoder, and any others, read; a mean over the curves."""
    records = [provenance_of(file).get("encoder_passes", {}) for file in files]
    passes = [[record.get(key, np.nan) for key in ("trained", "others")] for record in records]
    trained, others = np.mean(passes or [[np.nan, np.nan]], axis=0).round(2).tolist()
    return trained, others


def training_note(described: pd.DataFrame) -> str:
    """One sentence on all rows of Table 2; those of equal pre-training share their figures."""
    rows = described[described["kind"] == "row"]
    figures = rows["start"] + "; " + spans(rows) + "; " + passes_shown(rows)
    each = [f"{', '.join(same)} ({key})" for key, same in rows["row"].groupby(figures, sort=False)]
    return (
        "Pre-training behind each row (the run it starts from; epochs in all, those of that run "
        f"and of a generator included; encoder passes per user and epoch): {', '.join(each)}."
    )


def popularity_notes(training: dict[str, Any]) -> list[str]:
    """A sentence for each run that ended where it knew popularity alone, and the rows due to it."""
    notes = []
    for name, run in training["runs"].items():
        records = [provenance_of(file) for file in run["curves"]]
        stuck = sum("popularity_alone" in record for record in records)
        rows = [
            line["label"]
            for line in training["rows"] + training["controls"]
            if line["encoder"] and name in behind(line["encoder"], training["runs"])
        ]
        if stuck and rows:
            notes.append(
                f"{name} has not learnt more than popularity in {stuck} of {len(records)} "
                "trainings (its validation loss beside that of the items' frequencies alone): "
                f"{', '.join(rows)} start from that, and measure that."
            )
    return notes


def spans(described: pd.DataFrame) -> pd.Series:
    """Epochs as shown: a range where validation chooses among checkpoints."""
    fewest, most = described["fewest"].astype(str), described["epochs"].astype(str)
    return most.where(fewest == most, fewest + " to " + most)


def passes_shown(described: pd.DataFrame) -> pd.Series:
    """Encoder passes as shown: of frozen encoders after a plus; a dash where they are not known."""

    def shown(own: float, others: float) -> str:
        return "–" if np.isnan(own) else f"{own:g}" + (f"+{others:g} frozen" if others else "")

    pairs = zip(described["passes"], described["other_passes"], strict=True)
    return pd.Series([shown(*pair) for pair in pairs], described.index, dtype=str)
