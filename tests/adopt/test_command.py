"""Which experiments are adopted, and by which config."""

from pathlib import Path

import pytest


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder of the workflow with two configs and the results of both, which lie elsewhere."""
    for name in ("one", "two"):
        (tmp_path / f"disk/{name}/pretrain").mkdir(parents=True)
    configs = tmp_path / "clone/workflow/config"
    configs.mkdir(parents=True)
    (configs / "a.yaml").write_text("experiment: [\n")
    (configs / "b.yaml").write_text("experiment: two\n")
    (tmp_path / "clone/results").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


def test_experiments_are_found_also_on_another_disk(clone):
    """Wrong: results behind a link are said to be elsewhere."""
    from userbench.adopt.command import config_of, experiments

    one, two = Path("results/one"), Path("results/two")
    assert experiments(Path("results"), None) == [one, two]
    assert experiments(clone / "results/one/", None) == [one]
    assert experiments(Path("results"), [Path("workflow/config/b.yaml")]) == [two]
    assert config_of(two) == Path("workflow/config/b.yaml")  # the broken one stops nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([".."], r"\.\.: is not in results/ of this folder"),
        (["results/three"], "results/three: no such folder"),
        (["results/one"], "no file in workflow/config/ has the experiment 'one'.*--config FILE"),
        (["results/one", "--config", "workflow/config/b.yaml"], "holds no experiment 'two'"),
        (["--config", "workflow/config/b.yaml"], "Snakefile: is not here"),
    ],
)
def test_what_cannot_be_adopted_is_one_line(clone, words, message):
    """Wrong: a traceback; or a folder that is no clone is marked."""
    from userbench.adopt.command import main

    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main(words)
