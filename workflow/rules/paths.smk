# Where things are: every path of the workflow, and what a job reads of which run, corpus and seed.

OUT = f"results/{CONFIG.experiment}"
EPOCH = f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/epoch{{epoch}}.safetensors"
CURVE = f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/curve.json"
SCORE = f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json"
PREDICTIONS = f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.predictions.parquet"
COSINES = f"{OUT}/similarity/{{run}}/{{corpus}}/seed{{seed}}.parquet"
# Of a process: {seed} is a wildcard where each seed has one of its own.
SEED = "seeds" if CONFIG.seeds_together else "seed{seed}"


def of_seeds(path):
    """The files of a process, one for each of its seeds."""
    return expand(path, seed=SEEDS, allow_missing=True) if CONFIG.seeds_together else [path]


def seeds_of(wildcards):
    """Seeds of a process."""
    return SEEDS if CONFIG.seeds_together else [wildcards.seed]


def seeds_param(wildcards, output):
    """The same as a parameter. Why output: what is derived of it runs no job again."""
    return seeds_of(wildcards)


def raw_inputs(wildcards):
    """What the reader reads: the simulated folder, the zip, or every CSV file of the real folder."""
    if CORPORA[wildcards.corpus].simulate is not None:
        return f"{OUT}/raw/{wildcards.corpus}"
    path = Path(RAW[wildcards.corpus])
    return [str(path)] if path.is_file() else sorted(map(str, path.rglob("*.csv")))


def splits_of(run, corpus):
    return f"{OUT}/splits/{RUNS[run].protocol.split}/{corpus}"


def last_checkpoint(run, corpus, seed):
    """The last checkpoint of a run; none of None."""
    found = {"corpus": corpus, "seed": seed, "epoch": EXPERIMENT.last_epoch}
    return expand(EPOCH, run=run, **found) if run is not None else []


def warm_start(wildcards):
    """The last checkpoint of the run that this one starts from, if it starts from one."""
    return last_checkpoint(RUNS[wildcards.run].starts_from, wildcards.corpus, seeds_of(wildcards))


def input_path(wildcards, source, seed):
    """What a field of a method names: the last checkpoint of another run, or neighbours."""
    if source == NEIGHBOURS:
        return [f"{OUT}/neighbours/{RUNS[wildcards.run].protocol.split}/{wildcards.corpus}"]
    return last_checkpoint(source, wildcards.corpus, seed)


def method_inputs(wildcards):
    """Files that fields of a run's method name."""
    sources = RUNS[wildcards.run].inputs.values()
    return [path for s in sources for path in input_path(wildcards, s, seeds_of(wildcards))]


def overrides(wildcards):
    """The fields of the method's Config that a run sets, paths of its inputs included."""
    changes = RUNS[wildcards.run].overrides
    for field, source in RUNS[wildcards.run].inputs.items():
        (nested,) = input_path(wildcards, source, "{seed}")
        for name in reversed(field.split(".")):
            nested = {name: nested}
        changes = merged(changes, nested)
    return json.dumps(changes)


def init_flag(wildcards):
    """The checkpoint that pre-training starts from, for every seed of a process."""
    start = last_checkpoint(RUNS[wildcards.run].starts_from, wildcards.corpus, "{seed}")
    return f"--init {start[0]}" if start else ""


def held_out(wildcards):
    """Tasks whose test users, or as many others, a run may not pre-train on."""
    flag = settings.hold_out_flag(EXPERIMENT, wildcards.run)
    return [flag, *EXPERIMENT.tasks_of(wildcards.corpus)] if flag else []


def state_flags(stage, run, corpus):
    """Where a training that is killed finds what it goes on from: no output, so nobody deletes it."""
    every = CONFIG.save_every
    path = f"--state {OUT}/states/{stage}.{run}.{corpus}.seed{{seed}}"
    return path if every is None else f"{path} --save-every {every:g}"


def candidates(run, corpus, seed):
    """The checkpoints that fine-tuning may start from; none where nothing is pre-trained."""
    found = {"corpus": corpus, "seed": seed, "epoch": RUNS[run].candidates}
    return expand(EPOCH, run=RUNS[run].encoder, **found) if RUNS[run].encoder else []


def candidates_flag(run, corpus):
    """The candidates for every seed of a process."""
    return ["--init", *found] if (found := candidates(run, corpus, "{seed}")) else []


def task_flags(told):
    """One --task per score file of a job: name of the task, its settings, where its scores go."""
    return [word for task in told for word in ("--task", json.dumps(task))]


def finetune_tasks(run, corpus):
    """Every task of a corpus, as a run is fine-tuned on it."""
    return task_flags(
        {"name": name}
        | settings.finetune_settings(EXPERIMENT, run, task)
        | {"out": SCORE.format(run=run, task=name, seed="{seed}")}
        for name, task in EXPERIMENT.tasks_of(corpus).items()
    )


def baseline_tasks(corpus):
    """Every task of a corpus with each of its baselines; they do not depend on the seed."""
    return task_flags(
        {"name": name}
        | settings.baseline_settings(EXPERIMENT, name, run)
        | {"out": SCORE.format(run=run, task=name, seed=SEEDS[0])}
        for name, run in settings.baselines_of(EXPERIMENT, corpus)
    )


def baseline_files(pattern, corpora=None):
    """What the baselines write of all tasks, or of those of a corpus."""
    return [
        pattern.format(run=run, task=name, seed=SEEDS[0])
        for corpus in corpora or CORPORA
        for name, run in settings.baselines_of(EXPERIMENT, corpus)
    ]


def scores_of(runs):
    """The score files of these runs, all tasks and seeds."""
    return expand(SCORE, run=runs, task=TASKS, seed=SEEDS)


def predictions_of(runs):
    """What these runs predict of every test example, all tasks and seeds."""
    return expand(PREDICTIONS, run=runs, task=TASKS, seed=SEEDS)


def curves_behind(rows):
    """The learning curves of all pre-training that these rows are due to."""
    return expand(CURVE, run=runs_behind(EXPERIMENT, rows), corpus=CORPORA, seed=SEEDS)


def method_flags(wildcards):
    """The method that may adapt the encoder to be fine-tuned, and its settings."""
    run = RUNS[wildcards.run]
    return ["--method", run.method, "--set", json.dumps(run.overrides)] if run.method else []
