"""Print what has been reproduced of the paper's Table 2, from results that exist.

userbench verify --config workflow/config/paper.yaml

Reads verdict.csv and agreement.csv of the config's experiment; nothing is run or written. The
status is 0 whatever the verdicts are, 1 where there is nothing to read or the config has other
margins than the verdicts.
"""

from pathlib import Path

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.experiment.config import Verify
from userbench.experiment.files import read_configs
from userbench.experiment.validation import validated
from userbench.report.verdict.page import page
from userbench.report.verdict.table import read_verdicts


@command
def main(argv: list[str] | None = None) -> None:
    """Print the verdicts; an error in the input is reported in one line."""
    parser = command_line.parser("verify", __doc__)
    default = Path("workflow/config/default.yaml")
    parser.add_argument("--config", type=Path, default=default, help="YAML")
    args = parser.parse_args(argv)
    print(verify(args.config))


def verify(config: Path) -> str:
    """The page of a config's experiment.

    Raises:
        ValueError: the config asks for no verdicts, or they are missing, or of other margins.
    """
    content = read_configs([config])
    if not {"experiment", "verify"} <= content.keys():
        raise ValueError(f"{config}: has no `verify`, so nothing is compared with the paper")
    margin = validated(content["verify"], Verify, f"{config}: verify").margin.model_dump()
    folder = Path("results", content["experiment"])
    make = f"snakemake --cores all --configfile {config} -- results/verdict.csv"
    files = [folder / name for name in ("verdict.csv", "agreement.csv")]
    for file in files:
        if not file.exists():
            raise ValueError(f"{file} is not there. Make it: {make}")
    verdicts = read_verdicts(files[0])
    if verdicts.groupby("task")["margin"].first().to_dict() != margin:
        raise ValueError(f"{files[0]} was made with other margins than {config} has. Run: {make}")
    return page(verdicts, pd.read_csv(files[1]))
