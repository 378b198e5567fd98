"""The config that `userbench inspect` prints."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml

from userbench.data.events.inspect import choices
from userbench.data.events.inspect.counts import Counts
from userbench.data.events.inspect.sample import is_number

TEMPLATE = Path(__file__).with_name("config.yaml.j2")


class Task(NamedTuple):
    """A task of the config."""

    name: str
    kind: str
    label: str
    key: str
    table: dict[str, Any]
    batch: int
    why: str


class Log(NamedTuple):
    """What the config says of the log."""

    name: str
    source: str
    raw: Path
    tables: dict[str, dict[str, Any]]
    other_columns: dict[str, list[str]]
    """Examples of the values of columns without a role."""


def rendered(log: Log, counts: Counts, tasks: list[Task], bad: choices.Choice) -> str:
    """The config as YAML, each choice with its reason."""
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    template.filters["yaml"] = in_yaml
    template.filters["comment"] = lambda value, width: f"{value!s:<{width}} # "
    span = "" if counts.span is None else ", {} to {}".format(*counts.span)
    return template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=log.name,
        label=log.name,
        source=log.source,
        raw=str(log.raw),
        tables=log.tables,
        events=f"{counts.events:,}",
        users=f"{counts.users:,}",
        items=f"{counts.items:,}",
        span=span,
        ties=f"{counts.tied:.0%}" if counts.tied else "",
        core=choices.k_core(counts),
        repeats=choices.repeats(counts),
        hold_out=choices.hold_out(counts),
        sizes=choices.sizes(counts),
        max_bad_rows=bad,
        tasks=tasks,
        other_columns=", ".join(log.other_columns),
        condition=example_condition(log.other_columns),
    )


def example_condition(columns: dict[str, list[str]]) -> str:
    """A filter by one of the columns, as an example; empty where there is none."""
    for name, values in columns.items():
        if values:
            largest = max(values, key=lambda value: (is_number(value), value))
            sign = ">=" if is_number(largest) else "=="
            return in_yaml({name: f"{sign} {largest}"})
    return ""


def in_yaml(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def as_name(text: str) -> str:
    """A text as the name of a corpus, task or kind: small letters, digits, - and _."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_") or "log"
