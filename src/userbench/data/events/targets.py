"""A table of (user, target) pairs -> the examples of a top-N task with a catalogue of its own."""

import numpy as np

from userbench.data.events.coded import coded
from userbench.data.events.owned_rows import OwnedRows
from userbench.data.events.task_examples import TaskExamples
from userbench.data.examples import earliest_parts, example_of_pair, target_arrays


def target_examples(rows: OwnedRows) -> TaskExamples:
    """Arrays and counts of a task; ValueError where there is one target alone.

    Targets are ordered by number where all are whole numbers, else by text, and then numbered
    from 0. A pair that comes in several parts is in the earliest.
    """
    values = coded(rows.columns["item"])
    target_ids, targets = np.unique(values.numbers, return_inverse=True)
    if len(target_ids) < 2:
        raise ValueError(
            f"{rows.files[0]}: every target is {values.name(int(target_ids[0]))!r}. There must be "
            "several to rank"
        )
    arrays, counts = target_arrays(rows.users, targets, target_ids)
    counts["repeated_targets"] = len(rows.users) - counts["pairs"]
    parts = rows.parts()
    if parts is not None:
        example = example_of_pair(arrays, rows.users, targets)
        arrays["parts"], counts["pairs_in_several_parts"] = earliest_parts(parts, example)
    names = {} if values.texts is None else {"targets": values.texts}
    return TaskExamples(arrays, counts, {}, names)
