"""Check whether a config can be run, before anything runs.

userbench check workflow/config/default.yaml

Prints what the config runs, or its first error in one line: file, key and remedy. Several files
are merged as Snakemake merges them: of a key that several have, the last one counts.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from userbench import command_line
from userbench.errors import command, one_line
from userbench.experiment.config import Experiment, Fields
from userbench.experiment.files import check_keys_are_texts, check_keys_once, read_configs
from userbench.experiment.names import check_names
from userbench.experiment.questions import ask, check_answers, questions
from userbench.experiment.runs import ResolvedExperiment, resolve
from userbench.experiment.validation import validated


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Let a ValueError of the block name its source, in one line."""
    try:
        yield
    except ValueError as problem:
        raise ValueError(one_line(f"{source}: {problem}")) from None


def read_experiment(content: Fields, source: str, files: Iterable[Path] = ()) -> Experiment:
    """The config of an experiment, checked in itself; `source` names it in messages.

    `files` are what the content was read from: a key that is there twice shows in them alone.

    Raises:
        ValueError: a key is unknown, missing or of another type, or a name points nowhere.
    """
    for path in files:
        if path.suffix != ".json":
            check_keys_once(path)
    with naming(source):
        check_keys_are_texts(content)
    config: Experiment = validated(content, Experiment, source)
    with naming(source):
        check_names(config)
    return config


def resolve_checked(
    config: Experiment, source: str, absent: Iterable[str] = (), asks: bool = True
) -> tuple[ResolvedExperiment, list[str]]:
    """What a config implies, and the notes of Table 2's methods on how they were reconstructed.

    With `asks`, methods are asked whether they take the fields that runs set.

    Raises:
        ValueError: a run cannot be resolved, or a method refuses a field.
    """
    with naming(source):
        resolved = resolve(config, frozenset(absent))
        if not asks:
            return resolved, []
        answers = ask(questions(resolved))
        check_answers(answers)
    rows = [resolved.runs[row] for row in config.table2.rows] if config.table2 else []
    notes = answers["notes"]
    return resolved, [f"{run.label} - {note}" for run in rows for note in notes.get(run.method, [])]


@command
def main(argv: list[str] | None = None) -> None:
    """Check the config that the files make together."""
    parser = command_line.parser("check", __doc__)
    parser.add_argument("config", type=Path, nargs="+", help="YAML; of several files, one config")
    parser.add_argument(
        "--no-methods", action="store_true", help="do not ask methods about their fields (faster)"
    )
    args = parser.parse_args(argv)
    source = ", ".join(map(str, args.config))
    config = read_experiment(read_configs(args.config), source)
    resolved, _ = resolve_checked(config, source, asks=not args.no_methods)
    sizes = f"{len(resolved.runs)} runs x {len(config.seeds)} seeds x {len(config.tasks)} tasks"
    print(f"{source}: experiment {config.experiment}, {sizes}")
