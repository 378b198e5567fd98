# Where things are: every path of the workflow, and what a job reads of which run, corpus and seed.
# What is made alone has a folder, and in it a checksums.json, which is equal for equal content. That
# small file is what other jobs take as input: Snakemake compares small files by content, and folders
# by time alone.

OUT = f"results/{CONFIG.experiment}"
BEHAVIOURS = f"{OUT}/data/{{corpus}}/behaviours/checksums.json"
EXAMPLES = f"{OUT}/data/{{corpus}}/tasks/{{task}}/checksums.json"
USER_SPLIT = f"{OUT}/splits/{{by}}/{{corpus}}/users/checksums.json"
TASK_SPLIT = f"{OUT}/splits/{{by}}/{{corpus}}/tasks/{{task}}/checksums.json"
NEIGHBOURS_OF = f"{OUT}/neighbours/{{by}}/{{corpus}}/checksums.json"
EPOCH = f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/epoch{{epoch}}.safetensors"
CURVE = f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/curve.json"
SCORE = f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.json"
PREDICTIONS = f"{OUT}/finetune/{{run}}/{{task}}/seed{{seed}}.predictions.parquet"
VECTORS = f"{OUT}/vectors/{{run}}/{{corpus}}/seed{{seed}}/{{candidate}}.parquet"
COUNTS = f"{OUT}/vectors/{ITEM_COUNTS}/{{corpus}}/counts.parquet"
FROZEN_SCORE = f"{OUT}/frozen/{{run}}/{{task}}/seed{{seed}}.json"
FROZEN_PREDICTIONS = f"{OUT}/frozen/{{run}}/{{task}}/seed{{seed}}.predictions.parquet"
COSINES = f"{OUT}/similarity/{{run}}/{{corpus}}/seed{{seed}}.parquet"
FIGURE_SCORES = f"{OUT}/{{figure}}_scores.csv"
# Of real data, what is known of large files; not a result, so not in results/.
REMEMBERED = Path(".snakemake/raw-checksums.json")
# Of a process: {seed} is a wildcard where each seed has one of its own.
SEED = "seeds" if CONFIG.seeds_together else "seed{seed}"


def of_seeds(path):
    """The files of a process, one for each of its seeds."""
    return expand(path, seed=SEEDS, allow_missing=True) if CONFIG.seeds_together else [path]


def seeds_of(wildcards):
    """Seeds of a process."""
    return SEEDS if CONFIG.seeds_together else [wildcards.seed]


def raw_content(corpus, source, made):
    """The content of a real raw file, wherever it lies: a param, where simulated data are an input."""
    # Why: only this process compares it with that of the last run, and large files take a while.
    if corpus not in RAW or not workflow.is_main_process:
        return ""
    made = Path(f"{OUT}/data/{corpus}", made)
    return or_stop(content_of, corpus, CORPORA[corpus], RAW[corpus], source, made, REMEMBERED)


def tables_content(corpus, tables, made):
    """The content of the real files of some tables of a corpus, as of a raw file above."""
    if not workflow.is_main_process:
        return ""
    asked = (corpus, CORPORA[corpus], RAW[corpus], list(tables))
    return or_stop(content_of_tables, *asked, Path(f"{OUT}/data/{corpus}", made), REMEMBERED)


def tables_of(corpus):
    """The tables that the events of a log are read from."""
    return list(CORPORA[corpus].events.values())


def expected_checksums(corpus, tables):
    """The checksums that the config expects of the files of these tables, as JSON."""
    return json.dumps(or_stop(checksums_of, CORPORA[corpus], RAW[corpus], tables))


def joined_to(corpus, task):
    """What of a log its examples are made from: the users' own ids, or the held-out events."""
    part = "held_out" if TASKS[task].next_item else "ids"
    return f"{OUT}/data/{corpus}/{part}/checksums.json"


def ids_of(corpus):
    """The users' own ids, where a corpus has any: vectors are named by them."""
    return [f"{OUT}/data/{corpus}/ids/checksums.json"] if corpus in LOGS else []


def splits_of(run, corpus):
    """Folder of the splits that a run is trained and tested by."""
    return f"{OUT}/splits/{RUNS[run].protocol.split}/{corpus}"


def user_split(wildcards):
    """The split of users of a run's protocol."""
    return USER_SPLIT.format(by=RUNS[wildcards.run].protocol.split, corpus=wildcards.corpus)


def task_files(pattern, corpus, by=None):
    """Examples, or splits, of all tasks of a corpus."""
    return expand(pattern, corpus=corpus, task=EXPERIMENT.tasks_of(corpus), by=by)


def held_out_data(wildcards):
    """What says who the test users are, for a run that may not pre-train on some users."""
    if not settings.hold_out_flags(EXPERIMENT, wildcards.run, wildcards.corpus):
        return []
    by = RUNS[wildcards.run].protocol.split
    return task_files(EXAMPLES, wildcards.corpus) + task_files(TASK_SPLIT, wildcards.corpus, by)


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
        by = RUNS[wildcards.run].protocol.split
        return [NEIGHBOURS_OF.format(by=by, corpus=wildcards.corpus)]
    return last_checkpoint(source, wildcards.corpus, seed)


def method_inputs(wildcards):
    """Files that fields of a run's method name."""
    sources = RUNS[wildcards.run].inputs.values()
    return [path for s in sources for path in input_path(wildcards, s, seeds_of(wildcards))]


def overrides(wildcards):
    """The fields of the method's Config that a run sets, paths of its inputs included."""
    run, paths = RUNS[wildcards.run], {}
    for field, source in run.inputs.items():
        (path,) = input_path(wildcards, source, "{seed}")
        paths[field] = str(Path(path).parent) if source == NEIGHBOURS else path
    return json.dumps(with_inputs(run.overrides, paths))


def init_flag(wildcards):
    """The checkpoint that pre-training starts from, for every seed of a process."""
    start = last_checkpoint(RUNS[wildcards.run].starts_from, wildcards.corpus, "{seed}")
    return f"--init {start[0]}" if start else ""


def candidates(run, corpus, seed):
    """The checkpoints that fine-tuning may start from; none where nothing is pre-trained."""
    found = {"corpus": corpus, "seed": seed, "epoch": RUNS[run].candidates}
    return expand(EPOCH, run=RUNS[run].encoder, **found) if RUNS[run].encoder else []


def candidates_flag(run, corpus):
    """The candidates for every seed of a process."""
    return ["--init", *found] if (found := candidates(run, corpus, "{seed}")) else []


def finetune_tasks(run, corpus):
    """Every task of a corpus, as a run is fine-tuned on it."""
    return settings.task_flags(
        {"name": name}
        | settings.finetune_settings(EXPERIMENT, run, task)
        | {"out": SCORE.format(run=run, task=name, seed="{seed}")}
        for name, task in EXPERIMENT.tasks_of(corpus).items()
    )


def baseline_tasks(corpus):
    """Every task of a corpus with each of its baselines; they do not depend on the seed."""
    return settings.task_flags(
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


def of_runs(pattern, runs):
    """The score files of these runs, or their predictions, of all tasks and seeds."""
    return expand(pattern, run=runs, task=TASKS, seed=SEEDS)


def curves_behind(rows):
    """The learning curves of all pre-training that these rows are due to."""
    return expand(CURVE, run=runs_behind(EXPERIMENT, rows), corpus=CORPORA, seed=SEEDS)


def made_vectors(run, corpus, seed):
    """The vector files that `embed` writes of a run, a candidate each; none of given vectors."""
    found = {"corpus": corpus, "seed": seed, "candidate": settings.candidate_names(EXPERIMENT, run)}
    return expand(VECTORS, run=run, **found) if RUNS[run].vectors is None else []


def vector_files(run, corpus, seed):
    """The vector files of a run: those that are made, or those that are given."""
    given = RUNS[run].vectors
    return made_vectors(run, corpus, seed) if given is None else given_paths(given, corpus, seed)


def given_content(run, corpus):
    """The content of given vector files, wherever they lie: a param, as that of raw files."""
    if RUNS[run].vectors is None or not workflow.is_main_process:
        return ""
    paths = given_paths(RUNS[run].vectors, corpus, SEEDS)
    return or_stop(vectors_content, f"runs.{run}.vectors", paths, REMEMBERED)


def checkpoints_flag(run, corpus):
    """The checkpoints whose user vectors `embed` writes, for every seed of a process."""
    found = candidates(run, corpus, "{seed}")
    return ["--checkpoint", *found] if found else []


def frozen_tasks(run, corpus, seed):
    """Every task of a corpus, as a head learns it on the vectors of a run."""
    return settings.task_flags(
        {"name": name}
        | settings.frozen_settings(EXPERIMENT, run, task)
        | {"out": FROZEN_SCORE.format(run=run, task=name, seed=seed)}
        for name, task in EXPERIMENT.tasks_of(corpus).items()
    )


def frozen_files(pattern):
    """What the heads write on all rows, of all tasks and seeds; item counts have one seed."""
    counts = expand(pattern, run=ITEM_COUNTS, task=TASKS, seed=SEEDS[0])
    return of_runs(pattern, CONFIG.frozen.rows) + counts


def of_figure(pattern, figure):
    """The score files of a figure's runs, or their predictions, of its tasks and all seeds."""
    return expand(pattern, run=figure.runs, task=figure.tasks, seed=SEEDS)


def measurements(figure):
    """What a figure is made of, by the kinds of measurement that its file reads."""
    encoders = dict.fromkeys(RUNS[run].encoder for run in figure.runs if RUNS[run].encoder)
    of_corpora = {"corpus": figure.corpora, "seed": SEEDS}
    # The scores of exactly the rows of Table 2 are gathered already.
    of_table2 = figure.runs == ROWS
    table = f"{OUT}/scores.csv" if of_table2 else FIGURE_SCORES.format(figure=figure.name)
    found = {
        "scores": table,
        "predictions": of_figure(PREDICTIONS, figure),
        "curves": expand(CURVE, run=encoders, **of_corpora),
        "cosines": expand(COSINES, run=figure.runs, **of_corpora),
    }
    return {kind: found[kind] for kind in figure.reads}


def measurement_flags(figure):
    """The flags of a figure's command that name what it is made of; cosines are kept as one file."""

    def flags(wildcards, input, output):
        words = [f"--{kind} {input[kind]}" for kind in figure.reads]
        words += [f"--parquet {output.parquet}"] if "cosines" in figure.reads else []
        return " ".join(words)

    return flags


def numbers_of(figure):
    """The numbers that a figure shows, by the names of its rule's outputs."""
    numbers = f"{OUT}/{figure.numbers}"
    cosines = {"parquet": f"{OUT}/{figure.name}.parquet"}
    more = cosines if "cosines" in figure.reads else {}
    return {"csv": numbers, "provenance": f"{numbers}.provenance.json", **more}


def files_of(figure):
    """What is published of a figure."""
    images = [f"{figure.name}.{kind}" for kind in ("svg", "pdf", "png")]
    return [os.path.basename(path) for path in numbers_of(figure).values()] + images
