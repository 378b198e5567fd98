"""Results that were moved to another clone, as its users move them: one small whole run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from smoke_config import STUDIES
from snakemake_calls import job_counts, snakemake

RUNS = ("none", "mlm", "adaptssr")
RAW = "USERBENCH_APP"
CHECKPOINT = "results/moved/pretrain/mlm/app/seed0/epoch2.safetensors"


def write_config(folder: Path, **changes) -> list[str]:
    """Few runs on one corpus of files; the flags that name the config."""
    content = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    for study in STUDIES:
        del content[study]
    content["tasks"] = {name: content["tasks"][name] for name in ("gender", "cvr")}
    content["runs"] = {name: content["runs"][name] for name in RUNS}
    content["table2"] = {"rows": [*RUNS], "compared_with": "none"}
    content |= {"experiment": "moved", "device": "cpu", "seeds_together": False}
    content["corpora"] = {"app": {"format": "app", "raw_env": RAW}}
    path = folder / "workflow/config/moved.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path)]


def clone(folder: Path) -> None:
    """What `git clone` makes: sources, all of them new."""
    for name in ("Snakefile", "environment.yml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("workflow", "profiles", "notebooks", "src"):
        shutil.copytree(ROOT / name, folder / name, copy_function=shutil.copyfile)


def adopt(folder: Path, raw: Path, *words: str) -> str:
    """What `userbench adopt` prints."""
    variables = {**os.environ, "PYTHONPATH": str(folder / "src"), RAW: str(raw)}
    call = [sys.executable, "-m", "userbench", "adopt", *words]
    run = subprocess.run(call, cwd=folder, env=variables, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def planned(folder: Path, raw: Path, words: list[str]) -> dict[str, int]:
    """Jobs that Snakemake would run now."""
    status, output = snakemake(folder, "-n", *words, **{RAW: str(raw)})
    assert status == 0, output
    return {name: n for name, n in job_counts(output).items() if name not in ("total", "all")}


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A clone with finished results; beside it the raw files of their corpus."""
    from userbench.data import simulate

    here = tmp_path_factory.mktemp("moved") / "here"
    size = ["--users", "300", "--items", "400", "--seed", "2"]
    simulate.main(["--format", "app", *size, "--out", str(here.with_name("raw"))])
    here.mkdir()
    clone(here)
    words = write_config(here)
    status, output = snakemake(here, *words, **{RAW: str(here.with_name("raw"))})
    assert status == 0, output
    return here


def move(here: Path, there: Path, copy: Callable[..., object]) -> Path:
    """Copy results to a new clone, whose sources are newer, and their raw files; returns these."""
    shutil.copytree(here / "results", there / "results", copy_function=copy)
    clone(there)
    raw = here.with_name("raw")
    return Path(shutil.copytree(raw, there.with_name("raw"), copy_function=shutil.copyfile))


@pytest.mark.long
def test_copies_without_their_times_are_taken_over(here, tmp_path):
    """Wrong: everything is trained again, because results were copied to another clone."""
    there = tmp_path / "there"
    raw = move(here, there, shutil.copyfile)
    words = write_config(there)
    assert planned(there, raw, words)["pretrain"] == 4  # what this is about
    assert adopt(there, raw, "results/").strip().endswith("current.")
    assert planned(there, raw, words) == {}
    made = contents(here / "results")
    assert contents(there / "results") == made

    # Files of the same names, of which nothing says how they were made.
    for name in ("*.provenance.json", "manifest.json"):
        for path in [*there.glob(f"results/moved/**/{name}")]:
            path.unlink()
    assert "no record says how it was made" in adopt(there, raw)
    assert planned(there, raw, words) == planned(there, raw, ["--forceall", *words])


@pytest.mark.long
def test_of_moved_results_only_what_differs_runs_again(here, tmp_path):
    """Wrong: results of another config, of other code or of damaged files count as current."""
    there = tmp_path / "there"
    raw = move(here, there, shutil.copy2)

    # Another setting, and another seed.
    words = write_config(there)
    task = yaml.safe_load(Path(words[1]).read_text())["tasks"]["cvr"]
    gender = {**task, "paper": "T5", "label": "T5 Gender"}
    write_config(there, tasks={"gender": gender, "cvr": {**task, "lr": 0.01}})
    assert "task: lr 0.01, was 0.001" in adopt(there, raw)
    counts = planned(there, raw, words)
    assert counts["finetune_app"] == 6 and "pretrain" not in counts
    write_config(there, seeds=[0, 1, 2])
    adopt(there, raw)
    counts = planned(there, raw, words)
    assert counts["pretrain"] == 2 and counts["finetune_app"] == 3

    # A method that was edited.
    write_config(there)
    method = there / "src/userbench/methods/adaptssr.py"
    source = method.read_text()
    method.write_text(f"{source}\n# edited\n")
    assert "made with another src/userbench/methods/adaptssr.py" in adopt(there, raw)
    counts = planned(there, raw, words)
    assert counts["pretrain"] == counts["finetune_app"] == 2
    method.write_text(source)

    # A file that was damaged, of a time that says nothing, and of which Snakemake has notes.
    checkpoint = there / CHECKPOINT
    stat = checkpoint.stat()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    os.utime(checkpoint, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert f"{CHECKPOINT}: was changed" in adopt(there, raw)
    counts = planned(there, raw, words)
    assert counts["pretrain"] == counts["finetune_app"] == 2
    status, output = snakemake(there, *words, **{RAW: str(raw)})
    assert status == 0, output
    assert planned(there, raw, words) == {}
    for name, content in contents(here / "results").items():
        if name.suffix in (".safetensors", ".parquet", ".csv"):
            assert (there / "results" / name).read_bytes() == content, name
