# What a job reads and is told: functions of the config and of a job's wildcards.


def checkpoints(run, epochs):
    """Paths of a run's checkpoints, with the wildcards corpus and seed."""
    return [f"{OUT}/pretrain/{run}/{{corpus}}/seed{{seed}}/epoch{e}.safetensors" for e in epochs]


def warm_start(wildcards, seeds):
    """The last checkpoint of the run that this one starts from, if it starts from one."""
    start = RUNS[wildcards.run]["init_from"]
    paths = checkpoints(start, [LAST_EPOCH]) if start else []
    return expand(paths, corpus=wildcards.corpus, seed=seeds)


def given(wildcards, seeds):
    """What else a run's method is given: the last checkpoint of another run, or neighbours."""
    paths = []
    for source in RUNS[wildcards.run]["given"].values():
        if source == "neighbours":
            paths.append(neighbours(wildcards.run, wildcards.corpus))
        else:
            last = checkpoints(source, [LAST_EPOCH])
            paths += expand(last, corpus=wildcards.corpus, seed=seeds)
    return paths


def settings(wildcards):
    """The fields of the method's Config that a run sets, paths of what it is given included."""
    changes = RUNS[wildcards.run]["set"]
    for field, path in zip(RUNS[wildcards.run]["given"], given(wildcards, EACH)):
        nested = str(Path(path).parent) if path.endswith("checksums.json") else path
        for name in reversed(field.split(".")):
            nested = {name: nested}
        changes = merged(changes, nested)
    return json.dumps(changes)


def init_flag(paths):
    return f"--init {' '.join(paths)}" if paths else ""


def split_of(run):
    return RUNS[run]["protocol"]["split"]


def held_out(wildcards):
    """Tasks whose test users, or as many others, a run may not pre-train on."""
    flags = {"included": None, "held_out": "--hold-out", "others_held_out": "--hold-out-others"}
    flag = flags[RUNS[wildcards.run]["protocol"]["test_users"]]
    return f"{flag} {' '.join(tasks_of(wildcards.corpus))}" if flag else ""


def loop_flags(wildcards):
    """What both loops are told of the protocol, and of how a GPU is used."""
    protocol = RUNS[wildcards.run]["protocol"]
    on_gpu = "".join(f" --{key} {config[key]}" for key in ("precision", "capture") if key in config)
    return f"--order {protocol['order']} --item-table {protocol['item_table']}{on_gpu}"


def state_flags(stage, wildcards, corpus):
    """Where a training that is killed finds what it goes on from: no output, so nobody deletes it."""
    folder = f"{OUT}/states/{stage}.{wildcards.run}.{corpus}.seed{{seed}}"
    every = f" --save-every {config['save_every']}" if "save_every" in config else ""
    return f"--state {folder}{every}"


def encoder(wildcards):
    """Sizes of the encoder, and what of it the protocol says."""
    sizes = dict(config["encoder"])
    if not RUNS[wildcards.run]["protocol"]["attention_dropout"]:
        sizes["attention_dropout"] = False
    return json.dumps(sizes)


def batch_size(wildcards):
    """That of the run, else of its corpus, else of the experiment."""
    of_corpus = {**config["pretrain"], **CORPORA[wildcards.corpus].get("pretrain", {})}
    return RUNS[wildcards.run].get("batch_size", of_corpus["batch_size"])


def task_flags(names, settings, outputs):
    """One --task per score file of a job: name of the task, its settings, where its scores go."""
    return " ".join(
        f"--task {shlex.quote(json.dumps({'name': name, **told, 'out': out}))}"
        for name, told, out in zip(names, settings, outputs)
    )


def finetune_flags(run, tasks, outputs):
    """How tasks are fine-tuned: the same for every run, but for the protocol it may override."""
    protocol = RUNS[run]["protocol"]
    settings = [
        {
            "kind": task["kind"],
            "lr": task["lr"],
            "batch_size": task["batch_size"],
            "epochs": task.get("epochs", config["finetune"]["epochs"]),
            "dropout": protocol["finetune_dropout"],
            **{
                key: protocol[key]
                for key in ("bias_start", "known_targets", "ties", "average", "label_share")
            },
        }
        for task in tasks.values()
    ]
    return task_flags(tasks, settings, outputs)


def predictions_of(runs):
    """What these runs predict of every test example, all tasks and seeds."""
    return expand(
        f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.predictions.parquet",
        run=runs,
        task=TASKS,
        seed=SEEDS,
    )


def references_of(tasks):
    """Task and reference of every score file that the simple references write of these tasks."""
    return [(name, run) for name, task in tasks.items() for run in REFERENCES[task["kind"]]]


def reference_files(tasks, ending):
    """What the simple references write of these tasks; they do not depend on the seed."""
    return [
        f"{OUT}/finetune/{run}/{name}/seed{SEEDS[0]}.{ending}" for name, run in references_of(tasks)
    ]


def reference_flags(tasks, outputs):
    """What the simple references need to know of tasks, and of the experiment's protocol."""
    protocol = {key: PROTOCOL[key] for key in ("known_targets", "ties", "average")}
    names, settings = [], []
    for name, run in references_of(tasks):
        kind = tasks[name]["kind"]
        names.append(name)
        settings.append(
            {"kind": kind, "metric": METRICS[kind], **protocol, **REFERENCES[kind][run]}
        )
    return task_flags(names, settings, outputs)


def candidates(wildcards, corpus, seeds):
    """The checkpoints that fine-tuning may start from; none where nothing is pre-trained."""
    run = RUNS[wildcards.run]
    if "method" not in run:
        return []
    epochs = CANDIDATES[run["protocol"]["checkpoint"]]
    encoder_of = run.get("encoder_of", wildcards.run)
    return expand(checkpoints(encoder_of, epochs), corpus=corpus, seed=seeds)


def starts_flag(wildcards):
    """As many random starts for a run without pre-training as others have candidate checkpoints."""
    run = RUNS[wildcards.run]
    if "method" in run:
        return ""
    return f"--starts {len(CANDIDATES[run['protocol']['checkpoint']])}"


def last_checkpoint(wildcards):
    """The last checkpoint of a run, or of the run whose encoder it takes."""
    encoder_of = RUNS[wildcards.run].get("encoder_of", wildcards.run)
    return expand(checkpoints(encoder_of, [LAST_EPOCH]), **wildcards)


def method_flags(wildcards):
    """The method that may adapt the encoder to be fine-tuned, and its settings."""
    run = RUNS[wildcards.run]
    if "method" not in run:
        return ""
    return f"--method {run['method']} --set {shlex.quote(json.dumps(run['set']))}"


def is_simulated(corpus):
    return "simulate" in config["corpora"][corpus]


def data_caption(names=None):
    """What the numbers were measured on: all corpora, or these."""
    parts = []
    for name in names or CORPORA:
        corpus = CORPORA[name]
        if is_simulated(name):
            parts.append(f"{name}: {corpus['simulate']['users']:,} simulated users")
        else:
            parts.append(f"{name}: {corpus.get('label', 'real data')}")
    return "; ".join(parts)


def reconstructions():
    """What a method's own file says of being a reconstruction, for the notes of the table."""
    notes = []
    for run in config["table2"]["rows"]:
        if "method" in RUNS[run]:
            source = importlib.util.find_spec(method_path(RUNS[run]["method"])).origin
            told = ast.get_docstring(ast.parse(Path(source).read_text(encoding="utf-8"))) or ""
            words = [" ".join(paragraph.split()) for paragraph in told.split("\n\n")]
            label = RUNS[run].get("label", run)
            notes += [f"{label} - {word}" for word in words if word.startswith("Reconstruction:")]
    return notes


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
        "references": [
            {"run": "bag-of-items", "label": "bag-of-items"},
            {"run": "bag-of-items-long", "label": "bag-of-items (whole history)"},
            {"run": "popularity", "label": "popularity"},
        ],
        "baseline": config["table2"]["baseline"],
        "notes": reconstructions(),
    }


def encoder_run(run):
    """The run whose pre-trained encoder a run fine-tunes; None where nothing is pre-trained."""
    return RUNS[run].get("encoder_of", run) if "method" in RUNS[run] else None


def training_layout(controls=()):
    """What pre-training is behind the rows of Table 2, and behind control runs."""

    def line(run):
        encoder = encoder_run(run)
        epochs = CANDIDATES[RUNS[run]["protocol"]["checkpoint"]] if encoder else []
        label = RUNS[run].get("label", run)
        return {"run": run, "label": label, "encoder": encoder, "candidates": epochs}

    rows, controls = map(line, config["table2"]["rows"]), map(line, controls)
    layout = {"runs": {}, "rows": list(rows), "controls": list(controls)}
    needed = [one["encoder"] for one in layout["rows"] + layout["controls"]]
    while needed:
        run = needed.pop(0)
        if run is None or run in layout["runs"]:
            continue
        start = RUNS[run]["init_from"]
        given = [source for source in RUNS[run]["given"].values() if source != "neighbours"]
        layout["runs"][run] = {
            "start": start,
            "given": given,
            "epochs": epochs_of(run),
            "curves": [
                f"{OUT}/pretrain/{run}/{corpus}/seed{seed}/curve.json"
                for corpus in CORPORA
                for seed in SEEDS
            ],
        }
        needed += [start, *given]
    return layout


def curves_behind(controls=()):
    """The learning curves of all runs behind the rows of Table 2, and behind control runs."""
    if "table2" not in config:
        return []
    return [path for run in training_layout(controls)["runs"].values() for path in run["curves"]]


def tuning_layout():
    """Which trial each run is, and the tasks that judge it."""
    return {
        "trials": [
            {
                "run": name,
                "method_row": trial["row"],
                "trial": trial["trial"],
                "settings": trial["settings"],
                "label": RUNS[name].get("label", trial["row"]),
            }
            for name, trial in TRIALS.items()
        ],
        "tasks": [
            {
                "task": name,
                "label": task["label"],
                "metric": METRICS[task["kind"]],
                "corpus": task["corpus"],
                "simulated": is_simulated(task["corpus"]),
            }
            for name, task in TASKS.items()
        ],
    }


def held_out_curves():
    """Of the sensitivity study's runs that leave users out: the files whose records count them."""
    return [
        f"{OUT}/pretrain/{run}/{corpus}/seed{seed}/curve.json"
        for run, other in ALTERNATIVES.items()
        if other["entry"]["id"] == "test_users" and other["value"] != "included"
        for corpus in CORPORA
        for seed in SEEDS
    ]


def effects_layout():
    """Which switch each run of the sensitivity study sets to which value."""
    return {
        "caption_data": data_caption(),
        "base": config["sensitivity"],
        "runs": [
            {
                "run": name,
                "entry": other["entry"]["id"],
                "value": other["value"],
                "against": other["against"],
            }
            for name, other in ALTERNATIVES.items()
        ],
        "tasks": [
            {
                "task": name,
                "label": task["label"],
                "metric": METRICS[task["kind"]],
                "simulated": is_simulated(task["corpus"]),
            }
            for name, task in TASKS.items()
        ],
    }
