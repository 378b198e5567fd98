"""Ids and labels of rows: which are missing, and which are no ids.

A text is an id as it is: `007` stays `007`, and no digit is lost. What programs write for a missing
value is none.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

MISSING = ["", "nan", "NaN", "NAN", "null", "NULL", "<NA>", "\\N"]
MISSING_IDS = [*MISSING, "NA", "N/A", "None"]
EXACT = 2**53  # a double of this size or more may have been another whole number
NEGATIVE = r"^-[0-9]+(\.[0-9]*)?$"
WHOLE_DECIMAL = r"^([0-9]+)\.0*$"
DECIMAL = r"^[0-9]+\.[0-9]*$"


class Converted(NamedTuple):
    """The values of a role, and which of them are wrong."""

    values: pa.Array
    wrong: Bool[np.ndarray, " rows"]


def as_mask(values: pa.Array) -> Bool[np.ndarray, " rows"]:
    """Arrow's booleans as an array; nulls are False."""
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def without_nulls(texts: pa.Array) -> pa.Array:
    """The texts with an empty one for each that is null."""
    return pc.fill_null(texts, "") if texts.null_count else texts


def converted_ids(values: pa.Array, role: str) -> Converted:
    """The column of a role: whole numbers as int64, everything else as texts.

    Raises:
        TypeError: the column holds neither numbers nor texts.
    """
    if role in ("user", "item") and is_number_type(values.type):
        return from_numbers(values)
    return from_texts(without_nulls(as_texts(values, role)), role)


def is_number_type(kind: pa.DataType) -> bool:
    """Whether values are floats or whole numbers within int64; larger ones are texts."""
    return pa.types.is_floating(kind) or (pa.types.is_integer(kind) and kind != pa.uint64())


def from_texts(values: pa.Array, role: str) -> Converted:
    """Texts as ids or labels. A user written as a decimal number is a whole one: 12.0 is 12."""
    wrong = missing(values, role)
    if role in ("user", "item") and as_mask(pc.starts_with(values, "-")).any():
        wrong |= as_mask(pc.match_substring_regex(values, NEGATIVE))
    if role == "user" and as_mask(pc.match_substring(values, ".")).any():
        values = pc.replace_substring_regex(values, WHOLE_DECIMAL, r"\1")
        wrong |= as_mask(pc.match_substring_regex(values, DECIMAL))
    return Converted(values, wrong)


def missing(values: pa.Array, role: str) -> Bool[np.ndarray, " rows"]:
    """Which of the texts stand for no value."""
    known = MISSING if role == "label" else MISSING_IDS
    is_missing = np.zeros(len(values), bool)
    short = np.flatnonzero(as_mask(pc.less_equal(pc.binary_length(values), max(map(len, known)))))
    found = pc.is_in(values.take(pa.array(short)), value_set=pa.array(known))
    is_missing[short[as_mask(found)]] = True
    return is_missing


def from_numbers(values: pa.Array) -> Converted:
    """Numbers of a Parquet column as whole ones."""
    wrong = as_mask(pc.is_null(values, nan_is_null=True))
    if pa.types.is_floating(values.type):
        numbers = pc.fill_null(values.cast(pa.float64()), 0).to_numpy()
        wrong = wrong | ~(np.abs(numbers) < EXACT) | (numbers != np.floor(numbers))
        values = pa.array(np.where(wrong, 0, numbers).astype(np.int64))
    whole = pc.fill_null(values.cast(pa.int64()), 0)
    return Converted(whole, wrong | as_mask(pc.less(whole, 0)))


def as_texts(values: pa.Array, role: str) -> pa.Array:
    """Values of a column as texts, whole floats as whole numbers; TypeError for other types."""
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_floating(kind):
        numbers = values.to_pylist()
        return pa.array([None if n is None else number_text(n) for n in numbers], pa.string())
    is_id_type = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    if not is_id_type and (role in ("user", "item") or pa.types.is_nested(kind)):
        raise TypeError(f"{role} has type {kind}. Write whole numbers or texts")
    return values.cast(pa.string())


def number_text(number: float) -> str:
    """A float as a text, a whole one without decimals."""
    return f"{number:.0f}" if number.is_integer() else repr(number)


def id_fault(value: object, role: str) -> str:
    """Why a value is no id or label."""
    text = str(value)
    if value is None or text in MISSING_IDS:
        return f"{role} is missing. Fill it in, or delete the row"
    if text.startswith("-"):
        return (
            f"{role} {text[:32]} is negative, as a missing id often is. Delete such rows or filter "
            "them out, or put a letter before ids that are meant so"
        )
    if isinstance(value, float) and value.is_integer():
        return f"{role} {value:.17g} is a float, which has lost digits. Write whole numbers"
    return f"{role} {text[:32]} is no whole number. Check that this is the right column"
