"""Keeps the memory of a training on a CPU level.

Batches have ever other shapes, and oneDNN, which multiplies matrices for torch, keeps a compiled
kernel of each shape: 1,024 by default. Such small blocks, allocated in the middle of a step, keep
the heap from reusing or giving back what the step frees: masked items (dim 64, batches of 128) held
1.6 GiB after 700 steps, of which half a GiB was in use.
"""

import os

# Read by oneDNN at its first product of matrices.
CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
KERNELS_KEPT = 16


def bound_kernel_cache() -> None:
    """Let oneDNN keep few compiled kernels, unless the environment says how many.

    To be called before the first product of matrices of the process.
    """
    os.environ.setdefault(CAPACITY, str(KERNELS_KEPT))
