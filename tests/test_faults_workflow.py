"""Faults of a whole workflow: mistakes in a config, two at once, a kill, a hang, a clock."""

import gc
import os
import re
import shlex
import signal
import subprocess
import time
import warnings
from pathlib import Path

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings
from test_workflow import ROOT, SCRIPTS, job_counts, snakemake

SMOKE = (ROOT / "workflow/config/smoke.yaml").read_text()


def refusal(config: Path, text: str) -> str:
    """What the workflow says of a config, in this process: starting another takes seconds."""
    config.write_text(text)
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[config]),
                snakefile=ROOT / "Snakefile",
                workdir=config.parent,
            ).list_rules()
    except WorkflowError as refused:
        return str(refused)
    finally:
        with warnings.catch_warnings():  # Snakemake leaves a temporary folder to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "seeds: [0, 1]",
            "seeds: [0]\nseeds: [1]",
            r":5: 'seeds' is there twice, first in line 4\.",
        ),
        ("{epochs: 2,", "{epochs: 2, epochs: 3,", r":\d+: 'epochs' is there twice, first in line"),
        ("seeds: [0, 1]", "seeds: [0, 0]", r": seeds: \[0, 0\] has non-unique elements"),
        ("seeds: [0, 1]", "seeds: [0, 1.5]", r": seeds.1: 1.5 is not of type 'integer'"),
        ("{epochs: 2,", "{epochs: -2,", r": pretrain.epochs: -2 is less than the minimum of 1"),
        ("{epochs: 2,", "{epochs: two,", r": pretrain.epochs: 'two' is not of type 'integer'"),
        ("dim: 16", "dim: 15", r": encoder.dim: 15 is no multiple of heads: 2"),
        (
            "device: auto",
            "device: auto\nlimit_minutes: 0",
            r": limit_minutes: 0 is less than",
        ),
        ("{method: clue,", "{method: cleu,", r": runs.clue.method: no method 'cleu'"),
        ("baseline: none", "baseline: nobody", r": table2.baseline: no run 'nobody'"),
    ],
)
def test_a_mistake_in_a_config_names_file_and_place(old, new, said, tmp_path):
    """Wrong: another experiment than the one that was written down, without a word."""
    config = tmp_path / "mine.yaml"
    assert old in SMOKE
    assert re.search(rf"^{config}{said}", refusal(config, SMOKE.replace(old, new, 1)))


def small(folder: Path, name: str, **changes) -> list[str]:
    """A config of one run and one task, under a name of its own, as words of the command line."""
    smoke = yaml.safe_load(SMOKE)
    content = {
        **{"experiment": name, "device": "cpu", "seeds": [0]},
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        **{key: smoke[key] for key in ("splits", "encoder", "pretrain", "finetune")},
        "tasks": {"age": smoke["tasks"]["age"]},
        "runs": {"none": {"label": "None"}},
        "table2": {"rows": ["none"], "baseline": "none"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path), "--"]


@pytest.mark.slow
def test_two_experiments_at_once_and_a_kill(checkout):
    """Wrong: two workflows write the same tables, or a kill locks the folder without a way out."""
    first, second = small(checkout, "first"), small(checkout, "second")
    call = [SCRIPTS / "snakemake", "--cores", "1", *first, "results/table2.csv"]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(call, cwd=checkout, env=environment, start_new_session=True, **quiet)
    try:
        until = time.monotonic() + 120
        while not list((checkout / ".snakemake").glob("locks/*output.lock")):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        status, said = snakemake(checkout, *second, "results/table2.csv")
        assert running.poll() is None
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert status != 0 and "Directory cannot be locked" in said and "Traceback" not in said
    # Files of its own are no reason to wait.
    assert snakemake(checkout, *second, "results/second/raw/ttl")[0] == 0

    status, said = snakemake(checkout, *first, "results/first/raw/ttl")
    assert status != 0 and "can be removed with the --unlock argument" in said
    assert snakemake(checkout, "--unlock", *first)[0] == 0
    status, said = snakemake(checkout, *first, "results/first/raw/ttl")
    assert status == 0, said
    assert not list((checkout / "results").rglob("*.partial"))


@pytest.mark.slow
def test_a_hang_a_change_of_raw_data_and_a_clock(checkout):
    """Wrong: a hanging job stops the others; old data, or times to come, are thought up to date."""
    from userbench.data import simulate

    size = ["--users", "300", "--items", "400", "--seed", "1"]
    simulate.main(["--format", "app", *size, "--out", str(checkout / "app")])
    source = checkout / "src/userbench/data/simulate.py"
    hanging = "    while args.users == 333:\n        pass\n    changes ="
    source.write_text(source.read_text().replace("    changes =", hanging, 1))
    corpora = {
        "ttl": {"format": "ttl", "simulate": {"users": 333, "items": 400, "seed": 1}},
        "app": {"format": "app", "raw": str(checkout / "app")},
    }
    gender = {"gender": yaml.safe_load(SMOKE)["tasks"]["gender"]}
    words = small(checkout, "third", corpora=corpora, tasks=gender, limit_minutes=0.1)
    store = "results/third/data/app"
    status, said = snakemake(checkout, *words, "results/third/raw/ttl", store)
    assert status != 0
    assert re.search(r"error: not done after 0.1 minutes, at \S+/simulate.py:\d+ ", said)
    assert (checkout / store / "manifest.json").exists()  # the others went on
    assert [path.name for path in (checkout / "results/third/raw").iterdir()] == []

    limited = ["--config", "limit_minutes=99"]
    assert "Nothing to be done" in snakemake(checkout, "-n", *limited, *words, store)[1]
    ahead = time.time() + 3 * 86400
    os.utime(checkout / store / "items.npy", (ahead, ahead))
    status, said = snakemake(checkout, "-n", *words, store)
    assert status != 0 and "by a clock that was ahead" in said and "Traceback" not in said
    (remedy,) = re.findall(r"or run: (find .*) \+$", said, re.MULTILINE)
    subprocess.run([*shlex.split(remedy), "+"], cwd=checkout, check=True)
    assert "Nothing to be done" in snakemake(checkout, "-n", *words, store)[1]

    raw = checkout / "app/app_gender.csv"
    raw.write_text(raw.read_text().replace(",,1\n", ",,0\n", 1))
    os.utime(raw, (time.time() + 1, time.time() + 1))
    assert job_counts(snakemake(checkout, "-n", *words, store)[1])["store"] == 1
