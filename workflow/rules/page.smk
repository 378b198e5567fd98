# Tables and figures -> what is looked at: the page of the experiment, and its notebooks.
# In:  what the config asks for, and by its provenance what it was made of; notebooks/
# Out: report.html, notebooks/<notebook>.html, and copies of both at the root of results/

# What each notebook reads; that of a figure has its name.
NOTEBOOKS = {
    "table2": ["experiment.json", "scores.csv", "statistics.csv", "table2.csv", "agreement.csv"],
    **{
        name: [figure.numbers, f"{name}.svg"]
        for name, figure in BY_NAME.items()
        if Path(workflow.basedir, "notebooks", f"{name}.ipynb").exists()
    },
}
REPORTED = [*PUBLISHED, *FAIRNESS, *FROZEN_TABLES, *DRAWN]
CONFIG_FILES = [os.path.relpath(path) for path in workflow.configfiles]
# Why not all: braces in an input are wildcards. Of such a config, experiment.json is the content.
WATCHED = [path for path in CONFIG_FILES if not {"{", "}"} & set(path)]


rule page:
    """Everything this experiment has found, in one file that opens without a network."""
    input:
        [f"{OUT}/{name}" for name in REPORTED],
        experiment=SPECIFICATION,
        config=WATCHED,
        code=code("report.page.command"),
        figures=expand("src/userbench/report/figures/{figure}.py", figure=FIGURES),
        template=expand("src/userbench/report/page/page.{kind}", kind=["html", "css", "js"]),
    output:
        html=report(f"{OUT}/report.html", caption="../report/page.rst", category="Report"),
        provenance=f"{OUT}/report.html.provenance.json",
    log:
        f"{OUT}/logs/page.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.html, parent=True),
        config=lambda w, output: CONFIG_FILES,
    message:
        "Write the page of experiment {params.folder}"
    shell:
        "python -m userbench page --folder {params.folder} --config {params.config:q}"
        " --out {output.html} > {log} 2>&1"


rule publish_page:
    """Copy the page of this experiment to the root of results/."""
    input:
        f"{OUT}/report.html",
    output:
        "results/report.html",
    log:
        f"{OUT}/logs/publish_page.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        f"Publish the page of experiment {CONFIG.experiment} in results/"
    shell:
        "cp {input} {output} 2> {log}"


rule notebook:
    """Run notebook {wildcards.notebook} on the results of this experiment."""
    input:
        notebook="notebooks/{notebook}.ipynb",
        results=lambda w: [f"{OUT}/{name}" for name in NOTEBOOKS[w.notebook]],
        code=sorted(
            {
                *code("report.tables.table2"),
                *code("report.drawing.scores"),
                *templates("table2.part.html"),
            }
        ),
    output:
        html=f"{OUT}/notebooks/{{notebook}}.html",
    log:
        f"{OUT}/logs/notebooks/{{notebook}}.log",
    wildcard_constraints:
        notebook="|".join(NOTEBOOKS),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.html, ancestor=2),
        out=subpath(output.html, parent=True),
        # Why: nothing of a page that shows results may be fetched from elsewhere.
        offline="--HTMLExporter.mathjax_url= --HTMLExporter.require_js_url=",
    message:
        "Run notebook {wildcards.notebook}"
    shell:
        "USERBENCH_RESULTS=$PWD/{params.folder} python -m nbconvert --execute --to html"
        " {params.offline} --output-dir {params.out} {input.notebook} > {log} 2>&1"


rule publish_notebook:
    """Copy notebook {wildcards.notebook} of this experiment to results/notebooks/."""
    input:
        f"{OUT}/notebooks/{{notebook}}.html",
    output:
        "results/notebooks/{notebook}.html",
    log:
        f"{OUT}/logs/notebooks/publish_{{notebook}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Publish notebook {wildcards.notebook} in results/notebooks/"
    shell:
        "cp {input} {output} 2> {log}"


rule notebooks:
    """Every notebook whose results the config asks for."""
    input:
        [
            f"results/notebooks/{notebook}.html"
            for notebook, files in NOTEBOOKS.items()
            if set(files) <= set(REPORTED)
        ],
