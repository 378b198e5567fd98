"""Errors in a config or in a setting end the workflow in one line, before anything runs."""

from pathlib import Path

import pytest
import yaml
from repository import ROOT
from snakemake_calls import config_flags, refusal, snakemake


@pytest.mark.parametrize("name", ["paper", "ttl10k"])
def test_absent_real_data_is_one_clear_line(checkout, name):
    words = ["-n", "--configfile", f"workflow/config/{name}.yaml", "--", "results/table2.csv"]
    status, output = snakemake(checkout, *words)
    assert status != 0
    assert "corpora.ttl: the folder of the real data is not set" in output
    assert "Traceback" not in output
    status, output = snakemake(
        checkout, *words, USERBENCH_TTL="/absent", USERBENCH_TTL10K="/absent"
    )
    assert status != 0
    assert "/absent does not exist" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": [1]}, "top level: unknown key 'sead'; did you mean 'seeds'?"),
        ({"verify": {"margin": {"T1": 1}}}, "verify.margin: 'T2' is missing"),
        ({"protocol": {"test_users": "held_out"}}, "runs.coserec.inputs: neighbours of all users"),
    ],
)
def test_config_errors_stop_before_anything_runs(checkout, changes, message):
    """All of them are in test_experiment.py; here, that the workflow asks and says the line."""
    _, path, _ = config_flags(checkout, **changes)
    assert message in refusal(Path(path), Path(path).read_text())


def test_config_errors_are_reported_without_a_traceback(checkout):
    status, output = snakemake(
        checkout, "-n", *config_flags(checkout, sead=[1]), "results/table2.csv"
    )
    assert status != 0
    assert "unknown key 'sead'; did you mean 'seeds'?" in output
    assert "Traceback" not in output
    assert not (checkout / "results").exists()


def test_a_method_refuses_at_the_dry_run(checkout):
    """Wrong: a misspelt hyper-parameter is found after hours, by the job that reads it."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    runs = {**smoke["runs"], "cl4srec": {"method": "cl4srec", "overrides": {"temprature": 1.0}}}
    words = ["-n", *config_flags(checkout, runs=runs), "results/table2.csv"]
    status, output = snakemake(checkout, *words)
    assert status != 0 and "Traceback" not in output
    assert "runs.cl4srec.overrides: userbench.methods.cl4srec has no hyper-parameter" in output
    assert not (checkout / "results").exists()


def test_a_broken_method_that_no_run_uses_stops_no_run(checkout):
    """Wrong: a method that a colleague has begun keeps her from every table."""
    broken = checkout / "src/userbench/methods/begun.py"
    broken.write_text("class Config(:\n")
    status, output = snakemake(checkout, "-n", *config_flags(checkout), "results/table2.csv")
    assert status == 0, output
    used = {"none": {}, "begun": {"method": "begun", "init_from": "none"}}
    table = {"rows": ["none", "begun"], "compared_with": "none"}
    words = ["-n", *config_flags(checkout, runs=used, table2=table), "results/table2.csv"]
    status, output = snakemake(checkout, *words)
    broken.unlink()
    assert status != 0 and "runs.begun.method: " in output and "Traceback" not in output


def test_settings_of_the_machine_are_checked(checkout):
    for setting, message in (
        ("seeds_together=some", "seeds_together: 'some' should be a valid boolean"),
        ("gres=shard", "gres: 'shard' should match"),
    ):
        words = ["-n", "--config", setting, *config_flags(checkout), "results/table2.csv"]
        status, output = snakemake(checkout, *words)
        assert status != 0 and message in output and "Traceback" not in output
