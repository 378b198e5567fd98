# Score files, learning curves and cosines -> figures, each with its numbers as CSV.
# In:  finetune/<run>/<task>/seed<k>.json and .predictions.parquet,
#      pretrain/<run>/<corpus>/seed<k>/curve.json, similarity/: what the READS of the figure's file in
#      src/userbench/report/figures/ names, of the runs that the config compares
# Out: <figure>.svg .pdf .png and its CSV for every figure in the config, and copies at the root of
#      results/. A figure that is not asked for makes no job.


FIGURES = or_stop(figures, EXPERIMENT)
BY_NAME = {figure.name: figure for figure in FIGURES.values()}
DRAWN = [name for figure in FIGURES.values() for name in files_of(figure)]


rule figure_scores:
    """Gather the scores behind {wildcards.figure} in one tidy table."""
    input:
        scores=lambda w: of_figure(SCORE, BY_NAME[w.figure]),
        code=code("results.scores"),
    output:
        csv=FIGURE_SCORES,
        provenance=f"{FIGURE_SCORES}.provenance.json",
    log:
        f"{OUT}/logs/{{figure}}_scores.log",
    wildcard_constraints:
        figure="|".join(BY_NAME),
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the scores behind {wildcards.figure}"
    shell:
        "python -m userbench scores --scores {input.scores} --out {output.csv} > {log} 2>&1"


# Why a loop: figures differ in what they read.
for figure in FIGURES.values():

    rule:
        name:
            figure.name
        input:
            **measurements(figure),
            experiment=SPECIFICATION,
            code=figure_code(figure),
        output:
            **numbers_of(figure),
            svg=report(
                f"{OUT}/{figure.name}.svg",
                caption="../report/figure.rst",
                category="Figures",
            ),
            pdf=f"{OUT}/{figure.name}.pdf",
            png=f"{OUT}/{figure.name}.png",
        log:
            f"{OUT}/logs/{figure.name}.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            figure=figure.file,
            # Why a function: braces of a param that is a text are wildcards.
            caption=lambda w, figure=figure: f"{figure.title}. {figure.caption}",
            measured=measurement_flags(figure),
            out=lambda w, output: output.svg.removesuffix(".svg"),
        message:
            f"Draw {figure.name}"
        shell:
            "python -m userbench figure {params.figure} {params.measured}"
            " --experiment {input.experiment} --csv {output.csv} --out {params.out} > {log} 2>&1"

    rule:
        name:
            f"publish_{figure.name}"
        input:
            [f"{OUT}/{name}" for name in files_of(figure)],
        output:
            [f"results/{name}" for name in files_of(figure)],
        log:
            f"{OUT}/logs/publish_{figure.name}.log",
        localrule: True
        conda:
            "../../environment.yml"
        message:
            f"Publish {figure.name} of experiment {CONFIG.experiment} in results/"
        shell:
            "cp {input} results/ 2> {log}"
