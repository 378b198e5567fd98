"""Small experiments from logs of events, in the layouts that researchers have, to their tables."""

import csv
import datetime
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT
from snakemake_calls import job_counts, snakemake

from userbench.report.audit import command as audit

USERS, ITEMS = 120, 40
RATINGS = {"files": ["ratings.dat"], "columns": ["user", "item", "rating", "time"]}
PEOPLE = {"files": ["users.dat"], "columns": ["user", "gender", "age"], "user": "user"}
INTER = {"files": ["ml.inter"], "user": "user_id", "item": "item_id", "time": "timestamp"}
TRAINED = {"lr": 1.0e-2, "batch_size": 32}


def write_logs(folder: Path) -> None:
    """The same behaviour in three layouts: `::` lines, atomic files, Parquet with texts as ids."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(8, 16, USERS)
    users = np.repeat(np.arange(1, USERS + 1), lengths)
    items = (draw.integers(0, ITEMS // 2, len(users)) + users * 7 % (ITEMS // 2)) % ITEMS + 1
    times = 1_420_000_000 + draw.integers(0, 10_000_000, len(users))
    ratings = draw.integers(1, 6, len(users))
    rows = list(zip(users, items, ratings, times, strict=True))
    genders = ["FM"[user * 7 % (ITEMS // 2) >= ITEMS // 4] for user in range(1, USERS + 1)]
    for name in ("dat", "atomic", "parquet"):
        (folder / name).mkdir(parents=True)
    lines = ["::".join(map(str, row)) for row in rows]
    (folder / "dat/ratings.dat").write_text("\n".join(lines) + "\n")
    lines = [f"{user}::{gender}::{25 + user % 3}" for user, gender in enumerate(genders, 1)]
    (folder / "dat/users.dat").write_text("\n".join(lines) + "\n")
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    lines = [header, *("\t".join(map(str, row)) for row in rows)]
    (folder / "atomic/ml.inter").write_text("\n".join(lines) + "\n")
    lines = ["user_id:token\tgender:token", *(f"{u}\t{g}" for u, g in enumerate(genders, 1))]
    (folder / "atomic/ml.user").write_text("\n".join(lines) + "\n")
    clicks = {
        "user": [f"u{user}" for user in users],
        "item": [f"i{item}" for item in items],
        "at": [datetime.datetime.fromtimestamp(int(time), datetime.UTC) for time in times],
    }
    pq.write_table(pa.table(clicks), folder / "parquet/clicks.parquet")
    coupons = {
        "user": [f"u{user}" for user in range(1, USERS + 1)],
        "coupon": [f"c{user * 7 % 9}" for user in range(1, USERS + 1)],
        "part": [("train", "train", "validation", "test")[user % 4] for user in range(USERS)],
    }
    pq.write_table(pa.table(coupons), folder / "parquet/coupons.parquet")


def config(folder: Path) -> dict:
    """An experiment on the three logs, one cut by last events, one by days, one not at all."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    roles = {"user": "user", "item": "item", "time": "time", "time_unit": "s"}
    ratings = {**RATINGS, **roles, "filter": {"rating": ">= 2"}}
    clicks = {"files": ["clicks.parquet"], "user": "user", "item": "item", "time": "at"}
    logs = {
        "dat": {"events": {"rating": ratings}, "min_user_events": 4, "hold_out": {"last": 3}},
        "atomic": {"events": {"inter": INTER | {"time_unit": "s"}}, "max_length": 10},
        "parquet": {
            "label": "Clicks",
            "events": {"click": clicks},
            "hold_out": {
                "train_from": datetime.date(2015, 3, 15),
                "validation_from": datetime.date(2015, 4, 1),
                "test_from": datetime.date(2015, 4, 10),
            },
        },
    }
    tasks = {
        "gender": ("dat", "binary", {"labels": PEOPLE | {"label": "gender"}}),
        "age": ("dat", "classification", {"labels": PEOPLE | {"label": "age"}}),
        "next": ("dat", "top_n", {"next_item": {"exclude_seen": True}}),
        "sex": (
            "atomic",
            "binary",
            {"labels": {"files": ["ml.user"], "user": "user_id", "label": "gender"}},
        ),
        "coupon": (
            "parquet",
            "top_n",
            {
                "targets": {
                    "files": ["coupons.parquet"],
                    **{"user": "user", "item": "coupon", "part": "part"},
                }
            },
        ),
        "click": ("parquet", "top_n", {"next_item": {}}),
    }
    return {
        **{key: smoke[key] for key in ("splits", "encoder", "pretrain", "finetune")},
        **{"experiment": "logs", "seeds": [0], "device": "cpu"},
        "corpora": {
            name: {"format": "events", "raw": str(folder / name), **log}
            for name, log in logs.items()
        },
        "tasks": {
            name: {"corpus": corpus, "kind": kind, "label": name.title(), **source, **TRAINED}
            for name, (corpus, kind, source) in tasks.items()
        },
        "runs": {"none": {"label": "None"}, "mlm": {"method": "mlm"}},
        "table2": {"rows": ["none", "mlm"], "compared_with": "none"},
    }


@pytest.mark.long
def test_three_layouts_of_logs_run_to_their_tables(checkout, tmp_path, capsys):
    """Wrong: a layout reaches no table, or a change of one log runs the others again."""
    write_logs(tmp_path)
    asked = config(tmp_path)
    path = tmp_path / "logs.yaml"
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    words = ["--configfile", str(path), "--", "results/table2.csv"]
    status, output = snakemake(checkout, *words)
    assert status == 0, output
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    for task in asked["tasks"]:
        for run in ("none", "mlm"):
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
    assert (
        float(rows["bag-of-items"]["gender.mean"]) > 70
    )  # ids of users and labels belong together
    with (checkout / "results/table1.csv").open() as file:
        described = [(row["dataset"], row["task"]) for row in csv.DictReader(file)]
    assert described == [
        *[("dat", task) for task in ("", "Gender", "Age", "Next")],
        *[("atomic", task) for task in ("", "Sex")],
        *[("Clicks", task) for task in ("", "Coupon", "Click")],
    ]
    page = (checkout / "results/table2.md").read_text()
    for note in (
        "dat: everybody's last 3 events are asked for",
        "Clicks: all events from 2015-03-15 on are asked for",
        "Coupon: its parts are those of the column part",
        "Next: items that a user's input holds are no candidates",
    ):
        assert note in page
    audit.main([str(checkout / "results/logs")])
    assert "everything can be traced" in capsys.readouterr().out
    status, output = snakemake(checkout, "-n", *words)
    assert status == 0 and "Nothing to be done" in output
    with (tmp_path / "atomic/ml.inter").open("a") as file:
        file.write("1\t2\t3\t1420000000\n")
    status, output = snakemake(checkout, "-n", *words)
    counts = job_counts(output)
    assert (counts["events_corpus"], counts["events_task"], counts["pretrain"]) == (1, 1, 1)
    assert not counts.keys() & {"finetune_dat", "finetune_parquet"}
    shutil.rmtree(checkout / "results")
