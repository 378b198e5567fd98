"""What is written of a task: its arrays, and what its manifest says."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa


class TaskExamples(NamedTuple):
    """The examples of a task, made from a table or from what the corpus holds out."""

    arrays: dict[str, np.ndarray]
    """By name without `.npy`."""
    counts: dict[str, Any]
    facts: dict[str, Any]
    """Further entries of the manifest."""
    names: dict[str, pa.Array]
    """The texts that the numbers of an array stand for, by a name of their own."""
