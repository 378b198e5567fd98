"""The form of verdict.csv: its columns and verdicts, and how it is read."""

from pathlib import Path

import pandas as pd

# The paper repeated each experiment five times; we take its std to be that of a sample.
PUBLISHED_RUNS = 5
NONE = "None"  # the paper's row without pre-training, over which gains are counted
NOT_COMPARED = "not comparable"
VERDICTS = ("reproduced", "better", "worse", "undecided", NOT_COMPARED)
TESTED = (
    *("difference", "difference_low", "difference_high", "p_better", "p_same", "p_worse"),
    *("verdict", "seeds_needed", "reason"),
)
COLUMNS = [
    *("task", "metric", "method", "run", "data", "published_mean", "published_std"),
    *("published_runs", "seeds", "mean", "std", "test_std", "low", "high", "margin", *TESTED),
    *("published_gain", "gain", "gain_std", "gain_test_std", "margin_gain"),
    *(f"gain_{name}" for name in TESTED),
]
TEXTS = ("task", "metric", "method", "run", "data", "verdict", "reason")
TEXTS += ("gain_verdict", "gain_reason")


def read_verdicts(path: Path) -> pd.DataFrame:
    """Read verdict.csv; ValueError where the file is of another kind."""
    missing = {name: [""] for name in COLUMNS if name not in TEXTS}
    table = pd.read_csv(path, keep_default_na=False, na_values=missing)
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{path}: the columns must be {', '.join(COLUMNS)}. Make it again")
    return table
