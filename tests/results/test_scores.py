"""Score files, good and bad, and the table they are gathered in."""

import json
from typing import Any

import pytest
from score_files import CONTENT, score_file, starts_file, write_score_files


@pytest.fixture
def scores():
    from userbench.results import scores

    return scores


def test_every_value_is_one_sorted_row(scores, tmp_path):
    # Wrong: values lost, doubled or rounded; an order that depends on the order of the files.
    value = 0.1234567890123456
    contents = [*CONTENT, score_file("zzz", "age", 10, "accuracy", value)]
    paths, texts = write_score_files(tmp_path, contents), []
    for order in (paths, paths[::-1]):
        scores.main(["--scores", *order, "--out", str(tmp_path / "scores.csv")])
        texts.append((tmp_path / "scores.csv").read_text())
    assert texts[0] == texts[1]
    table = scores.read_scores(tmp_path / "scores.csv")
    assert len(table) == sum(len(content["scores"]) for content in contents)
    assert table["value"].iloc[-3] == value
    row = table[(table["run"] == "adaptssr") & (table["task"] == "age")].iloc[0]
    assert row.to_dict() == {
        **{"corpus": "ttl", "run": "adaptssr", "task": "age", "seed": 0, "metric": "accuracy"},
        **{"split": "test", "pretrain_epoch": 3, "start": 1, "epoch": 2, "examples": 2001},
        **{"width": 64, "value": 0.6},
    }
    baselines = table["run"].isin(["bag-of-items", "popularity"])
    assert table.loc[baselines, "width"].isna().all()
    assert (table.loc[~baselines, "width"] == 64).all()
    assert (tmp_path / "scores.csv.provenance.json").exists()


def bad(**changes: Any) -> str:
    return json.dumps(score_file("none", "age", 0, "accuracy", 0.5, **changes))


GOOD_SCORES = score_file("none", "age", 0, "accuracy", 0.5)["scores"]
BAD_FILES = {
    "not valid JSON": bad()[:-9],
    "NaN is not JSON": bad().replace("0.99", "NaN"),
    "Infinity is not JSON": bad().replace("0.99", "-Infinity"),
    "top level: 'seed' is missing": bad().replace('"seed"', '"sead"'),
    "scores.1.value: 1.5 should be less than or equal to 1": bad().replace("0.99", "1.5"),
    "scores.1.value: -0.5 should be greater than or equal to 0": bad().replace("0.99", "-0.5"),
    "scores.1.value: '0.99' should be a valid number": bad().replace("0.99", '"0.99"'),
    "metric: 'f1' should match pattern": bad(metric="f1"),
    "exactly the best epoch": bad(best={"pretrain_epoch": 3, "epoch": 1}),
    "exactly the best epoch, pretrain_epoch 3, epoch 2, must": bad(scores=GOOD_SCORES[:2]),
    "no test score of its own metric": bad(metric="auc"),
    "top level: 'width' is missing": bad().replace('"width"', '"wide"'),
    "width: 0 should be greater than or equal to 1": bad(width=0),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_score_file_stops_with_its_name_and_reason(scores, tmp_path, reason):
    # Wrong: a damaged or foreign file silently changes a mean.
    path = tmp_path / "bad.json"
    path.write_text(BAD_FILES[reason])
    with pytest.raises(SystemExit) as stop:
        scores.main(["--scores", str(path), "--out", str(tmp_path / "scores.csv")])
    message = str(stop.value.code)
    assert message.startswith(f"error: {path}: ")
    assert reason in message
    assert "\n" not in message
    assert not (tmp_path / "scores.csv").exists()


def test_bytes_that_are_no_text_are_reported(scores, tmp_path):
    # Wrong: a traceback for a file in a wrong encoding.
    path = tmp_path / "bad.json"
    path.write_bytes(b'{"run": "\xff\xfe"}')
    with pytest.raises(SystemExit, match="bad.json: not valid JSON"):
        scores.main(["--scores", str(path), "--out", str(tmp_path / "scores.csv")])


def test_one_score_given_twice_is_refused(scores, tmp_path):
    # Wrong: the same seed counted twice makes the std too small.
    paths = write_score_files(tmp_path, [CONTENT[0], CONTENT[0]])
    with pytest.raises(SystemExit, match="score1.json: a second value for corpus ttl, run none"):
        scores.main(["--scores", *paths, "--out", str(tmp_path / "scores.csv")])


def test_several_starts_are_rows_of_their_own(scores, tmp_path):
    # Wrong: scores of two starts collide, or the tested one must not be the second.
    paths = write_score_files(tmp_path, [starts_file("none", 0, 3), CONTENT[2]])
    scores.main(["--scores", *paths, "--out", str(tmp_path / "scores.csv")])
    table = scores.read_scores(tmp_path / "scores.csv")
    own = table[table["run"] == "none"]
    validation = own[own["split"] == "validation"]
    assert list(
        zip(validation["start"], validation["epoch"], validation["value"], strict=True)
    ) == [
        (start, epoch, pytest.approx(0.1 * start + 0.01 * epoch))
        for start in (1, 2, 3)
        for epoch in (1, 2)
    ]
    assert own.loc[own["split"] == "test", ["start", "epoch"]].to_numpy().tolist() == [[3, 2]]
    assert set(table.loc[table["run"] == "adaptssr", "start"]) == {1}
    other = starts_file("none", 0, 3)
    other["best"]["start"] = 1
    (tmp_path / "bad.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="exactly the best epoch, pretrain_epoch 0, start 1"):
        scores.gather_scores([tmp_path / "bad.json"])


def test_a_csv_that_is_no_score_table_is_refused(scores, tmp_path):
    # Wrong: a hand-edited table goes through, or ends in a traceback.
    for text in ("a,b\n1,2\n", "", ",".join(scores.SCORE_COLUMNS) + "\n" + "x," * 9):
        (tmp_path / "scores.csv").write_text(text)
        with pytest.raises(ValueError, match=r"scores\.csv: .* Make it again"):
            scores.read_scores(tmp_path / "scores.csv")
