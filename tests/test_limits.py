"""Data that are too few to train on or to score: said by the splits, noted in the tables."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import experiment_flag
from small_runs import finetune, pretrain

N = 40


def task_folder(store: Path, name: str, parts: list[int] | None = None, **own) -> Path:
    """The examples of a task of N users; of classes by `labels`, or of candidates by `targets`."""
    from userbench.data import arrays
    from userbench.data.examples import label_arrays, target_arrays

    if "labels" in own:
        labels = np.array(own["labels"])
        found, counts = label_arrays(np.arange(len(labels)), labels)
    else:
        pairs = np.array([(user, one) for user, some in own["targets"].items() for one in some])
        found, counts = target_arrays(pairs[:, 0], pairs[:, 1], np.arange(own["candidates"]))
    if parts is not None:
        found["parts"] = np.array(parts, np.uint8)
    files = {f"{key}.npy": array for key, array in found.items()}
    meaning = {"behaviours": arrays.identity(store / "behaviours")}
    arrays.write_arrays(store / "tasks" / name, files, meaning, {"counts": counts})
    return store / "tasks" / name


@pytest.fixture(scope="module")
def few(tiny, tmp_path_factory) -> Path:
    """The store of `tiny`, with a task of one class more, and two that can be scored."""
    from userbench.data import draw_splits

    folder = tmp_path_factory.mktemp("few")
    shutil.copytree(tiny / "store/behaviours", folder / "store/behaviours")
    shutil.copytree(tiny / "splits/users", folder / "splits/users")
    store = folder / "store"
    task_folder(store, "age", labels=[7] * N)
    task_folder(store, "gender", labels=[1, 2] * (N // 2))
    # The last user knows all four candidates once she is tested.
    targets = {user: [user % 4] for user in range(N)} | {N: [0, 1, 2, 3]}
    parts = [(user // 2) % 3 for user in range(N)] + [0, 1, 2, 2]
    task_folder(store, "click", parts, targets=targets, candidates=4)
    for name, kind in (("age", "classification"), ("gender", "binary"), ("click", "top_n")):
        out = folder / "splits/tasks" / name
        draw_splits.write_task_split(store / "tasks" / name, "user", 0, out, kind)
    return folder


def baselines(few: Path, out: Path) -> None:
    from userbench import baselines as command

    flags = ["--store", str(few / "store"), "--splits", str(few / "splits"), "--seed", "0"]
    kinds = [("age", "classification", "accuracy"), ("click", "top_n", "ndcg@10")]
    for name, kind, metric in [*kinds, ("gender", "binary", "auc")]:
        task = {"name": name, "kind": kind, "metric": metric, "out": str(out / f"{name}.json")}
        flags += ["--task", json.dumps(task)]
    command.main([*flags, "--max-length", "20"])


LAYOUT = {
    "caption_data": "few examples",
    "simulated": True,
    "tasks": [
        {"task": "age", "label": "T1 Age", "metric": "accuracy", "paper": None},
        {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "paper": None},
        {"task": "gender", "label": "T5 Gender", "metric": "auc", "paper": None},
    ],
    "rows": [{"run": "test", "label": "Row", "paper": None}],
    "baselines": [
        {"run": "bag-of-items", "label": "bag-of-items"},
        {"run": "popularity", "label": "popularity"},
    ],
    "compared_with": "test",
}
ONE_CLASS = "T1 Age cannot be scored: all 40 examples are of class 7, and a task needs two classes."


def test_a_task_of_one_class_leaves_its_cells_empty(few, tmp_path):
    """Wrong: training works, then a baseline refuses, and there is no table of the other tasks."""
    from userbench.report.statistics import command as statistics
    from userbench.report.tables import table2
    from userbench.results import scores

    finetune(few, tmp_path / "row", epochs=1)
    baselines(few, tmp_path / "baselines")
    files = [str(path) for path in sorted(tmp_path.glob("*/*.json")) if "prov" not in path.name]
    csv = str(tmp_path / "scores.csv")
    scores.main(["--scores", *files, "--out", csv])
    asked = ["--scores", csv, *experiment_flag(tmp_path, table2=LAYOUT)]
    kinds = ("csv", "md", "tex", "html")
    table2.main([*asked, *(word for kind in kinds for word in (f"--{kind}", f"{csv}.{kind}"))])
    text = Path(f"{csv}.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith("| Row |"))
    assert row.split(" | ")[1] == "–" and "–" not in row.split(" | ")[3::2]
    assert text.count("cannot be scored") == 1 and f"- {ONE_CLASS}" in text
    assert "failed" not in text
    assert "T3 Click: 2 pairs of test are left out" in text
    predictions = [file.replace(".json", ".predictions.parquet") for file in files]
    names = ("csv", "md", "aggregate-csv", "aggregate-md")
    out = [word for name in names for word in (f"--{name}", csv + name)]
    statistics.main([*asked, "--predictions", *predictions, *out])
    text = Path(csv + "md").read_text()
    assert f"- {ONE_CLASS}" in text and "Row (the task cannot be scored)" in text


def test_heads_on_vectors_leave_them_empty_too(few, tmp_path):
    """Wrong: boosted trees stop at one class, and the frozen table has no other task either."""
    from userbench import counts, frozen

    store = ["--store", str(few / "store")]
    vectors = str(tmp_path / "counts.parquet")
    counts.main([*store, "--max-length", "20", "--width", "8", "--out", vectors])
    flags = [*store, "--splits", str(few / "splits"), "--run", "x", "--vectors", vectors]
    for name, kind in (("age", "classification"), ("click", "top_n")):
        task = {"name": name, "kind": kind, "batch_size": 64, "epochs": 1}
        flags += ["--task", json.dumps({**task, "out": str(tmp_path / f"{name}.json")})]
    frozen.main([*flags, "--head", "boosted", "--seed", "0", "--lr", "0.01", "--device", "cpu"])
    age, click = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("age", "click"))
    assert "all 40 examples are of class 7" in age["facts"]["limit"] == age["failed"]
    assert click["scores"] and click["facts"] == {"without_rival": {"test": 2}}
    assert click["examples"] == {"train": 15, "validation": 15, "test": 12}


def cannot_be_scored(content: dict) -> dict:
    """The same score file where the task has no second class."""
    lost = {"best": None, "scores": [], "failed": "one class", "facts": {"limit": "one class"}}
    return content | lost


def test_the_page_says_why_a_task_has_no_scores(tmp_path, monkeypatch):
    """Wrong: the page calls every seed failed, or a baseline without scores trained."""
    from experiment_tree import make_page, write_tree

    from userbench.report.page import command
    from userbench.results import artifact, scores

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(artifact, "environment", dict)
    folder = write_tree("toy", "AdaptSSR", baselines=({"run": "bag-of-items"},))
    for path in folder.glob("finetune/*/gender/seed?.json"):
        asked = artifact.provenance_of(path)["config"]
        artifact.write_json(path, cannot_be_scored(json.loads(path.read_text())))
        artifact.record(path, asked, task_seconds=1.5)
    files = artifact.provenance_of(folder / "scores.csv")["config"]["scores"]
    scores.main(["--scores", *files, "--out", str(folder / "scores.csv")])
    text = make_page(command, folder)
    assert (
        text.count("T5 AdaptSSR cannot be scored: one class.") == 1 and "has no score:" not in text
    )
    assert 'data-cell="adaptssr/click"' in text and 'data-cell="adaptssr/gender"' not in text


def test_trials_are_chosen_by_the_tasks_that_can_be_scored(tmp_path):
    """Wrong: one task without scores makes all trials equal, and the first is chosen."""
    from trial_files import trial_file

    from userbench.report.tables import tuning

    trials = [
        {"run": f"clue--{n}", "method_row": "clue", "trial": n, "settings": {"lr": n}, "label": "C"}
        for n in (1, 2)
    ]
    tasks = [
        {"task": task, "label": task.upper(), "metric": metric, "corpus": "ttl", "simulated": True}
        for task, metric in (("age", "accuracy"), ("click", "ndcg@10"))
    ]
    contents = [trial_file(f"clue--{n}", "age", 0, n / 3) for n in (1, 2)]
    contents += [cannot_be_scored(trial_file(f"clue--{n}", "click", 0, 0.5)) for n in (1, 2)]

    def tuned(contents: list[dict]) -> str:
        paths = [tmp_path / f"{number}.json" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        layout = experiment_flag(tmp_path, tuning={"trials": trials, "tasks": tasks})
        out = ["--out", str(tmp_path / "tuning.csv"), "--md", str(tmp_path / "tuning.md")]
        tuning.main(["--scores", *map(str, paths), *layout, *out])
        return (tmp_path / "tuning.md").read_text()

    page = tuned(contents)
    assert "| lr 2 |" in page and page.endswith("\n- CLICK cannot be scored: one class.\n")
    with pytest.raises(SystemExit, match="no trial can be chosen: AGE cannot .* CLICK cannot"):
        tuned([cannot_be_scored(content) for content in contents])


# ---------------------------------------------------------------- what the splits say


@pytest.mark.parametrize(
    ("kind", "labels", "parts", "reason"),
    [
        ("classification", [5, 5, 5, 6, 7], [0, 0, 1, 1, 2], "train has 2 examples of class 5 and"),
        ("binary", [5, 6, 5, 5, 6], [0, 0, 1, 1, 2], "validation has 2 examples of class 5 and"),
        ("binary", [5, 6, 5, 6, 6], [0, 0, 1, 1, 2], "test has 1 example of class 6 and none of"),
        ("classification", [5, 6, 5, 6, 6], [0, 0, 1, 1, 2], ""),
        ("classification", [5, 6, 6, 5, 6], [0, 0, 2, 0, 2], "validation has none of the 5 exampl"),
        ("binary", [5, 6], [0, 0], "validation and test has none of the 2 examples"),
    ],
)
def test_the_split_says_which_part_lacks_what(few, tmp_path, capfd, kind, labels, parts, reason):
    """Wrong: hours of training come before the line that the split could have printed."""
    from userbench.data import draw_splits

    examples = task_folder(few / "store", "some", parts, labels=labels)
    flags = ["--kind", kind, "--by", "user", "--seed", "0", "--out", str(tmp_path / "some")]
    draw_splits.main(["examples", "--examples", str(examples), *flags])
    said = capfd.readouterr().err
    assert (f"task some cannot be scored: {reason}" in said) == bool(reason)
    if not reason:
        assert "of class 5, 2 examples, none is in test" in said


def test_a_binary_task_of_three_classes_is_refused_by_its_split(few, tmp_path):
    """Wrong: the config is found wrong after pre-training."""
    from userbench.data import draw_splits

    examples = task_folder(few / "store", "some", labels=[1, 2, 3] * 5)
    flags = ["--kind", "binary", "--by", "user", "--seed", "0", "--out", str(tmp_path / "some")]
    with pytest.raises(SystemExit, match="the data has 3. Write kind: classification"):
        draw_splits.main(["examples", "--examples", str(examples), *flags])
    assert not list(tmp_path.iterdir())


def test_one_candidate_is_nothing_to_rank(few):
    """Wrong: every model has NDCG 1."""
    from userbench.data.limits import usable_parts

    targets = {user: [0] for user in range(5)}
    examples = task_folder(few / "store", "some", targets=targets, candidates=1)
    found = usable_parts(examples, np.array([0, 0, 1, 2, 2], np.uint8), "top_n", "by_stage")
    assert found.limit == "it has 1 candidate, so that every target ranks first"


@pytest.mark.parametrize("known", ["by_stage", "all", "train"])
def test_pairs_without_a_rival_are_left_out(few, known):
    """Wrong: a user who knows all candidates has NDCG 1, and trains against her own target."""
    from userbench.data.limits import LEFT_OUT, usable_parts
    from userbench.data.store import load_targets
    from userbench.model.tasks import Ranking

    generator, left_out = np.random.default_rng(0), 0
    for _ in range(5):
        sizes = generator.integers(1, 4, 30)
        targets = {u: sorted(generator.permutation(3)[:n].tolist()) for u, n in enumerate(sizes)}
        examples = task_folder(few / "store", "some", targets=targets, candidates=3)
        parts = generator.integers(0, 3, sizes.sum()).astype(np.uint8)
        found = usable_parts(examples, parts, "top_n", known)
        loaded = load_targets(few / "store", "some", "cpu")
        ranking = Ranking(loaded, torch.from_numpy(parts), known, "stable", "pairs")
        everyone = ranking.known_to(torch.arange(len(parts))).tolist()
        rivals = [
            set(range(3)) - set(row) - {target}
            for row, target in zip(everyone, loaded.targets.tolist(), strict=True)
        ]
        alone = np.array([not left for left in rivals])
        assert (found.parts == np.where(alone, LEFT_OUT, parts)).all()
        left_out += alone.sum()
        assert sum(found.without_rival.values()) == alone.sum()
        # Leaving pairs out gives no rival to those that are left.
        again = Ranking(loaded, torch.from_numpy(found.parts), known, "stable", "pairs")
        kept = torch.from_numpy(np.flatnonzero(~alone))
        assert torch.equal(again.known_to(kept), ranking.known_to(kept))
    assert left_out


# ---------------------------------------------------------------- pre-training


def behaviours(folder: Path, rows: list[list[int]]) -> Path:
    from userbench.data.ingest import write_behaviours

    lines = (",".join(map(str, [0] * (4 - len(row)) + row)) for row in rows)
    (folder / "original_desen_pretrain.csv").write_text("\n".join(lines) + "\n")
    write_behaviours(folder, "ttl", folder / "store/behaviours")
    return folder / "store/behaviours"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[1, 2, user] for user in range(1, 11)], "of 10 users 1 are left for validation, and 2 a"),
        ([[1, 2]], "of 1 users 0 are left for training, and 2 are needed"),
        ([[7] * (1 + user % 3) for user in range(20)], "its only item is 7, and two are needed"),
        ([[1 + user % 3] for user in range(20)], "each of its 20 users has one behaviour"),
    ],
)
def test_too_few_users_or_items_are_refused_by_the_split(tmp_path, rows, reason):
    """Wrong: a traceback, `KeyError: 'loss'`, after the first epoch; or a loss of 0 throughout."""
    from userbench.data import draw_splits

    flags = ["--behaviours", str(behaviours(tmp_path, rows)), "--seed", "0"]
    with pytest.raises(SystemExit, match=reason) as end:
        draw_splits.main(["users", *flags, "--out", str(tmp_path / "splits/users")])
    assert str(end.value.code).startswith("error: ") and not (tmp_path / "splits").exists()


def test_a_split_of_too_few_users_is_refused_by_pretraining(tmp_path):
    """Wrong: a split that another version drew still ends in `KeyError: 'loss'`."""
    from userbench.data import arrays

    made = behaviours(tmp_path, [[1, 2, user] for user in range(1, 11)])
    parts, meaning = np.array([0] * 9 + [1], np.uint8), {"of": arrays.identity(made)}
    arrays.write_arrays(tmp_path / "splits/users", {"parts.npy": parts}, meaning, {"counts": {}})
    with pytest.raises(SystemExit, match="of 10 users 1 are left for validation"):
        pretrain(tmp_path, tmp_path / "out", epochs=1)
