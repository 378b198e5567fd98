"""Kernels compile for an H100, which this machine need not have."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "shared" / "compile_kernels.py"
MULTIPLY = {"parts_kernel", "items_kernel", "block_kernel"}
MULTIPLY |= {"attention_kernel", "attention_gradient_kernel"}
SPILLED = 64  # bytes of a thread
SHARED_MEMORY = 227 * 1024  # that a program of an H100 may have


def test_kernels_compile_for_an_h100():
    """Wrong: what Triton's interpreter lets pass and its compiler refuses, or blocks too large."""
    outside = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", COMMAND], env=outside, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = [line.rpartition(": ")[::2] for line in run.stdout.splitlines()]
    for call, facts in found:
        name, shared, tensor_cores, spilled = facts.split()
        assert int(shared) < SHARED_MEMORY, name
        assert (tensor_cores == "True") == (name in MULTIPLY), name
        if "tf32" not in call:  # bf16 is the fast way
            assert int(spilled) <= SPILLED, name
