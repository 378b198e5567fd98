"""Baselines against slow versions on tiny data, and their scores on the real excerpt."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from stores import write_splits, write_store

SPLITS = {"seed": 3, "by": "interaction"}


@pytest.fixture
def baselines():
    from userbench import baselines

    return baselines


@pytest.fixture
def corpus(tmp_path) -> tuple[Path, Path]:
    """Store and splits of 90 users whose label an item decides, with targets of a few kinds."""
    rng = np.random.default_rng(5)
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = {name: [] for name in ("pretrain", "gender", "age", "finetune_click_nouserID")}
    for user in range(90):
        label = user % 3 + 1
        others = rng.choice(np.arange(10, 40), rng.integers(2, 8), replace=False)
        # Why 100 + user: no two users may have the same sequence.
        items = [*others.tolist(), label, label, 100 + user]
        row = ",".join(map(str, [0] * (12 - len(items)) + items))
        targets = rng.choice(15, rng.integers(1, 5), replace=False, p=POPULARITY) + 1
        lines["pretrain"].append(row)
        lines["age"].append(f"{row},,{label}")
        lines["gender"].append(f"{row},,{1 + (label == 2)}")
        lines["finetune_click_nouserID"].append(f"{row},,{','.join(map(str, targets))}")
    for name, rows in lines.items():
        (raw / f"original_desen_{name}.csv").write_text("\n".join(rows) + "\n")
    return build(raw, tmp_path, ["age", "gender", "click"], max_bad_rows=0)


POPULARITY = np.arange(15, 0, -1) / np.arange(15, 0, -1).sum()


def build(raw: Path, folder: Path, tasks: list[str], max_bad_rows: int) -> tuple[Path, Path]:
    store, splits = folder / "ttl", folder / "splits"
    write_store(raw, "ttl", {task: task for task in tasks}, store, max_bad_rows)
    write_splits(store, tasks, **SPLITS, out=splits)
    return store, splits


def opened(store: Path, max_length: int = 12):
    from userbench.data.store import BehaviourStore

    return BehaviourStore.open(store, max_length, "cpu")


def score(
    baselines, corpus, folder: Path, protocol=None, max_length: int = 12, **kinds: str
) -> dict[str, dict]:
    """Run the command on tasks by kind; the content of the score files by task."""
    metric = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
    flags, outs = [], {name: folder / f"{name}.json" for name in kinds}
    for name, kind in kinds.items():
        task = {"name": name, "kind": kind, "metric": metric[kind], "out": str(outs[name])}
        flags += ["--task", json.dumps(task | (protocol or {}))]
    store, splits = map(str, corpus)
    flags += ["--max-length", str(max_length)]
    baselines.main(["--store", store, "--splits", splits, "--seed", "4", *flags])
    return {name: json.loads(out.read_text()) for name, out in outs.items()}


def value_of(content: dict, metric: str) -> float:
    found = [s for s in content["scores"] if (s["split"], s["metric"]) == ("test", metric)]
    assert len(found) == 1
    return found[0]["value"]


PROTOCOLS = [
    {"known_targets": known, "ties": ties, "average": average}
    for known in ("by_stage", "all", "train")
    for ties in ("pessimistic", "stable")
    for average in ("pairs", "users")
]


def clicks(store: Path, splits: Path) -> tuple[list[list[int]], list[list[int]], int]:
    """Targets of each row, their parts, and the number of candidates."""
    targets = np.load(store / "tasks/click/targets.npy").tolist()
    offsets = np.load(store / "tasks/click/target_offsets.npy").tolist()
    part = np.load(splits / "tasks/click/parts.npy").tolist()
    rows = list(zip(offsets[:-1], offsets[1:], strict=True))
    cut = [[values[a:b] for a, b in rows] for values in (targets, part)]
    return *cut, len(np.load(store / "tasks/click/target_ids.npy"))


def asked_by_the_book(corpus, protocol, stage: int) -> list[tuple[int, set[int], float]]:
    """Of each pair of a stage its target, the other candidates it is ranked among, its weight."""
    targets, parts, n_candidates = clicks(*corpus)
    last = {"by_stage": stage, "all": 2, "train": 0}[protocol["known_targets"]]
    users = sum(stage in part for part in parts)
    total = sum(part.count(stage) for part in parts)
    asked = []
    for own, part in zip(targets, parts, strict=True):
        known = {target for target, p in zip(own, part, strict=True) if p <= last}
        for target, p in zip(own, part, strict=True):
            if p == stage:
                one = 1 / (users * part.count(stage))
                weight = one if protocol["average"] == "users" else 1 / total
                asked.append((target, set(range(n_candidates)) - known - {target}, weight))
    return asked


def ranked_by_the_book(corpus, protocol, stage: int, score) -> dict[str, float]:
    """Metrics over the pairs of a stage: each target's place among the candidates, one by one."""
    metrics = dict.fromkeys(METRICS, 0.0)
    for target, rivals, weight in asked_by_the_book(corpus, protocol, stage):
        rank = 1
        for c in rivals:
            tie = protocol["ties"] == "pessimistic" or c < target
            rank += score(c) > score(target) or (score(c) == score(target) and tie)
        for k in (5, 10, 20):
            if rank <= k:
                metrics[f"hr@{k}"] += weight
                metrics[f"mrr@{k}"] += weight / rank
                metrics[f"ndcg@{k}"] += weight / math.log2(rank + 1)
    return metrics


METRICS = [f"{name}@{k}" for name in ("hr", "mrr", "ndcg") for k in (5, 10, 20)]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: "-".join(protocol.values()))
def test_popularity_is_that_of_the_book(baselines, corpus, tmp_path, protocol):
    # Wrong: counts of test pairs leak in, another protocol than the heads', ties move.
    content = score(baselines, corpus, tmp_path, protocol, click="top_n")["click"]
    targets, parts, _ = clicks(*corpus)
    trained = [
        target
        for own, part in zip(targets, parts, strict=True)
        for target, p in zip(own, part, strict=True)
        if p == 0
    ]
    for stage, name in ((1, "validation"), (2, "test")):
        expected = ranked_by_the_book(corpus, protocol, stage, trained.count)
        found = {s["metric"]: s["value"] for s in content["scores"] if s["split"] == name}
        assert found == pytest.approx(expected)
        assert 0 < expected["hr@5"] < expected["hr@10"] < 1
    recorded = json.loads((tmp_path / "click.json.provenance.json").read_text())["config"]["task"]
    assert {key: recorded[key] for key in protocol} == protocol


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: "-".join(protocol.values()))
def test_popularity_is_a_head_that_scores_counts(baselines, corpus, protocol):
    # Wrong: the baseline and the methods of one column are ranked by different rules.
    import torch

    from userbench.data.splits import load_split
    from userbench.data.store import load_targets
    from userbench.model.tasks import Task, build_head

    store, splits = corpus
    examples, split = load_targets(store, "click", "cpu"), load_split(splits, "click")
    head = build_head(Task("click", "top_n", 1e-3, 8, 1, **protocol), examples, split, 4, 4, seed=0)
    head.head.score.weight.data.zero_()
    counts = examples.targets[split == 0].bincount(minlength=examples.n_candidates)
    head.head.score.bias.data.copy_(counts)
    task = baselines.BaselineTask("click", "top_n", "ndcg@10", "", **protocol)
    fitted = baselines.popularity(examples, split, task)
    for stage in (1, 2):
        picked = (split == stage).nonzero().squeeze(1)
        expected = head.predict(torch.randn(len(picked), 4), picked)
        found = fitted.predict(picked)
        assert found.keys() - {"user"} == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: "-".join(protocol.values()))
def test_facts_of_a_ranking_task(baselines, corpus, tmp_path, protocol):
    # Wrong: the values to compare a score with are of other users, ties or candidates.
    content = score(baselines, corpus, tmp_path, protocol, click="top_n")["click"]
    _, parts, _ = clicks(*corpus)
    tested = [part for part in parts if 2 in part]
    share = sum(0 in part for part in tested) / len(tested)
    assert content["facts"]["test_users_in_train"] == pytest.approx(share) and 0 < share < 1
    found = content["facts"]["constant"]
    for ties in ("pessimistic", "stable"):
        expected = ranked_by_the_book(corpus, protocol | {"ties": ties}, 2, lambda _: 0)
        assert found[ties] == pytest.approx(expected["ndcg@10"])
    expected = 0.0
    for _, rivals, weight in asked_by_the_book(corpus, protocol, 2):
        places = range(1, len(rivals) + 2)  # each as likely as any other
        gained = sum(1 / math.log2(place + 1) for place in places if place <= 10)
        expected += weight * gained / len(places)
    assert found["random"] == pytest.approx(expected)


def test_facts_of_a_label_task(baselines, corpus, tmp_path):
    # Wrong: a constant is reported where nothing is ranked, or users are counted by example.
    import torch

    content = score(baselines, corpus, tmp_path, age="classification")["age"]
    none = {"max_length": 12, "longer_histories": 0.0}
    assert content["facts"] == {"test_users_in_train": 0.0, **none}  # every user has one label
    users, split = torch.tensor([7, 7, 7, 8, 9, 9]), torch.tensor([0, 2, 2, 2, 1, 2])
    assert baselines.facts_of(users, split.byte()) == {"test_users_in_train": pytest.approx(1 / 3)}


def test_bag_of_items_finds_the_item_that_decides_the_label(baselines, corpus, tmp_path):
    # Wrong: bags and labels of different users, class columns mixed up, AUC of the wrong class.
    found = score(baselines, corpus, tmp_path, age="classification", gender="binary")
    assert value_of(found["age"], "accuracy") == 1.0
    assert value_of(found["gender"], "auc") == 1.0


@pytest.mark.parametrize("latest", [3, 12])
def test_tfidf_is_that_of_the_book(baselines, corpus, latest):
    # Wrong: a repeated item counts as two items, the columns of the matrix shift, or a bag holds
    # what no encoder of this length reads.
    store, _ = corpus
    items, offsets = (np.load(store / f"behaviours/{name}.npy") for name in ("items", "offsets"))
    users = [
        items[start:end].tolist()[-latest:]
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]
    found = baselines.tfidf(opened(store, latest)).toarray()
    for user, row in zip(users[:10], found[:10], strict=True):
        expected = np.zeros(found.shape[1])
        for item in set(user):
            frequency = sum(item in other for other in users)
            idf = math.log((1 + len(users)) / (1 + frequency)) + 1
            expected[item] = (1 + math.log(user.count(item))) * idf
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected))


def test_the_bag_holds_what_an_encoder_reads_and_another_one_all(baselines, corpus, tmp_path):
    # Wrong: the baseline knows behaviours that no row is given, or both lines are one.
    def scored(max_length: int, history: str) -> dict:
        options = {"history": history}
        return score(baselines, corpus, tmp_path, options, max_length, age="classification")["age"]

    store, splits = corpus
    users = np.load(store / "tasks/age/users.npy")[np.load(splits / "tasks/age/parts.npy") == 2]
    lengths = np.diff(np.load(store / "behaviours/offsets.npy"))
    short, long, all_read = scored(1, "latest"), scored(1, "whole"), scored(12, "latest")
    assert value_of(short, "accuracy") < 0.6  # the latest item of each user is hers alone
    assert value_of(long, "accuracy") == 1.0 and long["scores"] == all_read["scores"]
    assert (short["run"], long["run"]) == ("bag-of-items", "bag-of-items-long")
    for length in (1, 5, 12):
        facts = scored(length, "whole")["facts"]
        assert facts["max_length"] == length
        assert facts["longer_histories"] == pytest.approx((lengths[users] > length).mean())


def test_a_bag_of_the_whole_history_that_is_no_longer_is_marked_as_the_same(
    baselines, corpus, tmp_path
):
    # Wrong: one baseline is twice in the table, and is fitted twice.
    from userbench.results.scores import gather_scores

    longest = int(np.diff(np.load(corpus[0] / "behaviours/offsets.npy")).max())
    for length, same in ((longest - 1, False), (longest, True), (50, True)):
        out, paths = tmp_path / str(length), []
        flags = ["--store", str(corpus[0]), "--splits", str(corpus[1]), "--seed", "0"]
        for history in ("latest", "whole"):
            task = {"name": "age", "kind": "classification", "metric": "accuracy"}
            paths.append(out / history / "age.json")
            flags += ["--task", json.dumps(task | {"history": history, "out": str(paths[-1])})]
        fits = []
        with pytest.MonkeyPatch.context() as patch:
            fit = baselines.bag_of_items
            patch.setattr(baselines, "bag_of_items", lambda *a: fits.append(1) or fit(*a))  # noqa: B023
            baselines.main([*flags, "--max-length", str(length)])
        latest, whole = (json.loads(path.read_text()) for path in paths)
        assert whole.get("same_as") == ("bag-of-items" if same else None)
        assert "same_as" not in latest and len(fits) == (1 if same else 2)
        assert not same or whole["scores"] == latest["scores"]
        runs = {"bag-of-items"} if same else {"bag-of-items", "bag-of-items-long"}
        assert set(gather_scores(paths)["run"]) == runs


def test_a_class_that_train_lacks_is_never_predicted(baselines, corpus):
    # Wrong: probabilities land in the columns of other classes.
    import torch

    from userbench.data.store import load_labels
    from userbench.model.metrics import metrics_of

    store, _ = corpus
    examples = load_labels(store, "age", "cpu")
    turn = torch.arange(90) // 3 % 3
    split = torch.where(examples.labels == 0, 2, turn).to(torch.uint8)
    task = baselines.BaselineTask("age", "classification", "accuracy", "")
    fitted = baselines.bag_of_items(baselines.tfidf(opened(store)), examples, split, task)
    test = (split == 2).nonzero().squeeze(1)
    known = (examples.labels[test] != 0).double().mean()
    assert metrics_of(fitted.predict(test))["accuracy"] == known


def test_regularisation_is_chosen_on_validation(baselines, corpus):
    # Wrong: C is chosen on test or train.
    import torch
    from sklearn.linear_model import LogisticRegression

    from userbench.data.store import load_labels

    store, _ = corpus
    generator = torch.Generator().manual_seed(0)
    examples = load_labels(store, "gender", "cpu")
    noise = torch.randint(2, (90,), generator=generator)  # so that C matters
    examples = examples._replace(labels=noise)
    bags, labels = baselines.tfidf(opened(store))[examples.users.numpy()], noise.numpy()
    task = baselines.BaselineTask("gender", "binary", "auc", "")
    chosen = set()
    for _ in range(8):
        split = torch.randint(3, (90,), generator=generator).to(torch.uint8)
        train, validation = ((split == part).numpy() for part in (0, 1))
        aucs = {}
        for c in baselines.INVERSE_REGULARISATION:
            model = LogisticRegression(C=c, max_iter=1000).fit(bags[train], labels[train])
            high = model.decision_function(bags[validation & (labels == 1)])
            low = model.decision_function(bags[validation & (labels == 0)])
            aucs[c] = np.mean([a > b for a in high for b in low])
        best = baselines.bag_of_items(baselines.tfidf(opened(store)), examples, split, task)
        chosen.add(best.settings["C"])
        assert aucs[best.settings["C"]] == max(aucs.values())
    assert len(chosen) > 1


def test_score_files_are_what_the_tables_read(baselines, corpus, tmp_path):
    # Wrong: the report refuses the baselines, or two runs of one command differ.
    from userbench.results.scores import gather_scores

    kinds = {"age": "classification", "click": "top_n"}
    first = score(baselines, corpus, tmp_path, **kinds)
    assert score(baselines, corpus, tmp_path, **kinds) == first
    scores = gather_scores([tmp_path / "age.json", tmp_path / "click.json"])
    assert set(zip(scores["run"], scores["task"], strict=True)) == {
        ("bag-of-items", "age"),
        ("popularity", "click"),
    }
    assert set(scores["corpus"]) == {"ttl"}
    assert set(scores["seed"]) == {4}
    assert len(scores) == 2 * (1 + 9)
    settings = json.loads((tmp_path / "age.json.provenance.json").read_text())["config"]
    assert settings["C"] in baselines.INVERSE_REGULARISATION


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "auc"}, "task age: no 'auc' of a 'classification' task"),
        ({"kind": "regression"}, "of a 'regression' task"),
        ({"epochs": 3}, "its keys must be name, kind, metric, out"),
        ({"ties": "kind"}, "task age: ties 'kind' is none of pessimistic, stable"),
        ({"name": "cvr"}, "tasks/cvr/checksums.json: does not exist"),
        ({"history": "all"}, "task age: history 'all' is none of latest, whole"),
        (
            {"kind": "top_n", "metric": "ndcg@10", "history": "whole"},
            "task age: popularity reads no history",
        ),
    ],
)
def test_a_wrong_task_is_reported(baselines, corpus, tmp_path, changes, reason):
    # Wrong: a traceback, or a score under a metric that it is not.
    task = {"name": "age", "kind": "classification", "metric": "accuracy", "out": "age.json"}
    store, splits = map(str, corpus)
    flags = ["--store", store, "--splits", splits, "--seed", "0", "--max-length", "12"]
    with pytest.raises(SystemExit, match=reason) as stop:
        baselines.main([*flags, "--task", json.dumps(task | changes)])
    assert str(stop.value.code).startswith("error: ")


@pytest.mark.slow
def test_baselines_on_the_real_excerpt(baselines, ttl10k, tmp_path):
    # Wrong: the baselines are weaker than the data allows, and every row looks better.
    corpus = build(ttl10k, tmp_path, ["gender", "click", "like"], max_bad_rows=1)
    kinds = {"gender": "binary", "click": "top_n", "like": "top_n"}
    found = score(baselines, corpus, tmp_path, max_length=100, **kinds)
    assert value_of(found["gender"], "auc") == pytest.approx(0.90, abs=0.015)
    # Per pair; a user has 1.9 click targets, so 0.06 of the users have one among the ten.
    assert value_of(found["click"], "hr@10") == pytest.approx(0.035, abs=0.01)
    assert value_of(found["like"], "hr@10") == pytest.approx(0.06, abs=0.025)


def test_a_binary_task_has_two_classes(baselines, corpus, tmp_path):
    # Wrong: three classes under `kind: binary` end in an error about shapes.
    with pytest.raises(SystemExit, match=r"binary task needs 2 classes, the data has 3\. Write"):
        score(baselines, corpus, tmp_path, age="binary")
