"""What is behind each row, counted by hand, and control runs that have scores but no rank."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import experiment_flag, write_experiment
from score_files import LAYOUT, make_table2, score_file, write_score_files

PASSES = {"mlm": (1, 0), "ccl": (2, 2), "adaptssr": (4, 0), "long": (1, 0), "teacher": (1, 0)}


@pytest.fixture
def training():
    from userbench.report.tables import training

    return training


def layout_of(folder: Path, **changes) -> dict:
    """Runs of three epochs; curves of two seeds, with their records, lie in the folder."""
    from userbench.results.artifact import write_json

    def run(name: str, start: str | None = None, *given: str, epochs: int = 3) -> dict:
        for seed in (0, 1):
            path = folder / f"pretrain/{name}/ttl/seed{seed}/curve.json"
            trained, others = PASSES[name]
            write_json(path, [])
            record = {"encoder_passes": {"trained": trained, "others": others}}
            write_json(path.with_name("curve.json.provenance.json"), record)
        return {"start": start, "given": list(given), "epochs": epochs}

    def line(run: str, label: str, encoder: str | None, *candidates: int) -> dict:
        return {"run": run, "label": label, "encoder": encoder, "candidates": list(candidates)}

    return {
        "runs": {
            "mlm": run("mlm"),
            "teacher": run("teacher", "mlm", epochs=5),
            "ccl": run("ccl", "mlm", "mlm", "teacher"),
            "adaptssr": run("adaptssr", "mlm"),
            "long": run("long", "mlm"),
        },
        "rows": [
            line("none", "None", None),
            line("mlm", "PeterRec", "mlm", 3),
            line("adaptssr", "AdaptSSR", "adaptssr", 1, 3),
        ],
        "controls": [line("long", "MLM, longer", "long", 3), line("ccl", "CCL", "ccl", 3)],
    } | changes


def curves_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("pretrain/*/ttl/seed?/curve.json"))


def read(training, folder: Path, layout: dict) -> dict:
    """A layout as it is read, with the curves of the folder."""
    return training.read_training(write_experiment(folder, training=layout), curves_of(folder))


def test_epochs_and_passes_are_those_counted_by_hand(training, tmp_path):
    # Wrong: the warm start is free, is counted twice, or frozen encoders cost nothing.
    layout = read(training, tmp_path, layout_of(tmp_path))
    table = training.describe(layout).set_index("run")
    assert list(table["kind"]) == ["row"] * 3 + ["control"] * 2
    assert list(table["start"]) == ["random", "random", "mlm", "mlm", "mlm"]
    # CCL: mlm 3, which starts it and is given, the teacher's 5, and its own 3.
    assert list(table["epochs"]) == [0, 3, 6, 6, 11]
    assert list(table["fewest"]) == [0, 3, 4, 6, 11]
    assert list(table["passes"]) == [0, 1, 4, 1, 2]
    assert list(table["other_passes"]) == [0, 0, 0, 0, 2]
    assert list(table["sequences"]) == [0, 3, 3 * 1 + 3 * 4, 6, 3 * 1 + 5 * 1 + 3 * 4]
    assert table.loc["adaptssr", "behind"] == "mlm 3 + adaptssr 3"
    assert table.loc["ccl", "behind"].endswith(" + ccl 3")
    assert training.training_note(training.describe(layout)) == (
        "Pre-training behind each row (the run it starts from; epochs in all, those of that run "
        "and of a generator included; encoder passes per user and epoch): None (random; 0; 0), "
        "PeterRec (random; 3; 1), AdaptSSR (mlm; 4 to 6; 4)."
    )


def test_a_warm_start_that_learnt_popularity_alone_is_reported(training, tmp_path):
    # Wrong: rows that start from popularity pass for rows that start from what users are like.
    from userbench.results.artifact import write_json

    layout = read(training, tmp_path, layout_of(tmp_path))
    assert training.popularity_notes(layout) == []
    record = tmp_path / "pretrain/mlm/ttl/seed1/curve.json.provenance.json"
    write_json(record, json.loads(record.read_text()) | {"popularity_alone": "its loss is high"})
    (note,) = training.popularity_notes(layout)
    assert note.startswith("mlm has not learnt more than popularity in 1 of 2 trainings")
    assert "PeterRec, AdaptSSR, MLM, longer, CCL start from that" in note


def test_rows_of_equal_pre_training_share_their_numbers(training, tmp_path):
    layout = read(training, tmp_path, layout_of(tmp_path))
    layout["rows"] += layout.pop("controls")
    layout["rows"][-1] |= {"encoder": "long", "label": "Twin"}
    note = training.training_note(training.describe(layout | {"controls": []}))
    assert note.endswith("AdaptSSR (mlm; 4 to 6; 4), MLM, longer, Twin (mlm; 6; 1).")


def test_a_record_that_does_not_say_is_a_dash(training, tmp_path):
    # Wrong: a crash, or zero passes, of a curve that an older version has recorded.
    layout = read(training, tmp_path, layout_of(tmp_path))
    (tmp_path / "pretrain/mlm/ttl/seed0/curve.json.provenance.json").unlink()
    table = training.describe(layout).set_index("run")
    assert np.isnan(table.loc["mlm", "passes"]) and np.isnan(table.loc["adaptssr", "sequences"])
    assert table.loc["adaptssr", "passes"] == 4
    assert "PeterRec (random; 3; –)" in training.training_note(table.reset_index())


def test_a_wrong_layout_is_one_line(training, tmp_path):
    layout = layout_of(tmp_path)
    layout["runs"]["long"]["start"] = "nobody"
    with pytest.raises(ValueError, match="training: runs lack 'nobody', which is named"):
        read(training, tmp_path, layout)
    with pytest.raises(ValueError, match=r"layouts.training.runs.mlm: 'start' is missing"):
        read(training, tmp_path, layout_of(tmp_path, runs={"mlm": {}}))
    rows = layout_of(tmp_path)["rows"]
    with pytest.raises(ValueError, match="'none' is named twice"):
        read(training, tmp_path, layout_of(tmp_path, controls=rows[:1]))


def test_curves_are_known_by_their_place(training, tmp_path):
    # Wrong: a row without its curves passes, one curve counts twice, or one of another run.
    path = write_experiment(tmp_path, training=layout_of(tmp_path))
    curves = curves_of(tmp_path)
    runs_behind = training.read_training(path, curves)
    assert runs_behind["runs"]["ccl"]["curves"] == [one for one in curves if "ccl" in one.parts]
    for given, reason in (
        (curves[2:], "run 'adaptssr': no learning curve. Give --curves its"),
        ([*curves, curves[0]], "seed0/curve.json: a second curve of adaptssr/ttl/0"),
        ([tmp_path / "seed0.json"], r"seed0.json: is no <run>/<corpus>/seed<k>/curve.json"),
    ):
        with pytest.raises(ValueError, match=reason):
            training.read_training(path, given)
    # Of rows alone, controls may not be there yet.
    rows = [one for one in curves if not {"ccl", "long", "teacher"} & {*one.parts}]
    runs_behind = training.read_training_of_rows(path, rows)
    assert list(runs_behind["runs"]) == ["mlm", "adaptssr"] and runs_behind["controls"] == []


CONTROLS = [
    *(score_file("long", "age", seed, "accuracy", [0.7, 0.74][seed]) for seed in (0, 1)),
    *(score_file("long", "click", seed, "ndcg@10", 0.05) for seed in (0, 1)),
]


def make_fairness(folder: Path, controls=CONTROLS, layout=LAYOUT) -> pd.DataFrame:
    """Run the command on the scores of Table 2 and these of a control run; its CSV."""
    from userbench.report.tables import fairness

    make_table2(folder, layout)
    runs_behind = layout_of(folder)
    runs_behind["controls"] = runs_behind["controls"][:1]
    files = folder / "controls"
    files.mkdir(exist_ok=True)
    paths = write_score_files(files, controls)
    flags = ["--scores", str(folder / "scores.csv"), "--controls", *paths]
    flags += experiment_flag(folder, table2=layout, training=runs_behind)
    flags += ["--curves", *map(str, curves_of(folder))]
    out = ["--csv", str(folder / "fairness.csv"), "--md", str(folder / "fairness.md")]
    fairness.main([*flags, *out])
    table = pd.read_csv(folder / "fairness.csv", keep_default_na=False, na_values=[""])
    return table.set_index("run")


def test_controls_have_scores_beside_those_of_table2(tmp_path):
    # Wrong: a control's score in another row, or rows with other numbers than in Table 2.
    table = make_fairness(tmp_path)
    assert list(table.index) == ["none", "mlm", "adaptssr", "long"]
    assert list(table["age.mean"]) == [55.0, 56.0, 66.0, 72.0]
    assert table.loc["long", "age.std"] == pytest.approx(2.8284)
    assert table["cvr.mean"].isna().all()
    table2 = pd.read_csv(tmp_path / "t.csv").set_index("run")
    for name in ("age.mean", "age.std", "click.mean"):
        assert list(table[name][:3]) == list(table2[name][:3])
    page = (tmp_path / "fairness.md").read_text()
    assert "| AdaptSSR | mlm | 4 to 6 | 4 | 15 | 66.00±8.49 | 3.00±0.00 | – |" in page
    above, below = page.split("*Controls, not ranked*")
    assert "| MLM, longer | mlm | 6 | 1 | 6 | 72.00±2.83 | 5.00±0.00 | – |" in below
    assert "MLM, longer" not in above
    record = json.loads((tmp_path / "fairness.csv.provenance.json").read_text())
    assert len(record["inputs"]) == 2 + 4 + 2 * 5


def test_a_table_without_controls_has_no_block_of_them(training, tmp_path):
    from userbench.report.tables import fairness
    from userbench.report.tables.table2_layout import read_table2_layout
    from userbench.results.scores import read_scores

    make_fairness(tmp_path)
    runs_behind = read(training, tmp_path, layout_of(tmp_path, controls=[]))
    layout = read_table2_layout(write_experiment(tmp_path, table2=LAYOUT | {"simulated": True}))
    table = fairness.fairness(read_scores(tmp_path / "scores.csv"), layout, runs_behind)
    page = fairness.page(table, layout)
    assert "*Controls, not ranked*" not in page and page.startswith("SIMULATED DATA")
    assert page.count(r"\[SIMULATED\]") == 3


def test_a_control_that_lacks_a_task_is_an_error(tmp_path):
    # Wrong: a control without a score, as if it had none of the task by choice.
    with pytest.raises(SystemExit, match="task 'click': no test ndcg@10 of long, though other"):
        make_fairness(tmp_path, CONTROLS[:2])
    assert not (tmp_path / "fairness.csv").exists()


def test_table2_says_what_is_behind_its_rows_and_nothing_of_controls(tmp_path):
    # Wrong: AdaptSSR's twelve sequences per user are shown beside three as if they were equal.
    layout = layout_of(tmp_path)
    curves = ["--curves", *map(str, curves_of(tmp_path))]
    texts = make_table2(tmp_path, more=curves, training=layout)
    for kind in ("md", "tex", "html"):
        assert "AdaptSSR (mlm; 4 to 6; 4)" in texts[kind]
        assert "longer" not in texts[kind]
    record = json.loads((tmp_path / "t.csv.provenance.json").read_text())
    assert len([name for name in record["inputs"] if name.startswith("pretrain/mlm/")]) == 2
    assert "behind each row" not in make_table2(tmp_path)["md"]
