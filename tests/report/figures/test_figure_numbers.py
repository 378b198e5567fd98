"""The figures: areas of 1, equal bytes, stable colours, and numbers against the obvious way."""

import json

import numpy as np
import pandas as pd
import pytest
from experiments import figure_layout
from experiments import figure_row as row
from figure_cases import (
    ABLATION,
    CURVES,
    LABELS,
    TASKS,
    WORLD_TASKS,
    WORLDS,
    file_of,
    inputs,
    predictions,
    scores,
)
from scipy import stats


def values_by_seed(measured, *cell) -> np.ndarray:
    """Test scores of a run on a task in percent, by seed."""
    run, task = cell
    own = measured.query("split == 'test' and run == @run and task == @task")
    return 100 * own.sort_values("seed")["value"].to_numpy()


def test_ablation_numbers_count_seeds_and_test_users(tmp_path):
    """Wrong: an interval is that of the seeds alone, or a difference is not paired."""
    from userbench.report.statistics import inference

    measured = scores([row["run"] for row in ABLATION["rows"]])
    frame = file_of("ablation").numbers(inputs(ABLATION, measured, predictions(tmp_path, measured)))
    frame = frame.set_index(["run", "task"]).sort_index()
    assert list(frame.loc["half", "role"]) == ["component sweep"] * 2
    own, full = (values_by_seed(measured, run, "click") for run in ("one", "full"))
    found = frame.loc["one", "click"]
    assert found["std"] == pytest.approx(own.std(ddof=1), abs=1e-3)
    # Users are right or wrong, the same ones in both runs but for the difference.
    apart = abs((own - full).mean())
    for values, users, bounds in (
        (own, own.mean(), found[["low", "high"]]),
        (own - full, apart, found[["difference_low", "difference_high"]]),
    ):
        noise = inference.Noise(np.array([users * (100 - users) / 100]), 66.0)
        over_seeds = inference.seed_noise(inference.sample(values))
        expected = inference.confidence_interval(np.array([values.mean()]), over_seeds, noise)
        width = (expected.high - expected.low).item()
        assert bounds.iloc[1] - bounds.iloc[0] == pytest.approx(width, rel=0.1)
        assert bounds.mean() == pytest.approx(values.mean(), abs=1e-3)
        assert width > 2 * stats.t.ppf(0.975, 2) * stats.sem(values)
    assert np.isnan(frame.loc[("full", "click"), "difference"])


def test_one_seed_has_no_interval(tmp_path):
    """Wrong: a single seed is shown as if it had no spread."""
    measured = scores(["none", "none--labels-10"], seeds=1)
    frame = file_of("labels").numbers(inputs(LABELS, measured, predictions(tmp_path, measured)))
    assert frame[["std", "low", "high"]].isna().all().all()
    assert frame["mean"].notna().all()


def test_worlds_compare_runs_in_the_same_world(tmp_path):
    """Wrong: the difference is of two worlds, or its parameters are of another one."""
    measured = scores(["adaptssr", "none"], WORLD_TASKS)
    frame = file_of("worlds").numbers(inputs(WORLDS, measured, predictions(tmp_path, measured)))
    frame = frame.set_index(["diversity", "noise"])
    ours, base = (values_by_seed(measured, run, "age_4_3") for run in ("adaptssr", "none"))
    assert frame.loc[(4, 0.3), "mean"] == pytest.approx((ours - base).mean(), abs=1e-3)


def test_a_difference_to_a_collapsed_run_has_no_interval(tmp_path):
    """Wrong: one run that answers the same for everybody puts a bar beside zero."""
    measured = scores(["adaptssr", "none"], WORLD_TASKS)
    collapsed = (measured["task"] == "age_4_3") & (measured["run"] == "none")
    collapsed &= (measured["seed"] == 0) & (measured["split"] == "test")
    measured.loc[collapsed, "value"] = 0.0
    frame = file_of("worlds").numbers(inputs(WORLDS, measured, predictions(tmp_path, measured)))
    frame = frame.set_index(["diversity", "noise"])
    assert frame.loc[(4, 0.3), ["low", "high"]].isna().all()
    assert frame.loc[(4, 0.3), "note"] == "none: seed 0 predicts one class only"
    assert frame.drop((4, 0.3))[["low", "high"]].notna().all(axis=None)


def test_a_failed_or_collapsed_seed_is_named_and_a_failed_cell_is_empty(tmp_path):
    """Wrong: the seeds that survive pass for all, or nobody learns what a mark is made of."""
    measured = scores(["none", "none--labels-10"])
    test = (measured["split"] == "test") & (measured["task"] == "age")
    lost = test & (measured["run"] == "none") & (measured["seed"] == 1)
    collapsed = test & (measured["run"] != "none") & (measured["seed"] == 2)
    measured.loc[lost, "value"] = np.nan
    measured.loc[collapsed, "value"] = 0.0
    frame = file_of("labels").numbers(
        inputs(LABELS, measured, predictions(tmp_path, measured[~lost]))
    )
    by_cell = frame.set_index(["run", "task"])
    assert by_cell.loc[("none", "age"), "note"] == "seed 1 failed"
    assert by_cell.loc[("none", "age"), ["mean", "low"]].isna().all()
    note = by_cell.loc[("none--labels-10", "age"), "note"]
    assert note == "seed 2 predicts one class only"
    assert by_cell.loc[("none--labels-10", "age"), "mean"] > 0
    caption = " ".join(file_of("labels").draw(frame, inputs(LABELS)).get_supxlabel().split())
    assert "Not to be compared: None on T1 Age: seed 2 predicts one class only; None on" in caption
    assert "over 3 seeds" in caption


def test_of_several_starts_the_first_one_s_curve_is_shown():
    """Wrong: curves of two starts are averaged as if they were seeds, or the best is picked."""
    first = scores(["none", "adaptssr"])
    again = scores(["none"], seed=1).assign(start=2)
    both = pd.concat([first, again[again["split"] == "validation"]], ignore_index=True)
    expected, found = (file_of("learning_curves").numbers(inputs(CURVES, s)) for s in (first, both))
    pd.testing.assert_frame_equal(found, expected)


def test_learning_curves_are_means_over_seeds(tmp_path):
    """Wrong: corpora, splits or epochs of a loss are mixed up."""
    curves = []
    for seed in (0, 1):
        file = tmp_path / f"pretrain/mlm/ttl/seed{seed}/curve.json"
        file.parent.mkdir(parents=True)
        points = [
            {"epoch": epoch, "split": split, "step": 1, "loss": 10 * epoch + seed + shift}
            for epoch in (1, 2)
            for split, shift in (("train", 0), ("validation", 5))
        ]
        file.write_text(json.dumps(points))
        curves.append(file)
    asked = figure_layout([row("none", "none"), row("adaptssr", "adaptssr", encoder="mlm")], TASKS)
    measured = scores(["none", "adaptssr"])
    frame = file_of("learning_curves").numbers(inputs(asked, measured, curves=curves))
    losses = frame[frame["stage"] == "pretrain"].set_index(["split", "epoch"])["mean"]
    assert losses.to_dict() == {
        **{("train", 1): 10.5, ("train", 2): 20.5},
        **{("validation", 1): 15.5, ("validation", 2): 25.5},
    }
    assert set(frame.loc[frame["stage"] == "finetune", "epoch"]) == {1, 2}
