"""The values of the flags of each command, as an experiment implies them; no paths."""

import json
from collections.abc import Iterable
from typing import Any

from userbench.experiment.config import Experiment, Fields, Task
from userbench.experiment.layouts import BASELINES
from userbench.experiment.runs import ResolvedExperiment

# Switches of the protocol that fine-tuning reads, and those that the baselines read, too.
OF_FINETUNING = ("bias_start", "known_targets", "ties", "average", "label_share")
OF_BASELINES = ("known_targets", "ties", "average")
HISTORY = {"bag-of-items": "latest", "bag-of-items-long": "whole"}


def batch_size(resolved: ResolvedExperiment, run: str, corpus: str) -> int:
    """Users per step of pre-training: of the run, else of its corpus, else of the experiment."""
    return (
        resolved.runs[run].batch_size
        or resolved.corpora[corpus].pretrain.batch_size
        or resolved.config.pretrain.batch_size
    )


def encoder_sizes(resolved: ResolvedExperiment, run: str) -> Fields:
    """Sizes of the encoder, and what of it the protocol says."""
    sizes = resolved.config.encoder.model_dump()
    if not resolved.runs[run].protocol.attention_dropout:
        sizes["attention_dropout"] = False
    return sizes


def loop_flags(resolved: ResolvedExperiment, run: str) -> str:
    """Flags of both training loops: switches of the protocol, and how a GPU is used."""
    config, protocol = resolved.config, resolved.runs[run].protocol
    words = ["--order", protocol.order, "--item-table", protocol.item_table]
    for name in ("precision", "capture"):
        if getattr(config, name) != "auto":  # the default of the flags
            words += [f"--{name}", getattr(config, name)]
    return " ".join(words)


def hold_out_flags(resolved: ResolvedExperiment, run: str, corpus: str) -> list[str]:
    """Tasks whose test users, or as many others, a run may not pre-train on; mostly none."""
    flags = {"included": None, "held_out": "--hold-out", "others_held_out": "--hold-out-others"}
    flag = flags[resolved.runs[run].protocol.test_users]
    return [flag, *resolved.tasks_of(corpus)] if flag else []


def save_flag(resolved: ResolvedExperiment) -> str:
    """How often a training writes the state from which it goes on when it was stopped."""
    seconds = resolved.config.save_every
    return "" if seconds is None else f"--save-every {seconds:g}"


def method_flags(resolved: ResolvedExperiment, run: str) -> list[str]:
    """The method that may adapt the encoder to be fine-tuned; none without pre-training."""
    asked = resolved.runs[run]
    return ["--method", asked.method, "--set", json.dumps(asked.overrides)] if asked.method else []


def task_flags(tasks: Iterable[Fields]) -> list[str]:
    """One --task per score file of a job: name of the task, its settings, where its scores go."""
    return [word for task in tasks for word in ("--task", json.dumps(task))]


def starts_flag(resolved: ResolvedExperiment, run: str) -> str:
    """As many random starts for a run without pre-training as others have candidate checkpoints."""
    asked = resolved.runs[run]
    return "" if asked.encoder else f"--starts {len(asked.candidates)}"


def finetune_settings(resolved: ResolvedExperiment, run: str, task: Task) -> Fields:
    """How a task is fine-tuned: the same for every run, but for the protocol it may override."""
    # Item counts are no run of a config, and have the protocol of all.
    protocol = (resolved.runs.get(run) or resolved.config).protocol
    return {
        "kind": task.kind,
        "lr": task.lr,
        "batch_size": task.batch_size,
        "epochs": task.epochs or resolved.config.finetune.epochs,
        "dropout": protocol.finetune_dropout,
        **{key: getattr(protocol, key) for key in OF_FINETUNING},
    }


def candidate_names(resolved: ResolvedExperiment, run: str) -> list[str]:
    """Names of the vector files of a run: its candidate checkpoints or, without any, its starts."""
    asked = resolved.runs[run]
    if asked.encoder:
        return [f"epoch{epoch}" for epoch in asked.candidates]
    return [f"start{number}" for number in range(1, len(asked.candidates) + 1)]


def frozen_settings(resolved: ResolvedExperiment, run: str, task: Task) -> Fields:
    """How a head learns a task on frozen vectors: as in fine-tuning, but for rates and epochs."""
    changed = {"epochs": resolved.config.frozen.epochs}
    settings = finetune_settings(resolved, run, task) | changed
    return {name: value for name, value in settings.items() if name not in ("lr", "dropout")}


def head_flags(resolved: ResolvedExperiment) -> list[str]:
    """The head of the frozen protocol; that of fine-tuning is as wide as its encoder."""
    head = resolved.config.frozen.head
    hidden = ["--hidden", str(resolved.config.encoder.dim)] if head == "mlp" else []
    return ["--head", head, *hidden]


def baselines_of(resolved: ResolvedExperiment, corpus: str) -> list[tuple[str, str]]:
    """Task and baseline of every score file that the baselines write of a corpus."""
    tasks = resolved.tasks_of(corpus)
    return [(name, run) for name, task in tasks.items() for run in BASELINES[task.kind]]


def baseline_settings(resolved: ResolvedExperiment, name: str, baseline: str) -> dict[str, Any]:
    """What a baseline needs to know of a task, and of the experiment's protocol."""
    task, protocol = resolved.tasks[name], resolved.config.protocol
    history = {"history": HISTORY[baseline]} if baseline in HISTORY else {}
    switches = {key: getattr(protocol, key) for key in OF_BASELINES}
    return {"kind": task.kind, "metric": task.metric, **switches, **history}


def similarity_flags(resolved: ResolvedExperiment) -> list[str]:
    """How Figure 5 encodes users, as words of a command; none where it is not asked for."""
    asked = resolved.config.similarity
    if asked is None:
        return []
    words = ["--views", json.dumps(asked.views), "--users", str(asked.users)]
    for name in ("encode", "dropout"):
        if getattr(asked, name) is not None:
            words += [f"--{name}", str(getattr(asked, name))]
    return words


def shown(config: Experiment) -> str:
    """The config as JSON, without the defaults and without how this machine is used."""
    machine = {"seeds_together", "jobs_per_gpu", "limit_minutes", "save_every", "gres"}
    return config.model_dump_json(exclude_unset=True, exclude=machine)
