"""What jobs ask a cluster for: by the plan where there is one, more in each attempt."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from repository import ROOT
from snakemake_calls import config_flags, snakemake

from userbench.workflow import device as workflow_device


def rules(folder, executor="local", **given):
    """The functions of resources.smk, beside a config."""
    asked = {"device": "auto", "gres": None, "jobs_per_gpu": 1}
    asked |= {"limit_minutes": 9, "seeds_together": False}
    names = {
        **{"OUT": str(folder), "Path": Path, "sys": sys, "SEEDS": [0, 1, 2]},
        **{"SOURCE": "a.yaml", "or_stop": lambda ask, *words: ask(*words)},
        "CONFIG": SimpleNamespace(**asked | given),
        "shell": SimpleNamespace(prefix=lambda text: None),
        "workflow": SimpleNamespace(
            global_resources={},
            local_exec=executor == "local",
            remote_exec=executor == "a job of a cluster",
            is_main_process=True,
        ),
    }
    exec((ROOT / "workflow/rules/resources.smk").read_text(), names)
    return SimpleNamespace(**names)


def planned(folder, *jobs):
    """A plan as `userbench plan` writes it."""
    (folder / "plan.json").write_text(json.dumps({"jobs": jobs}))


def job(run="clue", corpus="ttl", seeds=2, minutes=100, gigabytes=3):
    stage = {"stage": "pretrain", "run": run, "corpus": corpus, "seeds": seeds}
    return {**stage, "seconds": 60.0 * minutes, "memory": gigabytes * 1e9, "disk": 0.0}


CLUE = SimpleNamespace(run="clue", corpus="ttl")


def test_time_and_memory_are_those_of_the_plan(tmp_path):
    """Time by the seeds of the job, not of the job that was planned; memory of one."""
    planned(tmp_path, job(), job(minutes=90), job(corpus="app", minutes=5), job("mlm", minutes=7))
    one = rules(tmp_path).needs("pretrain")
    three = rules(tmp_path, seeds_together=True).needs("pretrain")
    assert one["runtime"](CLUE, 1) == 15 + 2 * 50
    assert three["runtime"](CLUE, 1) == 15 + 2 * 150
    assert three["runtime"](CLUE, 3) == 3 * (15 + 2 * 150)
    assert one["mem_mb"](CLUE, 1) == three["mem_mb"](CLUE, 1) == 1000 + 2 * 3000
    assert one["mem_mb"](CLUE, 2) == 2 * (1000 + 2 * 3000)


def test_what_is_not_planned_has_a_default(tmp_path):
    """No plan, a run that was finished when it was made, a corpus as the run of its own jobs."""
    for plan in ([], [job(run="mlm")]):
        if plan:
            planned(tmp_path, *plan)
        found = rules(tmp_path).needs("pretrain")
        assert found["runtime"](CLUE, 1) == 24 * 60 and found["runtime"](CLUE, 2) == 48 * 60
        assert found["mem_mb"](CLUE, 2) == 16_000
    planned(tmp_path, {**job(run="ttl", seeds=1, minutes=3), "stage": "behaviours"})
    read = rules(tmp_path, seeds_together=True)  # reads data once, whatever the seeds
    assert read.needs("behaviours")["runtime"](SimpleNamespace(corpus="ttl"), 1) == 15 + 2 * 3


def test_a_plan_that_is_none_is_one_line(checkout):
    words = ["-n", *config_flags(checkout), "results/table2.csv"]
    folder = checkout / "results/smoke"
    folder.mkdir(parents=True)
    for text in ("{", "[]", '{"jobs": [{"stage": "pretrain"}]}'):
        (folder / "plan.json").write_text(text)
        status, output = snakemake(checkout, *words)
        assert status != 0 and "Traceback" not in output
        assert "results/smoke/plan.json: is not a plan. Remove it, or make it" in output
    shutil.rmtree(checkout / "results")


@pytest.mark.parametrize(
    ("executor", "given", "on_gpu_host", "gpus", "gres", "device"),
    [
        ("local", {}, False, 0, None, "cpu"),
        ("local", {}, True, 1, None, "cuda"),
        ("local", {"gres": "shard:2"}, True, 1, None, "cuda"),
        ("local", {"device": "cuda:2"}, False, 1, None, "cuda:2"),
        # The submit host has no GPU; nor must the flags of a job depend on where it runs.
        ("slurm", {}, False, 1, None, "cuda"),
        ("a job of a cluster", {}, False, 1, None, "cuda"),
        ("slurm", {"device": "cpu", "gres": "shard:2"}, True, 0, None, "cpu"),
        ("slurm", {"gres": "shard:2"}, False, 0, "shard:2", "cuda"),
    ],
)
def test_who_asks_for_a_gpu(
    tmp_path, monkeypatch, capsys, executor, given, on_gpu_host, gpus, gres, device
):
    """Torch is asked at most once, and only where trainings run on this machine by `auto`."""
    here = workflow_device.Chosen("cuda" if on_gpu_host else "cpu", "what torch answered")
    ask = Mock(return_value=here)
    monkeypatch.setattr(workflow_device, "chosen_device", ask)
    found = rules(tmp_path, executor=executor, **given)
    asked = found.needs("finetune", "ttl")
    assert (asked["gpu"](CLUE), asked["gres"](CLUE), found.device(CLUE)) == (gpus, gres, device)
    assert not found.needs("behaviours").keys() & {"gpu", "gres"}
    by_torch = executor == "local" and "device" not in given
    said = "Device auto: what torch answered.\n" if by_torch else ""
    assert ask.call_count == by_torch and capsys.readouterr().err == said
