"""What is said of rows that differ by known amounts, and of what cannot be compared."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROWS = ("none", "mlm", "adaptssr")
EXAMPLES = 200


@pytest.fixture
def comparison():
    from userbench.report import comparison

    return comparison


def layout(tasks=("age", "life"), simulated=False, references=()) -> dict:
    return {
        "caption_data": "toy",
        "simulated": simulated,
        "tasks": [
            {"task": task, "label": f"Task {task}", "metric": "accuracy"}
            for task in (*tasks, "absent")
        ],
        "rows": [{"run": run, "label": run.upper()} for run in ROWS],
        "references": [{"run": run, "label": run} for run in references],
        "baseline": "none",
    }


def make(folder, right: dict[tuple[str, str], list[int]]) -> None:
    """Scores and predictions of runs that get so many of EXAMPLES right, a figure per seed."""
    from userbench.predictions import write_predictions
    from userbench.report.statistics import SCORE_COLUMNS

    rows = []
    for (run, task), by_seed in right.items():
        for seed, n in enumerate(by_seed):
            example = np.arange(EXAMPLES)
            columns = {"example": example, "user": example, "label": 0 * example}
            columns["predicted"] = (example >= n).astype(int)
            about = {"run": run, "task": task, "corpus": "ttl", "seed": seed}
            path = folder / f"{run}-{task}-{seed}.parquet"
            write_predictions(path, columns, {**about, "kind": "classification"})
            score = {"metric": "accuracy", "split": "test", "pretrain_epoch": 1, "epoch": 1}
            size = {"examples": EXAMPLES, "width": 64}
            rows.append({**about, **score, **size, "value": n / EXAMPLES})
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(folder / "scores.csv", index=False)


RIGHT = {
    ("none", "age"): [100, 104, 98],
    ("mlm", "age"): [101, 103, 100],
    ("adaptssr", "age"): [140, 143, 139],
    ("none", "life"): [60, 66, 63],
    ("mlm", "life"): [60, 66, 63],
    ("adaptssr", "life"): [64, 62, 69],
}


def run(comparison, command, folder, chosen) -> pd.DataFrame:
    """The table of a command, as read from its CSV."""
    flags = ["--scores", str(folder / "scores.csv"), "--layout", json.dumps(chosen)]
    if command == "statistics":
        flags += ["--predictions", *map(str, sorted(folder.glob("*.parquet")))]
    csv, md = folder / f"{command}.csv", folder / f"{command}.md"
    comparison.main([command, *flags, "--csv", str(csv), "--md", str(md)])
    assert csv.with_name(f"{command}.csv.provenance.json").exists()
    return pd.read_csv(csv, keep_default_na=False, na_values={"std": [""], "low": [""]})


def test_statistics_of_known_differences(comparison, tmp_path):
    # Wrong: tests of other pairs, no Holm, or a best other row that is the row itself.
    make(tmp_path, RIGHT)
    table = run(comparison, "statistics", tmp_path, layout())
    table = table.set_index(["task", "run"])
    assert len(table) == 6  # and no row for the task that nobody has
    cell = table.loc["age", "adaptssr"]
    ours, base = (np.array(RIGHT[name, "age"]) / 2 for name in ("adaptssr", "none"))
    assert cell["mean"] == pytest.approx(ours.mean(), abs=1e-4)
    interval = stats.t.interval(0.95, 2, ours.mean(), stats.sem(ours))
    assert [cell["low"], cell["high"]] == pytest.approx(interval, abs=1e-4)
    expected = stats.ttest_rel(ours, base)
    assert float(cell["baseline.difference"]) == pytest.approx((ours - base).mean(), abs=1e-4)
    assert float(cell["baseline.p"]) == pytest.approx(expected.pvalue, abs=1e-4)
    assert float(cell["baseline.p_holm"]) == pytest.approx(2 * expected.pvalue, abs=1e-4)
    assert cell["baseline.verdict"] == "better"
    assert cell["best_other.run"] == "mlm"
    assert table.loc[("mlm", "age")[::-1], "best_other.run"] == "adaptssr"
    assert table.loc[("age", "mlm"), "best_other.verdict"] == "worse"
    assert table.loc[("age", "none"), "baseline.run"] == ""
    assert table.loc[("age", "none"), "baseline.verdict"] == ""
    share = ours.mean() / 100
    binomial = 100 * np.sqrt(share * (1 - share) / EXAMPLES)
    assert cell["test_std"] == pytest.approx(binomial, rel=0.15)
    # 40 users are right with one row alone: what the test set adds to that difference.
    flipped = (ours - base).mean() / 100
    assert float(cell["baseline.test_std"]) == pytest.approx(
        100 * np.sqrt(flipped * (1 - flipped) / EXAMPLES), rel=0.15
    )
    page = (tmp_path / "statistics.md").read_text()
    assert "SIMULATED" not in page
    assert page.count("| ADAPTSSR |") == 2


def test_an_open_question_names_the_seeds_it_needs(comparison, tmp_path):
    # Wrong: "no difference" where there were too few seeds to see one.
    from userbench.report.inference import seeds_needed

    make(tmp_path, RIGHT)
    table = run(comparison, "statistics", tmp_path, layout()).set_index(["task", "run"])
    differences = (np.array(RIGHT["adaptssr", "life"]) - np.array(RIGHT["none", "life"])) / 2
    needed = seeds_needed(differences.mean()[None], differences.std(ddof=1)[None], 0.05 / 2)
    verdict = f"undecided: {needed[0]:.0f} seeds needed"
    assert table.loc[("life", "adaptssr"), "baseline.verdict"] == verdict
    assert table.loc[("life", "mlm"), "baseline.verdict"] == "undecided: no difference"


def test_one_seed_decides_nothing_and_warns_of_nothing(comparison, tmp_path):
    make(tmp_path, {name: by_seed[:1] for name, by_seed in RIGHT.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = run(comparison, "statistics", tmp_path, layout(simulated=True))
        whole = run(comparison, "aggregate", tmp_path, layout(simulated=True))
    others = table[table["run"] != "none"]
    assert set(others["baseline.verdict"]) == {"undecided: one seed has no spread"}
    assert table[["std", "low", "high"]].isin(["", np.nan]).all(axis=None)
    assert (whole["rank_low"] == "").all() and (whole["baseline.probability_low"] == "").all()
    assert (tmp_path / "statistics.md").read_text().count("SIMULATED") == 3
    assert "SIMULATED DATA" in (tmp_path / "aggregate.md").read_text()


def test_references_are_compared_but_not_ranked(comparison, tmp_path):
    # Wrong: a reference counts as a row to be better than, or as one with three seeds.
    make(tmp_path, {**RIGHT, ("bag", "age"): [180]})
    chosen = layout(references=["bag"])
    table = run(comparison, "statistics", tmp_path, chosen).set_index(["task", "run"])
    bag = table.loc["age", "bag"]
    assert bag[["ranked", "seeds", "mean"]].tolist() == [0, 1, 90.0]
    assert bag["best_other.run"] == "adaptssr"
    expected = stats.ttest_1samp(np.array(RIGHT["adaptssr", "age"]) / 2, 90)
    assert float(bag["best_other.p"]) == pytest.approx(expected.pvalue, abs=1e-4)
    assert ("life", "bag") not in table.index
    assert table.loc[("age", "mlm"), "best_other.run"] == "adaptssr"
    assert "bag" not in set(run(comparison, "aggregate", tmp_path, chosen)["run"])


def test_aggregate_by_hand(comparison, tmp_path):
    make(tmp_path, RIGHT)
    table = run(comparison, "aggregate", tmp_path, layout()).set_index("run")
    # Ranks by task: 3 and 2.5, 2 and 2.5, 1 and 1.
    assert table["rank"].tolist() == [2.75, 2.25, 1.0]
    assert table["best_other.run"].tolist() == ["adaptssr", "adaptssr", "mlm"]
    # Every seed of AdaptSSR beats those of None in age; in life 5.5 of 9 pairs.
    wins = [1.0, np.mean([a > b for a in (64, 62, 69) for b in (60, 66, 63)])]
    assert float(table.loc["adaptssr", "baseline.probability"]) == pytest.approx(
        np.mean(wins), abs=1e-4
    )
    assert table.loc["none", "baseline.probability"] == ""
    gains = [
        100 * (np.mean(RIGHT["adaptssr", task]) / np.mean(RIGHT["none", task]) - 1)
        for task in ("age", "life")
    ]
    assert float(table.loc["adaptssr", "improvement"]) == pytest.approx(np.mean(gains), abs=1e-4)
    low, high = (float(table.loc["adaptssr", f"improvement_{side}"]) for side in ("low", "high"))
    assert low < np.mean(gains) < high


def refused(comparison, command, folder, chosen=None) -> str:
    """What the command says when it ends."""
    with pytest.raises(SystemExit) as stop:
        run(comparison, command, folder, chosen or layout())
    assert "\n" not in str(stop.value)
    assert not list(folder.glob(f"{command}.*"))
    return str(stop.value)


def test_a_missing_seed_is_one_clear_line(comparison, tmp_path):
    # Wrong: seed 2 of one row is paired with seed 1 of another, or a row is tested on fewer.
    make(tmp_path, {**RIGHT, ("mlm", "life"): [60, 66]})
    for command in ("statistics", "aggregate"):
        said = refused(comparison, command, tmp_path)
        assert "task 'life': run 'mlm' has no score of seed 2, though others have" in said


def test_predictions_must_be_there_and_those_of_the_scores(comparison, tmp_path):
    make(tmp_path, RIGHT)
    (tmp_path / "mlm-age-1.parquet").rename(tmp_path / "aside")
    said = refused(comparison, "statistics", tmp_path)
    assert "task 'age': no --predictions of run 'mlm', seed 1" in said
    older = tmp_path / "older"
    older.mkdir()
    make(older, {("mlm", "age"): [90, 90]})
    (older / "mlm-age-1.parquet").rename(tmp_path / "mlm-age-1.parquet")
    said = refused(comparison, "statistics", tmp_path)
    assert "run 'mlm', seed 1: predictions of accuracy 45.0000, but the score is 51.5000" in said


def test_no_scores_at_all(comparison, tmp_path):
    make(tmp_path, {("another", "age"): [1]})
    assert "no test score" in refused(comparison, "aggregate", tmp_path)
