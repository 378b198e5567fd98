"""Steps of training on a GPU, measured and predicted -> the table of `userbench plan --gpu`.

python -m benchmarks.gpu_steps

Measured are the rows of `benchmarks.gpu`, of each method its fastest way; predicted, by the counts
of `benchmarks.kernels`, are steps at TTL's size, and, counted here, those at App's and those of
fine-tuning 512 examples at once: about a minute. `forward` is the share of a step that goes forward
(evaluation has no more), by the counts.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from benchmarks import kernels
from benchmarks.configurations import APP_ITEMS, TTL_ITEMS
from userbench.errors import command
from userbench.results import artifact

TABLE = Path("src/userbench/plan/gpu_steps.csv")
MEASURED = Path("docs/results/gpu/h100.jsonl")
COUNTED = Path("docs/results/kernels.csv")
COLUMNS = ["gpu", "step", "how", "batch_size", "items", "ms", "forward", "source"]
GPU = "h100"
# The commit of rows that were measured where there was no git.
OUTSIDE_A_CHECKOUT = "e11d820"
BACKWARD = ("backward", "optimizer")
COUNTS_FROM = "kernels and bytes counted, docs/results/kernels.csv"
LARGER_BATCH = 512

Row = dict[str, Any]


def measured(path: Path) -> Iterator[Row]:
    """The fastest step of every method that was measured, steps of several jobs at once, starts."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    facts = [row for row in rows if row["what"] == "hardware"]
    commit = facts[0]["git"].get("commit", OUTSIDE_A_CHECKOUT)[:7]
    torch = facts[0]["libraries"]["torch"]
    named = f"{facts[0]['hardware']['gpu']}, torch {torch}, commit {commit}"
    shared = {"gpu": GPU, "how": "measured", "batch_size": kernels.BATCH, "items": TTL_ITEMS}
    # Why: the record of a section is its first row, and what was before it is a process's start.
    starts = sorted(fact["wall_seconds"] for fact in facts)
    yield {**shared, "step": "start", "ms": 1000 * starts[len(starts) // 2], "source": named}
    steps = [
        {**row, "what": name_of(row)}
        for row in rows
        if row["section"] in ("methods", "finetuning") and "ms_per_step" in row
    ]
    for name in dict.fromkeys(row["what"] for row in steps):
        best = min(
            (row for row in steps if row["what"] == name and "set" not in row),
            key=lambda row: row["ms_per_step"],
        )
        how = f"{named}: {best['precision']}, capture {best['capture']}"
        yield {**shared, "step": name, "ms": best["ms_per_step"], "source": how}
    for row in rows:
        if row["section"] == "sharing" and "users_per_second" in row:
            mps = " mps" if row.get("mps") else ""
            ms = 1000 * kernels.BATCH / row["users_per_second"]
            yield {**shared, "step": f"sharing {row['jobs']}{mps}", "ms": ms, "source": named}


def name_of(row: Row) -> str:
    """The step as `benchmarks.kernels` calls it."""
    return f"finetune {row['what']}" if row["section"] == "finetuning" else row["what"]


def predicted(counts: pd.DataFrame) -> Iterator[Row]:
    """The steps that were counted at TTL's size."""
    for step, parts in counts.groupby("step", sort=False):
        yield row_of(str(step), parts, TTL_ITEMS, kernels.BATCH)


def counted_here() -> Iterator[Row]:
    """Steps at App's size, and of fine-tuning on larger batches, counted now."""
    pretraining = {name: partial(kernels.pretraining_step, name) for name in kernels.METHODS}
    finetuning = {f"finetune {k}": partial(kernels.finetuning_step, k) for k in kernels.KINDS}
    for step, count in {**pretraining, **finetuning}.items():
        yield row_of(step, kernels.table({step: count(n_items=APP_ITEMS)}), APP_ITEMS)
    for step, count in finetuning.items():
        with mock.patch.object(kernels, "BATCH", LARGER_BATCH):
            parts = kernels.table({step: count()})
        yield row_of(step, parts, TTL_ITEMS, LARGER_BATCH)


def row_of(step: str, parts: pd.DataFrame, items: int, batch_size: int = kernels.BATCH) -> Row:
    """A row of the counts of a step's parts."""
    ms = parts.set_index("part")["predicted_ms"]
    return {
        **{"gpu": GPU, "step": step, "how": "predicted", "batch_size": batch_size, "items": items},
        "ms": ms["step"],
        "forward": 1 - ms[list(BACKWARD)].sum() / ms["step"],
        "source": COUNTS_FROM,
    }


@command
def main(argv: list[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measured", type=Path, default=MEASURED, help="rows of benchmarks.gpu")
    parser.add_argument("--counted", type=Path, default=COUNTED, help="of benchmarks.kernels")
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write")
    args = parser.parse_args(argv)
    rows = [*measured(args.measured), *predicted(pd.read_csv(args.counted)), *counted_here()]
    text = pd.DataFrame(rows, columns=COLUMNS).round({"ms": 3, "forward": 3})
    artifact.write_text(args.out, text.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
