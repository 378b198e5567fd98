# Store and splits -> pre-trained encoders.
# In:  data/<corpus>/behaviours/, splits/<by>/<corpus>/users/, the last checkpoint of the run it starts
#      from, and what else its method is given (neighbours/<by>/<corpus>/, a generator); where test
#      users are held out, all tasks of the corpus and their splits
# Out: pretrain/<run>/<corpus>/seed<k>/epoch<e>.safetensors for every kept epoch, curve.json
# Why a loop: one rule for seeds that go alone, and one for each group that shares a process.

PRETRAININGS = [("|".join(CORPORA), (), RUNS)] + [
    (corpus, group, runs)
    for corpus in CORPORA
    for group, runs in company(f"{OUT}/pretrain/{{run}}/{corpus}/seed{{seed}}/curve.json").items()
]


for corpora, group, runs in PRETRAININGS:

    rule:
        name:
            named("pretrain", group, corpora)
        input:
            behaviours=lambda w: behaviours(w.corpus),
            users=lambda w: user_split(w.run, w.corpus),
            held_out=held_out_data,
            init=lambda w, group=group: warm_start(w, seeds_of(w, group)),
            given=lambda w, group=group: given(w, seeds_of(w, group)),
            code=code("pretrain"),
            method=lambda w: method_code(w.run),
        output:
            epochs=[
                path for each in checkpoints("{run}", KEPT_EPOCHS) for path in of_each(each, group)
            ],
            curve=of_each(f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/curve.json", group),
        log:
            f"{OUT}/logs/pretrain/{{run}}/{{corpus}}/{label(group)}.log",
        benchmark:
            f"{OUT}/benchmarks/pretrain/{{run}}/{{corpus}}/{label(group)}.tsv"
        wildcard_constraints:
            corpus=corpora,
            run="|".join(map(re.escape, runs)),
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("pretrain", group=group),
        params:
            store=subpath(input.behaviours, ancestor=2),
            splits=subpath(input.users, ancestor=2),
            method=lambda w: RUNS[w.run]["method"],
            changes=settings,
            init=lambda w: init_flag(warm_start(w, EACH)),
            encoder=encoder,
            epochs=LAST_EPOCH,
            keep=KEPT_EPOCHS,
            batch_size=batch_size,
            loop=loop_flags,
            hold_out=held_out,
            device=device,
            out=lambda w: f"{OUT}/pretrain/{w.run}/{w.corpus}/seed{{seed}}",
            # Why output: what is derived of it is no reason to run a job again.
            seeds=lambda w, output, group=group: seeds_of(w, group),
            together=lambda w, output: WAY,
            state=lambda w, output: state_flags("pretrain", w, w.corpus),
        message:
            "Pre-train {wildcards.run} on {wildcards.corpus}, seed {params.seeds} (follow: tail -f {log})"
        # Why exec: a signal reaches the training, not a shell around it.
        shell:
            "exec python -m userbench.pretrain --store {params.store} --splits {params.splits}"
            " --method {params.method} --set {params.changes:q} {params.init}"
            " --encoder {params.encoder:q} --epochs {params.epochs}"
            " --batch-size {params.batch_size} {params.loop} {params.hold_out} --keep {params.keep}"
            " --seed {params.seeds} --together {params.together} --device {params.device}"
            " --out {params.out} {params.state} > {log} 2>&1"
