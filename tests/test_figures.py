"""The figures: areas of 1, equal bytes, stable colours, and numbers against the obvious way."""

import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from experiments import experiment_flag, figure_layout
from experiments import figure_row as row
from scipy import stats

FOLDER = ROOT / "src/userbench/report/figures"

TASKS = {"age": ("T1 Age", "accuracy"), "click": ("T3 Click", "ndcg@10")}


@pytest.fixture
def command():
    from userbench.report.drawing import command

    return command


def file_of(figure):
    """The module of a figure."""
    return importlib.import_module(f"userbench.report.figures.{figure}")


def scores(runs, tasks=TASKS, seeds=3, seed=0):
    """Scores of every run, task and seed, of two epochs and the test."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in runs:
        for task, (_, metric) in tasks.items():
            for n in range(seeds):
                shared = {"corpus": "ttl", "run": run, "task": task, "seed": n, "metric": metric}
                shared |= {"pretrain_epoch": 2, "start": 1, "examples": 100, "width": 8}
                for epoch in (1, 2):
                    value = 0.3 + 0.1 * epoch + rng.uniform(0, 0.05)
                    rows.append(shared | {"split": "validation", "epoch": epoch, "value": value})
                value = rng.integers(40, 60) / 100
                rows.append(shared | {"split": "test", "epoch": 2, "value": value})
    from userbench.results.scores import SCORE_COLUMNS

    return pd.DataFrame(rows)[list(SCORE_COLUMNS)].astype({"width": "Int64"})


def predictions(folder, measured) -> list:
    """Predictions of 100 users with these test scores: the first so many are right, or ranked 1."""
    from userbench.results.predictions import write_predictions

    user, paths = np.arange(100), []
    for score in measured[measured["split"] == "test"].itertuples():
        right = user < round(100 * score.value)
        columns = {"example": user, "user": user}
        if score.metric == "accuracy":
            columns |= {"label": np.ones(100), "predicted": right}
        else:
            columns["rank"] = np.where(right, 1, 50)
        kind = "classification" if score.metric == "accuracy" else "top_n"
        path = folder / f"{score.run}.{score.task}.{score.seed}.parquet"
        write_predictions(path, columns, {**score._asdict(), "kind": kind})
        paths.append(path)
    return paths


def inputs(asked, scores=None, predictions=(), **more):
    """What a figure's file gets; options as the command fills them in."""
    from userbench.report.drawing.inputs import Inputs

    return Inputs(asked, scores, predictions, **more)


ABLATION = figure_layout(
    [
        row("full", "adaptssr"),
        row("contrast", "cl4srec", True),
        row("half", "adaptssr", True, overrides={"coefficient": 0.5}),
        row("one", "adaptssr", True, overrides={"coefficient": 1}),
    ],
    TASKS,
    full="full",
    rows=["contrast", "half"],
    sweep=["half", "one"],
)
COMBINATION = figure_layout(
    [row("clue", "clue"), row("with_clue", "adaptssr", True)], TASKS, pairs=[["clue", "with_clue"]]
)
FEWER = row("none--labels-10", "none", row="none", label="None", label_share=0.1)
LABELS = figure_layout([FEWER, row("none", "none")], TASKS, rows=["none"], shares=[0.1, 1])
WORLD_TASKS = {f"age_{d}_{n}": ("T1 Age", "accuracy") for d in (1, 4) for n in (0, 3)}
WORLDS = figure_layout(
    [row("adaptssr", "adaptssr"), row("none", "none")],
    WORLD_TASKS,
    parameters=["diversity", "noise"],
    differences=[["adaptssr", "none"]],
)
WORLDS["corpora"] = {
    f"of_{name}": {"users": 300, "world": {"diversity": int(name[4]), "noise": int(name[6]) / 10}}
    for name in WORLD_TASKS
}
CURVES = figure_layout([row("none", "none"), row("adaptssr", "adaptssr")], TASKS)
SIMILARITY = figure_layout(
    [row("clue", "clue"), row("adaptssr", "adaptssr")],
    TASKS,
    corpus="ttl",
    rows=["clue", "adaptssr"],
    views={},
)
STUDIES = {
    "combination": COMBINATION,
    "ablation": ABLATION,
    "worlds": WORLDS,
    "labels": LABELS,
    "learning_curves": CURVES,
}


def cosines(run, seed=0, users=50):
    """Cosines of the tiers of one run and seed, in the order that the ranking wants, roughly."""
    from userbench.report.drawing.cosines import TIERS

    rng = np.random.default_rng([seed, len(run)])
    centres = {"implicit": 0.95, "crop": 0.6, "reorder": 0.9, "mask": 0.7, "other": 0.1}
    table = {"run": run, "corpus": "ttl", "seed": seed, "encode": "evaluation", "dropout": 0.1}
    table["user"] = np.repeat(np.arange(users), 2)
    table["draw"] = np.tile([0, 1], users)
    for tier in TIERS:
        table[tier] = np.clip(rng.normal(centres[tier], 0.1, 2 * users), -1, 1)
    return pd.DataFrame(table)


def make(command, folder, figure, told, frame=None, files=()):
    """Make a figure in a folder by its command."""
    flags = [*experiment_flag(folder, figures={figure: told}), "--csv", f"{folder}/{figure}.csv"]
    flags += ["--out", f"{folder}/{figure}"]
    if frame is not None:
        frame.to_csv(folder / "scores.csv", index=False)
        flags += ["--scores", f"{folder}/scores.csv"]
        if figure != "learning_curves":
            flags += ["--predictions", *map(str, predictions(folder, frame))]
    if figure == "similarity":
        flags += ["--parquet", f"{folder}/{figure}.parquet", "--cosines", *map(str, files)]
    command.main([figure, *flags])


# ------------------------------------------------------------------------------- densities


@pytest.mark.parametrize("kind", ["inside", "at the edge", "all one", "a peak", "wide", "two"])
def test_the_area_of_a_density_is_one(kind):
    """Wrong: mass beyond -1 or 1 is lost, a narrow peak falls between grid points."""
    from userbench.report.figures.similarity import COSINES, density

    rng = np.random.default_rng(0)
    values = {
        "inside": rng.normal(0, 0.2, 500).clip(-1, 1),
        "at the edge": 1 - rng.exponential(0.05, 500).clip(0, 2),
        "all one": np.ones(200),
        "a peak": rng.normal(0.4, 1e-5, 300),
        "wide": rng.uniform(-1, 1, 400),
        "two": np.array([-1.0, 1.0]),
    }[kind]
    assert np.trapezoid(density(values), COSINES) == pytest.approx(1, abs=2e-3)
    assert (density(values) >= 0).all()


def test_a_density_is_that_of_each_kernel_reflected():
    """The slow way: a Gaussian per value, what lies beyond an edge folded back."""
    from userbench.report.figures.similarity import COSINES, LEAST_BANDWIDTH, density

    values = np.array([0.9, 0.93, 0.97, 1.0, -0.2])
    quartiles = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    width = max(0.9 * min(values.std(), quartiles) * len(values) ** -0.2, LEAST_BANDWIDTH)
    expected = np.zeros_like(COSINES)
    for value in values:
        for image in (value, 2 - value, -2 - value):
            expected += stats.norm.pdf(COSINES, image, width) / len(values)
    assert density(values) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_overlap_of_two_normals_is_the_known_one():
    """Two normals d standard deviations apart overlap by 2 Phi(-d/2)."""
    from userbench.report.figures.similarity import COSINES, overlap

    one, other = (stats.norm.pdf(COSINES, mean, 0.1) for mean in (-0.1, 0.15))
    assert overlap(one, other) == pytest.approx(2 * stats.norm.cdf(-1.25), abs=1e-4)
    assert overlap(one, one) == pytest.approx(1, abs=1e-4)


def test_the_summary_counts_orders_one_by_one():
    """Wrong: an order is counted against another user or draw, or seeds are mixed up."""
    from userbench.report.figures.similarity import numbers

    table = pd.concat([cosines(run, seed) for run in ("clue", "adaptssr") for seed in (0, 1)])
    summary = numbers(inputs(SIMILARITY, cosines=table)).set_index(["run", "tier"])
    own = table[table["run"] == "clue"]
    below = [crop < twin for crop, twin in zip(own["crop"], own["implicit"], strict=True)]
    above = [crop > other for crop, other in zip(own["crop"], own["other"], strict=True)]
    found = summary.loc["clue", "crop"]
    assert found["below_implicit"] == pytest.approx(np.mean(below), abs=1e-6)
    assert found["above_other"] == pytest.approx(np.mean(above), abs=1e-6)
    means = [own.loc[own["seed"] == seed, "crop"].mean() for seed in (0, 1)]
    low, high = stats.t.interval(0.95, 1, np.mean(means), stats.sem(means))
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-5)
    assert np.isnan(summary.loc[("clue", "implicit"), "below_implicit"])


# ------------------------------------------------------------------------------- numbers


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
    """Wrong: the seeds that survive stand for all, or nobody learns what a mark is made of."""
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
    said = " ".join(file_of("labels").draw(frame, inputs(LABELS)).get_supxlabel().split())
    assert "Not to be compared: None on T1 Age: seed 2 predicts one class only; None on" in said
    assert "over 3 seeds" in said


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


# ------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("figure", STUDIES)
def test_same_numbers_same_bytes_and_simulated_is_said(command, tmp_path, figure):
    """Wrong: a date or a random id in a file; a picture that does not say what the data are."""
    asked = STUDIES[figure]
    tasks = WORLD_TASKS if figure == "worlds" else TASKS
    measured = scores([row["run"] for row in asked["rows"]], tasks)
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        make(command, folder, figure, asked, measured)
        written.append(
            [(folder / f"{figure}.{kind}").read_bytes() for kind in ("svg", "pdf", "png")]
        )
        assert (folder / f"{figure}.csv.provenance.json").exists()
    assert written[0] == written[1]
    from userbench.report.drawing.scores import read_frame
    from userbench.report.drawing.style import DOUBLE, applied

    frame = read_frame(tmp_path / "first" / f"{figure}.csv")
    assert set(frame["data"]) == {"simulated"}

    with applied():
        drawn = file_of(figure).draw(frame, inputs(asked))
        drawn.draw_without_rendering()
        (written,) = [text for text in drawn.texts if text.get_text() == drawn.get_supxlabel()]
        assert written.get_window_extent().x1 <= drawn.bbox.x1
    assert drawn.get_supxlabel().startswith("SIMULATED DATA")
    assert drawn.get_figwidth() == DOUBLE


def test_similarity_from_parquet_to_pictures(command, tmp_path):
    files = []
    for run in ("clue", "adaptssr"):
        files.append(tmp_path / f"{run}.parquet")
        cosines(run).to_parquet(files[-1], index=False)
    make(command, tmp_path, "similarity", SIMILARITY, files=files)
    first = [(tmp_path / f"similarity.{kind}").read_bytes() for kind in ("svg", "pdf", "png")]
    make(command, tmp_path, "similarity", SIMILARITY, files=files)
    assert first == [
        (tmp_path / f"similarity.{kind}").read_bytes() for kind in ("svg", "pdf", "png")
    ]
    assert len(pd.read_parquet(tmp_path / "similarity.parquet")) == 200
    assert len(pd.read_csv(tmp_path / "similarity.csv")) == 2 * 5
    with pytest.raises(SystemExit, match="error: run clue, corpus ttl, seed 0: read twice"):
        make(command, tmp_path, "similarity", SIMILARITY, files=[files[0], *files])


def test_similarity_says_what_was_encoded_under_dropout(command, tmp_path):
    """Wrong: two ways to encode pass for one, or the reader is not told which it is."""

    def draw(*changes):
        files = []
        for run, change in zip(("clue", "adaptssr"), changes, strict=True):
            files.append(tmp_path / f"{run}.parquet")
            cosines(run).assign(**change).to_parquet(files[-1], index=False)
        make(command, tmp_path, "similarity", SIMILARITY, files=files)
        drawn = " ".join((tmp_path / "similarity.svg").read_text().split())
        return drawn, pd.read_csv(tmp_path / "similarity.csv")

    svg, numbers = draw({}, {})
    assert "The dropout twin alone is encoded under dropout (0.1 for every method)" in svg
    assert set(numbers["encode"]) == {"evaluation"} and set(numbers["dropout"]) == {0.1}
    training = {"encode": "training"}
    svg, numbers = draw(training | {"dropout": 0.5}, training)
    assert "Every vector is encoded under dropout" in svg and "(0.1 or 0.5)" in svg
    rates = numbers.drop_duplicates("run").set_index("run")["dropout"].to_dict()
    assert rates == {"clue": 0.5, "adaptssr": 0.1}
    with pytest.raises(SystemExit, match="cosines of encode training and evaluation"):
        draw(training, {})
    with pytest.raises(SystemExit, match="cosines of dropout 0.5 and 0.1"):
        draw({"dropout": 0.5}, {})


def test_fonts_of_the_pdf_are_embedded(command, tmp_path):
    """Wrong: a printer shows another font (Type 3 is refused by publishers)."""
    measured = scores(["clue", "with_clue"])
    make(command, tmp_path, "combination", COMBINATION, measured)
    pdf = (tmp_path / "combination.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"<text" not in (tmp_path / "combination.svg").read_bytes()


def test_text_does_not_overlap(tmp_path):
    """Wrong: the ticks of one panel run into those of the next, or a label leaves the page."""
    from userbench.report.drawing.style import applied

    tasks = {f"task{n}": (f"T{n} Life status", "ndcg@10") for n in range(6)}
    asked = figure_layout(ABLATION["rows"], tasks, **ABLATION["options"])
    measured = scores([row["run"] for row in asked["rows"]], tasks)
    given = inputs(asked, measured, predictions(tmp_path, measured))
    frame = file_of("ablation").numbers(given)
    with applied():
        drawn = file_of("ablation").draw(frame, given)
        drawn.draw_without_rendering()
        page = drawn.bbox
        boxes = []
        for axes in drawn.axes:
            texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.title]
            shown = [text for text in texts if text.get_visible() and text.get_text()]
            low, high = axes.get_xlim()
            boxes += [
                text.get_window_extent()
                for text in shown
                if text not in axes.get_xticklabels() or low <= text.get_position()[0] <= high
            ]
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1
        assert not any(box.overlaps(other) for other in boxes[:number] if other.width * box.width)


def test_a_method_keeps_its_colour():
    """Wrong: the colour depends on the order of rows, or two methods look alike."""
    from userbench.report.drawing.style import LOOKS, face, lightened, look

    named = {name: own for name, own in LOOKS.items() if name != "mlm"}
    assert len({own.colour for own in named.values()}) == len(named) == 10
    assert len({own.marker for own in named.values()}) == 10
    assert look("mlm") == look("peterrec")
    assert look("my_package.spans") == look("my_package.spans") != look("none")
    assert face("ccl", variant=True) == lightened(look("ccl").colour) != face("ccl", variant=False)


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


def seen(colour, deficiency):
    """CIELAB coordinates (D65) of a colour as somebody sees it."""
    from matplotlib.colors import to_rgb

    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = XYZ @ np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    x, y, z = light / [0.95047, 1.0, 1.08883]
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_stay_apart_for_everybody(deficiency):
    """Wrong: two methods differ by a red and a green of the same brightness."""
    from userbench.report.drawing.style import LOOKS

    points = [seen(colour, deficiency) for colour in {own.colour for own in LOOKS.values()}]
    distances = [
        np.linalg.norm(one - other) for n, one in enumerate(points) for other in points[:n]
    ]
    assert min(distances) > 15  # 2.3 is just noticeable side by side


# ------------------------------------------------------------------------------- mistakes


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
        make(command, tmp_path, figure, asked, measured)
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.glob(f"{figure}.*"))


def test_wrong_scores_are_one_line(command, tmp_path):
    with pytest.raises(SystemExit, match="no test accuracy of with_clue"):
        make(command, tmp_path, "combination", COMBINATION, scores(["clue"]))
    with pytest.raises(SystemExit, match="no score of the runs and tasks of figure 'combination'"):
        make(command, tmp_path, "combination", COMBINATION, scores(["other"]))
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


def test_the_ratios_of_the_caption_are_those_of_the_operators():
    """Wrong: the caption of the similarities names other ratios than were used."""
    from userbench.report.figures.similarity import VIEW_RATIOS
    from userbench.views.operators import Options

    assert {name: getattr(Options(), name) for name in VIEW_RATIOS} == VIEW_RATIOS


# ------------------------------------------------------------------------- every figure's file


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_file_has_what_a_figure_needs(path):
    """Wrong: a figure is found to lack something after its runs have been trained."""
    from userbench.experiment.config import Part
    from userbench.experiment.figures import read_figure_file

    said, module = read_figure_file(path.stem), file_of(path.stem)
    assert (said.title, said.caption, said.reads) == (module.TITLE, module.CAPTION, module.READS)
    assert said.numbers in module.__doc__
    assert issubclass(getattr(module, "Options", Part), Part)
    assert callable(module.numbers) and callable(module.draw)


def test_no_two_figures_write_the_same_files():
    """Wrong: the second figure overwrites the first, or a section of the page cannot be reached."""
    from userbench.experiment.figures import figure_files, read_figure_file
    from userbench.report.page.render import HERE
    from userbench.report.page.sections import sections

    assert set(figure_files()) == {path.stem for path in FOLDER.glob("[!_]*.py")}
    files = list(map(read_figure_file, figure_files()))
    for field in ("name", "numbers"):
        assert len({getattr(file, field) for file in files}) == len(files)
    of_the_page = re.findall(r'id="(\w+)"', (HERE / "page.html").read_text())
    names = [section.name for section in sections(figure_files())] + of_the_page
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("CAPTION = 'c'\nREADS = ('scores',)\n", "TITLE: Field required"),
        ("TITLE = 't'\nCAPTION = 'c'\nREADS = ('score',)\n", "READS: Input should be 'scores'"),
        ("TITLE = 't'\nCAPTION = print()\nREADS = ('scores',)\n", "CAPTION: Input should be a"),
        ("TITLE = 't'\nCAPTION = 'c'\nREADS = ('curves',)\nNAME = '../a'\n", "NAME: String sho"),
        ("TITLE = (\n", "mine.py:1: '.' was never closed. Correct this file"),
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_one_line(tmp_path, monkeypatch, source, reason):
    """Wrong: the workflow ends with a traceback, or draws what nobody has described."""
    from userbench.experiment import figures

    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ValueError, match=reason) as refused:
        figures.read_figure_file("mine")
    assert "\n" not in str(refused.value)


def test_figures_load_no_torch():
    """Wrong: a laptop without torch cannot draw."""
    loaded = "userbench.report.drawing.command, userbench.report.figures.similarity"
    code = f"import sys, {loaded}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_workflow_reads_figures_without_loading_them():
    """Wrong: a dry run takes as long as matplotlib does, and Snakemake's process needs it."""
    code = (
        "import sys, userbench.experiment.figures as f; f.read_figure_file('similarity');"
        "sys.exit(bool({'pandas', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
