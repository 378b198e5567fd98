# Pre-trained encoders -> how alike a user's vectors stay under augmentation.
# In:  data/<corpus>/behaviours/, splits/<by>/<corpus>/users/, the last checkpoint of a run
# Out: similarity/<run>/<corpus>/seed<k>.parquet


rule similarity:
    """Cosines of held-out users, of run {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}."""
    input:
        behaviours=BEHAVIOURS,
        users=user_split,
        checkpoint=lambda w: last_checkpoint(RUNS[w.run].encoder, w.corpus, w.seed),
        code=code("similarity"),
        method=lambda w: method_code(w.run),
    output:
        parquet=COSINES,
        provenance=f"{COSINES}.provenance.json",
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
        method=lambda w: settings.method_flags(EXPERIMENT, w.run),
        encoder=lambda w: json.dumps(settings.encoder_sizes(EXPERIMENT, w.run)),
        measured=lambda w: settings.similarity_flags(EXPERIMENT),
        device=device,
    message:
        "Measure the similarities of {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}"
    shell:
        "python -m userbench similarity --store {params.store} --splits {params.splits}"
        " --run {wildcards.run} {params.method:q} --checkpoint {input.checkpoint}"
        " --encoder {params.encoder:q} {params.measured:q} --seed {wildcards.seed} --device {params.device}"
        " --out {output.parquet} > {log} 2>&1"
