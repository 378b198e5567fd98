# Logs of events -> array store: of a corpus of format events, what data.smk makes of other formats.
# In:  the files that `events` names of a corpus, and `labels` or `targets` of a task
# Out: data/<corpus>/behaviours, ids and held_out, and data/<corpus>/tasks/<task>


rule events_corpus:
    """Read the events of {wildcards.corpus} into arrays, without those that are held out."""
    input:
        code=lambda w: events_code("corpus"),
    output:
        behaviours=f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
        ids=f"{OUT}/data/{{corpus}}/ids/checksums.json",
        held_out=f"{OUT}/data/{{corpus}}/held_out/checksums.json",
    log:
        f"{OUT}/logs/data/{{corpus}}/events.log",
    benchmark:
        f"{OUT}/benchmarks/data/{{corpus}}/events.tsv"
    wildcard_constraints:
        corpus=either(LOGS),
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        **needs("events_corpus"),
    params:
        settings=lambda w: json.dumps(CORPORA[w.corpus].settings()),
        content=lambda w: tables_content(w.corpus, tables_of(w.corpus), "behaviours"),
        raw=lambda w, output: RAW[w.corpus],
        max_bad_rows=lambda w, output: CORPORA[w.corpus].max_bad_rows,
        checksums=lambda w, output: expected_checksums(w.corpus, tables_of(w.corpus)),
        out=subpath(output.behaviours, ancestor=2),
    message:
        "Read the events of {wildcards.corpus} into {params.out}"
    shell:
        "python -m userbench events corpus --raw {params.raw:q} --settings {params.settings:q}"
        " --max-bad-rows {params.max_bad_rows} --sha256 {params.checksums:q}"
        " --threads {threads} --out {params.out} > {log} 2>&1"


rule events_task:
    """Make the examples of task {wildcards.task} for the users of {wildcards.corpus}."""
    input:
        behaviours=f"{OUT}/data/{{corpus}}/behaviours/checksums.json",
        joined=lambda w: joined_to(w.corpus, w.task),
        code=lambda w: events_code("tasks"),
    output:
        f"{OUT}/data/{{corpus}}/tasks/{{task}}/checksums.json",
    log:
        f"{OUT}/logs/data/{{corpus}}/tasks/{{task}}.log",
    benchmark:
        f"{OUT}/benchmarks/data/{{corpus}}/tasks/{{task}}.tsv"
    wildcard_constraints:
        corpus=either(LOGS),
    conda:
        "../../environment.yml"
    resources:
        **needs("events_task"),
    params:
        settings=lambda w: json.dumps(TASKS[w.task].settings()),
        content=lambda w: tables_content(w.corpus, TASKS[w.task].tables, f"tasks/{w.task}"),
        raw=lambda w, output: RAW[w.corpus],
        max_bad_rows=lambda w, output: CORPORA[w.corpus].max_bad_rows,
        checksums=lambda w, output: expected_checksums(w.corpus, TASKS[w.task].tables),
        store=subpath(input.behaviours, ancestor=2),
        out=subpath(output[0], parent=True),
    message:
        "Make the examples of task {wildcards.task} in {params.out}"
    shell:
        "python -m userbench events task --raw {params.raw:q} --settings {params.settings:q}"
        " --store {params.store} --max-bad-rows {params.max_bad_rows}"
        " --sha256 {params.checksums:q}"
        " --out {params.out} > {log} 2>&1"
