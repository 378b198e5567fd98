"""The ambiguity ledger: every place that paper and authors' code leave open, and its switch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from userbench.experiment.config import Fields, Name, Part, Protocol
from userbench.experiment.validation import read_yaml, validated

LEDGER = Path(__file__).with_name("ledger.yaml")


class Choice(Part):
    """A value of a switch, and what it means."""

    value: Any
    means: str


class Entry(Part):
    """What is open, how paper and code treat it, and why this suite does what it does."""

    id: Name
    question: str
    paper: str
    released: str
    why: str


class OpenPoint(Entry):
    """A place without a switch; `here` says what this suite does."""

    where: Literal["none"]
    here: str


class Switch(Entry):
    """A place with a switch: the default first, then the other choices."""

    key: Name | None = None
    default: Any
    choices: Annotated[list[Choice], Field(min_length=2)]
    stage: Literal["pretrain", "finetune"]
    """The first stage that must run again to see the effect."""

    def change(self, value: Any) -> Fields:
        """What a value of the switch sets: fields and their values."""
        return {self.key: value} if self.key is not None else value

    def is_of(self, method: str | None) -> bool:
        """Whether a run of this method has the switch."""
        return True


class ProtocolSwitch(Switch):
    """A key of a config's `protocol`."""

    where: Literal["protocol"]
    key: Name


class MethodSwitch(Switch):
    """A field of a method's Config; without `key`, each value holds the fields that it sets."""

    where: Literal["method"]
    methods: Annotated[list[Name], Field(min_length=1)] = ["adaptssr"]

    def is_of(self, method: str | None) -> bool:
        """Whether a run of this method has the switch."""
        return method in self.methods


AnyEntry = Annotated[OpenPoint | ProtocolSwitch | MethodSwitch, Field(discriminator="where")]
Entries = Annotated[list[AnyEntry], Field(min_length=1)]


def read_ledger(path: Path = LEDGER) -> list[OpenPoint | ProtocolSwitch | MethodSwitch]:
    """The entries of the ledger, checked.

    Raises:
        ValueError: not YAML, an entry has a missing, unknown or wrong field, two have one name, or
            a default is not the first choice or no value that a config may have.
    """
    entries: list[Any] = validated(read_yaml(path), Entries, str(path))
    check_names(entries, path)
    for entry in switches(entries):
        check_choices(entry, f"{path}: {entry.id}")
    return entries


def switches(entries: list[Any]) -> list[ProtocolSwitch | MethodSwitch]:
    """The entries that have a switch."""
    return [entry for entry in entries if isinstance(entry, Switch)]


def check_names(entries: list[Any], path: Path) -> None:
    """ValueError where two entries share their name, or their key of the protocol."""
    keys = [entry.key for entry in entries if isinstance(entry, ProtocolSwitch)]
    for names in ([entry.id for entry in entries], keys):
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{path}: {name!r} is named twice")


def check_choices(entry: ProtocolSwitch | MethodSwitch, place: str) -> None:
    """ValueError where the choices of a switch are not what a config could say."""
    values = [choice.value for choice in entry.choices]
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{place}: {value!r} is named twice")
        if entry.key is None and not isinstance(value, dict):
            raise ValueError(f"{place}: {value!r} names no field. Add a `key`")
    if entry.default != values[0]:
        raise ValueError(f"{place}: the default must be the first choice")
    if not isinstance(entry, ProtocolSwitch):
        return
    for value in values:
        validated({entry.key: value}, Protocol, place)
    if getattr(Protocol(), entry.key) != entry.default:
        raise ValueError(f"{place}: the default is another in experiment/config.py")
