"""Faults of a whole workflow: errors in a config, two at once, a kill, a hang, a clock."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from repository import PROGRAMS, ROOT
from snakemake_calls import job_counts, refusal, snakemake

SMOKE = (ROOT / "workflow/config/smoke.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "seeds: [0, 1]",
            "seeds: [0]\nseeds: [1]",
            r":5: 'seeds' is there twice, first in line 4\.",
        ),
        ("{epochs: 2,", "{epochs: 2, epochs: 3,", r":\d+: 'epochs' is there twice, first in line"),
        ("seeds: [0, 1]", "seeds: [0, 0]", r": seeds: 0 is there twice"),
        ("seeds: [0, 1]", "seeds: [0, 1.5]", r": seeds.1: 1.5 should be a valid integer"),
        (
            "{epochs: 2,",
            "{epochs: -2,",
            r": pretrain.epochs: -2 should be greater than or equal to 1",
        ),
        ("{epochs: 2,", "{epochs: two,", r": pretrain.epochs: 'two' should be a valid integer"),
        ("dim: 16", "dim: 15", r": encoder.dim: 15 is no multiple of heads: 2"),
        (
            "device: auto",
            "device: auto\nlimit_minutes: 0",
            r": limit_minutes: 0 should be greater than 0",
        ),
        ("{corpus: app,", "{corpus: ttl,", r": corpora.app: no task is of it. Add one"),
        ("{method: clue,", "{method: cleu,", r": runs.clue.method: no method 'cleu'"),
        (
            "compared_with: none",
            "compared_with: nobody",
            r": table2.compared_with: no run 'nobody'",
        ),
    ],
)
def test_an_error_in_a_config_names_file_and_place(old, new, message, tmp_path):
    """Wrong: another experiment than the one that was written down, without a word."""
    config = tmp_path / "mine.yaml"
    assert old in SMOKE
    assert re.search(rf"^{config}{message}", refusal(config, SMOKE.replace(old, new, 2)))


def small(folder: Path, name: str, **changes) -> list[str]:
    """A config of one run and one task, under a name of its own, as words of the command line."""
    smoke = yaml.safe_load(SMOKE)
    content = {
        **{"experiment": name, "device": "cpu", "seeds": [0]},
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        **{key: smoke[key] for key in ("splits", "encoder", "pretrain", "finetune")},
        "tasks": {"age": smoke["tasks"]["age"]},
        "runs": {"none": {"label": "None"}},
        "table2": {"rows": ["none"], "compared_with": "none"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path), "--"]


@pytest.fixture(scope="module")
def hanging(checkout) -> Path:
    """A checkout whose simulation of 333 users hangs, for a minute where nothing ends it."""
    source = checkout / "src/userbench/data/simulate.py"
    loop = (
        "    import time\n    while args.users == 333 and time.process_time() < 60:\n        pass\n"
        "    changes ="
    )
    source.write_text(source.read_text().replace("    changes =", loop, 1))
    return checkout


FOR_EVER = {"ttl": {"format": "ttl", "simulate": {"users": 333, "items": 400, "seed": 1}}}


@pytest.mark.slow
def test_two_workflows_at_once_and_a_kill(hanging):
    """Wrong: two workflows write the same files, or a kill locks the folder without a way out."""
    first = small(hanging, "first", corpora=FOR_EVER)
    second = small(hanging, "second")
    call = [PROGRAMS / "snakemake", "--cores", "1", *first, "results/table2.csv"]
    environment = {**os.environ, "PYTHONPATH": str(hanging / "src")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(call, cwd=hanging, env=environment, start_new_session=True, **quiet)
    locks = hanging / ".snakemake/locks"
    try:
        until = time.monotonic() + 120
        while not list(hanging.glob("results/first/logs/simulate/*.log")):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        # Another experiment has the same files at the root of results/.
        status, output = snakemake(hanging, *second, "results/table2.csv")
        assert status != 0 and "Directory cannot be locked" in output and "Traceback" not in output
        # As Snakemake does when a third one ends, with files of its own.
        locks.rename(locks.with_name("kept"))
        soon = ["--config", "limit_minutes=0.05"]  # without its guard, it would hang, too
        status, output = snakemake(hanging, *soon, *first, "results/first/raw/ttl")
        assert status != 0 and "Traceback" not in output
        assert f"Another workflow works in results/first (process {running.pid} on " in output
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    shutil.rmtree(locks, ignore_errors=True)
    locks.with_name("kept").rename(locks)
    first = small(hanging, "first")
    status, output = snakemake(hanging, *first, "results/first/raw/ttl")
    assert status != 0 and "can be removed with the --unlock argument" in output
    assert snakemake(hanging, "--unlock", *first, "results/first/raw/ttl")[0] == 0
    status, output = snakemake(hanging, *first, "results/first/raw/ttl")
    assert status == 0, output
    assert not list((hanging / "results").rglob("*.partial"))


@pytest.mark.slow
def test_a_hang_a_change_of_raw_data_and_a_clock(hanging):
    """Wrong: a hanging job stops the others; old data, or times to come, are thought up to date."""
    from userbench.data import simulate

    size = ["--users", "300", "--items", "400", "--seed", "1"]
    simulate.main(["--format", "app", *size, "--out", str(hanging / "app")])
    corpora = {**FOR_EVER, "app": {"format": "app", "raw": str(hanging / "app")}}
    tasks = {name: yaml.safe_load(SMOKE)["tasks"][name] for name in ("age", "gender")}
    words = small(hanging, "third", corpora=corpora, tasks=tasks, limit_minutes=0.1)
    store = Path("results/third/data/app")
    data = [str(store / part / "checksums.json") for part in ("behaviours", "tasks/gender")]
    status, output = snakemake(hanging, *words, "results/third/raw/ttl", *data)
    assert status != 0
    assert re.search(r"error: not done after 0.1 minutes, at \S+/simulate.py:\d+ ", output)
    assert all((hanging / name).exists() for name in data)  # the others went on
    assert not list(hanging.glob("results/third/raw/*"))

    limited = ["--config", "limit_minutes=99"]
    assert "Nothing to be done" in snakemake(hanging, "-n", *limited, *words, *data)[1]
    ahead = time.time() + 3 * 86400
    os.utime(hanging / store / "behaviours/items.npy", (ahead, ahead))
    status, output = snakemake(hanging, "-n", *words, *data)
    assert status != 0 and "by a clock that was ahead" in output and "Traceback" not in output
    (remedy,) = re.findall(r"or run: (find .*) \+$", output, re.MULTILINE)
    subprocess.run([*shlex.split(remedy), "+"], cwd=hanging, check=True)
    assert "Nothing to be done" in snakemake(hanging, "-n", *words, *data)[1]

    raw = hanging / "app/app_gender.csv"
    raw.write_text(raw.read_text().replace(",,1\n", ",,0\n", 1))
    os.utime(raw, (time.time() + 1, time.time() + 1))
    counts = job_counts(snakemake(hanging, "-n", *words, *data)[1])
    assert counts["task"] == 1 and "behaviours" not in counts  # only what reads that file
