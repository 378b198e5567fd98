"""What each table and figure compares: the part of an experiment that the report reads.

`experiment.json` holds it. The report gets the files of scores, learning curves and cosines from
its command line, and from here what they are of: rows, tasks and labels.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from userbench.experiment.columns import (
    Column,
    CorpusColumn,
    any_simulated,
    caption,
    columns,
    corpus_columns,
    is_simulated,
)
from userbench.experiment.config import Fields, Margins, Part
from userbench.experiment.corpora import EventCorpus
from userbench.experiment.cuts import cut_notes
from userbench.experiment.figures import FigureLayout, figure_layout, figures
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
# Counts of items as user vectors: a baseline of the frozen protocol, under the head of its rows.
ITEM_COUNTS = "item-counts"


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
    baselines: list[TableRow] = []
    compared_with: str
    notes: list[str] = []


class FrozenLayout(Table2Layout):
    """The table of the frozen protocol."""

    folder: str = "frozen"
    """Of the experiment's, the one of its score files."""
    head: str
    epochs: int
    untrained: list[str]
    """Labels of the rows without pre-training."""
    given: list[str]
    """Labels of the rows of given vectors."""
    notes: list[str] = []


class CorpusTask(Part):
    """A task of Table 1."""

    corpus: str
    paper: str | None
    label: str | None = Field(None, exclude_if=lambda label: label is None)
    """How it is called there, where its corpus is an event log."""


class Table1Layout(Part):
    """Table 1: the tasks of each corpus, those whose data is absent too."""

    tasks: dict[str, CorpusTask]
    simulated: list[str]
    logs: dict[str, str] = Field({}, exclude_if=lambda logs: not logs)
    """The corpora that are event logs, and their names in the table."""


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


class EffectsLayout(Part):
    """Which switch each run of the sensitivity study sets to which value."""

    caption_data: str
    base: str
    runs: Annotated[list[Effect], Field(min_length=1)]
    tasks: Annotated[list[Column], Field(min_length=1)]


class Layouts(Part):
    """Everything that an experiment's config asks the report for."""

    verify: Margins | None = None
    table1: Table1Layout | None = None
    table2: Table2Layout | None = None
    frozen: FrozenLayout | None = Field(None, exclude_if=lambda part: part is None)
    training: TrainingLayout | None = None
    frozen_training: TrainingLayout | None = Field(None, exclude_if=lambda part: part is None)
    tuning: TuningLayout | None = None
    effects: EffectsLayout | None = None
    figures: dict[str, FigureLayout] = {}
    """By the names of their files, in the order of the page."""


class ExperimentFile(Part):
    """experiment.json: every run with nothing left to a default, and what the report compares."""

    experiment: str
    seeds: list[int]
    runs: dict[str, ResolvedRun]
    layouts: Layouts


def experiment_file(resolved: ResolvedExperiment, notes: Sequence[str] = ()) -> ExperimentFile:
    """What experiment.json holds; `notes` are those of the methods of Table 2."""
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
        training=training(resolved, config.table2.rows) if config.table2 else None,
        frozen=frozen(resolved, notes) if config.frozen else None,
        frozen_training=training(resolved, encoders_of(resolved)) if config.frozen else None,
        tuning=tuning(resolved) if resolved.trials else None,
        effects=effects(resolved) if config.sensitivity else None,
        figures={
            name: figure_layout(resolved, figure) for name, figure in figures(resolved).items()
        },
    )


def table1(resolved: ResolvedExperiment) -> Table1Layout:
    """Table 1."""
    logs = {n: of.label or n for n, of in resolved.corpora.items() if isinstance(of, EventCorpus)}
    return Table1Layout(
        tasks={
            name: CorpusTask(
                corpus=task.corpus,
                paper=task.paper,
                label=task.label if task.corpus in logs else None,
            )
            for name, task in resolved.config.tasks.items()
        },
        simulated=[name for name in resolved.corpora if is_simulated(resolved, name)],
        logs=logs,
    )


def table2(resolved: ResolvedExperiment, notes: Sequence[str]) -> Table2Layout:
    """Table 2, with a column for each task of the config, those whose data is absent too."""
    asked, runs = resolved.config.table2, resolved.runs
    return Table2Layout(
        caption_data=caption(resolved, resolved.corpora),
        simulated=any_simulated(resolved, resolved.corpora),
        tasks=table_tasks(resolved),
        rows=[TableRow(run=n, label=runs[n].label, paper=runs[n].paper) for n in asked.rows],
        baselines=[TableRow(run=run, label=label) for run, label in BASELINE_LABELS.items()],
        compared_with=asked.compared_with,
        notes=[*cut_notes(resolved), *notes],
    )


def frozen(resolved: ResolvedExperiment, notes: Sequence[str]) -> FrozenLayout:
    """The table of the frozen protocol: the tasks of Table 2, and nothing of the paper.

    Of the `notes` of Table 2's methods it has those on rows of its own.
    """
    asked = resolved.config.frozen
    rows = {name: resolved.runs[name] for name in asked.rows}
    labels = {ITEM_COUNTS: "item counts, the same head", **BASELINE_LABELS}
    return FrozenLayout(
        caption_data=caption(resolved, resolved.corpora),
        simulated=any_simulated(resolved, resolved.corpora),
        tasks=[task.model_copy(update={"paper": None}) for task in table_tasks(resolved)],
        rows=[TableRow(run=name, label=run.label) for name, run in rows.items()],
        baselines=[TableRow(run=run, label=label) for run, label in labels.items()],
        compared_with=asked.compared_with,
        notes=[
            *cut_notes(resolved),
            *(n for n in notes if n.startswith(tuple(f"{run.label} - " for run in rows.values()))),
        ],
        head=asked.head,
        epochs=asked.epochs,
        untrained=[r.label for r in rows.values() if r.encoder is None and r.vectors is None],
        given=[run.label for run in rows.values() if run.vectors is not None],
    )


def table_tasks(resolved: ResolvedExperiment) -> list[TableTask]:
    """A column for each task of the config, those whose data is absent too."""
    return [
        TableTask(
            task=name,
            label=task.label,
            metric=task.metric,
            paper=task.paper,
            simulated=is_simulated(resolved, task.corpus),
        )
        for name, task in resolved.config.tasks.items()
    ]


def encoders_of(resolved: ResolvedExperiment) -> list[str]:
    """The rows of the frozen table that are encoders, and no given vectors."""
    frozen = resolved.config.frozen
    return [row for row in frozen.rows if resolved.runs[row].vectors is None]


def training(resolved: ResolvedExperiment, rows: Sequence[str]) -> TrainingLayout:
    """The pre-training behind the rows of a table and behind the controls of the fairness table."""
    runs = resolved.runs

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
            for name in runs_behind(resolved, [*rows, *controls])
        },
        rows=[row(name) for name in rows],
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
        tasks=corpus_columns(resolved, resolved.tasks),
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
