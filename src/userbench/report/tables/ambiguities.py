"""Write the ambiguity ledger as a page, with what each switch moves.

userbench ambiguities --ledger src/userbench/experiment/ledger.yaml
    [--effects effects.csv] --out docs/ambiguities.md
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from userbench import command_line
from userbench.errors import command
from userbench.experiment.ledger import Entry, MethodSwitch, OpenPoint, read_ledger, switches
from userbench.report.markup import render
from userbench.report.tables.cells import number
from userbench.report.tables.data_origin import SIMULATED
from userbench.report.tables.effects import read_effects
from userbench.results import artifact
from userbench.results.tables import resolved


def page(entries: Sequence[Entry], effects: pd.DataFrame | None) -> str:
    """The ledger as GitHub Markdown: the effects where they are known, then the entries."""
    known = effects is not None and len(effects) > 0
    return render(
        "ambiguities.md",
        effects=effects_table(effects) if known else None,
        switches=[switch(entry) for entry in switches(entries)],
        open_points=[entry for entry in entries if isinstance(entry, OpenPoint)],
    )


def switch(entry: Any) -> dict[str, Any]:
    """A switch as the template shows it."""
    return {
        "entry": entry,
        "key": "overrides" if isinstance(entry, MethodSwitch) else "protocol",
        "methods": entry.methods if "methods" in entry.model_fields_set else [],
        "example": flow(entry.change(entry.choices[1].value)),
        "choices": [(flow(choice.value), choice.means) for choice in entry.choices],
        "is_number": any(isinstance(choice.value, float) for choice in entry.choices),
    }


def flow(value: Any) -> str:
    """A value as one would write it into a config, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()


# ------------------------------------------------------------------------------------------ effects


def effects_table(effects: pd.DataFrame) -> dict[str, Any]:
    """Effects as the template shows them: one line per switch and value, one column per task."""
    tasks = effects.drop_duplicates("task")
    rows = []
    for _, own in effects.groupby("run", sort=False):
        cells = {row.task: shown(row) for row in own.itertuples()}
        rows.append(named(own) | {"cells": [cells.get(task) for task in tasks["task"]]})
    removed, tested = held_out(effects)
    return {
        "simulated": effects["simulated"].any(),
        "data": effects["data"].iloc[0],
        "base": effects["base"].iloc[0],
        "seeds": " to ".join(map(str, sorted({effects["seeds"].min(), effects["seeds"].max()}))),
        "n_bold": int(effects["clear"].sum()),
        "n_cells": len(effects),
        "tasks": [
            (task.label + SIMULATED * task.simulated, task.metric) for task in tasks.itertuples()
        ],
        "rows": rows,
        "removed": removed,
        "tested": tested,
        "other_examples": (effects["examples"] != effects["base_examples"]).any(),
        "collapsed": effects["collapsed"].any(),
    }


def named(own: pd.DataFrame) -> dict[str, str]:
    """Entry and both values of the switch that rows of an effects table are of."""
    first = own.iloc[0]
    return {"entry": first["entry"]} | {
        key: flow(json.loads(first[key])) for key in ("value", "against")
    }


def shown(effect: Any) -> dict[str, Any]:
    """A difference as shown: signed, with its spread and marks; bold where it is beyond chance."""
    sign = "+" if round(effect.difference, 2) > 0 else ""
    spread = "" if pd.isna(effect.std) else f"±{effect.std:.2f}"
    return {
        "difference": f"{sign}{number(effect.difference)}{spread}",
        "bold": effect.clear,
        "marks": "†" * (effect.examples != effect.base_examples) + "‡" * effect.collapsed,
    }


def held_out(effects: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Each run and corpus of which users were left out, and a sentence on each such corpus."""
    some = effects[effects["held_out"] != ""]
    counts = some["held_out"].map(json.loads)
    corpus = counts.map(lambda content: content["corpus"]).astype(str)
    removed = [
        named(own) | {"labels": ", ".join(own["label"]), "text": removed_text(counts[own.index[0]])}
        for _, own in some.groupby([some["run"], corpus], sort=False)
    ]
    first = some.drop_duplicates("task")
    tested = [
        tested_text(own, counts[own.index])
        for _, own in first.groupby(corpus[first.index], sort=False)
    ]
    return removed, tested


def removed_text(counts: dict[str, Any]) -> str:
    """How many training users of a corpus a run left out, and how many were left."""
    removed, left, missing = (counts[key]["train"] for key in ("removed", "left", "missing"))
    text = f"{removed:,} of {removed + left:,} training users were left out, {left:,} were left"
    if missing:
        text += f"; {missing:,} more should have been left out, but there are no others"
    return text


def tested_text(own: pd.DataFrame, counts: pd.Series) -> str:
    """How many users of a corpus are tested, and how many of them fine-tuning trains on as well."""
    of_corpus, also = counts.iloc[0], []
    for row, content in zip(own.itertuples(), counts, strict=True):
        of_task = content["tasks"].get(row.task, {})
        if of_task.get("also_in_training"):
            share = of_task["also_in_training"] / of_task["test_users"]
            also.append(f"{row.label} {of_task['also_in_training']:,} ({share:.0%})")
    text = (
        f"{', '.join(own['label'])}: {of_corpus['tested']:,} users are in a test split, "
        f"{of_corpus['alike']:,} others have the behaviours of one of them."
    )
    if also:
        text += (
            f" So many test users of a task have training examples of it, too: {', '.join(also)}. "
            "Fine-tuning sees their behaviours."
        )
    return text


@command
def main(argv: list[str] | None = None) -> None:
    """Write the page; an error in the input is reported in one line."""
    parser = command_line.parser("ambiguities", __doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="the YAML file of all entries")
    parser.add_argument("--effects", type=Path, help="effects.csv")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    entries = read_ledger(args.ledger)
    effects = read_effects(args.effects, entries) if args.effects else None
    artifact.write_text(args.out, page(entries, effects))
    read = [args.ledger, *([args.effects] if args.effects else [])]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))
