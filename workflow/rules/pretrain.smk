# Store and splits -> pre-trained encoders.
# In:  data/<corpus>/behaviours/, splits/<by>/<corpus>/users/, the last checkpoint of the run it starts
#      from, and what else its method reads (neighbours/<by>/<corpus>/, a generator); where test
#      users are held out, all tasks of the corpus and their splits
# Out: pretrain/<run>/<corpus>/seed<k>/epoch<e>.safetensors for every kept epoch, curve.json


rule pretrain:
    """Pre-train one run on one corpus, one seed or all of them in one process."""
    input:
        behaviours=BEHAVIOURS,
        users=user_split,
        held_out=held_out_data,
        init=warm_start,
        inputs=method_inputs,
        code=code("pretrain"),
        method=lambda w: method_code(w.run),
    output:
        epochs=of_seeds(expand(EPOCH, epoch=EXPERIMENT.kept_epochs, allow_missing=True)),
        curve=of_seeds(CURVE),
    log:
        f"{OUT}/logs/pretrain/{{run}}/{{corpus}}/{SEED}.log",
    benchmark:
        f"{OUT}/benchmarks/pretrain/{{run}}/{{corpus}}/{SEED}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **needs("pretrain"),
    params:
        store=subpath(input.behaviours, ancestor=2),
        splits=subpath(input.users, ancestor=2),
        method=lambda w: RUNS[w.run].method,
        overrides=overrides,
        init=init_flag,
        encoder=lambda w: json.dumps(settings.encoder_sizes(EXPERIMENT, w.run)),
        epochs=EXPERIMENT.last_epoch,
        keep=EXPERIMENT.kept_epochs,
        batch_size=lambda w: settings.batch_size(EXPERIMENT, w.run, w.corpus),
        loop=lambda w: settings.loop_flags(EXPERIMENT, w.run),
        hold_out=lambda w: settings.hold_out_flags(EXPERIMENT, w.run, w.corpus),
        device=device,
        out=lambda w: f"{OUT}/pretrain/{w.run}/{w.corpus}/seed{{seed}}",
        # Why output: what is derived of it is no reason to run a job again.
        seeds=lambda w, output: seeds_of(w),
        state=lambda w, output: f"{OUT}/states/pretrain.{w.run}.{w.corpus}.seed{{seed}}",
        save=settings.save_flag(EXPERIMENT),
    message:
        "Pre-train {wildcards.run} on {wildcards.corpus}, seed {params.seeds} (follow: tail -f {log})"
    # Why exec: a signal reaches the training, not a shell around it.
    shell:
        "exec python -m userbench pretrain --store {params.store} --splits {params.splits}"
        " --method {params.method} --set {params.overrides:q} {params.init}"
        " --encoder {params.encoder:q} --epochs {params.epochs}"
        " --batch-size {params.batch_size} {params.loop} {params.hold_out} --keep {params.keep}"
        " --seed {params.seeds} --device {params.device}"
        " --out {params.out} --state {params.state} {params.save} > {log} 2>&1"
