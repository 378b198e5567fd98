"""Given vector files of a run: where they are, and what is in them.

A job that reads them depends on their content alone, as one that reads raw data does (`raw.py`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from userbench.command_line import home_expanded
from userbench.data.format import RawFile, Source
from userbench.data.vectors import files_of
from userbench.experiment.runs import ResolvedExperiment
from userbench.workflow.raw import cached_checksum


def given_paths(pattern: str, corpus: str, seeds: int | str | Iterable[int]) -> list[str]:
    """The file of a corpus for each seed, once if it is that of all; `~` is the home folder."""
    each = [seeds] if isinstance(seeds, int | str) else seeds
    paths = [str(home_expanded(pattern.format(corpus=corpus, seed=seed))) for seed in each]
    return list(dict.fromkeys(paths))


def check_given(resolved: ResolvedExperiment, source: str) -> None:
    """ValueError for the first given file, or its ids, that is missing; `source` is the config."""
    for name, run in resolved.runs.items():
        if run.vectors is None:
            continue
        for corpus in resolved.corpora:
            for path in given_paths(run.vectors, corpus, resolved.config.seeds):
                try:
                    files_of(Path(path))
                except ValueError as problem:
                    raise ValueError(f"{source}: runs.{name}.vectors: {problem}") from None


def vectors_content(place: str, paths: Sequence[str], cache: Path) -> str:
    """SHA-256 of given vector files and of their ids, in the order given.

    Raises:
        ValueError: one is missing or cannot be read; the message begins with its `place`.
    """
    try:
        paths = [file for path in paths for file in files_of(Path(path))]
        files = [RawFile(path, member="", source=Source(path.stem, "none")) for path in paths]
        return " ".join(cached_checksum(file, cache) for file in files)
    except ValueError as problem:
        raise ValueError(f"{place}: {problem}") from None
