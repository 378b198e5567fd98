"""The tasks of a config: from tables of labels and targets, and from what is held out."""

from pathlib import Path
from typing import NamedTuple

import duckdb

from userbench.data.events.inspect import choices
from userbench.data.events.inspect.config import Task, as_name
from userbench.data.events.inspect.counts import Counts, table_counts
from userbench.data.events.inspect.places import Places
from userbench.data.events.inspect.roles import guess
from userbench.data.events.inspect.said import say
from userbench.data.events.inspect.sample import Sample, column_named
from userbench.data.events.inspect.tables import first_sample, table_of
from userbench.data.events.settings import Table
from userbench.data.format import BadRow
from userbench.data.raw_files import printable

MOST_CLASSES = 1000


class Looked(NamedTuple):
    """The log that was looked at, which the tables of tasks belong to."""

    places: Places
    user: str
    """Column of the user."""
    database: duckdb.DuckDBPyConnection
    """Its table `events`."""
    counts: Counts

    def refused(self, strangers: int) -> int:
        """How many rows of users without events count as bad: none where users are left out."""
        core = choices.k_core(self.counts)
        return strangers if all(choice.value == 1 for choice in core.values()) else 0


def label_task(path: Path, column: str, log: Looked, bad: list[BadRow], n_bad: list[int]) -> Task:
    """The task of a column of labels; its bad rows are added to those that there are."""
    sample = first_sample(path, log.places)
    label = column_named(column, sample, path)
    roles = {"user": user_of(path, sample, log, label), "label": label}
    table = table_of(path, log.places, sample, roles)
    found = table_counts(log.database, log.places.raw, Table(**table), "label")
    classes = len(found.values)
    if classes < 2 or classes > MOST_CLASSES:
        raise ValueError(
            f"{path}: {label} has {classes:,} different values among the users of the log. Name a "
            f"column of 2 to {MOST_CLASSES:,} classes"
        )
    bad += found.bad
    n_bad.append(len(found.bad) + found.conflicts + log.refused(found.strangers))
    said = ", ".join(
        f"{printable(value)} {count / found.users:.0%}"
        for value, count in [*found.values.items()][:5]
    )
    more = ", .." if classes > 5 else ""
    users = f"{found.users:,} of {log.counts.users:,} users"
    why = f"{users} have one of {classes} classes: {said}{more}"
    say(f"labels {path}:{label}: {why}{of_strangers(found.strangers)}")
    kind = "binary" if classes == 2 else "classification"
    return Task(as_name(label), kind, spoken_label(label), "labels", table, 32, why)


def target_task(path: Path, log: Looked, bad: list[BadRow], n_bad: list[int]) -> Task:
    """The task of a file of targets; its bad rows are added to those that there are."""
    sample = first_sample(path, log.places)
    user = user_of(path, sample, log)
    rest = [column for column in sample.columns if column != user]
    item = guess("item", rest) or (rest[0] if len(rest) == 1 else None)
    if item is None:
        raise ValueError(
            f"{path}: none of its columns could be guessed to be the target: "
            f"{', '.join(map(printable, sample.columns))}. Rename it to `item`"
        )
    table = table_of(path, log.places, sample, {"user": user, "item": item})
    found = table_counts(log.database, log.places.raw, Table(**table), "item")
    bad += found.bad
    n_bad.append(len(found.bad) + log.refused(found.strangers))
    why = (
        f"{found.users:,} of {log.counts.users:,} users have some of {len(found.values):,} targets"
    )
    say(f"targets {path}: {why}{of_strangers(found.strangers)}")
    name = as_name(path.name.split(".")[0])
    return Task(name, "top_n", spoken_label(name), "targets", table, 32, why)


def user_of(path: Path, sample: Sample, log: Looked, label: str | None = None) -> str:
    """The column of the user in another table: named as in the log, or guessed."""
    others = [column for column in sample.columns if column != label]
    user = log.user if log.user in others else guess("user", others)
    if user is None:
        raise ValueError(
            f"{path}: none of its columns could be guessed to be the user: "
            f"{', '.join(map(printable, sample.columns))}. Name hers {log.user!r}, as in the log"
        )
    return user


def of_strangers(rows: int) -> str:
    """What is said of rows of users who have no events."""
    return f"; {rows:,} rows are of users without events" if rows else ""


def next_item_tasks(counts: Counts) -> list[Task]:
    """The task of the events that are held out, if any are."""
    if choices.hold_out(counts).value is None:
        return []
    why = "Which item comes next, among all items of the input"
    is_new = counts.repeats < 0.01
    if is_new:
        why += " but those that the user has had"
    batch = int(str(choices.sizes(counts)["batch"].value))
    return [Task("next", "top_n", "Next item", "next_item", {"exclude_seen": is_new}, batch, why)]


def spoken_label(name: str) -> str:
    """A column's name as that of a task in a table."""
    return name.replace("_", " ").strip().capitalize() or name
