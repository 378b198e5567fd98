"""The paper's Tables 1 and 2, as published."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

PUBLISHED_TABLE1 = Path(__file__).with_name("paper_table1.csv")
PUBLISHED_TABLE2 = Path(__file__).with_name("paper_table2.csv")
DATASETS = {"ttl": "TTL", "app": "App"}  # raw format: the paper's name
QUANTITIES = {
    **{"behavior_sequences": "Int64", "different_behaviors": "Int64"},
    **{"avg_sequence_length": float, "samples": "Int64", "labels_or_items": "Int64"},
}


def published_table1() -> pd.DataFrame:
    """Table 1 of the paper: a row per dataset and per task; a dataset's own row has no task."""
    return pd.read_csv(PUBLISHED_TABLE1, dtype=QUANTITIES).fillna({"task": ""})


def published_table2() -> pd.DataFrame:
    """Table 2 of the paper: mean, std and improvement in percent by (method, task)."""
    return pd.read_csv(PUBLISHED_TABLE2, keep_default_na=False, na_values=[""]).set_index(
        ["method", "task"]
    )


def keys(rows: Iterable[tuple[str | None, ...]]) -> pd.MultiIndex:
    """Look-up keys for `reindex`; a None in them finds nothing."""
    return pd.MultiIndex.from_tuples(list(rows))
