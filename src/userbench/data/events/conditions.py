"""The filter of a table: which rows are kept, by conditions on columns such as `>= 4`."""

import math
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from userbench.data.events.identifiers import MISSING, as_mask

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
    """Which rows meet a condition, and the fault of each that cannot be compared by its index."""

    rows: Bool[np.ndarray, " rows"]
    faults: dict[int, str]


def meets(values: pa.Array, condition: Condition) -> Met:
    """Compare values with a condition: as numbers where both are numbers, else as texts.

    A missing value meets `!=` alone; in an order (`>= 4`), a text that is no number is a fault.
    """
    values = pc.fill_null(values.cast(pa.string()), "")
    if condition.comparison == "in":
        each = [
            meets(values, condition._replace(comparison="==", values=[v])) for v in condition.values
        ]
        return Met(np.logical_or.reduce([met.rows for met in each]), {})
    (value,) = condition.values
    compared = as_mask(COMPARISONS[condition.comparison](values, pa.scalar(value)))
    absent = as_mask(pc.is_in(values, value_set=pa.array(MISSING)))
    faults = {}
    if is_number(value):
        numeric = as_mask(pc.match_substring_regex(values, NUMBER))
        numbers = values.filter(pa.array(numeric)).cast(pa.float64())
        compared = compared.copy()
        compared[numeric] = as_mask(COMPARISONS[condition.comparison](numbers, float(value)))
        if condition.comparison in ORDER:
            for at in np.flatnonzero(~numeric & ~absent).tolist():
                faults[at] = (
                    f"{condition.column} {values[at].as_py()[:32]!r} is no number, and the filter "
                    f"is '{condition.comparison} {value}'. Correct it, or delete the row"
                )
    return Met(np.where(absent, condition.comparison == "!=", compared), faults)
