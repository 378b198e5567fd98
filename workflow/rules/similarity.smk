# Pre-trained encoders -> how alike a user's vectors stay under augmentation.
# In:  data/<corpus>/behaviours/, splits/<by>/<corpus>/users/, the last checkpoint of a run
# Out: similarity/<run>/<corpus>/seed<k>.parquet


rule similarity:
    """Cosines of held-out users, of run {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}."""
    input:
        behaviours=lambda w: behaviours(w.corpus),
        users=lambda w: user_split(w.run, w.corpus),
        checkpoint=last_checkpoint,
        code=code("similarity"),
        method=lambda w: method_code(w.run),
    output:
        parquet=f"{OUT}/similarity/{{run}}/{{corpus}}/seed{{seed}}.parquet",
        provenance=f"{OUT}/similarity/{{run}}/{{corpus}}/seed{{seed}}.parquet.provenance.json",
    log:
        f"{OUT}/logs/similarity/{{run}}/{{corpus}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/benchmarks/similarity/{{run}}/{{corpus}}/seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **needs("similarity"),
    params:
        store=subpath(input.behaviours, ancestor=2),
        splits=subpath(input.users, ancestor=2),
        method=method_flags,
        encoder=encoder,
        views=json.dumps(config.get("similarity", {}).get("views", {})),
        users=config.get("similarity", {}).get("users", 2000),
        under_dropout=[
            word
            for key, value in config.get("similarity", {}).items()
            if key in ("encode", "dropout")
            for word in (f"--{key}", str(value))
        ],
        device=device,
    message:
        "Measure the similarities of {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}"
    shell:
        "python -m userbench.similarity --store {params.store} --splits {params.splits}"
        " --run {wildcards.run} {params.method} --checkpoint {input.checkpoint}"
        " --encoder {params.encoder:q} --views {params.views:q} --users {params.users}"
        " {params.under_dropout:q} --seed {wildcards.seed} --device {params.device}"
        " --out {output.parquet} > {log} 2>&1"
