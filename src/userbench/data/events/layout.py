"""How a text file is laid out, from its first line: separator, names of columns, where they are."""

import csv
from typing import NamedTuple

from userbench.data.events.containers import TableFile
from userbench.data.events.settings import Table
from userbench.data.raw_files import printable

SEPARATORS = {
    **{"\t": "tabs", "::": "'::'", ",": "commas", ";": "semicolons", "|": "'|'", " ": "blanks"},
}
QUOTED = ",;"  # between these, a field may be quoted as RFC 4180 says
TYPES = (":token", ":token_seq", ":float", ":float_seq")  # in headers of RecBole's atomic files
BYTE_ORDER_MARK = "\ufeff"


class Layout(NamedTuple):
    """Separator and number of columns, places of those that are read, and whether line 1 is one."""

    separator: str
    width: int
    places: dict[str, int]
    has_header: bool


def wanted(table: Table) -> list[str]:
    """Names of the columns that are read, each once."""
    roles = (table.user, table.item, table.time, table.label, table.part, *table.filter)
    return list(dict.fromkeys(name for name in roles if name is not None))


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of a line; quotes are taken off."""
    line = line.removesuffix("\r")
    if separator in QUOTED:
        try:
            return next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            return line.split(separator)
    return [unquoted(field) for field in line.split(separator)]


def unquoted(field: str) -> str:
    """A field without the quotes around it."""
    is_quoted = len(field) > 1 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if is_quoted else field


def place_of(name: str, names: list[str]) -> int | None:
    """Place of a column among the names of a file, which may have RecBole's types behind them."""
    if name in names:
        return names.index(name)
    plain = [without_type(one) for one in names]
    return plain.index(name) if name in plain else None


def without_type(name: str) -> str:
    """A column's name without RecBole's type."""
    for kind in TYPES:
        name = name.removesuffix(kind)
    return name


def layout_of(first: bytes, table: Table, file: TableFile) -> Layout:
    """The layout of a file that begins with this line.

    Raises:
        ValueError: a column of the table is not there, or twice, under every separator there is.
    """
    if b"\0" in first or first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{file}:1: NUL byte or UTF-16. Save the file as UTF-8")
    line = first.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK)
    if "\r" in line.removesuffix("\r"):
        raise ValueError(f"{file}:1: lines end with a carriage return alone. Save it with \\n")
    if not line.strip():
        raise ValueError(f"{file}:1: blank line. Delete it")
    asked = table.separator.replace("\\t", "\t") if table.separator else None
    tried = {one: fields_of(line, one) for one in ([asked] if asked else SEPARATORS)}
    if table.columns is not None:
        return headless(tried, table.columns, table, file)
    names = wanted(table)
    for separator, found in tried.items():
        places = {name: place_of(name, found) for name in names}
        if None not in places.values():
            check_once(names, found, file)
            return Layout(separator, len(found), places, True)
    # The separator that shows most of the names, and then most columns.
    separator, found = max(
        tried.items(),
        key=lambda one: (sum(place_of(n, one[1]) is not None for n in names), len(one[1])),
    )
    missing = next(name for name in names if place_of(name, found) is None)
    raise ValueError(
        f"{file}:1: no column {missing!r}; there are: {listed(found)} "
        f"(separated by {spoken(separator)}). Name one of them, or all in `columns` where the "
        "file has no header"
    )


def headless(
    tried: dict[str, list[str]], columns: list[str], table: Table, file: TableFile
) -> Layout:
    """The layout of a file without a header; ValueError where it has another number of columns."""
    places = {name: place_of(name, columns) for name in wanted(table)}
    for name, place in places.items():
        if place is None:
            raise ValueError(
                f"{file}: no column {name!r} among `columns`: {listed(columns)}. Name one of them"
            )
    check_once(wanted(table), columns, file)
    for separator, found in tried.items():
        if len(found) == len(columns):
            if [without_type(name) for name in found] == [without_type(n) for n in columns]:
                raise ValueError(f"{file}:1: is a header line. Remove `columns` from the config")
            return Layout(separator, len(columns), places, False)
    separator, found = max(tried.items(), key=lambda one: len(one[1]))
    raise ValueError(
        f"{file}:1: {len(found)} columns, separated by {spoken(separator)}, where `columns` names "
        f"{len(columns)}. Name all columns, or give their `separator`"
    )


def check_once(names: list[str], found: list[str], file: TableFile) -> None:
    """ValueError for a column of the table that the file has twice."""
    for name in names:
        if found.count(name) > 1:
            raise ValueError(f"{file}:1: column {name!r} is there twice. Rename one of the columns")


def spoken(separator: str) -> str:
    """A separator in a message."""
    return SEPARATORS.get(separator, repr(separator))


def listed(names: list[str]) -> str:
    """The first names of a file's columns, for a message."""
    some = [printable(name if len(name) <= 40 else f"{name[:40]}..") for name in names[:12]]
    return ", ".join([*some, ".."] if len(names) > 12 else some)
