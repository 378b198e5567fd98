"""Wrong layouts, scores and flags of a figure are refused in one line."""

import pytest
from experiments import experiment_flag
from experiments import figure_row as row
from figure_cases import (
    ABLATION,
    COMBINATION,
    CURVES,
    LABELS,
    STUDIES,
    TASKS,
    WORLD_TASKS,
    make_figure,
    scores,
)


def with_options(figure, **changes):
    """What a figure compares, with other options."""
    return STUDIES[figure] | {"options": STUDIES[figure]["options"] | changes}


@pytest.mark.parametrize(
    ("figure", "asked", "reason"),
    [
        ("ablation", with_options("ablation", full="fool"), "run 'fool' is not among the rows"),
        (
            *("ablation", with_options("ablation", sweeps=[])),
            "options of figure 'ablation': top level: unknown key 'sweeps'",
        ),
        ("ablation", ABLATION | {"rows": ABLATION["rows"][:1] * 2}, "'full' is named twice"),
        ("combination", with_options("combination", pairs=[]), r"pairs: \[\] should have"),
        ("combination", COMBINATION | {"rows": []}, r"rows: \[\] should have at least 1"),
        ("worlds", with_options("worlds", parameters=["drift"]), "has no parameter 'drift'"),
        ("labels", LABELS | {"simulated": "no"}, "labels.simulated: 'no' should be a valid bool"),
        (
            "learning_curves",
            CURVES | {"rows": [row("none", "none", encoder="mlm")]},
            "run 'mlm': no learning curve",
        ),
        ("learning_curves", CURVES | {"options": {"log": True}}, "top level: unknown key 'log'"),
    ],
)
def test_a_wrong_layout_is_one_line(command, tmp_path, figure, asked, reason):
    """Wrong: a misspelt key passes, or Python's own words are shown."""
    measured = scores([row["run"] for row in STUDIES[figure]["rows"]], WORLD_TASKS | TASKS)
    with pytest.raises(SystemExit, match=f"^error: .*{reason}") as stop:
        make_figure(command, tmp_path, figure, asked, measured)
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.glob(f"{figure}.*"))


def test_wrong_scores_are_one_line(command, tmp_path):
    with pytest.raises(SystemExit, match="no test accuracy of with_clue"):
        make_figure(command, tmp_path, "combination", COMBINATION, scores(["clue"]))
    with pytest.raises(SystemExit, match="no score of the runs and tasks of figure 'combination'"):
        make_figure(command, tmp_path, "combination", COMBINATION, scores(["other"]))
    assert not list(tmp_path.glob("combination.*"))


def test_a_figure_gets_what_it_reads_and_nothing_else(command, tmp_path):
    """Wrong: a flag is ignored, and a figure shows other numbers than its caller means."""
    words = [*experiment_flag(tmp_path, figures={}), "--csv", "a.csv", "--out", "a"]
    for figure, more, reason in (
        ("labels", ["--scores", "s", "--curves", "c"], "--curves: figure 'labels' does not read"),
        ("labels", [], "figure 'labels' reads scores: give --scores"),
        ("similarity", [], "figure 'similarity' reads cosines: give --cosines"),
        ("labls", [], "no file report/figures/labls.py; there are: ablation, combination, labels"),
    ):
        with pytest.raises(SystemExit, match=f"^error: {reason}"):
            command.main([figure, *words, *more])
