"""What is measured: facts as data, without torch, which the runner must not load."""

from dataclasses import dataclass, field
from typing import Any

STAGES = ("batch", "augment", "forward", "backward", "optimizer", "rank")
TOTAL = "total"
SIDES = ("ours", "plain")
MACHINE = "machine"
"""Configuration and side of the rows that hold this machine's own speed."""

APP_ITEMS, TTL_ITEMS = 4_047, 645_972  # with padding 4,048 and 645,973 rows of the item table
CANDIDATES = 17_879


@dataclass(frozen=True)
class Configuration:
    """One thing to measure, and how many times as fast as the plain side it is promised to be."""

    title: str
    kind: str
    """pretrain, classification, top_n or evaluate."""
    n_items: int = APP_ITEMS
    batch_size: int = 128
    promised: float | None = None
    method: str = "adaptssr"
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the method's Config."""
    item_table: str = "dense"
    sides: tuple[str, ...] = SIDES


# Why: what the plain side implements is the released loss; the paper's costs the same.
RELEASED = {"coefficient": "released"}


def alone(title: str, method: str, **changes: Any) -> Configuration:
    """Pre-training by a method, ours only."""
    return Configuration(title, "pretrain", method=method, changes=changes, sides=("ours",))


# Promised are four fifths of the ratios as first published (2026-11-24: 5.2, 5.2, 3.7, 4.0, 5.3).
CONFIGURATIONS = {
    "pretrain_4048": Configuration(
        "Pre-training, 4,048 items", "pretrain", promised=4.2, changes=RELEASED
    ),
    "pretrain_645973": Configuration(
        "Pre-training, 645,973 items", "pretrain", TTL_ITEMS, promised=4.2, changes=RELEASED
    ),
    "finetune_age": Configuration("Fine-tuning, 8 classes", "classification", promised=3.0),
    "finetune_click": Configuration(
        "Fine-tuning, 17,879 candidates", "top_n", batch_size=512, promised=3.2
    ),
    "evaluate_click": Configuration(
        "Evaluation, 17,879 candidates", "evaluate", batch_size=512, promised=4.2
    ),
    "lazy_645973": Configuration(
        "AdaptSSR, 645,973 items, lazy item table",
        "pretrain",
        TTL_ITEMS,
        changes=RELEASED,
        item_table="lazy",
        sides=("ours",),
    ),
    "mlm_exact": alone("MLM, exact softmax", "mlm"),
    "mlm_1024": alone("MLM, 1,024 negatives", "mlm", negatives=1024),
    "peterrec": alone("PeterRec", "peterrec"),
    "ptum": alone("PTUM", "ptum"),
    "clue": alone("CLUE", "clue"),
    "ccl": alone("CCL", "ccl"),
    "idicl": alone("IDICL", "idicl"),
    "cl4srec": alone("CL4SRec", "cl4srec"),
    "coserec": alone("CoSeRec", "coserec"),
    "duorec": alone("DuoRec", "duorec"),
    "adaptssr": alone("AdaptSSR", "adaptssr"),
}
MEMORY = "memory"
"""What `level_memory` measures: masked items at these sizes after these numbers of steps."""
MEMORY_SIZES = {"n_items": 4_000, "dim": 32, "batch_size": 32}
MEMORY_STEPS = (100, 1_000)
MEMORY_GROWTH = 1.25
"""Promised: the most that resident memory grows by from the first to the last of them."""

QUICK = ("pretrain_4048", "finetune_click", "evaluate_click", "mlm_1024", MEMORY)
"""Enough to run every line of the benchmark once."""

# Steps that are counted for a GPU (`benchmarks.kernels`): users in one, its parts, and the kinds of
# fine-tuning.
BATCH = 128
PARTS = ("views", "encoder", "loss", "backward", "optimizer")
KINDS = ("classification", "top_n")
# What a step of 128 users may ask for: kernels, and GB at 645,972 items.
BUDGETS = {
    "adaptssr": (150, 1.2),
    **{name: (120, 1.0) for name in ("cl4srec", "coserec", "duorec", "clue", "idicl")},
    "ptum": (140, 1.1),
    **{f"finetune {kind}": (90, 0.9) for kind in KINDS},
}
