"""The workflow as its users call it: dry runs, clear refusals, and one tiny whole run."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow whose results do not touch those of the developer.

    The sources are linked: the workflow must run the package that is under test.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "environment.yml", "workflow", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shutil.copytree(ROOT / "src", folder / "src")
    return folder


def snakemake(folder, *words, **environment):
    """Call snakemake on the package in `folder`; return exit status and everything it said."""
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith("USERBENCH_")},
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    run = subprocess.run(
        [SCRIPTS / "snakemake", "--cores", "2", *words],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return run.returncode, run.stdout


def config(folder, **changes):
    """The smoke config with changes, as a file."""
    content = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path), "--"]


def job_counts(said):
    """Jobs per rule, from the table that a dry run prints."""
    lines = [line.split() for line in said.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def test_default_config_plans_the_whole_table(checkout):
    """3 runs x 3 seeds x 2 corpora; MLM is trained once per seed and shared as warm start."""
    status, said = snakemake(checkout, "-n", "results/table2.csv")
    assert status == 0, said
    counts = job_counts(said)
    assert counts["pretrain"] == 2 * 2 * 3
    assert counts["finetune_ttl"] == counts["finetune_app"] == 3 * 3
    assert counts["simulate"] == counts["store"] == counts["splits"] == 2


def test_paper_config_without_app_says_so(checkout, tmp_path):
    """T5 and T6 stay empty where App is absent, in one line; they are never simulated."""
    (tmp_path / "original_desen_pretrain.csv").write_text("0,1\n")
    words = ["-n", "--configfile", "workflow/config/paper.yaml", "--", "results/table2.csv"]
    status, said = snakemake(checkout, *words, USERBENCH_TTL=str(tmp_path))
    assert status == 0, said
    assert "Corpus app is absent (no folder set): gender, cvr stay empty." in said
    counts = job_counts(said)
    assert counts["finetune_ttl"] == 3 * 5
    assert "simulate" not in counts
    assert "finetune_app" not in counts


@pytest.mark.parametrize("name", ["paper", "ttl10k"])
def test_absent_real_data_is_one_clear_line(checkout, name):
    words = ["-n", "--configfile", f"workflow/config/{name}.yaml", "--", "results/table2.csv"]
    status, said = snakemake(checkout, *words)
    assert status != 0
    assert "corpora.ttl: the folder of the real data is not set" in said
    assert "Traceback" not in said
    status, said = snakemake(checkout, *words, USERBENCH_TTL="/absent", USERBENCH_TTL10K="/absent")
    assert status != 0
    assert "/absent does not exist" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": [1]}, "unknown key 'sead'; did you mean 'seeds'?"),
        ({"seeds": []}, "seeds: "),
        ({"device": "gpu"}, "device: 'gpu' is not one of"),
        ({"experiment": "../../elsewhere"}, "experiment: '../../elsewhere' does not match"),
        ({"runs": {"none": {}, "mlm": {"method": "mml"}}}, "runs.mlm.method: no file methods/mml"),
        ({"runs": {"none": {}, "mlm": {"methd": "mlm"}}}, "did you mean 'method'?"),
        ({"runs": {"none": {}, "mlm": {"method": "mlm", "init_from": "x"}}}, "run 'x'"),
        ({"table2": {"rows": ["none", "peter"], "baseline": "none"}}, "no run 'peter'"),
        ({"pretrain": {"epochs": 2, "batch_size": 64, "keep": [9]}}, "epoch 9 is above"),
    ],
)
def test_config_mistakes_stop_before_anything_runs(checkout, changes, message):
    status, said = snakemake(checkout, "-n", *config(checkout, **changes), "results/table2.csv")
    assert status != 0
    assert message in said
    assert "Traceback" not in said
    assert not (checkout / "results").exists()


@pytest.mark.slow
def test_smoke_run_from_raw_files_to_table(checkout):
    """Every rule once; then nothing is left to do; then an edit reruns what it can affect."""
    target = ["--configfile", "workflow/config/smoke.yaml", "--", "results/table2.csv"]
    status, said = snakemake(checkout, *target)
    assert status == 0, said
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["none", "mlm", "adaptssr", "bag-of-items", "popularity"]
    for task in ("age", "life_status", "click", "like", "gender", "cvr"):
        for run in ("none", "mlm", "adaptssr"):
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
            assert rows[run][f"{task}.seeds"] == "2"
    assert rows["none"]["data"] == "simulated"
    for kind in ("md", "tex", "html"):
        assert "SIMULATED" in (checkout / f"results/table2.{kind}").read_text()
    told = json.loads((checkout / "results/table2.csv.provenance.json").read_text())
    assert told["userbench"]

    status, said = snakemake(checkout, *target)
    assert status == 0
    assert "Nothing to be done" in said

    def rerun_after_edit(path):
        source = checkout / "src/userbench" / path
        source.write_text(source.read_text() + "\n# edited\n")
        _, said = snakemake(checkout, "-n", *target)
        source.write_text(source.read_text().removesuffix("\n# edited\n"))
        return job_counts(said)

    counts = rerun_after_edit("methods/adaptssr.py")
    assert counts["pretrain"] == 2 * 2  # not masked item prediction
    assert counts["finetune_ttl"] == 2
    counts = rerun_after_edit("report/tables.py")
    assert set(counts) <= {"scores", "table1", "table2", "publish", "total"}
    counts = rerun_after_edit("metrics.py")
    assert "pretrain" not in counts
    assert counts["finetune_ttl"] == 6
