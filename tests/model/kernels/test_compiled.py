"""Kernels compile for an H100, which this machine need not have."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "shared" / "compile_kernels.py"
SHARED_MEMORY = 227 * 1024  # that a program of an H100 may have


def test_kernels_compile_for_an_h100():
    """Wrong: what Triton's interpreter lets pass and its compiler refuses, or blocks too large."""
    outside = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", COMMAND], env=outside, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = [line.split() for line in run.stdout.splitlines()]
    assert all(int(shared) < SHARED_MEMORY for _, shared, _ in found)
    multiplied = {name for name, _, tensor_cores in found if tensor_cores == "True"}
    assert multiplied == {"parts_kernel", "items_kernel", "block_kernel"}
