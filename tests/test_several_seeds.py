"""Several seeds in one process, one after the other: the same files as alone."""

import json
from pathlib import Path

import pytest
import torch
from small_runs import content, finetune, pretrain, seeds_flags

SEEDS = (0, 1, 2)


def provenance(path):
    return json.loads(Path(f"{path}.provenance.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def deferred_adam():
    """Adam of large item tables, whose hooks into every read must stay those of one model."""
    from userbench.training import optimizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer, "DEFERRED_FROM", 1)
        yield


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """Every file of each seed when it is run alone: warm start, a method, scores.

    The folder is left for the seeds of one process to write to, since checkpoints name their paths.
    """
    folder = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        chain(tiny, folder, str(seed), ["--seed", str(seed)])
    found = content(folder)
    assert len(found) == len(SEEDS) * (3 + 2 + 3 * 2)  # two runs, three tasks with predictions
    return folder, found


def chain(tiny, folder, seed, flags):
    """Masked items (sampling, dropout), CCL with the generator of its seed, and three tasks."""
    mlm = pretrain(tiny, folder / "mlm" / seed, *flags)
    start = ["--init", str(mlm / "epoch2.safetensors")]
    given = json.dumps({"views": {"generator": str(mlm / "epoch2.safetensors")}})
    ccl = pretrain(
        tiny, folder / "ccl" / seed, *flags, *start, "--set", given, method="ccl", epochs=1
    )
    finetune(
        tiny,
        folder / "scores" / seed,
        *flags,
        "--init",
        str(ccl / "epoch1.safetensors"),
        read=False,
    )


def test_sharing_a_process_changes_no_bit(tiny, alone):
    """Checkpoints, learning curves and scores; else a run would depend on who is beside it."""
    folder, expected = alone
    for path in expected:
        (folder / path).unlink()
    chain(tiny, folder, "{seed}", seeds_flags(SEEDS))
    assert content(folder) == expected
    record = provenance(folder / "scores/1/age.json")
    assert record["config"]["seed"] == 1
    assert record["process_seeds"] == [0, 1, 2]
    assert 0 < record["task_seconds"] <= record["seed_seconds"] < record["wall_seconds"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_sharing_a_process_changes_next_to_nothing_on_a_gpu(tiny, alone, tmp_path):
    """Sums of floats in another order, no more: a wrong stream or random state would show."""
    on_gpu = ["--device", "cuda"]
    for seed in SEEDS:
        chain(tiny, tmp_path / "alone", str(seed), ["--seed", str(seed), *on_gpu])
    chain(tiny, tmp_path / "shared", "{seed}", [*seeds_flags(SEEDS), *on_gpu])
    for path in (tmp_path / "alone").rglob("*.json"):
        if "provenance" not in path.name:
            expected = json.loads(path.read_text())
            found = json.loads(
                (tmp_path / "shared" / path.relative_to(tmp_path / "alone")).read_text()
            )
            points = (
                (expected, found)
                if path.name == "curve.json"
                else (
                    expected["scores"],
                    found["scores"],
                )
            )
            for ours, theirs in zip(*points, strict=True):
                value = "loss" if "loss" in ours else "value"
                assert theirs[value] == pytest.approx(ours[value], rel=1e-3, abs=0.03)


def test_a_seed_that_fails_leaves_the_others_whole(tiny, alone, tmp_path):
    """Seed 7 has no checkpoint to start from: one line names it, and seed 0 is as if alone."""
    folder, expected = alone
    start = str(folder / "mlm/{seed}/epoch2.safetensors")
    with pytest.raises(SystemExit, match="seed 7: .*7/epoch2.safetensors: no such file") as stop:
        finetune(tiny, tmp_path / "{seed}", *seeds_flags((7, 0)), "--init", start, read=False)
    assert "\n" not in str(stop.value) and "seed 0" not in str(stop.value)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert len(content(tmp_path / "0")) == 3 * 2  # scores and predictions


def test_seeds_that_would_overwrite_each_other_are_refused(tiny, tmp_path):
    for out, seeds in (("same", (0, 1)), ("{seed}", (0, 0))):
        with pytest.raises(SystemExit, match="Put {seed} in it"):
            pretrain(tiny, tmp_path / out, *seeds_flags(seeds))
        with pytest.raises(SystemExit, match="Put {seed} in it"):
            finetune(tiny, tmp_path / out, *seeds_flags(seeds), read=False)
    assert not list(tmp_path.iterdir())


def test_seed_is_put_in_every_text_and_path():
    from userbench.training.several_seeds import with_seed

    given = {
        "epochs": 2,
        "out": Path("x/{seed}"),
        "init": [Path("{seed}")],
        "set": {"lr": 0.1, "views": {"generator": "{seed}/g"}},
    }
    assert with_seed(given, 4) == {
        "epochs": 2,
        "out": Path("x/4"),
        "init": [Path("4")],
        "set": {"lr": 0.1, "views": {"generator": "4/g"}},
    }
    assert given["set"]["views"]["generator"] == "{seed}/g"
