"""The page of the ambiguity ledger: its entries, and the effects of its switches."""

import re
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from small_ledger import ENTRIES, LAYOUT, OPEN, SWITCH, TASKS, measure_effects

LEDGER_FILE = ROOT / "src" / "userbench" / "experiment" / "ledger.yaml"
PAGE_FILE = ROOT / "docs" / "ambiguities.md"


def test_the_page_in_docs_is_up_to_date(tmp_path):
    # Wrong: someone edited the ledger and forgot the page, or edited the page.
    from userbench.report.tables import ambiguities

    effects = PAGE_FILE.with_suffix(".csv")
    measured = ["--effects", str(effects)] if effects.exists() else []
    words = ["--ledger", str(LEDGER_FILE), *measured]
    ambiguities.main([*words, "--out", str(tmp_path / "page.md")])
    assert PAGE_FILE.read_text(encoding="utf-8") == (tmp_path / "page.md").read_text("utf-8"), (
        "run: python -m userbench ambiguities --ledger src/userbench/experiment/ledger.yaml "
        "--effects docs/ambiguities.csv --out docs/ambiguities.md"
    )


def page(folder: Path, *more: str, entries=ENTRIES) -> str:
    from userbench.report.tables import ambiguities

    (folder / "ledger.yaml").write_text(yaml.safe_dump(entries, sort_keys=False))
    flags = ["--ledger", str(folder / "ledger.yaml"), "--out", str(folder / "page.md")]
    ambiguities.main([*flags, *more])
    return (folder / "page.md").read_text(encoding="utf-8")


def test_every_entry_has_its_section(tmp_path):
    # Wrong: an entry or one of its values is missing, or a bar in a text shifts the cells.
    text = page(tmp_path)
    names = ["warm_start", "operators", "contrast", "rate", "labels"]
    assert re.findall("^### (.*)$", text, re.M) == names
    assert "under a run of AdaptSSR." in text
    assert "under a run of `duorec`, `coserec` or `ccl`." in text
    assert text.index("## Without a switch") < text.index("### labels")
    assert "| Silent. | Yes \\| no. | `mlm`: warm (default) |" in text
    assert "| Silent. | First. | Sorted\\_ones. |" in text
    assert "- `none`: cold" in text
    assert "- `{distinct: true}`: differ" in text
    assert text.count("or another number within its range") == 1
    assert "snakemake --cores 8 --configfile workflow/config/sensitivity.yaml" in text
    assert "How far each switch moves each task\n" not in text


def test_the_shown_yaml_sets_the_switch(tmp_path):
    # Wrong: a reader copies it, and nothing changes.
    blocks = re.findall("```yaml\n(.*?)```", page(tmp_path), re.S)
    assert [yaml.safe_load(block) for block in blocks] == [
        {"protocol": {"warm_start": "none"}},
        {"overrides": {"views": {"distinct": True}}},
        {"overrides": {"similarity": "cosine", "temperature": 0.2}},
        {"protocol": {"finetune_dropout": 0.1}},
    ]


def test_effects_are_in_a_table(tmp_path):
    # Wrong: simulated values pass for real, noise is bold, the seeds or the data are not named.
    measure_effects(tmp_path)
    text = page(tmp_path, "--effects", str(tmp_path / "effects.csv"))
    lines = text.splitlines()
    marked = "T1 Age \\[SIMULATED\\]<br>accuracy | T3 Click \\[SIMULATED\\]<br>ndcg@10"
    assert f"| Switch | instead of | {marked} |" in lines
    assert "| [warm\\_start](#warm_start) `none` | `mlm` | **−10.00±0.10** | +0.17±0.58 |" in lines
    name = "[operators](#operators) `{distinct: true}` | `{distinct: false}`"
    assert f"| {name} | 0.00±0.00 | +0.40±0.52 |" in lines
    assert "SIMULATED DATA: such figures say nothing about real users." in lines
    assert "toy data. Test scores of AdaptSSR" in text
    assert "paired seeds (3)" in text
    assert "†" not in text
    assert "beyond chance" in text and "of 4 cells, 1 is." in text

    real = LAYOUT | {"tasks": [task | {"simulated": False} for task in TASKS]}
    measure_effects(tmp_path, real)
    assert "SIMULATED" not in page(tmp_path, "--effects", str(tmp_path / "effects.csv"))


def test_another_test_split_is_marked(tmp_path):
    # Wrong: scores over different test examples are subtracted without a word.
    measure_effects(tmp_path, examples=lambda run, task: 100 + (run == "cold" and task == "click"))
    text = page(tmp_path, "--effects", str(tmp_path / "effects.csv"))
    assert "**−10.00±0.10** | +0.17±0.58† |" in text
    assert "† Over other test examples than the base run" in text


def test_pages_are_the_same_every_time(tmp_path):
    # Wrong: two equal runs give different files.
    texts = []
    for _ in range(2):
        measure_effects(tmp_path)
        texts.append(page(tmp_path, "--effects", str(tmp_path / "effects.csv")))
    assert texts[0] == texts[1]


def test_effects_of_another_ledger_are_refused(tmp_path):
    # Wrong: an effect is shown beside a switch that no longer has this value.
    measure_effects(tmp_path)
    flags = ["--effects", str(tmp_path / "effects.csv")]
    with pytest.raises(SystemExit, match="effects.csv: the ledger has no choice .* of 'operators'"):
        page(tmp_path, *flags, entries=[SWITCH, OPEN])
    (tmp_path / "effects.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match=r"effects\.csv: the columns must be .*\. Make it again"):
        page(tmp_path, *flags)
