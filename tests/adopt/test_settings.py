"""Which settings of two commands differ."""

import pytest

CALL = ["python", "-m", "userbench", "finetune"]
TASK = '{"name": "age", "lr": 0.1, "out": "results/x/seed{seed}.json"}'


def found(planned, recorded):
    from userbench.adopt.settings import differences

    return list(differences([*CALL, *planned], [*CALL, *recorded]))


@pytest.mark.parametrize(
    ("planned", "recorded", "expected"),
    [
        (["--lr", "1", "--raw", "a"], ["--raw", "b", "--lr", "1"], []),
        (["--seed", "0", "1", "--out", "s{seed}"], ["--seed", "0", "--out", "s{seed}"], []),
        (["--seed", "0", "--out", "s"], ["--seed", "1", "--out", "s"], ["seed: 0, was 1"]),
        (["--vectors", "/a/v.npy"], ["--vectors", "/b/v.npy"], []),
        (
            ["--vectors", "results/e/epoch2.parquet"],
            ["--vectors", "results/e/epoch1.parquet", "results/e/epoch2.parquet"],
            [
                "vectors: results/e/epoch2.parquet, was results/e/epoch1.parquet",
                "vectors: not set, was results/e/epoch2.parquet",
            ],
        ),
        (["--task", TASK], ["--task", TASK.replace("0.1", "0.2")], ["task: lr 0.1, was 0.2"]),
        (["--task", TASK, "--no-test"], ["--task", TASK], ["no-test: set, was not set"]),
        (["--label", "a > b"], ["--label", ""], ["label: a > b, was empty"]),
        (["--set", "{"], ["--set", "{}"], ["set: {, was {}"]),
    ],
)
def test_settings_that_move_numbers_are_compared(planned, recorded, expected):
    """Wrong: a setting is overlooked, or where data lie makes everything run again."""
    assert found(planned, recorded) == expected


def test_another_command_is_one_difference():
    """Wrong: the flags of another command, or of none, are compared."""
    from userbench.adopt.settings import differences

    for recorded in ([], ["x"], ["python", "-m", "userbench"], ["python", "-m", "other", "frozen"]):
        (difference,) = differences(CALL, recorded)
        assert difference.startswith("command: userbench finetune, was ")
