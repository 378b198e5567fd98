"""Kernels run in Triton's interpreter: right or wrong can be seen on a CPU, speed cannot."""

import os

import pytest

from userbench.model.kernels.language import INSTALLED


@pytest.fixture(autouse=True)
def interpreter():
    """Tests of kernels are skipped where nothing can run one."""
    if not INSTALLED or os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("kernels are tested by: make test-kernels")
