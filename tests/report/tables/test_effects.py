"""Effects of switches against values worked out by hand, and what is bold of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from experiments import experiment_flag
from repository import ROOT
from scipy import stats
from small_ledger import ENTRIES, LAYOUT, SCORES, TASKS, measure_effects, scores_csv, without

LEDGER_FILE = ROOT / "src" / "userbench" / "experiment" / "ledger.yaml"
PAGE_FILE = ROOT / "docs" / "ambiguities.md"


@pytest.fixture
def effects():
    from userbench.report.tables import effects

    return effects


def test_differences_are_those_worked_out_by_hand(effects, tmp_path):
    # Wrong: seeds are not paired (std of age would be 5), validation enters, percent for points.
    table = measure_effects(tmp_path)
    assert list(table.index) == [
        *[("cold", "age"), ("cold", "click"), ("distinct", "age"), ("distinct", "click")]
    ]
    # cold - base: age -10, -9.9, -10.1; click .5, -.5, .5
    assert table["difference"].tolist() == [-10.0, 0.1667, 0.0, 0.4]
    assert table["std"].tolist() == [0.1, 0.5774, 0.0, 0.5196]
    # distinct on click: all seeds above, but t = .4 / (.52 / sqrt(3)) = 1.3 of two degrees
    assert table["clear"].tolist() == [True, False, False, False]
    assert set(table["seeds"]) == {3}
    assert table.loc[("cold", "age"), ["value", "against"]].tolist() == ['"none"', '"mlm"']
    assert (tmp_path / "effects.csv.provenance.json").exists()


def curve(folder: Path, run: str, seed: int, **changes: Any) -> str:
    """A learning curve with the record of a pre-training that left users out."""
    from userbench.results import artifact

    path = folder / f"pretrain/{run}/ttl/seed{seed}/curve.json"
    artifact.write_json(path, [{"epoch": 1, "split": "train", "loss": 1.0}])
    counts = {
        **{"tested": 1400, "alike": 12},
        "removed": {"train": 1270, "validation": 142},
        "left": {"train": 980, "validation": 108},
        "missing": {"train": 0, "validation": 0},
        "tasks": {
            "age": {"test_users": 500, "also_in_training": 0},
            "click": {"test_users": 400, "also_in_training": 230},
        },
    }
    artifact.record(path, {"seed": seed}, held_out=counts | changes)
    return str(path)


def test_who_was_left_out_is_below_the_table(effects, tmp_path):
    # Wrong: an effect of half the data passes for one of not seeing the test users.
    from userbench.experiment.ledger import read_ledger
    from userbench.report.audit.tables import run_again
    from userbench.report.tables import ambiguities

    few = {"removed": {"train": 900, "validation": 90}, "left": {"train": 1350, "validation": 160}}
    few |= {"missing": {"train": 370, "validation": 52}}
    curves = [curve(tmp_path, "cold", seed) for seed in (0, 1)]
    curves += [curve(tmp_path, "distinct", seed, **few) for seed in (0, 1)]
    scores_csv(tmp_path / "scores.csv")
    flags = ["--scores", str(tmp_path / "scores.csv"), *experiment_flag(tmp_path, effects=LAYOUT)]
    words = [*flags, "--curves", *curves, "--out", str(tmp_path / "effects.csv")]
    effects.main(words)
    (tmp_path / "ledger.yaml").write_text(yaml.safe_dump(ENTRIES))
    entries = read_ledger(tmp_path / "ledger.yaml")
    table = effects.read_effects(tmp_path / "effects.csv", entries)
    held_out = json.loads(table["held_out"].iloc[1])
    assert (held_out["corpus"], list(held_out["tasks"])) == ("ttl", ["click"])
    page = ambiguities.page(entries, table)
    for line in (
        "[warm\\_start](#warm_start) `none` (T1 Age, T3 Click): 1,270 of 2,250 training users were "
        "left out, 980 were left.",
        "[operators](#operators) `{distinct: true}` (T1 Age, T3 Click): 900 of 2,250 training "
        "users were left out, 1,350 were left; 370 more should have been left out, but there are "
        "no others.",
        "T1 Age, T3 Click: 1,400 users are in a test split, 12 others have the behaviours of one "
        "of them. So many test users of a task have training examples of it, too: T3 Click 230 "
        "(57%). Fine-tuning sees their behaviours.",
    ):
        assert page.splitlines().count(line) == 1, page
    (tmp_path / "again").mkdir()
    (again,) = run_again(
        ["python", "-m", "userbench", "effects", *words],
        tmp_path / "effects.csv",
        tmp_path / "again",
    )
    assert again.read_bytes() == (tmp_path / "effects.csv").read_bytes()
    inputs = json.loads((tmp_path / "effects.csv.provenance.json").read_text())["inputs"]
    assert sum(name.endswith("curve.json") for name in inputs) == 4


def test_seeds_that_left_out_other_numbers_are_refused(effects, tmp_path):
    # Wrong: the numbers of one seed are reported for all, though its splits were others.
    curves = [curve(tmp_path, "cold", 0), curve(tmp_path, "cold", 1, tested=1401)]
    with pytest.raises(ValueError, match="other numbers of users were left out than with other"):
        effects.read_held_out(list(map(Path, curves)))
    assert measure_effects(tmp_path)["held_out"].isna().all()


def of_cells(values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sample std and number of differences; the seeds are the last axis."""
    spread = np.full(values.shape[:-1], np.nan)
    if values.shape[-1] > 1:
        spread = values.std(-1, ddof=1)
    return values.mean(-1), spread, np.full(values.shape[:-1], float(values.shape[-1]))


@pytest.mark.parametrize(
    ("differences", "clear"),
    [
        ([[1.0, 1.1, 0.9]], [True]),
        ([[1.0, 1.1, 0.9], [0.3, -0.1, 0.2]], [True, False]),  # p = .003, twice that is below .05
        ([[1.0, 1.5, 1.0]], [True]),  # t = 7.0 of two degrees: p = .02
        ([[1.0, 1.5, 1.0]] + [[0.3, -0.1, 0.2]] * 3, [False] * 4),  # four times .02 is not
        ([[1.0]], [False]),  # one seed says nothing
        ([[0.0, 0.0]], [False]),
        ([[1.0, 1.0]], [False]),  # no spread is no evidence, but it counts as a test
        ([[1.0, 1.5, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]], [False] * 3),
        ([[0.1, 3.0]], [False]),
    ],
)
def test_an_effect_is_clear_when_it_is_beyond_chance_in_its_table(effects, differences, clear):
    # Wrong: noise is printed bold.
    assert effects.beyond_chance(*of_cells(np.array(differences))).tolist() == clear


def test_beyond_chance_is_the_paired_test_of_scipy_with_holm_by_hand(effects):
    values = np.random.default_rng(0).normal([[2.5], [0.0], [2.2], [0.4], [3.0]], 1, (5, 6))
    p = stats.ttest_1samp(values, 0, axis=1).pvalue
    expected = np.zeros(5, dtype=bool)
    for place, cell in enumerate(np.argsort(p)):  # Holm: stop at the first that is not
        if p[cell] * (5 - place) >= 0.05:
            break
        expected[cell] = True
    assert 0 < expected.sum() < 5
    assert effects.beyond_chance(*of_cells(values)).tolist() == expected.tolist()


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_table_of_equal_switches_has_a_bold_cell_in_a_twentieth(effects, seeds):
    # Wrong: with three seeds, every cell is bold in 18% (all seeds of a sign, two standard errors).
    tables, rng = 2000, np.random.default_rng(seeds)
    base = rng.normal(0, 1, (tables, 1, 6, seeds))  # all switches are compared with one run
    differences = rng.normal(0, 1, (tables, 19, 6, seeds)) - base
    bold = effects.beyond_chance(*of_cells(differences.reshape(tables, -1, seeds)))
    assert bold.any(-1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    if seeds == 2:
        return  # of one degree of freedom, no switch is ever found among 114 cells
    # And a switch that does something is found.
    differences[:, 0, 0] += 100
    bold = effects.beyond_chance(*of_cells(differences.reshape(tables, -1, seeds)))
    assert bold[:, 0].mean() > 0.8


def test_test_users_are_a_part_of_the_error(effects, tmp_path):
    # Wrong: a difference that is that of these test users alone is bold.
    from userbench.report.statistics.inference import Noise
    from userbench.report.tables import ambiguities
    from userbench.results.scores import read_scores

    scores_csv(tmp_path / "scores.csv")
    scores = read_scores(tmp_path / "scores.csv")
    of_users = {
        ("cold", "age"): effects.OtherUsers(25.0, 200)
    }  # 10 points are two standard errors of these
    found = effects.measure(scores, LAYOUT, of_users).set_index(["run", "task"])["clear"]
    assert effects.measure(scores, LAYOUT)["clear"].sum() == 1
    assert found.sum() == 0
    few = {
        ("cold", "age"): effects.OtherUsers(4.0, 3)
    }  # five errors: p = .04 of two degrees, .16 of four cells
    many = {("cold", "age"): effects.OtherUsers(4.0, 200)}
    assert effects.measure(scores, LAYOUT, few)["clear"].sum() == 0
    assert effects.measure(scores, LAYOUT, many)["clear"].sum() == 1
    # Nor is one of which a seed answers the same for everybody.
    collapsed = {("cold", "age"): effects.OtherUsers(4.0, 200, collapsed=True)}
    found = effects.measure(scores, LAYOUT, collapsed)
    assert found["clear"].sum() == 0
    assert ambiguities.page([], found).count("‡") == 2
    no_spread = of_cells(np.array([[1.0, 1.0, 1.0]]))
    users = Noise(np.array([0.01]), np.array([199.0]))
    assert effects.beyond_chance(*no_spread, users).tolist() == [False]


def test_the_table_in_docs_calls_clear_what_is_beyond_chance(effects):
    # Wrong: a table that was made by another rule, or by hand.
    from userbench.experiment.ledger import read_ledger

    table = effects.read_effects(PAGE_FILE.with_suffix(".csv"), read_ledger(LEDGER_FILE))
    assert table["clear"].tolist() == effects.clear_cells(table).tolist()
    how_many = table["clear"].sum() or "none"
    assert f"of {len(table)} cells, {how_many} " in PAGE_FILE.read_text(encoding="utf-8")


def test_only_common_seeds_count(effects, tmp_path):
    # Wrong: a seed that one run lacks moves the mean.
    scores = SCORES | {"cold": {"age": [49.0], "click": [2.5]}}
    table = measure_effects(tmp_path, scores=scores)
    assert table.loc[("cold", "age"), "seeds"] == 1
    assert table.loc[("cold", "age"), "difference"] == -1.0
    assert pd.isna(table.loc[("cold", "age"), "std"])
    with pytest.raises(
        SystemExit, match="task 'age': 'cold' and 'adaptssr' have no seed in common"
    ):
        measure_effects(tmp_path, scores=SCORES | {"cold": {"click": [2.5]}})


def test_a_failed_fit_has_no_effect_and_is_named(effects, tmp_path):
    # Wrong: the mean of the seeds that are left is shown as that of all, perhaps bold.
    from userbench.report.tables import ambiguities
    from userbench.results.scores import read_scores

    scores_csv(tmp_path / "scores.csv")
    scores = read_scores(tmp_path / "scores.csv")
    lost = (scores["run"] == "cold") & (scores["task"] == "age") & (scores["seed"] == 1)
    scores.loc[lost & (scores["split"] == "test"), "value"] = np.nan
    found = next(effects.measure(scores, LAYOUT).query("run == 'cold'").itertuples())
    assert np.isnan([found.difference, found.std]).all() and not found.clear
    assert ambiguities.shown(found) == {"difference": "–", "bold": False, "marks": ""}


def test_effects_count_the_test_users_behind_their_scores(effects, tmp_path):
    # Wrong: the command forgets them, or takes those of another pair of runs.
    from userbench.results.predictions import write_predictions
    from userbench.results.scores import SCORE_COLUMNS, read_scores

    users, right = np.arange(100), {"adaptssr": (50, 60), "cold": (80, 90), "distinct": (50, 61)}
    files, rows = [], []
    for run, by_seed in right.items():
        for seed, n in enumerate(by_seed):
            columns = {"example": users, "user": users, "label": 0 * users}
            columns["predicted"] = (users >= n).astype(int)
            about = {"run": run, "task": "age", "corpus": "ttl", "seed": seed}
            files.append(tmp_path / f"{run}.{seed}.parquet")
            write_predictions(files[-1], columns, {**about, "kind": "classification"})
            score = {
                "metric": "accuracy",
                "split": "test",
                "pretrain_epoch": 1,
                "start": 1,
                "epoch": 1,
            }
            rows.append({**about, **score, "examples": 100, "width": 8, "value": n / 100})
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(tmp_path / "scores.csv", index=False)
    found = effects.of_test_users(read_scores(tmp_path / "scores.csv"), LAYOUT, files)
    assert set(found) == {("cold", "age"), ("distinct", "age")}
    assert not any(cell.collapsed for cell in found.values())
    assert found["cold", "age"].variance == pytest.approx(
        100**2 * 0.3 * 0.7 / 100, rel=0.3
    )  # 30 of 100 users differ


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"runs": LAYOUT["runs"] * 2}, "'cold' is named twice"),
        ({"runs": [without(LAYOUT["runs"][0], "against")]}, "runs.0: 'against' is missing"),
        ({"tasks": [without(TASKS[0], "simulated")]}, "tasks.0: 'simulated' is missing"),
        ({"noise": 1}, "effects: unknown key 'noise'"),
    ],
)
def test_a_wrong_layout_is_reported(effects, tmp_path, changes, reason):
    # Wrong: data pass for real, or a run is set against a value that the base does not have.
    with pytest.raises(SystemExit, match=f"error: .*{reason}"):
        measure_effects(tmp_path, LAYOUT | changes)
