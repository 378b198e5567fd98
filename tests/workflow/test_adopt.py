"""Results that were moved to another clone, as its users move them: one small whole run."""

import os
import shutil
import subprocess
import sys
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


@pytest.mark.long
@pytest.mark.parametrize("copy", [shutil.copy2, shutil.copyfile], ids=["cp -a", "cp"])
def test_moved_results_are_taken_over_and_only_what_differs_runs(tmp_path, copy):
    """Wrong: everything is trained again, or something that is not of this config counts."""
    from userbench.data import simulate

    raw, here, there = (tmp_path / name for name in ("raw", "here", "there"))
    size = ["--users", "300", "--items", "400", "--seed", "2"]
    simulate.main(["--format", "app", *size, "--out", str(raw)])
    here.mkdir()
    clone(here)
    status, output = snakemake(here, *write_config(here), **{RAW: str(raw)})
    assert status == 0, output
    made = contents(here / "results")

    shutil.copytree(here / "results", there / "results", copy_function=copy)
    clone(there)
    raw = raw.rename(tmp_path / "raw-moved")
    words = write_config(there)
    everything = planned(there, raw, words)
    assert everything["pretrain"] == 4  # what this is about
    assert adopt(there, raw, "results/").strip().endswith("current.")
    assert planned(there, raw, words) == {}
    assert contents(there / "results") == made

    # Another setting, and another seed.
    task = yaml.safe_load(Path(words[1]).read_text())["tasks"]["cvr"]
    tasks = {"gender": {**task, "paper": "T5", "label": "T5 Gender"}, "cvr": {**task, "lr": 0.01}}
    write_config(there, tasks=tasks)
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

    # A file that was damaged, of a time that says nothing.
    checkpoint = there / CHECKPOINT
    stat = checkpoint.stat()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    os.utime(checkpoint, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert f"{CHECKPOINT}: was changed" in adopt(there, raw, "--dry-run")
    adopt(there, raw)
    counts = planned(there, raw, words)
    assert counts["pretrain"] == counts["finetune_app"] == 2
    status, output = snakemake(there, *words, **{RAW: str(raw)})
    assert status == 0, output
    assert planned(there, raw, words) == {}
    for name, content in made.items():
        if name.suffix in (".safetensors", ".parquet", ".csv"):
            assert (there / "results" / name).read_bytes() == content, name

    # Files of the same names, of which nothing says how they were made.
    for path in [*there.glob("results/moved/**/*.provenance.json")]:
        path.unlink()
    for path in [*there.glob("results/moved/**/manifest.json")]:
        path.unlink()
    assert "no record says how it was made" in adopt(there, raw)
    assert planned(there, raw, words) == everything
