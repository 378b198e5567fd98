"""CSV tables of results: written atomically, and read with their columns and types checked."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from userbench.results import artifact


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, atomically; NaN becomes an empty field."""
    artifact.write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read_table(
    path: Path, texts: Sequence[str], numbers: Sequence[str], made_by: str
) -> pd.DataFrame:
    """These columns of a table: texts that may be empty, numbers that may be NaN.

    Raises:
        ValueError: the file was changed, a column is missing, or a field is no number; the message
            names the command in `made_by`.
    """
    artifact.check_recorded(path)
    remedy = f"Make it again with {made_by}"
    present = pd.read_csv(path, nrows=0).columns
    if lacking := [name for name in (*texts, *numbers) if name not in present]:
        raise ValueError(f"{path}: no column {', '.join(lacking)}. {remedy}")
    try:
        return pd.read_csv(
            path,
            usecols=[*texts, *numbers],
            dtype=dict.fromkeys(texts, str) | dict.fromkeys(numbers, float),
            keep_default_na=False,
            na_values=dict.fromkeys(numbers, [""]),
            float_precision="round_trip",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}. {remedy}") from error


def resolved(args: argparse.Namespace) -> dict[str, Any]:
    """The flags of a command as JSON values, for the provenance record of what it makes."""
    return json.loads(json.dumps({k: v for k, v in vars(args).items() if k != "run"}, default=str))
