"""The figure of cosines: densities, overlaps, orders, and what is encoded under dropout."""

import numpy as np
import pandas as pd
import pytest
from figure_cases import SIMILARITY, cosines, inputs, make_figure
from scipy import stats


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


def test_similarity_from_parquet_to_pictures(command, tmp_path):
    files = []
    for run in ("clue", "adaptssr"):
        files.append(tmp_path / f"{run}.parquet")
        cosines(run).to_parquet(files[-1], index=False)
    make_figure(command, tmp_path, "similarity", SIMILARITY, files=files)
    first = [(tmp_path / f"similarity.{kind}").read_bytes() for kind in ("svg", "pdf", "png")]
    make_figure(command, tmp_path, "similarity", SIMILARITY, files=files)
    assert first == [
        (tmp_path / f"similarity.{kind}").read_bytes() for kind in ("svg", "pdf", "png")
    ]
    assert len(pd.read_parquet(tmp_path / "similarity.parquet")) == 200
    assert len(pd.read_csv(tmp_path / "similarity.csv")) == 2 * 5
    with pytest.raises(SystemExit, match="error: run clue, corpus ttl, seed 0: read twice"):
        make_figure(command, tmp_path, "similarity", SIMILARITY, files=[files[0], *files])


def test_similarity_says_what_was_encoded_under_dropout(command, tmp_path):
    """Wrong: two ways to encode pass for one, or the figure does not name its way."""

    def draw(*changes):
        files = []
        for run, change in zip(("clue", "adaptssr"), changes, strict=True):
            files.append(tmp_path / f"{run}.parquet")
            cosines(run).assign(**change).to_parquet(files[-1], index=False)
        make_figure(command, tmp_path, "similarity", SIMILARITY, files=files)
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


def test_the_ratios_of_the_caption_are_those_of_the_operators():
    """Wrong: the caption of the similarities names other ratios than were used."""
    from userbench.report.figures.similarity import VIEW_RATIOS
    from userbench.views.operators import Options

    assert {name: getattr(Options(), name) for name in VIEW_RATIOS} == VIEW_RATIOS
