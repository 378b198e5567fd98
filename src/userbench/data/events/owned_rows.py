"""Rows of a task's table, each joined to the user of the store that has its id."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64, UInt8

from userbench.data.arrays import behaviours_folder, read_manifest
from userbench.data.draw_splits import PARTS
from userbench.data.events.containers import TableFile, find_files
from userbench.data.events.settings import Table
from userbench.data.events.tables import read_table
from userbench.data.format import BadRows
from userbench.data.ids import places, user_ids


class OwnedRows(NamedTuple):
    """Rows of a table in the order of its files, all of them of users of the store."""

    users: Int64[np.ndarray, " rows"]
    columns: dict[str, pa.ChunkedArray]
    """By role: user, item, label, part."""
    lines: Int64[np.ndarray, " rows"]
    file: Int64[np.ndarray, " rows"]
    """Of each row the place of its file in `files`."""
    files: list[TableFile]

    def kept(self, which: Bool[np.ndarray, " rows"]) -> "OwnedRows":
        """Some of the rows."""
        columns = {role: column.filter(pa.array(which)) for role, column in self.columns.items()}
        return OwnedRows(
            self.users[which], columns, self.lines[which], self.file[which], self.files
        )

    def place(self, row: int) -> tuple[str, int]:
        """File and line of a row."""
        return str(self.files[self.file[row]]), int(self.lines[row])

    def parts(self) -> UInt8[np.ndarray, " rows"] | None:
        """Part of each row; None without such a column. ValueError for another word."""
        if "part" not in self.columns:
            return None
        found = pc.index_in(self.columns["part"], value_set=pa.array(PARTS))
        unknown = pc.is_null(found).to_numpy()
        if unknown.any():
            row = int(unknown.argmax())
            file, line = self.place(row)
            raise ValueError(
                f"{file}:{line}: part {self.columns['part'][row].as_py()!r} is none of "
                f"{', '.join(PARTS)}. Rename it"
            )
        return found.to_numpy().astype(np.uint8)


def read_owned_rows(
    raw: Path, table: Table, store: Path, bad: BadRows
) -> tuple[OwnedRows, dict[str, int]]:
    """The rows of a table whose users are in the store, and counts of the others.

    A row of another user is a bad row, unless the corpus left users out by its settings: hers may
    be among these.

    Raises:
        ValueError: no row is of a user of the store.
    """
    rows = read_rows(raw, table, bad)
    known = user_ids(store)
    users = places(rows.columns["user"].combine_chunks(), known)
    other = users < 0
    if other.all():
        file, line = rows.place(0)
        raise ValueError(
            f"{file}:{line}: user {rows.columns['user'][0].as_py()!r} has no events, nor has any "
            f"other user of this table. Give it the ids of the events, like {known[0].as_py()!r}"
        )
    counts = {"rows_read": len(users)}
    if leaves_users_out(store):
        counts["rows_of_users_left_out"] = int(other.sum())
    else:
        for row in other.nonzero()[0].tolist():
            user = rows.columns["user"][row].as_py()
            bad.add(*rows.place(row), f"user {user!r} has no events. Remove the row")
        counts["rows_of_unknown_users"] = int(other.sum())
    return rows._replace(users=users).kept(~other), counts


def leaves_users_out(store: Path) -> bool:
    """Whether the settings of a corpus may leave out users who have events."""
    settings = read_manifest(behaviours_folder(store))["settings"]
    filters = [table.get("filter") for table in settings["events"].values()]
    cores = [settings.get(name) or 1 for name in ("min_user_events", "min_item_users")]
    by_dates = (settings.get("hold_out") or {}).get("train_from")
    return any(filters) or max(cores) > 1 or bool(by_dates)


def read_rows(raw: Path, table: Table, bad: BadRows) -> OwnedRows:
    """All rows of a table, their users not yet known."""
    files = find_files(raw, table.files)
    blocks = list(read_table(raw, table, bad, files))
    of_each = [np.full(len(block.lines), files.index(block.file)) for block in blocks]
    lines = np.concatenate([block.lines for block in blocks])
    columns = {
        role: pa.chunked_array([block.columns[role] for block in blocks])
        for role in blocks[0].columns
    }
    return OwnedRows(np.full(len(lines), -1), columns, lines, np.concatenate(of_each), files)
