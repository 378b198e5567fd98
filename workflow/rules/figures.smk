# Score files, learning curves and cosines -> figures, each with its numbers as CSV.
# In:  finetune/<run>/<task>/seed<k>.json, pretrain/<run>/<corpus>/seed<k>/curve.json, similarity/
# Out: <figure>.svg .pdf .png and its CSV for every study in the config, and copies at the root of
#      results/. A figure that is not asked for makes no job.


rule figure_scores:
    """Gather the scores behind {wildcards.figure} in one tidy table."""
    input:
        scores=lambda w: expand(
            f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json",
            run=runs_in(w.figure),
            task=TASKS,
            seed=SEEDS,
        ),
        code=code("report.tables"),
    output:
        csv=f"{OUT}/{{figure}}_scores.csv",
        provenance=f"{OUT}/{{figure}}_scores.csv.provenance.json",
    log:
        f"{OUT}/logs/{{figure}}_scores.log",
    wildcard_constraints:
        figure="|".join(OF_SCORES) or "none",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the scores behind {wildcards.figure}"
    shell:
        "python -m userbench.report.tables scores --scores {input.scores} --out {output.csv}"
        " > {log} 2>&1"


# Why a loop: the names of the numbers differ from those of the figures.
for figure, (_, numbers) in STUDIES.items():
    if figure != "figure5":

        rule:
            name:
                figure
            input:
                **figure_inputs(figure),
                code=code("report.figures"),
            output:
                csv=f"{OUT}/{numbers}",
                provenance=f"{OUT}/{numbers}.provenance.json",
                svg=report(
                    f"{OUT}/{figure}.svg",
                    caption=f"../report/{figure}.rst",
                    category="Figures",
                ),
                pdf=f"{OUT}/{figure}.pdf",
                png=f"{OUT}/{figure}.png",
            log:
                f"{OUT}/logs/{figure}.log",
            localrule: True
            conda:
                "../../environment.yml"
            params:
                figure=figure,
                layout=lambda w, figure=figure: json.dumps(figure_layout(figure)),
                predictions=predictions_flag,
                out=lambda w, output: output.svg.removesuffix(".svg"),
            message:
                f"Draw {figure}"
            shell:
                "python -m userbench.report.figures {params.figure} --scores {input.scores}"
                " {params.predictions} --layout {params.layout:q} --csv {output.csv}"
                " --out {params.out} > {log} 2>&1"

    rule:
        name:
            f"publish_{figure}"
        input:
            [f"{OUT}/{name}" for name in files_of(figure)],
        output:
            [f"results/{name}" for name in files_of(figure)],
        log:
            f"{OUT}/logs/publish_{figure}.log",
        localrule: True
        conda:
            "../../environment.yml"
        message:
            f"Publish {figure} of experiment {EXPERIMENT} in results/"
        shell:
            "cp {input} results/ 2> {log}"


if "figure5" in STUDIES:

    rule figure5:
        """Distributions of the similarities of all runs, and what they say in numbers."""
        input:
            cosines=expand(
                f"{OUT}/similarity/{{run}}/{{corpus}}/seed{{seed}}.parquet",
                run=config["similarity"]["rows"],
                corpus=config["similarity"]["corpus"],
                seed=SEEDS,
            ),
            code=code("report.figures"),
        output:
            csv=f"{OUT}/figure5.csv",
            provenance=f"{OUT}/figure5.csv.provenance.json",
            parquet=f"{OUT}/figure5.parquet",
            svg=report(
                f"{OUT}/figure5.svg",
                caption="../report/figure5.rst",
                category="Figures",
            ),
            pdf=f"{OUT}/figure5.pdf",
            png=f"{OUT}/figure5.png",
        log:
            f"{OUT}/logs/figure5.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            layout=lambda w: json.dumps(figure_layout("figure5")),
            out=lambda w, output: output.svg.removesuffix(".svg"),
        message:
            "Draw figure5"
        shell:
            "python -m userbench.report.figures figure5 --cosines {input.cosines}"
            " --layout {params.layout:q} --csv {output.csv} --parquet {output.parquet}"
            " --out {params.out} > {log} 2>&1"
