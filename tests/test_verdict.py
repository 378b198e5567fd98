"""Verdicts on figures that are as published, off by a known amount, or not comparable at all."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

TASKS = {
    **{"T1": ("age", "accuracy"), "T2": ("life", "accuracy"), "T3": ("click", "ndcg@10")},
    **{"T4": ("like", "ndcg@10"), "T5": ("gender", "auc"), "T6": ("cvr", "auc")},
}
MARGIN = {"accuracy": 0.4, "auc": 0.9, "ndcg@10": 0.07}
# Five values of mean 0 and sample std 1.
SPREAD = np.array([-2.0, -1.0, -1.0, 1.0, 3.0]) / 2


@pytest.fixture
def verdict():
    from userbench.report import verdict

    return verdict


@pytest.fixture
def published():
    from userbench.report.statistics import published_table2

    return published_table2()


def layout(published, simulated=False, methods=None) -> dict:
    methods = methods or published.index.unique("method")
    return {
        "caption_data": "toy",
        "simulated": simulated,
        "tasks": [
            {"task": name, "label": paper, "metric": metric, "paper": paper}
            for paper, (name, metric) in TASKS.items()
        ],
        "rows": [{"run": m.lower(), "label": m, "paper": m} for m in methods],
        "references": [],
        "baseline": "none",
    }


def inputs(folder, published, off=lambda method, task: 0.0, spread=0.05, seeds=5, share=1.0):
    """Files of runs whose means are off the published ones by so many points."""
    from userbench.report.statistics import PUBLISHED_TABLE1, SCORE_COLUMNS

    rows = []
    for (method, task), figures in published.iterrows():
        mean = figures["mean_percent"] + off(method, task)
        for seed, noise in enumerate(SPREAD[:seeds]):
            name, metric = TASKS[task]
            run = {"run": method.lower(), "task": name, "metric": metric, "seed": seed}
            size = {"examples": 100, "width": 64, "pretrain_epoch": 1, "epoch": 1}
            corpus = "ttl" if task < "T5" else "app"
            value = (mean + spread * noise) / 100
            rows.append({**run, **size, "corpus": corpus, "split": "test", "value": value})
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(folder / "scores.csv", index=False)
    table1 = pd.read_csv(PUBLISHED_TABLE1)
    for quantity in ("behavior_sequences", "samples"):
        table1[f"{quantity}.paper"] = table1[quantity]
        table1[f"{quantity}.measured"] = (table1[quantity] * share).round()
    table1["corpus"] = table1["dataset"].str.lower()
    table1.to_csv(folder / "table1.csv", index=False)
    pd.DataFrame(
        {"task": ["age"], "label": ["T1"], "data": ["real"], "rows": [10], "tau": [0.6]}
    ).assign(p_value=0.01).to_csv(folder / "agreement.csv", index=False)


def verdicts(verdict, folder, chosen, margin=MARGIN) -> pd.DataFrame:
    flags = [f"--{name}={folder / f'{name}.csv'}" for name in ("scores", "table1", "agreement")]
    told = ["--layout", json.dumps(chosen), "--margin", json.dumps(margin)]
    out = ["--csv", str(folder / "verdict.csv"), "--md", str(folder / "verdict.md")]
    verdict.main([*flags, *told, *out])
    return verdict.read_verdicts(folder / "verdict.csv").set_index(["method", "task"])


def test_the_very_figures_are_reproduced(verdict, published, tmp_path):
    inputs(tmp_path, published, spread=0.02)
    found = verdicts(verdict, tmp_path, layout(published))
    assert len(found) == 60
    assert found["difference"].abs().max() < 1e-6
    narrow = published["std_percent"] <= 0.05  # others may be too wide for the margin of 0.07
    assert set(found.loc[narrow[narrow].index, "verdict"]) == {"reproduced"}
    assert set(found["verdict"]) == {"reproduced", "undecided"}
    # By hand, of CLUE on T4: 3.05 ± 0.21 of five runs against ± 0.02 of five.
    cell = found.loc["CLUE", "T4"]
    error = np.sqrt((0.21**2 + 0.02**2) / 5)
    assert cell["difference_high"] == pytest.approx(2.13 * error, rel=0.01)  # t of 4.1 degrees
    assert cell["reason"] == "no number of seeds up to 1,000 can tell"


def test_a_distance_beyond_the_margin_is_better_or_worse(verdict, published, tmp_path):
    # Wrong: a sign, or a difference that counts although it is within the margin.
    off = {"T1": 1.0, "T2": -1.0, "T3": 0.0, "T4": -1.0, "T5": 0.3, "T6": 2.0}
    inputs(tmp_path, published, lambda method, task: off[task])
    found = verdicts(verdict, tmp_path, layout(published))
    expected = {"T1": "better", "T2": "worse", "T4": "worse", "T5": "reproduced", "T6": "better"}
    for task, word in expected.items():
        assert set(found.xs(task, level="task")["verdict"]) == {word}, task
    assert (found["p_better"] < 0.05).sum() == 20
    assert found["reason"].loc[found["verdict"] != "undecided"].eq("").all()


def test_undecided_names_seeds_that_would_decide(verdict, published, tmp_path):
    # Wrong: a number that is already there, or one that would not do.
    inputs(tmp_path, published, lambda method, task: 0.1, spread=0.6)
    found = verdicts(verdict, tmp_path, layout(published))
    cells = found.xs("T1", level="task")
    assert set(cells["verdict"]) == {"undecided"}
    assert (cells["seeds_needed"] > 5).all()
    for reason, needed in zip(cells["reason"], cells["seeds_needed"], strict=True):
        assert reason == f"{needed:.0f} seeds needed"


def test_one_seed_is_undecided(verdict, published, tmp_path):
    inputs(tmp_path, published, seeds=1)
    found = verdicts(verdict, tmp_path, layout(published))
    assert set(found["verdict"]) == {"undecided"}
    assert set(found["reason"]) == {"one seed has no spread"}


def test_simulated_data_are_never_compared(verdict, published, tmp_path):
    # Wrong: a simulated figure that happens to be near a published one is called reproduced.
    inputs(tmp_path, published)
    found = verdicts(verdict, tmp_path, layout(published, simulated=True))
    assert len(found) == 60
    assert set(found["verdict"]) == {"not comparable"}
    assert set(found["reason"]) == {"simulated data"}
    assert found[["difference", "p_same", "seeds_needed"]].isna().all(axis=None)
    assert found["mean"].notna().all()
    page = (tmp_path / "verdict.md").read_text()
    assert "60 cells: 0 reproduced, 0 better, 0 worse, 0 undecided, 60 not comparable" in page
    assert re.search(r"T1 +\| real +\| 10 +\| 0\.60", page)


def test_part_of_the_data_is_not_the_papers(verdict, published, tmp_path):
    # Wrong: the first 10,000 rows are found to be "worse" than all of them.
    inputs(tmp_path, published, share=0.0068)
    found = verdicts(verdict, tmp_path, layout(published))
    assert set(found["verdict"]) == {"not comparable"}
    told = "measured on 9,997 behavior sequences, published on 1,470,149"
    assert found.loc[("None", "T1"), "reason"] == told


def test_what_is_missing_is_said(verdict, published, tmp_path):
    inputs(tmp_path, published[published.index.get_level_values("task") < "T5"])
    found = verdicts(verdict, tmp_path, layout(published, methods=["None", "AdaptSSR"]))
    assert len(found) == 60
    assert found.loc[("AdaptSSR", "T1"), "verdict"] == "reproduced"
    assert found.loc[("AdaptSSR", "T5"), "reason"] == "no data"
    assert found.loc[("CLUE", "T1"), "reason"] == "no run of this method"
    assert (found["data"] == "missing").sum() == 60 - 8


def test_wrong_margins_are_refused(verdict, published, tmp_path):
    inputs(tmp_path, published)
    for margin in ({**MARGIN, "auc": 0}, {"auc": 1.0}):
        with pytest.raises(SystemExit, match="--margin: "):
            verdicts(verdict, tmp_path, layout(published), margin)
    assert not (tmp_path / "verdict.csv").exists()


# ------------------------------------------------------------------------------- userbench verify


def test_verify_prints_what_is_there(verdict, published, tmp_path, monkeypatch, capsys):
    # Wrong: another experiment, or verdicts by margins that were changed afterwards.
    from userbench.__main__ import main

    folder = tmp_path / "results/mine"
    folder.mkdir(parents=True)
    config = tmp_path / "mine.yaml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["userbench", "verify", "--config", "mine.yaml"])

    def write(**content):
        config.write_text(yaml.safe_dump({"experiment": "mine", **content}))

    write(verify={"margin": MARGIN})
    with pytest.raises(SystemExit, match="verdict.csv is not there. Make it: snakemake"):
        main()
    inputs(folder, published)
    verdicts(verdict, folder, layout(published, simulated=True))
    main()
    printed = capsys.readouterr().out
    assert printed.strip() == (folder / "verdict.md").read_text().strip()
    write(verify={"margin": {**MARGIN, "auc": 5.0}})
    with pytest.raises(SystemExit, match="was made with other margins than mine.yaml has"):
        main()
    write()
    with pytest.raises(SystemExit, match="mine.yaml: has no `verify`"):
        main()
