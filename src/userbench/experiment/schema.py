"""Print the JSON schema of a config, by which editors complete and check keys.

userbench schema > config.schema.json
"""

import json

from userbench import command_line
from userbench.errors import command
from userbench.experiment.config import Experiment


@command
def main(argv: list[str] | None = None) -> None:
    """Print the schema."""
    command_line.parser("schema", __doc__).parse_args(argv)
    print(json.dumps(Experiment.model_json_schema(), indent=2))
