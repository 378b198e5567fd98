"""Ids and labels of rows: which are missing, and which are no ids.

A text is an id as it is: `007` stays `007`, and no digit is lost. What programs write for a missing
value is none.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

MISSING = ["", "nan", "NaN", "NAN", "null", "NULL", "<NA>", "\\N"]
MISSING_IDS = [*MISSING, "NA", "N/A", "None"]
EXACT = 2**53  # above it a double does not hold every whole number
INT64_MAX = 2**63 - 1
NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]*)?")
DECIMAL = re.compile(r"([0-9]+)\.([0-9]*)")


def missing(values: pa.Array, role: str) -> Bool[np.ndarray, " rows"]:
    """Which of the texts stand for no value."""
    known = MISSING if role == "label" else MISSING_IDS
    longest = max(map(len, known))
    is_missing = np.zeros(len(values), bool)
    few = np.flatnonzero(as_mask(pc.less_equal(pc.binary_length(values), longest)))
    found = pc.is_in(values.take(pa.array(few)), value_set=pa.array(known))
    is_missing[few[as_mask(found)]] = True
    return is_missing


def as_mask(values: pa.Array) -> Bool[np.ndarray, " rows"]:
    """Arrow's booleans as an array; nulls are False."""
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def text_ids(values: pa.Array, role: str) -> tuple[pa.Array, dict[int, str]]:
    """Texts as ids or labels of a role, and the fault of each that is none by its index.

    A user that was written as a decimal number is a whole one: 12.0 is 12.
    """
    absent = np.flatnonzero(missing(values, role)).tolist()
    faults = {at: f"{role} is missing. Fill it in, or delete the row" for at in absent}
    if role not in ("user", "item"):
        return values, faults
    for at in np.flatnonzero(as_mask(pc.starts_with(values, "-"))).tolist():
        if NEGATIVE.fullmatch(values[at].as_py()):
            faults[at] = negative(role, values[at].as_py())
    if role == "user":
        decimals = pc.and_(pc.match_substring(values, "."), pc.less(pc.binary_length(values), 400))
        dotted = np.flatnonzero(as_mask(decimals)).tolist()
        found = {at: DECIMAL.fullmatch(values[at].as_py()) for at in dotted}
        whole = {at: match[1] for at, match in found.items() if match and not match[2].strip("0")}
        for at, match in found.items():
            if match and at not in whole:
                faults[at] = no_whole_number(role, match[0])
        if whole:
            texts = values.to_pylist()
            for at, text in whole.items():
                texts[at] = text
            values = pa.array(texts, pa.string())
    return values, faults


def number_ids(values: pa.Array, role: str) -> tuple[pa.Array, dict[int, str]]:
    """Numbers of a Parquet column as ids: whole ones as int64; and the fault of each that is none.

    Raises:
        TypeError: the column holds neither numbers nor texts.
    """
    null = np.flatnonzero(as_mask(pc.is_null(values, nan_is_null=True))).tolist()
    faults = {at: f"{role} is missing. Fill it in, or delete the row" for at in null}
    kind = values.type
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(values.cast(pa.float64()), 0).to_numpy()
        broken = (numbers != np.floor(numbers)) | ~np.isfinite(numbers)
        for at in np.flatnonzero(broken).tolist():
            faults.setdefault(at, no_whole_number(role, repr(float(numbers[at]))))
        for at in np.flatnonzero(np.abs(numbers) > EXACT).tolist():
            faults.setdefault(
                at, f"{role} {numbers[at]:.0f}: a float has lost digits of it. Write whole numbers"
            )
        usable = np.ones(len(numbers), bool)
        usable[list(faults)] = False
        whole = pa.array(np.where(usable, numbers, 0).astype(np.int64))
    elif pa.types.is_signed_integer(kind) or kind in (pa.uint8(), pa.uint16(), pa.uint32()):
        whole = pc.fill_null(values.cast(pa.int64()), 0)
    else:
        raise TypeError(f"{role} has type {kind}. Write whole numbers or texts")
    for at in np.flatnonzero(as_mask(pc.less(whole, 0))).tolist():
        faults.setdefault(at, negative(role, str(whole[at].as_py())))
    return whole, faults


def negative(role: str, text: str) -> str:
    """The fault of a negative id."""
    return (
        f"{role} {text[:32]} is negative, as a missing id often is. Delete such rows or filter "
        "them out, or put a letter before ids that are meant so"
    )


def no_whole_number(role: str, text: str) -> str:
    """The fault of an id with decimals."""
    return f"{role} {text[:32]} is no whole number. Check that this is the right column"
