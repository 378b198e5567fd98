# Score files -> tables.
# In:  finetune/<run>/<task>/seed<k>.json, manifests of data/<corpus>/
# Out: what the config asks for (table2, verify, tuning, sensitivity), and copies at the root of results/,
#      which are those of the experiment asked for last

TABLES = {
    "table2": "experiment.json scores.csv table1.csv table2.csv table2.md table2.tex table2.html headline.md"
    " agreement.csv statistics.csv statistics.md aggregate.csv aggregate.md",
    "verify": "verdict.csv verdict.md",
    "tuning": "tuning.csv tuning.md",
    "sensitivity": "scores.csv effects.csv ambiguities.md",
}
PUBLISHED = [name for key in TABLES if getattr(CONFIG, key) for name in TABLES[key].split()]
PUBLISHED = list(dict.fromkeys(PUBLISHED))
RECORDED = (".csv", "headline.md", "experiment.json")
PUBLISHED += [f"{name}.provenance.json" for name in PUBLISHED if name.endswith(RECORDED)]
# Apart from the others: Table 2 waits neither for control runs nor for the frozen table.
FAIRNESS = ["fairness.csv", "fairness.md", "fairness.csv.provenance.json"] if CONFIG.table2 else []
FROZEN_TABLES = (
    "frozen_scores.csv frozen.csv frozen.md frozen.tex frozen.html frozen_headline.md"
    " frozen_statistics.csv frozen_statistics.md frozen_aggregate.csv frozen_aggregate.md"
).split()
FROZEN_TABLES += [f"{name}.provenance.json" for name in FROZEN_TABLES if name.endswith(RECORDED)]
FROZEN_TABLES = FROZEN_TABLES if CONFIG.frozen else []
ROWS = CONFIG.table2.rows if CONFIG.table2 else []
STUDIED = [CONFIG.sensitivity, *EXPERIMENT.alternatives] if CONFIG.sensitivity else []
SPECIFICATION = f"{OUT}/experiment.json"


rule experiment:
    """The experiment in one file: every run, and what each table and figure compares."""
    input:
        code=code("report.experiment"),
    output:
        json=SPECIFICATION,
        provenance=f"{SPECIFICATION}.provenance.json",
    log:
        f"{OUT}/logs/experiment.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        config=lambda w: settings.shown(CONFIG),
        absent=ABSENT,
        notes=lambda w: json.dumps(NOTES),
    message:
        "Write what is compared with what"
    shell:
        "python -m userbench experiment --config {params.config:q}"
        " --absent {params.absent:q} --notes {params.notes:q} --out {output.json} > {log} 2>&1"


rule scores:
    """Gather every score of every run, task and seed in one tidy table."""
    input:
        scores=of_runs(SCORE, dict.fromkeys([*ROWS, *STUDIED])),
        baselines=baseline_files(SCORE),
        code=code("results.scores"),
    output:
        csv=f"{OUT}/scores.csv",
        provenance=f"{OUT}/scores.csv.provenance.json",
    log:
        f"{OUT}/logs/scores.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the scores"
    shell:
        "python -m userbench scores --scores {input.scores} {input.baselines}"
        " --out {output.csv} > {log} 2>&1"


rule table2:
    """Table 2: mean and standard deviation over seeds, beside the published values."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/scores.csv",
        statistics=f"{OUT}/statistics.csv",
        agreement=f"{OUT}/agreement.csv",
        curves=curves_behind(ROWS),
        baselines=baseline_files(SCORE),
        code=code("report.tables.table2"),
        templates=templates("table2.md", "table2.tex", "table2.html", "table2.part.html"),
        published="src/userbench/report/tables/paper_table2.csv",
    output:
        csv=report(
            f"{OUT}/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "Table 2", "as": "numbers"},
        ),
        md=f"{OUT}/table2.md",
        tex=f"{OUT}/table2.tex",
        html=report(
            f"{OUT}/table2.html",
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "Table 2", "as": "in the paper"},
        ),
        provenance=f"{OUT}/table2.csv.provenance.json",
    log:
        f"{OUT}/logs/table2.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Make Table 2"
    shell:
        "python -m userbench table2 --scores {input.scores}"
        " --statistics {input.statistics} --agreement {input.agreement}"
        " --baselines {input.baselines} --curves {input.curves}"
        " --experiment {input.experiment} --csv {output.csv} --md {output.md} --tex {output.tex}"
        " --html {output.html} > {log} 2>&1"


rule headline:
    """What Table 2 says, in sentences: they also open its pages."""
    input:
        experiment=SPECIFICATION,
        statistics=f"{OUT}/statistics.csv",
        agreement=f"{OUT}/agreement.csv",
        code=code("report.tables.headline"),
        templates=templates("headline.md"),
    output:
        md=f"{OUT}/headline.md",
        provenance=f"{OUT}/headline.md.provenance.json",
    log:
        f"{OUT}/logs/headline.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Say what Table 2 says"
    shell:
        "python -m userbench headline --statistics {input.statistics}"
        " --agreement {input.agreement} --experiment {input.experiment} --md {output.md} > {log} 2>&1"


rule fairness:
    """What is behind each row of Table 2, and the scores of control runs, which are not ranked."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/scores.csv",
        controls=of_runs(SCORE, controls_of(EXPERIMENT)),
        curves=curves_behind([*ROWS, *controls_of(EXPERIMENT)]),
        code=code("report.tables.fairness"),
        templates=templates("fairness.md", "line.md"),
    output:
        csv=f"{OUT}/fairness.csv",
        md=f"{OUT}/fairness.md",
        provenance=f"{OUT}/fairness.csv.provenance.json",
    log:
        f"{OUT}/logs/fairness.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Say what is behind each row of Table 2"
    shell:
        "python -m userbench fairness --scores {input.scores} --controls {input.controls}"
        " --experiment {input.experiment} --curves {input.curves} --csv {output.csv}"
        " --md {output.md} > {log} 2>&1"


rule agreement:
    """Kendall's tau of our order of the methods and the published one, task by task."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/scores.csv",
        code=code("report.statistics.agreement"),
        published="src/userbench/report/tables/paper_table2.csv",
    output:
        csv=f"{OUT}/agreement.csv",
        provenance=f"{OUT}/agreement.csv.provenance.json",
    log:
        f"{OUT}/logs/agreement.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Compare the order of the methods with the published one"
    shell:
        "python -m userbench agreement --scores {input.scores} --experiment {input.experiment}"
        " --out {output.csv} > {log} 2>&1"


rule tuning:
    """Every trial of every run, by validation scores alone, and which was chosen."""
    input:
        experiment=SPECIFICATION,
        scores=of_runs(SCORE, EXPERIMENT.trials),
        code=code("report.tables.tuning"),
        templates=templates("tuning.md", "line.md"),
    output:
        csv=f"{OUT}/tuning.csv",
        md=f"{OUT}/tuning.md",
        provenance=f"{OUT}/tuning.csv.provenance.json",
    log:
        f"{OUT}/logs/tuning.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the trials"
    shell:
        "python -m userbench tuning --scores {input.scores} --experiment {input.experiment}"
        " --out {output.csv} --md {output.md} > {log} 2>&1"


rule effects:
    """How far each switch of the ambiguity ledger moves each task."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/scores.csv",
        predictions=of_runs(PREDICTIONS, STUDIED),
        curves=expand(CURVE, run=EXPERIMENT.held_out_runs, corpus=CORPORA, seed=SEEDS),
        code=code("report.tables.effects"),
    output:
        csv=f"{OUT}/effects.csv",
        provenance=f"{OUT}/effects.csv.provenance.json",
    log:
        f"{OUT}/logs/effects.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Compare each switch with the default"
    shell:
        "python -m userbench effects --scores {input.scores}"
        " --predictions {input.predictions} --curves {input.curves} --experiment {input.experiment}"
        " --out {output.csv} > {log} 2>&1"


rule ambiguities:
    """The ambiguity ledger with the measured effects, as a page."""
    input:
        ledger="src/userbench/experiment/ledger.yaml",
        effects=f"{OUT}/effects.csv",
        code=code("report.tables.ambiguities"),
        templates=templates("ambiguities.md"),
    output:
        md=f"{OUT}/ambiguities.md",
    log:
        f"{OUT}/logs/ambiguities.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Write the ambiguity ledger"
    shell:
        "python -m userbench ambiguities --ledger {input.ledger}"
        " --effects {input.effects} --out {output.md} > {log} 2>&1"


rule table1:
    """Table 1: what was read, beside what the paper states."""
    input:
        experiment=SPECIFICATION,
        behaviours=expand(BEHAVIOURS, corpus=CORPORA),
        examples=[path for corpus in CORPORA for path in task_files(EXAMPLES, corpus)],
        code=code("report.tables.table1"),
        published="src/userbench/report/tables/paper_table1.csv",
    output:
        csv=f"{OUT}/table1.csv",
        provenance=f"{OUT}/table1.csv.provenance.json",
    log:
        f"{OUT}/logs/table1.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stores=[f"{name}={OUT}/data/{name}/behaviours/manifest.json" for name in CORPORA],
        examples=[
            f"{name}={OUT}/data/{task.corpus}/tasks/{name}/manifest.json"
            for name, task in TASKS.items()
        ],
    message:
        "Make Table 1"
    shell:
        "python -m userbench table1 --store {params.stores} --examples {params.examples}"
        " --experiment {input.experiment} --out {output.csv} > {log} 2>&1"


rule publish_fairness:
    """Copy the fairness table of this experiment to the root of results/."""
    input:
        [f"{OUT}/{name}" for name in FAIRNESS],
    output:
        [f"results/{name}" for name in FAIRNESS],
    log:
        f"{OUT}/logs/publish_fairness.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        f"Publish the fairness table of experiment {CONFIG.experiment} in results/"
    shell:
        "cp {input} results/ 2> {log}"


rule publish:
    """Copy the tables of this experiment to the root of results/, with their provenance."""
    input:
        [f"{OUT}/{name}" for name in PUBLISHED],
    output:
        [f"results/{name}" for name in PUBLISHED],
    log:
        f"{OUT}/logs/publish.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        f"Publish the tables of experiment {CONFIG.experiment} in results/"
    shell:
        "cp {input} results/ 2> {log}"
