"""Tables as the page shows them: plain texts, numbers of a column with the same decimals."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

LINES_OF_A_TABLE = 1000


class Shown(NamedTuple):
    """A table as shown: plain texts, and whether a column is of numbers."""

    title: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    left_out: int


def read_table(path: Path, separator: str = ",") -> pd.DataFrame:
    """A CSV file in which only an empty field is missing: `None` is a method's name.

    Raises:
        ValueError: the file is not a table.
    """
    try:
        return pd.read_csv(path, sep=separator, keep_default_na=False, na_values=["", "-"])
    except ValueError as error:
        raise ValueError(f"{path}: not a table: {error}. Run its rule again.") from error


def shown(title: str, frame: pd.DataFrame, columns: Sequence[str] = ()) -> Shown:
    """A frame as texts; of these columns those it has, all of them where it has none of them."""
    frame = frame[[name for name in columns if name in frame] or list(frame)].drop_duplicates()
    head = frame.head(LINES_OF_A_TABLE)
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
        for kind in head.dtypes
    ]
    fields = [
        numbers(head.iloc[:, place]) if is_number else head.iloc[:, place].fillna("–").map(str)
        for place, is_number in enumerate(numeric)
    ]
    names = [str(name).replace("_", " ").replace(".", ": ") for name in head]
    rows = [list(row) for row in zip(*fields, strict=True)]
    return Shown(title, names, numeric, rows, len(frame) - len(head))


def numbers(values: pd.Series) -> list[str]:
    """A column of numbers with as many decimals as it needs; a dash for NaN.

    Four decimals at most, two where a number is above 1: percentages and points.
    """
    most = 2 if values.astype(float).abs().max() > 1 else 4
    rounded = values.astype(float).round(most).tolist()
    needed = (
        f"{value:.{most}f}".rstrip("0").partition(".")[2] for value in rounded if value == value
    )
    decimals = max(map(len, needed), default=0)
    # Why + 0: minus zero must not show its sign.
    return [
        f"{value + 0:,.{decimals}f}".replace("-", "−") if value == value else "–"
        for value in rounded
    ]
