# Score files, learning curves and cosines -> figures, each with its numbers as CSV.
# In:  finetune/<run>/<task>/seed<k>.json, pretrain/<run>/<corpus>/seed<k>/curve.json, similarity/
# Out: <figure>.svg .pdf .png and its CSV for every study in the config, and copies at the root of
#      results/. A figure that is not asked for makes no job.

# The study in the config, and the file of its numbers.
STUDIES = {
    "figure3": ("combination", "figure3.csv"),
    "figure4": ("ablation", "ablation.csv"),
    "figure5": ("similarity", "figure5.csv"),
    "figure6": ("worlds", "figure6.csv"),
    "figure7": ("labels", "figure7.csv"),
    "learning_curves": ("table2", "learning_curves.csv"),
}
STUDIES = {figure: study for figure, study in STUDIES.items() if study[0] in config}
OF_SCORES = [figure for figure in STUDIES if figure not in ("figure5", "learning_curves")]


def files_of(figure):
    """What is published of a figure."""
    numbers = STUDIES[figure][1]
    images = [f"{figure}.{kind}" for kind in ("svg", "pdf", "png")]
    more = ["figure5.parquet"] if figure == "figure5" else []
    return [numbers, f"{numbers}.provenance.json", *images, *more]


DRAWN = [name for figure in STUDIES for name in files_of(figure)]


def runs_in(figure):
    """The runs that a figure compares."""
    return list(LABELLED) if figure == "figure7" else runs_of_study(STUDIES[figure][0])


def figure_layout(figure):
    """What stands where in a figure: a function of the config alone."""
    study = config[STUDIES[figure][0]]
    runs = runs_in(figure)
    layout = {
        "caption_data": data_caption(),
        "simulated": any(map(is_simulated, CORPORA)),
        "rows": [figure_row(run) for run in runs],
    }
    if figure == "figure5":
        only = study["corpus"]
        views = {**VIEW_RATIOS, **study.get("views", {})}
        caption = {"caption_data": data_caption([only]), "simulated": is_simulated(only)}
        return {**layout, **caption, "views": views}
    if figure == "figure6":
        users = {f"{CORPORA[name]['simulate']['users']:,}" for name in CORPORA}
        layout["caption_data"] = f"{len(CORPORA)} worlds of {' or '.join(sorted(users))} users"
    layout["tasks"] = [figure_task(name, task, figure) for name, task in TASKS.items()]
    if figure == "figure3":
        layout["pairs"] = [
            {"views": RUNS[alone].get("label", alone), "alone": alone, "combined": combined}
            for alone, combined in study["pairs"]
        ]
    if figure == "figure4":
        layout |= {"full": study["full"], "components": study["rows"]}
        layout["sweep"] = [
            {"run": run, "coefficient": RUNS[run]["set"]["coefficient"]}
            for run in study.get("sweep", [])
        ]
    if figure == "figure6":
        layout["parameters"] = study["parameters"]
        layout["differences"] = [{"run": run, "over": over} for run, over in study["differences"]]
    if figure == "figure7":
        layout["shares"] = [{"run": run, **labelled} for run, labelled in LABELLED.items()]
    if figure == "learning_curves":
        layout["curves"] = [
            {"run": run, "corpus": corpus, "seed": seed, "file": file}
            for run, corpus, seed, file in curves_of(runs)
        ]
    return layout


# The ratios of the release: the defaults of `views/operators.py`.
VIEW_RATIOS = {"crop_ratio": 0.4, "reorder_ratio": 0.6, "mask_ratio": 0.6}


def figure_row(run):
    """Label of a run, its method, and whether it is a variant of the first run of that method."""
    base = LABELLED.get(run, {"row": run})["row"]
    method = RUNS[base].get("method", "none")
    first = next(name for name, other in RUNS.items() if other.get("method", "none") == method)
    label = RUNS[base].get("label", base)
    return {"run": run, "label": label, "method": method, "variant": base != first}


def figure_task(name, task, figure):
    """A task, with the world it belongs to where worlds are compared."""
    told = {
        "task": name,
        "label": task["label"],
        "metric": METRICS[task["kind"]],
        "simulated": is_simulated(task["corpus"]),
    }
    if figure != "figure6":
        return told
    world = CORPORA[task["corpus"]]["simulate"]["set"]
    parameters = {key: world[key] for key in config["worlds"]["parameters"]}
    return {**told, "source": task["label"], "parameters": parameters}


def curves_of(runs):
    """Run, corpus, seed and file of each learning curve of pre-training."""
    return [
        (run, corpus, seed, f"{OUT}/pretrain/{encoder}/{corpus}/seed{seed}/curve.json")
        for run in runs
        if "method" in RUNS[run]
        for encoder in [RUNS[run].get("encoder_of", run)]
        for corpus in CORPORA
        for seed in SEEDS
    ]


def figure_inputs(figure):
    """The measurements that a figure is made of."""
    if figure == "learning_curves":
        files = [file for *_, file in curves_of(runs_in(figure))]
        return {"scores": f"{OUT}/scores.csv", "curves": list(dict.fromkeys(files))}
    return {"scores": f"{OUT}/{figure}_scores.csv"}


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
            conda:
                "../../environment.yml"
            params:
                figure=figure,
                layout=lambda w, figure=figure: json.dumps(figure_layout(figure)),
                out=f"{OUT}/{figure}",
            message:
                f"Draw {figure}"
            shell:
                "python -m userbench.report.figures {params.figure} --scores {input.scores}"
                " --layout {params.layout:q} --csv {output.csv} --out {params.out} > {log} 2>&1"

    rule:
        name:
            f"publish_{figure}"
        input:
            [f"{OUT}/{name}" for name in files_of(figure)],
        output:
            [f"results/{name}" for name in files_of(figure)],
        log:
            f"{OUT}/logs/publish_{figure}.log",
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
        conda:
            "../../environment.yml"
        params:
            layout=lambda w: json.dumps(figure_layout("figure5")),
            out=f"{OUT}/figure5",
        message:
            "Draw figure5"
        shell:
            "python -m userbench.report.figures figure5 --cosines {input.cosines}"
            " --layout {params.layout:q} --csv {output.csv} --parquet {output.parquet}"
            " --out {params.out} > {log} 2>&1"
