"""Small experiments from raw files to tables, figures and pages."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from repository import ROOT
from snakemake_calls import config_flags, job_counts, snakemake

ROWS = [
    "none",
    "peterrec",
    "ptum",
    "clue",
    "ccl",
    "idicl",
    "cl4srec",
    "coserec",
    "duorec",
    "adaptssr",
]


GPU = [f"workflow/config/{name}.yaml" for name in ("gpu", "cut")]
FIGURES = ("figure3", "figure4", "figure5", "figure6", "figure7", "learning_curves")


@pytest.mark.long
def test_the_cut_of_the_gpu_config_runs_to_its_tables_and_figures(checkout):
    """All of its runs on a CPU; here with fewer users and one epoch of everything."""
    smaller = {
        "corpora": {name: {"simulate": {"users": 300}} for name in ("ttl", "app")},
        "pretrain": {"epochs": 1},
        "finetune": {"epochs": 1, "from_epochs": [1]},
    }
    (checkout / "smaller.yaml").write_text(yaml.safe_dump(smaller))
    status, output = snakemake(checkout, "--configfile", *GPU, "smaller.yaml")
    assert status == 0, output
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*ROWS, "bag-of-items", "popularity"]
    for task in ("age", "life_status", "click", "like", "gender", "cvr"):
        for run in ROWS:
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
    assert "SIMULATED" in (checkout / "results/table2.md").read_text()
    for figure in ("figure3", "figure4", "figure5", "learning_curves"):
        assert (checkout / f"results/{figure}.pdf").stat().st_size > 10_000
    shutil.rmtree(checkout / "results")


@pytest.mark.long
def test_tuning_and_sensitivity_run_to_their_pages(checkout):
    """Every switch of the ledger is a run that works, and trials are judged by validation alone."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    changes = {
        "seeds": [0],
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        "tasks": {name: smoke["tasks"][name] for name in ("age", "click")},
        "runs": {name: smoke["runs"][name] for name in ("none", "mlm", "cl4srec", "adaptssr")},
        "table2": {"rows": ["none", "adaptssr"], "compared_with": "none"},
        "tuning": {"cl4srec": [{"similarity": "dot"}, {"similarity": "cosine"}]},
        "sensitivity": "adaptssr",
    }
    words = config_flags(checkout, **changes)
    status, output = snakemake(checkout, *words, "results/tuning.csv", "results/ambiguities.md")
    assert status == 0, output
    with (checkout / "results/tuning.csv").open() as file:
        trials = list(csv.DictReader(file))
    assert {(row["row"], row["trial"]) for row in trials} == {("cl4srec", "1"), ("cl4srec", "2")}
    assert sum(row["chosen"] == "1" for row in trials) == 2  # one trial, two tasks
    with (checkout / "results/smoke/effects.csv").open() as file:
        measured = {(row["entry"], row["value"]) for row in csv.DictReader(file)}
    ledger = yaml.safe_load((ROOT / "src/userbench/experiment/ledger.yaml").read_text())
    assert measured == {
        (entry["id"], json.dumps(choice["value"]))
        for entry in ledger
        if entry["where"] != "none" and "methods" not in entry
        for choice in entry["choices"][1:]
    }
    assert "SIMULATED" in (checkout / "results/ambiguities.md").read_text().upper()
    shutil.rmtree(checkout / "results")


def check_page_and_notebooks(checkout, options):
    """Both show this very run, and the command in a cell's details runs just that cell again."""
    status, output = snakemake(checkout, *options, "results/report.html", "notebooks")
    assert status == 0, output
    table = (checkout / "results/notebooks/table2.html").read_text()
    assert "SIMULATED" in table and "AdaptSSR" in table and "Kendall" in table
    page = (checkout / "results/report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', page)[1])
    assert len(data["cells"]) == 10 * 6 + 2 * 4 + 2
    (seed,) = data["cells"]["adaptssr/click"]["seeds"]
    for key, expected in (
        ("again", {"finetune_ttl": 1, "total": 1}),
        ("again_all", {"finetune_ttl": 1, "pretrain": 2, "total": 3}),
    ):
        program, *words = shlex.split(seed[key])
        assert program == "snakemake"
        status, output = snakemake(checkout, "-n", *words)
        assert status == 0, output
        assert job_counts(output) == expected
    status, output = snakemake(
        checkout, "--report", "snakemake-report.html", *options, "results/table2.csv"
    )
    assert status == 0, output
    assert (
        "sample standard deviation over seeds" in (checkout / "snakemake-report.html").read_text()
    )


def audit(checkout):
    """Status of `userbench audit results`, and its output."""
    run = subprocess.run(
        [sys.executable, "-m", "userbench", "audit", "results"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stdout + run.stderr


def check_audit(checkout):
    """No finding on a whole run; then one digit, bit, cell and record, each by its name."""
    status, output = audit(checkout)
    assert (status, "everything can be traced" in output) == (0, True), output
    folder = checkout / "results/smoke"
    score, cell = folder / "finetune/clue/age/seed0.json", folder / "statistics.csv"
    bit = folder / "pretrain/duorec/app/seed0/epoch1.safetensors"
    record = folder / "finetune/none/click/seed0.json.provenance.json"
    kept = {path: path.read_bytes() for path in (score, cell, bit, record)}
    value = re.search(rb'"test",\s+"metric": "accuracy",\s+"value": 0\.\d', kept[score])[0]
    other = value[:-1] + (b"1" if value.endswith(b"2") else b"2")
    score.write_bytes(kept[score].replace(value, other))
    bit.write_bytes(kept[bit][:-1] + bytes([kept[bit][-1] ^ 1]))
    cell.write_bytes(re.sub(rb"(\d\.\d+),", rb"\g<1>7,", kept[cell], count=1))
    record.unlink()
    status, output = audit(checkout)
    assert status == 1
    for path, what in (
        (score, "was changed"),
        (cell, "row 2, mean"),
        (bit, "was changed"),
        (folder / "finetune/duorec/gender/seed0.json", "was made from another"),
        (record.with_name("seed0.json"), "no provenance record"),
    ):
        assert f"{path.relative_to(checkout)}: {what}" in output, output
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.long
def test_seeds_together_make_the_same_files(checkout):
    """Who shared the process must show in provenance alone; asked again, nothing is made again."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    changes = {
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        "tasks": {name: smoke["tasks"][name] for name in ("age", "click")},
        "runs": {name: smoke["runs"][name] for name in ("none", "mlm", "ccl")},
        "table2": {"rows": ["none", "ccl"], "compared_with": "none"},
    }

    def call(*words, seeds):
        target = [*config_flags(checkout, **changes, seeds=seeds), "results/table2.csv"]
        status, output = snakemake(checkout, *words, *target)
        assert status == 0, output
        return output

    def trained():
        folder = checkout / "results/smoke"
        files = [*folder.glob("pretrain/**/seed*/*"), *folder.glob("finetune/**/seed*.json")]
        return {path: path.read_bytes() for path in files if "provenance" not in path.name}

    together = ["--config", "seeds_together=true"]
    apart = ["--config", "seeds_together=false"]
    counts = job_counts(call(*together, seeds=[0, 1, 2]))
    assert counts["pretrain"] == counts["finetune_ttl"] == 2  # mlm and ccl, none and ccl
    made = trained()
    assert len(made) == 2 * 3 * 3 + 2 * 3 * 2 + 3  # encoders, scores, baselines
    assert "Nothing to be done" in call("-n", *together, seeds=[0, 1, 2])

    for name in ("pretrain", "finetune"):
        shutil.rmtree(checkout / "results/smoke" / name)
    assert job_counts(call(*apart, seeds=[0, 1, 2]))["pretrain"] == 6
    assert trained() == made
    # One more seed, each in a process of its own: the others stay as they are.
    assert job_counts(call("-n", *apart, seeds=[0, 1, 2, 3]))["pretrain"] == 2
    shutil.rmtree(checkout / "results")


@pytest.mark.long
def test_smoke_run_from_raw_files_to_table(checkout):
    """Every rule once; then nothing is left to do; then an edit reruns what it can affect."""
    target = [*config_flags(checkout, seeds=[0]), "results/table2.csv", "results/agreement.csv"]
    status, output = snakemake(checkout, *target)
    assert status == 0, output
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*ROWS, "bag-of-items", "bag-of-items-long", "popularity"]
    for task in ("age", "life_status", "click", "like", "gender", "cvr"):
        for run in ROWS:
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
            assert rows[run][f"{task}.seeds"] == "1"
    assert [rows[run]["width"] for run in ("none", "idicl", "adaptssr")] == ["16", "64", "16"]
    assert rows["none"]["data"] == "simulated"
    for kind in ("md", "tex", "html"):
        page = (checkout / f"results/table2.{kind}").read_text()
        assert "SIMULATED" in page
        assert "IDICL - Reconstruction" in page  # as its own file says
    assert "one seed has no spread" in (checkout / "results/statistics.md").read_text()
    headline = (checkout / "results/headline.md").read_text()
    assert "No row can be compared with None: one seed has no spread." in headline
    assert headline in (checkout / "results/table2.md").read_text()
    with (checkout / "results/verdict.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [cell["verdict"] for cell in cells] == ["not comparable"] * 60
    record = json.loads((checkout / "results/table2.csv.provenance.json").read_text())
    assert record["userbench"]

    status, output = snakemake(checkout, *target)
    assert status == 0
    assert "Nothing to be done" in output

    check_page_and_notebooks(checkout, target[:-2])
    with (checkout / "results/smoke/fairness.csv").open() as file:
        lines = {line["run"]: line for line in csv.DictReader(file)}
    assert list(lines) == [*ROWS, "mlm_long", "ptum_warm"]
    behind = {run: (line["epochs"], line["passes"]) for run, line in lines.items()}
    assert behind["none"] == ("0", "0.0") and behind["adaptssr"] == ("4", "4.0")
    assert behind["mlm_long"] == ("4", "1.0") and lines["ptum"]["start"] == "random"
    assert "PTUM (random; 1 to 2; 2)" in (checkout / "results/table2.md").read_text()
    with (checkout / "results/smoke/frozen.csv").open() as file:
        frozen = [(line["run"], line["ranked"]) for line in csv.DictReader(file)]
    ranked = [(run, "True") for run in ("none", "mlm", "adaptssr")]
    assert frozen[:4] == [*ranked, ("item-counts", "False")]
    assert "Frozen protocol" in (checkout / "results/smoke/frozen.md").read_text()
    # The figures, of the same runs and few more.
    drawn = [f"results/{figure}.pdf" for figure in FIGURES]
    status, output = snakemake(checkout, *target, *drawn)
    assert status == 0, output
    for figure in FIGURES:
        numbers = "ablation" if figure == "figure4" else figure
        with (checkout / f"results/{numbers}.csv").open() as file:
            assert {row["data"] for row in csv.DictReader(file)} == {"simulated"}
        assert (checkout / f"results/{figure}.svg").stat().st_size > 10_000
    with (checkout / "results/figure7.csv").open() as file:
        shares = {(row["run"], row["share"]) for row in csv.DictReader(file)}
    assert ("adaptssr--labels-30", "0.3") in shares and ("none", "1.0") in shares
    few_labels = json.loads(
        (checkout / "results/smoke/finetune/none--labels-30/age/seed0.json").read_text()
    )
    whole = json.loads((checkout / "results/smoke/finetune/none/age/seed0.json").read_text())
    for part in ("train", "validation"):  # rounded, and at least one of each class
        few, some = few_labels["examples"][part], 0.3 * whole["examples"][part]
        assert abs(few - some) < 8 < whole["examples"][part]
    assert few_labels["examples"]["test"] == whole["examples"]["test"]
    check_audit(checkout)
    _, output = snakemake(checkout, *target, *drawn)
    assert "Nothing to be done" in output

    def rerun_after_edit(path):
        source = checkout / "src/userbench" / path
        source.write_text(source.read_text() + "\n# edited\n")
        _, output = snakemake(checkout, "-n", *target)
        source.write_text(source.read_text().removesuffix("\n# edited\n"))
        return job_counts(output)

    counts = rerun_after_edit("methods/adaptssr.py")
    assert counts["pretrain"] == 2  # no other method
    assert counts["finetune_ttl"] == 1
    counts = rerun_after_edit("report/tables/table2.py")
    assert "pretrain" not in counts and "finetune_ttl" not in counts
    counts = rerun_after_edit("model/metrics.py")
    assert "pretrain" not in counts
    assert counts["finetune_ttl"] == 10
