"""Write experiment.json: what an experiment runs, and what its tables and figures compare.

userbench experiment --config JSON [--absent CORPUS...] [--notes JSON]
    --out experiment.json

The config is that of the workflow, as one JSON object. Tables have empty columns for the corpora
that are absent; notes are those of the methods of Table 2. Every other command of
the report reads the file.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from userbench import command_line
from userbench.command_line import json_object
from userbench.errors import command
from userbench.experiment.check import read_experiment, resolve_checked
from userbench.experiment.config import KEYS_OF_FIGURES
from userbench.experiment.layouts import ExperimentFile, Layouts, experiment_file
from userbench.experiment.validation import parse_json, validated
from userbench.results import artifact
from userbench.results.contents import Text

# The key of a config that asks for each part beside figures; Table 1 is always there.
ASKED_BY = {
    "verify": "verify",
    "table1": "corpora",
    "table2": "table2",
    "training": "table2",
    "frozen": "frozen",
    "frozen_training": "frozen",
    "tuning": "tuning",
    "effects": "sensitivity",
}


def read_layouts(path: Path) -> Layouts:
    """What the tables and figures of an experiment compare.

    Raises:
        ValueError: experiment.json is missing, damaged, or of another form.
    """
    if not path.is_file():
        raise ValueError(f"{path}: is not there. Make it with `userbench experiment`")
    artifact.check_recorded(path)
    try:
        content = parse_json(artifact.read_bytes(path), str(path))
        return validated(content, ExperimentFile, str(path)).layouts
    except ValueError as problem:
        raise ValueError(f"{problem}. Make it again with `userbench experiment`") from None


def layout_of(path: Path, part: str) -> dict[str, Any]:
    """One part of the layouts, as plain values; ValueError where the experiment has none."""
    layout = getattr(read_layouts(path), part)
    if layout is None:
        raise ValueError(
            f"{path}: the experiment has no {part}. Add the key {ASKED_BY[part]!r} to its config"
        )
    return layout.model_dump()


def figure_layout(path: Path, name: str) -> dict[str, Any]:
    """What a figure compares, as plain values; ValueError where the experiment has no such figure.

    `name` is that of its file in report/figures/.
    """
    layout = read_layouts(path).figures.get(name)
    if layout is None:
        key = KEYS_OF_FIGURES.get(name, f"figures.{name}")
        raise ValueError(
            f"{path}: the experiment has no figure {name!r}. Add the key {key!r} to its config"
        )
    return layout.model_dump()


def check_once(names: Iterable[str], source: str) -> None:
    """ValueError where one of these names occurs twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{source}: {name!r} is named twice")


@command
def main(argv: list[str] | None = None) -> None:
    """Write experiment.json; an error in the config is reported in one line."""
    parser = command_line.parser("experiment", __doc__)
    parser.add_argument("--config", type=json_object, required=True, help="JSON")
    parser.add_argument("--absent", nargs="*", default=[], metavar="CORPUS", help="without data")
    parser.add_argument("--notes", default="[]", help="JSON list of sentences below Table 2")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    config = read_experiment(args.config, "--config")
    notes = validated(parse_json(args.notes, "--notes"), list[Text], "--notes")
    for name in args.absent:
        if name not in config.corpora:
            known = ", ".join(config.corpora)
            raise ValueError(f"--absent: no corpus {name!r}; known: {known}")
    resolved, _ = resolve_checked(config, "--config", args.absent, asks=False)
    artifact.write_json(args.out, experiment_file(resolved, notes).model_dump())
    asked = {"config": args.config, "absent": args.absent, "notes": notes, "out": args.out}
    artifact.record(args.out, asked)
