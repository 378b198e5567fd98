import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import write_splits, write_store

from userbench.data import arrays, draw_splits, store
from userbench.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    check_task_splits,
    check_user_split,
    load_split,
    load_user_split,
)

TASKS = ["age", "click"]
N_USERS = 500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A store of 500 users: every second with two age rows, most with several targets."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    heads = [f"0,{user + 1},{user + 7}" for user in range(N_USERS)]
    age = [f"{head},,{rng.integers(1, 9)}" for head in heads + heads[::2]]
    click = [
        f"{head},,{','.join(map(str, rng.choice(np.arange(1, 90), rng.integers(1, 6), False)))}"
        for head in heads
    ]
    for stem, lines in [("pretrain", heads), ("age", age), ("finetune_click_nouserID", click)]:
        (folder / f"original_desen_{stem}.csv").write_text("\n".join(lines) + "\n")
    write_store(folder, "ttl", {"age": "age", "click": "click"}, folder / "store")
    return folder / "store"


@pytest.mark.parametrize("by", ["interaction", "user"])
def test_sizes(corpus, tmp_path, by):
    """If wrong: the parts are not 9:1 and 6:2:2."""
    write_splits(corpus, TASKS, by, 2309, tmp_path / "splits")
    pretrain = np.bincount(load_user_split(tmp_path / "splits").numpy())
    assert pretrain.tolist() == [450, 50]
    for task in TASKS:
        users = arrays.example_users(corpus / "tasks" / task)
        part = load_split(tmp_path / "splits", task).numpy()
        assert len(part) == len(users)
        counted = users if by == "user" else np.arange(len(users))
        n = len(set(counted.tolist()))
        cut, last = int(0.6 * n), int(0.8 * n)
        sizes = [len(set(counted[part == p].tolist())) for p in (TRAIN, VALIDATION, TEST)]
        assert sizes == [cut, last - cut, n - last]
        manifest = arrays.read_manifest(tmp_path / "splits/tasks" / task)
        counts = manifest["counts"]
        assert list(counts.values()) == np.bincount(part).tolist()
        assert (manifest["seed"], manifest["by"]) == (2309, by)


def test_no_pair_is_in_two_parts(corpus, tmp_path):
    """If wrong: a test pair was trained on. A user may be in several parts, as in the paper."""
    write_splits(corpus, TASKS, "interaction", 2309, tmp_path / "splits")
    examples = store.load_targets(corpus, "click", "cpu")
    part = load_split(tmp_path / "splits", "click").tolist()
    users, targets = examples.users.tolist(), examples.targets.tolist()
    parts_of_pair, parts_of_user = {}, {}
    for user, target, p in zip(users, targets, part, strict=True):
        parts_of_pair.setdefault((user, target), []).append(p)
        parts_of_user.setdefault(user, set()).add(p)
    assert all(len(parts) == 1 for parts in parts_of_pair.values())
    assert any(len(parts) > 1 for parts in parts_of_user.values())


def test_user_split_keeps_users_together(corpus, tmp_path):
    """If wrong: with --by user, a test user was seen in training."""
    write_splits(corpus, TASKS, "user", 2309, tmp_path / "splits")
    for task in TASKS:
        parts_of_user = {}
        part = load_split(tmp_path / "splits", task).tolist()
        for user, p in zip(
            arrays.example_users(corpus / "tasks" / task).tolist(), part, strict=True
        ):
            parts_of_user.setdefault(user, set()).add(p)
        assert len(parts_of_user) == N_USERS
        assert all(len(parts) == 1 for parts in parts_of_user.values())


def contents(folder: Path) -> dict[str, bytes]:
    """Arrays of all splits, and what their checksums.json say of them."""
    names = [*folder.rglob("*.npy"), *folder.rglob("checksums.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


def test_same_seed_same_files(corpus, tmp_path):
    """If wrong: a repeated experiment has another test set, or a new task changes old splits."""
    write_splits(corpus, TASKS, "interaction", 2309, tmp_path / "first")
    write_splits(corpus, TASKS, "interaction", 2309, tmp_path / "again")
    write_splits(corpus, ["click"], "interaction", 2309, tmp_path / "fewer")
    write_splits(corpus, TASKS, "interaction", 2310, tmp_path / "other")
    first, other = contents(tmp_path / "first"), contents(tmp_path / "other")
    folders = ["tasks/age", "tasks/click", "users"]
    assert sorted(first) == [f"{f}/{n}" for f in folders for n in ("checksums.json", "parts.npy")]
    assert contents(tmp_path / "again") == first
    assert contents(tmp_path / "fewer").items() <= first.items()
    assert all(first[name] != other[name] for name in first)


def test_names_have_draws_of_their_own():
    """If wrong: two tasks with equally many rows are split alike."""
    draws = [
        draw_splits.draw(1000, draw_splits.TASK_CUTS, draw_splits.generator(0, name))
        for name in ("age", "gender")
    ]
    assert 400 < (draws[0] == draws[1]).sum() < 480  # 0.36 + 0.04 + 0.04 of 1,000 by chance


def test_other_store_and_damage_are_noticed(corpus, tmp_path):
    """If wrong: splits are applied to a store that they were not drawn for."""
    out = tmp_path / "splits"
    write_splits(corpus, TASKS, "interaction", 2309, out)

    def check(store: Path) -> None:
        check_user_split(out, store)
        check_task_splits(out, store, TASKS)

    check(corpus)
    raw = corpus.parent
    write_store(raw, "ttl", {"age": "age", "click": "click"}, tmp_path / "same")
    check(tmp_path / "same")
    # A user more: the same examples, but of other users.
    more = shutil.copytree(raw, tmp_path / "raw", ignore=shutil.ignore_patterns("store"))
    with (more / "original_desen_pretrain.csv").open("a") as file:
        file.write("0,900,900\n")
    write_store(more, "ttl", {"age": "age", "click": "click"}, tmp_path / "other")
    with pytest.raises(ValueError, match="drawn for another store than .*other"):
        check_user_split(out, tmp_path / "other")
    for name in TASKS:
        shutil.copytree(
            corpus / "tasks" / name, tmp_path / "other/tasks" / name, dirs_exist_ok=True
        )
    with pytest.raises(ValueError, match="other/tasks/age: drawn for another store"):
        check_task_splits(out, tmp_path / "other", ["age"])

    np.save(out / "tasks/age/parts.npy", np.zeros(750, np.uint8))
    with pytest.raises(ValueError, match=r"age/parts\.npy: missing or not as written"):
        load_split(out, "age")
    with pytest.raises(ValueError, match=r"like/checksums\.json: does not exist"):
        load_split(out, "like")


def of(what: str, corpus: Path) -> list[str]:
    """Flags that say of what a split is drawn, and how."""
    if what == "users":
        return ["--behaviours", str(corpus / "behaviours"), "--seed", "1"]
    return ["--examples", str(corpus / "tasks/click"), "--by", "user", "--seed", "1"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["users", "--behaviours", "nowhere"], "nowhere/manifest.json: does not exist"),
        (["users", "--seed", "-1"], "seed -1 is negative"),
        (["examples", "--examples", "nowhere"], "nowhere/manifest.json: does not exist"),
        (["examples", "--seed", "-1"], "seed -1 is negative"),
    ],
)
def test_errors_on_the_command_line(corpus, tmp_path, arguments, reason):
    """If wrong: a user's error is a traceback, or leaves something half-written."""
    what, *more = arguments
    with pytest.raises(SystemExit) as end:
        draw_splits.main([what, *of(what, corpus), "--out", str(tmp_path / "new" / what), *more])
    assert end.value.code.startswith("error: ")
    assert reason in end.value.code
    assert list(tmp_path.iterdir()) == []


def test_command(corpus, tmp_path):
    """If wrong: the command writes something else than the function."""
    out = tmp_path / "splits"
    draw_splits.main(["users", *of("users", corpus), "--out", str(out / "users")])
    draw_splits.main(["examples", *of("examples", corpus), "--out", str(out / "tasks/click")])
    write_splits(corpus, ["click"], "user", 1, tmp_path / "direct")
    assert contents(out) == contents(tmp_path / "direct")


SHARES = (0.001, 0.01, 0.1, 0.3, 0.35, 0.9, 0.999, 1.0)
# A class of most, some of a few, one of a single example.
STRATA = torch.tensor([0] * 180 + [1] * 90 + [2] * 45 + [3] * 9 + [4] * 6 + [5])


def labels_in_any_order() -> torch.Tensor:
    order = torch.randperm(len(STRATA), generator=torch.Generator().manual_seed(5))
    return STRATA[order]


def test_labelled_parts_are_nested_and_the_same_for_every_run_of_a_seed():
    """Wrong: a smaller share holds other labels, or what a method draws moves the labels."""
    from userbench.data.splits import labelled_part

    train, strata = torch.arange(1000, 1331), labels_in_any_order()
    for seed in range(5):
        parts = []
        for number, share in enumerate(SHARES):
            torch.manual_seed(number)
            part = labelled_part(train, strata, share, seed, "age", "train")
            torch.manual_seed(number + 100)
            assert torch.equal(part, labelled_part(train, strata, share, seed, "age", "train"))
            assert torch.equal(part, part.sort().values)
            parts.append(set(part.tolist()))
        assert all(small <= large for small, large in zip(parts, parts[1:], strict=False))
        assert parts[0] < parts[2] < parts[3] < parts[5] < parts[-1] == set(train.tolist())
    whole = labelled_part(train, strata, 1.0, 3, "age", "train")
    assert torch.equal(whole, train)  # all of them, in their order: nothing moves


def test_labelled_parts_keep_the_share_of_every_class():
    """Wrong: a plain draw, which by chance leaves out classes and changes the prior."""
    from userbench.data.splits import labelled_part

    train, strata = torch.arange(1000, 1331), labels_in_any_order()
    for seed in range(20):
        for share in SHARES:
            part = labelled_part(train, strata, share, seed, "age", "train")
            counts = strata[part - 1000].bincount(minlength=6).tolist()
            for count, size in zip(counts, STRATA.bincount().tolist(), strict=True):
                assert count >= 1 and abs(count - max(1, share * size)) < 0.5001
    plain = labelled_part(train, torch.zeros_like(strata), 0.1, 0, "click", "train")
    assert len(plain) == 33


def test_labelled_parts_are_drawn_by_the_seed():
    """Wrong: one lucky or unlucky draw is behind all seeds, and no interval shows it."""
    from userbench.data.splits import labelled_part

    train, strata, share = torch.arange(331), labels_in_any_order(), 0.3
    drawn = torch.zeros(331)
    parts = []
    for seed in range(400):
        part = labelled_part(train, strata, share, seed, "age", "train")
        drawn[part] += 1 / 400
        parts.append(tuple(part.tolist()))
    assert len(set(parts)) == 400
    # Every example of a class as often as any other; 0.3 of the large ones, by five errors at most.
    for stratum, size in enumerate(STRATA.bincount().tolist()):
        expected = max(1, (300 * size + 500) // 1000) / size
        error = (expected * (1 - expected) / 400) ** 0.5
        assert (drawn[strata == stratum] - expected).abs().max() <= 5 * error + 1e-4
    for of in ((0, "life", "train"), (0, "age", "validation")):
        assert tuple(labelled_part(train, strata, share, *of).tolist()) != parts[0]


@pytest.mark.parametrize("order", ["reshuffled", "fixed"])
def test_few_labels_are_repeated_until_an_epoch_is_as_long_as_ever(order):
    """Wrong: fewer labels mean fewer steps, some of them come more often, or all of them change."""
    from userbench.data.splits import order_of_epoch, order_of_labelled

    train = torch.arange(50, 150)
    epoch = order_of_labelled(train[:30], 100, order, 0, "age", 1)
    passes = [users.tolist() for users in epoch.split(30)]
    assert [len(users) for users in passes] == [30, 30, 30, 10]
    assert all(sorted(users) == train[:30].tolist() for users in passes[:3])
    assert passes[0] != passes[1] and len(set(passes[3])) == 10
    whole = order_of_labelled(train, 100, order, 1, "age", 1)
    once = order_of_epoch(train, order, 0, 1, "age", 1)
    assert torch.equal(whole, once)  # no bit of a run with all
    for of in ((1, "age", 1), (0, "gender", 1), (0, "age", 2)):  # seed, task, epoch
        other = order_of_labelled(train[:30], 100, order, *of)
        assert torch.equal(other, epoch) == (order == "fixed")


def with_parts(corpus: Path, folder: Path, parts: list[int]) -> Path:
    """The age task again, with parts of its own for its first rows."""
    examples = folder / "tasks/age"
    own = {n: arrays.read_array(corpus / "tasks/age", n) for n in ("users.npy", "labels.npy")}
    n = len(parts)
    given = {"users.npy": own["users.npy"][:n], "labels.npy": own["labels.npy"][:n]}
    given |= {"classes.npy": np.arange(8), "parts.npy": np.array(parts, np.uint8)}
    arrays.write_arrays(examples, given, {}, {"counts": {}})
    return examples


@pytest.mark.parametrize("by", ["interaction", "user"])
def test_given_parts_are_copied(corpus, tmp_path, by):
    """If wrong: the test set that the data brings is mixed into training."""
    parts = [0, 2, 2, 1, 0, 0, 1]
    examples = with_parts(corpus, tmp_path, parts)
    draw_splits.write_task_split(examples, by, 7, tmp_path / "splits/tasks/age")
    assert load_split(tmp_path / "splits", "age").tolist() == parts
    manifest = arrays.read_manifest(tmp_path / "splits/tasks/age")
    assert manifest["counts"] == {"train": 3, "validation": 2, "test": 2}
    assert manifest["parts"] == "given" and "seed" not in manifest


@pytest.mark.parametrize("key", ["ids", "held_out"])
def test_examples_of_other_ids_or_held_out_events_are_noticed(corpus, tmp_path, key):
    """If wrong: labels joined by one map of ids are used with another one."""
    copy = tmp_path / "store"
    shutil.copytree(corpus, copy)
    users = {"users.npy": np.arange(3)}
    arrays.write_arrays(copy / key, users, {}, {"counts": {}})
    own = {
        name: arrays.read_array(copy / "tasks/age", name)
        for name in ("users.npy", "labels.npy", "classes.npy")
    }
    meaning = {n: arrays.identity(copy / n) for n in ("behaviours", key)}
    arrays.write_arrays(copy / "tasks/age", own, meaning, {"counts": {}})
    draw_splits.write_task_split(copy / "tasks/age", "user", 7, tmp_path / "splits/tasks/age")
    check_task_splits(tmp_path / "splits", copy, ["age"])
    arrays.write_arrays(copy / key, {"users.npy": np.arange(4)}, {}, {"counts": {}})
    with pytest.raises(ValueError, match="tasks/age: drawn for another store"):
        check_task_splits(tmp_path / "splits", copy, ["age"])
