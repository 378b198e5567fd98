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
import tempfile
from pathlib import Path

from userbench import command_line
from userbench.data.events.engine import cores, engine
from userbench.data.events.inspect import choices
from userbench.data.events.inspect.config import Log, as_name, rendered
from userbench.data.events.inspect.counts import log_counts
from userbench.data.events.inspect.places import places_of
from userbench.data.events.inspect.said import describe, describe_counts, say
from userbench.data.events.inspect.tables import ROLES, Found, event_file, kinds_of
from userbench.data.events.inspect.tasks import Looked, label_task, next_item_tasks, target_task
from userbench.data.events.settings import Table
from userbench.data.format import BadRow
from userbench.data.raw_files import printable
from userbench.errors import command

# Names of files that say nothing of the log: the folder's name does.
GENERAL = [
    "ratings",
    "events",
    "log",
    "data",
    "interactions",
    "u",
    "reviews",
    "clicks",
    "behaviors",
]


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
    places = places_of([*files, *(path for path, _ in labels), *targets])
    events = [event_file(path, places, named, columns) for path in files]
    tables = kinds_of(events)
    for one in events:
        describe(one)
    with tempfile.TemporaryDirectory() as folder, engine(Path(folder, "log"), cores()) as database:
        kinds = {kind: Table(**table) for kind, table in tables.items()}
        counts = log_counts(database, places.raw, kinds)
        describe_counts(counts)
        looked = Looked(places, events[0].table["user"], database, counts)
        bad, n_bad = list(counts.bad), [len(counts.bad)]
        tasks = [label_task(path, column, looked, bad, n_bad) for path, column in labels]
        tasks += [target_task(path, looked, bad, n_bad) for path in targets]
    tasks += next_item_tasks(counts)
    if not tasks:
        raise ValueError(
            f"{files[0]}: no task: {choices.hold_out(counts).why}, too few to hold out the last "
            "ones. Give --labels FILE:COLUMN or --targets FILE"
        )
    if len({task.name for task in tasks}) < len(tasks):
        raise ValueError(f"{files[0]}: two tasks of one name. Rename a column of --labels")
    for table in tables.values():
        if counts.time_unit is not None:
            table["time_unit"] = counts.time_unit
    about = Log(
        as_name(name or general_name(files[0])),
        ", ".join(printable(str(path)) for path in files),
        places.raw,
        tables,
        other_columns(events[0]),
    )
    return rendered(about, counts, tasks, bad_rows(bad, max(n_bad)))


def other_columns(found: Found) -> dict[str, list[str]]:
    """Columns of a file that have no role, with values that they have."""
    used = {column for column in found.table.values() if isinstance(column, str)}
    return {
        printable(column): [printable(value) for value in values[:50]]
        for column, values in found.sample.examples.items()
        if column not in used
    }


def general_name(path: Path) -> str:
    """A name for a log: that of its file, or of its folder where the file's says nothing."""
    stem = path.name.split(".")[0]
    folder = Path(path.absolute()).parent.name.removesuffix(".zip")
    is_general = stem.lower() in GENERAL or not any(sign.isalpha() for sign in stem)
    return folder if is_general and folder else stem


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


def bad_rows(bad: list[BadRow], allowed: int) -> choices.Choice:
    """How many rows may be bad, for there are so many."""
    for row in bad[:5]:
        say(f"bad row: {row.file}:{row.line}: {row.reason}")
    if not allowed:
        return choices.Choice(0, "all rows can be read")
    first = f", the first is {bad[0].file}:{bad[0].line}" if bad else ""
    say(f"{allowed:,} rows are bad, or of users without events; the config allows for them")
    return choices.Choice(allowed, f"so many are bad or of users without events{first}")


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
