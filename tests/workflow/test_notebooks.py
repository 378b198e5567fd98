"""Every notebook is short and holds no output."""

import json

import pytest
from repository import ROOT


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")))
def test_notebooks_are_short_and_keep_no_output(notebook):
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert 1 <= len(cells) <= 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
