"""A table of labels -> the examples of a classification: one per user, by ascending user.

A user may be in several rows or files with one label; rows with another label than her first are
bad rows.
"""

import numpy as np

from userbench.data.events.coded import coded
from userbench.data.events.owned_rows import OwnedRows
from userbench.data.events.task_examples import TaskExamples
from userbench.data.examples import earliest_parts, label_arrays
from userbench.data.format import BadRows

WHOLE_LABEL = r"^(0|-?[1-9][0-9]*)$"
MOST_CLASSES = 2**15  # predictions keep classes in 16 bits


def label_examples(rows: OwnedRows, bad: BadRows) -> TaskExamples:
    """Arrays and counts of a task; ValueError for too many classes.

    Classes are numbered by value where all are whole numbers, else by text; of two classes the
    second is class 1, whose probability a binary task asks for.
    """
    labels = rows.columns["label"]
    _, first, owner = np.unique(rows.users, return_index=True, return_inverse=True)
    values = coded(labels, WHOLE_LABEL)
    differs = values.numbers != values.numbers[first][owner]
    for row in differs.nonzero()[0].tolist():
        before = int(first[owner[row]])
        file, line = rows.place(before)
        bad.add(
            *rows.place(row),
            f"user {rows.columns['user'][row].as_py()!r} has label {labels[row].as_py()!r}, but "
            f"{labels[before].as_py()!r} in {file}:{line}. Keep one of both",
        )
    return examples_of(rows.kept(~differs))


def examples_of(rows: OwnedRows) -> TaskExamples:
    """The examples of rows that do not contradict each other."""
    users, first, owner = np.unique(rows.users, return_index=True, return_inverse=True)
    values = coded(rows.columns["label"], WHOLE_LABEL)
    arrays, counts = label_arrays(users, values.numbers[first])
    counts["classes"] = {
        values.name(int(number)): count for number, count in counts["classes"].items()
    }
    check_classes(list(counts["classes"]), rows)
    counts["repeated_rows"] = len(rows.users) - len(users)
    parts = rows.parts()
    if parts is not None:
        arrays["parts"], counts["users_in_several_parts"] = earliest_parts(parts, owner)
    facts = {"class_1": list(counts["classes"])[1]} if len(counts["classes"]) == 2 else {}
    names = {} if values.texts is None else {"classes": values.texts}
    return TaskExamples(arrays, counts, facts, names)


def check_classes(classes: list[str], rows: OwnedRows) -> None:
    """ValueError for more classes than predictions can name."""
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{rows.files[0]}: {len(classes):,} different labels. Group them into classes: "
            f"at most {MOST_CLASSES:,}"
        )
