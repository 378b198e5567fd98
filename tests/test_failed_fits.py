"""A fine-tuning whose numbers are none is never good: from the loop to the tables and the page."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from experiment_tree import make_page
from experiments import experiment_flag, write_experiment
from score_files import LAYOUT, MARKUPS, read_csv, score_file
from small_runs import data_flags, finetune, pretrain

KINDS = {"age": "classification", "click": "top_n", "gender": "binary"}
NAN, INFINITE = float("nan"), float("inf")


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE])
def test_metrics_refuse_what_is_no_number(bad):
    """Wrong: NaN is above nothing, so all targets rank first and class 0 is found everywhere."""
    from userbench.errors import NotANumber
    from userbench.model.metrics import accuracy, auc, ranks

    scores = torch.tensor([[0.1, 0.2, 0.3], [0.4, bad, 0.6]])
    targets = torch.tensor([0, 1])
    with pytest.raises(NotANumber, match="a score is not a number"):
        accuracy(scores, targets)
    with pytest.raises(NotANumber, match="a score is not a number"):
        auc(scores[1], torch.tensor([True, False, False]))
    for ties in ("pessimistic", "stable"):
        with pytest.raises(NotANumber, match="a score is not a number"):
            ranks(scores, targets, targets[:, None], ties)


def test_metrics_take_large_numbers():
    """Wrong: scores whose sum alone is too large for a float are refused."""
    from userbench.model.metrics import ranks

    scores, targets = torch.tensor([[3e38, 2e38, 1e38]]), torch.tensor([1])
    assert ranks(scores, targets, targets[:, None]).tolist() == [2]


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_label_tasks_predict_no_class_of_nan(kind):
    """Wrong: the highest of logits that are NaN is the first class."""
    from userbench.data.store import LabelledExamples
    from userbench.errors import NotANumber
    from userbench.model.heads import TwoLayerHead
    from userbench.model.tasks import LabelTask

    examples = LabelledExamples(torch.arange(3), torch.tensor([0, 1, 0]), 2)
    task = LabelTask(examples, TwoLayerHead(4, 4, 2), kind)
    users = torch.randn(3, 4)
    users[1] = NAN
    with pytest.raises(NotANumber, match="a score is not a number"):
        task.predict(users, torch.arange(3))


def test_predictions_that_are_no_numbers_are_not_written(tmp_path):
    """Wrong: NaN reaches the bootstrap, whose sorts put it anywhere."""
    from userbench.errors import NotANumber
    from userbench.results.predictions import write_predictions

    about = {"run": "test", "task": "gender", "corpus": "ttl", "seed": 0, "kind": "binary"}
    columns = {"example": [0, 1], "user": [0, 1], "label": [0, 1], "score": [0.5, NAN]}
    with pytest.raises(NotANumber, match="gender.parquet: a score is not a number"):
        write_predictions(tmp_path / "gender.parquet", columns, about)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the loop


@pytest.fixture(scope="module")
def mlm(tiny, tmp_path_factory):
    """A folder of two checkpoints of masked item prediction."""
    return pretrain(tiny, tmp_path_factory.mktemp("mlm"))


def failed_files(folder: Path, reason: str) -> None:
    """Check what a fine-tuning leaves that has failed in all its tasks."""
    from userbench.results.predictions import read_predictions
    from userbench.results.scores import gather_scores

    columns = {"age": ["label", "predicted", "correct"], "click": ["rank"]}
    columns["gender"] = ["label", "score"]
    for task, kind in KINDS.items():
        content = json.loads((folder / f"{task}.json").read_text())
        assert (content["best"], content["scores"]) == (None, [])
        assert (
            f"task {task}, run test, seed 0, " in content["failed"] and reason in content["failed"]
        )
        found = read_predictions(folder / f"{task}.predictions.parquet")
        assert found[:-1] == ("test", task, "store", 0, kind)
        assert list(found.rows) == ["example", "user", *columns[task]] and not len(found.rows)
    scores = gather_scores([folder / f"{task}.json" for task in KINDS])
    assert scores["metric"].tolist() == ["accuracy", "ndcg@10", "auc"]
    assert scores["value"].isna().all() and (scores["examples"] > 0).all()
    assert set(scores["split"]) == {"test"}
    assert not scores[["pretrain_epoch", "epoch"]].any(axis=None)


def test_a_fit_that_diverges_has_failed(tiny, tmp_path, caplog):
    """Wrong: the job ends, and with it the tasks that were well; or NaN gets a score."""
    finetune(tiny, tmp_path, lr=1e30)
    failed_files(tmp_path, "from random weights, start 1: the loss is nan at step")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 3 and all("\n" not in line and "run test" in line for line in warned)


def test_scores_that_are_no_numbers_fail_a_fit(tiny, tmp_path, monkeypatch):
    """Wrong: with finite losses and weights, NaN on validation is the best epoch of all."""
    from userbench.model.heads import Head

    original = Head.forward
    monkeypatch.setattr(
        Head,
        "forward",
        lambda self, users: original(self, users) * (1 if self.training else torch.nan),
    )
    finetune(tiny, tmp_path)
    failed_files(tmp_path, "from random weights, start 1: a score is not a number")


def test_test_scores_that_are_no_numbers_fail_a_fit(tiny, tmp_path, monkeypatch):
    """Wrong: the job ends where validation was well and the test is not."""
    from userbench import finetune as loop

    original = loop.predict

    def predict(model, *given):
        model["head"].head.score.bias.data.fill_(torch.nan)
        return original(model, *given)

    monkeypatch.setattr(loop, "predict", predict)
    finetune(tiny, tmp_path)
    failed_files(tmp_path, "on test: a score is not a number")


def test_without_a_test_a_failed_fit_predicts_nothing(tiny, tmp_path):
    """Wrong: tuning, which reads validation scores, stops at a trial that diverges."""
    finetune(tiny, tmp_path, "--no-test", lr=1e30)
    assert not list(tmp_path.glob("*.parquet*"))
    assert "failed" in json.loads((tmp_path / "age.json").read_text())


@pytest.mark.parametrize("bad", [0, 1])
def test_a_candidate_that_fails_is_out(tiny, mlm, tmp_path, monkeypatch, bad):
    """Wrong: one bad checkpoint costs the score, or is chosen by scores that are no numbers."""
    from userbench import finetune as loop
    from userbench.errors import NotANumber

    both = [mlm / "epoch1.safetensors", mlm / "epoch2.safetensors"]
    finetune(tiny, tmp_path / "one", "--init", str(both[1 - bad]))
    original = loop.finite

    def finite(loss, weights, where, lr, good):
        if good == both[bad]:
            raise NotANumber("the loss is nan")
        return original(loss, weights, where, lr, good)

    monkeypatch.setattr(loop, "finite", finite)
    finetune(tiny, tmp_path / "both", "--init", *map(str, both))
    for task in KINDS:
        for name in (f"{task}.json", f"{task}.predictions.parquet"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "both" / name).read_bytes()


def test_a_start_that_fails_is_out(tiny, tmp_path, monkeypatch):
    """Wrong: one bad start costs the score of a row without pre-training, or is chosen."""
    from userbench import finetune as loop
    from userbench.errors import NotANumber

    original, begun = loop.train, []

    def train(model, task, *given):
        begun.append(task.name)
        if begun.count(task.name) == 1:
            raise NotANumber("the loss is nan")
        original(model, task, *given)

    monkeypatch.setattr(loop, "train", train)
    finetune(tiny, tmp_path, "--starts", "2")
    for task in KINDS:
        content = json.loads((tmp_path / f"{task}.json").read_text())
        assert {point["start"] for point in content["scores"]} == {content["best"]["start"]} == {2}
        assert "failed" not in content


def test_pretraining_that_diverges_still_ends_its_job(tiny, tmp_path):
    """Wrong: a checkpoint of NaN, or none, and the workflow goes on."""
    with pytest.raises(SystemExit, match="error: the loss is nan"):
        pretrain(tiny, tmp_path / "out", "--set", '{"lr": 1e30}')


# ---------------------------------------------------------------- tables


def failed_file(run: str, task: str, seed: int, metric: str) -> dict:
    failed = {"best": None, "scores": [], "failed": "the loss is nan"}
    return score_file(run, task, seed, metric, 0.5, **failed)


CONTENT = [
    score_file(run, task, seed, metric, value + seed / 100)
    for task, metric in (("age", "accuracy"), ("click", "ndcg@10"))
    for run, value in (("none", 0.2), ("mlm", 0.3), ("adaptssr", 0.4))
    for seed in (0, 1, 2)
    if (run, task, seed) != ("adaptssr", "click", 1)
] + [failed_file("adaptssr", "click", 1, "ndcg@10")]


def write(folder: Path, contents: list[dict]) -> Path:
    """scores.csv, gathered by the command from score files in the folders of a workflow."""
    from userbench.results import scores

    paths = []
    for content in contents:
        path = folder / f"finetune/{content['run']}/{content['task']}/seed{content['seed']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        paths.append(str(path))
    scores.main(["--scores", *paths, "--out", str(folder / "scores.csv")])
    return folder / "scores.csv"


def table2(folder: Path, scores: Path) -> dict[str, str]:
    from userbench.report.tables import table2

    flags = [word for kind in MARKUPS for word in (f"--{kind}", str(folder / f"t.{kind}"))]
    asked = experiment_flag(folder, table2=LAYOUT)
    table2.main(["--scores", str(scores), *asked, *flags])
    return {kind: (folder / f"t.{kind}").read_text(encoding="utf-8") for kind in MARKUPS}


def test_a_cell_of_which_a_seed_failed_is_empty_and_says_so(tmp_path):
    """Wrong: the mean of the seeds that did not fail, which is too good, or no word on the rest."""
    from userbench.results.scores import read_scores

    scores = write(tmp_path, CONTENT)
    assert read_scores(scores)["value"].isna().sum() == 1
    texts = table2(tmp_path, scores)
    table = read_csv(tmp_path / "t.csv")
    empty = [f"click.{name}" for name in ("mean", "std", "improvement")]
    assert table.loc["adaptssr", empty].isna().all()
    assert table.loc[["none", "mlm"], "click.mean"].tolist() == [21.0, 31.0]
    assert table.loc["adaptssr", "age.mean"] == 41.0
    assert table.loc[["none", "mlm", "adaptssr"], "click.seeds"].tolist() == [3, 3, 3]
    assert "| AdaptSSR | 41.00±1.00 | 95.24 | – | – | – | – |" in texts["md"]
    assert "| PeterRec | 31.00±1.00 | 47.62 | 31.00±1.00 | 47.62 |" in texts["md"]
    note = "AdaptSSR on T3 Click has no score: seed 1 failed (finetune/adaptssr/click/seed1.json"
    assert f"- {note} says why)." in texts["md"]
    assert "Seeds: 3." in texts["md"] and "Missing" not in texts["md"]


def test_a_baseline_that_failed_has_no_improvements_over_it(tmp_path):
    """Wrong: the table cannot be made, or improvements are over the seeds that are left."""
    failed = [failed_file("none", "age", seed, "accuracy") for seed in (0, 1, 2)]
    kept = [content for content in CONTENT if (content["run"], content["task"]) != ("none", "age")]
    texts = table2(tmp_path, write(tmp_path, kept + failed))
    table = read_csv(tmp_path / "t.csv")
    assert table["age.improvement"].isna().all() and pd.isna(table.loc["none", "age.mean"])
    assert "None on T1 Age has no score: seeds 0, 1, 2 failed" in texts["md"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"best": {"pretrain_epoch": 1, "epoch": 1}}, "best: .* should be None"),
        ({"scores": CONTENT[0]["scores"]}, "scores: .*should have at most 0 items"),
        ({"failed": ""}, "failed: '' should have at least 1"),
    ],
)
def test_a_failed_file_has_nothing_else(tmp_path, change, reason):
    """Wrong: a file that says both, that its fit failed and how good it is."""
    with pytest.raises(SystemExit, match=reason):
        write(tmp_path, [*CONTENT[:-1], CONTENT[-1] | change])


def test_no_other_value_may_be_empty(tmp_path):
    """Wrong: a value that was lost from scores.csv reads as a fit that failed."""
    from userbench.results.scores import read_scores

    scores = write(tmp_path, CONTENT)
    (tmp_path / "scores.csv.provenance.json").unlink()
    lines = scores.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if ",test,3,1,2," in line)
    lines[place] = lines[place].rpartition(",")[0] + ","
    scores.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=f"line {place + 1} has no value"):
        read_scores(scores)


def test_agreement_leaves_the_cell_out(tmp_path):
    """Wrong: NaN has a rank among the methods."""
    from userbench.report.statistics.agreement import compare
    from userbench.report.tables.table2_layout import read_table2_layout
    from userbench.results.scores import read_scores

    scores = read_scores(write(tmp_path, CONTENT))
    layout = read_table2_layout(write_experiment(tmp_path, table2=LAYOUT))
    found = compare(scores, layout).groupby("task")["run"].apply(list)
    assert found["age"] == ["none", "mlm", "adaptssr"] and found["click"] == ["none", "mlm"]


def test_a_trial_of_which_a_fit_failed_is_not_chosen(tmp_path):
    """Wrong: a setting that diverges at one seed is judged by the others, and chosen."""
    from trial_files import trial_file

    from userbench.report.tables import tuning

    trials = [
        {"run": f"clue--{n}", "method_row": "clue", "trial": n, "settings": {"lr": n}, "label": "C"}
        for n in (1, 2)
    ]
    tasks = [{"task": "age", "label": "T1", "metric": "accuracy", "corpus": "ttl"}]
    layout = {"trials": trials, "tasks": [tasks[0] | {"simulated": True}]}
    contents = [trial_file(f"clue--{n}", "age", seed, n / 3) for n in (1, 2) for seed in (0, 1)]
    failed = {"best": None, "scores": [], "failed": "the loss is nan"}

    def tuned(contents):
        paths = [tmp_path / f"{number}.json" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        out, md = tmp_path / "tuning.csv", tmp_path / "tuning.md"
        flags = [*experiment_flag(tmp_path, tuning=layout), "--out", str(out), "--md", str(md)]
        tuning.main(["--scores", *map(str, paths), *flags])
        table = pd.read_csv(out)
        return table[table["chosen"] == 1]["trial"].unique().tolist(), table, md.read_text()

    assert tuned(contents)[0] == [2]
    chosen, table, page = tuned([*contents[:3], contents[3] | failed])
    assert chosen == [1] and "33.33 / –" in page
    lost = (table["trial"] == 2) & (table["seed"] == 1)
    assert table["validation"].isna().tolist() == lost.tolist()
    assert table.loc[table["trial"] == 2, "relative"].isna().all()
    chosen, table, page = tuned([content | failed for content in contents])
    assert chosen == [1] and table["relative"].isna().all() and "– / –" in page


def test_the_page_reports_a_failed_fit(tmp_path, monkeypatch):
    """Wrong: the page cannot be made, or the job that failed in vain is not among its jobs."""
    from experiment_tree import write_tree

    from userbench.report.page import command
    from userbench.report.page.stories import read_story
    from userbench.results import artifact, scores

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(artifact, "environment", dict)
    folder = write_tree("toy", "AdaptSSR")
    path = folder / "finetune/adaptssr/click/seed1.json"
    content = json.loads(path.read_text())
    asked = artifact.provenance_of(path)["config"]
    artifact.write_json(path, content | {"best": None, "scores": [], "failed": "the loss is nan"})
    artifact.record(path, asked, task_seconds=1.5)
    files = artifact.provenance_of(folder / "scores.csv")["config"]["scores"]
    scores.main(["--scores", *files, "--out", str(folder / "scores.csv")])
    text = make_page(command, folder)
    assert "AdaptSSR on T3 Click has no score: seed 1 failed" in text
    assert 'data-cell="adaptssr/gender"' in text and 'data-cell="adaptssr/click"' not in text
    story = read_story(path)
    assert story.trained and story.checkpoint is None


def test_an_audit_has_nothing_to_compute_of_it(tiny, tmp_path):
    """Wrong: a fit that failed cannot be traced, or counts as a seed that is missing."""
    from userbench import finetune as loop
    from userbench.report.audit.command import audit

    folder = tmp_path / "toy"
    for run, seed, lr in (("none", 0, 1e30), ("none", 1, 1e-3), ("mlm", 0, 1e-3), ("mlm", 1, 1e-3)):
        task = {"name": "age", "kind": "classification", "lr": lr, "batch_size": 64, "epochs": 1}
        options = json.dumps({**task, "out": str(folder / f"finetune/{run}/age/seed{seed}.json")})
        loop.main([*data_flags(tiny), "--run", run, "--seed", str(seed), "--task", options])
    (found,) = audit(folder)
    assert not [finding for finding in found.findings if not finding.is_note]
    assert not [finding for finding in found.findings if "no seed" in finding.what]
    assert found.looked_at["test scores"] == 3
