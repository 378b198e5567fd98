"""Check that every number of the results can be traced, from the tables to the raw files.

userbench audit results/            an experiment's folder, or one that holds experiments

Every artefact is compared with its provenance record, and the record with the files it names: its
own checksum, those of what it was made from and of what was written with it. Arrays are compared
with their checksums.json and that with its manifest, test scores are computed again from the saved
predictions, and tables from the files they were made of, by the commands that made them. The status
is 1 where anything cannot be traced. What can be traced, but only in part (mixed code versions, a
changed source tree, seeds on different machines, a missing seed), is a note.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.report.audit.experiment import Audit, Finding
from userbench.results.artifact import sha256, write_json, write_text

STAGES = ("data", "pretrain", "finetune")  # a folder with one of these is an experiment


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
                with copies.errors_found(path):
                    check_copy(copies, path, experiments)
        audits.append(copies)
    return audits


def is_experiment(folder: Path) -> bool:
    """Whether a folder has results of any stage."""
    return any((folder / stage).is_dir() for stage in STAGES)


def check_copy(copies: Audit, path: Path, experiments: Iterable[Path]) -> None:
    """Compare a file at the root of the results with those it may be a copy of."""
    copies.looked_at["files"] += 1
    originals = [file for folder in experiments if (file := folder / path.name).is_file()]
    if not any(sha256(path) == sha256(file) for file in originals):
        known = " or ".join(map(str, originals)) or "any file of an experiment"
        copies.fail(path, f"is no copy of {known}")


def lines_of(audits: list[Audit]) -> list[str]:
    """All findings, a line each, the notes first, and how much was checked."""
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
    parser = command_line.parser("audit", __doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results"), help="of results")
    parser.add_argument("--json", type=Path, help="file for the findings, as JSON")
    parser.add_argument("--csv", type=Path, help="file for the findings, as CSV")
    args = parser.parse_args(argv)
    audits = audit(args.folder)
    findings = [finding for one in audits for finding in one.findings]
    if args.json:
        looked_at = dict(sum((one.looked_at for one in audits), Counter()))
        content = {"looked_at": looked_at, "findings": [found._asdict() for found in findings]}
        write_json(args.json, content)
    if args.csv:
        frame = pd.DataFrame(findings, columns=Finding._fields)
        write_text(args.csv, frame.to_csv(index=False, lineterminator="\n"))
    print("\n".join(lines_of(audits)))
    if not all(finding.is_note for finding in findings):
        sys.exit(1)
