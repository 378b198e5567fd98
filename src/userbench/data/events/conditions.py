"""The filter of a table: which rows are kept, by conditions on columns such as `>= 4`."""

import math
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from userbench.data.events.identifiers import as_mask, missing, without_nulls

ORDER = {">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less}
COMPARISONS = {**ORDER, "==": pc.equal, "!=": pc.not_equal}
FORM = re.compile(r"(>=|<=|==|!=|>|<|in\s)\s*(.*\S)\s*", re.DOTALL)
NUMBER = r"^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?$"
EXACT_DIGITS = 15  # longer numbers are compared as texts, for a double would not hold them


class Condition(NamedTuple):
    """What a column is compared with."""

    column: str
    comparison: str
    values: list[str]


def conditions_of(filter: dict[str, str]) -> list[Condition]:
    """The conditions of a table; ValueError for one of another form."""
    return [condition_of(column, text) for column, text in filter.items()]


def condition_of(column: str, text: str) -> Condition:
    """One condition; ValueError for another form."""
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"filter {column}: {text!r} is no condition. Write one like '>= 4', '== view', "
            "'!= 0' or 'in view, buy'"
        )
    comparison, value = found[1].strip(), found[2]
    values = [part.strip() for part in value.split(",")] if comparison == "in" else [value]
    return Condition(column, comparison, [unquoted(value) for value in values])


def unquoted(value: str) -> str:
    """A value without the quotes around it."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def is_number(text: str) -> bool:
    """Whether a text is a number that a double holds."""
    digits = sum(sign.isdigit() for sign in text)
    return bool(re.match(NUMBER, text)) and digits <= EXACT_DIGITS and math.isfinite(float(text))


class Met(NamedTuple):
    """Which rows meet a condition, and which cannot be compared with it."""

    rows: Bool[np.ndarray, " rows"]
    wrong: Bool[np.ndarray, " rows"]


def meets(values: pa.Array, condition: Condition) -> Met:
    """Compare values with a condition: as numbers where both are numbers, else as texts.

    A missing value meets `!=` alone; in an order (`>= 4`), a text that is no number is wrong.
    """
    values = without_nulls(values.cast(pa.string()))
    if condition.comparison == "in":
        equal = [condition._replace(comparison="==", values=[one]) for one in condition.values]
        rows = np.logical_or.reduce([meets(values, one).rows for one in equal])
        return Met(rows, np.zeros(len(rows), bool))
    (value,) = condition.values
    compare = COMPARISONS[condition.comparison]
    compared = as_mask(compare(values, pa.scalar(value))).copy()
    absent = missing(values, "label")
    wrong = np.zeros(len(absent), bool)
    if is_number(value):
        numeric = as_mask(pc.match_substring_regex(values, NUMBER))
        numbers = values.filter(pa.array(numeric)).cast(pa.float64())
        compared[numeric] = as_mask(compare(numbers, float(value)))
        if condition.comparison in ORDER:
            wrong = ~numeric & ~absent
    return Met(np.where(absent, condition.comparison == "!=", compared), wrong)


def condition_fault(value: object, of: Condition) -> str:
    """Why a value cannot be compared."""
    return (
        f"{of.column} {str(value)[:32]!r} is no number, and the filter is "
        f"'{of.comparison} {of.values[0]}'. Correct it, or delete the row"
    )
