"""The workflow as its users call it: dry runs, clear refusals, and one tiny whole run."""

import csv
import gc
import json
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

ROOT = Path(__file__).parent.parent
ROWS = [
    "none",
    "peterrec",
    "ptum",
    "clue",
    "ccl",
    "idicl",
    "cl4srec",
    "coserec",
    "duorec",
    "adaptssr",
]
SCRIPTS = Path(sys.executable).parent


# Why: loading Snakemake takes as long as a dry run. Calls are forked from a process that has loaded
# it, and nothing of ours; what they do after that is what the command does.
LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(["snakemake.cli", "snakemake.report", "pydantic", "pytest"])


def snakemake(folder, *words, **environment):
    """Call snakemake on the package in `folder`; return exit status and everything it said."""
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith("USERBENCH_")},
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    with tempfile.NamedTemporaryFile("r") as said:
        asked = (folder, ["--cores", "2", *words], variables, said.name)
        call = LOADED.Process(target=call_snakemake, args=asked)
        call.start()
        call.join()
        return call.exitcode, said.read()


def call_snakemake(folder, words, variables, said):
    """`snakemake` in a process that has loaded it, as if it had just been started in `folder`."""
    from snakemake.cli import main

    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = ["", *variables["PYTHONPATH"].split(os.pathsep)]
    sys.argv = [str(SCRIPTS / "snakemake"), *words]
    main()


FIGURES = ("figure3", "figure4", "figure5", "figure6", "figure7", "learning_curves")


def config(folder, **changes):
    """The smoke config with changes, as a file; where runs are others, without the figures."""
    content = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    if "runs" in changes:
        for study in ("ablation", "combination", "similarity", "worlds", "labels", "fairness"):
            del content[study]
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return ["--configfile", str(path), "--"]


def refusal(config: Path, text: str) -> str:
    """What the workflow says of a config, in this process: starting another takes seconds."""
    config.write_text(text)
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[config]),
                snakefile=ROOT / "Snakefile",
                workdir=config.parent,
            ).list_rules()
    except WorkflowError as refused:
        return str(refused)
    finally:
        with warnings.catch_warnings():  # Snakemake leaves a temporary folder to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return ""


def job_counts(said):
    """Jobs per rule, from the table that a dry run prints."""
    lines = [line.split() for line in said.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def test_default_config_plans_the_whole_table(checkout):
    """Ten rows x 5 seeds x 2 corpora; MLM is trained once, is PeterRec, and starts seven others."""
    status, said = snakemake(checkout, "-n", "results/table2.csv")
    assert status == 0, said
    counts = job_counts(said)
    assert counts["pretrain"] == 9 * 2  # a process takes all seeds
    assert counts["finetune_ttl"] == counts["finetune_app"] == 10
    for rule in ("simulate", "behaviours", "user_split", "neighbours"):
        assert counts[rule] == 2
    assert counts["task"] == counts["task_split"] == 6
    assert not counts.keys() & {"page", "notebook"}  # the table needs no browser's library
    assert not {"similarity", "figure4", "figure_scores"} & counts.keys()


def test_default_config_plans_the_figures(checkout):
    """Nine runs beside those of the table: five without a component, four with other views."""
    names = ["ablation.csv", "figure3.pdf", "figure4.svg", "figure5.png"]
    status, said = snakemake(checkout, "-n", "-p", *[f"results/{name}" for name in names])
    assert status == 0, said
    counts = job_counts(said)
    # Of the table's rows: mlm, ccl, cl4srec, coserec, duorec, adaptssr; the others for figure 5.
    assert counts["pretrain"] == (9 + 9) * 2 - 3  # ptum, clue and idicl on TTL alone
    assert counts["similarity"] == 9 * 5
    assert counts["finetune_ttl"] == counts["finetune_app"] == 5 + 9
    assert "table2" not in counts
    (contrast,) = {
        line
        for line in said.splitlines()
        if "--seed 0 1 2 3 4" in line and "--out results/default/pretrain/contrast/ttl/seed" in line
    }
    default = yaml.safe_load((ROOT / "workflow/config/default.yaml").read_text())
    assert (
        "--method cl4srec" in contrast
        and json.dumps(default["runs"]["adaptssr"]["overrides"]["views"]) in contrast
    )


@pytest.mark.parametrize(
    ("name", "figure", "finetunes"),
    [("diversity", "figure6", 9 * 5), ("labels", "figure7", 2 * 5 * 3)],
)
def test_studies_of_their_own_are_planned(checkout, name, figure, finetunes):
    """Worlds are corpora, shares of the labels are runs, which share their encoder."""
    words = ["-n", "--configfile", f"workflow/config/{name}.yaml", "--", f"results/{figure}.pdf"]
    status, said = snakemake(checkout, *words)
    assert status == 0, said
    counts = job_counts(said)
    assert sum(n for rule, n in counts.items() if rule.startswith("finetune")) == finetunes
    assert counts["pretrain"] == {"diversity": 9 * 5, "labels": 2 * 4}[name]


def test_tuning_plans_equal_budgets(checkout, tmp_path):
    """As many trials for every row: eight on the simulated world, four on the excerpt."""
    words = ["-n", "--configfile", "workflow/config/tune.yaml", "--", "results/tuning.csv"]
    status, said = snakemake(checkout, "-p", *words)
    assert status == 0, said
    counts = job_counts(said)
    assert counts["finetune_ttl"] == 8 * 9
    # Trials of the warm start itself start cold, or its learning rate would not be what is tuned.
    (start,) = {line for line in said.splitlines() if "--out results/tune/pretrain/mlm--2/" in line}
    assert "--init" not in start
    assert counts["pretrain"] == 8 * 9 + 1  # and the warm start
    for name in ("pretrain", "gender", "finetune_click_nouserID", "finetune_like_nouserID"):
        (tmp_path / f"original_desen_{name}.csv").write_text("0,1\n")
    words[2] = "workflow/config/tune10k.yaml"
    status, said = snakemake(checkout, *words, USERBENCH_TTL10K=str(tmp_path))
    assert job_counts(said)["finetune_excerpt"] == 4 * 9


def test_sensitivity_runs_every_other_choice_of_the_ledger(checkout):
    """One run per choice that is not the current one; fine-tuning switches share its encoder."""
    words = ["-n", "--configfile", "workflow/config/sensitivity.yaml", "--"]
    status, said = snakemake(checkout, "-p", *words, "results/ambiguities.md")
    assert status == 0, said
    # The control of the test users is a run like any other choice, and both are counted.
    by_run = {f"adaptssr--test_users-{n}": flag for n, flag in enumerate(("", "-others"), start=1)}
    for run, flag in by_run.items():
        own = [
            line
            for line in said.splitlines()
            if f"--out results/sensitivity/pretrain/{run}/" in line
        ]
        assert len(own) == 2
        assert sum(f"--hold-out{flag} age life_status click like " in line for line in own) == 1
    (effects,) = re.findall(r"userbench effects .* --curves (.*?) --experiment", said)
    assert set(effects.split()) == {
        f"results/sensitivity/pretrain/{run}/{corpus}/seed{seed}/curve.json"
        for run in by_run
        for corpus in ("ttl", "app")
        for seed in (0, 1, 2)
    }
    ledger = yaml.safe_load((ROOT / "src/userbench/experiment/ledger.yaml").read_text())
    asked = yaml.safe_load((ROOT / "workflow/config/sensitivity.yaml").read_text())
    others = {"pretrain": 0, "finetune": 0}
    for entry in ledger:
        if entry["where"] != "none" and "methods" not in entry:
            current = asked["protocol"].get(entry["key"], entry["default"])
            others[entry["stage"]] += sum(c["value"] != current for c in entry["choices"])
    counts = job_counts(said)
    assert counts["finetune_ttl"] == 1 + others["pretrain"] + others["finetune"]
    assert counts["pretrain"] == 2 * (2 + others["pretrain"])  # and AdaptSSR, and its start


def test_sensitivity_of_another_method_runs_its_own_switches(checkout):
    """Wrong: AdaptSSR's switches are set for a method that lacks them, or its own are left out."""
    words = config(checkout, sensitivity="duorec", seeds=[0])
    status, said = snakemake(checkout, "-n", "-p", *words, "results/ambiguities.md")
    assert status == 0, said
    ledger = yaml.safe_load((ROOT / "src/userbench/experiment/ledger.yaml").read_text())
    of_adaptssr = [e["id"] for e in ledger if e["where"] == "method" and "methods" not in e]
    assert not any(f"duorec--{entry}" in said for entry in of_adaptssr)
    trained = {
        name: json.loads(changes)
        for changes, name in re.findall(
            r"--set '(.*?)' .*--out results/smoke/pretrain/duorec--(\w+)-1/ttl/", said
        )
    }
    assert trained["compared_dropout"] == {"dropout": 0.5}
    assert trained["compared_lr"] == {"lr": 0.001}
    assert trained["contrast_similarity"] == {"similarity": "cosine", "temperature": 0.2}
    assert "warm_start" in said and trained["order"] == {}


@pytest.mark.parametrize(
    ("checkpoint", "candidates"), [("validation", 2), ("first", 1), ("last", 1)]
)
def test_a_run_without_pretraining_has_as_many_candidates(checkout, checkpoint, candidates):
    """Wrong: rows choose the best of two checkpoints, and None has but one chance."""
    words = config(checkout, protocol={"checkpoint": checkpoint}, seeds=[0])
    status, said = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, said
    tuned = re.findall(r"userbench finetune .* --run (\w+) .*", said)
    lines = [line for line in said.splitlines() if "userbench finetune " in line]
    assert len(tuned) == len(lines) == 10 * 2
    for run, line in zip(tuned, lines, strict=True):
        of_checkpoints = re.findall(r"epoch\d\.safetensors", line)
        if run == "none":
            assert f"--starts {candidates} " in line and not of_checkpoints
        else:
            assert "--starts" not in line and len(of_checkpoints) == candidates


def test_a_run_may_have_its_own_batch_size(checkout):
    """An ablation of the batch size is data; the runs beside it keep the experiment's."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    runs = {name: smoke["runs"][name] for name in ("none", "mlm", "adaptssr")}
    runs["adaptssr"] = {**runs["adaptssr"], "batch_size": 16}
    table = {"rows": ["none", "adaptssr"], "compared_with": "none"}
    words = config(checkout, runs=runs, table2=table, seeds=[0])
    status, said = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, said
    sizes = {
        method: set(re.findall(rf"--method {method} .*--batch-size (\d+)", said))
        for method in ("mlm", "adaptssr")
    }
    assert sizes == {"mlm": {"64"}, "adaptssr": {"16"}}


def test_control_runs_wait_for_the_fairness_table(checkout):
    """Wrong: Table 2 costs two more trainings per seed, or a page is without the controls."""
    words = ["-n", "-p", *config(checkout, seeds=[0])]
    status, said = snakemake(checkout, *words, "results/table2.csv")
    assert status == 0, said
    assert job_counts(said)["pretrain"] == 9 * 2
    assert "fairness" not in job_counts(said) and "pretrain/mlm_long" not in said
    for target in ("results/fairness.md", "results/report.html"):
        status, said = snakemake(checkout, *words, target)
        assert status == 0, said
        assert job_counts(said)["fairness"] == 1
        assert "finetune/mlm_long/age/seed0.json" in said
        assert "finetune/ptum_warm/cvr/seed0.json" in said
    (call,) = {line for line in said.splitlines() if "userbench fairness" in line}
    for run in ("mlm", "mlm_long", "ptum_warm"):
        assert f"pretrain/{run}/ttl/seed0/curve.json" in call


def test_how_a_gpu_is_used_is_told_to_both_loops(checkout):
    """A key that reached one of them only would compare encoders of two precisions."""
    words = config(checkout, precision="bf16", capture="graph", seeds=[0])
    status, said = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, said
    loops = [
        line for line in said.splitlines() if re.search(r"userbench (pretrain|finetune) ", line)
    ]
    assert len(loops) == 9 * 2 + 10 * 2
    assert all("--precision bf16 --capture graph" in line for line in loops)


def test_figure_5_encodes_as_the_config_says(checkout):
    """Wrong: a key of the study is lost, or dropout is in other places than in pre-training."""
    study = {"corpus": "ttl", "rows": ["cl4srec", "adaptssr"]}
    for keys, flags in (
        ({"encode": "training"}, "--encode training --seed"),
        ({"encode": "evaluation", "dropout": 0.3}, "--encode evaluation --dropout 0.3 --seed"),
    ):
        protocol = {"attention_dropout": False}
        words = config(checkout, seeds=[0], similarity={**study, **keys}, protocol=protocol)
        status, said = snakemake(checkout, "-n", "-p", *words, "results/figure5.pdf")
        assert status == 0, said
        measured = [line for line in said.splitlines() if "userbench similarity " in line]
        assert len(measured) == 2
        assert all(flags in line for line in measured)
        assert all('"attention_dropout": false' in line for line in measured)


def test_paper_config_without_app_says_so(checkout, tmp_path):
    """T5 and T6 stay empty where App is absent, in one line; they are never simulated."""
    stems = ("pretrain", "age", "lifestatus", "finetune_click_nouserID", "finetune_like_nouserID")
    for stem in stems:
        (tmp_path / f"original_desen_{stem}.csv").write_text("0,1\n")
    words = ["-n", "--configfile", "workflow/config/paper.yaml", "--", "results/table2.csv"]
    status, said = snakemake(checkout, *words, USERBENCH_TTL=str(tmp_path))
    assert status == 0, said
    assert "Corpus app is absent (no folder set): gender, cvr stay empty." in said
    counts = job_counts(said)
    assert counts["finetune_ttl"] == 10 * 5
    assert "simulate" not in counts
    assert "finetune_app" not in counts


GPU = [f"workflow/config/{name}.yaml" for name in ("gpu", "cut")]


def test_gpu_config_is_the_papers_on_simulated_worlds():
    """Runs, tasks, table and figures; a setting that went astray would be another experiment's."""
    paper, gpu = (
        yaml.safe_load((ROOT / f"workflow/config/{name}.yaml").read_text())
        for name in ("paper", "gpu")
    )
    for key in ("splits", "tasks", "runs", "table2", "ablation", "combination", "similarity"):
        assert gpu[key] == paper[key], key
    assert gpu["pretrain"]["batch_size"] == paper["pretrain"]["batch_size"]
    assert {**gpu["encoder"], "max_length": 150} == paper["encoder"]
    assert all("overrides" not in corpus["simulate"] for corpus in gpu["corpora"].values())


@pytest.mark.parametrize(
    ("files", "seeds", "items", "how"),
    [
        (GPU[:1], 3, ["4047", "88000"], "--precision bf16 --capture graph"),
        (GPU, 1, ["4047", "880"], "--precision fp32 --capture none"),
    ],
)
def test_gpu_config_and_its_cut_are_planned(checkout, files, seeds, items, how):
    """Twenty pre-trainings on two corpora; the cut is the same but for its size and its device."""
    status, said = snakemake(checkout, "-n", "-p", "--configfile", *files)
    assert status == 0, said
    counts = job_counts(said)
    assert counts["pretrain"] == 20 * 2 * seeds
    assert counts["finetune_ttl"] == counts["finetune_app"] == 21 * seeds
    assert counts["similarity"] == 9 * seeds
    assert {"table2", "figure3", "figure4", "figure5", "statistics"} <= counts.keys()
    assert sorted(re.findall(r"--items (\d+)", said)) == items
    loops = re.findall(r"userbench (?:pretrain|finetune) .*", said)
    assert len(loops) == (20 + 21) * 2 * seeds
    assert all(how in loop for loop in loops)


@pytest.mark.long
def test_the_cut_of_the_gpu_config_runs_to_its_tables_and_figures(checkout):
    """All of its runs on a CPU; here with fewer users and one epoch of everything."""
    smaller = {
        "corpora": {name: {"simulate": {"users": 300}} for name in ("ttl", "app")},
        "pretrain": {"epochs": 1},
        "finetune": {"epochs": 1, "from_epochs": [1]},
    }
    (checkout / "smaller.yaml").write_text(yaml.safe_dump(smaller))
    status, said = snakemake(checkout, "--configfile", *GPU, "smaller.yaml")
    assert status == 0, said
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*ROWS, "bag-of-items", "popularity"]
    for task in ("age", "life_status", "click", "like", "gender", "cvr"):
        for run in ROWS:
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
    assert "SIMULATED" in (checkout / "results/table2.md").read_text()
    for figure in ("figure3", "figure4", "figure5", "learning_curves"):
        assert (checkout / f"results/{figure}.pdf").stat().st_size > 10_000
    shutil.rmtree(checkout / "results")


@pytest.mark.parametrize("name", ["paper", "ttl10k"])
def test_absent_real_data_is_one_clear_line(checkout, name):
    words = ["-n", "--configfile", f"workflow/config/{name}.yaml", "--", "results/table2.csv"]
    status, said = snakemake(checkout, *words)
    assert status != 0
    assert "corpora.ttl: the folder of the real data is not set" in said
    assert "Traceback" not in said
    status, said = snakemake(checkout, *words, USERBENCH_TTL="/absent", USERBENCH_TTL10K="/absent")
    assert status != 0
    assert "/absent does not exist" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": [1]}, "top level: unknown key 'sead'; did you mean 'seeds'?"),
        ({"verify": {"margin": {"T1": 1}}}, "verify.margin: 'T2' is missing"),
        ({"protocol": {"test_users": "held_out"}}, "runs.coserec.inputs: neighbours of all users"),
    ],
)
def test_config_mistakes_stop_before_anything_runs(checkout, changes, message):
    """All of them are in test_experiment.py; here, that the workflow asks and says the line."""
    _, path, _ = config(checkout, **changes)
    assert message in refusal(Path(path), Path(path).read_text())


def test_config_mistakes_are_told_without_a_traceback(checkout):
    status, said = snakemake(checkout, "-n", *config(checkout, sead=[1]), "results/table2.csv")
    assert status != 0
    assert "unknown key 'sead'; did you mean 'seeds'?" in said
    assert "Traceback" not in said
    assert not (checkout / "results").exists()


def test_a_method_refuses_at_the_dry_run(checkout):
    """Wrong: a misspelt hyper-parameter is found after hours, by the job that reads it."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    runs = {**smoke["runs"], "cl4srec": {"method": "cl4srec", "overrides": {"temprature": 1.0}}}
    words = ["-n", *config(checkout, runs=runs), "results/table2.csv"]
    status, said = snakemake(checkout, *words)
    assert status != 0 and "Traceback" not in said
    assert "runs.cl4srec.overrides: userbench.methods.cl4srec has no hyper-parameter" in said
    assert not (checkout / "results").exists()


def test_a_broken_method_that_nobody_uses_stops_nobody(checkout):
    """Wrong: a method that a colleague has begun keeps her from every table."""
    broken = checkout / "src/userbench/methods/begun.py"
    broken.write_text("class Config(:\n")
    status, said = snakemake(checkout, "-n", *config(checkout), "results/table2.csv")
    assert status == 0, said
    used = {"none": {}, "begun": {"method": "begun", "init_from": "none"}}
    table = {"rows": ["none", "begun"], "compared_with": "none"}
    words = ["-n", *config(checkout, runs=used, table2=table), "results/table2.csv"]
    status, said = snakemake(checkout, *words)
    broken.unlink()
    assert status != 0 and "runs.begun.method: " in said and "Traceback" not in said


@pytest.mark.long
def test_tuning_and_sensitivity_run_to_their_pages(checkout):
    """Every switch of the ledger is a run that works, and trials are judged by validation alone."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    changes = {
        "seeds": [0],
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        "tasks": {name: smoke["tasks"][name] for name in ("age", "click")},
        "runs": {name: smoke["runs"][name] for name in ("none", "mlm", "cl4srec", "adaptssr")},
        "table2": {"rows": ["none", "adaptssr"], "compared_with": "none"},
        "tuning": {"cl4srec": [{"similarity": "dot"}, {"similarity": "cosine"}]},
        "sensitivity": "adaptssr",
    }
    words = config(checkout, **changes)
    status, said = snakemake(checkout, *words, "results/tuning.csv", "results/ambiguities.md")
    assert status == 0, said
    with (checkout / "results/tuning.csv").open() as file:
        trials = list(csv.DictReader(file))
    assert {(row["row"], row["trial"]) for row in trials} == {("cl4srec", "1"), ("cl4srec", "2")}
    assert sum(row["chosen"] == "1" for row in trials) == 2  # one trial, two tasks
    with (checkout / "results/smoke/effects.csv").open() as file:
        measured = {(row["entry"], row["value"]) for row in csv.DictReader(file)}
    ledger = yaml.safe_load((ROOT / "src/userbench/experiment/ledger.yaml").read_text())
    assert measured == {
        (entry["id"], json.dumps(choice["value"]))
        for entry in ledger
        if entry["where"] != "none" and "methods" not in entry
        for choice in entry["choices"][1:]
    }
    assert "SIMULATED" in (checkout / "results/ambiguities.md").read_text().upper()
    shutil.rmtree(checkout / "results")


def check_page_and_notebooks(checkout, options):
    """They tell of this very run, and the command that a cell tells runs just that cell again."""
    status, said = snakemake(checkout, *options, "results/report.html", "notebooks")
    assert status == 0, said
    table = (checkout / "results/notebooks/table2.html").read_text()
    assert "SIMULATED" in table and "AdaptSSR" in table and "Kendall" in table
    page = (checkout / "results/report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', page)[1])
    assert len(data["cells"]) == 10 * 6 + 2 * 4 + 2
    (seed,) = data["cells"]["adaptssr/click"]["seeds"]
    for key, expected in (
        ("again", {"finetune_ttl": 1, "total": 1}),
        ("again_all", {"finetune_ttl": 1, "pretrain": 2, "total": 3}),
    ):
        program, *words = shlex.split(seed[key])
        assert program == "snakemake"
        status, said = snakemake(checkout, "-n", *words)
        assert status == 0, said
        assert job_counts(said) == expected
    status, said = snakemake(checkout, "--report", "told.html", *options, "results/table2.csv")
    assert status == 0, said
    assert "sample standard deviation over seeds" in (checkout / "told.html").read_text()


def audit(checkout):
    """Status of `userbench audit results`, and what it said."""
    run = subprocess.run(
        [sys.executable, "-m", "userbench", "audit", "results"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stdout + run.stderr


def check_audit(checkout):
    """Nothing to say of a whole run; then one digit, bit, cell and record, each by its name."""
    status, said = audit(checkout)
    assert (status, "everything can be traced" in said) == (0, True), said
    folder = checkout / "results/smoke"
    score, cell = folder / "finetune/clue/age/seed0.json", folder / "statistics.csv"
    bit = folder / "pretrain/duorec/app/seed0/epoch1.safetensors"
    record = folder / "finetune/none/click/seed0.json.provenance.json"
    kept = {path: path.read_bytes() for path in (score, cell, bit, record)}
    value = re.search(rb'"test",\s+"metric": "accuracy",\s+"value": 0\.\d', kept[score])[0]
    other = value[:-1] + (b"1" if value.endswith(b"2") else b"2")
    score.write_bytes(kept[score].replace(value, other))
    bit.write_bytes(kept[bit][:-1] + bytes([kept[bit][-1] ^ 1]))
    cell.write_bytes(re.sub(rb"(\d\.\d+),", rb"\g<1>7,", kept[cell], count=1))
    record.unlink()
    status, said = audit(checkout)
    assert status == 1
    for path, what in (
        (score, "was changed"),
        (cell, "row 2, mean"),
        (bit, "was changed"),
        (folder / "finetune/duorec/gender/seed0.json", "was made from another"),
        (record.with_name("seed0.json"), "no provenance record"),
    ):
        assert f"{path.relative_to(checkout)}: {what}" in said, said
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")))
def test_notebooks_are_short_and_keep_no_output(notebook):
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert 1 <= len(cells) <= 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.long
def test_seeds_together_make_the_same_files(checkout):
    """Who shared the process must show in provenance alone; asked again, nothing is made again."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    changes = {
        "corpora": {"ttl": smoke["corpora"]["ttl"]},
        "tasks": {name: smoke["tasks"][name] for name in ("age", "click")},
        "runs": {name: smoke["runs"][name] for name in ("none", "mlm", "ccl")},
        "table2": {"rows": ["none", "ccl"], "compared_with": "none"},
    }

    def call(*words, seeds):
        target = [*config(checkout, **changes, seeds=seeds), "results/table2.csv"]
        status, said = snakemake(checkout, *words, *target)
        assert status == 0, said
        return said

    def trained():
        folder = checkout / "results/smoke"
        files = [*folder.glob("pretrain/**/seed*/*"), *folder.glob("finetune/**/seed*.json")]
        return {path: path.read_bytes() for path in files if "provenance" not in path.name}

    together = ["--config", "seeds_together=true"]
    apart = ["--config", "seeds_together=false"]
    counts = job_counts(call(*together, seeds=[0, 1, 2]))
    assert counts["pretrain"] == counts["finetune_ttl"] == 2  # mlm and ccl, none and ccl
    made = trained()
    assert len(made) == 2 * 3 * 3 + 2 * 3 * 2 + 3  # encoders, scores, baselines
    assert "Nothing to be done" in call("-n", *together, seeds=[0, 1, 2])

    for name in ("pretrain", "finetune"):
        shutil.rmtree(checkout / "results/smoke" / name)
    assert job_counts(call(*apart, seeds=[0, 1, 2]))["pretrain"] == 6
    assert trained() == made
    # One more seed, each in a process of its own: the others stay as they are.
    assert job_counts(call("-n", *apart, seeds=[0, 1, 2, 3]))["pretrain"] == 2
    shutil.rmtree(checkout / "results")


def test_settings_of_the_machine_are_checked(checkout):
    for setting, message in (
        ("seeds_together=some", "seeds_together: 'some' should be a valid boolean"),
        ("gres=shard", "gres: 'shard' should match"),
    ):
        words = ["-n", "--config", setting, *config(checkout), "results/table2.csv"]
        status, said = snakemake(checkout, *words)
        assert status != 0 and message in said and "Traceback" not in said


@pytest.mark.long
def test_smoke_run_from_raw_files_to_table(checkout):
    """Every rule once; then nothing is left to do; then an edit reruns what it can affect."""
    target = [*config(checkout, seeds=[0]), "results/table2.csv", "results/agreement.csv"]
    status, said = snakemake(checkout, *target)
    assert status == 0, said
    with (checkout / "results/table2.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*ROWS, "bag-of-items", "bag-of-items-long", "popularity"]
    for task in ("age", "life_status", "click", "like", "gender", "cvr"):
        for run in ROWS:
            assert 0 <= float(rows[run][f"{task}.mean"]) <= 100
            assert rows[run][f"{task}.seeds"] == "1"
    assert [rows[run]["width"] for run in ("none", "idicl", "adaptssr")] == ["16", "64", "16"]
    assert rows["none"]["data"] == "simulated"
    for kind in ("md", "tex", "html"):
        page = (checkout / f"results/table2.{kind}").read_text()
        assert "SIMULATED" in page
        assert "IDICL - Reconstruction" in page  # as its own file says
    assert "one seed has no spread" in (checkout / "results/statistics.md").read_text()
    said = (checkout / "results/headline.md").read_text()
    assert "No row can be compared with None: one seed has no spread." in said
    assert said in (checkout / "results/table2.md").read_text()
    with (checkout / "results/verdict.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [cell["verdict"] for cell in cells] == ["not comparable"] * 60
    told = json.loads((checkout / "results/table2.csv.provenance.json").read_text())
    assert told["userbench"]

    status, said = snakemake(checkout, *target)
    assert status == 0
    assert "Nothing to be done" in said

    check_page_and_notebooks(checkout, target[:-2])
    with (checkout / "results/smoke/fairness.csv").open() as file:
        lines = {line["run"]: line for line in csv.DictReader(file)}
    assert list(lines) == [*ROWS, "mlm_long", "ptum_warm"]
    behind = {run: (line["epochs"], line["passes"]) for run, line in lines.items()}
    assert behind["none"] == ("0", "0.0") and behind["adaptssr"] == ("4", "4.0")
    assert behind["mlm_long"] == ("4", "1.0") and lines["ptum"]["start"] == "random"
    assert "PTUM (random; 1 to 2; 2)" in (checkout / "results/table2.md").read_text()
    # The figures, of the same runs and few more.
    drawn = [f"results/{figure}.pdf" for figure in FIGURES]
    status, said = snakemake(checkout, *target, *drawn)
    assert status == 0, said
    for figure in FIGURES:
        numbers = "ablation" if figure == "figure4" else figure
        with (checkout / f"results/{numbers}.csv").open() as file:
            assert {row["data"] for row in csv.DictReader(file)} == {"simulated"}
        assert (checkout / f"results/{figure}.svg").stat().st_size > 10_000
    with (checkout / "results/figure7.csv").open() as file:
        shares = {(row["run"], row["share"]) for row in csv.DictReader(file)}
    assert ("adaptssr--labels-30", "0.3") in shares and ("none", "1.0") in shares
    told = json.loads(
        (checkout / "results/smoke/finetune/none--labels-30/age/seed0.json").read_text()
    )
    whole = json.loads((checkout / "results/smoke/finetune/none/age/seed0.json").read_text())
    for part in ("train", "validation"):  # rounded, and at least one of each class
        few, some = told["examples"][part], 0.3 * whole["examples"][part]
        assert abs(few - some) < 8 < whole["examples"][part]
    assert told["examples"]["test"] == whole["examples"]["test"]
    check_audit(checkout)
    _, said = snakemake(checkout, *target, *drawn)
    assert "Nothing to be done" in said

    def rerun_after_edit(path):
        source = checkout / "src/userbench" / path
        source.write_text(source.read_text() + "\n# edited\n")
        _, said = snakemake(checkout, "-n", *target)
        source.write_text(source.read_text().removesuffix("\n# edited\n"))
        return job_counts(said)

    counts = rerun_after_edit("methods/adaptssr.py")
    assert counts["pretrain"] == 2  # no other method
    assert counts["finetune_ttl"] == 1
    counts = rerun_after_edit("report/tables/table2.py")
    assert "pretrain" not in counts and "finetune_ttl" not in counts
    counts = rerun_after_edit("model/metrics.py")
    assert "pretrain" not in counts
    assert counts["finetune_ttl"] == 10
