"""How event logs are read, and what of them is kept: the settings of a corpus of `format: events`.

The config has the same keys (`experiment/config.py`); commands get them as JSON.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from userbench.fields import Count, Positive, check_fields, check_values

TimeUnit = Literal["s", "ms", "us", "ns"]
Repeats = Literal["all", "first", "last", "consecutive"]
Ties = Literal["file", "shuffle"]


@dataclass(frozen=True)
class Table:
    """One table of rows in one or several files, and which of its columns are read."""

    files: list[str]
    """Files, or folders of them, below the raw folder or inside the raw zip."""
    user: str
    """Name of the column with the user's id."""
    item: str | None = None
    """Name of the column with the item's id: of events and of targets."""
    time: str | None = None
    """Name of the column that orders the events of a user; None: the order of the file."""
    label: str | None = None
    """Name of the column with the label of a user."""
    part: str | None = None
    """Name of the column with the part of an example: train, validation or test."""
    columns: list[str] | None = None
    """Names of all columns of files that have no header line."""
    separator: str | None = None
    """Between the columns of a text file; None: the one that its first line shows."""
    time_unit: TimeUnit | None = None
    """Of times that are numbers, counted from 1970."""
    filter: dict[str, str] = field(default_factory=dict)
    """Condition by column, such as ">= 4"; rows that do not meet all of them are left out."""
    max_unpacked_gib: Positive = 4.0
    """A compressed file that unpacks to more, and to 200 times its own size, is refused."""
    max_rows: Count = 4_000_000_000
    """More rows are refused."""

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class HoldOut:
    """Which events are no input, but asked for: everybody's last ones, or those from a date on."""

    last: int | None = None
    """3: of everybody's last three events the first is a target of training, the second of
    validation, the third of the test."""
    train_from: date | None = None
    validation_from: date | None = None
    test_from: date | None = None

    def __post_init__(self) -> None:
        dates = [day for day in (self.train_from, self.validation_from, self.test_from) if day]
        if self.last not in (None, 3):
            raise ValueError(
                f"hold_out: last {self.last!r}: only 3 gives each of the three parts its event. "
                "Write 3, or three dates"
            )
        if self.last and dates:
            raise ValueError("hold_out: give `last: 3` or three dates, not both")
        if len(dates) in (1, 2):
            raise ValueError("hold_out: give train_from, validation_from and test_from, all three")
        if sorted(set(dates)) != dates:
            raise ValueError(
                f"hold_out: {', '.join(map(str, dates))} do not ascend. Let train_from be the "
                "earliest and test_from the latest"
            )


@dataclass(frozen=True)
class CorpusSettings:
    """The events of a corpus by kind, and which of them are kept."""

    events: dict[str, Table]
    """Tables by kind of event; with several kinds, an item is (kind, id)."""
    min_user_events: Count = 1
    """Users with fewer events are left out, again and again with `min_item_users` (k-core)."""
    min_item_users: Count = 1
    """Items of fewer users are left out."""
    max_length: Count | None = None
    """Latest events of a user that are kept; None: all."""
    repeats: Repeats = "all"
    """Of a user's events with the same item: all, the first, the last, or the first of each run."""
    ties: Ties = "file"
    """Order of a user's events of one time: as in the file, or drawn by `seed`."""
    seed: int = 0
    hold_out: HoldOut = HoldOut()

    def __post_init__(self) -> None:
        check_values(self)
        tables = self.events.values()
        if not tables:
            raise ValueError("events: no table. Name at least one")
        for name, table in self.events.items():
            if table.item is None:
                raise ValueError(f"events {name}: no `item`. Name the column of the items' ids")
        if len({table.time is None for table in tables}) > 1:
            raise ValueError(
                "events: some have a `time`, others none. Name it for all, or for none"
            )
        if len({table.time_unit for table in tables}) > 1:
            raise ValueError("events: their `time_unit` differs. Write all times in one unit")
        if self.ties == "shuffle" and next(iter(tables)).time is None:
            raise ValueError(
                "ties: shuffle: without a `time` there are no ties. Name it, or write file"
            )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative. Give 0 or more")


def table_of(content: dict[str, Any], of: str) -> Table:
    """A table as JSON gives it; ValueError, naming it as `of`, for another form."""
    check_fields(Table, content, of)
    return Table(**content)


def corpus_settings_of(content: dict[str, Any], of: str = "--settings") -> CorpusSettings:
    """The settings of a corpus as JSON gives them; ValueError, naming them as `of`."""
    check_fields(CorpusSettings, content, of)
    tables = {
        kind: table_of(table, f"{of} events.{kind}") for kind, table in content["events"].items()
    }
    return CorpusSettings(
        **content | {"events": tables, "hold_out": hold_out_of(content.get("hold_out", {}), of)}
    )


def hold_out_of(content: dict[str, Any], of: str) -> HoldOut:
    """What is held out as JSON gives it, dates as texts like 2015-01-31."""
    values = {}
    for name, value in content.items():
        if name not in HoldOut.__dataclass_fields__:
            known = ", ".join(HoldOut.__dataclass_fields__)
            raise ValueError(f"{of} hold_out has no key {name!r}. It has: {known}")
        try:
            values[name] = value if name == "last" or not value else date.fromisoformat(value)
        except (TypeError, ValueError):
            remedy = "Write it like 2015-01-31"
            raise ValueError(f"{of} hold_out: {name} {value!r} is no date. {remedy}") from None
    return HoldOut(**values)
