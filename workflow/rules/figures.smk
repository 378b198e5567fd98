# Score files, learning curves and cosines -> figures, each with its numbers as CSV.
# In:  finetune/<run>/<task>/seed<k>.json, pretrain/<run>/<corpus>/seed<k>/curve.json, similarity/
# Out: <figure>.svg .pdf .png and its CSV for every study in the config, and copies at the root of
#      results/. A figure that is not asked for makes no job.


FIGURES = figures_of(EXPERIMENT)
DRAWN = [name for figure in FIGURES for name in files_of(figure)]


rule figure_scores:
    """Gather the scores behind {wildcards.figure} in one tidy table."""
    input:
        scores=lambda w: of_runs(SCORE, runs_of(EXPERIMENT, w.figure)),
        code=code("results.scores"),
    output:
        csv=f"{OUT}/{{figure}}_scores.csv",
        provenance=f"{OUT}/{{figure}}_scores.csv.provenance.json",
    log:
        f"{OUT}/logs/{{figure}}_scores.log",
    wildcard_constraints:
        figure="figure[3467]",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the scores behind {wildcards.figure}"
    shell:
        "python -m userbench.results.scores --scores {input.scores} --out {output.csv}"
        " > {log} 2>&1"


# Why a loop: the names of the numbers differ from those of the figures.
for figure in FIGURES:
    if figure != "figure5":

        rule:
            name:
                figure
            input:
                **behind_figure(figure),
                experiment=SPECIFICATION,
                code=code("report.figures"),
            output:
                csv=f"{OUT}/{numbers_of(figure)}",
                provenance=f"{OUT}/{numbers_of(figure)}.provenance.json",
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
                behind="--curves" if figure == "learning_curves" else "--predictions",
                out=lambda w, output: output.svg.removesuffix(".svg"),
            message:
                f"Draw {figure}"
            shell:
                "python -m userbench.report.figures {params.figure} --scores {input.scores}"
                " {params.behind} {input.behind} --experiment {input.experiment}"
                " --csv {output.csv} --out {params.out} > {log} 2>&1"

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
            f"Publish {figure} of experiment {CONFIG.experiment} in results/"
        shell:
            "cp {input} results/ 2> {log}"


if "figure5" in FIGURES:

    rule figure5:
        """Distributions of the similarities of all runs, and what they say in numbers."""
        input:
            experiment=SPECIFICATION,
            cosines=expand(
                COSINES,
                run=CONFIG.similarity.rows,
                corpus=CONFIG.similarity.corpus,
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
            out=lambda w, output: output.svg.removesuffix(".svg"),
        message:
            "Draw figure5"
        shell:
            "python -m userbench.report.figures figure5 --cosines {input.cosines}"
            " --experiment {input.experiment} --csv {output.csv} --parquet {output.parquet}"
            " --out {params.out} > {log} 2>&1"
