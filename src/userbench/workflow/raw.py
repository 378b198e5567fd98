"""The real files of each corpus: where they are, and what is in them."""

import os
from pathlib import Path

from userbench.data.raw_content import raw_content
from userbench.experiment.config import Corpus, Experiment


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
        remedy = f"Set corpora.{name}.raw" + (f" or {corpus.raw_env}" if corpus.raw_env else "")
        where = f"{source}: corpora.{name}"
        if not path and not corpus.optional:
            raise ValueError(f"{where}: the folder of the real data is not set. {remedy}")
        if path and not Path(path).exists():
            raise ValueError(f"{where}: {path} does not exist. {remedy}")
        found[name] = path
    return found


def content_of(name: str, corpus: Corpus, raw: str, source: str, made: Path, memory: Path) -> str:
    """The content of a raw file of a corpus, by which to tell whether `made` was made of it.

    `memory` is where checksums of large files are kept. ValueError where there is no such file.
    """
    allowed = (corpus.max_bad_rows, corpus.sha256)
    try:
        return raw_content(Path(raw), corpus.format, source, made, *allowed, memory)
    except ValueError as problem:
        raise ValueError(f"corpora.{name}: {problem}") from None
