"""The frozen table in the workflow: vectors that are made, and vectors that are given."""

import json
import os
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT
from snakemake_calls import job_counts, snakemake

SMOKE = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
SMALL = {
    **{key: SMOKE[key] for key in ("splits", "encoder", "pretrain", "seeds_together")},
    **{"experiment": "frozen", "seeds": [0, 1], "device": "cpu"},
    "corpora": {"ttl": SMOKE["corpora"]["ttl"]},
    "finetune": {"epochs": 1, "from_epochs": [1, 2]},
    "tasks": {name: SMOKE["tasks"][name] for name in ("age", "click")},
    "runs": {"none": {"label": "None"}, "mlm": {"method": "mlm"}},
    "frozen": {"rows": ["none", "mlm"], "compared_with": "none", "epochs": 3},
}
TARGET = "results/frozen.csv"


def with_given(pattern, **frozen):
    """The small config with a row of given vectors."""
    runs = {**SMALL["runs"], "mine": {"vectors": str(pattern), "label": "Mine"}}
    rows = SMALL["frozen"] | {"rows": ["none", "mlm", "mine"]} | frozen
    return {**SMALL, "runs": runs, "frozen": rows}


def call(folder, config, *words):
    """What Snakemake says of the frozen table of a config."""
    path = folder / "frozen.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    status, output = snakemake(folder, *words, "--configfile", str(path), "--", TARGET)
    assert status == 0, output
    return output


def write_vectors(path, values):
    ids = pa.array(range(len(values)))
    table = pa.table({"user": ids, "vector": pa.array(list(values))})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_every_row_has_its_vectors_and_all_have_the_same_head(checkout, tmp_path):
    """Wrong: a row has more chances than another, another head, or vectors of another seed."""
    for seed in SMALL["seeds"]:
        write_vectors(tmp_path / f"ttl/seed{seed}.parquet", np.full((3, 2), seed, np.float32))
    config = with_given(tmp_path / "{corpus}/seed{seed}.parquet", head="mlp")
    output = call(checkout, config, "-n", "-p")
    counts = job_counts(output)
    expected = {"embed_none": 1, "embed_mlm": 1, "counts": 1, "heads_ttl": 3, "item_counts_ttl": 1}
    assert expected.items() <= counts.items()
    assert not {"finetune_ttl", "table2", "embed_mine"} & counts.keys()
    commands = re.findall(r"python -m userbench (frozen|embed) (.*) > ", output)
    heads = {
        re.search(r"--run (\S+)", line)[1]: line for name, line in commands if name == "frozen"
    }
    made = "results/frozen/vectors/{run}/ttl/seed{{seed}}/{kind}{number}.parquet"
    vectors = {
        "none": [made.format(run="none", kind="start", number=n) for n in (1, 2)],
        "mlm": [made.format(run="mlm", kind="epoch", number=n) for n in (1, 2)],
        "mine": [f"{tmp_path}/ttl/seed{{seed}}.parquet"],
        "item-counts": ["results/frozen/vectors/item-counts/ttl/counts.parquet"],
    }
    for run, files in vectors.items():
        found = re.search(r"--vectors (.*) --head mlp --hidden 16 --seed (.*?) --", heads[run])
        assert found[1].replace("'", "").split() == files
        assert found[2] == ("0" if run == "item-counts" else "0 1")
        tasks = [json.loads(text) for text in re.findall(r"--task '(.*?)'", heads[run])]
        assert {(task["name"], task["epochs"]) for task in tasks} == {("age", 3), ("click", 3)}
        assert not {"lr", "dropout"} & {key for task in tasks for key in task}
    (untrained,) = [line for name, line in commands if name == "embed" and "--run none" in line]
    assert "--starts 2" in untrained and "--checkpoint" not in untrained


def test_a_given_file_that_is_missing_is_one_line(tmp_path):
    """Wrong: hours of pre-training end at a name that was misspelt."""
    from userbench.experiment.check import read_experiment, resolve_checked
    from userbench.workflow.vectors import check_given

    def refused(pattern):
        config = read_experiment(with_given(pattern), "a.yaml")
        resolved, _ = resolve_checked(config, "a.yaml", asks=False)
        with pytest.raises(ValueError) as problem:
            check_given(resolved, "a.yaml")
        assert "\n" not in str(problem.value)
        return str(problem.value)

    assert "vectors are .parquet or .npy files" in refused(tmp_path / "v.csv")
    path = tmp_path / "ttl.0.npy"
    pattern = tmp_path / "{corpus}.{seed}.npy"
    assert refused(pattern).startswith(f"a.yaml: runs.mine.vectors: {path}: does not exist. ")
    path.write_bytes(b"x")
    assert f"{path}: no file of ids beside it. Write the id of each row to" in refused(pattern)
    for kind in ("npy", "txt"):
        path.with_suffix(f".ids.{kind}").write_bytes(b"x")
    assert f"{path}: several files of ids beside it" in refused(pattern)
    path.with_suffix(".ids.txt").unlink()
    assert "ttl.1.npy: does not exist" in refused(pattern)


def test_given_vectors_are_known_by_their_content(tmp_path, monkeypatch):
    """Wrong: vectors are made anew and the old scores stay, or a moved file trains all again."""
    from userbench.workflow.vectors import given_paths, vectors_content

    def content(folder):
        cache = tmp_path / "cache.json"
        return vectors_content("runs.mine.vectors", [str(folder / "v.npy")], cache)

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    for name in ("v.npy", "v.ids.txt"):
        (first / name).write_text(name)
    shutil.copytree(first, second)
    os.utime(second / "v.npy", (0, 0))
    assert content(first) == content(second)
    for name in ("v.npy", "v.ids.txt"):
        before = content(second)
        (second / name).write_text(f"another {name}")
        assert content(second) != before
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_paths("~/{corpus}.npy", "ttl", [0, 1]) == [f"{tmp_path}/ttl.npy"]
    assert given_paths("~nobody-here/a.npy", "ttl", [0]) == ["~nobody-here/a.npy"]
    assert given_paths("{seed}.npy", "ttl", "{seed}") == ["{seed}.npy"]


@pytest.mark.long
def test_vectors_given_in_again_get_the_scores_of_their_run(checkout, tmp_path):
    """Wrong: what is given is read otherwise than what is made, or changes go unseen."""
    small = {**SMALL, "finetune": {"epochs": 1, "from_epochs": [2]}}
    call(checkout, small)
    folder = checkout / "results/frozen"
    for seed in SMALL["seeds"]:
        made = folder / f"vectors/mlm/ttl/seed{seed}/epoch2.parquet"
        (tmp_path / "ttl").mkdir(exist_ok=True)
        shutil.copy(made, tmp_path / f"ttl/seed{seed}.parquet")
    pattern = tmp_path / "{corpus}/seed{seed}.parquet"
    config = {**with_given(pattern), "finetune": small["finetune"]}
    assert job_counts(call(checkout, config))["heads_ttl"] == 1
    for task in SMALL["tasks"]:
        for seed in SMALL["seeds"]:
            files = [folder / f"frozen/{run}/{task}/seed{seed}.json" for run in ("mlm", "mine")]
            own, again = (json.loads(file.read_text()) for file in files)
            assert again == own | {"run": "mine"}
            tables = [pq.read_table(file.with_suffix(".predictions.parquet")) for file in files]
            assert tables[0].equals(tables[1])
    table = (checkout / "results/frozen.md").read_text()
    assert "| Mine |" in table and "- Vectors that were given: Mine." in table

    given = tmp_path / "ttl/seed1.parquet"
    given.write_bytes(given.read_bytes())
    assert "Nothing to be done" in call(checkout, config, "-n")
    users = pq.read_table(given).num_rows
    write_vectors(given, np.random.default_rng(0).normal(size=(users, 5)).astype(np.float32))
    counts = job_counts(call(checkout, config, "-n"))
    assert counts["heads_ttl"] == 1 and not {"pretrain", "embed_mlm"} & counts.keys()
    shutil.rmtree(checkout / "results")
