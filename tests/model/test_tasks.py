from collections import Counter

import pytest
import torch
from torch.testing import assert_close


def target_examples():
    """Three rows: user 0 wants {1, 3}, user 1 wants {0}, user 2 wants {1, 2, 4}; 6 candidates."""
    from userbench.data.store import TargetExamples

    rows = torch.tensor([0, 0, 1, 2, 2, 2])
    targets = torch.tensor([3, 1, 0, 4, 1, 2])
    return TargetExamples(rows, targets, rows, 6, targets, torch.tensor([0, 2, 3, 6]))


def top_n(examples, **changes):
    """A recommendation task of user vectors of width 8, fitted to all its examples."""
    from userbench.model.tasks import Task, build_head

    task = Task("click", "top_n", 1e-3, 32, 1, **changes)
    return build_head(task, examples, torch.zeros(6, dtype=torch.uint8), 8, 8, seed=0)


def test_negatives_are_uniform_among_the_unknown():
    """A negative that is a positive of the user would teach the model the opposite."""
    from userbench.model.tasks import padded_targets, unknown_candidates

    torch.manual_seed(0)
    known, stages = padded_targets(target_examples(), torch.tensor([0, 1, 2, 0, 1, 2]).byte())
    assert known.tolist() == [[1, 3, 6], [0, 6, 6], [1, 2, 4]]
    assert stages.tolist() == [[1, 0, 0], [2, 0, 0], [1, 2, 0]]
    uniform = torch.rand(3 * 4000, dtype=torch.float64)
    drawn = unknown_candidates(known.repeat_interleave(4000, dim=0), 6, uniform).view(3, 4000)
    for row, allowed in zip(
        drawn.tolist(), ({0, 2, 4, 5}, {1, 2, 3, 4, 5}, {0, 3, 5}), strict=True
    ):
        counts = Counter(row)
        assert set(counts) == allowed
        share = 1 / len(allowed)
        spread = (4000 * share * (1 - share)) ** 0.5
        assert all(abs(count - 4000 * share) < 5 * spread for count in counts.values())


def test_top_n_loss_is_bpr_of_the_head():
    """The shortcut that scores two candidates must equal the full head's difference."""
    from userbench.model import tasks

    torch.manual_seed(0)
    task = top_n(target_examples())
    torch.nn.init.normal_(task.head.score.bias)
    users, picked = torch.randn(4, 8), torch.tensor([0, 2, 3, 5])
    torch.manual_seed(1)
    loss = task.loss(users, picked)
    torch.manual_seed(1)
    uniform = torch.rand(4, dtype=torch.float64)
    negative = tasks.unknown_candidates(task.ranking.known_to(picked), 6, uniform)
    scores = task.head(users)
    rows = torch.arange(4)
    margin = scores[rows, task.examples.targets[picked]] - scores[rows, negative]
    assert_close(loss, -margin.sigmoid().log().mean())


def test_label_task_scores():
    from userbench.data.store import LabelledExamples
    from userbench.model.heads import TwoLayerHead
    from userbench.model.metrics import accuracy, auc
    from userbench.model.tasks import LabelTask

    torch.manual_seed(0)
    labels = torch.randint(2, (50,))
    examples = LabelledExamples(torch.arange(50), labels, 2)
    users, picked = torch.randn(30, 8), torch.randperm(50)[:30]
    binary = LabelTask(examples, TwoLayerHead(8, 8, 2), "binary")
    logits = binary.head(users)
    expected = auc(logits.softmax(-1)[:, 1].double(), labels[picked] == 1)
    assert_close(binary.evaluate(users, picked)["auc"], expected)
    classes = LabelTask(examples, TwoLayerHead(8, 8, 2), "classification")
    expected = accuracy(classes.head(users), labels[picked])
    assert_close(classes.evaluate(users, picked)["accuracy"], expected)


def test_errors_are_refused():
    from userbench.data.store import LabelledExamples
    from userbench.model.heads import TwoLayerHead
    from userbench.model.tasks import LabelTask, Task

    with pytest.raises(ValueError, match="top_m"):
        Task("click", "top_m", 1e-3, 128, 5)
    three = LabelledExamples(torch.arange(3), torch.arange(3), 3)
    with pytest.raises(ValueError, match="2 classes"):
        LabelTask(three, TwoLayerHead(8, 8, 3), "binary")


@pytest.mark.parametrize(("name", "kind"), [("age", "classification"), ("click", "top_n")])
def test_heads_may_start_at_training_frequencies(tiny, name, kind):
    """Counted on the training split alone: anything else would leak labels of the test split."""
    from userbench.data.splits import TEST, TRAIN, VALIDATION, load_split, stages_of
    from userbench.model.tasks import Task, build_head, load_examples

    split = load_split(tiny / "splits", name)
    train, test = ((split == part).nonzero().squeeze(1) for part in (TRAIN, TEST))
    plain = Task(name, kind, 1e-3, 32, 1)
    examples = load_examples(plain, tiny / "store", torch.device("cpu"))

    def bias(start, picked):
        task = Task(name, kind, 1e-3, 32, 1, bias_start=start)
        stages = stages_of(split, picked, (split == VALIDATION).nonzero().squeeze(1))
        return build_head(task, examples, stages, 8, 8, seed=0).head.score.bias.detach()

    assert_close(bias("zero", train), torch.zeros_like(bias("zero", train)))
    outputs = examples.labels if kind == "classification" else examples.targets
    counts = Counter(outputs[train].tolist())
    slow = torch.tensor([counts[c] + 1.0 for c in range(len(bias("zero", train)))])
    assert_close(bias("frequency", train), (slow / slow.sum()).log())
    assert not torch.equal(bias("frequency", train), bias("frequency", test))


STAGES = (0, 2, 2, 0, 1, 0)  # of the six examples: (row, target) 0/3, 0/1, 1/0, 2/4, 2/1, 2/2


def known_by_the_book(protocol: str, example: int) -> set[int]:
    """Targets of the same row whose split is known where this example is asked for."""
    examples = target_examples()
    rows, targets = examples.rows.tolist(), examples.targets.tolist()
    last = {"all": 2, "train": 0, "by_stage": STAGES[example]}[protocol]
    return {
        targets[other]
        for other in range(6)
        if rows[other] == rows[example] and STAGES[other] <= last
    }


@pytest.mark.parametrize("protocol", ["by_stage", "all", "train"])
def test_what_is_known_at_each_stage(protocol):
    """Wrong: training or the choice of the epoch knows test positives; the ranking forgets some."""
    from userbench.model.metrics import metrics_of
    from userbench.model.tasks import Task, build_head, unknown_candidates

    torch.manual_seed(0)
    examples, n_users = target_examples(), 400
    task = Task("click", "top_n", 1e-3, 32, 1, known_targets=protocol)
    built = build_head(task, examples, torch.tensor(STAGES).byte(), 8, 8, seed=0)
    torch.nn.init.normal_(built.head.score.bias)
    users, picked = torch.randn(6, 8), torch.arange(6)
    scores = built.head(users)
    found = built.predict(users, picked)
    for example in range(6):
        known = known_by_the_book(protocol, example)
        drawn = built.ranking.known_to(picked[example].expand(n_users))
        uniform = torch.rand(n_users, dtype=torch.float64)
        assert set(unknown_candidates(drawn, 6, uniform).tolist()) == set(range(6)) - known
        target = int(examples.targets[example])
        rivals = [c for c in range(6) if c == target or c not in known]
        slow = sum(bool(scores[example, c] >= scores[example, target]) for c in rivals)
        assert found["rank"][example] == slow
    assert built.evaluate(users, picked) == metrics_of(found)


def test_known_by_stage_ranks_the_test_as_all_and_trains_on_less():
    """Wrong: test scores by stage differ from the released protocol's given the same model."""
    from userbench.model.tasks import Task, build_head

    known = {}
    for protocol in ("by_stage", "all"):
        task = Task("click", "top_n", 1e-3, 32, 1, known_targets=protocol)
        built = build_head(task, target_examples(), torch.tensor(STAGES).byte(), 8, 8, seed=0)
        known[protocol] = built.ranking.known_to(torch.arange(6)).tolist()
    assert known["all"] == [[1, 3, 6]] * 2 + [[0, 6, 6]] + [[1, 2, 4]] * 3
    assert known["by_stage"] == [[6, 3, 6], [1, 3, 6], [0, 6, 6], [6, 2, 4], [1, 2, 4], [6, 2, 4]]


def test_unused_labels_are_known_in_the_test_alone():
    """Wrong: the test ranks unlike with few labels, or what is before it knows unused ones."""
    from userbench.data.splits import stages_of

    parts, all_validation = torch.tensor([0, 2, 0, 1, 0, 2, 1]).byte(), torch.tensor([3, 6])
    few = stages_of(parts, torch.tensor([2]), torch.tensor([6]))
    assert few.tolist() == [2, 2, 0, 2, 2, 2, 1]
    assert torch.equal(stages_of(parts, torch.tensor([0, 2, 4]), all_validation), parts)


def test_few_labels_rank_the_test_as_all_do_and_know_less_before():
    """Wrong: scores of two shares are ranked among other rivals, or validation knows the unused."""
    from userbench.data.splits import stages_of
    from userbench.model.tasks import Task, build_head

    parts, known = torch.tensor([0, 2, 1, 0, 1, 2]).byte(), {}  # rows 0 0 1 2 2 2
    labelled = {"all": ([0, 3], [2, 4]), "few": ([0], [4])}
    for share, (train, validation) in labelled.items():
        stages = stages_of(parts, torch.tensor(train), torch.tensor(validation))
        built = build_head(
            Task("click", "top_n", 1e-3, 32, 1), target_examples(), stages, 8, 8, seed=0
        )
        targets = built.ranking.known_to(torch.arange(6))
        known[share] = [set(row.tolist()) - {6} for row in targets]
    assert [known["few"][example] for example in (1, 5)] == [{1, 3}, {1, 2, 4}]
    assert [known["all"][example] for example in (1, 5)] == [{1, 3}, {1, 2, 4}]
    assert known["all"][4] == {1, 4} and known["few"][4] == {1}


def test_mean_over_users_counts_every_user_once():
    """A user with many targets must not count more than one with a single target."""
    torch.manual_seed(0)
    examples = target_examples()
    users, picked = torch.randn(6, 8), torch.arange(6)
    found = top_n(examples, average="users")
    torch.nn.init.normal_(found.head.score.weight)
    per_pair = []
    for i in range(6):
        per_pair.append(found.evaluate(users[i : i + 1], picked[i : i + 1])["ndcg@5"].item())
    by_user = [sum(per_pair[:2]) / 2, per_pair[2], sum(per_pair[3:]) / 3]
    assert found.evaluate(users, picked)["ndcg@5"].item() == pytest.approx(sum(by_user) / 3)


def test_head_of_a_wider_user_vector():
    """Several interests side by side meet a wider first layer; candidates keep their size."""
    from userbench.model.tasks import Task, build_head

    stages, task = torch.zeros(6, dtype=torch.uint8), Task("c", "top_n", 1e-3, 32, 1)
    built = build_head(task, target_examples(), stages, 24, 8, seed=0)
    assert built.head.widen.weight.shape == (8, 24)
    assert built.head.score.weight.shape == (6, 8)


SEEN = [[0, 4], [], [5]]  # of the rows of `target_examples`


def seen_examples():
    """`target_examples` with what each row has seen, which is no target of it."""
    seen = torch.tensor([c for own in SEEN for c in own], dtype=torch.int32)
    return target_examples()._replace(seen=seen, seen_offsets=torch.tensor([0, 2, 2, 3]))


@pytest.mark.parametrize("protocol", ["by_stage", "all", "train"])
@pytest.mark.parametrize("ties", ["pessimistic", "stable"])
def test_what_was_seen_is_no_rival_at_any_stage(protocol, ties):
    """Wrong: seen items are ranked beside the target, or drawn as negatives, at some stage."""
    from userbench.model.tasks import Task, build_head, unknown_candidates

    torch.manual_seed(0)
    task = Task("next", "top_n", 1e-3, 32, 1, known_targets=protocol, ties=ties)
    built = build_head(task, seen_examples(), torch.tensor(STAGES).byte(), 8, 8, seed=0)
    scores = torch.randint(3, (6, 6)).float()  # many ties
    found = built.ranking.predict(torch.arange(6), lambda some: scores[some])["rank"].tolist()
    for example in range(6):
        own, target = scores[example].tolist(), int(seen_examples().targets[example])
        row = int(seen_examples().rows[example])
        rivals = set(range(6)) - known_by_the_book(protocol, example) - set(SEEN[row]) - {target}
        above = [c for c in rivals if own[c] > own[target]]
        level = [c for c in rivals if own[c] == own[target]]
        before = level if ties == "pessimistic" else [c for c in level if c < target]
        assert found[example] == 1 + len(above) + len(before)
        known = built.ranking.known_to(torch.full((300,), example))
        drawn = unknown_candidates(known, 6, torch.rand(300, dtype=torch.float64))
        free = set(range(6)) - known_by_the_book(protocol, example) - set(SEEN[row])
        assert set(drawn.tolist()) == free


def test_nothing_seen_is_no_exclusion():
    """Wrong: a task whose users have seen nothing but their targets fails, or ranks otherwise."""
    from userbench.model.tasks import Ranking

    stages = torch.tensor(STAGES).byte()
    nothing = {"seen": torch.empty(0, dtype=torch.int32), "seen_offsets": torch.tensor([0] * 4)}
    plain, empty = target_examples(), target_examples()._replace(**nothing)
    rankings = [Ranking(one, stages, "by_stage", "stable", "pairs") for one in (plain, empty)]
    scores = torch.rand(6, 6)
    ranks = [r.predict(torch.arange(6), lambda some: scores[some])["rank"] for r in rankings]
    assert torch.equal(*ranks)


def test_few_users_are_ranked_at_once_where_candidates_are_many(monkeypatch):
    """Wrong: a catalogue of a million items needs more memory than there is."""
    from userbench.model import tasks

    built, shapes = top_n(target_examples()), []
    whole = built.predict(torch.ones(6, 8), torch.arange(6))["rank"]
    forward = built.head.forward
    monkeypatch.setattr(built.head, "forward", lambda u: shapes.append(len(u)) or forward(u))
    for bound, expected in ((1, [1] * 6), (12, [2] * 3), (25, [4, 2])):
        monkeypatch.setattr(tasks, "SCORES_AT_ONCE", bound)
        assert torch.equal(built.predict(torch.ones(6, 8), torch.arange(6))["rank"], whole)
        assert shapes == expected
        shapes.clear()
