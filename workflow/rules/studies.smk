# What stands in each figure: functions of the config alone.

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
if config.get("similarity", {}).get("corpus", "") not in CORPORA:
    STUDIES.pop("figure5", None)  # as the tasks of an absent corpus
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
        layout["caption_data"] = f"worlds: {len(CORPORA)}, of {' or '.join(sorted(users))} users"
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
    return {
        "scores": f"{OUT}/{figure}_scores.csv",
        "predictions": predictions_of(runs_in(figure)),
    }


def predictions_flag(wildcards, input):
    """The test predictions behind a figure's scores, where it shows test scores."""
    files = input.get("predictions", [])
    return f"--predictions {shlex.join(files)}" if files else ""
