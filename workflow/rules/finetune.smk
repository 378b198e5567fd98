# Pre-trained encoders -> test scores of every task of their corpus.
# In:  data/<corpus>/, splits/<by>/<corpus>/, the candidate checkpoints of a run
# Out: finetune/<run>/<task>/seed<k>.json and, where the config tests, seed<k>.predictions.parquet;
#      one process does all tasks of a corpus, because starting Python and torch costs as long as a
#      small fine-tuning
# Why a loop: the outputs of a rule are fixed, and corpora differ in their tasks.


for corpus_name in CORPORA:

    rule:
        name:
            f"finetune_{corpus_name}"
        input:
            store=f"{OUT}/data/{corpus_name}",
            splits=lambda w, corpus=corpus_name: splits_of(w, corpus),
            init=lambda w, corpus=corpus_name: candidates(w, corpus),
            code=code("finetune"),
            method=lambda w: method_code(w.run),
        output:
            scores=[
                f"{OUT}/finetune/{{run}}/{task}/seed{{seed}}.json"
                for task in tasks_of(corpus_name)
            ],
            predictions=[
                f"{OUT}/finetune/{{run}}/{task}/seed{{seed}}.predictions.parquet"
                for task in (tasks_of(corpus_name) if TESTED else [])
            ],
        log:
            f"{OUT}/logs/finetune/{{run}}/{corpus_name}/seed{{seed}}.log",
        benchmark:
            f"{OUT}/benchmarks/finetune/{{run}}/{corpus_name}/seed{{seed}}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            gpu=GPUS,
        params:
            encoder=encoder,
            init=lambda w, input: f"--init {input.init}" if input.init else "",
            method=method_flags,
            loop=loop_flags,
            tasks=lambda w, output, corpus=corpus_name: task_flags(
                tasks_of(corpus), output.scores, finetune_settings(w.run)
            ),
            test="" if TESTED else "--no-test",
            device=DEVICE,
        message:
            "Fine-tune {wildcards.run}, seed {wildcards.seed} (follow: tail -f {log})"
        shell:
            "python -m userbench.finetune --store {input.store} --splits {input.splits}"
            " --run {wildcards.run} {params.method} {params.init} --encoder {params.encoder:q}"
            " --seed {wildcards.seed} {params.loop} {params.test} --device {params.device}"
            " {params.tasks} > {log} 2>&1"

    rule:
        name:
            f"references_{corpus_name}"
        input:
            store=f"{OUT}/data/{corpus_name}",
            splits=f"{OUT}/splits/{DEFAULT_SPLIT}/{corpus_name}",
            code=code("references"),
        output:
            scores=reference_files(tasks_of(corpus_name), "json"),
            predictions=reference_files(tasks_of(corpus_name), "predictions.parquet"),
        log:
            f"{OUT}/logs/references/{corpus_name}.log",
        benchmark:
            f"{OUT}/benchmarks/references/{corpus_name}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        params:
            tasks=lambda w, output, corpus=corpus_name: task_flags(
                tasks_of(corpus), output.scores, reference_settings
            ),
            seed=SEEDS[0],
        message:
            "Score the simple references (bag of items, popularity)"
        shell:
            "python -m userbench.references --store {input.store} --splits {input.splits}"
            " --seed {params.seed} {params.tasks} > {log} 2>&1"
