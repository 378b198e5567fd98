# Pre-trained encoders -> test scores of every task of their corpus.
# In:  data/<corpus>/, splits/<corpus>/, the candidate checkpoints of a run
# Out: finetune/<run>/<task>/seed<k>.json; one process does all tasks of a corpus, because starting
#      Python and torch costs as long as a small fine-tuning
# Why a loop: the outputs of a rule are fixed, and corpora differ in their tasks.


def task_flags(tasks, outputs, settings):
    """--task and --out of every task of a job."""
    return " ".join(
        f"--task '{json.dumps({'name': name, **settings(task)})}' --out {out}"
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
    }


def candidates(wildcards, corpus):
    """The checkpoints that fine-tuning may start from; none where nothing is pre-trained."""
    if "method" not in RUNS[wildcards.run]:
        return []
    return expand(checkpoints(wildcards.run, FROM_EPOCHS), corpus=corpus, seed=wildcards.seed)


for corpus_name in CORPORA:

    rule:
        name:
            f"finetune_{corpus_name}"
        input:
            store=f"{OUT}/data/{corpus_name}",
            splits=f"{OUT}/splits/{corpus_name}",
            init=lambda w, corpus=corpus_name: candidates(w, corpus),
            code=code("finetune"),
        output:
            [f"{OUT}/finetune/{{run}}/{task}/seed{{seed}}.json" for task in tasks_of(corpus_name)],
        log:
            f"{OUT}/logs/finetune/{{run}}/{corpus_name}/seed{{seed}}.log",
        benchmark:
            f"{OUT}/benchmarks/finetune/{{run}}/{corpus_name}/seed{{seed}}.tsv"
        message:
            "Fine-tune {wildcards.run}, seed {wildcards.seed} (follow: tail -f {log})"
        threads: 1
        resources:
            gpu=GPUS,
        params:
            encoder=json.dumps(config["encoder"]),
            init=lambda w, input: f"--init {input.init}" if input.init else "",
            tasks=lambda w, output, corpus=corpus_name: task_flags(
                tasks_of(corpus), output, finetune_settings
            ),
            device=DEVICE,
        shell:
            "python -m userbench.finetune --store {input.store} --splits {input.splits}"
            " --run {wildcards.run} {params.init} --encoder {params.encoder:q}"
            " --seed {wildcards.seed} --device {params.device} {params.tasks} > {log} 2>&1"

    rule:
        name:
            f"references_{corpus_name}"
        input:
            store=f"{OUT}/data/{corpus_name}",
            splits=f"{OUT}/splits/{corpus_name}",
            code=code("references"),
        output:
            [
                f"{OUT}/finetune/{REFERENCES[task['kind']]}/{name}/seed{SEEDS[0]}.json"
                for name, task in tasks_of(corpus_name).items()
            ],
        log:
            f"{OUT}/logs/references/{corpus_name}.log",
        benchmark:
            f"{OUT}/benchmarks/references/{corpus_name}.tsv"
        message:
            "Score the simple references (bag of items, popularity)"
        threads: 1
        params:
            tasks=lambda w, output, corpus=corpus_name: task_flags(
                tasks_of(corpus), output, lambda task: {"kind": task["kind"]}
            ),
            seed=SEEDS[0],
        shell:
            "python -m userbench.references --store {input.store} --splits {input.splits}"
            " --seed {params.seed} {params.tasks} > {log} 2>&1"
