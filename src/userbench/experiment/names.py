"""Every name in a config that points to another part of it points somewhere."""

from collections.abc import Iterator

from userbench.experiment.config import KEYS_OF_FIGURES, Experiment
from userbench.experiment.corpora import EventCorpus, FixedCorpus
from userbench.experiment.figures import read_figure_file
from userbench.experiment.runs import NEIGHBOURS


def check_names(config: Experiment) -> None:
    """ValueError, with key and remedy, for the first name that points nowhere."""
    for problem in problems(config):
        raise ValueError(problem)


def problems(config: Experiment) -> Iterator[str]:
    """Everything that is wrong with the names of a config, a line each."""
    yield from problems_of_corpora(config)
    yield from problems_of_examples(config)
    yield from problems_of_runs(config)
    for where, names in named_runs(config).items():
        for name in names:
            if name not in config.runs:
                yield f"{where}: no run {name!r}; known: {', '.join(config.runs)}"
            elif config.runs[name].vectors is not None and not where.startswith("frozen."):
                yield (
                    f"{where}: run {name!r} is one of given vectors, which nothing trains. Name it "
                    "in frozen.rows alone"
                )
    yield from problems_of_studies(config)
    yield from problems_of_figures(config)
    yield from problems_of_numbers(config)


def problems_of_corpora(config: Experiment) -> Iterator[str]:
    """Tasks of no corpus, and corpora of no task."""
    for name, task in config.tasks.items():
        if task.corpus not in config.corpora:
            known = ", ".join(config.corpora)
            yield f"tasks.{name}.corpus: no corpus {task.corpus!r}; known: {known}"
    for name in config.corpora.keys() - {task.corpus for task in config.tasks.values()}:
        yield f"corpora.{name}: no task is of it. Add one, or leave the corpus out"


def problems_of_examples(config: Experiment) -> Iterator[str]:
    """Tasks that do not say where their examples are, or that their corpus cannot have."""
    for name, task in config.tasks.items():
        where, given = f"tasks.{name}", list(task.examples)
        corpus = config.corpora.get(task.corpus)
        if isinstance(corpus, FixedCorpus) and given:
            yield (
                f"{where}.{given[0]}: only tasks of a corpus of format events have it. Leave it "
                "out, and name the task's file as `source`"
            )
        if not isinstance(corpus, EventCorpus):
            continue
        if task.paper is not None:
            yield f"{where}.paper: {task.corpus!r} is a log, and none of the paper's. Leave it out"
        if task.source is not None:
            yield f"{where}.source: {task.corpus!r} is a log of events. Leave it out"
        if len(given) != 1:
            found = f" and has {' and '.join(given)}" if given else ""
            yield (
                f"{where}: needs one of labels, targets and next_item, as {task.corpus!r} is a "
                f"log of events{found}. Write one of them"
            )
            continue
        (key,) = given
        kinds = ("classification", "binary") if key == "labels" else ("top_n",)
        if task.kind not in kinds:
            yield f"{where}.kind: {task.kind!r} does not fit {key}. Write {' or '.join(kinds)}"
        if key == "next_item" and corpus.hold_out is None:
            yield (
                f"{where}.next_item: corpus {task.corpus!r} holds no events out. Add hold_out: "
                f"{{last: 3}} to corpora.{task.corpus}"
            )


def problems_of_runs(config: Experiment) -> Iterator[str]:
    """Runs that start from, or are given, what is not pre-trained above them."""
    pretrained: list[str] = []
    every = [name for name, run in config.runs.items() if run.method and not run.encoder_of]
    for name, run in config.runs.items():
        # What pre-trains nothing may name any; what pre-trains, those above it.
        above = pretrained if name in every else every
        sources = {f"inputs.{field}": source for field, source in run.inputs.items()}
        if run.init_from is not None:
            sources["init_from"] = run.init_from
        if run.encoder_of is not None:
            sources["encoder_of"] = run.encoder_of
        for key, source in sources.items():
            if source in config.runs and config.runs[source].vectors is not None:
                yield (
                    f"runs.{name}.{key}: run {source!r} is one of given vectors, and has no "
                    "checkpoint. Name a run with a method"
                )
            free = {"init_from": "none", "encoder_of": None}.get(key, NEIGHBOURS)
            if source not in (*above, free):
                known = ", ".join([*above, *([free] if free else [])])
                yield (
                    f"runs.{name}.{key}: no pre-training run {source!r} above {name!r}; known: "
                    f"{known or 'none'}"
                )
        if name in every:
            pretrained.append(name)


def named_runs(config: Experiment) -> dict[str, list[str]]:
    """The runs that each study names, by the key that names them."""
    found: dict[str, list[str]] = {"tuning": list(config.tuning)}
    if config.table2:
        found["table2.rows"] = config.table2.rows
        found["table2.compared_with"] = [config.table2.compared_with]
    if config.frozen:
        found["frozen.rows"] = config.frozen.rows
        found["frozen.compared_with"] = [config.frozen.compared_with]
    if config.fairness:
        found["fairness.controls"] = config.fairness.controls
    if config.sensitivity:
        found["sensitivity"] = [config.sensitivity]
    if config.ablation:
        found["ablation.full"] = [config.ablation.full]
        found["ablation.rows"] = config.ablation.rows
        found["ablation.sweep"] = config.ablation.sweep or []
    if config.combination:
        found["combination.pairs"] = [run for pair in config.combination.pairs for run in pair]
    if config.similarity:
        found["similarity.rows"] = config.similarity.rows
    if config.worlds:
        found["worlds.differences"] = [run for pair in config.worlds.differences for run in pair]
    if config.labels:
        found["labels.rows"] = config.labels.rows
    return found | {f"figures.{name}.rows": figure.rows for name, figure in config.figures.items()}


def problems_of_studies(config: Experiment) -> Iterator[str]:
    """What tables and figures need beside runs that are there."""
    for key in ("verify", "fairness"):
        if getattr(config, key) is not None and config.table2 is None:
            yield f"{key}: needs table2. Add it, or leave {key} out"
    for key in ("table2", "frozen"):
        table = getattr(config, key)
        if table is not None and table.compared_with not in table.rows:
            yield f"{key}.compared_with: {table.compared_with!r} is no row of {key}"
    yield from problems_of_frozen(config)
    for run in config.fairness.controls if config.fairness and config.table2 else []:
        if run in config.table2.rows:
            yield f"fairness.controls: {run!r} is a row of table2. Leave it out here"
    for run in config.ablation.sweep or [] if config.ablation else []:
        if not isinstance(config.runs[run].overrides.get("coefficient"), int | float):
            yield f"ablation.sweep: run {run!r} has no number as overrides.coefficient"
    if config.similarity:
        yield from problems_of_similarity(config)
    for parameter in config.worlds.parameters if config.worlds else []:
        for name, corpus in config.corpora.items():
            world = corpus.simulate.overrides if corpus.simulate else {}
            if not isinstance(world.get(parameter), int | float):
                yield (
                    f"corpora.{name}: simulate.overrides has no number as {parameter!r}, which "
                    "worlds compares"
                )


def problems_of_frozen(config: Experiment) -> Iterator[str]:
    """Given vectors that no table reads, and a table that is to read no test split."""
    rows = config.frozen.rows if config.frozen else []
    for name, run in config.runs.items():
        if run.vectors is not None and name not in rows:
            yield f"runs.{name}: no table has these vectors. Name {name!r} in frozen.rows"
    if config.frozen and not config.finetune.test:
        yield "frozen: needs test scores. Leave out finetune.test: false, or frozen"


def problems_of_similarity(config: Experiment) -> Iterator[str]:
    """What Figure 5 needs."""
    asked = config.similarity
    if asked.corpus not in config.corpora:
        yield f"similarity.corpus: no corpus {asked.corpus!r}; known: {', '.join(config.corpora)}"
    if asked.encode == "training" and asked.dropout is not None:
        yield (
            "similarity.dropout: with encode: training, the rate is that of each pre-training. "
            "Leave it out"
        )


def problems_of_figures(config: Experiment) -> Iterator[str]:
    """Figures without a file, and those whose tasks, corpora or checkpoints are not there."""
    for name, figure in config.all_figures().items():
        key = f"figures.{name}" if name in config.figures else KEYS_OF_FIGURES[name]
        if key != KEYS_OF_FIGURES.get(name, key):
            yield f"{key}: this figure has a key of its own, {KEYS_OF_FIGURES[name]!r}. Use that"
        try:
            file = read_figure_file(name)
        except ValueError as problem:
            yield f"{key}: {problem}"
            continue
        for corpus in figure.corpora or []:
            if corpus not in config.corpora:
                known = ", ".join(config.corpora)
                yield f"{key}.corpora: no corpus {corpus!r}; known: {known}"
        for task in figure.tasks or []:
            if task not in config.tasks:
                yield f"{key}.tasks: no task {task!r}; known: {', '.join(config.tasks)}"
            elif figure.corpora and config.tasks[task].corpus not in figure.corpora:
                yield f"{key}.tasks: {task!r} is of none of the figure's corpora. Leave it out"
        for run in figure.rows if "cosines" in file.reads else []:
            if config.runs[run].method is None:
                yield f"{key}.rows: run {run!r} pre-trains nothing: no checkpoint"


def problems_of_numbers(config: Experiment) -> Iterator[str]:
    """Sizes and epochs that do not fit each other."""
    sizes = config.encoder
    if sizes.dim % sizes.heads:
        yield f"encoder.dim: {sizes.dim} is no multiple of heads: {sizes.heads}"
    last = config.pretrain.epochs
    for key, epochs in (
        ("finetune.from_epochs", config.finetune.from_epochs),
        ("pretrain.keep", config.pretrain.keep),
    ):
        for epoch in epochs:
            if epoch > last:
                yield f"{key}: epoch {epoch} is above pretrain.epochs: {last}"
