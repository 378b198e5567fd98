# Encoders as pre-training left them -> user vectors -> heads on them, and the table of their scores.
# In:  data/<corpus>/, splits/<by>/<corpus>/tasks/, the candidate checkpoints of a run or, of a run of
#      given vectors, the files that the config names
# Out: vectors/<run>/<corpus>/seed<k>/epoch<e>.parquet (start<n>.parquet of an untrained encoder),
#      vectors/item-counts/<corpus>/counts.parquet, frozen/<run>/<task>/seed<k>.json and
#      .predictions.parquet; frozen.*, frozen_scores, frozen_statistics, frozen_aggregate and
#      frozen_headline, by the commands of Table 2

FROZEN = CONFIG.frozen.rows


# Why a loop: the outputs of a rule are fixed, and runs differ in their candidates.
for row in encoders_of(EXPERIMENT):

    rule:
        name:
            f"embed_{row}"
        input:
            behaviours=BEHAVIOURS,
            ids=lambda w: ids_of(w.corpus),
            init=lambda w, row=row: candidates(row, w.corpus, seeds_of(w)),
            code=code("embed"),
            method=method_code(row),
        output:
            of_seeds(made_vectors(row, "{corpus}", "{seed}")),
        log:
            f"{OUT}/logs/vectors/{row}/{{corpus}}/{SEED}.log",
        benchmark:
            f"{OUT}/benchmarks/vectors/{row}/{{corpus}}/{SEED}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("embed", run=row),
        params:
            run=row,
            store=subpath(input.behaviours, ancestor=2),
            encoder=json.dumps(settings.encoder_sizes(EXPERIMENT, row)),
            # Why a function: braces of a param that is a text are wildcards.
            method=lambda w, row=row: settings.method_flags(EXPERIMENT, row),
            checkpoints=lambda w, row=row: checkpoints_flag(row, w.corpus),
            starts=settings.starts_flag(EXPERIMENT, row),
            out=lambda w, row=row: VECTORS.format(
                run=row, corpus=w.corpus, seed="{seed}", candidate="{candidate}"
            ),
            device=device,
            # Why output: what is derived of it is no reason to run a job again.
            seeds=lambda w, output: seeds_of(w),
        message:
            f"Write the user vectors of {row} on {{wildcards.corpus}}"
        shell:
            "python -m userbench embed --store {params.store} --run {params.run:q} {params.method:q}"
            " {params.checkpoints:q} {params.starts} --encoder {params.encoder:q}"
            " --seed {params.seeds} --device {params.device} --out {params.out} > {log} 2>&1"


rule counts:
    """Count the items of every user of {wildcards.corpus}, as a user vector."""
    input:
        behaviours=BEHAVIOURS,
        ids=lambda w: ids_of(w.corpus),
        code=code("counts"),
    output:
        COUNTS,
    log:
        f"{OUT}/logs/vectors/{ITEM_COUNTS}/{{corpus}}.log",
    benchmark:
        f"{OUT}/benchmarks/vectors/{ITEM_COUNTS}/{{corpus}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **needs("counts"),
    params:
        store=subpath(input.behaviours, ancestor=2),
        max_length=CONFIG.encoder.max_length,
        width=256,
    message:
        "Count the items of the users of {wildcards.corpus}"
    shell:
        "python -m userbench counts --store {params.store} --max-length {params.max_length}"
        " --width {params.width} --out {output} > {log} 2>&1"


for corpus_name in CORPORA:
    written = expand(
        [FROZEN_SCORE, FROZEN_PREDICTIONS],
        task=EXPERIMENT.tasks_of(corpus_name),
        allow_missing=True,
    )

    rule:
        name:
            f"heads_{corpus_name}"
        input:
            behaviours=BEHAVIOURS.format(corpus=corpus_name),
            ids=ids_of(corpus_name),
            examples=task_files(EXAMPLES, corpus_name),
            splits=lambda w, corpus=corpus_name: task_files(
                TASK_SPLIT, corpus, RUNS[w.run].protocol.split
            ),
            # Why not those that are given: their content is a param.
            vectors=lambda w, corpus=corpus_name: made_vectors(w.run, corpus, seeds_of(w)),
            code=code("frozen"),
        output:
            of_seeds(written),
        log:
            f"{OUT}/logs/frozen/{{run}}/{corpus_name}/{SEED}.log",
        benchmark:
            f"{OUT}/benchmarks/frozen/{{run}}/{corpus_name}/{SEED}.tsv"
        wildcard_constraints:
            run="|".join(map(re.escape, FROZEN)),
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("frozen", corpus_name),
        params:
            store=subpath(input.behaviours, ancestor=2),
            splits=lambda w, corpus=corpus_name: splits_of(w.run, corpus),
            content=lambda w, corpus=corpus_name: given_content(w.run, corpus),
            vectors=lambda w, output, corpus=corpus_name: vector_files(w.run, corpus, "{seed}"),
            head=settings.head_flags(EXPERIMENT),
            order=lambda w: RUNS[w.run].protocol.order,
            max_bad_rows=lambda w, output, corpus=corpus_name: CORPORA[corpus].max_bad_rows,
            tasks=lambda w, corpus=corpus_name: frozen_tasks(w.run, corpus, "{seed}"),
            device=device,
            # Why output: what is derived of it is no reason to run a job again.
            seeds=lambda w, output: seeds_of(w),
        message:
            "Train heads on the vectors of {wildcards.run}, seed {params.seeds}"
        shell:
            "python -m userbench frozen --store {params.store} --splits {params.splits}"
            " --run {wildcards.run} --vectors {params.vectors:q} {params.head:q}"
            " --seed {params.seeds} --order {params.order:q} --max-bad-rows {params.max_bad_rows}"
            " --device {params.device} {params.tasks:q} > {log} 2>&1"

    rule:
        name:
            f"item_counts_{corpus_name}"
        input:
            behaviours=BEHAVIOURS.format(corpus=corpus_name),
            ids=ids_of(corpus_name),
            examples=task_files(EXAMPLES, corpus_name),
            splits=task_files(TASK_SPLIT, corpus_name, CONFIG.protocol.split),
            vectors=COUNTS.format(corpus=corpus_name),
            code=code("frozen"),
        output:
            expand(written, run=ITEM_COUNTS, seed=SEEDS[0]),
        log:
            f"{OUT}/logs/frozen/{ITEM_COUNTS}/{corpus_name}.log",
        benchmark:
            f"{OUT}/benchmarks/frozen/{ITEM_COUNTS}/{corpus_name}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            **needs("frozen", corpus_name, ITEM_COUNTS),
        params:
            run=ITEM_COUNTS,
            store=subpath(input.behaviours, ancestor=2),
            splits=lambda w, corpus=corpus_name: f"{OUT}/splits/{CONFIG.protocol.split}/{corpus}",
            head=settings.head_flags(EXPERIMENT),
            order=CONFIG.protocol.order,
            tasks=lambda w, corpus=corpus_name: frozen_tasks(ITEM_COUNTS, corpus, SEEDS[0]),
            device=device,
            seed=SEEDS[0],
        message:
            "Train heads on item counts"
        shell:
            "python -m userbench frozen --store {params.store} --splits {params.splits}"
            " --run {params.run:q} --vectors {input.vectors} {params.head:q} --seed {params.seed}"
            " --order {params.order:q} --device {params.device} {params.tasks:q} > {log} 2>&1"


rule frozen_scores:
    """Gather the scores of the frozen table in one tidy table."""
    input:
        scores=frozen_files(FROZEN_SCORE),
        baselines=baseline_files(SCORE),
        code=code("results.scores"),
    output:
        csv=f"{OUT}/frozen_scores.csv",
        provenance=f"{OUT}/frozen_scores.csv.provenance.json",
    log:
        f"{OUT}/logs/frozen_scores.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Gather the scores of the frozen protocol"
    shell:
        "python -m userbench scores --scores {input.scores} {input.baselines}"
        " --out {output.csv} > {log} 2>&1"


rule frozen_statistics:
    """Compare the rows of the frozen table, task by task and over all tasks."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/frozen_scores.csv",
        predictions=frozen_files(FROZEN_PREDICTIONS),
        baselines=baseline_files(PREDICTIONS),
        code=code("report.statistics.command"),
        templates=templates("statistics.md", "aggregate.md", "line.md"),
    output:
        csv=f"{OUT}/frozen_statistics.csv",
        md=f"{OUT}/frozen_statistics.md",
        provenance=f"{OUT}/frozen_statistics.csv.provenance.json",
        aggregate_csv=f"{OUT}/frozen_aggregate.csv",
        aggregate_md=f"{OUT}/frozen_aggregate.md",
        aggregate_provenance=f"{OUT}/frozen_aggregate.csv.provenance.json",
    log:
        f"{OUT}/logs/frozen_statistics.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Compare the rows of the frozen table"
    shell:
        "python -m userbench statistics --table frozen --scores {input.scores}"
        " --predictions {input.predictions} {input.baselines} --experiment {input.experiment}"
        " --csv {output.csv} --md {output.md} --aggregate-csv {output.aggregate_csv}"
        " --aggregate-md {output.aggregate_md} > {log} 2>&1"


rule frozen_headline:
    """What the frozen table says, in sentences: they also open its pages."""
    input:
        experiment=SPECIFICATION,
        statistics=f"{OUT}/frozen_statistics.csv",
        code=code("report.tables.headline"),
        templates=templates("headline.md"),
    output:
        md=f"{OUT}/frozen_headline.md",
        provenance=f"{OUT}/frozen_headline.md.provenance.json",
    log:
        f"{OUT}/logs/frozen_headline.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Say what the frozen table says"
    shell:
        "python -m userbench headline --table frozen --statistics {input.statistics}"
        " --experiment {input.experiment} --md {output.md} > {log} 2>&1"


rule frozen:
    """The table of the frozen protocol: mean and standard deviation over seeds."""
    input:
        experiment=SPECIFICATION,
        scores=f"{OUT}/frozen_scores.csv",
        statistics=f"{OUT}/frozen_statistics.csv",
        curves=curves_behind(encoders_of(EXPERIMENT)),
        baselines=baseline_files(SCORE),
        code=code("report.tables.table2"),
        templates=templates("table2.md", "table2.tex", "table2.html", "table2.part.html"),
        published="src/userbench/report/tables/paper_table2.csv",
    output:
        csv=report(
            f"{OUT}/frozen.csv",
            caption="../report/frozen.rst",
            category="Tables",
            labels={"table": "Frozen encoders", "as": "numbers"},
        ),
        md=f"{OUT}/frozen.md",
        tex=f"{OUT}/frozen.tex",
        html=report(
            f"{OUT}/frozen.html",
            caption="../report/frozen.rst",
            category="Tables",
            labels={"table": "Frozen encoders", "as": "in a page"},
        ),
        provenance=f"{OUT}/frozen.csv.provenance.json",
    log:
        f"{OUT}/logs/frozen.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Make the table of the frozen protocol"
    shell:
        "python -m userbench table2 --table frozen --scores {input.scores}"
        " --statistics {input.statistics} --baselines {input.baselines} --curves {input.curves}"
        " --experiment {input.experiment} --csv {output.csv} --md {output.md} --tex {output.tex}"
        " --html {output.html} > {log} 2>&1"


rule publish_frozen:
    """Copy the frozen table of this experiment to the root of results/."""
    input:
        [f"{OUT}/{name}" for name in FROZEN_TABLES],
    output:
        [f"results/{name}" for name in FROZEN_TABLES],
    log:
        f"{OUT}/logs/publish_frozen.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        f"Publish the frozen table of experiment {CONFIG.experiment} in results/"
    shell:
        "cp {input} results/ 2> {log}"
