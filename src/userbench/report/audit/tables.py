"""Tables made again from their inputs, by the recorded commands, and compared with the files."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from userbench.report.drawing import command as figure
from userbench.report.statistics import agreement
from userbench.report.statistics import command as statistics
from userbench.report.tables import ambiguities, effects, fairness, headline, table1, table2, tuning
from userbench.report.verdict import command as verdict
from userbench.results import scores

# The commands that tables come from. Why only flags of this list: a record names the command that
# is run again, and nothing in a record may make it write anywhere but into a temporary folder.
COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "agreement": agreement.main,
    "ambiguities": ambiguities.main,
    "effects": effects.main,
    "fairness": fairness.main,
    "figure": figure.write_numbers,
    "headline": headline.main,
    "scores": scores.main,
    "statistics": statistics.main,
    "table1": table1.main,
    "table2": table2.main,
    "tuning": tuning.main,
    "verdict": verdict.main,
}
CALL = ["-m", "userbench"]  # after the name of Python
CHOSEN = {"--table"}
READ = {
    *("--experiment", "--scores", "--store", "--examples", "--predictions", "--table1"),
    *("--agreement", "--cosines", "--baselines", "--statistics", "--curves", "--controls"),
}
WRITTEN = {
    *("--out", "--csv", "--md", "--tex", "--html", "--parquet", "--aggregate-csv"),
    "--aggregate-md",
}
COMPARED = (".csv", ".md", ".tex", ".html")  # of an image, the checksum has to do
CLOSE = 1e-9


def is_table(record: dict[str, Any]) -> bool:
    """Whether a record is of what a command of COMMANDS has made, all inputs known."""
    command = record.get("command", [])
    return bool(record.get("inputs")) and command[1:3] == CALL and command[3] in COMMANDS


def command_of(record: dict[str, Any]) -> str:
    """The command of a record, without its flags."""
    command = record.get("command", [])
    return " ".join(command[2:4] if command[1:3] == CALL else command[2:3]) or "an unknown command"


def run_again(command: Sequence[str], path: Path, folder: Path) -> list[Path]:
    """Run the command that made `path` into `folder`/made; the files to compare.

    Its relative paths are read from a folder in which the experiment has its former name.

    Raises:
        ValueError: the command is not one of a table, or fails.
    """
    if command[1:3] != CALL or command[3] not in COMMANDS:
        name = command_of({"command": command})
        raise ValueError(f"its record has a command, {name}, that is not of a table")
    words = list(command[4:])
    place, flag = None, ""
    (folder / "made").mkdir(exist_ok=True)
    for number, word in enumerate(words):
        if word.startswith("--"):
            flag = word
            if flag not in READ | WRITTEN | CHOSEN:
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
                COMMANDS[command[3]](words)
        except SystemExit as end:
            raise ValueError(f"cannot be made again: {end.code}") from None
    return [p for p in sorted((folder / "made").iterdir()) if p.suffix in COMPARED]


def differences(path: Path, again: Path) -> Iterator[str]:
    """Each difference of a file from the one just made; numbers may differ by rounding (CLOSE)."""
    if not path.exists() or path.read_bytes() == again.read_bytes():
        return  # a missing file is a finding of its record
    if path.suffix != ".csv":
        lines = [file.read_text(encoding="utf-8").splitlines() for file in (path, again)]
        if len(lines[0]) != len(lines[1]):
            yield f"{len(lines[0])} lines, computed again {len(lines[1])}"
        for number, (old, new) in enumerate(zip(*lines, strict=False), 1):
            if old != new:
                yield f"line {number} differs from the one computed again"
        return
    old, new = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in (path, again))
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
