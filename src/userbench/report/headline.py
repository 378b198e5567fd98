"""What a whole table says, in sentences that are made from its statistics and never by hand."""

import numpy as np
import pandas as pd

from userbench.report.inference import LEVEL


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The cells of `statistics` that one sentence about the whole table may call better or worse.

    Columns `task`, `label`, `run`, `row`, `difference`, `p_table` and `verdict`. All cells of the
    table are corrected together (Holm), so that any such claim is false in 5% of tables at most.
    """
    own = table[table["baseline.p_table"] < LEVEL]
    side = np.where(own["baseline.difference"] > 0, "better", "worse")
    named = own[["task", "label", "run", "row"]].assign(
        difference=own["baseline.difference"], p_table=own["baseline.p_table"], verdict=side
    )
    return named.reset_index(drop=True)


def whole_table(table: pd.DataFrame) -> str:
    """One sentence on all cells of `statistics` against the baseline, corrected together."""
    itself = table["baseline.run"].fillna("") == ""
    baseline = table.loc[itself, "row"].iloc[0]
    compared = int(table["baseline.p_table"].notna().sum())
    if not compared:
        return f"No row can be compared with {baseline}: one seed, no spread, or no other row."
    made, parts = claims(table), []
    for side in ("better", "worse"):
        own = made[made["verdict"] == side]
        cells = [
            f"{cell.row} on {cell.label} ({signed(cell.difference)})" for cell in own.itertuples()
        ]
        parts.append(f"{side} than {baseline}: {', '.join(cells) or 'none'}")
    return f"Over the whole table, {compared} comparisons corrected together, {'; '.join(parts)}."


def signed(points: float) -> str:
    """A difference in points with its sign."""
    return f"{points:+.2f}".replace("-", "−")
