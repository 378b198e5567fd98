"""The comparison with RecBole, with a process in RecBole's place that only answers."""

import json
import sys

import pandas as pd
import pytest

from benchmarks import peer, peer_ours, peer_page
from userbench.training.cpu_memory import CAPACITY

ANSWERING = """
import json, sys
from pathlib import Path
setting = json.loads(sys.argv[1])
lines = Path("peer/peer.train.inter").read_text().splitlines()
versions = {"recbole": "1.2.1", "torch": "2.13.0", "checks": setting["checks"]}
loading = {"seconds": 2.0, "memory_gib": 0.5}
print(json.dumps({"ready": {"loading": loading, "versions": versions, "machine": {}}}), flush=True)
for _ in sys.stdin:
    seconds = 2.0 if setting["checks"] else 1.0
    rows = [{"users": len(lines) - 1, "seconds": seconds, "memory_gib": 1.0}]
    print(json.dumps({"rows": rows}), flush=True)
"""


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """Every side answers without torch."""
    script = tmp_path / "answering.py"
    script.write_text(ANSWERING)

    def start(side, args, folder):
        setting = {"checks": side == "recbole_as_shipped"}
        words = [sys.executable, str(script), json.dumps(setting)]
        return peer.Worker({"side": side}, words, threads=1, folder=folder)

    monkeypatch.setattr(peer, "start", start)
    return script


def call(tmp_path, *flags):
    peer.main(["--python", sys.executable, "--out", str(tmp_path / "out"), *flags])


def test_run_writes_rows_page_and_what_it_was_made_on(tmp_path, answering):
    """Two turns of three sides, each process fresh for every loading."""
    call(tmp_path, "--users", "130", "--repetitions", "2", "--loads", "2")
    frame = pd.read_csv(tmp_path / "out/peer.csv")
    assert frame.groupby(["what", "side"]).size().tolist() == [2] * 6
    trained = frame[frame["what"] == "training"]
    assert list(trained["side"]) == [*peer_page.SIDES] * 2  # in turns
    assert set(trained["users"]) == {130}  # all of them are in the file
    recorded = json.loads((tmp_path / "out/peer.csv.provenance.json").read_text())
    assert recorded["sides"]["recbole_as_shipped"]["checks"]
    assert not recorded["sides"]["recbole"]["checks"]
    page = (tmp_path / "out/peer.md").read_text()
    assert "| the same, as shipped | 65 | 2 | **2.0** | 2.0 to 2.0 | 1.00 |" in page
    assert "| RecBole | 2.00 | 1.0 | 0.50 |" in page
    assert "RecBole 1.2.1" in page


def test_both_files_hold_the_same_users(tmp_path):
    """Every line of ours without its zeros, in RecBole's columns; the target is the last item."""
    peer.write_users(tmp_path, 20)
    ours = (tmp_path / "raw/original_desen_pretrain.csv").read_text().splitlines()
    head, *theirs = (tmp_path / "peer/peer.train.inter").read_text().splitlines()
    assert head.split("\t") == ["user_id:token", "item_id_list:token_seq", "item_id:token"]
    assert len(ours) == len(theirs) == 20
    for user, (line, row) in enumerate(zip(ours, theirs, strict=True)):
        items = [item for item in line.split(",") if item != "0"]
        assert row.split("\t") == [str(user), " ".join(items), items[-1]]


def test_our_side_reads_the_file_and_trains(tmp_path, monkeypatch):
    monkeypatch.setenv(CAPACITY, "16")  # which it would set for all tests after this one
    peer.write_users(tmp_path, 20)
    setting = {**peer.MODEL, "items": 400, "dim": 16, "batch_size": 8}
    answers = peer_ours.trained({**setting, "seed": 0, "seconds": 1e-9, "data": str(tmp_path)})
    ready = next(answers)
    assert ready["loading"]["seconds"] > 0 and ready["loading"]["memory_gib"] > 0
    (row,) = next(answers)
    assert row["users"] == 8 and row["seconds"] > 0
    assert next(answers)[0]["users"] in (4, 8)  # the last batch of an epoch is what is left


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[rows["side"] != "recbole"], "no row of loading recbole"),
        (lambda rows: rows.assign(seconds=0), "not above 0"),
        (lambda rows: rows.assign(users="many"), "could not convert"),
        (lambda rows: rows.drop(columns="repetition"), "'repetition'"),
    ],
)
def test_nonsense_is_refused(tmp_path, change, message):
    sides = [(what, side) for what in ("loading", "training") for side in peer_page.SIDES]
    rows = pd.DataFrame(sides, columns=["what", "side"])
    rows = rows.assign(repetition=0, users=1, seconds=1.0, memory_gib=1.0)
    path = tmp_path / "peer.csv"
    rows.to_csv(path, index=False)
    assert len(peer_page.read(path)) == 6
    change(rows).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"{path}: .*{message}.*make peer"):
        peer_page.read(path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--users", "5"], "--users 5"),
        (["--loads", "0"], "--repetitions and --loads"),
        (["--python", "absent/python"], "--python absent/python: not there. Run make peer"),
    ],
)
def test_flags_that_cannot_be_measured(tmp_path, flags, message):
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        call(tmp_path, *flags)


def test_peer_that_dies_is_one_line(tmp_path, answering):
    answering.write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="^error: ours: the process ended with status 3"):
        call(tmp_path, "--users", "130")
    assert not (tmp_path / "out").exists()
