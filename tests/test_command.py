"""How commands that train end where they cannot go on."""

import importlib

import pytest
import torch

FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of "
    "which 1.00 GiB is free. If reserved but unallocated memory is large try setting ..."
)
TASK = '{"name":"age","kind":"binary","lr":1.0,"batch_size":8,"epochs":1,"out":"x"}'
WORDS = {
    "pretrain": "--method clue --epochs 1 --batch-size 64 --keep 1 --out x",
    "finetune": f"--run x --task {TASK}",
    "similarity": "--run x --method clue --checkpoint x --out x",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_full_gpu_is_one_line_with_what_to_lower(name, monkeypatch):
    """A traceback through torch would not tell what to do."""
    command = importlib.import_module(f"userbench.{name}")

    def full(_):
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(command, "pick_device", full)
    with pytest.raises(SystemExit) as stop:
        command.main(f"--store x --splits x --seed 0 {WORDS[name]}".split())
    told = str(stop.value)
    assert told.startswith(
        "error: CUDA out of memory. Tried to allocate 2.00 GiB. Lower batch_size"
    )
    assert "jobs_per_gpu" in told and "bf16" in told and "\n" not in told
