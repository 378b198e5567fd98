"""Inputs of users, damaged at random: one clear line or the right content, never a traceback.

The whole of it is `make fuzz`; a sample runs here.
"""

import copy
import json
import os
import random
import re
from pathlib import Path

import fuzz
import fuzz_events
import pytest
import yaml
from config_check import check_config
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import ROOT
from stores import write_store


@pytest.fixture
def quick(monkeypatch):
    """Stores without the state of git, which takes longer than reading."""
    from userbench.data import arrays

    monkeypatch.setattr(arrays, "environment", dict)


def test_damaged_files_are_refused_with_their_line_or_read_as_they_are(quick):
    """If wrong: a traceback, a wrong line number, a partial store, or a row that is not in it."""
    outcomes = fuzz.fuzz(400, seed=0)
    assert outcomes.keys() == {"read", "line refused", "file refused"}
    assert min(outcomes.values()) > 10  # else the fuzzer damages too much, or too little


def test_damaged_logs_of_events_are_refused_with_their_line_or_read_as_they_are(quick):
    """As above, for logs in text or Parquet, compressed or in a zip, read by their columns."""
    outcomes = fuzz_events.fuzz(40, seed=0)
    assert outcomes.keys() == {"read", "line refused", "file refused"}


def test_undamaged_files_are_read(quick, tmp_path):
    for seed in range(20):
        corpus = fuzz.valid(random.Random(seed))
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = fuzz.placed(random.Random(1), corpus, folder)  # a folder, all files there
        assert fuzz.examine(corpus, path, folder / "store", 40) == "read"


ANYTHING = st.binary(max_size=40) | st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace"))


@given(
    lines=st.lists(ANYTHING | st.sampled_from([b"0,1,2", b"7,8,9"]), min_size=1, max_size=5),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
    block=st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_any_text_at_all_is_read_or_refused(tmp_path_factory, lines, encoding, block):
    """Arbitrary bytes as lines: hypothesis looks for what the mutations do not think of."""
    from userbench.data import arrays

    folder = tmp_path_factory.mktemp("any")
    text = b"\n".join(lines)
    text = text if encoding == "utf-8" else text.decode("latin-1").encode(encoding)
    good = {"pretrain": b"0,1,2\n7,8,9\n", "age": b"0,1,2,,3\n", "click": b"7,8,9,,4,5\n"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "environment", dict)
        for source in good:
            corpus = fuzz.Corpus("ttl", {**good, source: text}, 0)
            place = folder / source
            for name, content in corpus.files.items():
                path = place / "raw" / f"{fuzz.find_source('ttl', name).stem}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            fuzz.examine(corpus, place / "raw", place / "store", block)


@pytest.mark.slow
def test_bombs_are_refused_in_little_memory(tmp_path):
    """If wrong: a file that is too large in some way takes the machine with it."""
    lines = dict.fromkeys(fuzz.BOMBS, 1) | {"columns": 21}
    for kind, message in fuzz.explode(tmp_path, fuzz.ROOM).items():
        place = rf"{kind}/raw/original_desen_pretrain\.csv:{lines[kind]}: "
        assert re.search(rf"{place}.*\. [A-Z].*$", message), message


# ------------------------------------------------------------------------- what the workflow reads


VALUES = [None, True, -1, 0, 1.5, 1e400, 10**400, "", "..", "a/b", "x\n", "é", [], {}, [[]], "none"]
NAMES = ["", "..", "-x", "a b", "a\n", "none", "mlm", "sead", 3, None, True]


def places(content, above=()):
    """Every key and index in a config, as a path."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def changed(content, chance: random.Random):
    """A config with one thing taken out, renamed, or replaced."""
    content = copy.deepcopy(content)
    *above, key = chance.choice(list(places(content)))
    parent = content
    for step in above:
        parent = parent[step]
    how = chance.randrange(4)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[chance.choice(NAMES)] = parent.pop(key)
    elif how == 2:
        parent[key] = chance.choice(NAMES)
    else:
        parent[key] = chance.choice(VALUES)
    return content


def test_damaged_configs_are_one_line_of_the_file():
    """If wrong: an error in a config is a traceback, or starts a run of something else."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
    check_config(copy.deepcopy(smoke))
    refused = 0
    for seed in range(150):
        chance = random.Random(seed)
        content = changed(smoke, chance)
        if chance.random() < 0.3:
            content = changed(content, chance)
        try:
            check_config(content)
        except ValueError as error:
            refused += 1
            assert str(error).startswith("fuzzed.yaml: "), error
            assert "\n" not in str(error), error
        except Exception as fault:
            raise AssertionError(f"seed {seed}: {fault!r}") from fault
    assert refused > 50


def test_damaged_checkpoints_name_the_file_and_the_remedy(tmp_path):
    """If wrong: safetensors' own words, or tensors that nobody has trained."""
    import torch

    from userbench.training import checkpoint

    path = tmp_path / "seed0" / "epoch1.safetensors"
    tensors = {"items.weight": torch.randn(8, 4), "bias": torch.zeros(3)}
    checkpoint.save(path, tensors, {"seed": 0}, epoch=1)
    whole = path.read_bytes()
    record = path.with_name(path.name + ".provenance.json")
    recorded = record.read_bytes()
    for seed in range(400):
        chance = random.Random(seed)
        damaged, beside = fuzz.in_the_bytes(chance, whole), recorded
        if chance.random() < 0.2:
            damaged = chance.choice([b"", whole[: chance.randrange(len(whole))], whole * 2])
        if chance.random() < 0.5:
            damaged, beside = (
                whole,
                chance.choice([b"", b"[]", b"3", b"\xff", recorded[:-9], b"[" * 9999]),
            )
        if damaged == whole and beside == recorded:
            continue
        path.write_bytes(damaged)
        record.write_bytes(beside)
        with pytest.raises(ValueError, match=r"(?s)epoch1\.safetensors.*: .*again") as error:
            checkpoint.load(path)
        assert type(error.value) is ValueError
        try:
            checkpoint.epoch_of(path)
        except ValueError as error:
            assert re.search("epoch1.safetensors: names no epoch .* again", str(error))


def test_damaged_results_are_refused_by_the_reports(tmp_path):
    """Score files and the table of them: one line that names the file, whatever is in it."""
    from userbench.results.scores import read_score_file, read_scores

    scores = {
        **{"run": "none", "task": "age", "corpus": "ttl", "seed": 0, "kind": "classification"},
        **{"metric": "accuracy", "width": 16, "best": {"pretrain_epoch": 0, "epoch": 1}},
        "examples": {"train": 3, "validation": 1, "test": 1},
        "scores": [
            {"pretrain_epoch": 0, "epoch": 1, "split": "test", "metric": "accuracy", "value": 0.5}
        ],
    }
    table = "corpus,run,task,seed,metric,split,pretrain_epoch,start,epoch,examples,width,value\n"
    table += "ttl,none,age,0,accuracy,test,0,1,1,1,16,0.5\n"
    for name, text, read in (
        ("seed0.json", json.dumps(scores), read_score_file),
        ("scores.csv", table, read_scores),
    ):
        path = tmp_path / name
        for seed in range(200):
            path.write_bytes(fuzz.in_the_bytes(random.Random(seed), text.encode()))
            try:
                read(path)
            except ValueError as error:
                assert str(path) in str(error), (seed, error)
                assert re.search("(again|once|Remove|Make it)", str(error)), error


def test_names_that_no_terminal_shows_stay_in_their_line(quick, tmp_path):
    """If wrong: a line end, or a byte that is no text, in a name breaks the list of bad lines."""
    deep = Path(os.fsdecode(os.fsencode(tmp_path / "raw") + b"/a\n\xff"))
    deep.mkdir(parents=True)
    (deep / f"{fuzz.find_source('ttl', 'pretrain').stem}.csv").write_bytes(b"1,2\nx,3\n")
    write_store(tmp_path / "raw", "ttl", {}, tmp_path / "store", max_bad_rows=1)
    listed = (tmp_path / "store/behaviours/bad_rows.tsv").read_text(encoding="utf-8").splitlines()
    assert len(listed) == 2 and r"raw/a\n\udcff/" in listed[1]
