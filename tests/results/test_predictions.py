"""Saved predictions: the reported score follows from them, and they name their run."""

import json
import shutil

import numpy as np
import pytest
from small_runs import data_flags, finetune

KINDS = {"age": "classification", "click": "top_n", "gender": "binary"}


def metric_again(path, metric):
    """The metric from a file of predictions, by the functions of the report."""
    from userbench.report.statistics.resampling import weighted_metric
    from userbench.results.predictions import read_predictions

    rows = read_predictions(path).rows
    return weighted_metric(rows, metric, np.ones((1, len(rows))))[0]


@pytest.mark.parametrize("average", ["pairs", "users"])
def test_metrics_from_predictions_are_those_of_the_score_file(tiny, tmp_path, average):
    # Wrong: predictions of another epoch, split or order than what was scored.
    finetune(tiny, tmp_path, average=average)
    for task, metrics in {
        "age": ["accuracy"],
        "gender": ["auc"],
        "click": [f"{name}@{k}" for name in ("hr", "mrr", "ndcg") for k in (5, 10, 20)],
    }.items():
        scores = json.loads((tmp_path / f"{task}.json").read_text())["scores"]
        values = {s["metric"]: s["value"] for s in scores if s["split"] == "test"}
        assert values.keys() == set(metrics)
        for metric in metrics:
            again = metric_again(tmp_path / f"{task}.predictions.parquet", metric)
            assert again == pytest.approx(values[metric], abs=1e-12)


def test_predictions_name_every_test_example_and_its_user(tiny, tmp_path):
    # Wrong: a bootstrap over users would draw the examples of one user apart.
    from userbench.data.splits import TEST, load_split
    from userbench.data.store import load_labels, load_targets
    from userbench.results.predictions import read_predictions

    finetune(tiny, tmp_path)
    columns = {
        "age": {"label": "int16", "predicted": "int16", "correct": "bool"},
        "click": {"rank": "int32"},
        "gender": {"label": "int16", "score": "float32"},
    }
    for task, kind in KINDS.items():
        found = read_predictions(tmp_path / f"{task}.predictions.parquet")
        load = load_targets if kind == "top_n" else load_labels
        examples = load(tiny / "store", task, "cpu")
        picked = (load_split(tiny / "splits", task) == TEST).nonzero().squeeze(1)
        assert found[:-1] == ("test", task, "store", 0, kind)
        assert found.rows["example"].tolist() == picked.tolist()
        assert found.rows["user"].tolist() == examples.users[picked].tolist()
        kinds = found.rows.dtypes.astype(str).to_dict()
        assert kinds == {"example": "int32", "user": "int32", **columns[task]}
        if kind != "top_n":
            assert found.rows["label"].tolist() == examples.labels[picked].tolist()


def test_same_seed_same_bytes_and_provenance(tiny, tmp_path):
    # Wrong: a date or an order of chance in the file, and every later step runs again.
    for attempt in ("first", "second"):
        finetune(tiny, tmp_path / attempt)
    for task in KINDS:
        first, second = (
            tmp_path / attempt / f"{task}.predictions.parquet" for attempt in ("first", "second")
        )
        assert first.read_bytes() == second.read_bytes()
        record = json.loads((first.parent / f"{first.name}.provenance.json").read_text())
        assert record["config"]["task"]["name"] == task


def test_without_a_test_there_are_no_predictions(tiny, tmp_path):
    # Wrong: tuning would see the test split after all.
    finetune(tiny, tmp_path, "--no-test")
    assert not list(tmp_path.glob("*.parquet*"))


def test_baselines_have_predictions_too(tiny, tmp_path):
    # Wrong: the noise of the test users cannot be computed for the rows that are hardest to beat.
    from userbench import baselines
    from userbench.results.scores import gather_scores

    metrics = {"classification": "accuracy", "top_n": "ndcg@10", "binary": "auc"}
    tasks = []
    for task, kind in KINDS.items():
        out = str(tmp_path / f"{task}.json")
        options = {"name": task, "kind": kind, "metric": metrics[kind], "out": out}
        tasks += ["--task", json.dumps(options)]
    baselines.main([*data_flags(tiny)[:4], "--max-length", "20", "--seed", "0", *tasks])
    scores = gather_scores([tmp_path / f"{task}.json" for task in KINDS])
    scores = scores[scores["split"] == "test"].set_index(["task", "metric"])["value"]
    for task, kind in KINDS.items():
        again = metric_again(tmp_path / f"{task}.predictions.parquet", metrics[kind])
        assert again == pytest.approx(scores[task, metrics[kind]], abs=1e-12)


def test_predictions_name_users_by_their_own_ids(tiny, tmp_path):
    # Wrong: her users are known by numbers of ours alone, or get the ids of others.
    import pyarrow as pa
    import pyarrow.parquet as pq

    from userbench.data.arrays import read_checksums, write_arrays
    from userbench.results.predictions import read_predictions

    shutil.copytree(tiny, tmp_path / "own")
    store = tmp_path / "own/store"
    ids = [f"u{7 * user % 211:03}" for user in range(read_checksums(store / "behaviours")["users"])]
    write_arrays(store / "ids", {}, {}, {"counts": {}})
    pq.write_table(pa.table({"id": ids}), store / "ids/users.parquet")
    finetune(tmp_path / "own", tmp_path / "with")
    finetune(tiny, tmp_path / "without")
    for task in KINDS:
        name = f"{task}.predictions.parquet"
        named, plain = (pq.read_table(tmp_path / f"{w}/{name}") for w in ("with", "without"))
        assert named["user_id"].to_pylist() == [ids[user] for user in named["user"].to_pylist()]
        assert named.drop_columns("user_id").equals(plain)
        assert list(read_predictions(tmp_path / "with" / name).rows) == plain.column_names
        record = json.loads((tmp_path / f"with/{name}.provenance.json").read_text())
        assert any(path.endswith("store/ids") for path in record["inputs"])


def test_other_files_are_refused_in_one_line(tmp_path):
    import pandas as pd

    from userbench.results.predictions import read_predictions

    (tmp_path / "text.parquet").write_text("no parquet")
    pd.DataFrame({"rank": [1]}).to_parquet(tmp_path / "other.parquet")
    for name, reason in (("text", "cannot be read"), ("other", "is not a file of predictions")):
        with pytest.raises(ValueError, match=rf"{name}.parquet: {reason}.*Fine-tune") as error:
            read_predictions(tmp_path / f"{name}.parquet")
        assert "\n" not in str(error.value)
