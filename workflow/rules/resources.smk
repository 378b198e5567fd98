# What a job asks of a cluster: time, memory, and where it trains a GPU.
# In:  results/<experiment>/plan.json, where `userbench plan --json` has written it
# A machine that runs its jobs itself looks at `gpu` alone (profiles/default).
import shlex
from functools import cache

from userbench.workflow.device import chosen_device
from userbench.workflow.needs import needs as needs_of
from userbench.workflow.needs import read_plan

ON_GPU = ("pretrain", "finetune", "similarity", "embed", "frozen")
PLAN = or_stop(read_plan, Path(OUT, "plan.json"), SOURCE)

# A job takes one of the places that a GPU has; `--resources gpu=N` counts GPUs. Which one is free,
# the job finds out itself (`gpu_lease.py`).
if "gpu" in workflow.global_resources:
    places = workflow.global_resources["gpu"].value * CONFIG.jobs_per_gpu
    workflow.register_resource("gpu", places)

# Why doubled: the prefix is formatted, as commands are.
BIN = shlex.quote(str(Path(sys.executable).parent)).replace("{", "{{").replace("}", "}}")
# Why: `python` in a rule is the Python that runs Snakemake, its environment activated or not. And a
# shell without the trap dies of a SIGTERM to all processes of a job (Slurm sends it before the time
# is up), or of the SIGHUP of a lost connection, and ends the job, while its training still saves what
# it has.
shell.prefix(
    f'export PATH={BIN}:"$PATH"'
    f" USERBENCH_JOBS_PER_GPU={CONFIG.jobs_per_gpu}"
    f" USERBENCH_LIMIT_MINUTES={CONFIG.limit_minutes:g}; trap : TERM HUP; "
)


def needs(stage, corpus=None, run=None):
    """Resources of a job; more time and memory in each attempt."""
    seeds = (
        len(SEEDS)
        if CONFIG.seeds_together and stage in ("pretrain", "finetune", "embed", "frozen")
        else 1
    )

    def asked(wildcards, attempt):
        where = corpus or wildcards.corpus
        of = run or getattr(wildcards, "run", where)
        return needs_of(PLAN, stage, of, where, seeds, attempt)

    resources = {
        "runtime": lambda wildcards, attempt: asked(wildcards, attempt).minutes,
        "mem_mb": lambda wildcards, attempt: asked(wildcards, attempt).megabytes,
    }
    return {**resources, "gpu": gpus, "gres": gres} if stage in ON_GPU else resources


def on_cluster():
    """Whether jobs run elsewhere, this being the submit host or one of them."""
    return workflow.remote_exec or not workflow.local_exec


@cache
def device_here():
    """What `auto` is on this machine; said once."""
    chosen = or_stop(chosen_device)
    if workflow.is_main_process:
        print(f"Device auto: {chosen.sentence}.", file=sys.stderr)
    return chosen.device


def device(wildcards):
    """The device of a training; `auto` on a cluster is a GPU, though the submit host has none."""
    if CONFIG.device != "auto":
        return CONFIG.device
    return "cuda" if on_cluster() else device_here()


def gpus(wildcards):
    """GPUs that a training asks for: one, unless `gres` says what instead."""
    instead = on_cluster() and CONFIG.gres is not None
    return 0 if instead or device(wildcards) == "cpu" else 1


def gres(wildcards):
    """What a training asks Slurm for instead of a GPU; only clusters know it."""
    return CONFIG.gres if on_cluster() and device(wildcards) != "cpu" else None
