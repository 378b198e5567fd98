"""GPU-hours of Table 2, worked out by hand; and the table of steps beside what it is made of."""

import json

import pandas as pd
import pytest
import yaml
from repository import ROOT

from benchmarks import gpu_steps
from userbench.plan import gpu_hours

# mlm: 100 ms measured, 50 predicted. clue: never measured, and counted with a tenth of the items.
TABLE = """gpu,step,how,batch_size,items,ms,forward,source
toy,start,measured,128,645972,1000,,a machine
toy,mlm,measured,128,645972,100,,a machine
toy,mlm,predicted,128,645972,50,0.5,counts
toy,clue,predicted,128,64597,10,0.5,counts
toy,finetune classification,predicted,128,645972,10,0.25,counts
"""
AGE = {"corpus": "ttl", "kind": "classification", "label": "Age", "paper": "T1"}
CONFIG = {
    "experiment": "x",
    "device": "auto",
    "seeds": [0, 1],
    "corpora": {"ttl": {"format": "ttl", "raw_env": "USERBENCH_TTL"}},
    "splits": {"seed": 1},
    "encoder": {"dim": 64, "layers": 2, "heads": 2, "max_length": 150},
    "pretrain": {"epochs": 2, "batch_size": 128},
    "finetune": {"epochs": 5, "from_epochs": [1, 2]},
    "tasks": {"age": {**AGE, "lr": 1e-3, "batch_size": 64}},
    "runs": {
        "none": {"paper": "None"},
        "mlm": {"method": "mlm"},
        "clue": {"method": "clue", "paper": "CLUE"},
    },
    "table2": {"rows": ["none", "clue"], "compared_with": "none"},
}
USERS, AGES = 1_470_149, 1_470_147


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The plan of the config with changes, and with more rows of the table."""

    def plan(more="", **changes):
        table = tmp_path / "steps.csv"
        table.write_text(TABLE + more)
        monkeypatch.setattr(gpu_hours, "STEPS", table)
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**CONFIG, **changes}))
        return gpu_hours.gpu_hours([path], "toy")

    return plan


def numbers(text, name):
    """The last two numbers of the line that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return [float(word) if word != "-" else None for word in line.split()[-2:]]


def test_hours_are_those_worked_out_by_hand(planned):
    """Wrong: a night is planned that takes two."""
    text = planned()
    # Two epochs of nine tenths of the users, and half a step for each batch of the last tenth.
    steps = 2 * USERS * 0.95 / 128
    hour = 3_600_000
    mlm, predicted = (2 * steps * ms / hour for ms in (100, 50))
    assert numbers(text, "pre-training, masked items") == [round(mlm, 1), round(predicted, 1)]
    clue = 2 * steps * 10 / hour
    assert numbers(text, "pre-training, the others") == [round(clue, 1)] * 2
    # Two rows, two seeds, two candidates (None: two starts), the steps of 64 half of those of 128;
    # five times six tenths, and validation, then the test, once for both candidates.
    examples = 5 * (0.6 + 0.2 / 4) + 0.2 / 4 / 2
    tuned = 8 * (AGES * examples / 64) * 5 / hour
    assert numbers(text, "fine-tuning") == [round(tuned, 1)] * 2
    whole = mlm + clue + tuned + 8 / 3600  # eight processes start
    assert numbers(text, "in all, one job at a time")[0] == round(whole, 1)
    assert numbers(text, "in all, several")[0] == round(whole / gpu_hours.SHARING_GAIN, 1)
    assert "* counted with 64,597 items: clue." in text
    assert "finetune   age          ttl             8         -      -" in text


def test_measured_sharing_takes_the_place_of_the_constant(planned):
    """Wrong: MPS was measured, and the plan goes on without it."""
    alone = "toy,sharing 1,measured,128,645972,6,,m\ntoy,sharing 4,measured,128,645972,5,,m\n"
    assert f"several under MPS (x {gpu_hours.SHARING_GAIN})" in planned(alone)
    assert gpu_hours.Speeds("toy").sharing_gain(mps=False) == 6 / 5
    shared = "toy,sharing 4 mps,measured,128,645972,2,,m\n"
    assert "several under MPS (x 3)" in planned(alone + shared)


def test_a_smaller_catalogue_is_not_what_was_measured(planned):
    """Wrong: App's 4,047 items cost the softmax over TTL's 645,972."""
    corpora = {"ttl": {"format": "ttl", "simulate": {"users": 1000, "items": 5000, "seed": 1}}}
    (line,) = [line for line in planned(corpora=corpora).splitlines() if " mlm " in line]
    assert line.split()[4:6] == ["-", "-"] and line.split()[6] == "50.00*"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp32"}, "precision: steps on a GPU are known of auto"),
        ({"encoder": {**CONFIG["encoder"], "dim": 32}}, "encoder.dim: .* known of 64"),
        ({"table2": None}, "no table2: leave out --gpu"),
        (
            {"tasks": {"age": {**CONFIG["tasks"]["age"], "paper": None}}},
            "only of the paper's tasks",
        ),
    ],
)
def test_what_is_not_known_is_refused(planned, changes, message):
    with pytest.raises(ValueError, match=message):
        planned(**changes)


def test_another_gpu_is_refused():
    with pytest.raises(ValueError, match="--gpu a100: steps are known of h100"):
        gpu_hours.gpu_hours([ROOT / "workflow/config/paper.yaml"], "a100")


def test_the_plan_of_the_paper_needs_no_data(capsys):
    """On a machine that has neither TTL nor App, as most."""
    from userbench.plan import command

    command.main(["--config", str(ROOT / "workflow/config/paper.yaml"), "--gpu", "h100"])
    text = capsys.readouterr().out
    assert len([line for line in text.splitlines() if line.startswith("pretrain ")]) == 9 * 2
    assert "Not known" not in text
    with pytest.raises(SystemExit, match="Leave out --all"):
        command.main(["--config", "x.yaml", "--gpu", "h100", "--all"])


def test_the_table_of_steps_holds_what_was_measured_and_counted():
    """Wrong: new rows of a GPU, or new counts, and the plan goes on with the old ones."""
    table = pd.read_csv(gpu_steps.TABLE)
    made = [*gpu_steps.measured(gpu_steps.MEASURED)]
    made += gpu_steps.predicted(pd.read_csv(gpu_steps.COUNTED))
    expected = pd.DataFrame(made, columns=gpu_steps.COLUMNS).round({"ms": 3, "forward": 3})
    again = "run python -m benchmarks.gpu_steps"
    pd.testing.assert_frame_equal(
        table.iloc[: len(expected)], expected, check_dtype=False, obj=again
    )


def test_the_fastest_way_and_several_jobs_are_taken(tmp_path):
    hardware = {"section": "methods", "what": "hardware", "wall_seconds": 5.0, "git": {}}
    hardware |= {"hardware": {"gpu": "H"}, "libraries": {"torch": "2"}}
    step = {"section": "methods", "what": "mlm", "precision": "bf16"}
    rows = [
        hardware,
        {**step, "capture": "graph", "error": "ValueError"},
        {**step, "capture": "none", "ms_per_step": 4.0},
        {**step, "capture": "none", "precision": "fp32", "ms_per_step": 9.0},
        {
            "section": "sharing",
            "what": "adaptssr",
            "jobs": 4,
            "mps": True,
            "users_per_second": 64e3,
        },
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = {row["step"]: row["ms"] for row in gpu_steps.measured(path)}
    assert found == {"start": 5000.0, "mlm": 4.0, "sharing 4 mps": 2.0}
