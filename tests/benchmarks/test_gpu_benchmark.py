"""The measurements of a GPU, on a CPU: every line runs, and no error costs the other rows."""

import json
from unittest import mock

import pandas as pd
import pytest
import torch
from repository import ROOT

from benchmarks import (
    gpu,
    gpu_correctness,
    gpu_page,
    gpu_profile,
    gpu_sharing,
    gpu_training,
)
from userbench.model import losses
from userbench.model.kernels import language

TINY = ["--device", "cpu", "--tiny"]
QUICK = ("machine", "correctness", "methods", "waits", "finetuning")


@pytest.fixture
def two_methods(monkeypatch):
    for module in (gpu, gpu_correctness):
        monkeypatch.setattr(module, "METHODS", ("adaptssr", "mlm"))


def rows(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_sections_run_and_are_kept(tmp_path, two_methods):
    """All but the processes of `sharing`; then one of them anew."""
    gpu.main([*TINY, "--out", str(tmp_path), "--only", *QUICK])
    frame = pd.read_csv(tmp_path / "gpu.csv")
    assert set(frame["section"]) == set(QUICK)
    assert "error" not in frame
    speeds = frame[frame["section"] == "methods"].set_index("what")
    assert list(speeds.index) == ["plain", "adaptssr", "mlm"]
    assert (speeds["users_per_second"] > 0).all()
    ours, plain = speeds["users_per_second"]["adaptssr"], speeds["users_per_second"]["plain"]
    assert speeds["times_plain"]["adaptssr"] == pytest.approx(ours / plain, rel=1e-6)
    compared = frame[frame["section"] == "correctness"].dropna(subset="loss_error")
    assert (compared["loss_error"] == 0).all()  # a CPU against itself
    assert (compared["bf16_gradient_error"] > 0).all()
    assert 0 < frame["table_error"].max() < 1e-6
    page = (tmp_path / "gpu.md").read_text()
    assert "no figure here means anything" in page
    assert "only a GPU is waited for" in page

    before = (tmp_path / "methods.jsonl").read_text()
    gpu.main([*TINY, "--out", str(tmp_path), "--only", "machine"])
    assert (tmp_path / "methods.jsonl").read_text() == before
    assert len(pd.read_csv(tmp_path / "gpu.csv")) == len(frame)


def test_candidates_of_the_softmax_are_compared_or_said_to_be_missing(tmp_path):
    """Wrong: a library that is not installed costs the other rows, or an error is not measured."""
    gpu.main([*TINY, "--out", str(tmp_path), "--only", "softmax"])
    frame = pd.read_csv(tmp_path / "gpu.csv").set_index("what")
    assert "error" not in frame
    assert frame["skipped"]["ours, bf16"] == "needs a GPU and Triton"
    assert list(frame["ok"][["plain", "torch", "fills, plain"]]) == [True] * 3
    assert 0 < frame["loss_error"]["torch"] < 1e-5
    assert (frame["ms"].notna() | frame["skipped"].notna()).all()


def test_ccl_is_given_the_same_fills():
    """Wrong: rows drawn in other blocks take other random numbers, and CCL can't be compared."""
    store = gpu.simulated_store(60, 300, 20, torch.device("cpu"))
    users, fills = torch.arange(40), gpu_correctness.SameFills()
    first = gpu_correctness.drawn_alike(store, "ccl", "fp32", users, fills)
    torch.manual_seed(9)
    with mock.patch.dict(losses.ROWS_AT_ONCE, cpu=7):
        again = gpu_correctness.drawn_alike(store, "ccl", "fp32", users, fills)
        others = gpu_correctness.drawn_alike(
            store, "ccl", "fp32", users, gpu_correctness.SameFills()
        )
    assert gpu_correctness.difference(again, first) == (0, 0)
    assert gpu_correctness.difference(others, first)[1] > 1e-3


def test_variants_are_what_they_say(tmp_path, monkeypatch):
    seen = []

    def speed_row(setting, of, name, precision, capture, **changes):
        seen.append((name, precision, capture, language.INSTALLED, *changes))
        return {"what": name}

    monkeypatch.setattr(gpu, "speed_row", speed_row)
    installed = language.INSTALLED
    setting = gpu.Setting(torch.device("cpu"), **gpu.TINY)
    found = list(gpu.variants(setting))
    assert len(found) == len(seen) == 7 + len(gpu.METHODS)
    assert {("mlm", "tf32", "none", installed), ("ccl", "bf16", "none", False)} <= set(seen)
    assert installed == language.INSTALLED


def failing(setting):
    yield {"what": "first"}
    yield gpu.attempt({"what": "second"}, lambda: 1 / 0)
    yield {"what": "third"}
    raise RuntimeError("the device is gone")


def test_an_error_costs_nothing_else(tmp_path, monkeypatch):
    """Rows before and after a bad one stay, and so do other sections."""
    monkeypatch.setitem(gpu.SECTIONS, "waits", (failing, 60))
    gpu.main([*TINY, "--out", str(tmp_path), "--only", "waits", "machine"])
    _, *found = rows(tmp_path, "waits")
    assert [row["what"] for row in found] == ["first", "second", "third", "section"]
    assert found[1]["error"] == "ZeroDivisionError: division by zero"
    assert found[3]["error"] == "RuntimeError: the device is gone"
    assert "division by zero" in (tmp_path / "gpu.md").read_text()
    assert len(rows(tmp_path, "machine")) == 5


def test_a_section_ends_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setitem(gpu.SECTIONS, "machine", (gpu.machine, 0))
    gpu.main([*TINY, "--out", str(tmp_path), "--only", "machine"])
    _, first, last = rows(tmp_path, "machine")
    assert first["what"] == "matrix product"
    assert last["error"].startswith("out of time")


def test_all_sections_fit_into_nine_minutes():
    assert sum(seconds + gpu.GRACE for _, seconds in gpu.SECTIONS.values()) < 540


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--device", "cpu"], "error: device cpu: .* Add --tiny"), ([], "error: device cuda: torch")],
)
def test_without_a_gpu_one_clear_line(tmp_path, flags, message):
    if not flags and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match=message) as stop:
        gpu.main([*flags, "--out", str(tmp_path / "out")])
    assert "\n" not in str(stop.value)
    assert not (tmp_path / "out").exists()


def test_corpus_has_the_lengths_of_ttl():
    """Padding, and so every figure, hangs on them."""
    store = gpu.simulated_store(20_000, 5_000, 150, torch.device("cpu"))
    assert store.longest == 100
    assert 50 < store.lengths.double().mean() < 58
    assert int(store.items.min()) == 1 and int(store.items.max()) <= 5_000
    again = gpu.simulated_store(20_000, 5_000, 150, store.items.device)
    assert torch.equal(store.items, again.items)


@pytest.mark.parametrize("name", gpu.METHODS)
def test_operations_count_the_encodings_of_a_method(name, monkeypatch):
    """A share of the peak would be wrong by the same factor."""
    store = gpu.simulated_store(200, 300, 150, torch.device("cpu"))
    trained = gpu.training(store, name, "fp32", "none")
    encoded = []
    by_length = type(trained.method.encoder).by_length

    def counted(self, items, *others):
        if self is trained.method.encoder:
            encoded.append(len(items))
        return by_length(self, items, *others)

    monkeypatch.setattr(type(trained.method.encoder), "by_length", counted)
    trained.step(store.bounded_batch(torch.arange(8)), 0.5)
    assert sum(encoded) == 8 * gpu_training.ENCODED.get(name, 2)
    assert gpu_training.operations_per_user(name, store) > 0


def test_draws_are_the_cpus():
    """A GPU that drew by itself would make other views, and no comparison would mean anything."""
    seen = []
    known = (torch.rand, torch.randint, torch.Tensor.exponential_, torch.Tensor.uniform_)

    class Seen(gpu_correctness.SameDraws):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.extend(known.index(one) for one in known if func is one)
            return super().__torch_function__(func, types, args, kwargs)

    def draws():
        torch.manual_seed(0)
        drawn = (torch.rand(3, device="cpu"), torch.randint(9, (2,)))
        return *drawn, torch.empty(4).exponential_(), torch.empty(2, 4)[1].uniform_()

    expected = draws()
    with Seen():
        found = draws()
    assert seen == [0, 1, 2, 3]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_targets_are_met_or_missed_by_the_best_row():
    row = {"what": "mlm", "precision": "bf16", "capture": "graph"}
    slow, fast = {**row, "epoch_seconds": 90.0}, {**row, "epoch_seconds": 59.0}
    sampled = {**row, "epoch_seconds": 1.0, "set": {"negatives": 1024}}
    target = gpu_page.TARGETS[1]
    assert "| 90 | bf16, graph: missed |" in gpu_page.target_line([slow, sampled], *target)
    assert "| 59 | bf16, graph: met |" in gpu_page.target_line([slow, fast], *target)
    assert gpu_page.target_line([], *target).endswith("| at most 60 | | |")


@pytest.mark.slow
def test_jobs_at_once(tmp_path):
    gpu.main([*TINY, "--out", str(tmp_path), "--only", "sharing"])
    (row,) = rows(tmp_path, "sharing")[1:]
    assert row["users_per_second"] > 0


def test_measured_times_stand_beside_predicted_ones():
    """Wrong: a prediction is compared with another step, or with one that was not captured."""
    rows = [
        {"section": "methods", "what": "mlm", "capture": "graph", "ms_per_step": 6.0},
        {"section": "methods", "what": "mlm", "capture": "none", "ms_per_step": 9.0},
        {"section": "finetuning", "what": "top_n", "capture": "graph", "ms_per_step": 1.0},
        {"section": "predicted", "what": "mlm", "predicted_ms": 4.0},
        {"section": "predicted", "what": "finetune top_n", "predicted_ms": 0.5},
        {"section": "predicted", "what": "ccl", "predicted_ms": 3.0},
    ]
    gpu_page.compare_with_measured(rows)
    assert [row.get("times_predicted") for row in rows[3:]] == [1.5, 2.0, None]


def test_mps_is_started_for_its_clients_and_stopped(tmp_path, monkeypatch):
    """Wrong: jobs do not find the server, or one stays behind when a job has died."""
    control, log = tmp_path / gpu_sharing.CONTROL, tmp_path / "log"
    control.write_text(f'#!/bin/sh\necho "$@" $CUDA_MPS_PIPE_DIRECTORY >> {log}\ncat >> {log}\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RuntimeError, match="of 1 jobs has died"):
        gpu_sharing.together(["--help"], 1, with_mps=True)
    start, quit_at, said = log.read_text().split("\n")[:3]
    assert start.startswith("-d /") and start == f"-d {quit_at.strip()}" and said == "quit"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match=gpu_sharing.CONTROL), gpu_sharing.mps():
        pass


def test_kernels_of_a_step_by_name():
    """Wrong: launches of all steps count as one's, or the last row is not their sum."""
    values = torch.ones(64)
    *kernels, whole = gpu_profile.by_kernel(lambda: values.exp().exp(), torch.device("cpu"))
    (found,) = (row for row in kernels if row["kernel"] == "aten::exp")
    assert found["launches"] == 2
    assert whole["launches"] == pytest.approx(sum(row["launches"] for row in kernels), abs=0.1)


def test_the_page_of_measurements_is_made_of_its_rows(tmp_path):
    """Wrong: docs/gpu.md shows what nobody measured (make gpu-steps)."""
    docs, page = ROOT / "docs", tmp_path / "gpu.md"
    rows = str(docs / "results" / "gpu" / "h100.jsonl")
    gpu_page.main(["--rows", rows, "--commit", "e11d820", "--page", str(page)])
    assert page.read_text() == (docs / "gpu.md").read_text()
