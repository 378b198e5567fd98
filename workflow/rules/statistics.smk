# Significance over seeds and test users: comparisons of the rows with each other and with the paper.
# In:  scores.csv, finetune/<run>/<task>/seed<k>.predictions.parquet, table1.csv, agreement.csv
# Out: statistics, aggregate, and verdict where the config has `verify`


rule statistics:
    """Compare the rows, task by task and over all tasks: intervals, tests, ranks."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/scores.csv",
        predictions=of_runs(PREDICTIONS, ROWS),
        baselines=baseline_files(PREDICTIONS),
        code=code("report.statistics.command"),
        templates=templates("statistics.md", "aggregate.md", "line.md"),
    output:
        csv=f"{OUT}/statistics.csv",
        md=f"{OUT}/statistics.md",
        provenance=f"{OUT}/statistics.csv.provenance.json",
        aggregate_csv=f"{OUT}/aggregate.csv",
        aggregate_md=f"{OUT}/aggregate.md",
        aggregate_provenance=f"{OUT}/aggregate.csv.provenance.json",
    log:
        f"{OUT}/logs/statistics.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Compare the rows, task by task and over all tasks"
    shell:
        "python -m userbench statistics --scores {input.scores}"
        " --predictions {input.predictions} {input.baselines} --experiment {input.experiment}"
        " --csv {output.csv} --md {output.md} --aggregate-csv {output.aggregate_csv}"
        " --aggregate-md {output.aggregate_md} > {log} 2>&1"


rule verdict:
    """Every cell of the paper's Table 2: is it reproduced?"""
    input:
        experiment=SPECIFICATION,
        statistics=f"{OUT}/statistics.csv",
        table1=f"{OUT}/table1.csv",
        agreement=f"{OUT}/agreement.csv",
        code=code("report.verdict.command"),
        templates=templates("verdict.md"),
        published="src/userbench/report/tables/paper_table2.csv",
    output:
        csv=f"{OUT}/verdict.csv",
        md=f"{OUT}/verdict.md",
        provenance=f"{OUT}/verdict.csv.provenance.json",
    log:
        f"{OUT}/logs/verdict.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Compare every value with the published one"
    shell:
        "python -m userbench verdict --statistics {input.statistics}"
        " --table1 {input.table1} --agreement {input.agreement} --experiment {input.experiment}"
        " --csv {output.csv} --md {output.md} > {log} 2>&1"
