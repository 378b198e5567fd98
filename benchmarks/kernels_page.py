"""Counts of `benchmarks.kernels` -> a section of the page on performance."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.configurations import BATCH, BUDGETS, PARTS
from benchmarks.page_text import table

KEPT = Path("results/kernels.csv")
"""Where docs/ keeps the counts that its page shows."""
MEASURED = Path("results/gpu/h100.jsonl")
TEXT = """
## What a step asks of a GPU: counted, and predicted

**No time of this table was measured, but those of the last column.** `make kernels` takes a step of
each method at the paper's scale (128 users, 645,972 items, bf16) on a CPU along the code paths of a
GPU, and counts kernels and the bytes that they move (`benchmarks/kernels.py` says what it does not
see: a sort is several kernels and counts as one). Predicted is 3.95 us a kernel, .623 ms a GB, and,
where every item meets every prediction, its arithmetic; at commit e11d820 that fits the steps that
were measured to .17 ms. Kernels of our own that keep few of the processor's parts busy would take
longer than predicted. Parts: views, encoder, loss (the forward pass), backward, optimizer.
"""


def section(counts: pd.DataFrame, measured: dict[str, float]) -> str:
    """The section; `measured`: users per second of steps at an earlier commit."""
    lines = []
    for step, parts in counts.groupby("step", sort=False):
        parts = parts.set_index("part")
        whole = parts.loc["step"]
        kernels, gigabytes = BUDGETS.get(step, ("", ""))
        predicted = 1000 * BATCH / whole["predicted_ms"]
        before = measured.get(step)
        lines.append(
            [
                step,
                f"{whole['kernels']:.0f}",
                str(kernels),
                f"{whole['gigabytes']:.2f}",
                str(gigabytes),
                " / ".join(f"{parts.loc[part, 'kernels']:.0f}" for part in PARTS),
                f"{whole['predicted_ms']:.2f}",
                f"{predicted:,.0f}",
                f"{before:,.0f}" if before else "",
            ]
        )
    columns = "|".join(
        (
            *("a step of", "kernels", "budget", "GB", "budget", "kernels by part"),
            *("ms, predicted", "users/s, predicted", "users/s measured on an H100 at e11d820"),
        )
    )
    return f"{TEXT}\n{table(columns, lines)}\n"


def fastest(path: Path) -> dict[str, float]:
    """Users per second of the fastest way of each method, from rows of `benchmarks.gpu`."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    found: dict[str, float] = {}
    for row in rows:
        if row["section"] == "methods" and "users_per_second" in row:
            found[row["what"]] = max(found.get(row["what"], 0), row["users_per_second"])
    return found
