"""What a config implies: its runs with every default filled in, and those that its studies add."""

from typing import Any, NamedTuple

from pydantic import Field

from userbench.experiment.config import (
    Experiment,
    Fields,
    LabelShare,
    Part,
    Protocol,
    Run,
    Task,
)
from userbench.experiment.corpora import Corpus
from userbench.experiment.ledger import MethodSwitch, ProtocolSwitch, read_ledger, switches

NEIGHBOURS = "neighbours"


class ResolvedRun(Part):
    """A run with the protocol that it runs under, and with nothing left to a default."""

    label: str
    paper: str | None
    method: str | None
    starts_from: str | None
    """Run whose last checkpoint pre-training starts from; None: random weights, or none at all."""
    encoder: str | None
    """Run whose checkpoints are fine-tuned; None: no pre-training."""
    overrides: Fields
    inputs: dict[str, str]
    batch_size: int | None
    protocol: Protocol
    candidates: list[int]
    """Epochs whose checkpoints validation chooses from."""
    vectors: str | None = Field(None, exclude_if=lambda vectors: vectors is None)
    """Files of given user vectors, instead of an encoder."""


class Trial(NamedTuple):
    """A trial of a tuning: a row with some fields set."""

    row: str
    number: int
    fields: Fields


class Alternative(NamedTuple):
    """A switch of the ledger at another value than the run that is studied has."""

    switch: ProtocolSwitch | MethodSwitch
    value: Any
    against: Any


class ResolvedExperiment(NamedTuple):
    """A config, the corpora and tasks whose data is there, and every run."""

    config: Experiment
    corpora: dict[str, Corpus]
    tasks: dict[str, Task]
    runs: dict[str, ResolvedRun]
    trials: dict[str, Trial]
    alternatives: dict[str, Alternative]
    label_shares: dict[str, LabelShare]

    @property
    def last_epoch(self) -> int:
        """The last epoch of pre-training."""
        return self.config.pretrain.epochs

    @property
    def kept_epochs(self) -> list[int]:
        """Epochs whose checkpoints are written."""
        config = self.config
        kept = {self.last_epoch, *config.finetune.from_epochs, *config.pretrain.keep}
        return sorted(kept.union(*(run.candidates for run in self.runs.values())))

    @property
    def held_out_runs(self) -> list[str]:
        """The runs of the sensitivity study that leave users out of pre-training."""
        return [
            name
            for name, other in self.alternatives.items()
            if other.switch.id == "test_users" and other.value != "included"
        ]

    def tasks_of(self, corpus: str) -> dict[str, Task]:
        """The tasks of a corpus."""
        return {name: task for name, task in self.tasks.items() if task.corpus == corpus}


def resolve(config: Experiment, absent: frozenset[str] = frozenset()) -> ResolvedExperiment:
    """Everything that a config implies, where the data of some corpora is absent.

    Raises:
        ValueError: a run starts from, or is given, what there is not.
    """
    corpora = {name: corpus for name, corpus in config.corpora.items() if name not in absent}
    trials = trials_of(config)
    alternatives = alternatives_of(config)
    label_shares = config.labels.runs if config.labels else {}
    runs = {name: resolve_run(config, name, run) for name, run in config.runs.items()}
    for name, trial in trials.items():
        run = config.runs[trial.row]
        changed = run.model_copy(update={"overrides": merged(run.overrides, trial.fields)})
        runs[name] = resolve_run(config, name, changed, label=trial.row)
    for name, other in alternatives.items():
        runs[name] = resolve_run(config, name, with_choice(config, other))
    for name, labelled in label_shares.items():
        if name not in runs:
            runs[name] = resolve_run(config, name, with_share(config, labelled))
    return ResolvedExperiment(
        config=config,
        corpora=corpora,
        tasks={name: task for name, task in config.tasks.items() if task.corpus in corpora},
        runs=runs,
        trials=trials,
        alternatives=alternatives,
        label_shares=label_shares,
    )


def resolve_run(config: Experiment, name: str, run: Run, label: str | None = None) -> ResolvedRun:
    """A run with its protocol, and with the warm start that the protocol gives to every method."""
    protocol = config.protocol.model_copy(update=set_fields(run.protocol))
    candidates = {
        "validation": config.finetune.from_epochs,
        "first": [1],
        "last": [config.pretrain.epochs],
    }[protocol.checkpoint]
    return ResolvedRun(
        label=run.label if run.label is not None else label or name,
        paper=run.paper,
        method=run.method,
        starts_from=start_of(config, name, run, protocol),
        encoder=(run.encoder_of or name) if run.method is not None else None,
        overrides=run.overrides,
        inputs=run.inputs,
        batch_size=run.batch_size,
        protocol=protocol,
        candidates=candidates,
        vectors=run.vectors,
    )


def start_of(config: Experiment, name: str, run: Run, protocol: Protocol) -> str | None:
    """The run whose last checkpoint a run starts from; ValueError where there is none such."""
    if run.method is None or run.encoder_of is not None:
        return None
    if protocol.test_users != "included" and NEIGHBOURS in run.inputs.values():
        # Why: the neighbours file is counted on all training users; they would come back by it.
        raise ValueError(
            f"runs.{name}.inputs: neighbours of all users, with test_users: {protocol.test_users}. "
            "Leave it out: the method then counts those it may pre-train on"
        )
    start = run.init_from or protocol.warm_start
    # Why the part before --: a trial of the warm start itself must not start from it.
    if start in (name.partition("--")[0], "none"):
        return None
    if start not in config.runs:
        raise ValueError(
            f"protocol.warm_start: run {name!r} would start from a run {start!r}, which is not "
            "there. Add it to runs, or set warm_start: none"
        )
    if config.runs[start].vectors is not None:
        raise ValueError(
            f"protocol.warm_start: run {start!r} is one of given vectors, and no run can start "
            "from those. Name another, or set warm_start: none"
        )
    return start


def trials_of(config: Experiment) -> dict[str, Trial]:
    """Every trial of `tuning`: a run of its own, named <run>--<number>."""
    return {
        f"{name}--{number}": Trial(name, number, fields)
        for name, trials in config.tuning.items()
        for number, fields in enumerate(trials, start=1)
    }


def alternatives_of(config: Experiment) -> dict[str, Alternative]:
    """Every other choice of the ledger for the run of `sensitivity`: <run>--<entry>-<number>."""
    if config.sensitivity is None:
        return {}
    base = config.runs[config.sensitivity]
    protocol = config.protocol.model_copy(update=set_fields(base.protocol))
    found = {}
    for switch in switches(read_ledger()):
        if not switch.is_of(base.method):
            continue
        is_protocol = isinstance(switch, ProtocolSwitch)
        current = getattr(protocol, switch.key) if is_protocol else switch.default
        for number, choice in enumerate(switch.choices):
            if choice.value != current:
                name = f"{config.sensitivity}--{switch.id}-{number}"
                found[name] = Alternative(switch, choice.value, current)
    return found


def with_choice(config: Experiment, other: Alternative) -> Run:
    """The run of `sensitivity` with one switch of the ledger at another value."""
    base, switch = config.runs[config.sensitivity], other.switch
    run = reusing(base, config.sensitivity) if switch.stage == "finetune" else base
    change = switch.change(other.value)
    if isinstance(switch, ProtocolSwitch):
        return run.model_copy(update={"protocol": changed(run.protocol, change)})
    return run.model_copy(update={"overrides": merged(run.overrides, change)})


def with_share(config: Experiment, labelled: LabelShare) -> Run:
    """A row, its encoder fine-tuned with a share of the labels, of validation, too."""
    base = config.runs[labelled.row]
    run = reusing(base, labelled.row) if base.method is not None else base
    share = {"label_share": labelled.share}
    return run.model_copy(update={"protocol": changed(run.protocol, share)})


def reusing(run: Run, name: str) -> Run:
    """The run with the encoder that is pre-trained as `name`, not with one of its own."""
    return run.model_copy(update={"init_from": None, "encoder_of": run.encoder_of or name})


def set_fields(part: Part) -> dict[str, Any]:
    """The fields that a config sets, without the defaults."""
    return {name: getattr(part, name) for name in part.model_fields_set}


def changed(protocol: Protocol, change: Fields) -> Protocol:
    """A run's protocol with some switches at other values."""
    return Protocol(**{**set_fields(protocol), **change})


def with_inputs(fields: Fields, paths: dict[str, str]) -> Fields:
    """The fields of a run, and a path in each field, such as views.generator, that names a file."""
    for field, path in paths.items():
        nested: Any = path
        for name in reversed(field.split(".")):
            nested = {name: nested}
        fields = merged(fields, nested)
    return fields


def merged(old: Fields, new: Fields) -> Fields:
    """Fields `new` over `old`; nested ones too, unless they are of another kind."""
    result = {**old, **new}
    for key in old.keys() & new.keys():
        if isinstance(old[key], dict) and isinstance(new[key], dict) and "kind" not in new[key]:
            result[key] = merged(old[key], new[key])
    return result
