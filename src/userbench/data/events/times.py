"""Times of rows -> numbers as they are in the file, or timestamps; one kind for a whole table.

The first row decides which kind it is, whole numbers, decimals, timestamps or timestamps with a
zone, and every later one must be of it: nothing is converted by guess.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from userbench.data.events.identifiers import (
    EXACT,
    MISSING_IDS,
    Converted,
    as_mask,
    without_nulls,
)

DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?"
MICROSECONDS, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
NAMES = {
    pa.int64(): "whole numbers",
    pa.float64(): "decimal numbers",
    MICROSECONDS: "times without a zone",
    UTC: "times with a zone",
}
FORMS = {
    pa.int64(): r"^-?[0-9]+$",
    pa.float64(): r"^-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$",
    MICROSECONDS: f"^{DATE}$",
    UTC: rf"^{DATE}( UTC|Z|[-+][0-9]{{2}}(:?[0-9]{{2}})?)$",
}
DIGITS = 17  # as many as a double keeps


class Times:
    """The times of a table, of one type from the first row on."""

    def __init__(self) -> None:
        self.type: pa.DataType | None = None

    def converted(self, values: pa.Array) -> Converted:
        """The times in a column of a file.

        Raises:
            TypeError: the column holds no times.
        """
        if pa.types.is_string(values.type):
            return self.from_texts(pc.utf8_trim_whitespace(without_nulls(values)))
        times, type = native(values)
        self.type = self.type or type
        if type != self.type:
            raise TypeError(f"time is {NAMES[type]}, earlier {NAMES[self.type]}. Write one form")
        wrong = as_mask(pc.is_null(times))
        if type == pa.float64():
            wrong = wrong | ~as_mask(pc.is_finite(times))
        return Converted(times, wrong)

    def from_texts(self, values: pa.Array) -> Converted:
        """Times that are texts."""
        if self.type is None:
            self.type = type_of(values)
        if self.type is None:
            return Converted(pa.nulls(len(values), pa.int64()), np.ones(len(values), bool))
        times = at_once(values, self.type)
        if times is not None:
            return Converted(times, np.zeros(len(values), bool))
        right = as_mask(pc.match_substring_regex(values, FORMS[self.type]))
        found = one_by_one(values.filter(pa.array(right)), self.type)
        times = pc.replace_with_mask(pa.nulls(len(values), self.type), pa.array(right), found)
        return Converted(times, as_mask(pc.is_null(times)))

    def fault(self, value: object) -> str:
        """Why a value is no time, or none like those before it."""
        text = str(value).strip()
        shown = repr(text[:32])
        if value is None or text in MISSING_IDS:
            return "time is missing. Fill it in, or delete the row"
        others = [type for type in NAMES if at_once(pa.array([text]), type) is not None]
        if others and self.type:
            return (
                f"time {shown} is one of the {NAMES[others[0]]}, others are {NAMES[self.type]}. "
                "Write all times in one form"
            )
        if re.fullmatch(FORMS[pa.float64()], text):
            return f"time {shown} has more digits than are kept. Write whole numbers"
        return f"time {shown} is neither a number nor like 2015-01-31 12:00:00. Rewrite the column"


def type_of(values: pa.Array) -> pa.DataType | None:
    """The type of the first text that is a time; None where there is none."""
    for text in values.to_pylist():
        for type in NAMES:
            if at_once(pa.array([text]), type) is not None:
                return type
    return None


def at_once(values: pa.Array, type: pa.DataType) -> pa.Array | None:
    """The texts as times of a type; None where one of them is none."""
    if type == pa.int64() and as_mask(pc.match_substring(values, "x")).any():
        return None  # Arrow would read 0x10
    if type == pa.float64():
        if not as_mask(pc.match_substring_regex(values, FORMS[type])).all():
            return None
        digits = pc.replace_substring_regex(values, r"[-.]|[eE].*|\.?0+$", "")
        if len(digits) and pc.max(pc.binary_length(digits)).as_py() > DIGITS:
            return None
    if type == UTC:
        values = pc.replace_substring_regex(values, " UTC$", "Z")
    try:
        times = values.cast(type)
    except pa.ArrowInvalid:
        return None
    if type == pa.float64() and not as_mask(pc.less(pc.abs(times), EXACT)).all():
        return None
    return times


def one_by_one(values: pa.Array, type: pa.DataType) -> pa.Array:
    """The texts as times of a type, null where one is none; found by halving."""
    times = at_once(values, type)
    if times is not None:
        return times
    if len(values) == 1:
        return pa.nulls(1, type)
    half = len(values) // 2
    return pa.concat_arrays([one_by_one(values[:half], type), one_by_one(values[half:], type)])


def native(values: pa.Array) -> tuple[pa.Array, pa.DataType]:
    """Numbers, dates or timestamps of a Parquet column in one of the four types.

    Raises:
        TypeError: the column is none of these, or loses digits.
    """
    kind = values.type
    try:
        if pa.types.is_integer(kind):
            return values.cast(pa.int64()), pa.int64()
        if pa.types.is_floating(kind):
            return values.cast(pa.float64()), pa.float64()
        if pa.types.is_timestamp(kind):
            type = MICROSECONDS if kind.tz is None else UTC
            return values.cast(type), type
        if pa.types.is_date(kind):
            return values.cast(MICROSECONDS), MICROSECONDS
    except pa.ArrowInvalid:
        raise TypeError(
            f"time of type {kind} loses digits. Write whole numbers and name their `time_unit`"
        ) from None
    raise TypeError(f"time has type {kind}. Write numbers, timestamps or texts")
