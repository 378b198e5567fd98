"""The benchmark's plain side is an oracle, its floor is arithmetic, its report refuses nonsense."""

import math
import os
import random
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
from repository import ROOT
from torch.testing import assert_close

SIZES = {"dim": 16, "layers": 2, "heads": 2, "max_length": 24}
N_ITEMS = 40


def encoders(dropout=0.0, n_items=N_ITEMS, **sizes):
    """Ours and the plain one with equal weights."""
    from benchmarks import plain
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    sizes = {**SIZES, **sizes}
    ours = UserEncoder(EncoderConfig(n_items=n_items, **sizes), dropout)
    theirs = plain.Encoder(n_items, dropout, **sizes)
    theirs.load_ours(ours.state_dict())
    return ours, theirs


def as_ours(views, mask_id):
    """Views of the plain side as ids, padded to the longest."""
    width = max(len(view.items) for view in views)
    rows = [
        [mask_id if masked else item for item, masked in zip(*view, strict=True)]
        + [0] * (width - len(view.items))
        for view in views
    ]
    return torch.tensor(rows)


def gradients(encoder):
    return {name: value.grad for name, value in encoder.named_parameters()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_views_same_loss_and_gradients(seed):
    from benchmarks import plain
    from userbench.methods.adaptssr import Config, adaptssr

    random.seed(seed)
    ours, theirs = encoders()
    users = [random.sample(range(1, N_ITEMS + 1), random.randint(1, 24)) for _ in range(9)]
    views = [[plain.augment(items) for items in users] for _ in range(2)]

    padded = (plain.pad(view, SIZES["max_length"], torch.device("cpu")) for view in views)
    expected = plain.adaptssr_loss(theirs, *padded)
    expected.backward()
    first, second = (as_ours(view, ours.config.mask_id) for view in views)
    width = max(first.shape[1], second.shape[1])
    first, second = (torch.nn.functional.pad(v, (0, width - v.shape[1])) for v in (first, second))
    vectors = ours(torch.cat([first, first, second, second]))
    loss, _ = adaptssr(vectors.chunk(4), Config(coefficient="released"))
    loss.backward()

    assert_close(loss, expected, rtol=1e-5, atol=0)
    found = plain.renamed(gradients(ours))
    for name, gradient in gradients(theirs).items():
        assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert found["mask_vector"].abs().sum() > 0


def small_setting(configuration):
    """A configuration with a few users and items."""
    from benchmarks import corpus, workloads
    from userbench.model.encoder import EncoderConfig

    device = torch.device("cpu")
    users = corpus.simulate(48, 400, 300, 150, device)
    watch = workloads.Stopwatch(device)
    return workloads.Setting(replace(configuration, n_items=400), users, EncoderConfig(400), watch)


def test_every_configuration_takes_a_step():
    """On each side: a finite result, all time in the same known stages, each with a floor."""
    from benchmarks import floor, workloads
    from benchmarks.configurations import CONFIGURATIONS, STAGES

    for name, configuration in CONFIGURATIONS.items():
        seen = {}
        for side in configuration.sides:
            setting = small_setting(configuration)
            workload = workloads.build(side, setting)
            setting.watch.start()
            result = workload.step(torch.arange(4))
            assert math.isfinite(result), name
            seen[side] = set(setting.watch.seconds)
            assert seen[side] <= set(STAGES), name
        lengths = setting.corpus.store.lengths[workload.users[:4]]
        work = floor.least_work(configuration, setting.sizes, setting.outputs, lengths, 1)
        if "plain" in seen:
            assert seen["plain"] == seen["ours"], name
            assert seen["ours"] | {"batch"} == set(work), name


def test_same_weights_same_ranks():
    """All metrics of a click task; both sides get their users from one corpus."""
    from benchmarks import plain, workloads
    from benchmarks.configurations import CONFIGURATIONS
    from userbench.model.evaluation import evaluate

    setting = small_setting(CONFIGURATIONS["evaluate_click"])
    users, device = setting.corpus, setting.device
    torch.manual_seed(0)
    ours, theirs = workloads.our_model(setting), workloads.plain_model(setting).eval()
    theirs["encoder"].load_ours(ours["encoder"].state_dict())
    theirs["head"].load_state_dict(ours["head"].head.state_dict())
    for model in (ours["head"].head, theirs["head"]):
        model.score.weight.data.mul_(50)  # ranks must not hang on the last digit

    found = evaluate(ours, users.store, torch.arange(len(users.clicks.users)))
    owners, targets, known = workloads.clicks_of(setting)
    sequences = workloads.sequences_of(setting)
    views = [plain.unchanged(sequences[owner]) for owner in owners]
    with torch.no_grad():
        scores = theirs["head"](theirs["encoder"](plain.pad(views, 150, device)))
    ranks = plain.rank_targets(scores, targets, known)
    expected = plain.ranking_metrics(ranks)
    assert len(set(ranks)) > 20
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_negatives_are_no_targets_and_scores_are_the_heads():
    from benchmarks import plain

    random.seed(0)
    assert {plain.draw_negative([0, 2, 3], 6) for _ in range(200)} == {1, 4, 5}
    torch.manual_seed(0)
    head, users = plain.Head(8, 6), torch.randn(5, 8)
    picked = torch.tensor([0, 5, 2, 2, 1])
    assert_close(head.score_some(users, picked), head(users)[torch.arange(5), picked])


def test_augmentations_obey_our_counts():
    from benchmarks import plain
    from userbench.model.augment import ceil_share, proper_share

    random.seed(0)
    for length in range(1, 151):
        items, n = list(range(1, length + 1)), torch.tensor([length])
        cropped = plain.crop(items, 0.4).items
        assert len(cropped) == int(ceil_share(n, 0.4).clamp(min=1))
        assert cropped == list(range(cropped[0], cropped[0] + len(cropped)))
        shuffled = plain.reorder(items, 0.6).items
        moved = [place for place, item in enumerate(shuffled) if item != items[place]]
        assert sorted(shuffled) == items
        assert not moved or moved[-1] - moved[0] < int(ceil_share(n, 0.6))
        if length > 1:
            masked = plain.mask(items, 0.6)
            assert masked.items == items
            assert sum(masked.masked) == int(proper_share(n, 0.6))
    assert not any(any(plain.augment([7]).masked) for _ in range(20))


def test_floor_counts_what_torch_counts():
    """Matrix products of one unpadded sequence, and all parameters."""
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks import floor, plain

    ours, theirs = encoders(max_length=20, dim=64)
    view = plain.unchanged(random.sample(range(1, N_ITEMS + 1), 20))
    batch = plain.pad([view], 20, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        theirs(batch)
    counted = floor.encoder_operations(torch.tensor([20.0]), ours.config)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01)  # but for the pooling
    assert floor.encoder_parameters(ours.config) == sum(p.numel() for p in ours.parameters())


def measurements(**changes):
    """Two repetitions of one configuration, ours ten and twenty times as fast, and the machine."""
    rows = [
        {"configuration": "machine", "side": "machine", "stage": "matrix product", "seconds": 1.0},
        {"configuration": "machine", "side": "machine", "stage": "copy", "seconds": 1.0},
    ]
    rows[0] |= {"repetition": 0, "users": 0, "least_operations": 1e9, "least_bytes": 0.0}
    rows[1] |= {"repetition": 0, "users": 0, "least_operations": 0.0, "least_bytes": 1e9}
    for repetition, plain_seconds in enumerate((10.0, 20.0)):
        for side, seconds in (("ours", 1.0), ("plain", plain_seconds)):
            for stage in ("forward", "total"):
                rows.append(
                    {
                        **{"configuration": "finetune_age", "side": side, "stage": stage},
                        **{"repetition": repetition, "users": 100, "seconds": seconds},
                        **{"least_operations": 2e8, "least_bytes": 5e8},
                    }
                )
    frame = pd.DataFrame(rows)
    return frame.assign(threads=1, tokens=5000, peak_memory_gib=0.5).assign(**changes)


def test_report_says_how_fast_and_how_far_from_the_floor(tmp_path):
    from benchmarks import report

    path = tmp_path / "measurements.csv"
    measurements().to_csv(path, index=False)
    assert report.write(path, tmp_path, tmp_path) == ""
    (row,) = pd.read_csv(tmp_path / "summary.csv").itertuples()
    assert (row.ours_users_per_second, row.plain_users_per_second) == (100, 7.5)
    assert (row.ratio_low, row.ratio_high, row.kept) == (10, 20, "yes")
    assert row.ratio == pytest.approx(100 / 7.5, rel=1e-5)
    # Bound by its bytes: half a second for 100 users, 5 ms each, half of what ours takes.
    assert row.ratio_at_floor == pytest.approx(30)
    stages = pd.read_csv(tmp_path / "stages.csv")
    assert set(stages["floor_ms_per_user"]) == {5.0}
    text = (tmp_path / "performance.md").read_text()
    assert "Every promise is kept" in text
    assert "Not to be quoted" in text  # no provenance: nobody knows what else was running
    assert {f"performance.{kind}" for kind in ("svg", "png")} < {p.name for p in tmp_path.iterdir()}


def test_page_has_the_full_scale_where_it_was_measured(tmp_path):
    """A hundred steps in 50 core seconds are 2 steps a core second; data has no such rate."""
    from benchmarks import full_scale, report

    measurements().to_csv(tmp_path / "measurements.csv", index=False)
    rows = [
        ("store", "ttl", 1_470_149, 98.0, 90.0, 1.36, "users"),
        ("steps", "mlm", 100, 60.0, 50.0, 2.0, "steps of 128 users"),
        ("events", "log", 9000, 8.0, 10.0, 1.5, "events of 9 users and 7 items"),
    ]
    frame = pd.DataFrame(rows, columns=full_scale.COLUMNS)
    frame.to_csv(tmp_path / "full-scale.csv", index=False)
    report.write(tmp_path / "measurements.csv", tmp_path, tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert "| store ttl | 1,470,149 users | 98.0 | 90.0 |  | 1.36 |" in text
    assert "| steps mlm | 100 steps of 128 users | 60.0 | 50.0 | 2.00 | 2.00 |" in text
    log = text.partition("## A log of events")[2]
    assert (
        "| events log | 9,000 events of 9 users and 7 items | 8.0 | 10.0 | 900.00 | 1.50 |" in log
    )
    (tmp_path / "full-scale.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="full-scale.csv"):
        report.write(tmp_path / "measurements.csv", tmp_path, tmp_path)


def test_a_log_of_events_is_measured_beside_what_was_there(tmp_path, monkeypatch):
    """Wrong: figures of another day are lost, or pass for those of this call."""
    from benchmarks import event_log, full_scale
    from userbench.results import artifact

    monkeypatch.chdir(tmp_path)
    out = tmp_path / "full-scale.csv"
    rows = [("store", "ttl", 5, 9.0, 9.0, 1.0, "users"), ("events", "log", 7, 1.0, 1.0, 1.0, "old")]
    pd.DataFrame(rows, columns=full_scale.COLUMNS).to_csv(out, index=False)
    artifact.record(out, {"of": "yesterday"})
    row = dict(zip(full_scale.COLUMNS, ("events", "log", 80, 2.0, 3.0, 1.0, "new"), strict=True))
    monkeypatch.setattr(event_log, "measured", lambda *_: row)
    full_scale.main(["--out", str(out), "--only", "events"])
    assert pd.read_csv(out)["note"].tolist() == ["users", "new"]
    full_scale.main(["--out", str(out), "--only", "events"])
    facts = artifact.provenance_of(out)
    assert facts["earlier"]["config"] == {"of": "yesterday"}


def test_page_has_the_peer_where_it_was_measured(tmp_path):
    from benchmarks import peer_page, report

    measurements().to_csv(tmp_path / "measurements.csv", index=False)
    sides = [(what, side) for what in ("loading", "training") for side in peer_page.SIDES]
    rows = pd.DataFrame(sides, columns=["what", "side"])
    (tmp_path / peer_page.KEPT).parent.mkdir()
    rows = rows.assign(repetition=0, users=7, seconds=1.0, memory_gib=1.0)
    rows.to_csv(tmp_path / peer_page.KEPT, index=False)
    report.write(tmp_path / "measurements.csv", tmp_path, tmp_path)
    assert "| ours, masked items | 7 | 1 |" in (tmp_path / "performance.md").read_text()


def test_full_scale_world_is_the_experiment_of_a_config():
    """Everything but the data is that of the config: a renamed key there would be found here."""
    from benchmarks import full_scale

    config = full_scale.simulated(ROOT / "workflow/config/paper.yaml", 0.01)
    assert config["corpora"]["ttl"]["simulate"]["users"] == 14_701
    assert config["corpora"]["app"]["simulate"]["items"] == full_scale.FEWEST
    assert "adaptssr" in config["runs"] and config["encoder"]["max_length"] == 150


def test_broken_promise_is_named(tmp_path):
    from benchmarks import report

    frame = measurements()
    frame.loc[frame["side"] == "plain", "seconds"] /= 6
    frame.to_csv(tmp_path / "measurements.csv", index=False)
    broken = report.write(tmp_path / "measurements.csv", tmp_path, tmp_path)
    assert broken == "Fine-tuning, 8 classes (threads: 1): 2.2 times as fast as plain, not 3"
    assert f"**Broken promises:** {broken}." in (tmp_path / "performance.md").read_text()


@pytest.mark.parametrize(("late", "broken"), [(0.62, False), (0.63, True)])
def test_memory_that_grows_breaks_a_promise(tmp_path, late, broken):
    """At most a quarter more than the .5 GiB of the first row."""
    from benchmarks import report

    measurements().to_csv(tmp_path / "measurements.csv", index=False)
    rows = [(100, 9.0, 0.5), (1000, 81.0, late)]
    memory = pd.DataFrame(rows, columns=["steps", "seconds", "resident_gib"])
    memory.to_csv(tmp_path / report.MEMORY_FILE, index=False)
    found = report.write(tmp_path / "measurements.csv", tmp_path, tmp_path)
    assert (
        "memory of a training: 0.63 GiB after 1,000 steps, 1.26 times the 0.50" in found
    ) == broken
    assert f"| 1,000 | {late} | 81.0 |" in (tmp_path / "performance.md").read_text()


def test_memory_is_that_of_steps_whose_matrices_are_kept_in_bounds(monkeypatch):
    """A row after each number of steps; without the bound the commands' memory is not measured."""
    from benchmarks import level_memory
    from userbench.training.cpu_memory import CAPACITY, KERNELS_KEPT

    monkeypatch.setenv(CAPACITY, "")  # so that it is put back afterwards
    monkeypatch.delenv(CAPACITY)
    rows = level_memory.resident_after([1, 3], users=48)
    assert next(rows)["cores"] >= 1
    assert os.environ[CAPACITY] == str(KERNELS_KEPT)
    (first,), (second,) = rows
    assert (first["steps"], second["steps"]) == (1, 3)
    assert first["seconds"] < second["seconds"]
    assert 0.01 < first["resident_gib"] < 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": math.nan}, "line 2"),
        ({"tokens": -1}, "line 2"),
        ({"users": "many"}, "line 2"),
        ({"configuration": "fast"}, "unknown configuration 'fast'"),
        ({"configuration": "finetune_age"}, "speed of the machine is missing"),
    ],
)
def test_nonsense_is_refused(tmp_path, changes, message):
    from benchmarks import report

    path = tmp_path / "measurements.csv"
    measurements(**changes).to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        report.read(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no measurements"):
        report.read(path)


@pytest.mark.parametrize("flag", ["--threads", "--repetitions", "--seconds", "--batch-share"])
def test_flags_that_cannot_be_measured(flag):
    from benchmarks import run

    with pytest.raises(SystemExit, match="^error: --"):
        run.main([flag, "0"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--memory-steps", "5", "5"], "--memory-steps"),
        (["--only", "memory"], "--only memory: name a configuration"),
        (["--only", "mlm_exact", "memory", "--users", "20", "--batch-share", "0.1"], "--users 20"),
    ],
)
def test_memory_that_cannot_be_measured(flags, message):
    from benchmarks import run

    with pytest.raises(SystemExit, match=f"^error: {message}"):
        run.main(flags)


@pytest.mark.long
def test_whole_command(tmp_path):
    """Once, with tiny repetitions; then on a device that is not there."""
    small = "import sys, benchmarks.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", small], cwd=ROOT, check=True)
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--threads", "1", "--out"]
    subprocess.run([*command, tmp_path / "out"], cwd=ROOT, check=True)
    frame = pd.read_csv(tmp_path / "out" / "measurements.csv")
    compared = frame[frame["configuration"] == "pretrain_4048"]
    stages = {"batch", "augment", "forward", "backward", "optimizer", "total"}
    for side in ("ours", "plain"):
        assert set(compared.loc[compared["side"] == side, "stage"]) == stages
    assert "A quick run" in (tmp_path / "out" / "performance.md").read_text()
    assert list(pd.read_csv(tmp_path / "out" / "memory.csv")["steps"]) == [1, 2]
    if not torch.cuda.is_available():
        words = [*command, tmp_path / "none", "--device", "cuda"]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stderr.startswith("error: machine machine 1: device cuda: torch sees no GPU")
        assert not (tmp_path / "none").exists()
