"""The frozen protocol in a config: runs of given vectors, and the table that they are rows of."""

import json

import pytest
import yaml
from repository import ROOT

from userbench.experiment.check import read_experiment, resolve_checked
from userbench.experiment.layouts import experiment_file

SMOKE = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
GIVEN = {"vectors": "~/mine/{corpus}/seed{seed}.parquet", "label": "My method"}
ROWS = {"rows": ["none", "mlm", "adaptssr", "mine"], "compared_with": "none"}


def config(**changes):
    """The smoke config with a run of given vectors, a row of the frozen table."""
    content = json.loads(json.dumps({**SMOKE, "frozen": ROWS}))
    content["runs"]["mine"] = GIVEN
    return {**content, **changes}


def with_run(name, **fields):
    """The same config with other fields of a run."""
    content = config()
    content["runs"][name] = content["runs"].get(name, {}) | fields
    return content


def resolved(content):
    return resolve_checked(read_experiment(content, "a.yaml"), "a.yaml", asks=False)[0]


def rows(*names, **more):
    return {"rows": [*names], "compared_with": names[0], **more}


INVALID = {
    "a method beside vectors": (
        with_run("mine", method="mlm"),
        "runs.mine: vectors and method at once",
    ),
    "fields of a method": (
        with_run("mine", overrides={"lr": 1.0}),
        "runs.mine: vectors and overrides at once",
    ),
    "an encoder": (
        with_run("mine", encoder_of="mlm"),
        "runs.mine: vectors and encoder_of at once",
    ),
    "an unknown field of a path": (
        with_run("mine", vectors="{corpus}/{sed}.parquet"),
        "runs.mine.vectors: '{corpus}/{sed}.parquet': {sed} is not known",
    ),
    "a field without a name": (with_run("mine", vectors="{}.npy"), "runs.mine.vectors: '{}.npy'"),
    "an open brace": (with_run("mine", vectors="{seed.npy"), "runs.mine.vectors: '{seed.npy'"),
    "an empty path": (with_run("mine", vectors=""), "runs.mine.vectors: '' "),
    "start of another": (
        with_run("clue", init_from="mine"),
        "runs.clue.init_from: run 'mine' is one of given vectors, and has no checkpoint",
    ),
    "encoder of another": (
        with_run("peterrec", encoder_of="mine"),
        "runs.peterrec.encoder_of: run 'mine' is one of given vectors",
    ),
    "generator of another": (
        with_run("ccl", inputs={"views.generator": "mine"}),
        "runs.ccl.inputs.views.generator: run 'mine' is one of given vectors",
    ),
    "start of all": (
        config(protocol={"warm_start": "mine"}),
        "protocol.warm_start: run 'mine' is one of given vectors",
    ),
    "row of Table 2": (
        config(table2=rows("none", "mine")),
        "table2.rows: run 'mine' is one of given vectors, which nothing trains. Name it in "
        "frozen.rows alone",
    ),
    "tuned": (config(tuning={"mine": [{}]}), "tuning: run 'mine' is one of given vectors"),
    "control": (
        config(fairness={"controls": ["mine"]}),
        "fairness.controls: run 'mine' is one of given vectors",
    ),
    "row of a figure": (
        config(similarity={"corpus": "ttl", "rows": ["mine"]}),
        "similarity.rows: run 'mine' is one of given vectors",
    ),
    "other figure": (
        config(figures={"umap": {"rows": ["mine"]}}),
        "figures.umap.rows: run 'mine' is one of given vectors",
    ),
    "in no table": (
        config(frozen=rows("none")),
        "runs.mine: no table has these vectors. Name 'mine' in frozen.rows",
    ),
    "unknown row": (config(frozen=rows("none", "meine")), "frozen.rows: no run 'meine'; known: "),
    "compared with no row": (
        config(frozen=rows("none", "mine") | {"compared_with": "mlm"}),
        "frozen.compared_with: 'mlm' is no row of frozen",
    ),
    "head": (
        config(frozen=ROWS | {"head": "tree"}),
        "frozen.head: 'tree' should be 'linear', 'mlp' or 'boosted'",
    ),
    "no test": (
        config(finetune={"epochs": 1, "from_epochs": [1], "test": False}, verify=None),
        "frozen: needs test scores",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_error_of_the_frozen_table_is_one_line_with_key_and_remedy(name):
    """Wrong: vectors that nobody reads, or a training that waits for a checkpoint of none."""
    content, expected = INVALID[name]
    with pytest.raises(ValueError) as raised:
        resolved(content)
    assert str(raised.value).startswith(f"a.yaml: {expected}"), raised.value
    assert "\n" not in str(raised.value)


def test_the_layout_has_untrained_encoders_given_vectors_and_nothing_of_the_paper():
    """Wrong: a reader cannot tell what learnt, or compares a frozen score with a published one."""
    notes = ["AdaptSSR - as released", "CLUE - Reconstruction"]
    found = experiment_file(resolved(config(frozen={**ROWS, "head": "boosted"})), notes).layouts
    table = found.frozen
    assert [row.label for row in table.rows] == ["None", "mlm", "AdaptSSR", "My method"]
    assert (table.untrained, table.given, table.head) == (["None"], ["My method"], "boosted")
    assert {entry.paper for entry in (*table.rows, *table.tasks)} == {None}
    assert [task.task for task in table.tasks] == [task.task for task in found.table2.tasks]
    assert [row.run for row in table.baselines][0] == "item-counts"
    assert (found.table2.notes, table.notes) == (notes, notes[:1])
    # Given vectors have no pre-training that a note could describe.
    assert [row.run for row in found.frozen_training.rows] == ["none", "mlm", "adaptssr"]


def test_a_config_without_the_table_says_nothing_of_it():
    """Wrong: experiment.json, and with it every table, is another one though nothing changed."""
    written = experiment_file(resolved({**SMOKE, "frozen": None}))
    assert "frozen" not in written.model_dump_json() and "vectors" not in written.model_dump_json()
    read = type(written).model_validate_json(written.model_dump_json())
    assert read == written and read.layouts.frozen is None
