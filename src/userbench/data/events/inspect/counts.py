"""Counts of a log: how many events, users and items, how long sequences are, what repeats."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from userbench.data.events.inspect.roles import UNITS, unit_of
from userbench.data.events.log import read_log
from userbench.data.events.settings import CorpusSettings, Table
from userbench.data.events.tables import read_table
from userbench.data.format import BadRow, BadRows

MOST_BAD_ROWS = 100_000
IN_ORDER = """
SELECT sum((item = item_before AND kind = kind_before)::INT) AS again,
       sum((time = time_before OR time = time_after)::INT) AS tied
FROM (SELECT item, kind, {time} AS time,
             lag(item) OVER own AS item_before, lag(kind) OVER own AS kind_before,
             lag({time}) OVER own AS time_before, lead({time}) OVER own AS time_after
      FROM events WINDOW own AS (PARTITION BY "user" ORDER BY {time}, place))
"""


class Counts(NamedTuple):
    """What a log holds."""

    events: int
    users: int
    items: int
    lengths: Int64[np.ndarray, " users"]
    item_events: Int64[np.ndarray, " items"]
    repeats: float
    """Share of events whose item the user had before."""
    consecutive: float
    """Share of events whose item is that of the event before."""
    tied: float | None
    """Share of events at whose time the user has another one."""
    span: tuple[str, str] | None
    """The first and the last time."""
    time_unit: str | None
    bad: list[BadRow]


def log_counts(database: duckdb.DuckDBPyConnection, raw: Path, tables: dict[str, Table]) -> Counts:
    """Read a log into the table `events`, and say what it holds; bad rows are left out.

    Raises:
        ValueError: a file cannot be read, or too many rows are bad.
    """
    bad = BadRows(MOST_BAD_ROWS)
    log = read_log(database, raw, CorpusSettings(events=tables), bad)
    lengths = numbers(database, 'SELECT count(*) FROM events GROUP BY "user"')
    item_events = numbers(database, "SELECT count(*) FROM events GROUP BY kind, item")
    pairs = 'SELECT count(*) FROM (SELECT DISTINCT "user", kind, item FROM events)'
    in_order = database.sql(IN_ORDER.format(time="place" if log.time is None else "time"))
    consecutive, tied = in_order.fetchall()[0]
    unit = None
    if log.time is not None and not pa.types.is_timestamp(log.time):
        unit = unit_of(log.latest)
    shown = "us" if log.time is not None and pa.types.is_timestamp(log.time) else unit
    return Counts(
        events=log.rows,
        users=len(lengths),
        items=len(item_events),
        lengths=lengths,
        item_events=item_events,
        repeats=1 - int(numbers(database, pairs)[0]) / log.rows,
        consecutive=(consecutive or 0) / log.rows,
        tied=None if log.time is None else (tied or 0) / log.rows,
        span=None
        if log.time is None
        else (time_text(log.earliest, shown), time_text(log.latest, shown)),
        time_unit=unit,
        bad=bad.rows,
    )


def numbers(database: duckdb.DuckDBPyConnection, query: str) -> Int64[np.ndarray, " rows"]:
    """The only column of a query."""
    return database.sql(query).to_arrow_table().column(0).to_numpy().astype(np.int64)


def time_text(time: float | int, unit: str | None) -> str:
    """A time as a date where its unit is known, else as its number."""
    if unit is None:
        return str(time)
    try:
        return datetime.fromtimestamp(time / UNITS[unit], UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return str(time)


class TableCounts(NamedTuple):
    """What a table of labels or targets holds."""

    values: dict[str, int]
    """Different labels or targets, with the number of users of the log who have them."""
    users: int
    """Users of the log who have one."""
    strangers: int
    """Rows of users who are not in the log."""
    conflicts: int
    """Rows of users who have several values beyond the first."""
    bad: list[BadRow]


def table_counts(
    database: duckdb.DuckDBPyConnection, raw: Path, table: Table, role: str
) -> TableCounts:
    """Count the labels or targets in a table, for the users of the table `events`."""
    bad = BadRows(MOST_BAD_ROWS)
    blocks = [
        pa.table({name: block.columns[name].cast(pa.string()) for name in ("user", role)})
        for block in read_table(raw, table, bad)
    ]
    database.register("given", pa.concat_tables(blocks).rename_columns(["user", "value"]))
    database.execute(
        'CREATE OR REPLACE TEMP TABLE owned AS SELECT DISTINCT "user", value FROM given '
        'SEMI JOIN events ON given."user" = CAST(events."user" AS VARCHAR)'
    )
    strangers = (
        'SELECT count(*) FROM given ANTI JOIN events ON given."user" = '
        'CAST(events."user" AS VARCHAR)'
    )
    values = database.sql("SELECT value, count(*) FROM owned GROUP BY value ORDER BY 2 DESC, 1")
    users = int(numbers(database, 'SELECT count(DISTINCT "user") FROM owned')[0])
    n_pairs = int(numbers(database, "SELECT count(*) FROM owned")[0])
    return TableCounts(
        values=dict(values.fetchall()),
        users=users,
        strangers=int(numbers(database, strangers)[0]),
        conflicts=n_pairs - users,
        bad=bad.rows,
    )
