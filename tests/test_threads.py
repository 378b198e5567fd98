"""How much the number of threads moves: nothing at equal number, rounding at another."""

import json

import pytest
import torch

pytestmark = pytest.mark.slow
# What docs/reliability.md states, for runs as short as these: more threads add up in another order,
# and training carries the last bits of a sum along.
TENSORS = 1e-3
SCORES = 0.02


@pytest.fixture(scope="module")
def by_threads(tiny, tmp_path_factory):
    """Both loops with 1 and 4 threads, twice each: checkpoints, scores and records."""
    from userbench import finetune, pretrain

    found = {}
    encoder = ["--encoder", '{"dim": 32, "layers": 1, "heads": 2, "max_length": 100}']
    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    common = [*data, *encoder, "--seed", "0", "--device", "cpu"]
    for threads in (1, 4):
        torch.set_num_threads(threads)
        for turn in (0, 1):
            out = tmp_path_factory.mktemp(f"threads{threads}")
            epochs = ["--epochs", "2", "--keep", "2", "--batch-size", "64", "--method", "adaptssr"]
            pretrain.main([*common, *epochs, "--out", str(out)])
            tasks = []
            for name, kind in (("age", "classification"), ("click", "top_n")):
                task = {"name": name, "kind": kind, "lr": 1e-3, "batch_size": 64, "epochs": 1}
                tasks += ["--task", json.dumps({**task, "out": str(out / f"{name}.json")})]
            init = ["--run", "adaptssr", "--init", str(out / "epoch2.safetensors")]
            finetune.main([*common, *init, *tasks])
            found[threads, turn] = out
    torch.set_num_threads(1)
    return found


FILES = ("curve.json", "age.json", "click.json", "age.predictions.parquet")


@pytest.mark.parametrize("threads", [1, 4])
def test_equal_threads_give_equal_bits(by_threads, threads):
    """If wrong: a run cannot be repeated even on its own machine."""
    from userbench.training.checkpoint import load

    one, other = by_threads[threads, 0], by_threads[threads, 1]
    tensors = load(other / "epoch2.safetensors")  # the files differ in the folder they name
    for name, value in load(one / "epoch2.safetensors").items():
        assert torch.equal(value, tensors[name]), name
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_other_threads_move_rounding_alone(by_threads):
    """If wrong: a score depends on how many cores were free, by more than is stated."""
    from userbench.training.checkpoint import load

    one, four = by_threads[1, 0], by_threads[4, 0]
    tensors, others = load(one / "epoch2.safetensors"), load(four / "epoch2.safetensors")
    far = max(float((others[name] - value).abs().max()) for name, value in tensors.items())
    print(f"tensors differ by at most {far:.2e}")  # pytest -rP shows it
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(others[name], value, rtol=TENSORS, atol=TENSORS, msg=name)
    curves = [json.loads((folder / "curve.json").read_text()) for folder in (one, four)]
    for point, other in zip(*curves, strict=True):
        assert other["loss"] == pytest.approx(point["loss"], rel=1e-4)
    for name in ("age.json", "click.json"):
        scores = [json.loads((folder / name).read_text())["scores"] for folder in (one, four)]
        for score, other in zip(*scores, strict=True):
            assert other["value"] == pytest.approx(score["value"], abs=SCORES), (name, score)
        same = sum(one == other for one, other in zip(*scores, strict=True))
        print(f"{name}: {same} of {len(scores[0])} scores are the same bits")


def test_the_record_says_how_many(by_threads):
    from userbench.results.artifact import provenance_of

    for threads in (1, 4):
        for name in ("epoch2.safetensors", "age.json"):
            record = provenance_of(by_threads[threads, 0] / name)
            assert record["hardware"]["threads"] == threads
