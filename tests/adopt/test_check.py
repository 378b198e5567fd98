"""What of moved results is current: every case on a tiny tree, without Snakemake."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

OUT = Path("results/tiny")
DATA, MADE, TABLE = OUT / "data/ttl/behaviours", OUT / "pretrain/mlm/ttl/seed0", OUT / "scores.csv"
CHECKPOINT, CURVE = MADE / "epoch1.safetensors", MADE / "curve.json"
TRAIN = [
    *("python", "-m", "userbench", "pretrain", "--store", "results/tiny/data/ttl", "--raw", "a"),
    *("--set", '{"lr": 0.1, "views": {"kind": "x"}}', "--seed", "0", "--out"),
    "results/tiny/pretrain/mlm/ttl/seed{seed}",
]
READ = ["python", "-m", "userbench", "ingest", "behaviours", "--raw", "/old/place", "--out", "d"]
SCORES = ["python", "-m", "userbench", "scores", "--out", str(TABLE)]
SOURCE = "userbench/results/artifact.py"
RAW = "ab" * 32


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Four jobs, as they were planned when the files of a results folder were made."""
    from userbench.adopt.job import PlannedJob
    from userbench.data.arrays import write_arrays
    from userbench.results import artifact
    from userbench.results.loaded_code import PACKAGE

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", READ)
    raw = {"raw": {"pretrain": {"name": "p.csv", "sha256": RAW}}, "counts": {}}
    write_arrays(DATA, {"items.npy": np.arange(9)}, {}, raw)
    monkeypatch.setattr(sys, "orig_argv", TRAIN)
    for path in (CHECKPOINT, CURVE):
        artifact.write_text(path, f"content of {path.name}")
        artifact.record(path, {"seed": 0}, artifact.fingerprints([DATA]))
    monkeypatch.setattr(sys, "orig_argv", SCORES)
    for path in (TABLE, TABLE.with_suffix(".md")):
        artifact.write_text(path, path.name)
    artifact.record(TABLE, {}, artifact.fingerprints([CURVE]), [TABLE.with_suffix(".md")])
    shutil.copy(TABLE, "results")

    code = str(PACKAGE.parent / SOURCE)
    checksums = str(DATA / "checksums.json")
    table = (str(TABLE), str(TABLE.with_suffix(".md")), f"{TABLE}.provenance.json")
    return {
        "read": PlannedJob((code,), (checksums,), tuple(READ), RAW),
        "train": PlannedJob((checksums, code), (str(CHECKPOINT), str(CURVE)), tuple(TRAIN)),
        "table": PlannedJob((str(CURVE), code), table, tuple(SCORES)),
        "copy": PlannedJob((str(TABLE),), ("results/scores.csv",), ("cp", str(TABLE), "results/")),
    }


def checked(jobs):
    """Which jobs are current, which wait for others, and why others are not current."""
    from userbench.adopt.check import check

    found, names = check(jobs.values(), OUT), {job: name for name, job in jobs.items()}
    reasons = {names[job]: reason for job, reason in found.refused.items()}
    assert not found.absent
    return [names[job] for job in found.current], [names[job] for job in found.behind], reasons


def test_all_that_matches_is_current(jobs):
    """Wrong: days of training, because results were copied to another folder."""
    jobs["read"] = replace(jobs["read"], words=(*READ[:6], "/new/place", *READ[7:]))
    words = tuple("/elsewhere" if word == "a" else word for word in TRAIN)
    jobs["train"] = replace(jobs["train"], words=words)
    assert checked(jobs) == (["read", "train", "table", "copy"], [], {})


def rewrite(path, **changes):
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, **changes}))


def damage(path):
    path.write_bytes(b"x" + path.read_bytes()[1:])


def damage_array(jobs):
    damage(DATA / "items.npy")


def damage_checkpoint(jobs):
    damage(CHECKPOINT)


def damage_page(jobs):
    damage(TABLE.with_suffix(".md"))


def damage_copy(jobs):
    damage(Path("results/scores.csv"))


def damage_record(jobs):
    Path(f"{CURVE}.provenance.json").write_text("{")


def lose_record(jobs):
    Path(f"{CURVE}.provenance.json").unlink()


def damage_manifest(jobs):
    rewrite(DATA / "manifest.json", command=7, raw={"pretrain": 3})


def lose_manifest(jobs):
    (DATA / "manifest.json").unlink()


def lose_code(jobs):
    rewrite(Path(f"{CURVE}.provenance.json"), code={})


def edit_code(jobs):
    recorded = json.loads(Path(f"{CURVE}.provenance.json").read_bytes())["code"]
    rewrite(Path(f"{CURVE}.provenance.json"), code={**recorded, SOURCE: "0" * 16})


def edit_template(jobs):
    code = jobs["table"].inputs[-1]
    template = str(Path(code).parents[1] / "report/templates/table2.md")
    jobs["table"] = replace(jobs["table"], inputs=(*jobs["table"].inputs, template))
    recorded = json.loads(Path(f"{TABLE}.provenance.json").read_bytes())["code"]
    recorded.pop("userbench/report/templates/table2.md", None)
    rewrite(Path(f"{TABLE}.provenance.json"), code=recorded)


def change_setting(jobs):
    words = tuple(word.replace("0.1", "0.2") for word in TRAIN)
    jobs["train"] = replace(jobs["train"], words=words)


def add_seed(jobs):
    outputs = (*jobs["train"].outputs, str(MADE.with_name("seed1") / "curve.json"))
    jobs["train"] = replace(jobs["train"], outputs=outputs)


def change_raw_files(jobs):
    jobs["read"] = replace(jobs["read"], content="cd" * 32)


def allow_fewer_bad_rows(jobs):
    jobs["read"] = replace(jobs["read"], content=f"{RAW}, too many bad lines")


def make_data_again(jobs):
    from userbench.data.arrays import write_arrays

    raw = {"raw": {"pretrain": {"name": "p.csv", "sha256": RAW}}, "counts": {}}
    code = json.loads((DATA / "manifest.json").read_bytes())["code"]
    write_arrays(DATA, {"items.npy": np.arange(8)}, {}, raw)
    rewrite(DATA / "manifest.json", code=code, command=READ)


def run_by_record(jobs):
    rewrite(Path(f"{CURVE}.provenance.json"), command=["touch", "made-by-a-record"])


@pytest.mark.parametrize(
    ("change", "job", "reason"),
    [
        (damage_array, "read", "items.npy: is missing, or not as its checksums say"),
        (damage_manifest, "read", "manifest.json: command: "),
        (lose_manifest, "read", "no record says how it was made"),
        (change_raw_files, "read", "its raw files hold something else now"),
        (allow_fewer_bad_rows, "read", "would be refused now: too many bad lines"),
        (damage_checkpoint, "train", "epoch1.safetensors: was changed: its checksum differs"),
        (damage_record, "train", "curve.json: "),
        (lose_record, "train", "curve.json: no record says how it was made"),
        (lose_code, "train", "has no checksums of its code"),
        (edit_code, "train", f"made with another .*{SOURCE}"),
        (change_setting, "train", "set: lr 0.2, was 0.1$"),
        (add_seed, "train", "seed1/curve.json: is not there"),
        (make_data_again, "train", "was made from another .*behaviours than is there now"),
        (run_by_record, "train", "command: userbench pretrain, was"),
        (damage_page, "table", "scores.md: is missing, or not as written with scores.csv"),
        (edit_template, "table", "does not say with which .*table2.md"),
        (damage_copy, "copy", "is no copy of results/tiny/scores.csv"),
    ],
)
def test_what_differs_is_named_and_what_was_made_of_it_waits(jobs, change, job, reason):
    """Wrong: results of other data, code or settings count as those of the config."""
    change(jobs)
    current, behind, reasons = checked(jobs)
    assert list(reasons) == [job] and re.search(reason, reasons[job]), reasons
    names = list(jobs)
    assert current == names[: names.index(job)] and behind == names[names.index(job) + 1 :]
    assert not Path("made-by-a-record").exists()


def test_results_without_records_are_named_each(jobs):
    """Wrong: somebody's folder of files of the same names is taken for ours."""
    for path in [*OUT.rglob("*.provenance.json"), DATA / "manifest.json"]:
        path.unlink()
    current, _, reasons = checked(jobs)
    assert current == [] and set(reasons) == {"read", "train", "table"}


def test_a_folder_needs_checksums_of_its_files(jobs):
    """Wrong: a changed file of simulated raw data goes unnoticed."""
    from userbench.adopt.job import PlannedJob
    from userbench.results.artifact import record

    raw = OUT / "raw/ttl"
    raw.mkdir(parents=True)
    (raw / "p.csv").write_text("1,2\n")
    jobs = {"simulate": PlannedJob((), (str(raw),), tuple(TRAIN))}
    record(raw, {})
    rewrite(Path(f"{raw}.provenance.json"), command=TRAIN)
    assert "no checksums of its files" in checked(jobs)[2]["simulate"]
    record(raw, {}, beside=[raw / "p.csv"])
    rewrite(Path(f"{raw}.provenance.json"), command=TRAIN)
    assert checked(jobs)[0] == ["simulate"]
    (raw / "p.csv").write_text("1,3\n")
    assert "p.csv: is missing, or not as written" in checked(jobs)[2]["simulate"]


def test_given_vectors_are_compared_by_content(jobs):
    """Wrong: scores of vectors that somebody has replaced; or moved vectors run heads again."""
    from userbench.results.artifact import record, sha256

    given = Path("vectors.parquet")
    given.write_text("one")
    words = (*TRAIN, "--vectors", "/new/vectors.parquet")
    record(CHECKPOINT, {}, {given: sha256(given), DATA: "0" * 64})
    rewrite(Path(f"{CHECKPOINT}.provenance.json"), command=[*TRAIN, "--vectors", "/old/v.parquet"])
    rewrite(Path(f"{CHECKPOINT}.provenance.json"), inputs={"../../../../../../v": sha256(given)})
    job = replace(jobs["train"], outputs=(str(CHECKPOINT),), words=words, content=sha256(given))
    assert checked({"heads": job})[0] == ["heads"]
    job = replace(job, content="0" * 64)
    assert "vectors that are given are others now" in checked({"heads": job})[2]["heads"]
