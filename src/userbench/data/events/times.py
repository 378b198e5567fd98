"""Times of rows -> numbers as they are in the file, or timestamps; one kind for a whole table.

The first rows decide which kind it is, whole numbers, decimals, timestamps or timestamps with a
zone, and every later one must be of it: nothing is converted by guess.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from userbench.data.events.identifiers import MISSING_IDS, as_mask

WHOLE = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?")
ZONED = re.compile(rf"({DATE.pattern})( UTC|Z|[-+][0-9]{{2}}(:?[0-9]{{2}})?)")
DIGITS = 17  # as many as a double keeps
MICROSECONDS, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
NAMES = {
    pa.int64(): "whole numbers",
    pa.float64(): "decimal numbers",
    MICROSECONDS: "times without a zone",
    UTC: "times with a zone",
}


class Times:
    """The times of a table, of one type from the first row on."""

    def __init__(self) -> None:
        self.type: pa.DataType | None = None

    def converted(self, values: pa.Array) -> tuple[pa.Array, dict[int, str]]:
        """Times of a column of a file, and the fault of each that cannot be read by its index.

        Raises:
            TypeError: the column holds no times.
        """
        if pa.types.is_string(values.type):
            return self.from_text(values)
        times, type = native(values)
        faults = {
            at: "time is missing. Fill it in, or delete the row"
            for at in np.flatnonzero(as_mask(pc.is_null(times, nan_is_null=True))).tolist()
        }
        self.type = self.type or type
        if type != self.type:
            raise TypeError(
                f"time is {NAMES[type]}, earlier {NAMES[self.type]}. Write all in one form"
            )
        if type == pa.float64():
            for at in np.flatnonzero(as_mask(pc.invert(pc.is_finite(times)))).tolist():
                faults.setdefault(at, "time is infinite. Correct it")
        return times, faults

    def from_text(self, values: pa.Array) -> tuple[pa.Array, dict[int, str]]:
        """Times that are texts."""
        if self.type is None:
            self.type = type_of(values)
        times = at_once(values, self.type)
        if times is not None:
            return times, {}
        faults: dict[int, str] = {}
        singly = []
        for at, text in enumerate(values.to_pylist()):
            time = at_once(pa.array([text.strip()], pa.string()), self.type)
            if time is None:
                faults[at] = time_fault(text.strip(), self.type)
            singly.append(time if time is not None else pa.nulls(1, self.type))
        return pa.concat_arrays(singly), faults


def type_of(values: pa.Array) -> pa.DataType:
    """The type that suits all of the texts, or else the first one that is there."""
    for type in NAMES:
        if at_once(values, type) is not None:
            return type
    present = [text.strip() for text in values[:1000].to_pylist() if text not in MISSING_IDS]
    first = present[0] if present else ""
    if NUMBER.fullmatch(first):
        is_whole = all(WHOLE.fullmatch(text) for text in present if NUMBER.fullmatch(text))
        return pa.int64() if is_whole else pa.float64()
    return UTC if ZONED.fullmatch(first) else MICROSECONDS


def at_once(values: pa.Array, type: pa.DataType) -> pa.Array | None:
    """The texts as times of a type; None where one of them is none."""
    if type == pa.int64() and as_mask(pc.match_substring_regex(values, "[^-0-9]")).any():
        return None
    if type == pa.float64():
        if not as_mask(pc.match_substring_regex(values, f"^{NUMBER.pattern}$")).all():
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
    if type == pa.float64() and not as_mask(pc.is_finite(times)).all():
        return None
    return times


def time_fault(text: str, type: pa.DataType) -> str:
    """Why a text is no time of a type."""
    shown = repr(text[:32])
    if text in MISSING_IDS:
        return "time is missing. Fill it in, or delete the row"
    for other in NAMES:
        if other != type and at_once(pa.array([text]), other) is not None:
            return (
                f"time {shown} is one of the {NAMES[other]}, earlier rows have {NAMES[type]}. "
                "Write all times in one form"
            )
    if NUMBER.fullmatch(text):
        return f"time {shown} has more digits than are kept. Write whole numbers of `time_unit`"
    return f"time {shown} is neither a number nor like 2015-01-31 12:00:00. Rewrite the column"


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
