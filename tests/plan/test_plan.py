import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from repository import ROOT
from small_runs import SMALL
from snakemake_calls import config_flags, job_counts, snakemake

TRAIN = (
    "exec python -m userbench pretrain --store results/x/data/ttl"
    " --splits results/x/splits/user/ttl --hold-out age"
    ' --method {run} --set \'{{"views": {{"generator": "results/x/g.st"}}}}\' --init {init}'
    " --keep 1 3 --seed {seed} --out results/x/pretrain/{run}/ttl/seed{seed}"
    " --state results/x/states/pretrain.{run}.ttl.seed{seed}"
)
DRY_RUN = """
Job 3: Read the raw files
Shell command: python -m userbench ingest behaviours --raw results/x/raw \
--out {store}/behaviours > log

Shell command: python -m userbench ingest task --raw results/x/raw --source age \
--behaviours {store}/behaviours --out {store}/tasks/age > log

Shell command: python -m userbench split users --behaviours {store}/behaviours \
--out {splits}/users > log

Shell command: python -m userbench split examples --examples {store}/tasks/age \
--out {splits}/tasks/age > log

Shell command: cp results/x/table2.csv results/ 2> log
"""


def job(run, seed=0, init=""):
    from userbench.plan.jobs import parse_jobs

    return next(parse_jobs("Shell command: " + TRAIN.format(run=run, seed=seed, init=init)))


def test_jobs_of_a_dry_run():
    from userbench.plan.jobs import parse_jobs

    store, splits = "results/x/data/ttl", "results/x/splits/user/ttl"
    made = [*parse_jobs(DRY_RUN.format(store=store, splits=splits))]
    assert [job.stage for job in made] == ["behaviours", "task", "user_split", "task_split"]
    assert {(job.run, job.corpus, job.store) for job in made} == {("ttl", "ttl", store)}
    parts = [f"{store}/behaviours", f"{store}/tasks/age", f"{splits}/users", f"{splits}/tasks/age"]
    assert [job.outputs for job in made] == [[part] for part in parts]
    needed = [job.inputs for job in made]
    assert needed == [["results/x/raw"], ["results/x/raw", parts[0]], [parts[0]], [parts[1]]]
    start = "results/x/pretrain/mlm/ttl/seed1/epoch3.safetensors"
    trained = job("clue", seed=1, init=start)
    assert (trained.stage, trained.run, trained.corpus) == ("pretrain", "clue", "ttl")
    assert {start, *parts} <= {*trained.inputs}  # of age, as its test users are held out
    assert trained.flags["keep"] == ["1", "3"]


def test_jobs_that_read_a_log():
    """Wrong: examples are planned before the log is read, or its parts belong to no store."""
    from userbench.plan.jobs import parse_jobs

    store = "results/x/data/ml"
    said = f"""
Shell command: python -m userbench events corpus --raw /log --settings '{{"a": "b > c"}}' \
--out {store} > log 2>&1
Shell command: python -m userbench events task --raw /log --settings '{{}}' --store {store} \
--out {store}/tasks/next
"""
    log, examples = parse_jobs(said)
    assert [log.stage, examples.stage] == ["events_corpus", "events_task"]
    assert {(job.run, job.corpus, job.store) for job in (log, examples)} == {("ml", "ml", store)}
    assert log.outputs == [f"{store}/{part}" for part in ("behaviours", "ids", "held_out")]
    assert examples.outputs == [f"{store}/tasks/next"]
    assert log.outputs[0] in examples.inputs


def test_jobs_that_cost_the_same_are_measured_once():
    from userbench.plan.probes import key_of

    assert key_of(job("clue", seed=0)) == key_of(job("clue", seed=1))
    other = job("clue")
    words = [word.replace("g.st", "other.st") for word in other.words]
    assert key_of(replace(other, words=words)) == key_of(other)
    words = [word.replace('"views"', '"lr": 0.5, "views"') for word in other.words]
    assert key_of(replace(other, words=words)) != key_of(other)
    assert key_of(job("clue")) != key_of(job("mlm"))


@pytest.mark.parametrize(
    ("more", "candidates"),
    [([], 1), (["--starts", "3"], 3), (["--init", "a/epoch1.st", "a/epoch2.st"], 2)],
)
def test_every_candidate_is_planned(tiny, monkeypatch, more, candidates):
    """Wrong: a row that starts several times is planned as if it started once."""
    from userbench.plan import probes
    from userbench.plan.jobs import Job

    monkeypatch.setattr(probes, "seconds_of_task", lambda *_: 10.0)
    words = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    words += ["--encoder", SMALL, "--run", "x", "--seed", "0", "--device", "cpu"]
    for name in ("age", "gender"):
        task = {"name": name, "kind": "classification", "lr": 0.01, "batch_size": 64, "epochs": 1}
        words += ["--task", json.dumps({**task, "out": f"{name}.json"})]
    assert probes.probe_finetune([*words, *more], 1.0)[0] == 2 * 10.0 * candidates
    keys = {probes.key_of(Job("finetune", [*words, *some])) for some in ([], more)}
    assert len(keys) == 1 + bool(more)  # or one of both would have the cost of the other


def test_what_is_given_as_a_file_is_left_out():
    from userbench.plan.probes import without_files

    given = {"lr": 1e-3, "views": {"generator": "results/x/g.safetensors", "max_ratio": 0.3}}
    assert without_files(given) == {"lr": 1e-3, "views": {"max_ratio": 0.3}}


def test_what_a_gpu_is_to_do_is_planned_for_a_cpu_without_it():
    """No step could be measured otherwise; and the plan reports it."""
    from userbench.plan.jobs import on_a_cpu

    asked = job("clue")
    fast = ["--precision", "bf16", "--capture", "graph"]
    cpu, gpu = (
        replace(asked, words=[*asked.words, "--device", device, *fast])
        for device in ("cpu", "cuda")
    )
    assert cpu.wants_gpu == {"precision": "bf16", "capture": "graph"}
    assert on_a_cpu(cpu).words[-4:] == ["--precision", "fp32", "--capture", "none"]
    assert on_a_cpu(cpu).wants_gpu == gpu.wants_gpu == asked.wants_gpu == {}
    assert on_a_cpu(gpu) == gpu


def test_captured_steps_are_measured_as_the_loops_take_them(tiny, monkeypatch):
    """Uncaptured, a step of a GPU takes several times as long, and the plan would be of those."""
    from recorded_steps import Recorded

    from userbench import encoders, pretrain
    from userbench.plan import probes

    monkeypatch.setattr(probes, "SECONDS_PER_PROBE", 0.0)
    recorded = []

    def captured(step, capture):
        if capture == "none":
            return step
        recorded.append(Recorded(step))
        return recorded[-1]

    monkeypatch.setattr(probes, "captured", captured)
    for module in (pretrain, encoders):
        monkeypatch.setattr(module, "accelerate", lambda *_: None)  # it wants a GPU
    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits"), "--encoder", SMALL]
    common = [*data, "--seed", "0", "--device", "cpu"]
    size = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--out", "nowhere"]
    task = {"name": "age", "kind": "classification", "lr": 0.01, "batch_size": 64, "epochs": 1}
    words = {
        probes.probe_pretrain: [*common, "--method", "clue", *size],
        probes.probe_finetune: [*common, "--run", "x", "--task", json.dumps({**task, "out": "x"})],
    }
    for probe, of in words.items():
        for capture in ("none", "graph"):
            seconds, _ = probe([*of, "--capture", capture], 1.0)
            assert seconds > 0
    assert len(recorded) == 2 and all(graphs.captures > 0 for graphs in recorded)


def test_time_to_capture_is_apart_from_a_step(monkeypatch):
    """A step of 1 s after 40 of which five took 3 s more; in the mean of all it would be 1.4 s."""
    from userbench.plan import probes

    now = [0.0]

    def step(number):
        now[0] += 1.0 + 3.0 * (seen[0] < 5)
        seen[0] += 1

    monkeypatch.setattr(probes, "clock", lambda: now[0])
    seen = [0]
    assert probes.steps_of(step, "graph") == (1.0, 15.0)
    seen = [5]
    assert probes.steps_of(step, "none") == (1.0, 0.0)


def test_larger_corpora_lie_on_the_line_through_two_small_ones():
    from userbench.plan.corpora import Cost, extrapolated

    # 1 s to start and 1 s per 10,000 users; 100 bytes and 20 more per 10,000; no disk at all
    half, whole = Cost(2.0, 120.0, 0.0), Cost(3.0, 140.0, 0.0)
    assert extrapolated(half, whole, times=10.0) == Cost(11.0, 300.0, 0.0)


@pytest.mark.parametrize(("cores", "wall"), [(1, 16), (2, 9), (3, 9), (8, 9)])
def test_jobs_wait_for_their_inputs_and_for_a_core(cores, wall):
    """mlm (5) before adaptssr (4); ptum (3), clue (2) and duorec (2) wait for nothing."""
    from userbench.plan.command import schedule

    start = "results/x/pretrain/mlm/ttl/seed0/epoch3.safetensors"
    jobs = [job("mlm"), job("ptum"), job("clue"), job("duorec"), job("adaptssr", init=start)]
    assert schedule(jobs, [5.0, 3.0, 2.0, 2.0, 4.0], cores) == wall


def test_a_job_of_several_seeds_names_the_files_of_each():
    """Else whoever starts from seed 1's checkpoint would not wait for it."""
    start = "results/x/pretrain/mlm/ttl/seed{seed}/epoch3.safetensors"
    words = job("clue", init=start).words
    words = [word.replace("seed0", "seed{seed}") for word in words]
    words[words.index("--seed") + 1 : words.index("--seed") + 2] = ["0", "1"]
    several = replace(job("clue"), words=words)
    assert several.outputs == [f"results/x/pretrain/clue/ttl/seed{seed}" for seed in (0, 1)]
    assert {start.replace("{seed}", seed) for seed in "01"} <= set(several.inputs)
    assert several.run == "clue"


def test_simplest_of_the_fastest_ways_to_share():
    from userbench.plan.sharing import Sharing, Steps, best, sharings

    alone, pair, beside = Sharing(), Sharing(1, 2), Sharing(2)
    assert sharings(2, on_gpu=False) == [alone, pair]
    assert sharings(1, on_gpu=True) == [alone, beside, Sharing(4)]
    assert best({alone: 101.0, pair: 100.0, beside: 99.5}) == alone
    assert best({alone: 110.0, pair: 100.0, beside: 99.5}) == pair
    assert str(pair) == "--config seeds_together=true"
    assert str(Sharing(4)) == "--config seeds_together=false jobs_per_gpu=4"
    steps = Steps(job("clue"), 1.0, beside={2: 1.5, 4: 2.5})
    ways = (alone, pair, beside, Sharing(3), Sharing(4, 3))
    assert [steps.slowdown(way) for way in ways] == [1.0, 1.0, 1.5, 1.5, 2.5]


def test_jobs_that_share_a_gpu(monkeypatch):
    """Two places halve the time of trainings that are not slowed down by it."""
    import torch

    from userbench.plan.command import schedule

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    jobs = [job("mlm"), job("ptum"), job("clue"), job("duorec")]
    assert schedule(jobs, [2.0] * 4, cores=8) == 8
    assert schedule(jobs, [2.0] * 4, cores=8, jobs_per_gpu=2) == 4


@pytest.mark.parametrize(("on_gpu", "jobs"), [(False, 1), (True, 3)])
def test_the_config_says_how_many_share_a_gpu(tmp_path, monkeypatch, on_gpu, jobs):
    """Wrong: three at a time are planned as one after the other, or on a machine without a GPU."""
    import torch

    from userbench.plan.command import jobs_on_a_gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    shared = tmp_path / "shared.yaml"
    shared.write_text("jobs_per_gpu: 3")
    assert jobs_on_a_gpu([ROOT / "workflow/config/smoke.yaml", shared]) == jobs


@pytest.mark.long
def test_steps_are_timed_alone_and_beside_each_other(tiny):
    """The probe steps the very loops, and a process that fails ends it with one line."""
    from userbench.plan.corpora import Corpus
    from userbench.plan.jobs import Job
    from userbench.plan.sharing import seconds_per_step

    data = ["--store", str(tiny / "store"), "--splits", "drawn", "--encoder", SMALL]
    size = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--out", "nowhere"]
    of = Corpus(tiny / "store", {"drawn": tiny / "splits"}, 1.0, {})
    words = [*data, "--method", "mlm", "--seed", "0", "--device", "cpu", *size]
    trained = Job("pretrain", words)
    assert seconds_per_step(trained, of) > 0
    assert seconds_per_step(trained, of, processes=2) > 0
    task = {"name": "age", "kind": "classification", "lr": 0.01, "batch_size": 64, "epochs": 1}
    task["out"] = "nowhere"
    words = [*data, "--run", "x", "--seed", "0", "--device", "cpu", "--task", json.dumps(task)]
    assert seconds_per_step(Job("finetune", words), of) > 0
    with pytest.raises(ValueError, match="finetune of x: its steps cannot be timed"):
        broken = Corpus(tiny / "store", {"drawn": tiny / "absent"}, 1.0, {})
        seconds_per_step(Job("finetune", words), broken, processes=2)


def test_page_names_the_largest_first():
    from userbench.plan.command import page
    from userbench.plan.corpora import Cost

    jobs = [job("clue"), job("mlm", seed=0), job("mlm", seed=1)]
    lines = page(
        jobs, [Cost(50.0), Cost(40.0, 2.0**30), Cost(60.0)], wall=100.0, cores=2
    ).splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["mlm", "clue"]
    assert "2      100 s    67%      60 s" in lines[1] and "1.0 GiB" in lines[1]
    assert lines[-1].startswith("3 jobs, 2.5 min of core time; about 100 s on 2 cores")


def plan(folder, *words, **environment):
    """`userbench plan` in a copy of the workflow."""
    return subprocess.run(
        [sys.executable, "-m", "userbench", "plan", *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder / "src"),
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.long
def test_plan_of_a_small_workflow(checkout, tmp_path):
    """As many jobs as Snakemake runs, all with a cost, and nothing is left behind."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    changes = {
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        "tasks": {name: smoke["tasks"][name] for name in ("age", "click")},
        "runs": {name: smoke["runs"][name] for name in ("none", "mlm", "idicl")},
        "table2": {"rows": ["none", "idicl"], "compared_with": "none"},
    }
    words = config_flags(checkout, **changes, similarity={"corpus": "ttl", "rows": ["idicl"]})
    targets = ["results/table2.csv", "results/figure5.pdf"]
    done = plan(
        checkout,
        "--config",
        words[1],
        *("--cores", "2", "--sharing", "--json", str(tmp_path / "plan.json"), *targets),
    )
    assert done.returncode == 0, done.stderr
    assert "The simplest of the fastest: --config seeds_together=" in done.stdout
    assert done.stdout.count(" alone") == 2 and "jobs_per_gpu" not in done.stdout
    assert not (checkout / "results").exists()
    _, output = snakemake(checkout, "-n", *words, *targets)
    counts = job_counts(output)
    found = json.loads((tmp_path / "plan.json").read_text())
    stages = [job["stage"] for job in found["jobs"]]
    assert stages.count("pretrain") == counts["pretrain"] == 2  # both seeds in a process
    assert stages.count("finetune") == counts["finetune_ttl"] == 2
    assert stages.count("similarity") == counts["similarity"] == 2
    assert all(job["seconds"] > 0.1 for job in found["jobs"])
    trained = [job for job in found["jobs"] if job["stage"] == "pretrain"]
    assert all(job["memory"] > 50 * 2**20 and job["disk"] > 4 * 16 * 400 for job in trained)
    total = sum(job["seconds"] for job in found["jobs"])
    longest = max(job["seconds"] for job in found["jobs"])
    assert max(total / 2, longest) <= found["wall_seconds"] <= total
    assert "idicl" in done.stdout and "on 2 cores" in done.stdout
    assert {(job["run"], job["corpus"], job["seeds"]) for job in trained} == {
        (run, "ttl", 2) for run in ("mlm", "idicl")
    }
    # The rules take it as it is (`test_resources.py`: what for).
    (checkout / "results/smoke").mkdir(parents=True)
    shutil.copy(tmp_path / "plan.json", checkout / "results/smoke/plan.json")
    status, output = snakemake(checkout, "-n", *words)
    assert status == 0, output
    shutil.rmtree(checkout / "results")


def test_plan_errors_are_one_line(checkout):
    words = config_flags(checkout, sead=[1])
    done = plan(checkout, "--config", words[1])
    assert done.returncode != 0 and "did you mean 'seeds'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_there_of_splits_is_taken_and_the_rest_is_made(tiny, tmp_path):
    """Wrong: one more task, and a probe of pre-training finds no split of the users."""
    from userbench.data.splits import load_split, load_user_split
    from userbench.plan.corpora import made_from
    from userbench.plan.jobs import Job

    store, splits, again = (str(tiny / name) for name in ("store", "splits", "splits/tasks/again"))
    one = ["examples", "--examples", f"{store}/tasks/age", "--by", "user", "--seed", "0"]
    drawn = Job("split", [*one, "--out", again])
    read = Job("neighbours", ["--store", store, "--splits", splits, "--top", "2"])
    read = replace(read, words=[*read.words, "--out", str(tiny / "neighbours")])
    made = made_from([drawn, read], [drawn, read], tmp_path, store, {})
    assert made.store == tiny / "store" and set(made.costs) == {again, str(tiny / "neighbours")}
    (found,) = made.splits.values()
    assert len(load_user_split(found)) == 200 and len(load_split(found, "click")) > 0
    assert len(load_split(found, "again")) == len(load_split(found, "age"))
    assert not (tiny / "splits/tasks/again").exists() and not (tiny / "neighbours").exists()


@pytest.mark.slow
def test_plan_wants_real_data_to_be_read_first(checkout, tmp_path):
    """How many users and items there are decides the cost, and is not guessed."""
    for name in ("pretrain", "gender", "finetune_click_nouserID", "finetune_like_nouserID"):
        (tmp_path / f"original_desen_{name}.csv").write_text("0,1\n")
    path = str(checkout / "workflow/config/ttl10k.yaml")
    done = plan(checkout, "--config", path, USERBENCH_TTL10K=str(tmp_path))
    assert done.returncode != 0
    assert "results/ttl10k/data/ttl/behaviours is not there yet, and what it holds" in done.stderr


def test_what_starts_a_process_is_counted_by_what_it_does():
    """Wrong: each of fifty trainings is planned without the seconds before its first step."""
    from userbench.plan.corpora import Cost
    from userbench.plan.jobs import Job
    from userbench.plan.probes import Measured, key_of

    trained = job("clue")
    scored = Job("baselines", ["--store", "s", "--seed", "0"])
    probes = {key_of(trained): Cost(10.0), key_of(scored): Cost(1.0)}
    found = Measured({}, probes, starts={"pretrain": 3.0, "baselines": 1.5}, of_report=1.0)
    assert found.cost(trained).seconds == 13.0
    assert found.cost(trained, slowdown=2.0).seconds == 23.0
    assert found.cost(scored).seconds == 2.5
    assert found.cost(Job("table2", [])).seconds == 1.0
