"""The real files of each corpus: where they are, and what is in them.

A job that reads a raw file depends on its content, not on its path, its time or the files beside
it. Checksums of large files are cached by path, size and time of change.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from userbench.command_line import home_expanded
from userbench.data.events.containers import TableFile, find_files
from userbench.data.format import RawFile, find_file, is_named_after
from userbench.data.raw_bytes import checksum
from userbench.experiment.config import Experiment
from userbench.experiment.corpora import Corpus, EventCorpus, Table
from userbench.results.artifact import MANIFEST, write_json


def raw_paths(config: Experiment, source: str) -> dict[str, str]:
    """Folder or zip of each corpus that is not simulated; empty for an optional one that is absent.

    Raises:
        ValueError: a folder is not set, or does not exist; `source` names the config.
    """
    found = {}
    for name, corpus in config.corpora.items():
        if corpus.simulate is not None:
            continue
        path = corpus.raw or os.environ.get(corpus.raw_env or "", "")
        path = str(home_expanded(path)) if path.startswith("~") else path
        remedy = f"Set corpora.{name}.raw" + (f" or {corpus.raw_env}" if corpus.raw_env else "")
        where = f"{source}: corpora.{name}"
        if not path and not corpus.optional:
            raise ValueError(f"{where}: the folder of the real data is not set. {remedy}")
        if "\n" in path:  # a dry run, which the plan reads, has a line for each command
            raise ValueError(f"{where}: {path!r} has a line break in it. Rename the folder")
        if path and not Path(path).exists():
            raise ValueError(f"{where}: {path} does not exist. {remedy}")
        if path and isinstance(corpus, EventCorpus) and corpus.sha256:
            check_names(config, name, corpus, path, source)
        found[name] = path
    return found


def check_names(config: Experiment, name: str, corpus: EventCorpus, raw: str, source: str) -> None:
    """ValueError where a checksum is expected of a file that is none of a log or of its tasks."""
    tables = [*corpus.events.values(), *tables_of_tasks(config, name)]
    with of_corpus(name):
        known = checksums_of(corpus, raw, tables).keys()
    if unknown := corpus.sha256.keys() - known:
        problem = f"{min(unknown)!r} is no file of its events or tasks. Correct the name"
        raise ValueError(f"{source}: corpora.{name}.sha256: {problem}")


def tables_of_tasks(config: Experiment, corpus: str) -> list[Table]:
    """The tables that the examples of the tasks of a corpus are read from."""
    tasks = [task for task in config.tasks.values() if task.corpus == corpus]
    return [table for task in tasks for table in task.tables]


def content_of(name: str, corpus: Corpus, raw: str, source: str, made: Path, cache: Path) -> str:
    """SHA-256 of a raw file of a corpus, marked where ingesting it again would now be refused.

    It would be where its checksum is not the expected one, or where more of its lines were left out
    of the folder `made` than the config now allows. `cache` keeps the checksums of large files.

    Raises:
        ValueError: there is no such file, or more than one.
    """
    with of_corpus(name):
        file = find_file(Path(raw), corpus.format, source)
        content = cached_checksum(file, cache)
    names = [name for name in corpus.sha256 if is_named_after(file.source, name)]
    expected = {corpus.sha256[name].lower() for name in names}
    return marked(content, corpus, is_expected=not expected - {content}, made=made)


def content_of_tables(
    name: str, corpus: Corpus, raw: str, tables: Sequence[Table], made: Path, cache: Path
) -> str:
    """SHA-256 of the files of some tables of events or examples; as in `content_of`.

    Of several files it is that of their checksums, in the order in which they are read.
    """
    with of_corpus(name):
        files = [file for table in tables for file in find_files(Path(raw), table.files)]
        contents = [cached_checksum(file, cache) for file in files]
    expected = [corpus.sha256.get(file.name, "").lower() for file in files]
    is_expected = all(e in ("", c) for e, c in zip(expected, contents, strict=True))
    return marked(together(contents), corpus, is_expected, made)


def checksums_of(corpus: Corpus, raw: str, tables: Sequence[Table]) -> dict[str, str]:
    """The expected checksums of those files that these tables are read from."""
    files = [file for table in tables for file in find_files(Path(raw), table.files)]
    names = {file.name for file in files}
    return {name: value for name, value in corpus.sha256.items() if name in names}


@contextmanager
def of_corpus(name: str) -> Iterator[None]:
    """Let a ValueError of the block name the corpus."""
    try:
        yield
    except ValueError as problem:
        raise ValueError(f"corpora.{name}: {problem}") from None


def marked(content: str, corpus: Corpus, is_expected: bool, made: Path) -> str:
    """A checksum, with the reason why what has it would be refused now, if it would."""
    if not is_expected:
        return f"{content}, another one is expected"
    if bad_rows_of(made, content) > corpus.max_bad_rows:
        return f"{content}, too many bad lines"
    return content


def together(checksums: Sequence[str]) -> str:
    """The checksum of several files in their order; of one, its own."""
    if len(checksums) == 1:
        return checksums[0]
    return hashlib.sha256("\n".join(checksums).encode()).hexdigest()


def cached_checksum(file: RawFile | TableFile, cache: Path) -> str:
    """SHA-256 of a raw file; computed only if the file has changed since it was cached."""
    path = file.path.absolute()
    name = f"{path}/{file.member}" if file.member else str(path)
    stat = path.stat()
    is_now = [stat.st_size, stat.st_mtime_ns]
    *was_then, content = read_cache(cache).get(name, [""])
    if was_then != is_now:
        content = checksum(file.path, file.member)
        write_json(cache, {**read_cache(cache), name: [*is_now, content]})
    return content


def read_cache(cache: Path) -> dict[str, list]:
    """Size, time and checksum by path; empty where the cache is missing or damaged."""
    try:
        known = json.loads(cache.read_bytes())
        return {name: [*entry] for name, entry in known.items() if len(entry) == 3}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def bad_rows_of(made: Path, content: str) -> int:
    """Number of lines left out of a folder of arrays that was made of this content, else 0."""
    try:
        manifest = json.loads((made / MANIFEST).read_bytes())
        read = together([file["sha256"] for file in manifest["raw"].values()])
        return manifest["bad_rows"] if read == content else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
