"""What runs again after a change of data: dry runs on results that are there by name alone."""

import copy
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from snakemake_calls import job_counts, snakemake

FILES = {
    "original_desen_pretrain.csv": "0,1\n",
    "original_desen_gender.csv": "0,1,,1\n",
    "original_desen_finetune_click_nouserID.csv": "0,1,,5\n",
}
PLAIN = ("none", "mlm")
RUNS = {
    "none": {"label": "None"},
    "mlm": {"method": "mlm"},
    "held_out": {"method": "cl4srec", "protocol": {"test_users": "held_out"}},
}


class Results:
    """Results in a copy of the workflow, of a config that may be changed."""

    def __init__(self, checkout: Path, folder: Path):
        smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
        self.checkout, self.raw = checkout, folder / "raw"
        self.config = {
            **{key: smoke[key] for key in ("splits", "encoder", "pretrain", "finetune")},
            **{"experiment": "fresh", "seeds": [0], "device": "cpu", "runs": RUNS},
            "corpora": {"ttl": {"format": "ttl", "raw": str(self.raw)}},
            "tasks": {name: smoke["tasks"]["gender"] | {"corpus": "ttl"} for name in ("gender",)},
            "table2": {"rows": [*RUNS], "compared_with": "none"},
        }
        self.config["tasks"]["click"] = smoke["tasks"]["click"]
        self.raw.mkdir()
        for name, text in FILES.items():
            (self.raw / name).write_text(text)

    def call(self, *words: str) -> str:
        """What Snakemake says."""
        path = self.checkout / "fresh.yaml"
        path.write_text(yaml.safe_dump(self.config, sort_keys=False))
        asked = ["--configfile", str(path), *words, "--", "results/table2.csv"]
        status, output = snakemake(self.checkout, *asked)
        assert status == 0, output
        return output

    def pretend(self) -> None:
        """Let all files be there, as if each job had run; empty, but for JSON, which is `{}`."""
        table = [line.split("\t") for line in self.call("--summary").splitlines() if "\t" in line]
        for name, *_ in table[1:]:
            path = self.checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}" if path.suffix == ".json" else "")
        self.call("--touch", "--forceall")

    def planned(self, *words: str) -> dict[str, int]:
        """Jobs per rule that would run now; without those that make tables."""
        made = ("behaviours", "task", "user_split", "task_split", "pretrain", "finetune_ttl")
        return {rule: n for rule, n in job_counts(self.call("-n", *words)).items() if rule in made}


@pytest.fixture(scope="module")
def finished(checkout, tmp_path_factory) -> Results:
    """Finished results of real data."""
    made = Results(checkout, tmp_path_factory.mktemp("finished"))
    made.pretend()
    return made


@pytest.fixture
def results(finished, tmp_path) -> Results:
    """The same, whose raw files and config may be changed: a dry run changes nothing else."""
    shutil.copytree(finished.raw, tmp_path / "raw")
    changed = copy.deepcopy(finished)
    changed.raw = tmp_path / "raw"
    changed.config["corpora"]["ttl"]["raw"] = str(changed.raw)
    return changed


def test_all_is_made_of_what_it_reads(results):
    """Wrong: a dry run of the tests below plans nothing because nothing is asked for."""
    assert results.planned() == {}
    assert results.planned("--forceall") == {
        **{"behaviours": 1, "user_split": 1, "task": 2, "task_split": 2},
        **{"pretrain": 2, "finetune_ttl": 3},
    }


def move(results: Results) -> None:
    folder = results.raw.with_name("moved") / "deeper"
    folder.parent.mkdir()
    results.raw.rename(folder)
    results.config["corpora"]["ttl"]["raw"] = str(folder.parent)


def pack(results: Results) -> None:
    archive = results.raw.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in results.raw.iterdir():
            file.write(path, path.name)
    results.config["corpora"]["ttl"]["raw"] = str(archive)


def touch(results: Results) -> None:
    for path in results.raw.iterdir():
        path.touch()


def put_beside(results: Results) -> None:
    (results.raw / "original_desen_age.csv").write_text("0,1,,3\n")
    (results.raw / "notes.csv").write_text("1,2\n")


def allow_bad_rows(results: Results) -> None:
    results.config["corpora"]["ttl"]["max_bad_rows"] = 5


def expect_what_is_there(results: Results) -> None:
    from userbench.results.artifact import sha256

    checksums = {name: sha256(results.raw / name) for name in FILES}
    results.config["corpora"]["ttl"]["sha256"] = checksums


@pytest.mark.parametrize(
    "change", [move, pack, touch, put_beside, allow_bad_rows, expect_what_is_there]
)
def test_content_that_stays_makes_nothing_run_again(results, change):
    """Wrong: days of training, as a folder was moved, or a file put beside those that are read."""
    change(results)
    assert results.planned() == {}


def test_another_task_is_read_and_fine_tuned_and_nothing_else(results):
    """Wrong: it trains every encoder again; or a run does not that holds out the task's users."""
    results.config["tasks"]["again"] = {**results.config["tasks"]["gender"], "source": "gender"}
    assert results.planned() == {"task": 1, "task_split": 1, "pretrain": 1, "finetune_ttl": 3}


def change(path: Path, old: str, new: str) -> None:
    """Change a file, and let it be older than before, as unpacking may."""
    stat = path.stat()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))


def test_other_content_makes_all_of_it_run_again(results):
    """Wrong: results of data that are not there any more."""
    change(results.raw / "original_desen_finetune_click_nouserID.csv", "5", "6")
    of_task = {"task": 1, "task_split": 1, "pretrain": 1, "finetune_ttl": 3}
    assert results.planned() == of_task
    change(results.raw / "original_desen_pretrain.csv", "1", "2")
    assert results.planned() == {
        **{"behaviours": 1, "user_split": 1, "task": 2, "task_split": 2},
        **{"pretrain": 2, "finetune_ttl": 3},
    }


@pytest.mark.parametrize("allowed", [1, 2])
def test_what_would_now_be_refused_is_read_again(results, allowed):
    """Wrong: fewer bad lines are allowed than there are, and no message says so."""
    from userbench.results.artifact import sha256

    made = results.checkout / "results/fresh/data/ttl/tasks/click/manifest.json"
    name = "original_desen_finetune_click_nouserID.csv"
    results.config["corpora"]["ttl"]["max_bad_rows"] = allowed
    manifest = {"bad_rows": 2, "raw": {"click": {"sha256": sha256(results.raw / name)}}}
    made.write_text(json.dumps(manifest))
    assert results.planned().get("task", 0) == (allowed < 2)
    results.config["corpora"]["ttl"]["sha256"] = {"original_desen_gender.csv": "0" * 64}
    assert results.planned()["task"] == 1 + (allowed < 2)
    made.unlink()


def test_a_missing_raw_file_is_reported_before_anything_runs(results):
    """Wrong: a job of its own finds that out, after those before it."""
    (results.raw / "original_desen_gender.csv").unlink()
    with pytest.raises(
        AssertionError, match=r"corpora\.ttl: .*holds no original_desen_gender\.csv"
    ):
        results.call("-n")


def test_large_files_are_not_read_twice(tmp_path, monkeypatch):
    """Wrong: every dry run reads gigabytes; or a damaged cache stops all of them."""
    from userbench.data.format import find_file
    from userbench.data.raw_bytes import checksum
    from userbench.workflow import raw as module

    path, cache = tmp_path / "original_desen_pretrain.csv", tmp_path / ".snakemake/known.json"
    path.write_text("0,1\n")
    read = []
    monkeypatch.setattr(module, "checksum", lambda *of: read.append(of) or checksum(*of))

    def content() -> str:
        return module.cached_checksum(find_file(tmp_path, "ttl", "pretrain"), cache)

    first = content()
    assert content() == first == checksum(path, "") and len(read) == 1
    path.write_text("0,2\n")
    assert content() != first and len(read) == 2
    for damage in ("", "[]", '{"a": 3}', cache.read_text()[:-9]):
        cache.write_text(damage)
        assert content() == checksum(path, "")
    assert len(read) == 6
