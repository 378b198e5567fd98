"""Where the files of the repository and the programs of its environment are."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
