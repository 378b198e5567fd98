"""The two loops, run as the commands they are, on a tiny simulated corpus."""

import json

import pytest
import yaml
from repository import ROOT
from small_runs import finetune, pretrain

CONFIGS = ROOT / "workflow/config"
VARIANTS = yaml.safe_load((CONFIGS / "variants.yaml").read_text())["runs"]


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
    record = json.loads((out / "curve.json.provenance.json").read_text())
    assert record["encoder_passes"] == {"trained": trained, "others": others}
    record = json.loads((mlm / "curve.json.provenance.json").read_text())
    assert record["encoder_passes"] == {"trained": 1, "others": 0}


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
        record = json.loads((tmp_path / f"{name}.json.provenance.json").read_text())
        assert record["config"]["seed"] == 0
        assert record["config"]["task"]["lr"] == 1e-2


METRICS = {"age": "accuracy", "click": "ndcg@10", "gender": "auc"}


def validation_by_start(content: dict) -> dict[int, list[tuple[int, float]]]:
    """Epoch and value of its own metric on validation, by start."""
    found: dict[int, list[tuple[int, float]]] = {}
    for point in content["scores"]:
        if (point["split"], point["metric"]) == ("validation", content["metric"]):
            found.setdefault(point["start"], []).append((point["epoch"], point["value"]))
    return found


def test_several_starts_are_candidates_and_the_first_is_that_of_a_lone_one(tiny, tmp_path):
    """Wrong: more chances move the first one, two are the same, or the worse one is tested."""
    finetune(tiny, tmp_path / "one")
    finetune(tiny, tmp_path / "three", "--starts", "3")
    later = set()
    for name, metric in METRICS.items():
        one, three = (
            json.loads((tmp_path / folder / f"{name}.json").read_text())
            for folder in ("one", "three")
        )
        on_validation = validation_by_start(three)
        assert validation_by_start(one) == {1: on_validation[1]}
        assert list(on_validation) == [1, 2, 3]
        assert len({json.dumps(curve) for curve in on_validation.values()}) > 1
        # The first of equals, as among the epochs of one.
        points = [(s, e, v) for s, curve in on_validation.items() for e, v in curve]
        start, epoch, _ = max(points, key=lambda point: point[2])
        assert three["best"] == {"pretrain_epoch": 0, "start": start, "epoch": epoch}
        tested = [p for p in three["scores"] if (p["split"], p["metric"]) == ("test", metric)]
        assert [(p["start"], p["epoch"]) for p in tested] == [(start, epoch)]
        same = (tmp_path / "one" / f"{name}.predictions.parquet").read_bytes() == (
            tmp_path / "three" / f"{name}.predictions.parquet"
        ).read_bytes()
        assert same == (start == 1)
        later.add(start > 1)
    assert True in later  # or nothing was seen of a later start


def test_starts_differ_in_encoder_and_head_and_in_nothing_else(tiny, tmp_path, monkeypatch):
    """Wrong: a start is half a chance, or its batches and dropout are others than a rival's."""
    import torch

    from userbench import finetune as loop
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.seeds import seed_of

    begun, train = [], loop.train

    def spy(model, task, *rest):
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        begun.append((task.name, weights, torch.get_rng_state()))
        return train(model, task, *rest)

    monkeypatch.setattr(loop, "train", spy)
    finetune(tiny, tmp_path, "--starts", "3", epochs=1)
    store = loop.BehaviourStore.open(tiny / "store", 20, "cpu")
    sizes = EncoderConfig(store.n_items, 8, layers=1, heads=2, max_length=20)
    for name in METRICS:
        own = [(weights, state) for task, weights, state in begun if task == name]
        assert len(own) == 3
        for start, (weights, state) in enumerate(own, start=1):
            torch.manual_seed(0 if start == 1 else seed_of(0, "start", start))
            for part, value in UserEncoder(sizes, 0.5).state_dict().items():
                assert torch.equal(weights[f"encoder.{part}"], value)
            assert torch.equal(state, own[0][1])
        for other in own[1:]:
            for part in (
                "encoder.items.weight",
                "head.head.widen.weight",
                "head.head.score.weight",
            ):
                assert not torch.equal(other[0][part], own[0][0][part])


def test_starts_beside_checkpoints_are_refused(tiny, mlm, tmp_path):
    """Wrong: a row with checkpoints and starts would have more chances than any other."""
    with pytest.raises(SystemExit, match="--starts: the candidates are those of --init"):
        finetune(tiny, tmp_path / "out", "--init", str(mlm), "--starts", "2")
    assert not (tmp_path / "out").exists()


def test_checkpoint_records_its_config(tiny, tmp_path):
    out = pretrain(tiny, tmp_path, "--set", '{"mask_ratio": 0.5}')
    record = json.loads((out / "epoch2.safetensors.provenance.json").read_text())
    assert record["config"]["config"]["mask_ratio"] == 0.5
    assert record["config"]["config"]["lr"] == 5e-4
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
        (["--init", "absent.safetensors"], "absent.safetensors: no such file or directory"),
        (["--set", '{"lr": 1e30}'], "the loss is nan"),
        (["--set", '{"bias_start": "popular"}'], "bias_start='popular': use one of"),
    ],
)
def test_pretraining_errors_are_one_line(tiny, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message) as stop:
        pretrain(tiny, tmp_path / "out", *flags)
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.rglob("*"))


def test_nan_in_finetuning_leaves_no_score(tiny, tmp_path):
    """No number of a diverged model is written, and the other tasks go on (`test_failed_fits`)."""
    finetune(tiny, tmp_path, lr=1e30)
    for name in ("age", "click", "gender"):
        content = json.loads((tmp_path / f"{name}.json").read_text())
        assert "the loss is nan" in content["failed"]
        assert (content["best"], content["scores"]) == (None, [])


def test_splits_of_another_store_are_refused(tiny, tmp_path):
    from userbench.data.draw_splits import write_user_split

    strange = tmp_path / "splits"
    write_user_split(tiny / "store/behaviours", 1, strange / "users")
    record = json.loads((strange / "users/checksums.json").read_text())
    (strange / "users/checksums.json").write_text(json.dumps({**record, "of": "another"}))
    with pytest.raises(SystemExit, match="another store"):
        pretrain(tiny, tmp_path / "out", "--splits", str(strange))


def test_one_user_alone_makes_no_batch():
    """Ranking one user against no others is undefined (the released code crashes there)."""
    import torch

    from userbench.pretrain import batches

    assert [len(part) for part in batches(torch.arange(9), 4)] == [4, 4]
    assert [len(part) for part in batches(torch.arange(10), 4)] == [4, 4, 2]


def test_same_validation_draws_at_every_epoch(tiny):
    """Otherwise epochs are compared on different masks; training draws must go on as before."""
    import torch

    from userbench.data.store import BehaviourStore
    from userbench.methods import mlm
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.pretrain import validate

    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    method = mlm.Method(UserEncoder(EncoderConfig(store.n_items, 8), 0.5), mlm.Config())
    method.prepare(store, torch.arange(len(store.lengths)))
    torch.manual_seed(3)
    first = validate(method, store, torch.arange(40), 16)
    drawn = torch.rand(1)
    assert validate(method, store, torch.arange(40), 16) == first
    torch.manual_seed(3)
    assert torch.rand(1) == drawn


def test_fixed_order_does_not_depend_on_the_seed():
    """The released code takes the same orders whatever the seed; reshuffled ones must differ."""
    import torch

    from userbench.data.splits import order_of_epoch

    users = torch.arange(100) * 2

    def users_in_order(order, seed, epoch):
        torch.rand(epoch)  # whatever a method draws
        return order_of_epoch(users, order, epoch, seed, "pretrain").tolist()

    assert (
        users_in_order("fixed", 0, 1)
        == users_in_order("fixed", 1, 1)
        != users_in_order("fixed", 0, 2)
    )
    assert (
        users_in_order("reshuffled", 0, 1)
        == users_in_order("reshuffled", 0, 1)
        != users_in_order("reshuffled", 1, 1)
    )
    assert users_in_order("reshuffled", 0, 1) != users_in_order("reshuffled", 0, 2)
    assert (
        sorted(users_in_order("fixed", 0, 1))
        == sorted(users_in_order("reshuffled", 0, 1))
        == users.tolist()
    )
    with pytest.raises(ValueError, match="order"):
        users_in_order("random", 0, 1)


def test_held_out_users_are_not_trained_on(tiny, tmp_path, caplog):
    """Exactly the test users of the named tasks must be missing; or as many others, by the seed."""
    from userbench.data.splits import TEST, TRAIN, load_split, load_user_split
    from userbench.data.store import load_labels, load_targets

    store, splits = tiny / "store", tiny / "splits"
    tested = set()
    for task, load in (("age", load_labels), ("click", load_targets)):
        users = load(store, task, "cpu").users
        tested |= set(users[load_split(splits, task) == TEST].tolist())
    kept = set((load_user_split(splits) == TRAIN).nonzero().squeeze(1).tolist()) - tested
    size = f": {len(kept)} users, "
    curves = {}
    for flag in ("--hold-out", "--hold-out-others"):
        for seed in ("0", "1"):
            caplog.clear()
            out = tmp_path / f"{flag}{seed}"
            with caplog.at_level("INFO", logger="userbench"):
                pretrain(tiny, out, flag, "age", "click", "--seed", seed, epochs=1)
            assert size in caplog.text
            for name in ("curve.json", "epoch1.safetensors"):
                record = json.loads((out / f"{name}.provenance.json").read_text())["held_out"]
                assert record["left"]["train"] == len(kept)
                assert (record["tested"], record["missing"]["train"]) == (len(tested), 0)
            curves[flag, seed] = (out / "curve.json").read_text()
    assert curves["--hold-out", "0"] != curves["--hold-out-others", "0"]
    record_file = pretrain(tiny, tmp_path / "all", epochs=1) / "curve.json.provenance.json"
    assert "held_out" not in json.loads(record_file.read_text())
    with pytest.raises(SystemExit):  # of both, neither would be what it says
        pretrain(tiny, tmp_path / "both", "--hold-out", "age", "--hold-out-others", "age")


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
    settings = run.get("overrides", {})
    if "views.generator" in run.get("inputs", {}):
        settings = {**settings, "views": {**settings.get("views", {}), "generator": str(mlm)}}
    start = [] if run.get("init_from") == "none" else ["--init", str(mlm)]
    checkpoint = mlm
    if "encoder_of" not in run:
        flags = ["--set", json.dumps(settings), *start]
        out = pretrain(tiny, tmp_path, *flags, method=run["method"], epochs=1)
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


def test_fewer_labels_are_fewer_in_training_and_validation_alone(tiny, tmp_path):
    """Wrong: a share of the labels shrinks the test, or epochs are chosen by labels not given."""
    counts = {}
    for share in (1.0, 0.3):
        finetune(tiny, tmp_path / str(share), label_share=share)
        content = json.loads((tmp_path / str(share) / "click.json").read_text())
        counts[share] = content["examples"]
    for part in ("train", "validation"):
        assert counts[0.3][part] == (300 * counts[1.0][part] + 500) // 1000
    assert counts[0.3]["test"] == counts[1.0]["test"]
    with pytest.raises(SystemExit, match=r"task age: label_share 0.0: must be from 0.001 to 1"):
        finetune(tiny, tmp_path / "none", label_share=0.0)


def test_labels_are_those_of_the_seed_whatever_the_run(tiny, mlm, tmp_path, monkeypatch):
    """Wrong: two rows of one seed learn from other labels, or all seeds from the same."""
    from userbench import finetune as loop
    from userbench.data.splits import load_split
    from userbench.data.store import load_labels

    seen, train = {}, loop.train

    def spy(model, task, origin, store, split, *rest):
        seen.setdefault(task.name, []).append((split.train.tolist(), split.validation.tolist()))
        return train(model, task, origin, store, split, *rest)

    monkeypatch.setattr(loop, "train", spy)
    more = {"label_share": 0.1, "epochs": 1}
    finetune(tiny, tmp_path / "none", "--starts", "2", **more)
    finetune(tiny, tmp_path / "mlm", "--init", str(mlm), **more)
    finetune(tiny, tmp_path / "other", "--seed", "1", **more)
    for name in METRICS:
        *same, other = seen[name]
        assert len(same) == 3 and same[0] == same[1] == same[2]
        for mine, theirs in zip(same[0], other, strict=True):
            assert mine != theirs and len(mine) == len(theirs)
    # Of a label task, every class of either part is there.
    for name in ("age", "gender"):
        labels, parts = (
            load_labels(tiny / "store", name, "cpu").labels,
            load_split(tiny / "splits", name),
        )
        for part, picked in enumerate(seen[name][0]):
            assert set(labels[picked].tolist()) == set(labels[parts == part].tolist())
