"""The tables of a config: of files of events, by kind, and of other files."""

from pathlib import Path
from typing import Any, NamedTuple

from userbench.data.events.containers import find_files
from userbench.data.events.inspect.config import as_name
from userbench.data.events.inspect.places import Places
from userbench.data.events.inspect.sample import Sample, column_named, sample_of
from userbench.data.raw_files import printable

ROLES = ("user", "item", "time")


class Found(NamedTuple):
    """A file that was looked at, and its table in the config."""

    path: Path
    sample: Sample
    table: dict[str, Any]


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
