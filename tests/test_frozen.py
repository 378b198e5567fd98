"""Heads on given user vectors: against scikit-learn, against themselves, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

KINDS = {"age": "classification", "click": "top_n", "gender": "binary"}
PLACES = ("pretrain_epoch", "start")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    from userbench.model import boosted

    monkeypatch.setattr(boosted, "ITERATIONS", 12)


@pytest.fixture(scope="module")
def vectors(tiny, tmp_path_factory):
    """Vectors of two random encoders, as `embed` writes them."""
    from userbench import embed

    folder = tmp_path_factory.mktemp("vectors")
    flags = ["--store", tiny / "store", "--seed", "0", "--starts", "2", "--device", "cpu"]
    sizes = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'
    flags += ["--encoder", sizes, "--out", folder / "{candidate}.parquet"]
    embed.main([*map(str, flags)])
    return [folder / "start1.parquet", folder / "start2.parquet"]


def frozen(tiny, out, files, *flags, tasks=KINDS, read=True, **changes):
    """Run the command; the score files of some tasks."""
    from userbench import frozen

    given = []
    for name in tasks:
        task = {"name": name, "kind": KINDS[name], "batch_size": 64, "epochs": 2}
        given += ["--task", json.dumps({**task, **changes, "out": str(out / f"{name}.json")})]
    data = ["--store", tiny / "store", "--splits", tiny / "splits", "--run", "test"]
    default = {"--seed": "0", "--lr": "0.01", "--device": "cpu"}
    data += [word for flag in default.keys() - {*flags} for word in (flag, default[flag])]
    frozen.main([*map(str, [*data, "--vectors", *files, *flags]), *given])
    return {name: json.loads((out / f"{name}.json").read_text()) for name in tasks if read}


def values(content):
    """A score file without the names of its candidates."""
    scores = [{k: v for k, v in row.items() if k not in PLACES} for row in content["scores"]]
    best = {k: v for k, v in content["best"].items() if k not in PLACES}
    return {**content, "scores": scores, "best": best}


@pytest.mark.parametrize("head", ["linear", "mlp", "boosted"])
def test_vectors_put_in_again_give_the_same_scores(tiny, vectors, tmp_path, head):
    """Wrong: a method of her own is measured by another ruler than those of this package."""
    first = frozen(tiny, tmp_path / "first", vectors[:1], "--head", head)
    frame = pd.read_parquet(vectors[0]).sample(frac=1, random_state=0)
    mine = pa.table({"vector": list(frame["vector"]), "user": frame["user"].astype(str).tolist()})
    pq.write_table(mine, tmp_path / "mine.parquet")
    np.save(tmp_path / "mine.npy", np.stack(frame["vector"]))
    np.save(tmp_path / "mine.ids.npy", frame["user"].to_numpy())
    for name in ("mine.parquet", "mine.npy"):
        found = frozen(tiny, tmp_path / name[4:], [tmp_path / name], "--head", head)
        for task in KINDS:
            assert values(found[task]) == values(first[task])
            assert found[task]["best"]["pretrain_epoch"] == 0
            predictions = f"{task}.predictions.parquet"
            one, two = (pd.read_parquet(tmp_path / d / predictions) for d in ("first", name[4:]))
            pd.testing.assert_frame_equal(one, two)


def test_files_are_those_of_finetune(tiny, vectors, tmp_path):
    """Wrong: no table, statistics or audit can read them."""
    from userbench.results.predictions import read_predictions
    from userbench.results.scores import gather_scores

    found = frozen(tiny, tmp_path, vectors, "--head", "boosted", "--seed", "3")
    files = [tmp_path / f"{task}.json" for task in KINDS]
    scores = gather_scores(files)
    assert set(scores["seed"]) == {3} and set(scores["width"]) == {8}
    assert set(scores["start"]) == {1, 2} and set(scores["pretrain_epoch"]) == {0}
    heads = {task: content["head"] for task, content in found.items()}
    assert heads == {"age": "boosted", "gender": "boosted", "click": "linear"}
    for task, file in zip(KINDS, files, strict=True):
        rows = read_predictions(file.with_suffix(".predictions.parquet")).rows
        assert len(rows) == found[task]["examples"]["test"] > 0
        tested = [row for row in found[task]["scores"] if row["split"] == "test"]
        assert all(row["start"] == found[task]["best"]["start"] for row in tested)
        recorded = json.loads(Path(f"{file}.provenance.json").read_text())
        assert sum(name.endswith(".parquet") for name in recorded["inputs"]) == 2


def test_the_chosen_candidate_is_best_on_validation(tiny, vectors, tmp_path):
    """Wrong: a file, a learning rate or an epoch is chosen by another score, or by none."""
    both = frozen(tiny, tmp_path / "both", vectors, "--lr", "0.001", "0.1")
    best = {}
    for file in vectors:
        for rate in ("0.001", "0.1"):
            out = tmp_path / f"{file.stem}-{rate}"
            for task, content in frozen(tiny, out, [file], "--lr", rate).items():
                rows = [row for row in content["scores"] if row["split"] == "validation"]
                value = max(row["value"] for row in rows if row["metric"] == content["metric"])
                if task not in best or value > best[task][0]:
                    best[task] = value, content["best"]
                    tested = [row for row in content["scores"] if row["split"] == "test"]
                    assert tested[0]["epoch"] == content["best"]["epoch"]
    for task, content in both.items():
        assert content["best"] == best[task][1]


def test_same_flags_same_bytes_and_another_seed_others(tiny, vectors, tmp_path):
    """Wrong: a head depends on what was trained before it in the process."""
    frozen(tiny, tmp_path / "a", vectors[:1])
    frozen(tiny, tmp_path / "b", vectors[:1], tasks=["gender", "click"])
    frozen(tiny, tmp_path / "seed{seed}", vectors[:1], "--seed", "1", "0", tasks=[]) if 0 else None
    both = ["--seed", "1", "0"]
    frozen(tiny, tmp_path / "{seed}", vectors[:1], *both, tasks=["click"], read=False)
    for name in ("gender.json", "click.json", "click.predictions.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    second, first = ((tmp_path / seed / "click.json").read_bytes() for seed in "10")
    assert second != first == (tmp_path / "a" / "click.json").read_bytes()


# ---------------------------------------------------------------- the heads


def labelled_data(kind, classes, n=240, width=4):
    """A task of labels that the vectors half explain, and its first two thirds to train on."""
    from userbench.data.labelled import LabelledSplit, Split
    from userbench.data.store import LabelledExamples
    from userbench.model.tasks import Task
    from userbench.training.head_fits import Data

    torch.manual_seed(0)
    users = torch.randn(n, width)
    labels = (users[:, :classes] + torch.randn(n, classes)).argmax(1)
    split = Split(torch.arange(0, 160), torch.arange(160, 200), torch.arange(200, n))
    stages = torch.zeros(n, dtype=torch.uint8)
    task = Task("task", kind, lr=0.05, batch_size=160, epochs=150)
    examples = LabelledExamples(torch.arange(n), labels, classes)
    return Data(task, examples, LabelledSplit(split, 160, stages), users, torch.arange(n), 0)


def test_the_linear_head_is_logistic_regression():
    """Wrong: a hidden layer, a penalty or too few steps between the vectors and the scores."""
    from userbench.training import head_fits

    data = labelled_data("classification", 3)
    train = data.labelled.split.train
    # Validation on what it is trained on: the last epoch is then that of the exact fit.
    split = data.labelled.split._replace(validation=train)
    data = data._replace(labelled=data.labelled._replace(split=split))
    settings = head_fits.HeadSettings("linear", 64, [0.05], "reshuffled")
    fit = head_fits.train(data.task, data, settings, 0)
    x, y = data.users[train].numpy(), data.examples.labels[train].numpy()
    exact = LogisticRegression(C=1e6, max_iter=1000).fit(x, y)
    values = [row["value"] for row in fit.curve]
    assert abs(values[-1] - exact.score(x, y)) < 0.01
    assert fit.value == max(values)
    assert fit.chosen == {"epoch": 1 + values.index(fit.value), "lr": 0.05}
    predicted = fit.predict(train)
    assert (predicted["predicted"] == predicted["label"]).double().mean() == fit.value


def test_a_linear_head_has_the_loss_of_logistic_regression():
    """Wrong: its loss is another one, so that the best weights are no minimum of it."""
    from userbench.model.heads import LinearHead
    from userbench.model.tasks import LabelTask

    data = labelled_data("classification", 3)
    train = data.labelled.split.train
    x, y = data.users[train].numpy(), data.examples.labels[train].numpy()
    exact = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(x, y)
    task = LabelTask(data.examples, LinearHead(4, 3), "classification")
    task.head.score.weight.data = torch.from_numpy(exact.coef_).float()
    task.head.score.bias.data = torch.from_numpy(exact.intercept_).float()
    loss = task.loss(data.of(train), train)
    loss.backward()
    assert abs(loss.item() - log_loss(y, exact.predict_proba(x))) < 1e-6
    assert task.head.score.weight.grad.abs().max() < 1e-4


def test_a_linear_head_ranks_by_its_scores():
    """Wrong: BPR on vectors is another loss than the one by the book."""
    from userbench.data.store import TargetExamples
    from userbench.model.heads import LinearHead
    from userbench.model.tasks import Task, unknown_candidates, with_head

    users, targets = torch.arange(6), torch.tensor([0, 1, 2, 3, 4, 0])
    examples = TargetExamples(users, targets, users, 5, targets, torch.arange(7))
    task = Task("click", "top_n", 1e-3, 6, 1)
    head = with_head(task, examples, torch.zeros(6).byte(), LinearHead(3, 5), seed=0)
    torch.nn.init.normal_(head.head.score.bias)
    vectors = torch.randn(6, 3)
    torch.manual_seed(1)
    loss = head.loss(vectors, users)
    torch.manual_seed(1)
    uniform = torch.rand(6, dtype=torch.float64)
    negative = unknown_candidates(targets[:, None], 5, uniform)
    scores = vectors @ head.head.score.weight.T + head.head.score.bias
    margin = scores[users, targets] - scores[users, negative]
    torch.testing.assert_close(loss, -margin.sigmoid().log().mean())


@pytest.mark.parametrize(
    ("kind", "classes"), [("classification", 3), ("classification", 2), ("binary", 2)]
)
def test_boosted_trees_are_those_of_scikit_learn(kind, classes):
    """Wrong: another number of trees, other classes, or trees chosen on the test split."""
    from userbench.model.metrics import metrics_of
    from userbench.training.head_fits import fit_boosted

    data = labelled_data(kind, classes)
    fit = fit_boosted(data, 0)
    train, validation, test = (part.numpy() for part in data.labelled.split)
    x, y = data.users.numpy(), data.examples.labels.numpy()
    found = []
    for iterations in range(1, 13):
        trees = HistGradientBoostingClassifier(max_iter=iterations, early_stopping=False)
        trees.fit(x[train], y[train])
        labels = torch.from_numpy(y[validation])
        if kind == "binary":
            scores = torch.from_numpy(trees.decision_function(x[validation]))
            (value,) = metrics_of({"label": labels, "score": scores}).values()
        else:
            value = np.mean(trees.predict(x[validation]) == y[validation])
        found.append((float(value), trees))
    assert [row["value"] for row in fit.curve] == [value for value, _ in found]
    best = max(range(12), key=lambda place: found[place][0])
    assert fit.chosen == {"epoch": best + 1}
    predicted = fit.predict(data.labelled.split.test)
    if kind == "binary":
        expected = found[best][1].decision_function(x[test])
        np.testing.assert_array_equal(predicted["score"], expected)
    else:
        np.testing.assert_array_equal(predicted["predicted"], found[best][1].predict(x[test]))


def test_boosted_trees_skip_a_class_without_training_examples():
    """Wrong: the place of a class among those trained on is taken for its number."""
    from userbench.model.boosted import boosted

    data = labelled_data("classification", 3)
    picked = (data.examples.labels != 1).nonzero()[:, 0]
    trees = boosted(data.of(picked), picked, data.examples, "classification", 0)
    *_, last = trees.staged(data.of(picked), picked)
    assert set(last["predicted"].tolist()) == {0, 2}
    # With the places exchanged it would be less than a half.
    assert (last["predicted"] == last["label"]).double().mean() > 0.7


# ---------------------------------------------------------------- failures and bad input


def test_a_head_that_diverges_is_no_candidate(tiny, vectors, tmp_path, caplog):
    """Wrong: NaN gets a score, or one bad learning rate ends the job."""
    found = frozen(tiny, tmp_path / "a", vectors[:1], "--lr", "1e38", "0.01", tasks=["age"])["age"]
    good = frozen(tiny, tmp_path / "b", vectors[:1], "--lr", "0.01", tasks=["age"])["age"]
    assert found == good and "failed: task age, run test, seed 0, on " in caplog.text
    lost = frozen(tiny, tmp_path / "c", vectors[:1], "--lr", "1e38", tasks=["age"])["age"]
    assert (lost["best"], lost["scores"]) == (None, []) and "on " in lost["failed"]
    from userbench.results.predictions import read_predictions

    assert not len(read_predictions(tmp_path / "c" / "age.predictions.parquet").rows)


def test_users_without_a_vector_are_refused_or_counted(tiny, vectors, tmp_path, caplog):
    """Wrong: a run is scored on the users that suit it."""
    frame = pd.read_parquet(vectors[0])
    kept = frame[frame["user"] != 3]
    table = pa.table({"user": kept["user"].tolist(), "vector": list(kept["vector"])})
    pq.write_table(table, tmp_path / "few.parquet")
    message = "few.parquet, task age: 1 of its 200 users have no vector, the first is user 3. Add"
    with pytest.raises(SystemExit, match=message):
        frozen(tiny, tmp_path, [tmp_path / "few.parquet"], tasks=["age"])
    assert not (tmp_path / "age.json").exists()
    more = ["--max-bad-rows", "1"]
    found = frozen(tiny, tmp_path, [tmp_path / "few.parquet"], *more, tasks=["age"])
    assert sum(found["age"]["examples"].values()) == 200
    assert "1 users without a vector have the mean" in caplog.text


def test_no_test_leaves_the_test_split_alone(tiny, vectors, tmp_path):
    found = frozen(tiny, tmp_path, vectors, "--no-test")
    assert {row["split"] for row in found["age"]["scores"]} == {"validation"}
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, "--task age: leave out lr; learning rates are those of --lr"),
        ({"dropout": 0.1}, "--task age: leave out dropout"),
        ({"epochs": 0}, "epochs 0: must be above 0"),
        ({"epoch": 3}, "no hyper-parameter 'epoch'"),
    ],
)
def test_bad_tasks_are_one_line(tiny, vectors, tmp_path, changes, message):
    with pytest.raises(SystemExit, match=message):
        frozen(tiny, tmp_path, vectors, tasks=["age"], **changes)


def test_vectors_that_do_not_belong_are_one_line(tiny, vectors, tmp_path):
    """Wrong: row numbers of another corpus are joined to the users of this one."""
    from userbench.data.vectors import read_vectors, write_vectors

    found = read_vectors(vectors[0])
    about = {**found.about, "behaviours": "0" * 64}
    write_vectors(tmp_path / "v.parquet", found.ids, iter([found.values]), about)
    with pytest.raises(SystemExit, match="v.parquet: vectors of another corpus than"):
        frozen(tiny, tmp_path, [tmp_path / "v.parquet"], tasks=["age"])
    write_vectors(tmp_path / "w.parquet", found.ids, iter([found.values]), found.about)
    with pytest.raises(SystemExit, match="w.parquet: the candidate of .*start1.parquet again"):
        frozen(tiny, tmp_path, [vectors[0], tmp_path / "w.parquet"], tasks=["age"])
    write_vectors(
        tmp_path / "x.parquet", found.ids, iter([found.values]), {"width": 8, "raw": True}
    )
    with pytest.raises(SystemExit, match="x.parquet: vectors of another log than"):
        frozen(tiny, tmp_path, [tmp_path / "x.parquet"], tasks=["age"])
    write_vectors(tmp_path / "y.parquet", found.ids, iter([found.values[:, :5]]), {"width": 5})
    with pytest.raises(
        SystemExit, match="y.parquet: vectors of width 5, those of .*1.parquet have"
    ):
        frozen(tiny, tmp_path, [vectors[0], tmp_path / "y.parquet"], tasks=["age"])
    with pytest.raises(SystemExit, match="task age: lr 0.0: must be above 0"):
        frozen(tiny, tmp_path, vectors, "--lr", "0", tasks=["age"])


# ---------------------------------------------------------------- counts


def test_counts_are_those_of_one_user_at_a_time(tiny, tmp_path, monkeypatch):
    """Wrong: items are counted for other users, or the chosen ones are not the most frequent."""
    from collections import Counter

    from userbench import counts
    from userbench.data.store import BehaviourStore
    from userbench.data.vectors import read_vectors

    monkeypatch.setattr(counts, "USERS_AT_ONCE", 64)
    out = tmp_path / "v.parquet"
    flags = ["--store", str(tiny / "store"), "--max-length", "20", "--width", "31"]
    counts.main([*flags, "--out", str(out)])
    first = out.read_bytes()
    counts.main([*flags, "--out", str(out)])
    assert out.read_bytes() == first
    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    bags = [Counter(store.behaviours(torch.tensor([u])).tolist()) for u in range(store.n_users)]
    users = Counter(item for bag in bags for item in bag)
    items = sorted(users, key=lambda item: (-users[item], item))[:30]
    expected = [[*(bag[item] for item in items), bag.total()] for bag in bags]
    found = read_vectors(out)
    np.testing.assert_allclose(found.values, np.log1p(expected), rtol=1e-6)
    assert found.about["width"] == 31 and found.ids.to_pylist() == list(range(200))
    frozen(tiny, tmp_path, [out], tasks=["age"])


def test_a_small_catalogue_has_narrow_counts(tiny, tmp_path):
    """Wrong: columns for items that do not exist."""
    from userbench import counts
    from userbench.data.arrays import behaviours_folder, read_checksums
    from userbench.data.vectors import read_vectors

    counts.main(
        ["--store", str(tiny / "store"), "--width", "9999", "--out", str(tmp_path / "v.npy")]
    )
    items = read_checksums(behaviours_folder(tiny / "store"))["items"]
    assert read_vectors(tmp_path / "v.npy").values.shape == (200, items + 1)


@pytest.mark.parametrize(("width", "by_kernel"), [(256, True), (257, False)])
def test_very_wide_vectors_do_not_meet_the_kernel(monkeypatch, width, by_kernel):
    """Wrong: vectors of a language model, of a thousand numbers, fail on a GPU."""
    from userbench.data.store import TargetExamples
    from userbench.model import tasks
    from userbench.model.heads import LinearHead

    users, targets = torch.arange(6), torch.tensor([0, 1, 2, 3, 4, 0])
    examples = TargetExamples(users, targets, users, 5, targets, torch.arange(7))
    stages, task = torch.zeros(6).byte(), tasks.Task("click", "top_n", 1e-3, 6, 1)
    head = tasks.with_head(task, examples, stages, LinearHead(width, 5), seed=0)
    called = []
    monkeypatch.setattr(tasks, "used_for", lambda values: True)
    monkeypatch.setattr(tasks, "bpr", lambda *given: called.append(1) or torch.zeros(6))
    head.loss(torch.randn(6, width), users)
    assert bool(called) == by_kernel
