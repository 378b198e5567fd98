"""Make one figure: its numbers as CSV, and its drawing as SVG, PDF and PNG.

userbench figure ablation --scores figure4_scores.csv --predictions FILE...
    --experiment experiment.json --csv ablation.csv --out results/figure4
userbench figure similarity --cosines FILE... --experiment experiment.json
    --csv figure5.csv --parquet figure5.parquet --out results/figure5
userbench figure learning_curves --scores scores.csv
    --curves pretrain/<run>/<corpus>/seed<k>/curve.json... --experiment experiment.json
    --csv learning_curves.csv --out results/learning_curves

The first word names a file of report/figures/, whose READS says which measurements it is made of.
The columns of a CSV: the docstring of that file.
"""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.experiment.config import Part
from userbench.experiment.figures import FigureFile, read_figure_file
from userbench.report.drawing.cosines import read_cosines
from userbench.report.drawing.inputs import Inputs, read_layout
from userbench.report.drawing.style import applied, save
from userbench.results import artifact
from userbench.results.scores import read_scores
from userbench.results.tables import resolved, write_csv


class Numbers(NamedTuple):
    """The numbers of a figure, what they are made of, and the file that made them."""

    frame: pd.DataFrame
    inputs: Inputs
    figure: ModuleType


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Make one figure."""
    args = parse(argv)
    made, beside = compute(args), []
    if args.parquet is not None:
        with artifact.atomic(args.parquet) as partial:
            made.inputs.cosines.to_parquet(partial, index=False)
        beside.append(args.parquet)
    write_csv(args.csv, made.frame)
    with applied():
        images = save(made.figure.draw(made.frame, made.inputs), args.out)
    scores = [] if args.scores is None else [args.scores]
    read = [args.experiment, *scores, *args.predictions, *args.curves, *args.cosines]
    artifact.record(args.csv, resolved(args), artifact.fingerprints(read), [*images, *beside])


def write_numbers(argv: Sequence[str]) -> None:
    """Write the numbers behind a figure by the flags of its command, and draw nothing."""
    args = parse(argv)
    write_csv(args.csv, compute(args).frame)


def compute(args: argparse.Namespace) -> Numbers:
    """The numbers of a figure; ValueError where there are none."""
    figure = importlib.import_module(f"userbench.report.figures.{args.figure}")
    inputs = Inputs(
        layout=read_layout(args.figure, args.experiment, getattr(figure, "Options", Part)),
        scores=None if args.scores is None else read_scores(args.scores),
        predictions=args.predictions,
        curves=args.curves,
        cosines=read_cosines(args.cosines) if args.cosines else None,
    )
    frame = figure.numbers(inputs)
    if frame.empty:
        source = args.scores or args.experiment
        raise ValueError(f"{source}: no score of the runs and tasks of figure {args.figure!r}")
    return Numbers(frame, inputs, figure)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags of the command; ValueError for measurements that the figure does not read."""
    parser = command_line.parser("figure", __doc__)
    parser.add_argument("figure", help="name of a file of report/figures/")
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--scores", type=Path, help="CSV of all scores")
    for name in ("predictions", "curves", "cosines"):
        parser.add_argument(
            f"--{name}",
            type=Path,
            nargs="*",
            action="extend",
            default=[],
            metavar="FILE",
            help="of all its runs, if it reads them",
        )
    parser.add_argument("--csv", type=Path, required=True, help="the numbers, to write")
    parser.add_argument("--parquet", type=Path, help="all cosines, to write")
    parser.add_argument("--out", type=Path, required=True, help="the drawing, without its ending")
    args = parser.parse_args(argv)
    check_reads(args, read_figure_file(args.figure))
    return args


def check_reads(args: argparse.Namespace, figure: FigureFile) -> None:
    """ValueError where a figure is given a measurement that it does not read, or lacks one."""
    for name in ("scores", "predictions", "curves", "cosines"):
        given = bool(getattr(args, name))
        if given and name not in figure.reads:
            raise ValueError(f"--{name}: figure {figure.file!r} does not read them. Leave it out")
        # Predictions and curves are asked for run by run, where they are used.
        if not given and name in figure.reads and name in ("scores", "cosines"):
            raise ValueError(f"figure {figure.file!r} reads {name}: give --{name}")
