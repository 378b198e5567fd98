"""The least work of each stage, from shapes alone: what any implementation has to do.

Counted are multiply-adds of matrix products (as two operations) on real behaviours, not on padding,
and bytes that cannot stay in a cache: ids, rows of the item table, gradients and moments of all
parameters but the rows of items that no user of a batch has, score matrices. Not counted: softmax,
GELU, norms, dropout, activations.
"""

from typing import NamedTuple

from torch import Tensor

from benchmarks.configurations import Configuration
from userbench.model.augment import ceil_share
from userbench.model.encoder import EncoderConfig
from userbench.views.operators import Options

FLOAT, STORED_ID, ID = 4, 4, 8  # bytes
# Adam reads weight, gradient and two moments, and writes all but the gradient.
ADAM_PASSES = 7
ADAM_OPERATIONS = 12


class Work(NamedTuple):
    """Operations and bytes of one stage."""

    operations: float
    bytes: float


def least_work(
    configuration: Configuration, sizes: EncoderConfig, outputs: int, lengths: Tensor, steps: int
) -> dict[str, Work]:
    """Work of each stage for users of these `lengths`, taken in a number of steps.

    `outputs`: classes or candidates of the head, 0 without one. Empty for what is not counted here:
    other methods than AdaptSSR, and an item table that is not stepped whole.
    """
    if configuration.method != "adaptssr" or configuration.item_table != "dense":
        return {}
    users, dim = len(lengths), sizes.dim
    real = lengths.double()
    behaviours = float(real.sum())
    work = {"batch": Work(0, behaviours * (STORED_ID + ID))}
    if configuration.kind == "pretrain":
        # Two views, each encoded twice; of crop, reorder and mask only the first is shorter.
        cropped = ceil_share(lengths, Options().crop_ratio).double()
        kinds = (cropped, real, real)
        encoded = 4 * sum(encoder_operations(kind, sizes) for kind in kinds) / 3
        tokens = 4 * float(sum(kind.sum() for kind in kinds)) / 3
        work["augment"] = Work(0, (2 * behaviours + tokens / 2) * ID)
        compared = 2 * 4 * users * users / steps  # anchors with all views of a batch
        operations = encoded + 2 * dim * compared
    else:
        tokens = behaviours
        read = {"classification": outputs, "top_n": 2, "evaluate": 0}[configuration.kind]
        operations = encoder_operations(real, sizes) + 2 * users * dim * (dim + read)
    work["forward"] = Work(operations, tokens * dim * FLOAT)
    if configuration.kind == "evaluate":
        return {**work, "rank": Work(2 * users * dim * outputs, 2 * users * outputs * FLOAT)}
    head = dim * (dim + 1) + outputs * (dim + 1) if outputs else 0
    # Rows that no user of a batch has can be deferred (`userbench.training.optimizer`).
    put_off = max(0, sizes.n_items + 2 - behaviours / steps)
    parameters = encoder_parameters(sizes) + head - put_off * dim
    gradients = steps * parameters + tokens * dim
    work["backward"] = Work(2 * operations, gradients * FLOAT)
    passed = steps * parameters
    work["optimizer"] = Work(ADAM_OPERATIONS * passed, ADAM_PASSES * passed * FLOAT)
    return work


def encoder_operations(lengths: Tensor, sizes: EncoderConfig) -> float:
    """Multiply-adds, as two operations, of encoding sequences of these lengths."""
    tokens, squares = float(lengths.sum()), float((lengths**2).sum())
    # Projections 3d + d, network 4d + 4d wide; each behaviour meets all of its sequence twice.
    per_layer = 2 * 12 * sizes.dim**2 * tokens + 2 * 2 * sizes.dim * squares
    return sizes.layers * per_layer + 2 * 2 * sizes.dim * tokens  # and the pooling


def encoder_parameters(sizes: EncoderConfig) -> int:
    """Numbers that the encoder trains, its item table included."""
    dim = sizes.dim
    layer = 12 * dim**2 + 9 * dim + 2 * 2 * dim  # weights, biases, two norms
    tables = (sizes.n_items + 2 + sizes.max_length) * dim
    return tables + sizes.layers * layer + 3 * dim  # the first norm and the pooling query
