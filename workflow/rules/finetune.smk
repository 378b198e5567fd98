# Pre-trained encoders -> test scores of every task of their corpus.
# In:  data/<corpus>/, splits/<by>/<corpus>/tasks/, the candidate checkpoints of a run
# Out: finetune/<run>/<task>/seed<k>.json and, where the config tests, seed<k>.predictions.parquet;
#      one process does all tasks of a corpus, because starting Python and torch costs as long as a
#      small fine-tuning
# Why loops: the outputs of a rule are fixed; corpora differ in their tasks, and groups in their seeds.


for corpus_name in CORPORA:
    SCORES = {
        name: f"{OUT}/finetune/{{run}}/{name}/seed{{seed}}.json" for name in tasks_of(corpus_name)
    }

    for group, runs in {(): RUNS, **company([*SCORES.values()][0])}.items():

        rule:
            name:
                named(f"finetune_{corpus_name}", group)
            input:
                behaviours=behaviours(corpus_name),
                examples=examples(corpus_name),
                splits=lambda w, corpus=corpus_name: task_splits(split_of(w.run), corpus),
                init=lambda w, corpus=corpus_name, group=group: candidates(
                    w, corpus, seeds_of(w, group)
                ),
                code=code("finetune"),
                method=lambda w: method_code(w.run),
            output:
                scores=[path for scores in SCORES.values() for path in of_each(scores, group)],
                predictions=[
                    path
                    for scores in (SCORES.values() if TESTED else [])
                    for path in of_each(scores.replace(".json", ".predictions.parquet"), group)
                ],
            log:
                f"{OUT}/logs/finetune/{{run}}/{corpus_name}/{label(group)}.log",
            benchmark:
                f"{OUT}/benchmarks/finetune/{{run}}/{corpus_name}/{label(group)}.tsv"
            wildcard_constraints:
                run="|".join(map(re.escape, runs)),
            conda:
                "../../environment.yml"
            threads: 1
            resources:
                **needs("finetune", corpus_name, group),
            params:
                store=subpath(input.behaviours, ancestor=2),
                splits=lambda w, corpus=corpus_name: splits_of(w.run, corpus),
                encoder=encoder,
                init=lambda w, corpus=corpus_name: init_flag(candidates(w, corpus, EACH)),
                starts=starts_flag,
                method=method_flags,
                loop=loop_flags,
                tasks=lambda w, corpus=corpus_name, scores=SCORES: finetune_flags(
                    w.run,
                    tasks_of(corpus),
                    [path.replace("{run}", w.run) for path in scores.values()],
                ),
                test="" if TESTED else "--no-test",
                device=device,
                # Why output: what is derived of it is no reason to run a job again.
                seeds=lambda w, output, group=group: seeds_of(w, group),
                together=lambda w, output: WAY,
                state=lambda w, output, corpus=corpus_name: state_flags("finetune", w, corpus),
            message:
                "Fine-tune {wildcards.run}, seed {params.seeds} (follow: tail -f {log})"
            # Why exec: a signal reaches the training, not a shell around it.
            shell:
                "exec python -m userbench.finetune --store {params.store} --splits {params.splits}"
                " --run {wildcards.run} {params.method} {params.init} {params.starts}"
                " --encoder {params.encoder:q}"
                " --seed {params.seeds} --together {params.together} {params.loop} {params.test}"
                " --device {params.device} {params.state} {params.tasks} > {log} 2>&1"

    rule:
        name:
            f"references_{corpus_name}"
        input:
            behaviours=behaviours(corpus_name),
            examples=examples(corpus_name),
            splits=task_splits(PROTOCOL["split"], corpus_name),
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
        resources:
            **needs("references", corpus_name),
        params:
            store=subpath(input.behaviours, ancestor=2),
            splits=lambda w, corpus=corpus_name: f"{OUT}/splits/{PROTOCOL['split']}/{corpus}",
            tasks=lambda w, output, corpus=corpus_name: reference_flags(
                tasks_of(corpus), output.scores
            ),
            max_length=config["encoder"]["max_length"],
            seed=SEEDS[0],
        message:
            "Score the simple references (bag of items, popularity)"
        shell:
            "python -m userbench.references --store {params.store} --splits {params.splits}"
            " --max-length {params.max_length} --seed {params.seed} {params.tasks} > {log} 2>&1"
