"""The ambiguity ledger: the file itself, the page made of it, and differences done by hand."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from experiments import experiment_flag
from scipy import stats

SOURCES = Path(__file__).parents[1] / "src" / "userbench"
LEDGER_FILE = SOURCES / "experiment" / "ledger.yaml"
PAGE_FILE = Path(__file__).parents[1] / "docs" / "ambiguities.md"


@pytest.fixture
def ledger():
    from userbench.report import ledger

    return ledger


# ---------------------------------------------------------------- the file


def test_the_ledger_is_well_formed(ledger):
    # Wrong: an entry with a misspelt field, or a default that is not a legal value.
    entries = ledger.read_ledger(LEDGER_FILE)
    assert len(entries) > 20
    assert {entry.where for entry in entries} == {"protocol", "method", "none"}


def test_method_switches_are_those_of_the_method(ledger):
    # Wrong: the ledger documents a switch that a method does not have, or another default.
    from userbench.method import configure, load_method

    entries = [e for e in ledger.read_ledger(LEDGER_FILE) if e.where == "method"]
    assert any(entry.key is None for entry in entries)
    for entry in entries:
        for method in entry.methods:
            module = load_method(method)
            for choice in entry.choices:
                config = configure(module, entry.change(choice.value))
                is_default = choice.value == entry.default
                assert (config == module.Config()) == is_default, (entry.id, choice.value)


def test_differences_of_compared_methods_are_marked_in_their_files(ledger):
    # Wrong: who reads the method does not learn that its authors' code is another.
    for entry in ledger.read_ledger(LEDGER_FILE):
        for method in entry.methods if "methods" in entry.model_fields_set else []:
            file = SOURCES / f"methods/{method}.py"
            assert entry.id in file.read_text(encoding="utf-8"), (method, entry.id)


def test_protocol_switches_are_those_of_the_tasks(ledger):
    # Wrong: a legal value of the loops is missing from the ledger, or their defaults differ.
    from userbench.model import tasks

    entries = {entry.id: entry for entry in ledger.read_ledger(LEDGER_FILE)}
    fields = {field.name: field.default for field in dataclasses.fields(tasks.Task)}
    for name in ("known_targets", "ties", "average", "bias_start"):
        assert entries[name].key == name
        assert {choice.value for choice in entries[name].choices} == set(tasks.LEGAL[name])
        assert entries[name].default == fields[name]
    assert entries["finetune_dropout"].default == fields["dropout"]


def test_the_page_in_docs_is_up_to_date(ledger, tmp_path):
    # Wrong: someone edited the ledger and forgot the page, or edited the page.
    effects = PAGE_FILE.with_suffix(".csv")
    measured = ["--effects", str(effects)] if effects.exists() else []
    words = ["page", "--ledger", str(LEDGER_FILE), *measured]
    ledger.main([*words, "--out", str(tmp_path / "page.md")])
    assert PAGE_FILE.read_text(encoding="utf-8") == (tmp_path / "page.md").read_text("utf-8"), (
        "run: python -m userbench.report.ledger page --ledger src/userbench/experiment/ledger.yaml "
        "--effects docs/ambiguities.csv --out docs/ambiguities.md"
    )


SWITCH = {
    **{"id": "warm_start", "question": "Warm?", "paper": "Silent.", "released": "Yes | no."},
    **{
        "where": "protocol",
        "key": "warm_start",
        "default": "mlm",
        "why": "Fair.",
        "stage": "pretrain",
    },
    "choices": [{"value": "mlm", "means": "warm"}, {"value": "none", "means": "cold"}],
}
VIEWS = SWITCH | {
    **{"id": "operators", "where": "method", "key": "views", "default": {"distinct": False}},
    "choices": [
        {"value": {"distinct": False}, "means": "may be the same"},
        {"value": {"distinct": True}, "means": "differ"},
    ],
}
RATE = SWITCH | {
    **{"id": "rate", "key": "finetune_dropout", "default": 0.5, "stage": "finetune"},
    "choices": [{"value": 0.5, "means": "half"}, {"value": 0.1, "means": "less"}],
}
COMPARED = SWITCH | {
    **{"id": "contrast", "where": "method", "methods": ["duorec", "coserec", "ccl"]},
    "default": {"similarity": "dot", "temperature": 1.0},
    "choices": [
        {"value": {"similarity": "dot", "temperature": 1.0}, "means": "published"},
        {"value": {"similarity": "cosine", "temperature": 0.2}, "means": "tuned"},
    ],
}
del COMPARED["key"]
OPEN = {
    **{
        "id": "labels",
        "question": "Which?",
        "paper": "Silent.",
        "released": "First.",
        "why": "Why.",
    },
    **{"where": "none", "here": "Sorted_ones."},
}
ENTRIES = [SWITCH, VIEWS, COMPARED, RATE, OPEN]


def without(entry: dict, *fields: str) -> dict:
    return {key: value for key, value in entry.items() if key not in fields}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([without(SWITCH, "stage")], "0.protocol: 'stage' is missing"),
        ([without(SWITCH, "where")], "0: {.*}: Unable to extract tag using discriminator 'where'"),
        ([SWITCH | {"defualt": 1}], "0.protocol: unknown key 'defualt'"),
        ([SWITCH | {"where": "loop"}], "tag 'loop' found .* does not match any of"),
        ([SWITCH | {"default": "none"}], "warm_start: the default must be the first choice"),
        (
            [SWITCH | {"choices": SWITCH["choices"][:1]}],
            "choices: .* should have at least 2",
        ),
        ([SWITCH | {"choices": SWITCH["choices"] * 2}], "warm_start: 'mlm' is named twice"),
        (
            [RATE | {"choices": [*RATE["choices"], {"value": 1.5, "means": "all"}]}],
            "rate: finetune_dropout: 1.5 should be less than 1",
        ),
        ([RATE | {"key": "rate"}], "rate: top level: unknown key 'rate'; known: .*"),
        (
            [RATE | {"default": 0.1, "choices": RATE["choices"][::-1]}],
            "rate: the default is another in experiment/config.py",
        ),
        ([SWITCH, SWITCH], "'warm_start' is named twice"),
        ([OPEN | {"key": "labels"}], "0.none: unknown key 'key'"),
        ([SWITCH | {"methods": ["clue"]}], "0.protocol: unknown key 'methods'"),
        ([without(SWITCH, "key")], "0.protocol: 'key' is missing"),
        ([COMPARED | {"methods": []}], "methods: .* should have at least 1 item"),
        ([without(SWITCH, "key") | {"where": "method"}], "warm_start: 'mlm' names no field. Add a"),
        ([without(OPEN, "here")], "0.none: 'here' is missing"),
        ([], r"top level: \[\] should have at least 1 item"),
    ],
)
def test_a_bad_ledger_is_reported(ledger, tmp_path, entries, reason):
    # Wrong: a switch without a stage, or with an illegal default, reaches the workflow.
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(SystemExit, match=rf"error: .*bad\.yaml: .*{reason}"):
        ledger.main(["page", "--ledger", str(path), "--out", str(tmp_path / "page.md")])
    assert not (tmp_path / "page.md").exists()


def test_a_file_that_is_no_yaml_is_reported_in_one_line(ledger, tmp_path):
    # Wrong: a traceback, or an error of ten lines.
    path = tmp_path / "bad.yaml"
    for content in (b"- {id: [", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(SystemExit) as stop:
            ledger.main(["page", "--ledger", str(path), "--out", str(tmp_path / "page.md")])
        assert str(stop.value.code).startswith(f"error: {path}: not valid YAML")
        assert "\n" not in str(stop.value.code)


# ---------------------------------------------------------------- effects


TASKS = [
    {"task": "age", "label": "T1 Age", "metric": "accuracy", "simulated": True},
    {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "simulated": True},
    {"task": "cvr", "label": "T6", "metric": "auc", "simulated": True},
]
LAYOUT = {
    "caption_data": "toy data",
    "base": "adaptssr",
    "runs": [
        {"run": "cold", "entry": "warm_start", "value": "none", "against": "mlm"},
        {"run": "distinct", "entry": "operators", "value": VIEWS["choices"][1]["value"]}
        | {"against": VIEWS["default"]},
    ],
    "tasks": TASKS,
}
# run: task: a test score in percent per seed
SCORES: dict[str, dict[str, list[float]]] = {
    "adaptssr": {"age": [50.0, 60.0, 55.0], "click": [2.0, 3.0, 4.0]},
    "cold": {"age": [40.0, 50.1, 44.9], "click": [2.5, 2.5, 4.5]},
    "distinct": {"age": [50.0, 60.0, 55.0], "click": [3.0, 3.1, 4.1]},
}


def scores_csv(path: Path, scores=SCORES, examples=lambda run, task: 100) -> None:
    from userbench.report.statistics import SCORE_COLUMNS

    rows = [
        {
            **{"corpus": "ttl", "run": run, "task": task, "seed": seed, "split": split},
            **{"metric": {"age": "accuracy", "click": "ndcg@10"}[task], "width": 64},
            **{"pretrain_epoch": 1, "start": 1, "epoch": 1, "examples": examples(run, task)},
            "value": value / 100 if split == "test" else 0.99,
        }
        for run, tasks in scores.items()
        for task, values in tasks.items()
        for seed, value in enumerate(values)
        for split in ("validation", "test")
    ]
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(path, index=False)


def measure(ledger, folder: Path, layout: dict = LAYOUT, **changes: Any) -> pd.DataFrame:
    scores_csv(folder / "scores.csv", **changes)
    flags = ["--scores", str(folder / "scores.csv"), *experiment_flag(folder, effects=layout)]
    ledger.main(["effects", *flags, "--out", str(folder / "effects.csv")])
    return pd.read_csv(folder / "effects.csv").set_index(["run", "task"])


def test_differences_are_those_worked_out_by_hand(ledger, tmp_path):
    # Wrong: seeds are not paired (std of age would be 5), validation enters, percent for points.
    table = measure(ledger, tmp_path)
    assert list(table.index) == [
        *[("cold", "age"), ("cold", "click"), ("distinct", "age"), ("distinct", "click")]
    ]
    # cold - base: age -10, -9.9, -10.1; click .5, -.5, .5
    assert table["difference"].tolist() == [-10.0, 0.1667, 0.0, 0.4]
    assert table["std"].tolist() == [0.1, 0.5774, 0.0, 0.5196]
    # distinct on click: all seeds above, but t = .4 / (.52 / sqrt(3)) = 1.3 of two degrees
    assert table["clear"].tolist() == [True, False, False, False]
    assert set(table["seeds"]) == {3}
    assert table.loc[("cold", "age"), ["value", "against"]].tolist() == ['"none"', '"mlm"']
    assert (tmp_path / "effects.csv.provenance.json").exists()


def curve(folder: Path, run: str, seed: int, **changes: Any) -> str:
    """A learning curve with the record of a pre-training that left users out."""
    from userbench.results import artifact

    path = folder / f"pretrain/{run}/ttl/seed{seed}/curve.json"
    artifact.write_json(path, [{"epoch": 1, "split": "train", "loss": 1.0}])
    counts = {
        **{"tested": 1400, "alike": 12},
        "removed": {"train": 1270, "validation": 142},
        "left": {"train": 980, "validation": 108},
        "missing": {"train": 0, "validation": 0},
        "tasks": {
            "age": {"test_users": 500, "also_in_training": 0},
            "click": {"test_users": 400, "also_in_training": 230},
        },
    }
    artifact.record(path, {"seed": seed}, held_out=counts | changes)
    return str(path)


def test_who_was_left_out_stands_below_the_table(ledger, tmp_path):
    # Wrong: an effect of half the data passes for one of not seeing the test users.
    from userbench.report.audit import run_again

    few = {"removed": {"train": 900, "validation": 90}, "left": {"train": 1350, "validation": 160}}
    few |= {"missing": {"train": 370, "validation": 52}}
    curves = [curve(tmp_path, "cold", seed) for seed in (0, 1)]
    curves += [curve(tmp_path, "distinct", seed, **few) for seed in (0, 1)]
    scores_csv(tmp_path / "scores.csv")
    flags = ["--scores", str(tmp_path / "scores.csv"), *experiment_flag(tmp_path, effects=LAYOUT)]
    words = ["effects", *flags, "--curves", *curves, "--out", str(tmp_path / "effects.csv")]
    ledger.main(words)
    (tmp_path / "ledger.yaml").write_text(yaml.safe_dump(ENTRIES))
    entries = ledger.read_ledger(tmp_path / "ledger.yaml")
    effects = ledger.read_effects(tmp_path / "effects.csv", entries)
    told = json.loads(effects["held_out"].iloc[1])
    assert (told["corpus"], list(told["tasks"])) == ("ttl", ["click"])
    page = ledger.to_markdown(entries, effects)
    for line in (
        "[warm\\_start](#warm_start) `none` (T1 Age, T3 Click): 1,270 of 2,250 training users were "
        "left out, 980 were left.",
        "[operators](#operators) `{distinct: true}` (T1 Age, T3 Click): 900 of 2,250 training "
        "users were left out, 1,350 were left; 370 more should have been left out, but there are "
        "no others.",
        "T1 Age, T3 Click: 1,400 users are in a test split, 12 others have the behaviours of one "
        "of them. So many test users of a task have training examples of it, too: T3 Click 230 "
        "(57%). Fine-tuning sees their behaviours.",
    ):
        assert page.splitlines().count(line) == 1, page
    (tmp_path / "again").mkdir()
    (again,) = run_again(
        ["python", "-m", ledger.__name__, *words], tmp_path / "effects.csv", tmp_path / "again"
    )
    assert again.read_bytes() == (tmp_path / "effects.csv").read_bytes()
    inputs = json.loads((tmp_path / "effects.csv.provenance.json").read_text())["inputs"]
    assert sum(name.endswith("curve.json") for name in inputs) == 4


def test_seeds_that_left_out_other_numbers_are_refused(ledger, tmp_path):
    # Wrong: the numbers of one seed are told of all, though its splits were others.
    curves = [curve(tmp_path, "cold", 0), curve(tmp_path, "cold", 1, tested=1401)]
    with pytest.raises(ValueError, match="other numbers of users were left out than with other"):
        ledger.read_held_out(list(map(Path, curves)))
    assert measure(ledger, tmp_path)["held_out"].isna().all()


def of_cells(values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sample std and number of differences; the seeds are the last axis."""
    spread = np.full(values.shape[:-1], np.nan)
    if values.shape[-1] > 1:
        spread = values.std(-1, ddof=1)
    return values.mean(-1), spread, np.full(values.shape[:-1], float(values.shape[-1]))


@pytest.mark.parametrize(
    ("differences", "clear"),
    [
        ([[1.0, 1.1, 0.9]], [True]),
        ([[1.0, 1.1, 0.9], [0.3, -0.1, 0.2]], [True, False]),  # p = .003, twice that is below .05
        ([[1.0, 1.5, 1.0]], [True]),  # t = 7.0 of two degrees: p = .02
        ([[1.0, 1.5, 1.0]] + [[0.3, -0.1, 0.2]] * 3, [False] * 4),  # four times .02 is not
        ([[1.0]], [False]),  # one seed says nothing
        ([[0.0, 0.0]], [False]),
        ([[1.0, 1.0]], [False]),  # no spread is no evidence, but it counts as a test
        ([[1.0, 1.5, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]], [False] * 3),
        ([[0.1, 3.0]], [False]),
    ],
)
def test_an_effect_is_clear_when_it_is_beyond_chance_in_its_table(ledger, differences, clear):
    # Wrong: noise is printed bold.
    assert ledger.beyond_chance(*of_cells(np.array(differences))).tolist() == clear


def test_beyond_chance_is_the_paired_test_of_scipy_with_holm_by_hand(ledger):
    values = np.random.default_rng(0).normal([[2.5], [0.0], [2.2], [0.4], [3.0]], 1, (5, 6))
    p = stats.ttest_1samp(values, 0, axis=1).pvalue
    expected = np.zeros(5, dtype=bool)
    for place, cell in enumerate(np.argsort(p)):  # Holm: stop at the first that is not
        if p[cell] * (5 - place) >= 0.05:
            break
        expected[cell] = True
    assert 0 < expected.sum() < 5
    assert ledger.beyond_chance(*of_cells(values)).tolist() == expected.tolist()


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_table_of_equal_switches_has_a_bold_cell_in_a_twentieth(ledger, seeds):
    # Wrong: with three seeds, every cell is bold in 18% (all seeds of a sign, two standard errors).
    tables, rng = 2000, np.random.default_rng(seeds)
    base = rng.normal(0, 1, (tables, 1, 6, seeds))  # all switches are compared with one run
    differences = rng.normal(0, 1, (tables, 19, 6, seeds)) - base
    bold = ledger.beyond_chance(*of_cells(differences.reshape(tables, -1, seeds)))
    assert bold.any(-1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    if seeds == 2:
        return  # of one degree of freedom, no switch is ever found among 114 cells
    # And a switch that does something is found.
    differences[:, 0, 0] += 100
    bold = ledger.beyond_chance(*of_cells(differences.reshape(tables, -1, seeds)))
    assert bold[:, 0].mean() > 0.8


def test_test_users_are_a_part_of_the_error(ledger, tmp_path):
    # Wrong: a difference that is that of these test users alone is bold.
    scores_csv(tmp_path / "scores.csv")
    from userbench.report.statistics import read_scores

    scores = read_scores(tmp_path / "scores.csv")
    of_users = {
        ("cold", "age"): ledger.OtherUsers(25.0, 200)
    }  # 10 points are two standard errors of these
    found = ledger.measure(scores, LAYOUT, of_users).set_index(["run", "task"])["clear"]
    assert ledger.measure(scores, LAYOUT)["clear"].sum() == 1
    assert found.sum() == 0
    few = {
        ("cold", "age"): ledger.OtherUsers(4.0, 3)
    }  # five errors: p = .04 of two degrees, .16 of four cells
    many = {("cold", "age"): ledger.OtherUsers(4.0, 200)}
    assert ledger.measure(scores, LAYOUT, few)["clear"].sum() == 0
    assert ledger.measure(scores, LAYOUT, many)["clear"].sum() == 1
    # Nor is one of which a seed answers the same for everybody.
    collapsed = {("cold", "age"): ledger.OtherUsers(4.0, 200, collapsed=True)}
    found = ledger.measure(scores, LAYOUT, collapsed)
    assert found["clear"].sum() == 0
    assert ledger.effects_table(found).count("‡") == 2
    no_spread = of_cells(np.array([[1.0, 1.0, 1.0]]))
    users = ledger.Noise(np.array([0.01]), np.array([199.0]))
    assert ledger.beyond_chance(*no_spread, users).tolist() == [False]


def test_the_table_in_docs_calls_clear_what_is_beyond_chance(ledger):
    # Wrong: a table that was made by another rule, or by hand.
    effects = ledger.read_effects(PAGE_FILE.with_suffix(".csv"), ledger.read_ledger(LEDGER_FILE))
    assert effects["clear"].tolist() == ledger.clear_cells(effects).tolist()
    how_many = effects["clear"].sum() or "none"
    assert f"of {len(effects)} cells, {how_many} " in PAGE_FILE.read_text(encoding="utf-8")


def test_only_common_seeds_count(ledger, tmp_path):
    # Wrong: a seed that one run lacks moves the mean.
    scores = SCORES | {"cold": {"age": [49.0], "click": [2.5]}}
    table = measure(ledger, tmp_path, scores=scores)
    assert table.loc[("cold", "age"), "seeds"] == 1
    assert table.loc[("cold", "age"), "difference"] == -1.0
    assert pd.isna(table.loc[("cold", "age"), "std"])
    with pytest.raises(
        SystemExit, match="task 'age': 'cold' and 'adaptssr' have no seed in common"
    ):
        measure(ledger, tmp_path, scores=SCORES | {"cold": {"click": [2.5]}})


def test_a_failed_fit_has_no_effect_and_is_named(ledger, tmp_path):
    # Wrong: the mean of the seeds that are left stands for all, and perhaps bold.
    from userbench.report.statistics import read_scores

    scores_csv(tmp_path / "scores.csv")
    scores = read_scores(tmp_path / "scores.csv")
    lost = (scores["run"] == "cold") & (scores["task"] == "age") & (scores["seed"] == 1)
    scores.loc[lost & (scores["split"] == "test"), "value"] = np.nan
    found = next(ledger.measure(scores, LAYOUT).query("run == 'cold'").itertuples())
    assert np.isnan([found.difference, found.std]).all() and not found.clear
    assert ledger.effect_cell(found) == "–"


def test_effects_count_the_test_users_behind_their_scores(ledger, tmp_path):
    # Wrong: the command forgets them, or takes those of another pair of runs.
    from userbench.report.statistics import SCORE_COLUMNS, read_scores
    from userbench.results.predictions import write_predictions

    users, right = np.arange(100), {"adaptssr": (50, 60), "cold": (80, 90), "distinct": (50, 61)}
    files, rows = [], []
    for run, by_seed in right.items():
        for seed, n in enumerate(by_seed):
            columns = {"example": users, "user": users, "label": 0 * users}
            columns["predicted"] = (users >= n).astype(int)
            about = {"run": run, "task": "age", "corpus": "ttl", "seed": seed}
            files.append(tmp_path / f"{run}.{seed}.parquet")
            write_predictions(files[-1], columns, {**about, "kind": "classification"})
            score = {
                "metric": "accuracy",
                "split": "test",
                "pretrain_epoch": 1,
                "start": 1,
                "epoch": 1,
            }
            rows.append({**about, **score, "examples": 100, "width": 8, "value": n / 100})
    pd.DataFrame(rows)[list(SCORE_COLUMNS)].to_csv(tmp_path / "scores.csv", index=False)
    found = ledger.of_test_users(read_scores(tmp_path / "scores.csv"), LAYOUT, files)
    assert set(found) == {("cold", "age"), ("distinct", "age")}
    assert not any(cell.collapsed for cell in found.values())
    assert found["cold", "age"].variance == pytest.approx(
        100**2 * 0.3 * 0.7 / 100, rel=0.3
    )  # 30 of 100 users differ


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"runs": LAYOUT["runs"] * 2}, "'cold' is named twice"),
        ({"runs": [without(LAYOUT["runs"][0], "against")]}, "runs.0: 'against' is missing"),
        ({"tasks": [without(TASKS[0], "simulated")]}, "tasks.0: 'simulated' is missing"),
        ({"noise": 1}, "effects: unknown key 'noise'"),
    ],
)
def test_a_wrong_layout_is_reported(ledger, tmp_path, changes, reason):
    # Wrong: data pass for real, or a run is set against a value that the base does not have.
    with pytest.raises(SystemExit, match=f"error: .*{reason}"):
        measure(ledger, tmp_path, LAYOUT | changes)


# ---------------------------------------------------------------- the page


def page(ledger, folder: Path, *more: str, entries=ENTRIES) -> str:
    (folder / "ledger.yaml").write_text(yaml.safe_dump(entries, sort_keys=False))
    flags = ["--ledger", str(folder / "ledger.yaml"), "--out", str(folder / "page.md")]
    ledger.main(["page", *flags, *more])
    return (folder / "page.md").read_text(encoding="utf-8")


def test_every_entry_has_its_section(ledger, tmp_path):
    # Wrong: an entry or one of its values is missing, or a bar in a text shifts the cells.
    text = page(ledger, tmp_path)
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


def test_the_shown_yaml_sets_the_switch(ledger, tmp_path):
    # Wrong: a reader copies it, and nothing changes.
    blocks = re.findall("```yaml\n(.*?)```", page(ledger, tmp_path), re.S)
    assert [yaml.safe_load(block) for block in blocks] == [
        {"protocol": {"warm_start": "none"}},
        {"overrides": {"views": {"distinct": True}}},
        {"overrides": {"similarity": "cosine", "temperature": 0.2}},
        {"protocol": {"finetune_dropout": 0.1}},
    ]


def test_effects_stand_in_a_table(ledger, tmp_path):
    # Wrong: simulated figures pass for real, noise is bold, the seeds or the data are not said.
    measure(ledger, tmp_path)
    text = page(ledger, tmp_path, "--effects", str(tmp_path / "effects.csv"))
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
    measure(ledger, tmp_path, real)
    assert "SIMULATED" not in page(ledger, tmp_path, "--effects", str(tmp_path / "effects.csv"))


def test_another_test_split_is_marked(ledger, tmp_path):
    # Wrong: scores over different test examples are subtracted without a word.
    measure(ledger, tmp_path, examples=lambda run, task: 100 + (run == "cold" and task == "click"))
    text = page(ledger, tmp_path, "--effects", str(tmp_path / "effects.csv"))
    assert "**−10.00±0.10** | +0.17±0.58† |" in text
    assert "† Over other test examples than the base run" in text


def test_pages_are_the_same_every_time(ledger, tmp_path):
    # Wrong: two equal runs give different files.
    texts = []
    for _ in range(2):
        measure(ledger, tmp_path)
        texts.append(page(ledger, tmp_path, "--effects", str(tmp_path / "effects.csv")))
    assert texts[0] == texts[1]


def test_effects_of_another_ledger_are_refused(ledger, tmp_path):
    # Wrong: an effect is shown beside a switch that no longer has this value.
    measure(ledger, tmp_path)
    flags = ["--effects", str(tmp_path / "effects.csv")]
    with pytest.raises(SystemExit, match="effects.csv: the ledger has no choice .* of 'operators'"):
        page(ledger, tmp_path, *flags, entries=[SWITCH, OPEN])
    (tmp_path / "effects.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match=r"effects\.csv: the columns must be .*\. Make it again"):
        page(ledger, tmp_path, *flags)
