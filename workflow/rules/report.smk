# Score files -> tables.
# In:  finetune/<run>/<task>/seed<k>.json, data/<corpus>/manifest.json
# Out: scores.csv, table1.csv, table2.{csv,md,tex,html}; and their copies at the root of results/,
#      which are those of the experiment asked for last

TABLE2 = ["scores.csv", "table1.csv", *(f"table2.{kind}" for kind in ("csv", "md", "tex", "html"))]


def is_simulated(corpus):
    return "simulate" in config["corpora"][corpus]


def data_caption():
    """What the numbers were measured on."""
    parts = []
    for name, corpus in CORPORA.items():
        if is_simulated(name):
            parts.append(f"{name}: {corpus['simulate']['users']:,} simulated users")
        else:
            parts.append(f"{name}: {corpus.get('label', 'real data')}")
    return "; ".join(parts)


def table2_layout():
    """What stands where in Table 2: a function of the config alone."""
    return {
        "caption_data": data_caption(),
        "simulated": any(map(is_simulated, CORPORA)),
        "tasks": [
            {
                "task": name,
                "label": task["label"],
                "metric": METRICS[task["kind"]],
                "paper": task.get("paper"),
                "simulated": is_simulated(task["corpus"]),
            }
            for name, task in config["tasks"].items()
        ],
        "rows": [
            {
                "run": run,
                "label": RUNS[run].get("label", run),
                "paper": RUNS[run].get("paper"),
            }
            for run in config["table2"]["rows"]
        ],
        "references": [{"run": run, "label": run} for run in ("bag-of-items", "popularity")],
        "baseline": config["table2"]["baseline"],
    }


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
        f"{OUT}/scores.csv",
    log:
        f"{OUT}/logs/scores.log",
    message:
        "Gather the scores"
    shell:
        "python -m userbench.report.tables scores --scores {input.scores} {input.references}"
        " --out {output} > {log} 2>&1"


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
    log:
        f"{OUT}/logs/table2.log",
    message:
        "Make Table 2"
    params:
        layout=json.dumps(table2_layout()),
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
        f"{OUT}/table1.csv",
    log:
        f"{OUT}/logs/table1.log",
    message:
        "Make Table 1"
    params:
        stores=[f"{name}={OUT}/data/{name}/manifest.json" for name in CORPORA],
        tasks=json.dumps(
            {n: {"corpus": t["corpus"], "paper": t.get("paper")} for n, t in config["tasks"].items()}
        ),
        simulated=list(filter(is_simulated, CORPORA)),
    shell:
        "python -m userbench.report.tables table1 --store {params.stores} --tasks {params.tasks:q}"
        " --simulated {params.simulated} --out {output} > {log} 2>&1"


rule publish:
    """Copy the tables of this experiment to the root of results/, with their provenance."""
    input:
        [f"{OUT}/{name}" for name in TABLE2],
    output:
        [f"results/{name}" for name in TABLE2],
    log:
        f"{OUT}/logs/publish.log",
    message:
        f"Publish the tables of experiment {EXPERIMENT} in results/"
    params:
        experiment=EXPERIMENT,
    shell:
        "cp {input} {OUT}/*.provenance.json results/ 2> {log}"
