"""All events of a log by user and time, as her ids and as numbers.

The blocks of all files go into a table of the engine, which finds the distinct ids and sorts.
Results depend on the files alone, not on threads: users are numbered by first appearance, and the
last key of the order is the place among the rows that were read, or a number drawn for it.
"""

from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int32

from userbench.data.events.containers import TableFile, find_files
from userbench.data.events.cut import PART_OF_WINDOW
from userbench.data.events.sequences import Events
from userbench.data.events.settings import CorpusSettings
from userbench.data.events.tables import Block, read_table
from userbench.data.format import BadRows

ROWS_AT_ONCE = 1 << 18
MOST_ROWS = 2**31 - 1  # events are counted in 31 bits
COLUMN_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}


class Log(NamedTuple):
    """What was read into the table `events` of an engine."""

    files: dict[str, list[TableFile]]
    """By kind of event."""
    rows: int
    time: pa.DataType | None
    """Type of the times; None: there are none, and the order of the rows counts."""
    earliest: float | int | None
    """The first time, as a number of its unit; of timestamps, in microseconds since 1970."""
    latest: float | int | None

    @property
    def all_files(self) -> list[TableFile]:
        """The files of all kinds."""
        return [file for files in self.files.values() for file in files]


def read_log(
    database: duckdb.DuckDBPyConnection, raw: Path, settings: CorpusSettings, bad: BadRows
) -> Log:
    """Read all files of a log into the table `events`: user, item, kind, place, and time if any.

    Raises:
        ValueError: what `read_table` raises, or kinds of event disagree in a type.
    """
    files = {kind: find_files(raw, table.files) for kind, table in settings.events.items()}
    blocks = (
        (kind, block)
        for kind, table in settings.events.items()
        for block in read_table(raw, table, bad, files[kind])
    )
    drawn = np.random.default_rng(settings.seed)
    first, rows, spans = None, 0, []
    for kind, block in blocks:
        if first is None:
            first = block
            create_table(database, block, settings)
        check_types(first, block)
        n = len(block.lines)
        columns = {**block.columns, "kind": pa.nulls(n, pa.string()).fill_null(kind)}
        if "time" in columns:
            columns["time"] = as_numbers(columns["time"])
            spans.append(pc.min_max(columns["time"]))
        columns["place"] = pa.array(np.arange(rows, rows + n))
        if settings.ties == "shuffle":
            columns["drawn"] = pa.array(drawn.integers(2**62, size=n))
        rows += n
        if rows > MOST_ROWS:
            raise ValueError(f"{block.file}: more than {MOST_ROWS:,} events. Give fewer files")
        # Why no transaction around all of them: the engine would keep it in memory.
        database.register("block", pa.table(columns))
        database.execute("INSERT INTO events BY NAME SELECT * FROM block")
        database.unregister("block")
    assert first is not None  # `read_table` refuses a table without a good row
    return Log(
        files,
        rows,
        first.columns["time"].type if spans else None,
        min((span["min"].as_py() for span in spans), default=None),
        max((span["max"].as_py() for span in spans), default=None),
    )


def create_table(
    database: duckdb.DuckDBPyConnection, first: Block, settings: CorpusSettings
) -> None:
    """Make the table of events, with types as the first block has them."""
    types = {name: as_numbers(column).type for name, column in first.columns.items()}
    types |= {"kind": pa.string(), "place": pa.int64()}
    if settings.ties == "shuffle":
        types["drawn"] = pa.int64()
    columns = ", ".join(f'"{name}" {COLUMN_TYPES[type]}' for name, type in types.items())
    database.execute(f"CREATE TABLE events ({columns})")


def as_numbers(times: pa.Array) -> pa.Array:
    """Timestamps as microseconds since 1970; other columns as they are."""
    return times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times


def check_types(first: Block, block: Block) -> None:
    """ValueError unless the columns of a block have the types that those of the first have."""
    for name, column in first.columns.items():
        other = block.columns[name]
        if other.type != column.type:
            raise ValueError(
                f"{block.file}: {name} is {other.type}, in {first.file} {column.type}. Write all "
                "kinds of event with one type"
            )


def user_ids(database: duckdb.DuckDBPyConnection) -> pa.Array:
    """The ids of all users by first appearance."""
    found = database.sql('SELECT "user" AS id FROM events GROUP BY "user" ORDER BY min(place)')
    return plain(found)["id"].combine_chunks()


def distinct_items(database: duckdb.DuckDBPyConnection) -> pa.Table:
    """`id` and `kind` of all items, in no order."""
    return plain(database.sql("SELECT DISTINCT item AS id, kind FROM events"))


def plain(found: duckdb.DuckDBPyRelation) -> pa.Table:
    """The rows of a query, texts as `pa.string()`."""
    table = found.to_arrow_table()
    types = [pa.int64() if field.type == pa.int64() else pa.string() for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def sorted_events(
    database: duckdb.DuckDBPyConnection,
    log: Log,
    users: pa.Array,
    items: pa.Table,
    numbers: Int32[np.ndarray, " items"],
    windows: list[int],
    ties: str,
) -> Events:
    """All events by user and time; `numbers` are those of `items`, `windows` the bounds of parts.

    Without windows, all events are input. They are numbers as the times of the table are.
    """
    codes = pa.array(np.arange(len(users), dtype=np.int32))
    database.register("users", pa.table({"id": users, "number": codes}))
    database.register("items", items.append_column("number", pa.array(numbers)))
    times = ["time"] if log.time is not None else []
    order = [*times, *(["drawn"] if ties == "shuffle" else []), "place"]
    columns = ["users.number AS user_number", "items.number AS item_number", *times]
    found = database.sql(
        f"SELECT {', '.join(columns)} "
        'FROM events JOIN users ON events."user" = users.id '
        "JOIN items ON events.item = items.id AND events.kind = items.kind "
        f"ORDER BY users.number, {', '.join(order)}"
    )
    events = Events(
        np.empty(log.rows, np.int32),
        np.empty(log.rows, np.int32),
        np.empty(log.rows, bool),
        np.empty(log.rows, np.uint8),
    )
    begin, before = 0, None
    for batch in found.to_arrow_reader(ROWS_AT_ONCE):
        some = slice(begin, begin + len(batch))
        user, item, *rest = (column.to_numpy() for column in batch.columns)
        time = rest[0] if rest else np.zeros(len(user), np.int8)
        events.users[some], events.items[some] = user, item
        events.tied[some.start + 1 : some.stop] = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
        events.tied[begin] = (user[0], time[0]) == before
        # Why the type: a double would round times in nanoseconds.
        bounds = np.array(windows, time.dtype)
        events.parts[some] = PART_OF_WINDOW[np.searchsorted(bounds, time, side="right")]
        begin, before = some.stop, (user[-1], time[-1])
    assert begin == log.rows
    return events
