"""Take over results that were made in another folder, so that only what differs runs again.

userbench adopt results/            an experiment's folder, or one that holds experiments

For results that were copied or moved to this clone. Every file is compared with its record, and the
record with the arrays and checkpoints beside it, with the sources of this clone and with the jobs
that the config plans now. What matches is marked as current for Snakemake; what does not is listed
with the reason, and runs again at the next call. No command of a record is run, no file deleted.

The config is the file in workflow/config/ of the experiment's name, or what --config names.
"""

import os
from contextlib import suppress
from pathlib import Path

from userbench import command_line
from userbench.adopt.check import Checked, check
from userbench.adopt.planned import mark_current, plan
from userbench.errors import command
from userbench.experiment.files import read_configs
from userbench.report.audit.command import is_experiment
from userbench.workflow.alone import claim

CONFIGS, RESULTS = Path("workflow/config"), Path("results")


@command
def main(argv: list[str] | None = None) -> None:
    """Adopt experiments, and print what of each is current and what is not."""
    parser = command_line.parser("adopt", __doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help="of results")
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        help="config of the workflow; of several files, what the last one says counts",
    )
    parser.add_argument("--dry-run", action="store_true", help="list, and mark nothing")
    args = parser.parse_args(argv)
    for experiment in experiments(args.folder, args.config):
        configs = args.config or [config_of(experiment)]
        found = adopt(experiment, configs, args.dry_run)
        print("\n".join(lines_of(experiment, found)))


def adopt(experiment: Path, configs: list[Path], dry_run: bool) -> Checked:
    """Let Snakemake know what of an experiment is current, and what is not."""
    held = claim(experiment)
    with plan(configs) as planned:
        found = check(planned.jobs, experiment)
        if not dry_run:
            others = [*found.refused, *found.behind, *found.absent]
            planned.forget(job for job in others if not job.copies)
    del held  # Snakemake, which marks the files, takes it itself
    if found.current and not dry_run:
        mark_current(configs, found.current)
    return found


def experiments(folder: Path, configs: list[Path] | None) -> list[Path]:
    """The folders of experiments in a folder of results; of a config, that of its experiment.

    Raises:
        ValueError: there is none, or it is not in the results/ of this folder.
    """
    folder = Path(os.path.relpath(folder))  # a link stays one: results may lie on another disk
    if folder.parts[:1] != RESULTS.parts or len(folder.parts) > 2:
        raise ValueError(f"{folder}: is not in {RESULTS}/ of this folder. Move the results there")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Move the results there")
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [folder] if is_experiment(folder) else [path for path in below if is_experiment(path)]
    if configs is not None:
        own = read_configs(configs).get("experiment", "")
        found = [path for path in found if path.name == own]
        if not found:
            raise ValueError(f"{folder}: holds no experiment {own!r}, of which the config is")
    if not found:
        raise ValueError(f"{folder}: holds no experiment. Name another folder")
    return found


def config_of(experiment: Path) -> Path:
    """The config file of an experiment; ValueError where none has its name."""
    for path in sorted(CONFIGS.glob("*.yaml")):
        with suppress(ValueError):  # one that cannot be read is not the one
            if read_configs([path]).get("experiment") == experiment.name:
                return path
    problem = f"no file in {CONFIGS}/ has the experiment {experiment.name!r}"
    raise ValueError(f"{experiment}: {problem}. Name its config: --config FILE")


def lines_of(experiment: Path, found: Checked) -> list[str]:
    """What was found: each job that does not match in a line, and how many of each kind."""
    numbers = {
        "current": len(found.current),
        "not as their records, code or settings": len(found.refused),
        "read what has to be made again": len(found.behind),
        "not made yet": len(found.absent),
    }
    total = sum(numbers.values())
    counted = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    return [*found.refused.values(), f"{experiment}: of {total:,} jobs {counted}."]
