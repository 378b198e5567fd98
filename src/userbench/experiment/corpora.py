"""Corpora of a config: files of a fixed format or simulated worlds, and logs of events.

The keys of event logs are those of `data/events/settings.py`, which commands get as JSON.
"""

import re
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from userbench.experiment.parts import (
    BatchSize,
    Checksum,
    Count,
    Fields,
    Name,
    Part,
    Positive,
    Seed,
    Text,
    Texts,
)

EVENTS = "events"
FORMATS = sorted(
    path.stem
    for path in Path(__file__).parents[1].glob("data/formats/*.py")
    if path.stem != "__init__"
)


class Simulation(Part):
    """A simulated world (docs/simulated-world.md)."""

    users: Annotated[int, Field(ge=100)]
    items: Annotated[int, Field(ge=100)]
    seed: Seed
    overrides: Fields = {}
    """Parameters of the world that deviate from its defaults."""


class CorpusPretrain(Part):
    """What differs from the experiment's `pretrain` on one corpus, for every method."""

    batch_size: BatchSize | None = None


class Corpus(Part):
    """Behaviour data: simulated, or real files that `raw` or the environment variable names."""

    format: str
    """File in data/formats/, or events."""
    label: str | None = None
    """Name of real data in the table."""
    raw: str | None = None
    """Folder or zip of the real files; ~ is the home folder."""
    raw_env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    """Environment variable that names that folder or zip; `raw` wins."""
    optional: bool = False
    """Leave its tasks empty where the data is absent."""
    max_bad_rows: Seed = 0
    """Lines of a raw file that may be left out because they cannot be read."""
    pretrain: CorpusPretrain = CorpusPretrain()
    sha256: dict[str, Checksum] = {}
    """Expected checksums of raw files, by file name."""


class FixedCorpus(Corpus):
    """A corpus whose files have a format of data/formats/: simulated, or real files."""

    format: Literal[*FORMATS]
    """File in data/formats/."""
    simulate: Simulation | None = None

    @model_validator(mode="after")
    def has_one_source(self) -> "FixedCorpus":
        """Data is simulated or real, and not both."""
        if self.simulate is None and self.raw is None and self.raw_env is None:
            raise ValueError("no data: add `simulate`, or the real files' `raw` or `raw_env`")
        if self.simulate is not None and (self.raw is not None or self.raw_env is not None):
            raise ValueError("simulated and real at once: leave out `simulate` or `raw`, `raw_env`")
        return self


# ---------------------------------------------------------------------------------- logs of events


def day(value: Any) -> Any:
    """A day as YAML reads it, or as a text like 2015-01-31; ValueError for another time or text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{str(value)!r} is no day. Write it like 2015-01-31") from None


def condition(text: str) -> str:
    """A condition on a column; ValueError for another form."""
    if re.fullmatch(r"\s*(>=|<=|==|!=|>|<|in\s)\s*.*\S\s*", text, re.DOTALL) is None:
        raise ValueError(
            f"{text!r} is no condition. Write one like '>= 4', '== view', '!= 0' or 'in view, buy'"
        )
    return text


Day = Annotated[date, BeforeValidator(day)]
Condition = Annotated[Text, AfterValidator(condition)]


class Table(Part):
    """Rows in one or several files, and which of their columns are read."""

    files: Texts
    """Files, or folders of them, below `raw`."""
    columns: Texts | None = None
    """Names of all columns of files that have no header line."""
    separator: Text | None = None
    """Between the columns of a text file; default: the one that its first line shows."""
    user: Text
    """Column with the user's id."""
    filter: dict[Text, Condition] = {}
    """Condition by column, such as ">= 4"; rows that do not meet all of them are left out."""
    max_unpacked_gib: Positive = 4.0
    """A compressed file that unpacks to more, and to 200 times its own size, is refused."""
    max_rows: Count = 4_000_000_000
    """More rows are refused."""


class EventTable(Table):
    """Events of one kind."""

    item: Text
    """Column with the item's id."""
    time: Text | None = None
    """Column that orders the events of a user; default: the order of the file."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Of times that are numbers, counted from 1970."""

    @model_validator(mode="after")
    def has_a_time_for_its_unit(self) -> "EventTable":
        """A unit is that of a time."""
        if self.time_unit is not None and self.time is None:
            raise ValueError("time_unit without time. Name the column as `time`, or leave both out")
        return self


class ExampleTable(Table):
    """Examples of a task."""

    part: Text | None = None
    """Column that says train, validation or test; default: the parts are drawn, 6:2:2."""


class LabelTable(ExampleTable):
    """Labels of users: one for each."""

    label: Text
    """Column with the label."""


class TargetTable(ExampleTable):
    """Targets of users, of a catalogue of their own."""

    item: Text
    """Column with the target's id."""


class NextItem(Part):
    """The events that the corpus holds out are the targets, and its items the candidates."""

    exclude_seen: bool = False
    """Leave the items of a user's input out of the candidates."""


class HoldOut(Part):
    """Which events are no input, but asked for: everybody's last ones, or those from a date on."""

    last: Literal[3] | None = None
    """3: of everybody's last three events the first is a target of training, the second of
    validation, the third of the test."""
    train_from: Day | None = None
    """First day of the targets of training."""
    validation_from: Day | None = None
    test_from: Day | None = None

    @model_validator(mode="after")
    def is_one_cut(self) -> "HoldOut":
        """A cut is a number of events, or three days in order."""
        given = [day is not None for day in self.days]
        if (self.last is not None) == any(given) or any(given) != all(given):
            raise ValueError("write `last: 3`, or train_from, validation_from and test_from")
        if all(given) and not all(one < other for one, other in pairwise(self.days)):
            raise ValueError("train_from, validation_from and test_from must be in this order")
        return self

    @property
    def days(self) -> list[date | None]:
        """Where the windows of training, validation and test begin."""
        return [self.train_from, self.validation_from, self.test_from]


class EventCorpus(Corpus):
    """A corpus made from logs of events: rows of user and item, mostly with a time."""

    format: Literal["events"]
    """events: a log whose columns `events` names."""
    # Why here: a log is never simulated, and whoever asks need not know its format.
    simulate: ClassVar[None] = None
    events: Annotated[dict[Name, EventTable], Field(min_length=1)]
    """Tables by kind of event; with several kinds, an item is (kind, id)."""
    min_user_events: Count = 1
    """Users with fewer events are left out, again and again with `min_item_users` (k-core)."""
    min_item_users: Count = 1
    """Items of fewer users are left out."""
    max_length: Count | None = None
    """Latest events of a user that are kept; default: all."""
    repeats: Literal["all", "first", "last", "consecutive"] = "all"
    """Of a user's events with the same item: all, the first, the last, or the first of each run."""
    ties: Literal["file", "shuffle"] = "file"
    """Order of a user's events of one time: as in the file, or drawn by `seed`."""
    seed: Seed = 0
    hold_out: HoldOut | None = None
    """Events that are no input, but asked for by a task with `next_item`; default: none."""

    @model_validator(mode="after")
    def has_data_and_times(self) -> "EventCorpus":
        """The log is somewhere; kinds of event are ordered together, and days need times."""
        if self.raw is None and self.raw_env is None:
            raise ValueError("no data: add the log's `raw` or `raw_env`")
        timeless = [kind for kind, table in self.events.items() if table.time is None]
        if timeless and len(timeless) < len(self.events):
            others = "or leave it out of all: their order would be that of the files"
            raise ValueError(f"events.{timeless[0]} has no `time`, others have. Add it, {others}")
        units = {kind: table.time_unit for kind, table in self.events.items()}
        if len(set(units.values())) > 1:
            raise ValueError(
                f"events {' and '.join(units)} differ in `time_unit`. Write all times in one unit"
            )
        if timeless and self.ties == "shuffle":
            raise ValueError(
                "ties: shuffle: without `time` there are no ties. Add it, or write file"
            )
        if timeless and self.hold_out is not None and self.hold_out.last is None:
            raise ValueError(
                f"hold_out by days needs `time` in events.{timeless[0]}. Add it, or write `last: 3`"
            )
        return self

    def settings(self) -> Fields:
        """How the log is read and what of it is kept, as its command gets it."""
        return self.model_dump(
            mode="json",
            include=set(type(self).model_fields) - set(Corpus.model_fields),
            exclude_none=True,
        )


AnyCorpus = Annotated[FixedCorpus | EventCorpus, Field(discriminator="format")]
