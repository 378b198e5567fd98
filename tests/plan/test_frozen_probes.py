"""Jobs of the frozen table in a plan: whose they are, what they wait for, and what they cost."""

import json

import pytest

STORE, SPLITS = "results/x/data/ttl", "results/x/splits/user/ttl"
VECTORS = "results/x/vectors/mlm/ttl/seed{seed}"
TASK = {"name": "age", "kind": "classification", "batch_size": 64, "epochs": 3}
EMBED = (
    f"python -m userbench embed --store {STORE} --run mlm --method mlm --set '{{}}' "
    "--checkpoint results/x/pretrain/mlm/ttl/seed{seed}/epoch1.safetensors "
    "results/x/pretrain/mlm/ttl/seed{seed}/epoch2.safetensors --encoder '{\"dim\": 8}' "
    f"--seed 0 1 --device cpu --out {VECTORS}/{{candidate}}.parquet > log"
)


def jobs():
    from userbench.plan.jobs import parse_jobs

    task = json.dumps({**TASK, "out": "results/x/frozen/mlm/age/seed{seed}.json"})
    heads = (
        f"python -m userbench frozen --store {STORE} --splits {SPLITS} --run mlm --vectors "
        f"{VECTORS}/epoch1.parquet {VECTORS}/epoch2.parquet --head linear --seed 0 1 "
        f"--device cpu --task '{task}' > log"
    )
    counts = "results/x/vectors/item-counts/ttl/counts.parquet"
    counting = f"python -m userbench counts --store {STORE} --out {counts} > log"
    return [*parse_jobs("\n".join(f"Shell command: {c}" for c in (EMBED, heads, counting)))]


def test_heads_wait_for_their_vectors():
    """Wrong: a plan lets heads learn before there are vectors, and its wall time is too short."""
    embed, heads, counts = jobs()
    assert [(job.stage, job.run, job.corpus) for job in (embed, heads, counts)] == [
        ("embed", "mlm", "ttl"),
        ("frozen", "mlm", "ttl"),
        ("counts", "ttl", "ttl"),
    ]
    folders = [f"results/x/vectors/mlm/ttl/seed{seed}" for seed in (0, 1)]
    assert embed.outputs == folders
    assert "results/x/pretrain/mlm/ttl/seed1/epoch2.safetensors" in embed.inputs
    assert {f"{folder}/epoch{e}.parquet" for folder in folders for e in (1, 2)} <= {*heads.inputs}
    assert heads.outputs == [f"results/x/frozen/mlm/age/seed{seed}.json" for seed in (0, 1)]


@pytest.mark.parametrize("stage", [0, 1])
def test_rows_with_as_many_candidates_cost_the_same(stage):
    """Wrong: every row is measured anew, or one with one candidate as one with many."""
    from dataclasses import replace

    from userbench.plan.probes import key_of

    one = jobs()[stage]
    other = replace(one, words=[word.replace("mlm", "clue") for word in one.words])
    assert key_of(other) == key_of(one)
    fewer = replace(one, words=[word for word in one.words if "epoch1" not in word])
    assert key_of(fewer) != key_of(one)


def test_each_kind_of_job_is_measured(tiny):
    """Wrong: the plan asks for files that are there only after the run."""
    from userbench.plan.probes import PROBES

    sizes = json.dumps({"dim": 8, "layers": 1, "heads": 2, "max_length": 10})
    data = ["--store", str(tiny / "store")]
    more = {
        "embed": ["--run", "none", "--starts", "3", "--encoder", sizes, "--seed", "0", "1"],
        "counts": ["--width", "16"],
        "frozen": [
            *("--splits", str(tiny / "splits"), "--run", "mlm", "--vectors", "not/there.parquet"),
            *("--seed", "0", "1", "--task", json.dumps({**TASK, "out": "not/there.json"})),
        ],
    }
    devices = {"embed": ["--device", "cpu"], "frozen": ["--device", "cpu"], "counts": []}
    for stage, words in more.items():
        out = [] if stage == "frozen" else ["--out", "not/{seed}/{candidate}.parquet"]
        seconds, disk = PROBES[stage]([*data, *words, *devices[stage], *out], 2.0)
        assert seconds > 0 and (disk > 0) == (stage != "frozen")
