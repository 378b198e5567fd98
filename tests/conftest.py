import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_encoder import encoder_with
from repository import ROOT
from stores import write_splits, write_store

RECORDED = Path(__file__).parent / "recorded"

torch.set_num_threads(1)


@pytest.fixture
def reference() -> Callable[[str], dict[str, np.ndarray]]:
    """Inputs and outputs of the released research code, by file name."""
    return lambda name: dict(np.load(RECORDED / f"{name}.npz"))


@pytest.fixture(scope="session")
def ttl10k() -> Path:
    """The folder of the real TTL excerpt, where there is one."""
    folder = os.environ.get("USERBENCH_TTL10K", "")
    if not Path(folder, "original_desen_pretrain.csv").is_file():
        pytest.skip("set USERBENCH_TTL10K to the folder of the real TTL excerpt")
    return Path(folder)


@pytest.fixture
def released_encoder(reference):
    """Our encoder with the weights of encoder.npz."""
    return encoder_with(reference("encoder"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with a store and splits of 200 simulated users: store/ and splits/."""
    from userbench.data import simulate

    folder = tmp_path_factory.mktemp("tiny")
    size = ["--users", "200", "--items", "300", "--seed", "0"]
    simulate.main(["--format", "ttl", *size, "--out", str(folder / "raw")])
    tasks = ["age", "click", "gender"]
    write_store(folder / "raw", "ttl", {task: task for task in tasks}, folder / "store")
    write_splits(folder / "store", tasks, "interaction", 0, folder / "splits")
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow whose results do not touch those of the developer.

    The sources are linked: the workflow must run the package that is under test.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "environment.yml", "workflow", "profiles", "notebooks"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shutil.copytree(ROOT / "src", folder / "src")
    return folder
