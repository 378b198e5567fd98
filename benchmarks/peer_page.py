"""Rows of `benchmarks.peer` -> a section of the page on performance."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.page_text import conditions, table

KEPT = Path("results/peer.csv")
"""Where docs/ keeps the rows that its page shows."""
SIDES = {
    "ours": "ours, masked items",
    "recbole": "RecBole's BERT4Rec, its checks of gradients off",
    "recbole_as_shipped": "the same, as shipped",
}
NUMBERS = ["users", "seconds", "memory_gib"]


def read(path: Path) -> pd.DataFrame:
    """The rows of a run; ValueError for another file."""
    try:
        frame = pd.read_csv(path).astype(dict.fromkeys(NUMBERS, float))
        found = set(zip(frame["what"], frame["side"], strict=True))
        frame["repetition"]
    except (KeyError, ValueError) as problem:
        raise ValueError(f"{path}: {problem}. Make it again: make peer") from None
    absent = {(what, side) for what in ("loading", "training") for side in SIDES} - found
    if absent:
        raise ValueError(f"{path}: no row of {' '.join(min(absent))}. Make it again: make peer")
    numbers = frame[NUMBERS].to_numpy()
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"{path}: a number is missing or not above 0. Make it again: make peer")
    return frame


def section(frame: pd.DataFrame, facts: dict[str, Any]) -> str:
    """The section: speed and memory of training, then of loading."""
    users = frame.loc[frame["what"] == "loading", "users"].max()
    ours, theirs = (facts.get("sides", {}).get(side, {}) for side in ("ours", "recbole"))
    model = facts.get("model", {})
    sizes = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in model.items())
    return f"""
## Beside RecBole

{conditions(facts)}

By `make peer`, in one run: RecBole {theirs.get("recbole", "unknown")} in a virtual environment of
its own, on torch {theirs.get("torch", "unknown")}; ours on torch {ours.get("torch", "unknown")}.

{table("|users/s|one epoch, s|ours / theirs|range|resident, GiB", training(frame, users))}

{table("from the file to the first batch|seconds|theirs / ours|peak, GiB", loading(frame))}

Both train masked items on the same {users:,.0f} simulated users (lengths and popularity as in TTL),
one sample a user, with Adam and the softmax over all items ({sizes or "sizes unknown"}). One thread
each, all processes alive, in turns; medians, and the range of the ratio over the turns. RecBole
turns torch's detection of anomalies on for every sequential model: the fair figure is the one
without these checks. It masks by independent draws and has one more output layer. What it does by
default with a log, a sample for every prefix of every user, is not measured here. The file has a
line of items for every user; ours becomes an array store, with checksums, on the way to the batch.
"""


def training(frame: pd.DataFrame, users: float) -> list[list[str]]:
    """Lines of the first table."""
    own = frame[frame["what"] == "training"]
    rates = own.assign(rate=own["users"] / own["seconds"]).pivot(
        index="repetition", columns="side", values="rate"
    )
    lines = []
    for side, title in SIDES.items():
        rate = rates[side].median()
        paired = rates["ours"] / rates[side]
        ratio = f"**{rates['ours'].median() / rate:.1f}**"
        beside = [ratio, f"{paired.min():.1f} to {paired.max():.1f}"]
        if side == "ours":
            beside = ["", ""]
        memory = own.loc[own["side"] == side, "memory_gib"].max()
        lines.append([title, f"{rate:,.0f}", f"{users / rate:,.0f}", *beside, f"{memory:.2f}"])
    return lines


def loading(frame: pd.DataFrame) -> list[list[str]]:
    """Lines of the second table; how RecBole trains afterwards makes no difference to it."""
    own = frame[frame["what"] == "loading"].groupby("side")
    seconds, memory = own["seconds"].median(), own["memory_gib"].max()
    return [
        [
            {"ours": "ours", "recbole": "RecBole"}[side],
            f"{seconds[side]:.2f}",
            "" if side == "ours" else f"{seconds[side] / seconds['ours']:.1f}",
            f"{memory[side]:.2f}",
        ]
        for side in ("ours", "recbole")
    ]
