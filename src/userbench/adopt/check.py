"""What of results is current: each file by its record, its inputs, its code and its settings."""

import filecmp
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from userbench.adopt.job import PlannedJob
from userbench.adopt.settings import differences
from userbench.report.audit.experiment import RECORD, Audit
from userbench.results.artifact import CHECKSUMS, MANIFEST, provenance_path
from userbench.results.loaded_code import PACKAGE, code_digest, code_name
from userbench.workflow.raw import together


class Checked(NamedTuple):
    """What the jobs of a plan need."""

    current: list[PlannedJob]
    refused: dict[PlannedJob, str]
    """Jobs whose files do not match, with the first reason."""
    behind: list[PlannedJob]
    """Jobs that read what has to be made again, and match but for that."""
    absent: list[PlannedJob]
    """Jobs that have made nothing yet."""


def check(jobs: Iterable[PlannedJob], folder: Path) -> Checked:
    """Sort the jobs of an experiment; each comes after those whose files it reads."""
    audit, found = Audit(folder), Checked([], {}, [], [])
    to_make: set[str] = set()
    for job in tqdm([*jobs], f"{folder}: jobs", disable=None, leave=False):
        if not any(map(os.path.lexists, job.outputs)):
            found.absent.append(job)
        elif reason := next(reasons(job, audit, folder), ""):
            found.refused[job] = reason
        elif not to_make.isdisjoint(job.inputs):
            found.behind.append(job)
        else:
            found.current.append(job)
            continue
        to_make.update(job.outputs)
    return found


def reasons(job: PlannedJob, audit: Audit, folder: Path) -> Iterator[str]:
    """Why the files of a job are not those that it would make now; none where they are."""
    for path in job.outputs:
        if not Path(path).exists():
            yield f"{path}: is not there"
            return
    if job.copies:
        yield from other_copies(job)
        return
    records = {}
    for path in map(Path, job.outputs):
        before = len(audit.findings)
        with audit.errors_found(path):
            if path.name == CHECKSUMS and path.with_name(MANIFEST).exists():
                audit.check_manifest(path.with_name(MANIFEST))
                records[path] = audit.records[path.parent]
            elif not path.name.endswith(RECORD) and provenance_path(path).exists():
                audit.check_record(path)
                records[path] = audit.records.get(path, {})
        for finding in audit.findings[before:]:
            if not finding.is_note:
                yield f"{finding.file}: {finding.what}"
    for path in map(Path, job.outputs):
        if path not in audit.covered:
            yield f"{path}: no record says how it was made"
        elif path.is_dir() and not records.get(path, {}).get("beside"):
            yield f"{path}: its record has no checksums of its files"
    for path, record in records.items():
        for what in (
            *differences(job.words, record.get("command", [])),
            *other_data(job, record, path, folder),
            *other_code(job, record),
        ):
            yield f"{path}: {what}"


def other_copies(job: PlannedJob) -> Iterator[str]:
    """Each file that is no copy of the input of its name."""
    originals = {Path(path).name: path for path in job.inputs}
    for path in job.outputs:
        original = originals.get(Path(path).name, "")
        if not Path(original).is_file() or not filecmp.cmp(original, path, shallow=False):
            yield f"{path}: is no copy of {original}"


def other_data(job: PlannedJob, record: dict[str, Any], path: Path, folder: Path) -> Iterator[str]:
    """Whether the raw files or given vectors of a job hold something else than those it read."""
    if not job.content:
        return
    if "raw" in record:
        content, _, refused = job.content.partition(", ")
        if together([file["sha256"] for file in record["raw"].values()]) != content:
            yield "its raw files hold something else now"
        elif refused:
            yield f"its raw files would be refused now: {refused}"
        return
    # Why those outside: what the workflow has made is compared at its place.
    inputs = record.get("inputs", {}).items()
    given = {
        checksum
        for name, checksum in inputs
        if not Path(os.path.normpath(path.parent / name)).is_relative_to(folder)
    }
    if not given or not given <= set(job.content.split()):
        yield "the vectors that are given are others now"


def other_code(job: PlannedJob, record: dict[str, Any]) -> Iterator[str]:
    """Each source of a job that is another one than its record says.

    A module that was not loaded has had no effect; what loads it now is another source itself.
    """
    recorded = record.get("code", {})
    if not recorded:
        yield "its record has no checksums of its code (an older version wrote it)"
        return
    for path in map(Path, job.inputs):
        absolute = path.absolute()
        if path.parts[:1] == ("results",):
            continue
        if PACKAGE in absolute.parents:
            names = [name for name in [code_name(absolute)] if name in recorded]
        else:
            names = [name for name in recorded if absolute.as_posix().endswith(f"/{name}")]
        if any(recorded[name] != code_digest(absolute) for name in names):
            yield f"made with another {path}"
        elif not names and path.suffix != ".py":
            yield f"its record does not say with which {path} it was made"
    if not any(name.startswith("userbench/") for name in recorded):
        yield "its record names no source of this package"
