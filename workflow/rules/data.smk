# Raw behaviour data -> array store -> splits.
# In:  the real folder or zip of a corpus, or the simulated world in the same format
# Out: data/<corpus>/ (items, offsets, tasks, manifest), splits/<by>/<corpus>/, and, where a method
#      asks for it, neighbours/<by>/<corpus>/


rule simulate:
    """Write the raw files of {wildcards.corpus} from the simulated world."""
    input:
        code=code("data.simulate"),
    output:
        directory(f"{OUT}/raw/{{corpus}}"),
    log:
        f"{OUT}/logs/simulate/{{corpus}}.log",
    benchmark:
        f"{OUT}/benchmarks/simulate/{{corpus}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("simulate"),
    params:
        format=lambda w: CORPORA[w.corpus].format,
        world=lambda w: [
            f"{name}={json.dumps(value)}"
            for name, value in CORPORA[w.corpus].simulate.overrides.items()
        ],
        users=lambda w: CORPORA[w.corpus].simulate.users,
        n_items=lambda w: CORPORA[w.corpus].simulate.items,
        seed=lambda w: CORPORA[w.corpus].simulate.seed,
    message:
        "Simulate the raw files of {wildcards.corpus}"
    shell:
        "python -m userbench.data.simulate --format {params.format} --users {params.users}"
        " --items {params.n_items} --seed {params.seed} --set {params.world:q} --out {output}"
        " > {log} 2>&1"


rule store:
    """Read the raw files of {wildcards.corpus} into arrays; join task rows to users."""
    input:
        raw=raw_inputs,
        code=code("data.store"),
    output:
        directory(f"{OUT}/data/{{corpus}}"),
    log:
        f"{OUT}/logs/store/{{corpus}}.log",
    benchmark:
        f"{OUT}/benchmarks/store/{{corpus}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("store"),
    params:
        format=lambda w: CORPORA[w.corpus].format,
        raw=lambda w, input: RAW.get(w.corpus) or input.raw,
        sources=lambda w: json.dumps(
            {n: task.source or n for n, task in EXPERIMENT.tasks_of(w.corpus).items()}
        ),
        max_bad_rows=lambda w: CORPORA[w.corpus].max_bad_rows,
        checksums=lambda w: json.dumps(CORPORA[w.corpus].sha256),
    message:
        "Read the raw files of {wildcards.corpus} into {output}"
    shell:
        "python -m userbench.data.store --format {params.format} --raw {params.raw:q}"
        " --sources {params.sources:q} --max-bad-rows {params.max_bad_rows}"
        " --sha256 {params.checksums:q} --out {output} > {log} 2>&1"


rule splits:
    """Split pre-training 90/10 and every task of {wildcards.corpus} 6:2:2."""
    input:
        store=f"{OUT}/data/{{corpus}}",
        code=code("data.splits"),
    output:
        directory(f"{OUT}/splits/{{by}}/{{corpus}}"),
    log:
        f"{OUT}/logs/splits/{{by}}/{{corpus}}.log",
    benchmark:
        f"{OUT}/benchmarks/splits/{{by}}/{{corpus}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("splits"),
    params:
        tasks=lambda w: list(EXPERIMENT.tasks_of(w.corpus)),
        seed=CONFIG.splits.seed,
    message:
        "Split the users and examples of {wildcards.corpus}"
    shell:
        "python -m userbench.data.splits --store {input.store} --tasks {params.tasks}"
        " --by {wildcards.by} --seed {params.seed} --out {output} > {log} 2>&1"


rule neighbours:
    """Items that the same users of {wildcards.corpus} have (ItemCF-IUF), the best few of each."""
    input:
        store=f"{OUT}/data/{{corpus}}",
        splits=f"{OUT}/splits/{{by}}/{{corpus}}",
        code=code("data.neighbours"),
    output:
        directory(f"{OUT}/neighbours/{{by}}/{{corpus}}"),
    log:
        f"{OUT}/logs/neighbours/{{by}}/{{corpus}}.log",
    benchmark:
        f"{OUT}/benchmarks/neighbours/{{by}}/{{corpus}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("neighbours"),
    params:
        top=5,
    message:
        "Find the neighbours of every item of {wildcards.corpus}"
    shell:
        "python -m userbench.data.neighbours --store {input.store} --splits {input.splits}"
        " --top {params.top} --out {output} > {log} 2>&1"
