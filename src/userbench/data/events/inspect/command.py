"""Say what is in the files of a log, and print a config for it.

userbench inspect ml-1m/ratings.dat --labels ml-1m/users.dat:age > mine.yaml
userbench check mine.yaml
make table2 CONFIG=mine.yaml

What it finds goes to stderr, the config to stdout. Files are Parquet, CSV, TSV or RecBole's atomic
files, also compressed, folders of them, or files inside a zip (ml-1m.zip/ml-1m/ratings.dat). Which
column is the user, the item and the time is guessed by their names; flags say it otherwise.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from userbench import command_line
from userbench.data.events.containers import find_files, printable
from userbench.data.events.inspect import choices
from userbench.data.events.inspect.config import Log, Task, as_name, rendered
from userbench.data.events.inspect.counts import (
    Codes,
    Counts,
    counts_of,
    label_counts,
    read_log,
    target_counts,
)
from userbench.data.events.inspect.places import Places, places_of
from userbench.data.events.inspect.sample import Sample, column_named, sample_of
from userbench.data.events.settings import Table
from userbench.data.format import BadRow
from userbench.errors import command

ROLES = ("user", "item", "time")
# Names of files that say nothing of the log: the folder's name does.
GENERAL = {
    "ratings",
    "events",
    "log",
    "data",
    "interactions",
    "u",
    "reviews",
    "clicks",
    "behaviors",
}
MOST_CLASSES = 1000


class Found(NamedTuple):
    """A file that was looked at, and its table in the config."""

    path: Path
    sample: Sample
    table: dict[str, Any]


def inspect(
    files: list[Path],
    labels: list[tuple[Path, str]],
    targets: list[Path],
    named: dict[str, str],
    columns: list[str] | None = None,
    name: str | None = None,
) -> str:
    """The config for a log; what is found is printed to stderr.

    Raises:
        ValueError: a file cannot be read, or no column could be guessed for a role.
    """
    others = [path for path, _ in labels] + targets
    places = places_of([*files, *others])
    events = [event_file(path, places, named, columns) for path in files]
    tables = kinds_of(events)
    for one in events:
        describe(one)
    log = read_log(places.raw, {kind: Table(**table) for kind, table in tables.items()})
    counts = counts_of(log)
    describe_counts(counts)
    for table in tables.values():
        if counts.time_unit is not None:
            table["time_unit"] = counts.time_unit
    batch = choices.sizes(counts)["batch"].value
    bad = list(counts.bad)
    n_bad = [len(counts.bad)]
    tasks = []
    for path, column in labels:
        task, rows, strangers = label_task(path, column, places, log.user_codes, counts)
        tasks.append(task)
        bad += rows
        n_bad.append(len(rows) + strangers)
    for path in targets:
        task, rows, strangers = target_task(path, places, log.user_codes, counts)
        tasks.append(task)
        bad += rows
        n_bad.append(len(rows) + strangers)
    cut = choices.hold_out(counts)
    if cut.value is not None:
        tasks.append(next_item_task(counts, int(str(batch))))
    if not tasks:
        raise ValueError(
            f"{files[0]}: no task: {cut.why}, too few to hold out the last ones. Give --labels "
            "FILE:COLUMN or --targets FILE"
        )
    name = as_name(name or general_name(files[0]))
    used = {
        column for table in tables.values() for column in table.values() if isinstance(column, str)
    }
    other = {
        printable(column): [printable(value) for value in values[:50]]
        for column, values in events[0].sample.examples.items()
        if column not in used
    }
    source = ", ".join(printable(str(path)) for path in files)
    return rendered(
        Log(name, source, places.raw, tables, other), counts, tasks, bad_rows(bad, max(n_bad))
    )


def event_file(
    path: Path, places: Places, named: dict[str, str], columns: list[str] | None
) -> Found:
    """A file of events with its table; ValueError where user or item cannot be guessed."""
    sample = first_sample(path, places, columns)
    roles = {role: column for role, column in sample.roles.items() if role not in named}
    roles |= {role: column_named(column, sample, path) for role, column in named.items()}
    for role in ("user", "item"):
        if role not in roles:
            raise ValueError(
                f"{path}: none of its columns could be guessed to be the {role}: "
                f"{', '.join(map(printable, sample.columns))}. Name it by --{role}"
            )
    if len(set(roles.values())) < len(roles):
        raise ValueError(
            f"{path}: one column in two roles: {roles}. Name --user, --item and --time"
        )
    return Found(path, sample, table_of(path, places, sample, roles))


def first_sample(path: Path, places: Places, columns: list[str] | None = None) -> Sample:
    """The first rows of a file, or of the first file of a folder."""
    return sample_of(find_files(places.raw, [places.names[path]])[0], columns)


def table_of(path: Path, places: Places, sample: Sample, roles: dict[str, str]) -> dict[str, Any]:
    """The table of a file in a config."""
    columns = {} if sample.has_names else {"columns": sample.columns}
    ordered = {role: roles[role] for role in (*ROLES, "label") if role in roles}
    return {"files": [places.names[path]], **columns, **ordered}


def kinds_of(events: list[Found]) -> dict[str, dict[str, Any]]:
    """Tables by kind of event: files with the same columns are one kind."""
    kinds: dict[str, dict[str, Any]] = {}
    alike = all(one.sample.columns == events[0].sample.columns for one in events)
    for one in events:
        kind = "event" if alike else as_name(one.path.name.split(".")[0])
        if kind in kinds:
            kinds[kind]["files"] += one.table["files"]
        else:
            kinds[kind] = one.table
    return kinds


def general_name(path: Path) -> str:
    """A name for a log: that of its file, or of its folder where the file's says nothing."""
    stem = path.name.split(".")[0]
    folder = Path(path.absolute()).parent.name.removesuffix(".zip")
    is_general = stem.lower() in GENERAL or not any(sign.isalpha() for sign in stem)
    return folder if is_general and folder else stem


def label_task(
    path: Path, column: str, places: Places, users: Codes, counts: Counts
) -> tuple[Task, list[BadRow], int]:
    """The task of a column of labels, its bad rows, and how many rows more are left out."""
    sample = first_sample(path, places)
    user = sample.roles.get("user")
    label = column_named(column, sample, path)
    if user is None or user == label:
        raise ValueError(
            f"{path}: none of its columns could be guessed to be the user: "
            f"{', '.join(map(printable, sample.columns))}. Rename hers to `user`"
        )
    table = table_of(path, places, sample, {"user": user, "label": label})
    found = label_counts(places.raw, Table(**table), users)
    classes = len(found.classes)
    if classes < 2 or classes > MOST_CLASSES:
        raise ValueError(
            f"{path}: {label} has {classes:,} different values among the users of the log. Name a "
            f"column of 2 to {MOST_CLASSES:,} classes"
        )
    many = sorted(found.classes.items(), key=lambda one: -one[1])
    said = ", ".join(f"{printable(value)} {count / found.users:.0%}" for value, count in many[:5])
    why = f"{found.users:,} of {counts.users:,} users have one of {classes} classes: {said}"
    say(f"labels {path}:{label}: {why}{', ..' if classes > 5 else ''}")
    kind = "binary" if classes == 2 else "classification"
    task = Task(as_name(label), kind, spoken_label(label), "labels", table, 32, why)
    return task, found.bad, found.strangers + found.conflicts


def target_task(
    path: Path, places: Places, users: Codes, counts: Counts
) -> tuple[Task, list[BadRow], int]:
    """The task of a file of targets, its bad rows, and how many rows more are left out."""
    sample = first_sample(path, places)
    roles = sample.roles
    rest = [column for column in sample.columns if column != roles.get("user")]
    if "item" not in roles and len(rest) == 1:
        roles = roles | {"item": rest[0]}
    if "user" not in roles or "item" not in roles:
        raise ValueError(
            f"{path}: its columns could not be guessed to be user and target: "
            f"{', '.join(map(printable, sample.columns))}. Rename them to `user` and `item`"
        )
    table = table_of(path, places, sample, {role: roles[role] for role in ("user", "item")})
    found = target_counts(places.raw, Table(**table), users)
    why = f"{found.users:,} of {counts.users:,} users have some of {found.targets:,} targets"
    say(f"targets {path}: {why}")
    name = as_name(path.name.split(".")[0])
    task = Task(name, "top_n", spoken_label(name), "targets", table, 32, why)
    return task, found.bad, found.strangers


def next_item_task(counts: Counts, batch: int) -> Task:
    """The task of the events that are held out."""
    why = "Which item comes next, among all items of the input"
    again = counts.repeats < 0.01
    if again:
        why += " that the user has not had: next to nobody has one twice"
    return Task("next", "top_n", "Next item", "next_item", {"exclude_seen": again}, batch, why)


def spoken_label(name: str) -> str:
    """A column's name as that of a task in a table."""
    return name.replace("_", " ").strip().capitalize() or name


def bad_rows(bad: list[BadRow], allowed: int) -> choices.Choice:
    """How many rows may be bad, for there are so many."""
    for row in bad[:5]:
        say(f"bad row: {row.file}:{row.line}: {row.reason}")
    if not allowed:
        return choices.Choice(0, "all rows can be read")
    first = f", the first is {bad[0].file}:{bad[0].line}" if bad else ""
    say(f"{allowed:,} rows are bad, or of users without events; the config allows for them")
    return choices.Choice(allowed, f"so many are bad or of users without events{first}")


def describe(found: Found) -> None:
    """Say what is in a file."""
    by_column = {column: role for role, column in found.table.items() if isinstance(column, str)}
    header = "" if found.sample.has_names else ", no header"
    say(f"{found.path}: {found.sample.format}{header}")
    for column in found.sample.columns:
        values = list(dict.fromkeys(found.sample.examples.get(column, [])))[:4]
        shown = ", ".join(printable(value)[:24] for value in values)
        say(f"  {by_column.get(column, '-'):<5} {printable(column):<24} {shown}")
    if "time" not in found.table:
        say("  no time: the order of the file is that of the events; --time names a column")


def describe_counts(counts: Counts) -> None:
    """Say what is in the log."""
    span = "" if counts.span is None else ", {} to {}".format(*counts.span)
    say(f"{counts.events:,} events of {counts.users:,} users and {counts.items:,} items{span}")
    lengths = counts.lengths
    median = int(np.median(lengths))
    say(f"events of a user: mean {lengths.mean():.1f}, median {median:,}, most {lengths.max():,}")
    tied = "" if counts.tied is None else f"; {counts.tied:.1%} have the time of another one"
    say(f"{counts.repeats:.1%} of the events repeat an item of their user{tied}")


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def file_and_column(text: str) -> tuple[Path, str]:
    """A type for argparse: FILE:COLUMN."""
    path, colon, column = text.rpartition(":")
    if not colon or not path or not column:
        raise argparse.ArgumentTypeError(f"{text!r} is not FILE:COLUMN, like users.csv:age")
    return Path(path), column


def names(text: str) -> list[str]:
    """A type for argparse: names with commas between them."""
    found = text.split(",")
    if len(set(found)) < len(found) or "" in found:
        raise argparse.ArgumentTypeError(f"{text!r}: give each column a name of its own")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    """Say what is in the files of a log, and print a config for it."""
    parser = command_line.parser("inspect", __doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="events, or a folder")
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        type=file_and_column,
        metavar="FILE:COLUMN",
        help="a column of labels of users, for a task; may come again",
    )
    parser.add_argument(
        "--targets",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="pairs of user and target, for a task; may come again",
    )
    for role in ROLES:
        parser.add_argument(f"--{role}", metavar="COLUMN", help=f"the column of the {role}")
    parser.add_argument(
        "--columns", type=names, metavar="A,B,..", help="names of all columns without a header"
    )
    parser.add_argument("--name", help="of the log in tables and folders")
    args = parser.parse_args(argv)
    named = {role: getattr(args, role) for role in ROLES if getattr(args, role) is not None}
    sys.stdout.write(inspect(args.files, args.labels, args.targets, named, args.columns, args.name))
