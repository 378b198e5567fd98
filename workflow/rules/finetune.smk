# Pre-trained encoders -> test scores of every task of their corpus.
# In:  data/<corpus>/, splits/<by>/<corpus>/tasks/, the candidate checkpoints of a run
# Out: finetune/<run>/<task>/seed<k>.json and, where the config tests, seed<k>.predictions.parquet;
#      one process does all tasks of a corpus, because starting Python and torch costs as long as a
#      small fine-tuning
# Why a loop: the outputs of a rule are fixed, and corpora differ in their tasks.


for corpus_name in CORPORA:
    written = [SCORE, PREDICTIONS] if CONFIG.finetune.test else [SCORE]
    written = expand(written, task=EXPERIMENT.tasks_of(corpus_name), allow_missing=True)

    rule:
        name:
            f"finetune_{corpus_name}"
        input:
            behaviours=BEHAVIOURS.format(corpus=corpus_name),
            examples=task_files(EXAMPLES, corpus_name),
            splits=lambda w, corpus=corpus_name: task_files(
                TASK_SPLIT, corpus, RUNS[w.run].protocol.split
            ),
            init=lambda w, corpus=corpus_name: candidates(w.run, corpus, seeds_of(w)),
            code=code("finetune"),
            method=lambda w: method_code(w.run),
        output:
            of_seeds(written),
        log:
            f"{OUT}/logs/finetune/{{run}}/{corpus_name}/{SEED}.log",
        benchmark:
            f"{OUT}/benchmarks/finetune/{{run}}/{corpus_name}/{SEED}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("finetune", corpus_name),
        params:
            store=subpath(input.behaviours, ancestor=2),
            splits=lambda w, corpus=corpus_name: splits_of(w.run, corpus),
            encoder=lambda w: json.dumps(settings.encoder_sizes(EXPERIMENT, w.run)),
            init=lambda w, corpus=corpus_name: candidates_flag(w.run, corpus),
            starts=lambda w: settings.starts_flag(EXPERIMENT, w.run),
            method=lambda w: settings.method_flags(EXPERIMENT, w.run),
            loop=lambda w: settings.loop_flags(EXPERIMENT, w.run),
            tasks=lambda w, corpus=corpus_name: finetune_tasks(w.run, corpus),
            test="" if CONFIG.finetune.test else "--no-test",
            device=device,
            # Why output: what is derived of it is no reason to run a job again.
            seeds=lambda w, output: seeds_of(w),
            state=lambda w, output, corpus=corpus_name: f"{OUT}/states/finetune.{w.run}.{corpus}.seed{{seed}}",
            save=settings.save_flag(EXPERIMENT),
        message:
            "Fine-tune {wildcards.run}, seed {params.seeds} (follow: tail -f {log})"
        # Why exec: a signal reaches the training, not a shell around it.
        shell:
            "exec python -m userbench finetune --store {params.store} --splits {params.splits}"
            " --run {wildcards.run} {params.method:q} {params.init} {params.starts}"
            " --encoder {params.encoder:q}"
            " --seed {params.seeds} {params.loop} {params.test}"
            " --device {params.device} --state {params.state} {params.save} {params.tasks:q} > {log} 2>&1"

    rule:
        name:
            f"baselines_{corpus_name}"
        input:
            behaviours=BEHAVIOURS.format(corpus=corpus_name),
            examples=task_files(EXAMPLES, corpus_name),
            splits=task_files(TASK_SPLIT, corpus_name, CONFIG.protocol.split),
            code=code("baselines"),
        output:
            scores=baseline_files(SCORE, [corpus_name]),
            predictions=baseline_files(PREDICTIONS, [corpus_name]),
        log:
            f"{OUT}/logs/baselines/{corpus_name}.log",
        benchmark:
            f"{OUT}/benchmarks/baselines/{corpus_name}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("baselines", corpus_name),
        params:
            store=subpath(input.behaviours, ancestor=2),
            splits=lambda w, corpus=corpus_name: f"{OUT}/splits/{CONFIG.protocol.split}/{corpus}",
            tasks=lambda w, corpus=corpus_name: baseline_tasks(corpus),
            max_length=CONFIG.encoder.max_length,
            seed=SEEDS[0],
        message:
            "Score the simple baselines (bag of items, popularity)"
        shell:
            "python -m userbench baselines --store {params.store} --splits {params.splits}"
            " --max-length {params.max_length} --seed {params.seed} {params.tasks:q} > {log} 2>&1"
