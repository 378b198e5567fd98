# What a job reads and is told: functions of the config and of a job's wildcards.


def raw_inputs(wildcards):
    """What the reader reads: the simulated folder, the zip, or every CSV file of the real folder."""
    if "simulate" in CORPORA[wildcards.corpus]:
        return f"{OUT}/raw/{wildcards.corpus}"
    path = Path(RAW[wildcards.corpus])
    return [str(path)] if path.is_file() else sorted(map(str, path.rglob("*.csv")))


def checkpoints(run, epochs):
    """Paths of a run's checkpoints, with the wildcards corpus and seed."""
    return [f"{OUT}/pretrain/{run}/{{corpus}}/seed{{seed}}/epoch{e}.safetensors" for e in epochs]


def warm_start(wildcards):
    """The last checkpoint of the run that this one starts from, if it starts from one."""
    start = RUNS[wildcards.run].get("init_from")
    return expand(checkpoints(start, [LAST_EPOCH]), **wildcards) if start else []


def task_flags(tasks, outputs, settings):
    """One --task per task of a job: its name, its settings, and where its scores go."""
    return " ".join(
        f"--task '{json.dumps({'name': name, **settings(task), 'out': out})}'"
        for (name, task), out in zip(tasks.items(), outputs)
    )


def finetune_settings(task):
    """How a task is fine-tuned: the same for every run."""
    shared = config["finetune"]
    return {
        "kind": task["kind"],
        "lr": task["lr"],
        "batch_size": task["batch_size"],
        "epochs": task.get("epochs", shared["epochs"]),
        "dropout": shared["dropout"],
        "bias_start": shared["bias_start"],
    }


def reference_settings(task):
    """What the simple references need to know of a task."""
    return {"kind": task["kind"], "metric": METRICS[task["kind"]]}


def candidates(wildcards, corpus):
    """The checkpoints that fine-tuning may start from; none where nothing is pre-trained."""
    if "method" not in RUNS[wildcards.run]:
        return []
    return expand(checkpoints(wildcards.run, FROM_EPOCHS), corpus=corpus, seed=wildcards.seed)


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
