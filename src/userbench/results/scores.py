"""Gather score files in one tidy table, scores.csv.

userbench scores --scores FILE... --out scores.csv
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.experiment.validation import parse_json, validated
from userbench.results import artifact
from userbench.results.contents import FailedFit, Fit
from userbench.results.tables import resolved, write_csv

SCORE_COLUMNS = {
    **{"corpus": str, "run": str, "task": str, "seed": int, "metric": str, "split": str},
    **{"pretrain_epoch": int, "start": int, "epoch": int},
    **{"examples": int, "width": "Int64", "value": float},
}
IDENTITY = [name for name in SCORE_COLUMNS if name not in ("examples", "width", "value")]


def read_score_content(path: Path) -> dict[str, Any]:
    """The content of a score file; ValueError, naming it, where it is none."""
    content = parse_json(artifact.read_bytes(path), str(path))
    failed = isinstance(content, dict) and "failed" in content
    validated(content, FailedFit if failed else Fit, str(path))
    return content


def read_score_file(path: Path) -> list[dict[str, Any]]:
    """One row (a dict with SCORE_COLUMNS) per value of a score file; of a failed fit, one of NaN.

    No rows of a baseline whose scores are those of another one.

    Raises:
        ValueError: the file is not what `finetune` or `baselines` writes, or is inconsistent.
    """
    artifact.check_recorded(path)
    try:
        content = read_score_content(path)
        if "failed" in content:
            none = {"pretrain_epoch": 0, "epoch": 0, "split": "test", "value": float("nan")}
            content |= {"best": none, "scores": [none | {"metric": content["metric"]}]}
        tested = [score for score in content["scores"] if score["split"] == "test"]
        if {candidate_of(score) for score in tested} != {candidate_of(content["best"])}:
            best = ", ".join(f"{name} {value}" for name, value in content["best"].items())
            raise ValueError(f"{path}: exactly the best epoch, {best}, must have test scores")
        if content["metric"] not in {score["metric"] for score in tested}:
            raise ValueError(f"{path}: no test score of its own metric, {content['metric']}")
    except ValueError as error:
        raise ValueError(f"{error}. Remove the file and run its rule again.") from error
    if "same_as" in content:
        return []
    shared = {name: content.get(name) for name in ("corpus", "run", "task", "seed", "width")}
    return [
        {"start": 1} | score | shared | {"examples": content["examples"][score["split"]]}
        for score in content["scores"]
    ]


def candidate_of(score: dict[str, Any]) -> tuple[int, ...]:
    """Candidate and epoch of a value of a score file: pretrain_epoch, start, epoch."""
    return score["pretrain_epoch"], score.get("start", 1), score["epoch"]


def read_facts(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """`Facts` by task, of those of these score files that exist and have any."""
    found: dict[str, dict[str, Any]] = {}
    for path in filter(Path.exists, paths):
        artifact.check_recorded(path)
        content = read_score_content(path)
        if "facts" in content:
            found.setdefault(content["task"], {}).update(content["facts"])
    return found


def gather_scores(paths: Sequence[Path]) -> pd.DataFrame:
    """All values of these score files as one table (SCORE_COLUMNS), sorted.

    A file that repeats the scores of another baseline (`same_as`) is left out.

    Raises:
        ValueError: a bad file, or one value given twice.
    """
    files = ((path, read_score_file(path)) for path in paths)
    frames = [pd.DataFrame(rows).assign(file=str(path)) for path, rows in files if rows]
    scores = pd.concat(frames)
    twice = scores[scores.duplicated(IDENTITY)]
    if len(twice):
        row = twice.iloc[0]
        what = ", ".join(f"{name} {row[name]}" for name in IDENTITY)
        raise ValueError(f"{row['file']}: a second value for {what}. Give every score file once.")
    scores = scores[list(SCORE_COLUMNS)].astype({"width": "Int64"})
    return scores.sort_values(IDENTITY, ignore_index=True)


def read_scores(path: Path) -> pd.DataFrame:
    """Read the table that `gather_scores` made.

    Raises:
        ValueError: the columns are not SCORE_COLUMNS, or a field is not of its type.
    """
    artifact.check_recorded(path)
    try:
        scores = pd.read_csv(
            path,
            dtype=SCORE_COLUMNS,
            keep_default_na=False,
            na_values={"width": [""], "value": [""]},
            float_precision="round_trip",
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: {error}. Make it again with the command scores.") from error
    if list(scores.columns) != list(SCORE_COLUMNS):
        raise ValueError(f"{path}: the columns must be {', '.join(SCORE_COLUMNS)}. Make it again.")
    may_be_empty = (scores["split"] == "test") & (scores["epoch"] == 0)
    if len(lost := scores[scores["value"].isna() & ~may_be_empty]):
        line = lost.index[0] + 2  # the first row is below the header
        raise ValueError(f"{path}: line {line} has no value. Make it again.")
    return scores


@command
def main(argv: list[str] | None = None) -> None:
    """Write scores.csv; an error in the input is reported in one line."""
    parser = command_line.parser("scores", __doc__)
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="score files",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    write_csv(args.out, gather_scores(args.scores))
    artifact.record(args.out, resolved(args), artifact.fingerprints(args.scores))
