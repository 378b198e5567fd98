"""A training on a CPU holds as much memory after many steps as after few."""

import os
import subprocess
import sys

import pytest
from repository import ROOT
from small_runs import finetune, pretrain

TRAINING = """
import sys
import torch

from userbench.training.cpu_memory import bound_kernel_cache

if sys.argv[1] == "bounded":
    bound_kernel_cache()
from userbench.model.encoder import EncoderConfig, UserEncoder

torch.set_num_threads(1)
torch.manual_seed(0)
encoder = UserEncoder(EncoderConfig(4_000), dropout=0.5).train()


def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 / 2**20


for step in range(1, 241):
    lengths = torch.randint(1, 150, (128,))
    items = torch.randint(1, 4_001, (128, 150)) * (torch.arange(150) < lengths[:, None])
    encoder(items).sum().backward()
    if step in (40, 240):
        print(resident())
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_level_where_shapes_never_repeat():
    """Wrong: a training of hours is ended for its memory, which nothing holds."""

    def grows(how):
        run = subprocess.run(
            [sys.executable, "-c", TRAINING, how],
            env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        early, late = map(float, run.stdout.split())
        return late / early

    assert grows("bounded") < 1.25
    assert grows("free") > 1.25, "oneDNN no longer needs the bound: remove it"


def test_both_loops_bound_the_cache_unless_the_environment_does(tiny, tmp_path, monkeypatch):
    from userbench.training.cpu_memory import CAPACITY

    monkeypatch.delenv(CAPACITY, raising=False)
    pretrain(tiny, tmp_path / "mlm", epochs=1)
    assert os.environ.pop(CAPACITY) == "16"
    finetune(tiny, tmp_path / "scores", epochs=1)
    assert os.environ[CAPACITY] == "16"
    monkeypatch.setenv(CAPACITY, "99")
    pretrain(tiny, tmp_path / "again", epochs=1)
    assert os.environ[CAPACITY] == "99"
