# Pre-trained encoders -> how alike a user's vectors stay under augmentation.
# In:  data/<corpus>/, splits/<by>/<corpus>/, the last checkpoint of a run
# Out: similarity/<run>/<corpus>/seed<k>.parquet


rule similarity:
    """Cosines of held-out users, of run {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}."""
    input:
        store=f"{OUT}/data/{{corpus}}",
        splits=lambda w: splits_of(w.run, w.corpus),
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
        method=method_flags,
        encoder=lambda w: json.dumps(settings.encoder_sizes(EXPERIMENT, w.run)),
        measured=lambda w: settings.similarity_flags(EXPERIMENT),
        device=device,
    message:
        "Measure the similarities of {wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}"
    shell:
        "python -m userbench.similarity --store {input.store} --splits {input.splits}"
        " --run {wildcards.run} {params.method:q} --checkpoint {input.checkpoint}"
        " --encoder {params.encoder:q} {params.measured:q} --seed {wildcards.seed} --device {params.device}"
        " --out {output.parquet} > {log} 2>&1"
