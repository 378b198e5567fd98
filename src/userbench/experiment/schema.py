"""The JSON schema of a config: editors that read YAML complete and check keys by it.

userbench schema > config.schema.json
"""

import argparse
import json

from userbench.errors import command
from userbench.experiment.config import Experiment


@command
def main(argv: list[str] | None = None) -> None:
    """Print the schema."""
    argparse.ArgumentParser(prog="userbench schema", description=__doc__).parse_args(argv)
    print(json.dumps(Experiment.model_json_schema(), indent=2))
