"""Audit of one experiment: every file against its record, its inputs and what it was made from."""

import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from userbench.errors import describe_error, describe_refusal, one_line
from userbench.experiment.layouts import ITEM_COUNTS
from userbench.experiment.validation import read_json, validated
from userbench.report.audit.tables import CLOSE, command_of, differences, is_table, run_again
from userbench.report.statistics.resampling import weighted_metric
from userbench.results.artifact import (
    CHECKSUMS,
    MANIFEST,
    fingerprint,
    provenance_of,
    provenance_path,
)
from userbench.results.code_version import UNKNOWN
from userbench.results.contents import Arrays, FolderManifest, Origin, Record
from userbench.results.predictions import describe_predictions, predictions_path, read_predictions
from userbench.results.scores import read_score_content, read_score_file

# Logs and timings are no results, executed notebooks show what is audited here.
LEFT_OUT = ("logs", "benchmarks", "notebooks")
RECORD = ".provenance.json"
LISTED = 10  # differences of one file that are findings


class Finding(NamedTuple):
    """A file, and what cannot be traced of it or, in a note, can be traced in part only."""

    file: str
    what: str
    is_note: bool


class Audit:
    """Findings about the experiment in `folder`, and numbers of what was checked."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.findings: list[Finding] = []
        self.looked_at: Counter[str] = Counter()
        self.checksums: dict[Path, str | None] = {}
        self.records: dict[Path, dict[str, Any]] = {}  # of files, and of folders with a manifest
        self.covered: set[Path] = set()  # files that a record or a manifest names

    def fail(self, file: Path, what: str) -> None:
        """Add a finding that something cannot be traced."""
        self.findings.append(Finding(str(file), what, is_note=False))

    def note(self, file: Path, what: str) -> None:
        """Add a note on what can be traced in part only."""
        self.findings.append(Finding(str(file), what, is_note=True))

    @contextmanager
    def errors_found(self, file: Path) -> Iterator[None]:
        """Turn an error of the block, which reads this file, into a finding."""
        try:
            yield
        except (ValueError, OSError, RecursionError) as error:
            what = describe_error(error) or str(error)
            self.fail(file, one_line(what.removeprefix(f"{file}: ")))

    def checksum(self, path: Path) -> str | None:
        """Fingerprint of a file or folder, computed once; empty where it does not exist.

        None where it cannot be read, which is then a finding of its own.
        """
        path = Path(os.path.normpath(path))
        if path not in self.checksums:
            self.looked_at["checksums"] += 1
            try:
                self.checksums[path] = fingerprint(path) if path.exists() else ""
            except OSError as error:
                self.checksums[path] = None
                self.fail(path, describe_refusal(error).removeprefix(f"{path}: "))
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                self.checksums[path] = f"unknown: {error}"  # unlike any, so that it is a finding
        return self.checksums[path]

    def differs(self, path: Path, expected: str) -> bool:
        """Whether a file or folder is there no more, or is another one; not if it is unreadable."""
        return self.checksum(path) not in (expected, None)

    def run(self) -> None:
        """Check everything."""
        files = sorted(visible(self.folder))
        for path in tqdm(files, f"{self.folder}: checksums", disable=None, leave=False):
            with self.errors_found(path):
                if path.name == MANIFEST:
                    self.check_manifest(path)
                elif path.name.endswith(RECORD):
                    self.check_record(path.with_name(path.name.removesuffix(RECORD)))
        for path in files:
            if path not in self.covered:
                self.fail(path, "no provenance record")
        self.looked_at["files"] += len(files)
        scores = [path for path in files if is_scores(self.folder, path)]
        cells: dict[Path, dict[int, Path]] = defaultdict(dict)
        for path in tqdm(scores, f"{self.folder}: scores", disable=None, leave=False):
            with self.errors_found(path):
                content = self.check_scores(path)
                if needs_seeds(content):
                    cells[path.parent][content["seed"]] = path
        self.check_commands()
        # Why by command: one may have made several tables, and makes all of them again.
        made = {
            (path.parent, *record["command"]): path
            for path, record in self.records.items()
            if is_table(record)
        }
        for path in tqdm(made.values(), f"{self.folder}: tables", disable=None, leave=False):
            with self.errors_found(path):
                self.make_again(path)
        self.compare_seeds(cells)
        self.compare_origins()

    # --------------------------------------------------------------------------- records, manifests

    def check_record(self, path: Path) -> None:
        """Compare a file and its record, and the record with the files it names."""
        source = provenance_path(path)
        self.covered |= {path, source}
        record = provenance_of(path)
        validated(record, Record, str(source))
        validated(record, Origin, str(source))
        if path.name != record["artefact"]:
            self.fail(source, f"is the record of {record['artefact']}")
        if not path.exists():
            self.fail(path, "is not there, though its provenance record is")
            return
        self.records[path] = record
        if path.is_dir():
            self.covered |= set(visible(path))
        elif "sha256" not in record:
            self.fail(path, "its record has no checksum. Make it again with this version")
        elif self.differs(path, record["sha256"]):
            self.fail(path, "was changed: its checksum differs from its provenance record")
        for name, expected in record.get("beside", {}).items():
            other = within(path, name)
            self.covered.add(other)
            if self.differs(other, expected):
                self.fail(other, f"is missing, or not as written with {path.name}")
        for name, expected in record.get("inputs", {}).items():
            other = within(path, name)
            if not self.differs(other, expected):
                continue
            if self.checksum(other):
                self.fail(path, f"was made from another {other} than is there now")
            elif other.is_relative_to(self.folder):
                self.fail(path, f"was made from {other}, which is not there")
            else:
                self.note(path, f"was made from {other}, which is not there to compare")

    def check_manifest(self, path: Path) -> None:
        """Compare a folder of arrays with its checksums, and its manifest with what it names."""
        manifest = read_json(path, FolderManifest)
        folder = path.parent
        checksums = folder / CHECKSUMS
        self.covered |= {path, checksums, folder / "bad_rows.tsv"}
        validated(manifest, Origin, str(path))
        self.records[folder] = manifest
        if self.differs(checksums, manifest["checksums"]):
            self.fail(checksums, "is missing, or not as its manifest says")
        for name, array in read_json(checksums, Arrays)["arrays"].items():
            file = within(path, name)
            self.covered.add(file)
            if not file.is_relative_to(folder):
                self.fail(checksums, f"names {name}, which is not in its folder")
            elif self.differs(file, array["sha256"]):
                self.fail(file, "is missing, or not as its checksums say")
        for name, expected in manifest.get("inputs", {}).items():
            origin = within(path, name)
            if self.differs(origin, expected):
                self.fail(path, f"was made of another {origin} than is there now")
        raw = self.folder / "raw" / folder.relative_to(self.folder).parts[1]
        for file in manifest.get("raw", {}).values() if raw.is_dir() else ():
            if self.differs(within(raw / "any", file["name"]), file["sha256"]):
                self.fail(path, f"was read from another {raw / file['name']} than is there now")

    # ---------------------------------------------------------------------------- scores and tables

    def check_scores(self, path: Path) -> dict[str, Any]:
        """Compare a score file with its place and its predictions; returns its content."""
        read_score_file(path)
        content = read_score_content(path)
        run, task, name = path.parts[-3:]
        own = (content["run"], content["task"], f"seed{content['seed']}.json")
        if own != (run, task, name):
            seed = content["seed"]
            self.fail(path, f"holds run {content['run']}, task {content['task']}, seed {seed}")
        tested = {s["metric"]: s["value"] for s in content["scores"] if s["split"] == "test"}
        if not tested:  # nothing was, or its fit failed
            return content
        file = predictions_path(path)
        about = describe_predictions(file)
        for name in ("run", "task", "corpus", "seed", "kind"):
            if about.get(name) != content[name]:
                self.fail(file, f"is of {name} {about.get(name)}, its scores of {content[name]}")
        rows = read_predictions(file).rows
        if len(rows) != content["examples"]["test"]:
            self.fail(file, f"{len(rows)} examples, scored were {content['examples']['test']}")
        for metric, value in tested.items():
            again = weighted_metric(rows, metric, np.ones((1, len(rows))))[0]
            self.looked_at["test scores"] += 1
            if not abs(again - value) < CLOSE:
                self.fail(path, f"test {metric} is {value}, of its predictions {again}")
        return content

    def check_commands(self) -> None:
        """Note the tables of commands that this version does not have: they are not made again."""
        made_by = Counter(
            command_of(record)
            for path, record in self.records.items()
            if path.suffix == ".csv" and record.get("inputs") and not is_table(record)
        )
        for name, count in made_by.items():
            self.note(
                self.folder,
                f"{count} tables were made by {name}, which this version does not have: they are "
                "not computed again",
            )

    def make_again(self, path: Path) -> None:
        """Compare a table, and what was written with it, with what its command makes again."""
        record = self.records[path]
        inside = [within(path, name).is_relative_to(self.folder) for name in record["inputs"]]
        if not all(inside):
            return
        with tempfile.TemporaryDirectory() as name:
            made = run_again(record["command"], path, Path(name))
            for again in made:
                file = path.with_name(again.name)
                self.looked_at["tables and pages computed again"] += 1
                found = list(differences(file, again))
                for what in found[:LISTED]:
                    self.fail(file, what)
                if len(found) > LISTED:
                    self.fail(file, f"and {len(found) - LISTED} more differences")

    # ---------------------------------------------------------------------------------------- notes

    def compare_seeds(self, cells: dict[Path, dict[int, Path]]) -> None:
        """Note seeds that are missing, and cells whose seeds were made in different ways."""
        seeds = sorted(set().union(*cells.values()))
        unlike: dict[str, list[Path]] = defaultdict(list)
        for files in cells.values():
            place = next(iter(files.values())).parent
            if lacking := [str(seed) for seed in seeds if seed not in files]:
                self.note(place, f"no seed {', '.join(lacking)}, which other cells have")
            records = [origin_of(self.records.get(file, {})) for file in files.values()]
            for key in ("commit", "python", "libraries", "hardware"):
                if len({json.dumps(record[key], sort_keys=True) for record in records}) > 1:
                    unlike[key].append(place)
        for key, places in unlike.items():
            self.note(
                places[0], f"seeds differ in {key}; so do those of {len(places)} cells in all"
            )

    def compare_origins(self) -> None:
        """Note several code versions, and artefacts of unknown or changed ones."""
        origins = [origin_of(record) for record in self.records.values()]
        commits = Counter(origin["commit"] for origin in origins)
        nameless = commits.pop("", 0)
        reasons = Counter(origin["unknown"] for origin in origins if origin["unknown"])
        if outside := sum(not (origin["commit"] or origin["unknown"]) for origin in origins):
            self.note(self.folder, f"{outside} artefacts name no commit: made outside a checkout")
        for reason, count in reasons.items():
            self.note(self.folder, f"the code of {count} artefacts is not known: {reason}")
        if len(commits) + bool(nameless) > 1:
            each = ", ".join(f"{commit[:12]} ({n})" for commit, n in commits.most_common())
            self.note(self.folder, f"made by several code versions: {each}")
        if changed := sum(origin["changed"] for origin in origins):
            self.note(self.folder, f"{changed} artefacts were made from a changed source tree")


def visible(folder: Path) -> Iterator[Path]:
    """Files below a folder, except hidden ones and LEFT_OUT."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.name not in LEFT_OUT:
            yield from visible(path)


def within(path: Path, name: str) -> Path:
    """The file that a record or manifest at `path` means by this name."""
    return Path(os.path.normpath(path.parent / name))


def needs_seeds(content: dict[str, Any]) -> bool:
    """Whether every seed has a score file like this one; baselines have one for all."""
    return "width" in content and content["run"] != ITEM_COUNTS


def is_scores(folder: Path, path: Path) -> bool:
    """Whether a file is finetune/<run>/<task>/seed<k>.json, or the same of frozen/."""
    parts = path.relative_to(folder).parts
    return (
        len(parts) == 4
        and parts[0] in ("finetune", "frozen")
        and path.suffix == ".json"
        and (not path.name.endswith(RECORD))
    )


def origin_of(record: dict[str, Any]) -> dict[str, Any]:
    """Code, libraries and machine by which an artefact was made, as its record says."""
    hardware, git = record.get("hardware", {}), record.get("git", {})
    return {
        "commit": git.get("commit", ""),
        "changed": bool(git.get("changed")),
        "unknown": str(git.get(UNKNOWN, "")),
        "python": record.get("python"),
        "libraries": record.get("libraries"),
        "hardware": {key: hardware.get(key) for key in ("processor", "gpu", "threads")},
    }
