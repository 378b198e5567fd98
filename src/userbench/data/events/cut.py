"""Which events are held out of the input: everybody's last three, or those from a date on."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8

from userbench.data.events.settings import HoldOut, TimeUnit

TRAIN, VALIDATION, TEST, INPUT = 0, 1, 2, 3
PART_NAMES = ("train", "validation", "test")
# An event before the first date, in the windows that three dates begin.
PART_OF_WINDOW = np.array([INPUT, TRAIN, VALIDATION, TEST], np.uint8)
LAST = len(PART_NAMES)
IN_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def held_out_folder(store: Path) -> Path:
    """The folder of a store with the events that are no input, but asked for."""
    return store / "held_out"


def last_three(offsets: Int64[np.ndarray, " bounds"]) -> UInt8[np.ndarray, " events"]:
    """Part of each event: the last three of a user are asked for, unless nothing would be left."""
    parts = np.full(offsets[-1], INPUT, np.uint8)
    ends = offsets[1:][np.diff(offsets) > LAST]
    for part in (TRAIN, VALIDATION, TEST):
        parts[ends - LAST + part] = part
    return parts


def windows(hold_out: HoldOut, time: pa.DataType | None, units: set[TimeUnit | None]) -> list[int]:
    """The three dates as numbers of the unit that times have; empty where none are given.

    Raises:
        ValueError: there are no times, or numbers whose unit is not given.
    """
    dates = [hold_out.train_from, hold_out.validation_from, hold_out.test_from]
    if None in dates:
        return []
    if time is None:
        raise ValueError("hold_out: dates need a column `time`. Name it, or write `last: 3`")
    unit = "us"
    if not pa.types.is_timestamp(time):
        if units == {None}:
            raise ValueError("hold_out: times are numbers. Give their `time_unit`: s, ms, us or ns")
        (unit,) = units
    return [int(since_1970(day).total_seconds()) * IN_A_SECOND[unit] for day in dates]


def since_1970(day: date) -> timedelta:
    """Time from the beginning of 1970 to that of a day, both of UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
