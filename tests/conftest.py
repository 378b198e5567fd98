import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import write_splits, write_store

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent

torch.set_num_threads(1)


@pytest.fixture
def reference() -> Callable[[str], dict[str, np.ndarray]]:
    """Inputs and outputs of the released research code, by file name."""
    return lambda name: dict(np.load(DATA / f"{name}.npz"))


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


def encoder_with(values: dict[str, np.ndarray]):
    """Our encoder with weights named as the release names them."""
    from userbench.model.encoder import EncoderConfig, UserEncoder

    weight = {
        name.removeprefix("weight/base_model."): torch.from_numpy(value)
        for name, value in values.items()
        if name.startswith("weight/base_model.")
    }
    mask_vector = torch.from_numpy(values["weight/mask_token"])
    encoder = UserEncoder(EncoderConfig(n_items=60, dim=16, max_length=24), dropout=0.1)
    state = {
        "items.weight": torch.cat([weight["item_embedding.weight"], mask_vector]),
        "positions.weight": weight["pos_embedding.weight"],
        "norm.weight": weight["layer_norm.weight"],
        "norm.bias": weight["layer_norm.bias"],
        "pooling.query": weight["pooler.query"],
    }
    for layer in range(2):
        theirs, ours = f"trm_encoder.layers.{layer}", f"layers.{layer}"
        for kind in ("weight", "bias"):
            attention = f"{theirs}.self_attn"
            state[f"{ours}.attention.project.{kind}"] = torch.cat(
                [weight[f"{attention}.W{part}.{kind}"] for part in "QKV"]
            )
            state[f"{ours}.attention.merge.{kind}"] = weight[f"{attention}.WO.{kind}"]
            state[f"{ours}.attention_norm.{kind}"] = weight[f"{attention}.layer_norm.{kind}"]
            state[f"{ours}.widen.{kind}"] = weight[f"{theirs}.ffn.dense_1.{kind}"]
            state[f"{ours}.narrow.{kind}"] = weight[f"{theirs}.ffn.dense_2.{kind}"]
            state[f"{ours}.network_norm.{kind}"] = weight[f"{theirs}.ffn.layer_norm.{kind}"]
    encoder.load_state_dict(state)
    return encoder.eval()


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
