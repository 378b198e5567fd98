"""The two loops, run as the commands they are, on a tiny simulated corpus."""

import json
from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).parent.parent / "workflow/config"
VARIANTS = yaml.safe_load((CONFIGS / "variants.yaml").read_text())["runs"]

SMALL = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'


def data_flags(tiny):
    folder = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    return [*folder, "--encoder", SMALL, "--seed", "0", "--device", "cpu"]


def pretrain(tiny, out, *flags, method="mlm", epochs=2):
    from userbench import pretrain

    size = ["--epochs", str(epochs), "--batch-size", "64", "--keep", "1", str(epochs)]
    pretrain.main([*data_flags(tiny), "--method", method, *size, "--out", str(out), *flags])
    return out


def finetune(tiny, out, *flags, read=True, **changes):
    from userbench import finetune

    tasks = []
    for name, kind in (("age", "classification"), ("click", "top_n"), ("gender", "binary")):
        task = {"name": name, "kind": kind, "lr": 1e-2, "batch_size": 64, "epochs": 2}
        tasks += ["--task", json.dumps({**task, **changes, "out": str(out / f"{name}.json")})]
    finetune.main([*data_flags(tiny), "--run", "test", *flags, *tasks])
    return [(out / f"{name}.json").read_bytes() for name in ("age", "click", "gender") if read]


def test_whole_chain_twice_gives_the_same_bits(tiny, tmp_path):
    """Warm start, ranking method, three kinds of task: same seed, same machine, same scores."""
    results = []
    for attempt in ("first", "second"):
        mlm = pretrain(tiny, tmp_path / attempt / "mlm")
        warm = ["--init", str(mlm / "epoch2.safetensors")]
        ours = pretrain(tiny, tmp_path / attempt / "adaptssr", *warm, method="adaptssr")
        candidates = [str(ours / f"epoch{epoch}.safetensors") for epoch in (1, 2)]
        scores = finetune(tiny, tmp_path / attempt / "scores", "--init", *candidates)
        curves = [(ours / "curve.json").read_bytes(), (mlm / "curve.json").read_bytes()]
        results.append((scores, curves))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("method", "trained", "others"), [("cl4srec", 2, 0), ("adaptssr", 4, 0), ("ccl", 2, 2)]
)
def test_encoder_passes_are_counted(tiny, tmp_path, method, trained, others):
    """Wrong: methods of equal epochs look equal, though one reads each user four times a step."""
    mlm = pretrain(tiny, tmp_path / "mlm", epochs=1)
    views = {"generator": str(mlm / "epoch1.safetensors")} if method == "ccl" else {}
    out = pretrain(tiny, tmp_path, "--set", json.dumps({"views": views}), method=method, epochs=1)
    told = json.loads((out / "curve.json.provenance.json").read_text())
    assert told["encoder_passes"] == {"trained": trained, "others": others}
    told = json.loads((mlm / "curve.json.provenance.json").read_text())
    assert told["encoder_passes"] == {"trained": 1, "others": 0}


def test_score_file_says_what_was_chosen(tiny, tmp_path):
    """The tested epoch must be the best on validation, and only that one may be tested."""
    finetune(tiny, tmp_path)
    for name, metric in (("age", "accuracy"), ("click", "ndcg@10"), ("gender", "auc")):
        scores = json.loads((tmp_path / f"{name}.json").read_text())
        points = [point for point in scores["scores"] if point["metric"] == metric]
        on_validation = {p["epoch"]: p["value"] for p in points if p["split"] == "validation"}
        assert len(on_validation) == 2
        assert scores["best"]["epoch"] == max(on_validation, key=on_validation.get)
        tested = [point for point in points if point["split"] == "test"]
        assert [point["epoch"] for point in tested] == [scores["best"]["epoch"]]
        told = json.loads((tmp_path / f"{name}.json.provenance.json").read_text())
        assert told["config"]["seed"] == 0
        assert told["config"]["task"]["lr"] == 1e-2


def test_checkpoint_tells_its_config(tiny, tmp_path):
    out = pretrain(tiny, tmp_path, "--set", '{"mask_ratio": 0.5}')
    told = json.loads((out / "epoch2.safetensors.provenance.json").read_text())
    assert told["config"]["config"]["mask_ratio"] == 0.5
    assert told["config"]["config"]["lr"] == 5e-4
    curve = json.loads((out / "curve.json").read_text())
    assert [(p["epoch"], p["split"]) for p in curve] == [
        (1, "train"),
        (1, "validation"),
        (2, "train"),
        (2, "validation"),
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "mml"], "no method 'mml'"),
        (["--set", '{"mask_ration": 0.5}'], "no hyper-parameter 'mask_ration'"),
        (["--keep", "9"], "epochs run from 1 to 2"),
        (["--init", "absent.safetensors"], "absent.safetensors: cannot be read"),
        (["--set", '{"lr": 1e30}'], "the loss is nan"),
        (["--set", '{"bias_start": "popular"}'], "bias_start='popular': use one of"),
    ],
)
def test_pretraining_mistakes_are_one_line(tiny, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message) as stop:
        pretrain(tiny, tmp_path / "out", *flags)
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.rglob("*"))


def test_nan_in_finetuning_leaves_no_score(tiny, tmp_path):
    """No number of a diverged model is written, and the other tasks go on (`test_failed_fits`)."""
    finetune(tiny, tmp_path, lr=1e30)
    for name in ("age", "click", "gender"):
        told = json.loads((tmp_path / f"{name}.json").read_text())
        assert "the loss is nan" in told["failed"]
        assert (told["best"], told["scores"]) == (None, [])


def test_splits_of_another_store_are_refused(tiny, tmp_path):
    from userbench.data import splits

    strange = tmp_path / "splits"
    splits.main(
        ["--store", str(tiny / "store"), "--tasks", "age", "--by", "user", "--seed", "1"]
        + ["--out", str(strange)]
    )
    manifest = json.loads((strange / "manifest.json").read_text())
    (strange / "manifest.json").write_text(json.dumps({**manifest, "store": "another"}))
    with pytest.raises(SystemExit, match="another store"):
        pretrain(tiny, tmp_path / "out", "--splits", str(strange))


def test_one_user_alone_makes_no_batch():
    """Ranking one user against no others is undefined (the release crashes there)."""
    import torch

    from userbench.pretrain import batches

    assert [len(part) for part in batches(torch.arange(9), 4)] == [4, 4]
    assert [len(part) for part in batches(torch.arange(10), 4)] == [4, 4, 2]


def test_same_validation_draws_at_every_epoch(tiny):
    """Otherwise epochs are compared on different masks; training draws must go on as before."""
    import torch

    from userbench.data.store import BehaviourStore
    from userbench.encoder import EncoderConfig, UserEncoder
    from userbench.methods import mlm
    from userbench.pretrain import validate

    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    method = mlm.Method(UserEncoder(EncoderConfig(store.n_items, 8), 0.5), mlm.Config())
    torch.manual_seed(3)
    first = validate(method, store, torch.arange(40), 16)
    drawn = torch.rand(1)
    assert validate(method, store, torch.arange(40), 16) == first
    torch.manual_seed(3)
    assert torch.rand(1) == drawn


def test_fixed_order_does_not_depend_on_the_seed():
    """The release walks the same orders whatever the seed; reshuffled ones must differ."""
    import torch

    from userbench.data.splits import order_of_epoch

    users = torch.arange(100) * 2

    def walk(order, seed, epoch):
        torch.rand(epoch)  # whatever a method draws
        return order_of_epoch(users, order, epoch, seed, "pretrain").tolist()

    assert walk("fixed", 0, 1) == walk("fixed", 1, 1) != walk("fixed", 0, 2)
    assert walk("reshuffled", 0, 1) == walk("reshuffled", 0, 1) != walk("reshuffled", 1, 1)
    assert walk("reshuffled", 0, 1) != walk("reshuffled", 0, 2)
    assert sorted(walk("fixed", 0, 1)) == sorted(walk("reshuffled", 0, 1)) == users.tolist()
    with pytest.raises(ValueError, match="order"):
        walk("random", 0, 1)


def test_held_out_users_are_not_trained_on(tiny, tmp_path, caplog):
    """Exactly the test users of the named tasks must be missing."""
    from userbench.data.splits import TEST, TRAIN, load_split
    from userbench.data.store import load_labels, load_targets

    store, splits = tiny / "store", tiny / "splits"
    tested = set()
    for task, load in (("age", load_labels), ("click", load_targets)):
        users = load(store, task, "cpu").users
        tested |= set(users[load_split(splits, task) == TEST].tolist())
    kept = set((load_split(splits, "pretrain") == TRAIN).nonzero().squeeze(1).tolist()) - tested
    with caplog.at_level("INFO", logger="userbench"):
        pretrain(tiny, tmp_path, "--hold-out", "age", "click", epochs=1)
    assert f": {len(kept)} users, " in caplog.text


def test_test_split_may_be_left_alone(tiny, tmp_path):
    """Tuning must not even compute test scores."""
    finetune(tiny, tmp_path, "--no-test", "--order", "fixed", "--item-table", "lazy")
    scores = json.loads((tmp_path / "click.json").read_text())
    assert {point["split"] for point in scores["scores"]} == {"validation"}
    assert scores["width"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("none", "mlm")])
def test_every_variant_pretrains_and_fine_tunes(tiny, mlm, tmp_path, name):
    """The other forms of the baselines are runs: from a warm start to scores, by the commands."""
    run = VARIANTS[name]
    settings = run.get("set", {})
    if "views.generator" in run.get("given", {}):
        settings = {**settings, "views": {**settings.get("views", {}), "generator": str(mlm)}}
    start = [] if run.get("init_from") == "none" else ["--init", str(mlm)]
    checkpoint = mlm
    if "encoder_of" not in run:
        told = ["--set", json.dumps(settings), *start]
        out = pretrain(tiny, tmp_path, *told, method=run["method"], epochs=1)
        checkpoint = out / "epoch1.safetensors"
    adapting = ["--method", run["method"], "--set", json.dumps(settings)]
    finetune(tiny, tmp_path, *adapting, "--init", str(checkpoint), epochs=1)
    scores = json.loads((tmp_path / "click.json").read_text())
    assert 0 <= scores["scores"][-1]["value"] <= 1
    assert scores["width"] == 8


@pytest.fixture(scope="module")
def mlm(tiny, tmp_path_factory):
    """A checkpoint of masked item prediction to start from."""
    return pretrain(tiny, tmp_path_factory.mktemp("mlm")) / "epoch2.safetensors"


def test_fewer_labels_leave_validation_and_test_alone(tiny, tmp_path):
    """Wrong: a share of the labels shrinks what is measured on, or is not taken at all."""
    counts = {}
    for share in (1.0, 0.3):
        finetune(tiny, tmp_path / str(share), label_share=share)
        told = json.loads((tmp_path / str(share) / "click.json").read_text())
        counts[share] = told["examples"]
    assert counts[0.3]["train"] == -(-3 * counts[1.0]["train"] // 10)
    assert {**counts[0.3], "train": 0} == {**counts[1.0], "train": 0}
    with pytest.raises(SystemExit, match=r"task age: label_share 0.0: must be from 0.001 to 1"):
        finetune(tiny, tmp_path / "none", label_share=0.0)
