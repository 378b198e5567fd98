"""The files of `userbench.similarity`: cosines of users' vectors, by run, corpus and seed."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from userbench.errors import check_readable
from userbench.results.artifact import check_recorded

TIERS = ("implicit", "crop", "reorder", "mask", "other")
COLUMNS = ["run", "corpus", "seed", "encode", "dropout", "user", "draw", *TIERS]
ONE_COSINE = ["run", "corpus", "seed", "user", "draw"]


def read_cosines(paths: Sequence[Path]) -> pd.DataFrame:
    """The files of `userbench.similarity` as one frame (COLUMNS).

    Raises:
        ValueError: a file is not one of them, holds what another one holds, or was encoded in
            another way.
    """
    frames = []
    for path in paths:
        check_recorded(path)
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as problem:
            check_readable(path, problem)
            raise ValueError(f"{path}: cannot be read as parquet ({problem})") from None
        if list(frame.columns) != COLUMNS:
            raise ValueError(f"{path}: the columns must be {', '.join(COLUMNS)}. Make it again")
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    again = table[table.duplicated(ONE_COSINE)]
    if len(again):
        row = again.iloc[0]
        raise ValueError(
            f"run {row['run']}, corpus {row['corpus']}, seed {row['seed']}: read twice"
        )
    compared = ["encode", "dropout"] if "evaluation" in set(table["encode"]) else ["encode"]
    for column in compared:
        if table[column].nunique() > 1:
            found = " and ".join(f"{value}" for value in table[column].unique())
            raise ValueError(f"cosines of {column} {found}: measure all with one --{column}")
    return table
