"""Minutes and memory that a job requests from a cluster, by the experiment's plan if it has one."""

import json
import math
from pathlib import Path
from typing import NamedTuple

# A plan extrapolates from a few steps, so its time and memory are multiplied; a node takes minutes
# to start.
SLACK, MINUTES_TO_START = 2, 15
HEADROOM_MB = 1_000


class Needs(NamedTuple):
    """Time and memory of a job."""

    minutes: float
    megabytes: float


# Without a plan: several times what the paper's scale takes.
UNPLANNED = {
    "simulate": Needs(60, 8_000),
    "behaviours": Needs(60, 8_000),
    "task": Needs(60, 8_000),
    "events_corpus": Needs(60, 8_000),
    "events_task": Needs(60, 8_000),
    "user_split": Needs(60, 8_000),
    "task_split": Needs(60, 8_000),
    "neighbours": Needs(120, 8_000),
    "baselines": Needs(120, 8_000),
    "pretrain": Needs(24 * 60, 8_000),
    "finetune": Needs(24 * 60, 8_000),
    "similarity": Needs(60, 8_000),
    "embed": Needs(120, 8_000),
    "counts": Needs(60, 8_000),
    "frozen": Needs(12 * 60, 16_000),
}
Plan = dict[tuple[str, str, str], Needs]


def read_plan(path: Path, config_files: str) -> Plan:
    """Needs of one seed, by stage, run and corpus; empty where there is no plan.

    Raises:
        ValueError: `userbench plan --json` did not write this file.
    """
    found: Plan = {}
    if not path.exists():
        return found
    try:
        for job in json.loads(path.read_text(encoding="utf-8"))["jobs"]:
            what = (job["stage"], job["run"], job["corpus"])
            needs = Needs(job["seconds"] / 60 / job["seeds"], job["memory"] / 1e6)
            found[what] = Needs(*map(max, found.get(what, Needs(0, 0)), needs))
    except (ValueError, KeyError, TypeError):
        remedy = f"userbench plan --config {config_files} --json {path}"
        raise ValueError(f"{path}: is not a plan. Remove it, or make it: {remedy}") from None
    return found


def needs(plan: Plan, stage: str, run: str, corpus: str, seeds: int, attempt: int) -> Needs:
    """Needs of a job of `seeds` seeds, one after the other; more in each attempt."""
    of_one = plan.get((stage, run, corpus))
    minutes, megabytes = UNPLANNED[stage]
    if of_one is not None:
        minutes = math.ceil(MINUTES_TO_START + SLACK * seeds * of_one.minutes)
        if of_one.megabytes:
            megabytes = math.ceil(HEADROOM_MB + SLACK * of_one.megabytes)
    return Needs(attempt * minutes, attempt * megabytes)
