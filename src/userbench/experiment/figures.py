"""The figures that a config asks for: the file of each, and the runs and tasks that it compares.

A figure is a file of report/figures/, whose constants say what it reads and what it is called
(`FigureFile`). They are read from its text: to import it would load pandas and matplotlib, which
neither the workflow nor the check of a config needs.
"""

import ast
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from userbench.experiment.columns import CorpusColumn, any_simulated, caption, corpus_columns
from userbench.experiment.config import Fields, Figure, FileName, Part
from userbench.experiment.runs import ResolvedExperiment

FOLDER = Path(__file__).parents[1] / "report" / "figures"
Measurement = Literal["scores", "predictions", "curves", "cosines"]


class FigureFile(Part):
    """The constants of a figure's file, whose names are these in capitals."""

    file: str
    """Name of the file, without its ending."""
    title: Annotated[str, Field(min_length=1)]
    caption: Annotated[str, Field(min_length=1)]
    reads: Annotated[tuple[Measurement, ...], Field(min_length=1)]
    """What it is made of."""
    name: FileName
    """Of its rule and of its SVG, PDF and PNG; default: the name of the file."""
    numbers: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+\.csv$")]
    """Name of its CSV; default: <name>.csv."""
    section: FileName
    """Address of its section of the page; default: the name of the file."""


class ResolvedFigure(FigureFile):
    """A figure of the config, with what of it there is data of."""

    runs: list[str]
    tasks: list[str]
    corpora: list[str]
    options: Fields


class FigureRow(Part):
    """A run of a figure."""

    run: str
    row: str
    """The run that it is with a share of the labels, whose label and look it has; else itself."""
    label: str
    method: str
    variant: bool
    """Whether another run of its method comes before it in the config."""
    encoder: str | None
    """Run whose checkpoints it fine-tunes."""
    overrides: Fields
    label_share: float


class FigureCorpus(Part):
    """A corpus of a figure; of a simulated one, its users, and its world where it is no default."""

    users: int | None
    world: Fields


class FigureLayout(Part):
    """What a figure compares."""

    caption_data: str
    simulated: bool
    rows: Annotated[list[FigureRow], Field(min_length=1)]
    tasks: Annotated[list[CorpusColumn], Field(min_length=1)]
    corpora: dict[str, FigureCorpus]
    options: Fields


def figure_files() -> list[str]:
    """The names of all figures that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def read_figure_file(name: str) -> FigureFile:
    """The constants of a figure's file.

    Raises:
        ValueError: there is no such file, or one of its constants is missing or of another type.
    """
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        raise ValueError(
            f"no file report/figures/{name}.py; there are: {', '.join(figure_files())}"
        )
    try:
        declared = constants(path.read_text(encoding="utf-8"))
    except SyntaxError as problem:
        raise ValueError(f"{path}:{problem.lineno}: {problem.msg}. Correct this file") from None
    called = declared.get("name", name)
    defaults = {"name": called, "numbers": f"{called}.csv", "section": name}
    try:
        return FigureFile(**defaults | declared | {"file": name})
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        constant = str(first["loc"][0]).upper()
        contract = "report/figures/__init__.py says what it is"
        raise ValueError(f"{path}: {constant}: {first['msg']}; {contract}") from None


def constants(source: str) -> Fields:
    """The constants of a file that are fields of FigureFile."""
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if name.lower() in FigureFile.model_fields:
                found[name.lower()] = literal(statement.value)
    return found


def literal(node: ast.expr) -> Any:
    """The value of an expression; None where it has to be computed."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def figures(resolved: ResolvedExperiment) -> dict[str, ResolvedFigure]:
    """The figures that the config asks for, by their files; one of absent data is left out.

    Raises:
        ValueError: a figure has no file, or one that does not say what it is.
    """
    found = {}
    for name, asked in resolved.config.all_figures().items():
        if tasks := tasks_of(resolved, asked):
            of = {resolved.tasks[task].corpus for task in tasks}
            found[name] = ResolvedFigure(
                **read_figure_file(name).model_dump(),
                runs=asked.rows,
                tasks=tasks,
                corpora=[corpus for corpus in resolved.corpora if corpus in of],
                options=asked.options,
            )
    return found


def tasks_of(resolved: ResolvedExperiment, asked: Figure) -> list[str]:
    """The tasks of a figure whose data is there."""
    return [
        name
        for name, task in resolved.tasks.items()
        if (asked.tasks is None or name in asked.tasks)
        and (asked.corpora is None or task.corpus in asked.corpora)
    ]


def figure_layout(resolved: ResolvedExperiment, figure: ResolvedFigure) -> FigureLayout:
    """What a figure compares."""
    corpora = {}
    for name in figure.corpora:
        world = resolved.corpora[name].simulate
        corpora[name] = FigureCorpus(
            users=world.users if world else None, world=world.overrides if world else {}
        )
    return FigureLayout(
        caption_data=caption(resolved, figure.corpora),
        simulated=any_simulated(resolved, figure.corpora),
        rows=[figure_row(resolved, run) for run in figure.runs],
        tasks=corpus_columns(resolved, figure.tasks),
        corpora=corpora,
        options=figure.options,
    )


def figure_row(resolved: ResolvedExperiment, name: str) -> FigureRow:
    """A run of a figure; one with fewer labels looks like the row that it is of."""
    run, labelled = resolved.runs[name], resolved.label_shares.get(name)
    row = labelled.row if labelled else name
    method = resolved.runs[row].method
    first = next(other for other, run in resolved.runs.items() if run.method == method)
    return FigureRow(
        run=name,
        row=row,
        label=resolved.runs[row].label,
        method=method or "none",
        variant=row != first,
        encoder=run.encoder,
        overrides=run.overrides,
        label_share=labelled.share if labelled else run.protocol.label_share,
    )
