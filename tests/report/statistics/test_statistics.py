"""Statistics of rows that differ by known amounts, and of what cannot be compared."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from known_differences import EXAMPLES, RIGHT, layout, make_statistics, write_results
from scipy import stats


@pytest.fixture
def statistics():
    from userbench.report.statistics import command as statistics

    return statistics


def expected_p(first: np.ndarray, second: np.ndarray, test_std: float) -> float:
    """P value of a paired difference, its noise over test users given, by drawing both kinds."""
    rng, draws = np.random.default_rng(0), 2_000_000
    difference = (first - second).mean()
    of_seeds = stats.sem(first - second) * rng.standard_t(len(first) - 1, draws)
    of_users = test_std * rng.standard_normal(draws)
    return float(np.mean(np.abs(of_seeds + of_users) > abs(difference)))


def test_statistics_of_known_differences(statistics, tmp_path):
    # Wrong: tests of other pairs, no Holm, test users left out, or a row compared with itself.
    write_results(tmp_path, RIGHT)
    table = make_statistics(statistics, "statistics", tmp_path, layout())
    table = table.set_index(["task", "run"])
    assert len(table) == 6  # and no row for the task that nobody has
    cell = table.loc["age", "adaptssr"]
    ours, base, mlm = (np.array(RIGHT[name, "age"]) / 2 for name in ("adaptssr", "none", "mlm"))
    assert cell["mean"] == pytest.approx(ours.mean(), abs=1e-4)
    share = ours.mean() / 100
    binomial = 100 * np.sqrt(share * (1 - share) / EXAMPLES)
    assert cell["test_std"] == pytest.approx(binomial, rel=0.15)
    # 40 users are right with one row alone: what the test set adds to that difference.
    flipped = (ours - base).mean() / 100
    users = 100 * np.sqrt(flipped * (1 - flipped) / EXAMPLES)
    assert cell["baseline.test_std"] == pytest.approx(users, rel=0.15)
    assert cell["baseline.difference"] == pytest.approx((ours - base).mean(), abs=1e-4)
    assert cell["baseline.std"] == pytest.approx(np.std(ours - base, ddof=1), abs=1e-4)
    p = expected_p(ours, base, cell["baseline.test_std"])
    assert cell["baseline.p"] == pytest.approx(p, rel=0.1, abs=2e-4)
    assert cell["baseline.p_holm"] == pytest.approx(2 * cell["baseline.p"], abs=2e-4)
    least, middle, most = table["baseline.p"].dropna().sort_values()  # one cell has no spread
    by_hand = np.maximum.accumulate([3 * least, 2 * middle, most])
    assert table["baseline.p_table"].dropna().sort_values().to_numpy() == pytest.approx(
        np.minimum(by_hand, 1), abs=3e-4
    )
    assert middle > 0.05  # so that the factors show
    assert cell["baseline.verdict"] == "better"
    half = cell["baseline.high"] - cell["baseline.difference"]
    around = ours - base - (ours - base).mean()
    p = expected_p(around + half, np.zeros(3), cell["baseline.test_std"])
    assert p == pytest.approx(0.05, abs=0.004)
    assert cell["best_other.run"] == "mlm"
    assert cell["best_other.difference"] == pytest.approx((ours - mlm).mean(), abs=1e-4)
    assert cell["best_other.verdict"] == "better"
    assert table.loc[("life", "mlm"), "best_other.run"] == "adaptssr"
    assert table.loc[("age", "mlm"), "best_other.verdict"] == "worse"
    assert table.loc[("age", "none"), "baseline.run"] == ""
    assert table.loc[("age", "none"), "baseline.verdict"] == ""
    page = (tmp_path / "statistics.md").read_text()
    assert "SIMULATED" not in page
    gain = f"on Task age (+{(ours - base).mean():.2f} points)"
    assert f"- ADAPTSSR is better than NONE beyond chance {gain}." in page
    assert "- No row is worse than NONE beyond chance." in page
    assert "3 of 4 comparisons corrected together" in page
    assert page.count("| ADAPTSSR |") == 2


def test_an_interval_counts_seeds_and_test_users(statistics, tmp_path):
    # Wrong: the interval of a mean is that of its seeds alone, and too narrow by far.
    write_results(tmp_path, RIGHT)
    cell = (
        make_statistics(statistics, "statistics", tmp_path, layout())
        .set_index(["task", "run"])
        .iloc[0]
    )
    values = np.array(RIGHT["none", "age"]) / 2
    assert cell["high"] - cell["mean"] > max(
        stats.t.ppf(0.975, 2) * stats.sem(values), 1.96 * cell["test_std"]
    )
    half = cell["high"] - cell["mean"]
    zero = np.zeros(3)
    assert expected_p(values - values.mean() + half, zero, cell["test_std"]) == (
        pytest.approx(0.05, abs=0.003)
    )


def test_an_open_question_names_the_seeds_it_needs(statistics, tmp_path):
    # Wrong: "no difference" where too few seeds could see one, or a guess without its range.
    wide = {("adaptssr", "life"): [64, 90, 72], ("none", "life"): [60, 66, 63]}
    write_results(tmp_path, {**RIGHT, **wide})
    table = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    verdict = table.loc[("life", "adaptssr"), "baseline.verdict"]
    assert re.fullmatch(r"undecided: about \d+ seeds needed \(5 to more than 1,000\)", verdict)
    # 3 users more of 200 are fewer than the noise of the test set: seeds do not help.
    few = {("adaptssr", "life"): [63, 68, 67]}
    write_results(tmp_path, {**RIGHT, **few})
    table = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    verdict = table.loc[("life", "adaptssr"), "baseline.verdict"]
    assert verdict == "undecided: too few test users, whatever the number of seeds"


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([60, 66, 63], "undecided: no difference"),
        ([90, 96, 93], "undecided: all seeds differ by the same"),
    ],
)
def test_no_spread_is_no_evidence(statistics, tmp_path, scores, verdict):
    # Wrong: "15.00 (15.00 to 15.00) | 0.000 | better" of differences that are all the same.
    write_results(tmp_path, {**RIGHT, ("adaptssr", "life"): scores})
    table = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    cell = table.loc["life", "adaptssr"]
    assert cell["baseline.verdict"] == verdict
    assert np.isnan([cell["baseline.p"], cell["baseline.low"], cell["baseline.p_table"]]).all()


def test_a_collapsed_seed_is_named_and_decides_nothing(statistics, tmp_path):
    # Wrong: one run that answers the same for everybody makes others "better" than its row.
    write_results(tmp_path, {**RIGHT, ("none", "age"): [100, 0, 98]})
    table = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    assert table.loc[("age", "none"), "note"] == "seed 1 predicts one class only"
    verdict = "undecided: NONE: seed 1 predicts one class only"
    assert table.loc[("age", "adaptssr"), "baseline.verdict"] == verdict
    assert np.isnan(table.loc[("age", "adaptssr"), "baseline.low"])
    assert table.loc[("age", "adaptssr"), "best_other.verdict"] == "undecided"  # NONE is another
    assert table.loc[("age", "mlm"), "best_other.verdict"] == "worse"  # than ADAPTSSR
    assert table["baseline.p_table"].notna().sum() == 1  # ADAPTSSR and NONE on life
    assert "NONE (seed 1 predicts one class only)" in (tmp_path / "statistics.md").read_text()


def test_one_score_for_everybody_is_a_collapse_too(tmp_path):
    from userbench.report.statistics.resampling import is_collapsed
    from userbench.results.predictions import Predictions

    rows = pd.DataFrame({"label": [0, 1, 0], "score": np.float32([0.3, 0.3, 0.3 + 1e-8])})
    assert is_collapsed(Predictions("r", "t", "c", 0, "binary", rows))
    rows["score"] = np.float32([0.3, 0.31, 0.3])
    assert not is_collapsed(Predictions("r", "t", "c", 0, "binary", rows))


def test_a_failed_seed_empties_its_cell(statistics, tmp_path):
    # Wrong: the mean of the seeds that survived is shown as that of all.
    write_results(tmp_path, RIGHT)
    scores = pd.read_csv(tmp_path / "scores.csv")
    failed = (scores["run"] == "adaptssr") & (scores["task"] == "age") & (scores["seed"] == 2)
    scores.loc[failed, ["pretrain_epoch", "epoch", "value"]] = [0, 0, np.nan]
    scores.to_csv(tmp_path / "scores.csv", index=False)
    table = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    cell = table.loc["age", "adaptssr"]
    assert np.isnan(cell["mean"]) and cell["note"] == "seed 2 failed"
    assert cell["baseline.verdict"] == "undecided: ADAPTSSR: seed 2 failed"
    assert table.loc[("age", "mlm"), "best_other.verdict"] == "undecided"
    # Nor is a row better than every other while one of them has no score.
    write_results(tmp_path, {**RIGHT, ("mlm", "age"): [160, 161, 163]})
    better = pd.read_csv(tmp_path / "scores.csv").assign(value=lambda s: s["value"].mask(failed))
    better.loc[failed, ["pretrain_epoch", "epoch"]] = 0
    better.to_csv(tmp_path / "scores.csv", index=False)
    cell = make_statistics(statistics, "statistics", tmp_path, layout()).set_index(["task", "run"])
    assert cell.loc[("age", "mlm"), "baseline.verdict"] == "better"
    assert cell.loc[("age", "mlm"), "best_other.verdict"] == "undecided"
    whole = make_statistics(statistics, "aggregate", tmp_path, layout())
    assert whole["tasks"].tolist() == [1, 1, 1]


def test_failed_fits_of_every_task_leave_the_aggregate_empty(statistics, tmp_path):
    # Wrong: no statistics, and so no Table 2, where every task has a failed fit.
    write_results(tmp_path, RIGHT)
    scores = pd.read_csv(tmp_path / "scores.csv")
    failed = (scores["run"] == "adaptssr") & (scores["seed"] == 2)
    scores.loc[failed, ["pretrain_epoch", "epoch", "value"]] = [0, 0, np.nan]
    scores.to_csv(tmp_path / "scores.csv", index=False)
    whole = make_statistics(statistics, "aggregate", tmp_path, layout())
    assert whole["tasks"].tolist() == [0, 0, 0]
    assert whole[["rank", "improvement", "best_other.probability"]].isna().all(axis=None)
    assert "| NONE | – | – | – | – |  |" in (tmp_path / "aggregate.md").read_text()
    table = pd.read_csv(tmp_path / "statistics.csv").set_index(["task", "run"])
    assert table["mean"].notna().sum() == 4


def test_one_seed_decides_nothing_and_warns_of_nothing(statistics, tmp_path):
    write_results(tmp_path, {name: by_seed[:1] for name, by_seed in RIGHT.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = make_statistics(statistics, "statistics", tmp_path, layout(simulated=True))
        whole = make_statistics(statistics, "aggregate", tmp_path, layout(simulated=True))
    others = table[table["run"] != "none"]
    assert set(others["baseline.verdict"]) == {"undecided: one seed has no spread"}
    assert "No row can be compared with NONE" in (tmp_path / "statistics.md").read_text()
    assert table[["std", "low", "high"]].isna().all(axis=None)
    assert whole["rank_low"].isna().all() and whole["baseline.probability_low"].isna().all()
    page = (tmp_path / "statistics.md").read_text()
    assert page.count("SIMULATED") == 3 and "- All data are simulated" in page
    assert "SIMULATED DATA" in (tmp_path / "aggregate.md").read_text()


def test_baselines_are_compared_but_not_ranked(statistics, tmp_path):
    # Wrong: a baseline counts as a row to be better than, or as one with three seeds.
    write_results(tmp_path, {**RIGHT, ("bag", "age"): [0, 180]})
    scores = pd.read_csv(tmp_path / "scores.csv").query("run != 'bag' or seed == 1")
    scores.to_csv(tmp_path / "scores.csv", index=False)  # scored with any one seed
    (tmp_path / "bag-age-0.parquet").unlink()
    chosen = layout(baselines=["bag"])
    table = make_statistics(statistics, "statistics", tmp_path, chosen).set_index(["task", "run"])
    bag = table.loc["age", "bag"]
    assert bag[["ranked", "seeds", "mean"]].tolist() == [0, 1, 90.0]
    assert bag["best_other.run"] == "adaptssr"
    assert bag["best_other.verdict"] == "better"
    # The seeds of NONE alone spread; test users are paired.
    p = expected_p(np.full(3, 90.0), np.array(RIGHT["none", "age"]) / 2, bag["baseline.test_std"])
    assert bag["baseline.p"] == pytest.approx(p, rel=0.1, abs=2e-4)
    assert ("life", "bag") not in table.index
    assert table.loc[("age", "mlm"), "best_other.run"] == "adaptssr"
    assert "bag" not in set(make_statistics(statistics, "aggregate", tmp_path, chosen)["run"])


def test_aggregate_by_hand(statistics, tmp_path):
    write_results(tmp_path, RIGHT)
    table = make_statistics(statistics, "aggregate", tmp_path, layout()).set_index("run")
    # Ranks by task: 3 and 2.5, 2 and 2.5, 1 and 1.
    assert table["rank"].tolist() == [2.75, 2.25, 1.0]
    assert table["best_other.run"].tolist() == ["adaptssr", "adaptssr", "mlm"]
    # Every seed of AdaptSSR beats those of None in age; in life 5.5 of 9 pairs.
    wins = [1.0, np.mean([a > b for a in (64, 62, 69) for b in (60, 66, 63)])]
    assert table.loc["adaptssr", "baseline.probability"] == pytest.approx(np.mean(wins), abs=1e-4)
    assert np.isnan(table.loc["none", "baseline.probability"])
    gains = [
        100 * (np.mean(RIGHT["adaptssr", task]) / np.mean(RIGHT["none", task]) - 1)
        for task in ("age", "life")
    ]
    assert table.loc["adaptssr", "improvement"] == pytest.approx(np.mean(gains), abs=1e-4)
    low, high = (table.loc["adaptssr", f"improvement_{side}"] for side in ("low", "high"))
    assert low < np.mean(gains) < high
    assert np.isnan(table.loc["none", "improvement_low"])


def test_the_bounds_of_an_improvement_count_test_users(statistics, tmp_path):
    # Wrong: an interval over seeds alone, which other test users would leave in most tables.
    write_results(tmp_path, RIGHT)
    table = make_statistics(statistics, "aggregate", tmp_path, layout()).set_index("run")
    by_seed = [
        np.mean(
            [
                100
                * (RIGHT["adaptssr", task][s] - RIGHT["none", task][s])
                / np.mean(RIGHT["none", task])
                for task in ("age", "life")
            ]
        )
        for s in range(3)
    ]
    low, high = (table.loc["adaptssr", f"improvement_{side}"] for side in ("low", "high"))
    assert high - low > 1.05 * 2 * stats.t.ppf(0.975, 2) * stats.sem(by_seed)


def refused(statistics, folder) -> str:
    """What the command says when it ends."""
    with pytest.raises(SystemExit) as stop:
        make_statistics(statistics, "statistics", folder, layout())
    assert "\n" not in str(stop.value)
    assert not [*folder.glob("statistics.*"), *folder.glob("aggregate.*")]
    return str(stop.value)


def test_a_missing_seed_is_one_clear_line(statistics, tmp_path):
    # Wrong: seed 2 of one row is paired with seed 1 of another, or a row is tested on fewer.
    write_results(tmp_path, {**RIGHT, ("mlm", "life"): [60, 66]})
    message = refused(statistics, tmp_path)
    assert "task 'life': run 'mlm' has no score of seed 2, though others have" in message


def test_predictions_must_be_there_and_those_of_the_scores(statistics, tmp_path):
    write_results(tmp_path, RIGHT)
    (tmp_path / "mlm-age-1.parquet").rename(tmp_path / "aside")
    message = refused(statistics, tmp_path)
    assert "task 'age': no --predictions of run 'mlm', seed 1" in message
    older = tmp_path / "older"
    older.mkdir()
    write_results(older, {("mlm", "age"): [90, 90]})
    (older / "mlm-age-1.parquet").rename(tmp_path / "mlm-age-1.parquet")
    message = refused(statistics, tmp_path)
    assert "run 'mlm', seed 1: predictions of accuracy 45.0000, but the score is 51.5000" in message


def test_no_scores_at_all(statistics, tmp_path):
    write_results(tmp_path, {("another", "age"): [1]})
    assert "no test score" in refused(statistics, tmp_path)
