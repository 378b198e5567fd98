"""What `userbench inspect` says of a log, on stderr."""

import sys

import numpy as np

from userbench.data.events.inspect.counts import Counts
from userbench.data.events.inspect.tables import Found
from userbench.data.raw_files import printable


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


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
