"""Can every number of the results be traced? Follow them from the tables to the raw files.

userbench audit results/            an experiment's folder, or one that holds experiments

Every artefact is held against its provenance record, and that against the files it names: its own
checksum, those of what it was made from and of what was written with it. Arrays are held against
their checksums.json and that against its manifest, test scores are computed again from the saved
predictions, and tables from the files they were made of, by the commands that made them. The status
is 1 where anything cannot be traced. What can be traced, but not well (mixed code versions, a
changed source tree, seeds on different machines, a missing seed), is a note.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from userbench.errors import command
from userbench.experiment.validation import read_json, validated
from userbench.report import (
    agreement,
    comparison,
    fairness,
    figures,
    ledger,
    tables,
    tuning,
    verdict,
)
from userbench.report.resampling import weighted_metric
from userbench.report.statistics import read_score_content, read_score_file
from userbench.results.artifact import (
    CHECKSUMS,
    MANIFEST,
    fingerprint,
    provenance_of,
    provenance_path,
    sha256,
    write_json,
    write_text,
)
from userbench.results.contents import Arrays, FolderManifest, Origin, Record
from userbench.results.predictions import describe_predictions, predictions_path, read_predictions

STAGES = ("data", "pretrain", "finetune")  # a folder with one of these is an experiment
# Logs and timings are no results, executed notebooks show what is audited here.
LEFT_OUT = ("logs", "benchmarks", "notebooks")
RECORD = ".provenance.json"
# The commands that tables come from. Why only flags of this list: a record names the command that
# is run again, and nothing in a record may make it write anywhere but into a temporary folder.
COMMANDS: dict[str, Callable[[list[str]], None]] = {
    module.__name__: module.main
    for module in (agreement, comparison, fairness, ledger, tables, tuning, verdict)
} | {figures.__name__: figures.write_numbers}
READ = {
    *("--experiment", "--scores", "--store", "--examples", "--predictions", "--table1"),
    *("--agreement", "--cosines", "--references", "--statistics", "--curves", "--controls"),
}
WRITTEN = {
    *("--out", "--csv", "--md", "--tex", "--html", "--parquet", "--aggregate-csv"),
    "--aggregate-md",
}
COMPARED = (".csv", ".md", ".tex", ".html")  # of an image, the checksum has to do
CLOSE = 1e-9
TOLD = 10  # differences of one file that are listed


class Finding(NamedTuple):
    """A file, and what cannot be traced of it or, in a note, not well."""

    file: str
    what: str
    is_note: bool


class Audit:
    """Findings about the experiment in `folder`, and how much was looked at."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.findings: list[Finding] = []
        self.looked_at: Counter[str] = Counter()
        self.checksums: dict[Path, str] = {}
        self.records: dict[Path, dict[str, Any]] = {}  # of files, and of folders with a manifest
        self.covered: set[Path] = set()  # files that a record or a manifest speaks of

    def fail(self, file: Path, what: str) -> None:
        """Something that cannot be traced."""
        self.findings.append(Finding(str(file), what, is_note=False))

    def note(self, file: Path, what: str) -> None:
        """Something that can be traced, but not well."""
        self.findings.append(Finding(str(file), what, is_note=True))

    @contextmanager
    def explained(self, file: Path) -> Iterator[None]:
        """A fault of a file that the block reads is a finding, and no end of the audit."""
        try:
            yield
        except (ValueError, OSError, RecursionError) as fault:
            self.fail(file, " ".join(str(fault).removeprefix(f"{file}: ").split()))

    def checksum(self, path: Path) -> str:
        """Fingerprint of a file or folder, computed once; empty where it is not there."""
        path = Path(os.path.normpath(path))
        if path not in self.checksums:
            self.looked_at["checksums"] += 1
            try:
                self.checksums[path] = fingerprint(path) if path.exists() else ""
            except (ValueError, OSError, LookupError, TypeError, RecursionError) as fault:
                self.checksums[path] = f"unknown: {fault}"  # unlike any; told of where it belongs
        return self.checksums[path]

    def run(self) -> None:
        """Look at everything."""
        files = sorted(visible(self.folder))
        for path in tqdm(files, f"{self.folder}: checksums", disable=None, leave=False):
            with self.explained(path):
                if path.name == MANIFEST:
                    self.check_manifest(path)
                elif path.name.endswith(RECORD):
                    self.check_record(path.with_name(path.name.removesuffix(RECORD)))
        for path in files:
            if path not in self.covered:
                self.fail(path, "no provenance record")
        self.looked_at["files"] += len(files)
        scores = [path for path in files if is_scores(self.folder, path)]
        cells: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
        for path in tqdm(scores, f"{self.folder}: scores", disable=None, leave=False):
            with self.explained(path):
                told = self.check_scores(path)
                # A reference has no epoch, and needs no seeds.
                if "failed" in told or told["best"]["epoch"]:
                    cells[told["run"], told["task"]][told["seed"]] = path
        # Why by command: one may have made several tables, and makes all of them again.
        made = {
            (path.parent, *told["command"]): path
            for path, told in self.records.items()
            if is_table(told)
        }
        for path in tqdm(made.values(), f"{self.folder}: tables", disable=None, leave=False):
            with self.explained(path):
                self.make_again(path)
        self.compare_seeds(cells)
        self.compare_origins()

    # -------------------------------------------------------------------------- records, manifests

    def check_record(self, path: Path) -> None:
        """The record of `path` against the files it names."""
        record = provenance_path(path)
        self.covered |= {path, record}
        told = provenance_of(path)
        validated(told, Record, str(record))
        validated(told, Origin, str(record))
        if path.name != told["artefact"]:
            self.fail(record, f"is the record of {told['artefact']}")
        if not path.exists():
            self.fail(path, "is not there, though its provenance record is")
            return
        self.records[path] = told
        if path.is_dir():
            self.covered |= set(visible(path))
        elif "sha256" not in told:
            self.fail(path, "its record has no checksum. Make it again with this version")
        elif told["sha256"] != self.checksum(path):
            self.fail(path, "was changed: its checksum differs from its provenance record")
        for name, expected in told.get("beside", {}).items():
            other = within(path, name)
            self.covered.add(other)
            if self.checksum(other) != expected:
                self.fail(other, f"is missing, or not as written with {path.name}")
        for name, expected in told.get("inputs", {}).items():
            other = within(path, name)
            if self.checksum(other) == expected:
                continue
            if self.checksum(other):
                self.fail(path, f"was made from another {other} than is there now")
            elif other.is_relative_to(self.folder):
                self.fail(path, f"was made from {other}, which is not there")
            else:
                self.note(path, f"was made from {other}, which is not there to compare")

    def check_manifest(self, path: Path) -> None:
        """A folder of arrays against its checksums, and its manifest against what it names."""
        told = read_json(path, FolderManifest)
        folder = path.parent
        checksums = folder / CHECKSUMS
        self.covered |= {path, checksums, folder / "bad_rows.tsv"}
        validated(told, Origin, str(path))
        self.records[folder] = told
        if self.checksum(checksums) != told["checksums"]:
            self.fail(checksums, "is missing, or not as its manifest says")
        for name, array in read_json(checksums, Arrays)["arrays"].items():
            file = within(path, name)
            self.covered.add(file)
            if not file.is_relative_to(folder):
                self.fail(checksums, f"speaks of {name}, which is not in its folder")
            elif self.checksum(file) != array["sha256"]:
                self.fail(file, "is missing, or not as its checksums say")
        for name, expected in told.get("inputs", {}).items():
            origin = within(path, name)
            if self.checksum(origin) != expected:
                self.fail(path, f"was made of another {origin} than is there now")
        raw = self.folder / "raw" / folder.relative_to(self.folder).parts[1]
        for file in told.get("raw", {}).values() if raw.is_dir() else ():
            if self.checksum(within(raw / "any", file["name"])) != file["sha256"]:
                self.fail(path, f"was read from another {raw / file['name']} than is there now")

    # --------------------------------------------------------------------------- scores and tables

    def check_scores(self, path: Path) -> dict[str, Any]:
        """A score file against its place and its predictions; its content."""
        read_score_file(path)
        told = read_score_content(path)
        run, task, name = path.parts[-3:]
        if (told["run"], told["task"], f"seed{told['seed']}.json") != (run, task, name):
            self.fail(path, f"holds run {told['run']}, task {told['task']}, seed {told['seed']}")
        tested = {s["metric"]: s["value"] for s in told["scores"] if s["split"] == "test"}
        if not tested:  # nothing was, or its fit failed
            return told
        file = predictions_path(path)
        about = describe_predictions(file)
        for name in ("run", "task", "corpus", "seed", "kind"):
            if about.get(name) != told[name]:
                self.fail(file, f"is of {name} {about.get(name)}, its scores of {told[name]}")
        rows = read_predictions(file).rows
        if len(rows) != told["examples"]["test"]:
            self.fail(file, f"{len(rows)} examples, scored were {told['examples']['test']}")
        for metric, value in tested.items():
            again = weighted_metric(rows, metric, np.ones((1, len(rows))))[0]
            self.looked_at["test scores"] += 1
            if not abs(again - value) < CLOSE:
                self.fail(path, f"test {metric} is {value}, of its predictions {again}")
        return told

    def make_again(self, path: Path) -> None:
        """A table and what was written with it, against what its command makes of its inputs."""
        told = self.records[path]
        inside = [within(path, name).is_relative_to(self.folder) for name in told["inputs"]]
        if not all(inside):
            return
        with tempfile.TemporaryDirectory() as name:
            made = run_again(told["command"], path, Path(name))
            for again in made:
                there = path.with_name(again.name)
                self.looked_at["tables and pages computed again"] += 1
                found = list(differences(there, again))
                for what in found[:TOLD]:
                    self.fail(there, what)
                if len(found) > TOLD:
                    self.fail(there, f"and {len(found) - TOLD} more differences")

    # -------------------------------------------------------------------------------- what is noted

    def compare_seeds(self, cells: dict[tuple[str, str], dict[int, Path]]) -> None:
        """Seeds that are missing, and those of one cell that were not made alike."""
        seeds = sorted(set().union(*cells.values()))
        unlike: dict[str, list[Path]] = defaultdict(list)
        for files in cells.values():
            place = next(iter(files.values())).parent
            if lacking := [str(seed) for seed in seeds if seed not in files]:
                self.note(place, f"no seed {', '.join(lacking)}, which other cells have")
            records = [origin_of(self.records.get(file, {})) for file in files.values()]
            for key in ("commit", "python", "libraries", "hardware"):
                if len({json.dumps(told[key], sort_keys=True) for told in records}) > 1:
                    unlike[key].append(place)
        for key, places in unlike.items():
            self.note(
                places[0], f"seeds differ in {key}; so do those of {len(places)} cells in all"
            )

    def compare_origins(self) -> None:
        """Code versions and machines of all artefacts."""
        origins = [origin_of(told) for told in self.records.values()]
        commits = Counter(told["commit"] for told in origins)
        unknown = commits.pop("", 0)
        if unknown:
            self.note(self.folder, f"{unknown} artefacts name no commit: made outside a checkout")
        if len(commits) + bool(unknown) > 1:
            told = ", ".join(f"{commit[:12]} ({n})" for commit, n in commits.most_common())
            self.note(self.folder, f"made by several code versions: {told}")
        if changed := sum(told["changed"] for told in origins):
            self.note(self.folder, f"{changed} artefacts were made from a changed source tree")


def visible(folder: Path) -> Iterator[Path]:
    """Files below a folder, but for hidden ones and LEFT_OUT."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.name not in LEFT_OUT:
            yield from visible(path)


def within(path: Path, name: str) -> Path:
    """What a record or manifest at `path` calls by this name."""
    return Path(os.path.normpath(path.parent / name))


def is_scores(folder: Path, path: Path) -> bool:
    """Whether a file is finetune/<run>/<task>/seed<k>.json."""
    parts = path.relative_to(folder).parts
    return (
        len(parts) == 4
        and parts[0] == "finetune"
        and path.suffix == ".json"
        and (not path.name.endswith(RECORD))
    )


def is_table(told: dict[str, Any]) -> bool:
    """Whether a record is of what a command of COMMANDS has made, all inputs known."""
    command = told.get("command", [])
    return bool(told.get("inputs")) and len(command) > 2 and command[2] in COMMANDS


def origin_of(told: dict[str, Any]) -> dict[str, Any]:
    """What of a record says where an artefact was made."""
    hardware = told.get("hardware", {})
    return {
        "commit": told.get("git", {}).get("commit", ""),
        "changed": bool(told.get("git", {}).get("changed")),
        "python": told.get("python"),
        "libraries": told.get("libraries"),
        "hardware": {key: hardware.get(key) for key in ("processor", "gpu", "threads")},
    }


def run_again(command: Sequence[str], path: Path, folder: Path) -> list[Path]:
    """Run the command that made `path` into `folder`/made; the files to compare.

    Its relative paths are followed from a folder in which the experiment is called as it was then.

    Raises:
        ValueError: the command is not one of a table, or fails.
    """
    module, words = command[2], list(command[3:])
    if module not in COMMANDS:
        raise ValueError(f"its record has a command, {module}, that is not of a table")
    place, flag = None, ""
    (folder / "made").mkdir(exist_ok=True)
    for number, word in enumerate(words):
        if word.startswith("--"):
            flag = word
            if flag not in READ | WRITTEN:
                raise ValueError(f"its record has a command with {flag}, which is not run again")
        elif flag in WRITTEN:
            if Path(word).name == path.name:
                place = Path(word).parent
            words[number] = str(folder / "made" / Path(word).name)
    if place is None or ".." in place.parts:
        raise ValueError("its record has a command that did not write it")
    start = folder / "start"
    if place.is_absolute() or place == Path():
        start = path.parent
    else:
        (start / place).parent.mkdir(parents=True)
        (start / place).symlink_to(path.parent.resolve())
    with chdir(start), open(os.devnull, "w") as quiet:  # noqa: PTH123
        try:
            with redirect_stdout(quiet), redirect_stderr(quiet):
                COMMANDS[module](words)
        except SystemExit as end:
            raise ValueError(f"cannot be made again: {end.code}") from None
    return [p for p in sorted((folder / "made").iterdir()) if p.suffix in COMPARED]


def differences(there: Path, again: Path) -> Iterator[str]:
    """In what a file differs from the one just made; numbers may differ by rounding (CLOSE)."""
    if not there.exists() or there.read_bytes() == again.read_bytes():
        return  # a missing file was found before
    if there.suffix != ".csv":
        lines = [path.read_text(encoding="utf-8").splitlines() for path in (there, again)]
        if len(lines[0]) != len(lines[1]):
            yield f"{len(lines[0])} lines, computed again {len(lines[1])}"
        for number, (old, new) in enumerate(zip(*lines, strict=False), 1):
            if old != new:
                yield f"line {number} differs from the one computed again"
        return
    old, new = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (there, again))
    if list(old.columns) != list(new.columns) or len(old) != len(new):
        yield "other rows or columns than computed again"
        return
    for row, column in np.argwhere(old.to_numpy() != new.to_numpy()):
        pair = old.iat[row, column], new.iat[row, column]
        if not equal_numbers(*pair):
            # Row 2 of a CSV file is its first one below the header.
            yield f"row {row + 2}, {old.columns[column]}: {pair[0]}, computed again {pair[1]}"


def equal_numbers(one: str, other: str) -> bool:
    """Whether two texts are numbers that are equal but for rounding."""
    try:
        return bool(np.isclose(float(one), float(other), rtol=CLOSE, atol=CLOSE))
    except ValueError:
        return False


# ----------------------------------------------------------------------------------- all of results


def audit(folder: Path) -> list[Audit]:
    """Audit an experiment, or all in a folder and the copies beside them.

    Raises:
        ValueError: there is no experiment.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Name that of the results")
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    own = is_experiment(folder)
    experiments = [folder] if own else [path for path in below if is_experiment(path)]
    if not experiments:
        raise ValueError(f"{folder}: holds no experiment ({', '.join(STAGES)}). Name another one")
    audits = [Audit(experiment) for experiment in experiments]
    for one in audits:
        one.run()
    if not own:
        copies = Audit(folder)
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            if not path.name.startswith("."):
                check_copy(copies, path, experiments)
        audits.append(copies)
    return audits


def is_experiment(folder: Path) -> bool:
    """Whether a folder has results of any stage."""
    return any((folder / stage).is_dir() for stage in STAGES)


def check_copy(copies: Audit, path: Path, experiments: Iterable[Path]) -> None:
    """A file at the root of the results against those it may be a copy of."""
    copies.looked_at["files"] += 1
    originals = [file for folder in experiments if (file := folder / path.name).is_file()]
    if not any(sha256(path) == sha256(file) for file in originals):
        told = " or ".join(map(str, originals)) or "any file of an experiment"
        copies.fail(path, f"is no copy of {told}")


def summary(audits: list[Audit]) -> list[str]:
    """All findings, a line each, the notes first, and what was looked at."""
    looked_at = sum((one.looked_at for one in audits), Counter())
    findings = [finding for one in audits for finding in one.findings]
    lines = [f"note: {f.file}: {f.what}" for f in findings if f.is_note]
    broken = [f"{f.file}: {f.what}" for f in findings if not f.is_note]
    counted = ", ".join(f"{n:,} {what}" for what, n in looked_at.items())
    end = f"{len(broken):,} cannot be traced" if broken else "everything can be traced"
    return [*lines, *broken, f"Looked at: {counted}.", f"{end}; notes: {len(lines)}."]


@command
def main(argv: list[str] | None = None) -> None:
    """Audit, print what was found, and end with status 1 where anything cannot be traced."""
    parser = argparse.ArgumentParser(prog="userbench audit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--json", type=Path, help="file for the findings, as JSON")
    parser.add_argument("--csv", type=Path, help="file for the findings, as CSV")
    args = parser.parse_args(argv)
    audits = audit(args.folder)
    findings = [finding for one in audits for finding in one.findings]
    if args.json:
        looked_at = dict(sum((one.looked_at for one in audits), Counter()))
        told = [finding._asdict() for finding in findings]
        write_json(args.json, {"looked_at": looked_at, "findings": told})
    if args.csv:
        frame = pd.DataFrame(findings, columns=Finding._fields)
        write_text(args.csv, frame.to_csv(index=False, lineterminator="\n"))
    print("\n".join(summary(audits)))
    if not all(finding.is_note for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
