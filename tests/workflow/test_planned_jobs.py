"""The workflow as its users call it: dry runs, clear refusals, and one tiny whole run."""

import json
import re

import pytest
import yaml
from repository import ROOT
from snakemake_calls import config_flags, job_counts, snakemake


def test_default_config_plans_the_whole_table(checkout):
    """Ten rows x 5 seeds x 2 corpora; MLM is trained once, is PeterRec, and starts seven others."""
    status, output = snakemake(checkout, "-n", "results/table2.csv")
    assert status == 0, output
    counts = job_counts(output)
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
    status, output = snakemake(checkout, "-n", "-p", *[f"results/{name}" for name in names])
    assert status == 0, output
    counts = job_counts(output)
    # Of the table's rows: mlm, ccl, cl4srec, coserec, duorec, adaptssr; the others for figure 5.
    assert counts["pretrain"] == (9 + 9) * 2 - 3  # ptum, clue and idicl on TTL alone
    assert counts["similarity"] == 9 * 5
    assert counts["finetune_ttl"] == counts["finetune_app"] == 5 + 9
    assert "table2" not in counts
    (contrast,) = {
        line
        for line in output.splitlines()
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
    status, output = snakemake(checkout, *words)
    assert status == 0, output
    counts = job_counts(output)
    assert sum(n for rule, n in counts.items() if rule.startswith("finetune")) == finetunes
    assert counts["pretrain"] == {"diversity": 9 * 5, "labels": 2 * 4}[name]


def test_tuning_plans_equal_budgets(checkout, tmp_path):
    """As many trials for every row: eight on the simulated world, four on the excerpt."""
    words = ["-n", "--configfile", "workflow/config/tune.yaml", "--", "results/tuning.csv"]
    status, output = snakemake(checkout, "-p", *words)
    assert status == 0, output
    counts = job_counts(output)
    assert counts["finetune_ttl"] == 8 * 9
    # Trials of the warm start itself start cold, or its learning rate would not be what is tuned.
    (start,) = {
        line for line in output.splitlines() if "--out results/tune/pretrain/mlm--2/" in line
    }
    assert "--init" not in start
    assert counts["pretrain"] == 8 * 9 + 1  # and the warm start
    for name in ("pretrain", "gender", "finetune_click_nouserID", "finetune_like_nouserID"):
        (tmp_path / f"original_desen_{name}.csv").write_text("0,1\n")
    words[2] = "workflow/config/tune10k.yaml"
    status, output = snakemake(checkout, *words, USERBENCH_TTL10K=str(tmp_path))
    assert job_counts(output)["finetune_excerpt"] == 4 * 9


def test_sensitivity_runs_every_other_choice_of_the_ledger(checkout):
    """One run per choice that is not the current one; fine-tuning switches share its encoder."""
    words = ["-n", "--configfile", "workflow/config/sensitivity.yaml", "--"]
    status, output = snakemake(checkout, "-p", *words, "results/ambiguities.md")
    assert status == 0, output
    # The control of the test users is a run like any other choice, and both are counted.
    by_run = {f"adaptssr--test_users-{n}": flag for n, flag in enumerate(("", "-others"), start=1)}
    for run, flag in by_run.items():
        own = [
            line
            for line in output.splitlines()
            if f"--out results/sensitivity/pretrain/{run}/" in line
        ]
        assert len(own) == 2
        assert sum(f"--hold-out{flag} age life_status click like " in line for line in own) == 1
    (effects,) = re.findall(r"userbench effects .* --curves (.*?) --experiment", output)
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
    counts = job_counts(output)
    assert counts["finetune_ttl"] == 1 + others["pretrain"] + others["finetune"]
    assert counts["pretrain"] == 2 * (2 + others["pretrain"])  # and AdaptSSR, and its start


def test_sensitivity_of_another_method_runs_its_own_switches(checkout):
    """Wrong: AdaptSSR's switches are set for a method that lacks them, or its own are left out."""
    words = config_flags(checkout, sensitivity="duorec", seeds=[0])
    status, output = snakemake(checkout, "-n", "-p", *words, "results/ambiguities.md")
    assert status == 0, output
    ledger = yaml.safe_load((ROOT / "src/userbench/experiment/ledger.yaml").read_text())
    of_adaptssr = [e["id"] for e in ledger if e["where"] == "method" and "methods" not in e]
    assert not any(f"duorec--{entry}" in output for entry in of_adaptssr)
    trained = {
        name: json.loads(changes)
        for changes, name in re.findall(
            r"--set '(.*?)' .*--out results/smoke/pretrain/duorec--(\w+)-1/ttl/", output
        )
    }
    assert trained["compared_dropout"] == {"dropout": 0.5}
    assert trained["compared_lr"] == {"lr": 0.001}
    assert trained["contrast_similarity"] == {"similarity": "cosine", "temperature": 0.2}
    assert "warm_start" in output and trained["order"] == {}


@pytest.mark.parametrize(
    ("checkpoint", "candidates"), [("validation", 2), ("first", 1), ("last", 1)]
)
def test_a_run_without_pretraining_has_as_many_candidates(checkout, checkpoint, candidates):
    """Wrong: rows choose the best of two checkpoints, and None has but one chance."""
    words = config_flags(checkout, protocol={"checkpoint": checkpoint}, seeds=[0])
    status, output = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, output
    tuned = re.findall(r"userbench finetune .* --run (\w+) .*", output)
    lines = [line for line in output.splitlines() if "userbench finetune " in line]
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
    words = config_flags(checkout, runs=runs, table2=table, seeds=[0])
    status, output = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, output
    sizes = {
        method: set(re.findall(rf"--method {method} .*--batch-size (\d+)", output))
        for method in ("mlm", "adaptssr")
    }
    assert sizes == {"mlm": {"64"}, "adaptssr": {"16"}}


def test_control_runs_and_heads_wait_for_their_tables(checkout):
    """Wrong: Table 2 costs more than its rows, or a page is without the other tables."""
    words = ["-n", "-p", *config_flags(checkout, seeds=[0])]
    status, output = snakemake(checkout, *words, "results/table2.csv")
    assert status == 0, output
    assert job_counts(output)["pretrain"] == 9 * 2
    assert not {"fairness", "frozen", "counts"} & job_counts(output).keys()
    assert "pretrain/mlm_long" not in output
    for target in ("results/fairness.md", "results/report.html"):
        status, output = snakemake(checkout, *words, target)
        assert status == 0, output
        counts = job_counts(output)
        assert counts["fairness"] == 1 and counts.get("frozen", 0) == target.endswith("html")
        assert "finetune/mlm_long/age/seed0.json" in output
        assert "finetune/ptum_warm/cvr/seed0.json" in output
    (call,) = {line for line in output.splitlines() if "userbench fairness" in line}
    for run in ("mlm", "mlm_long", "ptum_warm"):
        assert f"pretrain/{run}/ttl/seed0/curve.json" in call


def test_both_loops_get_the_flags_of_the_gpu(checkout):
    """A key that reached one of them only would compare encoders of two precisions."""
    words = config_flags(checkout, precision="bf16", capture="graph", seeds=[0])
    status, output = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, output
    loops = [
        line for line in output.splitlines() if re.search(r"userbench (pretrain|finetune) ", line)
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
        words = config_flags(checkout, seeds=[0], similarity={**study, **keys}, protocol=protocol)
        status, output = snakemake(checkout, "-n", "-p", *words, "results/figure5.pdf")
        assert status == 0, output
        measured = [line for line in output.splitlines() if "userbench similarity " in line]
        assert len(measured) == 2
        assert all(flags in line for line in measured)
        assert all('"attention_dropout": false' in line for line in measured)


def test_paper_config_without_app_says_so(checkout, tmp_path):
    """T5 and T6 stay empty where App is absent, in one line; they are never simulated."""
    stems = ("pretrain", "age", "lifestatus", "finetune_click_nouserID", "finetune_like_nouserID")
    for stem in stems:
        (tmp_path / f"original_desen_{stem}.csv").write_text("0,1\n")
    words = ["-n", "--configfile", "workflow/config/paper.yaml", "--", "results/table2.csv"]
    status, output = snakemake(checkout, *words, USERBENCH_TTL=str(tmp_path))
    assert status == 0, output
    assert "Corpus app is absent (no folder set): gender, cvr stay empty." in output
    counts = job_counts(output)
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
    ("files", "seeds", "items"),
    [
        (GPU[:1], 3, ["4047", "88000"]),
        (GPU, 1, ["4047", "880"]),
    ],
)
def test_gpu_config_and_its_cut_are_planned(checkout, files, seeds, items):
    """Twenty pre-trainings on two corpora; the cut is the same but for its size and its device."""
    status, output = snakemake(checkout, "-n", "-p", "--configfile", *files)
    assert status == 0, output
    counts = job_counts(output)
    assert counts["pretrain"] == 20 * 2 * seeds
    assert counts["finetune_ttl"] == counts["finetune_app"] == 21 * seeds
    assert counts["similarity"] == 9 * seeds
    assert {"table2", "figure3", "figure4", "figure5", "statistics"} <= counts.keys()
    assert sorted(re.findall(r"--items (\d+)", output)) == items
    loops = re.findall(r"userbench (?:pretrain|finetune) .*", output)
    assert len(loops) == (20 + 21) * 2 * seeds
    # What `auto` stands for is the device's to say: a word here would run every job again.
    assert not any("--precision" in loop or "--capture" in loop for loop in loops)
