"""The commands of docs/data.md, on files of the layouts that it names."""

import csv
import os
import re
import shutil
import subprocess

import pytest
from log_layouts import LAYOUTS
from repository import PROGRAMS, ROOT

PAGE = (ROOT / "docs/data.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The lines of the first block of commands of a section."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    return re.search(r"```sh\n(.*?)```", section, re.S)[1].splitlines()


def run(folder, line: str) -> str:
    """What a line of the page prints; it is one for a shell."""
    words = line.replace("make ", "make --old-file=install ")  # what is installed is under test
    done = subprocess.run(
        ["bash", "-ec", words],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("USERBENCH_")},
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("heading", LAYOUTS)
def test_three_commands_lead_from_a_log_to_a_table(checkout, heading):
    """What the page promises a newcomer: every row has a score of every task."""
    shutil.copy(ROOT / "Makefile", checkout)
    shutil.copy(ROOT / "requirements.lock", checkout)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    LAYOUTS[heading](checkout, 250)
    for line in commands(heading):
        if not line.startswith("curl"):
            run(checkout, line)
    with (checkout / "results/table2.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["ranked"] == "True"]
    assert len(rows) == 4
    scores = [value for row in rows for key, value in row.items() if key.endswith(".mean")]
    assert len(scores) >= 8 and all(0 <= float(score) <= 100 for score in scores)
    shutil.rmtree(checkout / "results")
