"""Which cells of the paper's Table 2 can be compared with ours, and why others cannot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# Why not zero: lines that cannot be read are left out.
SAME_DATA = 0.01


def first_of_each(entries: Sequence[dict[str, Any]], column: str) -> pd.DataFrame:
    """The first row or task of the layout of each published one, which is named in `column`."""
    own = pd.DataFrame(entries).rename(columns={"task": "our_task"})
    own = own.rename(columns={"paper": column}).drop(columns=["label", "metric"], errors="ignore")
    return own.dropna(subset=column).drop_duplicates(column)


def data_of(cells: pd.DataFrame, table1: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What each cell was measured on, and why it cannot be compared, or "".

    `table1` is that of `report.table1.describe_corpora`: real data are the paper's by their sizes.
    """
    simulated = np.array([value is True for value in cells["simulated"]])
    missing = (cells["mean"].isna() & (cells["note"] == "")).to_numpy()
    absent = np.where(cells["run"].notna(), "no data", "no run of this method")
    other = cells["task"].map(other_data(table1)).fillna("")
    return (
        np.select([simulated, missing], ["simulated", "missing"], "real"),
        np.select([simulated, missing], ["simulated data", absent], other),
    )


def other_data(table1: pd.DataFrame) -> dict[str, str]:
    """How the data of a task differ from the paper's, of the tasks whose data do.

    A difference of its corpus comes first. A task of several corpora must be the paper's in each.
    """
    tasks = table1.dropna(subset="corpus").query("task != ''")
    corpora = table1[table1["task"] == ""].drop(columns="task")
    found: dict[str, str] = {}
    for sizes, quantity in (
        (tasks[["corpus", "task"]].merge(corpora, "left", "corpus"), "behavior_sequences"),
        (tasks, "samples"),
    ):
        here, paper = (sizes[f"{quantity}.{side}"].astype(float) for side in ("measured", "paper"))
        other = ~((here / paper - 1).abs() <= SAME_DATA)
        for task, own, theirs in zip(sizes["task"][other], here[other], paper[other], strict=True):
            what = f"{own:,.0f} {quantity.replace('_', ' ')}, published on {theirs:,.0f}"
            found.setdefault(task, f"measured on {what}")
    return found
