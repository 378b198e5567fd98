"""What each table and figure compares: the part of an experiment that the report reads.

`experiment.json` holds it. The report gets the files of scores, learning curves and cosines from
its command line, and from here what they stand for: rows, tasks, labels, pairs.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from userbench.experiment.config import Fields, Margins, Part
from userbench.experiment.runs import NEIGHBOURS, ResolvedExperiment, ResolvedRun

# The baselines without pre-training of each kind of task, and their names in tables.
BASELINES = {
    "classification": ("bag-of-items", "bag-of-items-long"),
    "binary": ("bag-of-items", "bag-of-items-long"),
    "top_n": ("popularity",),
}
BASELINE_LABELS = {
    "bag-of-items": "bag-of-items",
    "bag-of-items-long": "bag-of-items (whole history)",
    "popularity": "popularity",
}
# Why not float: a whole number of a config stays one in the CSV of its figure.
Number = int | float
# The ratios of the authors' code: the defaults of `views/operators.py`.
VIEW_RATIOS = {"crop_ratio": 0.4, "reorder_ratio": 0.6, "mask_ratio": 0.6}


class TableTask(Part):
    """A column of a table."""

    task: str
    label: str
    metric: str
    paper: str | None = None
    simulated: bool


class TableRow(Part):
    """A row of a table."""

    run: str
    label: str
    paper: str | None = None


class Table2Layout(Part):
    """Table 2."""

    caption_data: str
    simulated: bool
    tasks: Annotated[list[TableTask], Field(min_length=1)]
    rows: Annotated[list[TableRow], Field(min_length=1)]
    references: list[TableRow] = []
    compared_with: str
    notes: list[str] = []


class CorpusTask(Part):
    """A task of Table 1."""

    corpus: str
    paper: str | None


class Table1Layout(Part):
    """Table 1: the tasks of each corpus, those whose data is absent too."""

    tasks: dict[str, CorpusTask]
    simulated: list[str]


class TrainedRun(Part):
    """What is behind the encoder of a run."""

    start: str | None
    given: list[str]
    epochs: int


class TrainedRow(Part):
    """A row, the run whose encoder it fine-tunes, and the epochs it may choose from."""

    run: str
    label: str
    encoder: str | None
    candidates: list[int]


class TrainingLayout(Part):
    """The pre-training behind the rows of Table 2, and behind the controls beside them."""

    runs: dict[str, TrainedRun]
    rows: list[TrainedRow]
    controls: list[TrainedRow]


class TuningTrial(Part):
    """A trial of a row."""

    run: str
    method_row: str
    trial: int
    settings: Fields
    label: str


class CorpusColumn(Part):
    """A task whose scores of a corpus are compared."""

    task: str
    label: str
    metric: str
    corpus: str
    simulated: bool


class TuningLayout(Part):
    """Which trial each run is, and the tasks that judge it."""

    trials: Annotated[list[TuningTrial], Field(min_length=1)]
    tasks: Annotated[list[CorpusColumn], Field(min_length=1)]


class Effect(Part):
    """A run with one switch of the ledger at another value."""

    run: str
    entry: str
    value: Any
    against: Any


class Column(Part):
    """A task in a figure."""

    task: str
    label: str
    metric: str
    simulated: bool


class EffectsLayout(Part):
    """Which switch each run of the sensitivity study sets to which value."""

    caption_data: str
    base: str
    runs: Annotated[list[Effect], Field(min_length=1)]
    tasks: Annotated[list[Column], Field(min_length=1)]


class FigureRow(Part):
    """A run in a figure, and whether another run of its method comes before it in the config."""

    run: str
    label: str
    method: str
    variant: bool


class Pair(Part):
    """A method alone, and AdaptSSR with its views."""

    views: str
    alone: str
    combined: str


class Coefficient(Part):
    """A run with a fixed coefficient."""

    run: str
    coefficient: Number


class Difference(Part):
    """A run and the run it is compared with."""

    run: str
    over: str


class ShareOfLabels(Part):
    """A run that is a row with a share of the labels."""

    run: str
    row: str
    share: float


class WorldColumn(Column):
    """A task in one of several simulated worlds; `source` is shared by the same task of others."""

    source: str
    parameters: dict[str, Number]


class FigureLayout(Part):
    """What all figures need."""

    caption_data: str
    simulated: bool
    rows: Annotated[list[FigureRow], Field(min_length=1)]


class Figure3Layout(FigureLayout):
    """AdaptSSR with the views of other methods, beside these methods alone."""

    tasks: Annotated[list[Column], Field(min_length=1)]
    pairs: Annotated[list[Pair], Field(min_length=1)]


class Figure4Layout(FigureLayout):
    """AdaptSSR without each of its components, and with fixed coefficients."""

    tasks: Annotated[list[Column], Field(min_length=1)]
    full: str
    components: list[str]
    sweep: list[Coefficient] = []


class Ratios(Part):
    """Ratios of the three operators of augmentation."""

    crop_ratio: Number
    reorder_ratio: Number
    mask_ratio: Number


class Figure5Layout(FigureLayout):
    """Distributions of cosines."""

    views: Ratios


class Figure6Layout(FigureLayout):
    """Differences of runs over the parameters of simulated worlds."""

    tasks: Annotated[list[WorldColumn], Field(min_length=1)]
    parameters: Annotated[list[str], Field(min_length=1)]
    differences: Annotated[list[Difference], Field(min_length=1)]


class Figure7Layout(FigureLayout):
    """Scores over the share of the labels."""

    tasks: Annotated[list[Column], Field(min_length=1)]
    shares: Annotated[list[ShareOfLabels], Field(min_length=1)]


class CurvesLayout(FigureLayout):
    """Learning curves; `encoders` names the run that pre-trained the encoder of each row."""

    tasks: Annotated[list[Column], Field(min_length=1)]
    encoders: dict[str, str]


class Layouts(Part):
    """Everything that an experiment's config asks the report for."""

    verify: Margins | None = None
    table1: Table1Layout | None = None
    table2: Table2Layout | None = None
    training: TrainingLayout | None = None
    tuning: TuningLayout | None = None
    effects: EffectsLayout | None = None
    figure3: Figure3Layout | None = None
    figure4: Figure4Layout | None = None
    figure5: Figure5Layout | None = None
    figure6: Figure6Layout | None = None
    figure7: Figure7Layout | None = None
    learning_curves: CurvesLayout | None = None


class ExperimentFile(Part):
    """experiment.json: every run with nothing left to a default, and what the report compares."""

    experiment: str
    seeds: list[int]
    runs: dict[str, ResolvedRun]
    layouts: Layouts


def experiment_file(resolved: ResolvedExperiment, notes: Sequence[str] = ()) -> ExperimentFile:
    """What experiment.json holds; `notes` are what the methods of Table 2 say of themselves."""
    return ExperimentFile(
        experiment=resolved.config.experiment,
        seeds=resolved.config.seeds,
        runs=resolved.runs,
        layouts=layouts(resolved, notes),
    )


def layouts(resolved: ResolvedExperiment, notes: Sequence[str] = ()) -> Layouts:
    """What the report reads of an experiment; `notes` are what the methods of Table 2 say."""
    config = resolved.config
    return Layouts(
        verify=config.verify.margin if config.verify else None,
        table1=table1(resolved),
        table2=table2(resolved, notes) if config.table2 else None,
        training=training(resolved) if config.table2 else None,
        tuning=tuning(resolved) if resolved.trials else None,
        effects=effects(resolved) if config.sensitivity else None,
        **{figure: LAYOUTS[figure](resolved) for figure in figures_of(resolved)},
    )


def figures_of(resolved: ResolvedExperiment) -> list[str]:
    """The figures that the config asks for, and whose data is there."""
    asked = [figure for figure, study in STUDIES.items() if getattr(resolved.config, study)]
    similarity = resolved.config.similarity
    if similarity and similarity.corpus not in resolved.corpora:
        asked.remove("figure5")
    return asked


def table1(resolved: ResolvedExperiment) -> Table1Layout:
    """Table 1."""
    tasks = resolved.config.tasks
    return Table1Layout(
        tasks={n: CorpusTask(corpus=t.corpus, paper=t.paper) for n, t in tasks.items()},
        simulated=[name for name in resolved.corpora if is_simulated(resolved, name)],
    )


def table2(resolved: ResolvedExperiment, notes: Sequence[str]) -> Table2Layout:
    """Table 2, with a column for each task of the config, those whose data is absent too."""
    asked, runs = resolved.config.table2, resolved.runs
    return Table2Layout(
        caption_data=caption(resolved, resolved.corpora),
        simulated=any_simulated(resolved),
        tasks=[
            TableTask(
                task=name,
                label=task.label,
                metric=task.metric,
                paper=task.paper,
                simulated=is_simulated(resolved, task.corpus),
            )
            for name, task in resolved.config.tasks.items()
        ],
        rows=[TableRow(run=n, label=runs[n].label, paper=runs[n].paper) for n in asked.rows],
        references=[TableRow(run=run, label=label) for run, label in BASELINE_LABELS.items()],
        compared_with=asked.compared_with,
        notes=list(notes),
    )


def training(resolved: ResolvedExperiment) -> TrainingLayout:
    """The pre-training behind the rows of Table 2 and behind the controls of the fairness table."""
    config, runs = resolved.config, resolved.runs

    def row(name: str) -> TrainedRow:
        run = runs[name]
        return TrainedRow(
            run=name,
            label=run.label,
            encoder=run.encoder,
            candidates=run.candidates if run.encoder else [],
        )

    controls = controls_of(resolved)
    return TrainingLayout(
        runs={
            name: TrainedRun(
                start=runs[name].starts_from,
                given=checkpoints_read(resolved, name),
                epochs=resolved.last_epoch,
            )
            for name in runs_behind(resolved, [*config.table2.rows, *controls])
        },
        rows=[row(name) for name in config.table2.rows],
        controls=[row(name) for name in controls],
    )


def runs_behind(resolved: ResolvedExperiment, rows: Iterable[str]) -> list[str]:
    """The runs whose pre-training some rows are due to, each once."""
    found: list[str] = []
    needed = [resolved.runs[row].encoder for row in rows]
    while needed:
        name = needed.pop(0)
        if name is not None and name not in found:
            found.append(name)
            needed += [resolved.runs[name].starts_from, *checkpoints_read(resolved, name)]
    return found


def checkpoints_read(resolved: ResolvedExperiment, run: str) -> list[str]:
    """The runs whose checkpoints fields of a run's method name."""
    return [source for source in resolved.runs[run].inputs.values() if source != NEIGHBOURS]


def controls_of(resolved: ResolvedExperiment) -> list[str]:
    """The runs that the fairness table shows beside the rows of Table 2."""
    fairness = resolved.config.fairness
    return fairness.controls if fairness else []


def tuning(resolved: ResolvedExperiment) -> TuningLayout:
    """Every trial of every row."""
    return TuningLayout(
        trials=[
            TuningTrial(
                run=name,
                method_row=trial.row,
                trial=trial.number,
                settings=trial.fields,
                label=resolved.runs[name].label,
            )
            for name, trial in resolved.trials.items()
        ],
        tasks=[
            CorpusColumn(corpus=resolved.tasks[column.task].corpus, **column.model_dump())
            for column in columns(resolved)
        ],
    )


def effects(resolved: ResolvedExperiment) -> EffectsLayout:
    """Every alternative of the sensitivity study."""
    return EffectsLayout(
        caption_data=caption(resolved, resolved.corpora),
        base=resolved.config.sensitivity,
        runs=[
            Effect(run=name, entry=other.switch.id, value=other.value, against=other.against)
            for name, other in resolved.alternatives.items()
        ],
        tasks=columns(resolved),
    )


def figure3(resolved: ResolvedExperiment) -> Figure3Layout:
    """Figure 3."""
    pairs = resolved.config.combination.pairs
    return Figure3Layout(
        **about(resolved, runs_of(resolved, "figure3")),
        tasks=columns(resolved),
        pairs=[
            Pair(views=resolved.runs[alone].label, alone=alone, combined=combined)
            for alone, combined in pairs
        ],
    )


def figure4(resolved: ResolvedExperiment) -> Figure4Layout:
    """Figure 4."""
    asked = resolved.config.ablation
    return Figure4Layout(
        **about(resolved, runs_of(resolved, "figure4")),
        tasks=columns(resolved),
        full=asked.full,
        components=asked.rows,
        sweep=[
            Coefficient(run=run, coefficient=resolved.runs[run].overrides["coefficient"])
            for run in asked.sweep or []
        ],
    )


def figure5(resolved: ResolvedExperiment) -> Figure5Layout:
    """Figure 5."""
    asked = resolved.config.similarity
    return Figure5Layout(
        caption_data=caption(resolved, [asked.corpus]),
        simulated=is_simulated(resolved, asked.corpus),
        rows=figure_rows(resolved, runs_of(resolved, "figure5")),
        views=Ratios(**{**VIEW_RATIOS, **asked.views}),
    )


def figure6(resolved: ResolvedExperiment) -> Figure6Layout:
    """Figure 6."""
    asked = resolved.config.worlds
    users = sorted({f"{corpus.simulate.users:,}" for corpus in resolved.corpora.values()})
    of_all = about(resolved, runs_of(resolved, "figure6"))
    of_all["caption_data"] = f"worlds: {len(resolved.corpora)}, of {' or '.join(users)} users"
    tasks = []
    for column in columns(resolved):
        world = resolved.corpora[resolved.tasks[column.task].corpus].simulate.overrides
        parameters = {name: world[name] for name in asked.parameters}
        shared = column.model_dump()
        tasks.append(WorldColumn(**shared, source=column.label, parameters=parameters))
    return Figure6Layout(
        **of_all,
        tasks=tasks,
        parameters=asked.parameters,
        differences=[Difference(run=run, over=over) for run, over in asked.differences],
    )


def figure7(resolved: ResolvedExperiment) -> Figure7Layout:
    """Figure 7."""
    return Figure7Layout(
        **about(resolved, runs_of(resolved, "figure7")),
        tasks=columns(resolved),
        shares=[
            ShareOfLabels(run=name, row=labelled.row, share=labelled.share)
            for name, labelled in resolved.label_shares.items()
        ],
    )


def learning_curves(resolved: ResolvedExperiment) -> CurvesLayout:
    """The learning curves of the rows of Table 2."""
    rows = runs_of(resolved, "learning_curves")
    encoders = {run: resolved.runs[run].encoder for run in rows if resolved.runs[run].encoder}
    return CurvesLayout(**about(resolved, rows), tasks=columns(resolved), encoders=encoders)


def runs_of(resolved: ResolvedExperiment, figure: str) -> list[str]:
    """The runs that a figure compares, each once."""
    config = resolved.config
    named: Iterable[str] = {
        "figure3": lambda: [run for pair in config.combination.pairs for run in pair],
        "figure4": lambda: [
            *config.ablation.rows,
            *(config.ablation.sweep or []),
            config.ablation.full,
        ],
        "figure5": lambda: config.similarity.rows,
        "figure6": lambda: [run for pair in config.worlds.differences for run in pair],
        "figure7": lambda: resolved.label_shares,
        "learning_curves": lambda: config.table2.rows,
    }[figure]()
    return list(dict.fromkeys(named))


def about(resolved: ResolvedExperiment, runs: Iterable[str]) -> dict[str, Any]:
    """What all figures of all corpora need."""
    return {
        "caption_data": caption(resolved, resolved.corpora),
        "simulated": any_simulated(resolved),
        "rows": figure_rows(resolved, runs),
    }


def figure_rows(resolved: ResolvedExperiment, runs: Iterable[str]) -> list[FigureRow]:
    """The runs of a figure; one with fewer labels looks like the row that it is of."""
    rows = []
    for name in runs:
        row = resolved.label_shares[name].row if name in resolved.label_shares else name
        method = resolved.runs[row].method
        first = next(other for other, run in resolved.runs.items() if run.method == method)
        label = resolved.runs[row].label
        rows.append(FigureRow(run=name, label=label, method=method or "none", variant=row != first))
    return rows


def columns(resolved: ResolvedExperiment) -> list[Column]:
    """The tasks whose data is there."""
    return [
        Column(
            task=name,
            label=task.label,
            metric=task.metric,
            simulated=is_simulated(resolved, task.corpus),
        )
        for name, task in resolved.tasks.items()
    ]


def is_simulated(resolved: ResolvedExperiment, corpus: str) -> bool:
    """Whether a corpus is simulated."""
    return resolved.config.corpora[corpus].simulate is not None


def any_simulated(resolved: ResolvedExperiment) -> bool:
    """Whether any data of the experiment is simulated."""
    return any(is_simulated(resolved, name) for name in resolved.corpora)


def caption(resolved: ResolvedExperiment, names: Iterable[str]) -> str:
    """What the numbers were measured on."""
    parts = []
    for name in names:
        corpus = resolved.corpora[name]
        if corpus.simulate is not None:
            parts.append(f"{name}: {corpus.simulate.users:,} simulated users")
        else:
            parts.append(f"{name}: {corpus.label or 'real data'}")
    return "; ".join(parts)


# The part of a config that asks for each figure, and what its layout is made by.
STUDIES = {
    "figure3": "combination",
    "figure4": "ablation",
    "figure5": "similarity",
    "figure6": "worlds",
    "figure7": "labels",
    "learning_curves": "table2",
}
LAYOUTS = {
    "figure3": figure3,
    "figure4": figure4,
    "figure5": figure5,
    "figure6": figure6,
    "figure7": figure7,
    "learning_curves": learning_curves,
}
