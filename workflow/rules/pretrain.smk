# Store and splits -> pre-trained encoders.
# In:  data/<corpus>/, splits/<corpus>/, and the last checkpoint of the run it starts from
# Out: pretrain/<run>/<corpus>/seed<k>/epoch<e>.safetensors for every kept epoch, curve.json


rule pretrain:
    """Pre-train run {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}."""
    input:
        store=f"{OUT}/data/{{corpus}}",
        splits=f"{OUT}/splits/{{corpus}}",
        init=warm_start,
        code=code("pretrain"),
        method=lambda w: method_code(RUNS[w.run]["method"]),
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
        changes=lambda w: json.dumps(RUNS[w.run].get("set", {})),
        init=lambda w, input: f"--init {input.init}" if input.init else "",
        encoder=json.dumps(config["encoder"]),
        epochs=LAST_EPOCH,
        keep=KEPT_EPOCHS,
        batch_size=config["pretrain"]["batch_size"],
        device=DEVICE,
        out=subpath(output.curve, parent=True),
    message:
        "Pre-train {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed} (follow: tail -f {log})"
    shell:
        "python -m userbench.pretrain --store {input.store} --splits {input.splits}"
        " --method {params.method} --set {params.changes:q} {params.init}"
        " --encoder {params.encoder:q} --epochs {params.epochs} --batch-size {params.batch_size}"
        " --keep {params.keep} --seed {wildcards.seed} --device {params.device}"
        " --out {params.out} > {log} 2>&1"
