"""Kernels run in Triton's interpreter: right or wrong can be seen on a CPU, speed cannot."""

import os

import numpy as np
import pytest

from userbench.model.kernels.language import INSTALLED, tl


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    """Tests of kernels are skipped where nothing can run one."""
    if not INSTALLED or os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("kernels are tested by: make test-kernels")
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    product = InterpreterBuilder.create_dot

    def widened(factor):
        # The interpreter keeps bf16 as integers, which it would multiply as such.
        if factor.dtype.scalar != tl.bfloat16:
            return factor
        return TensorHandle((factor.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def product_of_bf16(self, a, b, *others):
        return product(self, widened(a), widened(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", product_of_bf16)
