# Store and splits -> pre-trained encoders.
# In:  data/<corpus>/, splits/<by>/<corpus>/, the last checkpoint of the run it starts from, and what
#      else its method is given (neighbours/<by>/<corpus>/, a generator)
# Out: pretrain/<run>/<corpus>/seed<k>/epoch<e>.safetensors for every kept epoch, curve.json


rule pretrain:
    """Pre-train run {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}."""
    input:
        store=f"{OUT}/data/{{corpus}}",
        splits=lambda w: splits_of(w, w.corpus),
        init=warm_start,
        given=given,
        code=code("pretrain"),
        method=lambda w: method_code(w.run),
    output:
        epochs=checkpoints("{run}", KEPT_EPOCHS),
        curve=f"{OUT}/pretrain/{{run}}/{{corpus}}/seed{{seed}}/curve.json",
    log:
        f"{OUT}/logs/pretrain/{{run}}/{{corpus}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/benchmarks/pretrain/{{run}}/{{corpus}}/seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        method=lambda w: RUNS[w.run]["method"],
        changes=lambda w, input: settings(w, input.given),
        init=lambda w, input: f"--init {input.init}" if input.init else "",
        encoder=encoder,
        epochs=LAST_EPOCH,
        keep=KEPT_EPOCHS,
        batch_size=batch_size,
        loop=loop_flags,
        hold_out=held_out,
        device=DEVICE,
        out=subpath(output.curve, parent=True),
    message:
        "Pre-train {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed} (follow: tail -f {log})"
    shell:
        "python -m userbench.pretrain --store {input.store} --splits {input.splits}"
        " --method {params.method} --set {params.changes:q} {params.init}"
        " --encoder {params.encoder:q} --epochs {params.epochs} --batch-size {params.batch_size}"
        " {params.loop} {params.hold_out} --keep {params.keep} --seed {wildcards.seed} --device {params.device}"
        " --out {params.out} > {log} 2>&1"
