"""Tasks as the columns of tables and figures, and what the data behind them are called there."""

from collections.abc import Iterable

from userbench.experiment.config import Part
from userbench.experiment.runs import ResolvedExperiment


class Column(Part):
    """A task in a table or a figure."""

    task: str
    label: str
    metric: str
    simulated: bool


class CorpusColumn(Column):
    """A task with its corpus."""

    corpus: str


def columns(resolved: ResolvedExperiment) -> list[Column]:
    """The tasks whose data is there."""
    return [column_of(resolved, name) for name in resolved.tasks]


def corpus_columns(resolved: ResolvedExperiment, tasks: Iterable[str]) -> list[CorpusColumn]:
    """Some of these tasks, each with its corpus."""
    return [
        CorpusColumn(**column_of(resolved, name).model_dump(), corpus=resolved.tasks[name].corpus)
        for name in tasks
    ]


def column_of(resolved: ResolvedExperiment, name: str) -> Column:
    """A task whose data is there."""
    task = resolved.tasks[name]
    return Column(
        task=name,
        label=task.label,
        metric=task.metric,
        simulated=is_simulated(resolved, task.corpus),
    )


def is_simulated(resolved: ResolvedExperiment, corpus: str) -> bool:
    """Whether a corpus is simulated."""
    return resolved.config.corpora[corpus].simulate is not None


def any_simulated(resolved: ResolvedExperiment, corpora: Iterable[str]) -> bool:
    """Whether any of these corpora is simulated."""
    return any(is_simulated(resolved, name) for name in corpora)


def caption(resolved: ResolvedExperiment, corpora: Iterable[str]) -> str:
    """What the numbers were measured on."""
    parts = []
    for name in corpora:
        corpus = resolved.corpora[name]
        if corpus.simulate is not None:
            parts.append(f"{name}: {corpus.simulate.users:,} simulated users")
        else:
            parts.append(f"{name}: {corpus.label or 'real data'}")
    return "; ".join(parts)
