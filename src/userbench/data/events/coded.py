"""A column of ids or labels as whole numbers: their own, or places among the distinct texts."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

NOT_NEGATIVE, ANY_SIGN = r"^(0|[1-9][0-9]*)$", r"^(0|-?[1-9][0-9]*)$"


class Coded(NamedTuple):
    """A whole number for each row, in the order of the values."""

    numbers: Int64[np.ndarray, " rows"]
    texts: pa.Array | None
    """The distinct texts in code-point order, whose places the numbers are; None: own numbers."""

    def name(self, number: int) -> str:
        """The text of a number."""
        return str(number) if self.texts is None else self.texts[number].as_py()


def coded(column: pa.ChunkedArray, whole: str) -> Coded:
    """Numbers where every value matches the pattern `whole` and fits 64 bits, else texts."""
    if pa.types.is_integer(column.type):
        return Coded(column.to_numpy(), None)
    distinct = column.unique()
    if pc.all(pc.match_substring_regex(distinct, whole)).as_py():
        try:
            distinct.cast(pa.int64())
        except pa.ArrowInvalid:  # a number above 2^63
            pass
        else:
            return Coded(column.cast(pa.int64()).to_numpy(), None)
    texts = distinct.sort()  # by the bytes of UTF-8, whose order is that of code points
    return Coded(pc.index_in(column, value_set=texts).to_numpy().astype(np.int64), texts)
