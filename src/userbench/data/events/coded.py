"""A column of ids or labels as whole numbers: their own, or places among the distinct texts."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from userbench.data.ids import WHOLE_NUMBER, typed


class Coded(NamedTuple):
    """A whole number for each row, in the order of the values."""

    numbers: Int64[np.ndarray, " rows"]
    texts: pa.Array | None
    """The distinct texts in code-point order, whose places the numbers are; None: own numbers."""

    def name(self, number: int) -> str:
        """The text of a number."""
        return str(number) if self.texts is None else self.texts[number].as_py()


def coded(column: pa.ChunkedArray, whole: str = WHOLE_NUMBER) -> Coded:
    """Own numbers where all values are `typed` as such by the pattern `whole`."""
    distinct = typed(column.unique(), whole)
    if pa.types.is_integer(distinct.type):
        return Coded(column.cast(pa.int64()).to_numpy(), None)
    texts = distinct.sort()  # by the bytes of UTF-8, whose order is that of code points
    return Coded(pc.index_in(column, value_set=texts).to_numpy().astype(np.int64), texts)
