# What a job asks of a cluster: time, memory, and where it trains a GPU.
# In:  results/<experiment>/plan.json, where `userbench plan --json` has written it
# A machine that runs its jobs itself looks at `gpu` alone (profiles/default).
import math
from collections import namedtuple

Needed = namedtuple("Needed", ["minutes", "megabytes"])


# Minutes and megabytes where nothing was planned: several times what the paper's scale takes.
UNPLANNED = {
    "simulate": Needed(60, 8_000),
    "behaviours": Needed(60, 8_000),
    "task": Needed(60, 8_000),
    "user_split": Needed(60, 8_000),
    "task_split": Needed(60, 8_000),
    "neighbours": Needed(120, 8_000),
    "references": Needed(120, 8_000),
    "pretrain": Needed(24 * 60, 8_000),
    "finetune": Needed(24 * 60, 8_000),
    "similarity": Needed(60, 8_000),
}
ON_GPU = ("pretrain", "finetune", "similarity")
# A plan is of a few steps, at its best: so many times as long, and minutes for a node to start.
SLACK, MINUTES_TO_START = 2, 15
HEADROOM_MB = 1_000


def planned():
    """Minutes and megabytes of one seed, by stage, run and corpus; empty where there is no plan."""
    path, found = Path(OUT, "plan.json"), {}
    try:
        jobs = json.loads(path.read_text(encoding="utf-8"))["jobs"] if path.exists() else []
        for job in jobs:
            what = (job["stage"], job["run"], job["corpus"])
            minutes, megabytes = job["seconds"] / 60 / job["seeds"], job["memory"] / 1e6
            before = found.get(what, Needed(0, 0))
            found[what] = Needed(*map(max, before, (minutes, megabytes)))
    except (ValueError, KeyError, TypeError):
        remedy = f"userbench plan --config {CONFIG_FILE} --json {path}"
        raise WorkflowError(f"{path}: is not a plan. Remove it, or make it: {remedy}")
    return found


PLANNED = planned()


def needs(stage, corpus=None, group=()):
    """Resources of a job of so many seeds; more of both in each attempt."""
    seeds = len(group) or 1

    def of_one(wildcards):
        where = corpus or wildcards.corpus
        return PLANNED.get((stage, getattr(wildcards, "run", where), where))

    def runtime(wildcards, attempt):
        found = of_one(wildcards)
        if found is None:
            return attempt * UNPLANNED[stage].minutes
        return attempt * math.ceil(MINUTES_TO_START + SLACK * seeds * found.minutes)

    def mem_mb(wildcards, attempt):
        at_once = seeds if WAY == "interleaved" else 1
        found = of_one(wildcards)
        if found is None or not found.megabytes:
            return attempt * UNPLANNED[stage].megabytes
        return attempt * math.ceil(HEADROOM_MB + SLACK * at_once * found.megabytes)

    asked = {"runtime": runtime, "mem_mb": mem_mb}
    return {**asked, "gpu": gpus, "gres": gres} if stage in ON_GPU else asked


def on_cluster():
    """Whether jobs run elsewhere, this being the submit host or one of them."""
    return workflow.remote_exec or not workflow.local_exec


def device(wildcards):
    """What a training is told; `auto` on a cluster is a GPU, though the submit host has none."""
    if config["device"] != "auto":
        return config["device"]
    return "cuda" if on_cluster() or shutil.which("nvidia-smi") else "cpu"


def gpus(wildcards):
    """GPUs that a training asks for: one, unless `gres` says what instead."""
    instead = on_cluster() and "gres" in config
    return 0 if instead or device(wildcards) == "cpu" else 1


def gres(wildcards):
    """What a training asks Slurm for instead of a GPU; only clusters know it."""
    return config.get("gres") if on_cluster() and device(wildcards) != "cpu" else None
