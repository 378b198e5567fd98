"""Agreement with the paper's order against pairs counted by hand."""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import experiment_flag
from scipy.stats import kendalltau

PAPER = {"None": 62.87, "PeterRec": 63.62, "PTUM": 63.21, "CLUE": 63.38, "AdaptSSR": 65.53}


@pytest.fixture
def agreement():
    from userbench.report.statistics import agreement

    return agreement


def scores_csv(path: Path, means: dict[tuple[str, str], float]) -> None:
    """Test scores of two seeds, half a point below and above these means in percent."""
    from userbench.results.scores import SCORE_COLUMNS

    rows = [
        {
            **{"corpus": "ttl", "run": run, "task": task, "seed": seed, "split": "test"},
            **{"metric": {"age": "accuracy", "click": "ndcg@10"}.get(task, "auc")},
            **{"pretrain_epoch": 1, "start": 1, "epoch": 1, "examples": 100, "width": 64},
            "value": (mean + [-0.5, 0.5][seed]) / 100,
        }
        for (run, task), mean in means.items()
        for seed in (0, 1)
    ]
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)


def layout(methods=tuple(PAPER), simulated: bool = True) -> dict:
    rows = [{"run": m.lower(), "label": m, "paper": m} for m in methods]
    return {
        "caption_data": "toy",
        "simulated": simulated,
        "tasks": [
            {"task": "age", "label": "T1 Age", "metric": "accuracy", "paper": "T1"},
            {"task": "click", "label": "T3", "metric": "ndcg@10", "paper": "T3"},
            {"task": "sex", "label": "Ours alone", "metric": "auc"},
        ],
        "rows": [*rows, {"run": "ours", "label": "Not in the paper"}],
        "baselines": [],
        "compared_with": rows[0]["run"],
    }


def agree(agreement, folder: Path, means: dict, chosen: dict) -> pd.DataFrame:
    scores_csv(folder / "scores.csv", means)
    flags = ["--scores", str(folder / "scores.csv"), *experiment_flag(folder, table2=chosen)]
    agreement.main([*flags, "--out", str(folder / "agreement.csv")])
    return pd.read_csv(folder / "agreement.csv", keep_default_na=False, na_values=[""])


def age(**means: float) -> dict:
    return {(run, "age"): mean for run, mean in means.items()}


def test_tau_is_that_of_the_pairs_counted_one_by_one(agreement, tmp_path):
    # Wrong: baselines or rows without a published name enter, or ranks of the wrong column.
    ours = {"none": 50.0, "peterrec": 52.0, "ptum": 53.0, "clue": 51.0, "adaptssr": 60.0}
    table = agree(agreement, tmp_path, age(**ours, ours=99.0), layout())
    signs = [
        1 if (ours[a.lower()] - ours[b.lower()]) * (PAPER[a] - PAPER[b]) > 0 else -1
        for a, b in combinations(PAPER, 2)
    ]
    assert table["tau"].unique().tolist() == [sum(signs) / len(signs)] == [0.6]
    assert list(table["task"].unique()) == ["age"]  # click has no scores, sex is not in the paper
    assert list(table["method"]) == list(PAPER)
    assert set(table["rows"]) == {5}
    assert list(table["mean"]) == list(ours.values())
    assert list(table["paper_mean"]) == list(PAPER.values())
    assert list(table["rank"]) == [5, 3, 2, 4, 1]
    assert list(table["paper_rank"]) == [5, 2, 4, 3, 1]
    assert set(table["data"]) == {"simulated"}
    assert table["p_value"].between(0, 1).all()
    assert list(table.columns) == agreement.COLUMNS
    assert (tmp_path / "agreement.csv.provenance.json").exists()


@pytest.mark.parametrize(("sign", "tau"), [(1, 1.0), (-1, -1.0)])
def test_the_same_order_is_one_the_opposite_minus_one(agreement, tmp_path, sign, tau):
    # Wrong: the sign, or a scale that depends on the values.
    ours = {method.lower(): 50 + sign * (mean - 60) for method, mean in PAPER.items()}
    table = agree(agreement, tmp_path, age(**ours, ours=1.0), layout(simulated=False))
    assert set(table["tau"]) == {tau}
    assert set(table["data"]) == {"real"}


def test_what_looks_equal_is_a_tie(agreement, tmp_path):
    # Wrong: an invisible digit decides an order. tau-b of (tie, 2 concordant) = 2 / sqrt(2 * 3).
    ours = {"none": 50.0, "peterrec": 60.001, "adaptssr": 60.0}
    chosen = layout(("None", "PeterRec", "AdaptSSR"))
    table = agree(agreement, tmp_path, age(**ours, ours=1.0), chosen)
    assert list(table["rank"]) == [3, 1, 1]
    assert table["tau"].tolist() == pytest.approx([2 / 6**0.5] * 3, abs=1e-4)


def p_of_all_orders(ours, theirs) -> float:
    """Two-sided: twice the smaller share of orders with a tau as high, or as low."""
    tau = kendalltau(ours, theirs).statistic
    taus = np.array([kendalltau(order, theirs).statistic for order in permutations(ours)])
    tails = np.mean(taus >= tau - 1e-9), np.mean(taus <= tau + 1e-9)
    return min(1.0, 2 * min(tails))


# Two rows above and four alike, in the paper all alike but one: .22 by scipy's normal distribution.
TIED = np.array([1.0, 3.0, 3.0, 4.0, 1.0, 4.0]), np.array([3.0, 3.0, 3.0, 3.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        TIED,
        (np.array([1.0, 2.0, 2.0, 4.0, 3.0]), np.array([2.0, 1.0, 3.0, 5.0, 4.0])),
        (np.array([3.0, 2.0, 3.0, 3.0, 4.0, 2.0]), np.array([4.0, 4.0, 4.0, 2.0, 3.0, 4.0])),
        (np.array([1.0, 2.0, 5.0, 4.0, 3.0, 6.0]), np.array([2.0, 1.0, 3.0, 6.0, 5.0, 4.0])),
    ],
)
def test_p_is_that_of_all_orders(agreement, ours, theirs):
    # Wrong: an agreement that two of three orders would show passes for one of five.
    assert agreement.p_of_tau(ours, theirs) == pytest.approx(p_of_all_orders(ours, theirs))


def test_ties_of_few_rows_have_no_normal_distribution(agreement, tmp_path):
    assert kendalltau(*TIED).pvalue == pytest.approx(0.22, abs=0.005)
    assert agreement.p_of_tau(*TIED) == pytest.approx(2 / 3)
    # And it is what the table says.
    ours = {method.lower(): 50.0 for method in PAPER} | {"adaptssr": 60.0}
    table = agree(agreement, tmp_path, age(**ours, ours=1.0), layout())
    expected = p_of_all_orders(list(ours.values()), list(PAPER.values()))
    assert expected == pytest.approx(2 / 5)  # the one that is above has five places; scipy: .16
    assert table["p_value"].iloc[0] == pytest.approx(expected, abs=1e-4)


def test_p_of_many_rows_with_ties_is_near_and_always_the_same(agreement):
    # Wrong: a table that is another one each time. 10! orders are too many; three ties are not.
    ours = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0])
    theirs = np.arange(10.0)
    found = [agreement.p_of_tau(ours, theirs) for _ in range(2)]
    assert found[0] == found[1]
    # By hand: the highest of 10 * 9 ways to place the two that differ is one.
    assert found[0] == pytest.approx(2 / 90, abs=0.005)


def test_two_methods_have_no_tau(agreement, tmp_path):
    # Wrong: an order of two is called agreement.
    chosen = layout(("None", "AdaptSSR"))
    table = agree(agreement, tmp_path, age(none=50.0, adaptssr=51.0, ours=1.0), chosen)
    assert len(table) == 2
    assert table[["tau", "p_value"]].isna().all(axis=None)


def test_all_equal_means_have_no_tau(agreement, tmp_path):
    # Wrong: a crash or a warning where there is no order.
    ours = {method.lower(): 50.0 for method in PAPER}
    table = agree(agreement, tmp_path, age(**ours, ours=1.0), layout())
    assert table[["tau", "p_value"]].isna().all(axis=None)


def test_nothing_to_compare_is_an_empty_table(agreement, tmp_path):
    # Wrong: a crash for an experiment whose tasks are not in the paper.
    means = {(m, "sex"): 50.0 for m in (*map(str.lower, PAPER), "ours")}
    assert agree(agreement, tmp_path, means, layout()).empty
    header = (tmp_path / "agreement.csv").read_text()
    assert header == ",".join(agreement.COLUMNS) + "\n"


def test_the_first_of_two_rows_represents_a_published_method(agreement, tmp_path):
    # Wrong: one published figure is counted twice, as a tie with itself.
    chosen = layout(("None", "CLUE", "AdaptSSR"))
    chosen["rows"].append({"run": "again", "label": "AdaptSSR, cold", "paper": "AdaptSSR"})
    means = age(none=50.0, clue=51.0, adaptssr=52.0, again=10.0, ours=1.0)
    table = agree(agreement, tmp_path, means, chosen)
    assert list(table["run"]) == ["none", "clue", "adaptssr"]
    assert set(table["tau"]) == {1.0}


def test_bad_input_is_one_line(agreement, tmp_path):
    # Wrong: a traceback.
    message = "experiment.json: layouts.table2: 'caption_data' is missing. Make it again with"
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        lacking = {k: v for k, v in layout().items() if k != "caption_data"}
        agree(agreement, tmp_path, age(none=50.0), lacking)
    with pytest.raises(SystemExit, match="task 'age': no test accuracy of peterrec"):
        agree(agreement, tmp_path, age(none=50.0), layout())
