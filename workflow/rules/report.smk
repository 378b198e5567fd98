# Score files -> tables.
# In:  finetune/<run>/<task>/seed<k>.json, manifests of data/<corpus>/
# Out: what the config asks for (table2, verify, tuning, sensitivity), and copies at the root of results/,
#      which are those of the experiment asked for last

TABLES = {
    "table2": {
        "scores": ["csv"],
        "table1": ["csv"],
        "table2": ["csv", "md", "tex", "html"],
        "headline": ["md", "md.provenance.json"],
        "agreement": ["csv"],
        "statistics": ["csv", "md"],
        "aggregate": ["csv", "md"],
    },
    "verify": {"verdict": ["csv", "md"]},
    "tuning": {"tuning": ["csv", "md"]},
    "sensitivity": {"scores": ["csv"], "effects": ["csv"], "ambiguities": ["md"]},
}
ASKED = {name: kinds for key in TABLES if key in config for name, kinds in TABLES[key].items()}
PUBLISHED = [f"{name}.{kind}" for name, kinds in ASKED.items() for kind in kinds] + [
    f"{name}.csv.provenance.json" for name, kinds in ASKED.items() if "csv" in kinds
]
# Apart from the others: Table 2 does not wait for control runs.
CONTROLS = config.get("fairness", {}).get("controls", [])
FAIRNESS = ["fairness.csv", "fairness.md", "fairness.csv.provenance.json"]
FAIRNESS = FAIRNESS if "table2" in config else []
COMPARED = [config["sensitivity"], *ALTERNATIVES] if "sensitivity" in config else []
SCORED = list(dict.fromkeys([*config.get("table2", {}).get("rows", []), *COMPARED]))


rule scores:
    """Gather every score of every run, task and seed in one tidy table."""
    input:
        scores=expand(
            f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json",
            run=SCORED,
            task=TASKS,
            seed=SEEDS,
        ),
        references=reference_files(TASKS, "json"),
        code=code("report.tables"),
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
        "python -m userbench.report.tables scores --scores {input.scores} {input.references}"
        " --out {output.csv} > {log} 2>&1"


rule table2:
    """Table 2: mean and standard deviation over seeds, beside the published values."""
    input:
        scores=f"{OUT}/scores.csv",
        statistics=f"{OUT}/statistics.csv",
        agreement=f"{OUT}/agreement.csv",
        curves=curves_behind(),
        references=reference_files(TASKS, "json"),
        code=code("report.tables"),
        published="src/userbench/report/paper_table2.csv",
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
    params:
        layout=lambda w: json.dumps(table2_layout()),
        training=lambda w: json.dumps(training_layout()),
    message:
        "Make Table 2"
    shell:
        "python -m userbench.report.tables table2 --scores {input.scores}"
        " --statistics {input.statistics} --agreement {input.agreement}"
        " --references {input.references} --training {params.training:q}"
        " --layout {params.layout:q} --csv {output.csv} --md {output.md} --tex {output.tex}"
        " --html {output.html} > {log} 2>&1"


rule headline:
    """What Table 2 says, in sentences: they also open its pages."""
    input:
        statistics=f"{OUT}/statistics.csv",
        agreement=f"{OUT}/agreement.csv",
        code=code("report.tables"),
    output:
        md=f"{OUT}/headline.md",
        provenance=f"{OUT}/headline.md.provenance.json",
    log:
        f"{OUT}/logs/headline.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        layout=lambda w: json.dumps(table2_layout()),
    message:
        "Say what Table 2 says"
    shell:
        "python -m userbench.report.tables headline --statistics {input.statistics}"
        " --agreement {input.agreement} --layout {params.layout:q} --md {output.md} > {log} 2>&1"


rule fairness:
    """What is behind each row of Table 2, and the scores of control runs, which are not ranked."""
    input:
        scores=f"{OUT}/scores.csv",
        controls=expand(
            f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json",
            run=CONTROLS,
            task=TASKS,
            seed=SEEDS,
        ),
        curves=curves_behind(CONTROLS),
        code=code("report.fairness"),
    output:
        csv=f"{OUT}/fairness.csv",
        md=f"{OUT}/fairness.md",
        provenance=f"{OUT}/fairness.csv.provenance.json",
    log:
        f"{OUT}/logs/fairness.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        layout=lambda w: json.dumps(table2_layout()),
        training=lambda w: json.dumps(training_layout(CONTROLS)),
    message:
        "Say what is behind each row of Table 2"
    shell:
        "python -m userbench.report.fairness --scores {input.scores} --controls {input.controls}"
        " --layout {params.layout:q} --training {params.training:q} --csv {output.csv}"
        " --md {output.md} > {log} 2>&1"


rule agreement:
    """Kendall's tau of our order of the methods and the published one, task by task."""
    input:
        scores=f"{OUT}/scores.csv",
        code=code("report.agreement"),
        published="src/userbench/report/paper_table2.csv",
    output:
        csv=f"{OUT}/agreement.csv",
        provenance=f"{OUT}/agreement.csv.provenance.json",
    log:
        f"{OUT}/logs/agreement.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        layout=lambda w: json.dumps(table2_layout()),
    message:
        "Compare the order of the methods with the published one"
    shell:
        "python -m userbench.report.agreement --scores {input.scores} --layout {params.layout:q}"
        " --out {output.csv} > {log} 2>&1"


rule tuning:
    """Every trial of every run, by validation scores alone, and which was chosen."""
    input:
        scores=expand(
            f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json",
            run=TRIALS,
            task=TASKS,
            seed=SEEDS,
        ),
        code=code("report.tuning"),
    output:
        csv=f"{OUT}/tuning.csv",
        md=f"{OUT}/tuning.md",
        provenance=f"{OUT}/tuning.csv.provenance.json",
    log:
        f"{OUT}/logs/tuning.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        layout=lambda w: json.dumps(tuning_layout()),
    message:
        "Gather the trials"
    shell:
        "python -m userbench.report.tuning --scores {input.scores} --layout {params.layout:q}"
        " --out {output.csv} --md {output.md} > {log} 2>&1"


rule effects:
    """How far each switch of the ambiguity ledger moves each task."""
    input:
        scores=f"{OUT}/scores.csv",
        predictions=predictions_of([config.get("sensitivity"), *ALTERNATIVES]),
        curves=held_out_curves(),
        code=code("report.ledger"),
    output:
        csv=f"{OUT}/effects.csv",
        provenance=f"{OUT}/effects.csv.provenance.json",
    log:
        f"{OUT}/logs/effects.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        layout=lambda w: json.dumps(effects_layout()),
    message:
        "Compare each switch with the default"
    shell:
        "python -m userbench.report.ledger effects --scores {input.scores}"
        " --predictions {input.predictions} --curves {input.curves} --layout {params.layout:q}"
        " --out {output.csv} > {log} 2>&1"


rule ambiguities:
    """The ambiguity ledger with the measured effects, as a page."""
    input:
        ledger="workflow/ambiguities.yaml",
        effects=f"{OUT}/effects.csv",
        code=code("report.ledger"),
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
        "python -m userbench.report.ledger page --ledger {input.ledger}"
        " --effects {input.effects} --out {output.md} > {log} 2>&1"


rule table1:
    """Table 1: what was read, beside what the paper states."""
    input:
        behaviours=map(behaviours, CORPORA),
        examples=[path for corpus in CORPORA for path in examples(corpus)],
        code=code("report.tables"),
        published="src/userbench/report/paper_table1.csv",
    output:
        csv=f"{OUT}/table1.csv",
        provenance=f"{OUT}/table1.csv.provenance.json",
    log:
        f"{OUT}/logs/table1.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stores=manifests({name: behaviours(name) for name in CORPORA}),
        examples=manifests(
            {
                task: path
                for corpus in CORPORA
                for task, path in zip(tasks_of(corpus), examples(corpus))
            }
        ),
        tasks=json.dumps(
            {
                n: {"corpus": t["corpus"], "paper": t.get("paper")}
                for n, t in config["tasks"].items()
            }
        ),
        simulated=list(filter(is_simulated, CORPORA)),
    message:
        "Make Table 1"
    shell:
        "python -m userbench.report.tables table1 --store {params.stores} --examples {params.examples}"
        " --tasks {params.tasks:q}"
        " --simulated {params.simulated} --out {output.csv} > {log} 2>&1"


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
        f"Publish the fairness table of experiment {EXPERIMENT} in results/"
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
        f"Publish the tables of experiment {EXPERIMENT} in results/"
    shell:
        "cp {input} results/ 2> {log}"
