# Score files -> tables.
# In:  finetune/<run>/<task>/seed<k>.json, data/<corpus>/manifest.json
# Out: scores.csv, table1.csv, table2.{csv,md,tex,html}; and their copies at the root of results/,
#      which are those of the experiment asked for last

TABLES = ("scores", "table1", "table2")
PUBLISHED = [
    *(f"{table}.csv{suffix}" for table in TABLES for suffix in ("", ".provenance.json")),
    *(f"table2.{kind}" for kind in ("md", "tex", "html")),
]


rule scores:
    """Gather every score of every run, task and seed in one tidy table."""
    input:
        scores=expand(
            f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json",
            run=config["table2"]["rows"],
            task=TASKS,
            seed=SEEDS,
        ),
        references=[
            f"{OUT}/finetune/{REFERENCES[task['kind']]}/{name}/seed{SEEDS[0]}.json"
            for name, task in TASKS.items()
        ],
        code=code("report.tables"),
    output:
        csv=f"{OUT}/scores.csv",
        provenance=f"{OUT}/scores.csv.provenance.json",
    log:
        f"{OUT}/logs/scores.log",
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
        code=code("report.tables"),
        published="src/userbench/report/paper_table2.csv",
    output:
        csv=f"{OUT}/table2.csv",
        md=f"{OUT}/table2.md",
        tex=f"{OUT}/table2.tex",
        html=f"{OUT}/table2.html",
        provenance=f"{OUT}/table2.csv.provenance.json",
    log:
        f"{OUT}/logs/table2.log",
    conda:
        "../../environment.yml"
    params:
        layout=json.dumps(table2_layout()),
    message:
        "Make Table 2"
    shell:
        "python -m userbench.report.tables table2 --scores {input.scores}"
        " --layout {params.layout:q} --csv {output.csv} --md {output.md} --tex {output.tex}"
        " --html {output.html} > {log} 2>&1"


rule table1:
    """Table 1: what was read, beside what the paper states."""
    input:
        stores=expand(f"{OUT}/data/{{corpus}}", corpus=CORPORA),
        code=code("report.tables"),
        published="src/userbench/report/paper_table1.csv",
    output:
        csv=f"{OUT}/table1.csv",
        provenance=f"{OUT}/table1.csv.provenance.json",
    log:
        f"{OUT}/logs/table1.log",
    conda:
        "../../environment.yml"
    params:
        stores=[f"{name}={OUT}/data/{name}/manifest.json" for name in CORPORA],
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
        "python -m userbench.report.tables table1 --store {params.stores} --tasks {params.tasks:q}"
        " --simulated {params.simulated} --out {output.csv} > {log} 2>&1"


rule publish:
    """Copy the tables of this experiment to the root of results/, with their provenance."""
    input:
        [f"{OUT}/{name}" for name in PUBLISHED],
    output:
        [f"results/{name}" for name in PUBLISHED],
    log:
        f"{OUT}/logs/publish.log",
    conda:
        "../../environment.yml"
    message:
        f"Publish the tables of experiment {EXPERIMENT} in results/"
    shell:
        "cp {input} results/ 2> {log}"
