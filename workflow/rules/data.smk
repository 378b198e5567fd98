# Raw behaviour data -> array store -> splits, and neighbours of items where a method needs them.
# In:  the real folder or zip of a corpus, or the simulated world in the same format
# Out: the folders that paths.smk lists, each with its checksums.json
# Why `output` among the arguments of a param: Snakemake then reruns no job because it changed.


rule simulate:
    """Write the raw files of {wildcards.corpus} from the simulated world."""
    input:
        code=with_format("data.simulate"),
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
        "python -m userbench simulate --format {params.format} --users {params.users}"
        " --items {params.n_items} --seed {params.seed} --set {params.world:q} --out {output}"
        " > {log} 2>&1"


rule behaviours:
    """Read the pre-training file of {wildcards.corpus} into arrays."""
    input:
        raw=lambda w: [] if w.corpus in RAW else f"{OUT}/raw/{w.corpus}",
        code=with_format("data.ingest"),
    output:
        f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
    log:
        f"{OUT}/logs/data/{{corpus}}/behaviours.log",
    benchmark:
        f"{OUT}/benchmarks/data/{{corpus}}/behaviours.tsv"
    wildcard_constraints:
        corpus=either(FIXED),
    conda:
        "../../environment.yml"
    resources:
        **needs("behaviours"),
    params:
        format=lambda w: CORPORA[w.corpus].format,
        content=lambda w: raw_content(w.corpus, "pretrain", "behaviours"),
        raw=lambda w, output: RAW.get(w.corpus, f"{OUT}/raw/{w.corpus}"),
        max_bad_rows=lambda w, output: CORPORA[w.corpus].max_bad_rows,
        checksums=lambda w, output: json.dumps(CORPORA[w.corpus].sha256),
        out=subpath(output[0], parent=True),
    message:
        "Read the pre-training file of {wildcards.corpus} into {params.out}"
    shell:
        "python -m userbench ingest behaviours --format {params.format} --raw {params.raw:q}"
        " --max-bad-rows {params.max_bad_rows} --sha256 {params.checksums:q}"
        " --out {params.out} > {log} 2>&1"


rule task:
    """Read the examples of task {wildcards.task}; join them to the users of {wildcards.corpus}."""
    input:
        raw=lambda w: [] if w.corpus in RAW else f"{OUT}/raw/{w.corpus}",
        behaviours=f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
        code=with_format("data.ingest"),
    output:
        f"{OUT}/data/{{corpus}}/tasks/{{task}}/checksums.json",
    log:
        f"{OUT}/logs/data/{{corpus}}/tasks/{{task}}.log",
    benchmark:
        f"{OUT}/benchmarks/data/{{corpus}}/tasks/{{task}}.tsv"
    wildcard_constraints:
        corpus=either(FIXED),
    conda:
        "../../environment.yml"
    resources:
        **needs("task"),
    params:
        format=lambda w: CORPORA[w.corpus].format,
        source=lambda w: TASKS[w.task].source or w.task,
        content=lambda w: raw_content(w.corpus, TASKS[w.task].source or w.task, f"tasks/{w.task}"),
        raw=lambda w, output: RAW.get(w.corpus, f"{OUT}/raw/{w.corpus}"),
        max_bad_rows=lambda w, output: CORPORA[w.corpus].max_bad_rows,
        checksums=lambda w, output: json.dumps(CORPORA[w.corpus].sha256),
        behaviours=subpath(input.behaviours, parent=True),
        out=subpath(output[0], parent=True),
    message:
        "Read the examples of task {wildcards.task} into {params.out}"
    shell:
        "python -m userbench ingest task --format {params.format} --raw {params.raw:q}"
        " --source {params.source:q} --behaviours {params.behaviours}"
        " --max-bad-rows {params.max_bad_rows} --sha256 {params.checksums:q}"
        " --out {params.out} > {log} 2>&1"


rule user_split:
    """Split the users of {wildcards.corpus} 90/10, for pre-training."""
    input:
        behaviours=f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
        code=code("data.draw_splits"),
    output:
        f"{OUT}/splits/{{by}}/{{corpus}}/users/checksums.json",
    log:
        f"{OUT}/logs/splits/{{by}}/{{corpus}}/users.log",
    benchmark:
        f"{OUT}/benchmarks/splits/{{by}}/{{corpus}}/users.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("user_split"),
    params:
        seed=CONFIG.splits.seed,
        behaviours=subpath(input.behaviours, parent=True),
        out=subpath(output[0], parent=True),
    message:
        "Split the users of {wildcards.corpus}"
    shell:
        "python -m userbench split users --behaviours {params.behaviours}"
        " --seed {params.seed} --out {params.out} > {log} 2>&1"


rule task_split:
    """Split the examples of task {wildcards.task} 6:2:2."""
    input:
        examples=f"{OUT}/data/{{corpus}}/tasks/{{task}}/checksums.json",
        code=code("data.draw_splits"),
    output:
        f"{OUT}/splits/{{by}}/{{corpus}}/tasks/{{task}}/checksums.json",
    log:
        f"{OUT}/logs/splits/{{by}}/{{corpus}}/tasks/{{task}}.log",
    benchmark:
        f"{OUT}/benchmarks/splits/{{by}}/{{corpus}}/tasks/{{task}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **needs("task_split"),
    params:
        seed=CONFIG.splits.seed,
        kind=lambda w, output: TASKS[w.task].kind,
        examples=subpath(input.examples, parent=True),
        out=subpath(output[0], parent=True),
    message:
        "Split the examples of task {wildcards.task}"
    shell:
        "python -m userbench split examples --examples {params.examples}"
        " --kind {params.kind:q} --by {wildcards.by} --seed {params.seed} --out {params.out} > {log} 2>&1"


rule neighbours:
    """Find the neighbours of every item of {wildcards.corpus} by common users (ItemCF-IUF)."""
    input:
        behaviours=f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
        users=f"{OUT}/splits/{{by}}/{{corpus}}/users/checksums.json",
        code=code("data.neighbours"),
    output:
        f"{OUT}/neighbours/{{by}}/{{corpus}}/checksums.json",
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
        store=subpath(input.behaviours, ancestor=2),
        splits=subpath(input.users, ancestor=2),
        out=subpath(output[0], parent=True),
    message:
        "Find the neighbours of every item of {wildcards.corpus}"
    shell:
        "python -m userbench neighbours --store {params.store} --splits {params.splits}"
        " --top {params.top} --out {params.out} > {log} 2>&1"
