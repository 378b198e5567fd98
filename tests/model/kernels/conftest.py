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

    multiply = InterpreterBuilder.create_dot

    def create_dot(self, a, b, *others):
        # Why: the interpreter keeps bf16 as its bits, and multiplies them as whole numbers.
        return multiply(self, *map(in_fp32, (a, b)), *others)

    def in_fp32(value):
        if value.dtype.scalar != tl.bfloat16:
            return value
        bits = value.data.astype(np.uint32) << 16
        return TensorHandle(bits.view(np.float32), tl.float32)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
