"""The ambiguity ledger: every place that paper and code leave open, and how far each moves a task.

python -m userbench.report.ledger page --ledger src/userbench/experiment/ledger.yaml
    [--effects effects.csv] --out docs/ambiguities.md
python -m userbench.report.ledger effects --scores scores.csv --predictions FILE...
    --experiment experiment.json [--curves pretrain/<run>/<corpus>/seed<k>/curve.json...]
    --out effects.csv
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Bool, Float, Num

from userbench.errors import command
from userbench.experiment.ledger import (
    Entry,
    MethodSwitch,
    OpenPoint,
    ProtocolSwitch,
    read_ledger,
    switches,
)
from userbench.experiment.validation import validated
from userbench.report.curves import place_of
from userbench.report.experiment import layout_of
from userbench.report.inference import LEVEL, NO_USER_NOISE, Noise, holm, of_runs, tail
from userbench.report.resampling import resample
from userbench.report.statistics import check_once, read_scores
from userbench.report.tables import (
    SIMULATED,
    markdown_line,
    markdown_text,
    number,
    resolved,
    write_csv,
)
from userbench.results import artifact
from userbench.results.contents import HeldOut

EFFECT_COLUMNS = {
    **{"entry": str, "value": str, "against": str, "run": str, "base": str},
    **{"task": str, "label": str, "metric": str, "data": str, "simulated": bool, "seeds": int},
    **{"difference": float, "std": float, "test_std": float, "test_users": int},
    **{"collapsed": bool, "clear": bool, "examples": int, "base_examples": int},
    "held_out": str,
}
RUN_STUDY = "snakemake --cores 8 --configfile workflow/config/sensitivity.yaml"
INTRODUCTION = f"""# Ambiguities

Every place we know of where the paper leaves open what to do, where it and its released code
disagree, or where a compared method is not as in its own authors' code: what each says, what this
suite does, why, and how to run the other choice. Where both speak, the paper wins; where the paper
is silent, the released code does. "Silent" means: nothing on it in the paper's method, tables and
figures as known to us.

Generated from `src/userbench/experiment/ledger.yaml`, which the configs' schema reads, too: edit
that file, not this one. How far each switch moves each task:

```
{RUN_STUDY}
```
"""


# --------------------------------------------------------------------------------------- effects


class OtherUsers(NamedTuple):
    """What other test users would add to the variance of a mean difference, and the number of users
    that was estimated of; whether a seed of it predicts the same for every example."""

    variance: float = np.nan
    users: int = 0
    collapsed: bool = False


def measure(
    scores: pd.DataFrame,
    layout: dict[str, Any],
    other_users: Mapping[tuple[str, str], OtherUsers] | None = None,
    held_out: Mapping[tuple[str, str], dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """How far each run of the layout is from the base run: a row (EFFECT_COLUMNS) per task.

    Differences of test scores in points, over the seeds of both; `std` is their sample standard
    deviation (NaN of one seed), both are NaN where a fit failed; `clear` is `beyond_chance`. A task
    the base has no score of (its corpus is absent) is left out. `test_std` (NaN where not known),
    `test_users` and `collapsed` are of `other_users`, by run and task; `held_out` is JSON of what
    `held_out` has of the run and the corpus, of its tasks that of the row alone.

    Raises:
        ValueError: a run and the base have no seed of a task in common.
    """
    test, known = scores[scores["split"] == "test"], other_users or {}
    rows = []
    for run in layout["runs"]:
        for task in layout["tasks"]:
            base = scores_by_seed(test, layout["base"], task)
            if not len(base):
                continue
            own = scores_by_seed(test, run["run"], task)
            paired = own.join(base, rsuffix="_base", how="inner").sort_index()
            if not len(paired):
                raise ValueError(
                    f"task {task['task']!r}: {run['run']!r} and {layout['base']!r} have no seed in "
                    "common. Fine-tune both with the same seeds."
                )
            points = 100 * (paired["value"] - paired["value_base"])
            others = known.get((run["run"], task["task"]), OtherUsers())
            rows.append(
                {
                    **{"entry": run["entry"], "run": run["run"], "base": layout["base"]},
                    **{key: json.dumps(run[key]) for key in ("value", "against")},
                    **{key: task[key] for key in ("task", "label", "metric", "simulated")},
                    "data": layout["caption_data"],
                    "seeds": len(points),
                    # Why not of the seeds that are left where a fit failed: it flatters.
                    "difference": round(points.mean(skipna=False), 4),
                    "std": round(points.std(skipna=False), 4),
                    "test_std": round(np.sqrt(others.variance), 4),
                    "test_users": others.users,
                    "collapsed": others.collapsed,
                    "clear": False,
                    "examples": paired["examples"].iloc[0],
                    "base_examples": paired["examples_base"].iloc[0],
                    "held_out": of_task(
                        held_out or {}, run["run"], paired["corpus"].iloc[0], task["task"]
                    ),
                }
            )
    effects = pd.DataFrame(rows, columns=list(EFFECT_COLUMNS)).astype(EFFECT_COLUMNS)
    return effects.assign(clear=clear_cells(effects))


def of_task(
    held_out: Mapping[tuple[str, str], dict[str, Any]], run: str, corpus: str, task: str
) -> str:
    """Who was left out, as JSON, of the tasks this one alone; empty where nobody was."""
    if (run, corpus) not in held_out:
        return ""
    counts = held_out[run, corpus]
    own = {name: told for name, told in counts["tasks"].items() if name == task}
    return json.dumps({"corpus": corpus, **counts, "tasks": own})


def read_held_out(paths: Sequence[Path]) -> dict[tuple[str, str], dict[str, Any]]:
    """`HeldOut` by run and corpus, from the records of learning curves; of runs that left out any.

    Raises:
        ValueError: a record is damaged, or seeds of a run differ in it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in paths:
        artifact.check_recorded(path)
        counts = artifact.provenance_of(path).get("held_out")
        if counts is None:
            continue
        validated(counts, HeldOut, str(artifact.provenance_path(path)))
        run, corpus, _ = place_of(path)
        if found.setdefault((run, corpus), counts) != counts:
            raise ValueError(
                f"{path}: other numbers of users were left out than with other seeds of {run}. "
                "Make all of them from the same splits"
            )
    return found


def of_test_users(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> dict[tuple[str, str], OtherUsers]:
    """The `other_users` of `measure`, by resampling the predictions of its runs.

    Raises:
        ValueError: predictions are missing, or not those of the scores.
    """
    runs, base = [run["run"] for run in layout["runs"]], layout["base"]
    test = scores[(scores["split"] == "test") & scores["run"].isin([base, *runs])]
    found = {}
    for task, resampled in resample(test, layout["tasks"], predictions).items():
        for run in runs:
            common = resampled.seeds(run) & resampled.seeds(base)
            if common:
                noise = resampled.noise(common, run, base)
                bad = resampled.collapsed_seeds(run) | resampled.collapsed_seeds(base)
                users = round(float(noise.df)) + 1
                found[run, task] = OtherUsers(float(noise.variance), users, bool(bad & common))
    return found


def scores_by_seed(test: pd.DataFrame, run: str, task: dict[str, Any]) -> pd.DataFrame:
    """Test score and number of test examples of one run and task, by seed."""
    own = (test["run"] == run) & (test["task"] == task["task"]) & (test["metric"] == task["metric"])
    return test[own].set_index("seed")[["value", "examples", "corpus"]]


def clear_cells(effects: pd.DataFrame) -> Bool[np.ndarray, " cells"]:
    """Which cells of an effects table are `beyond_chance`; none of which a seed has collapsed."""
    trusted = effects.assign(std=effects["std"].mask(effects["collapsed"], 0.0))
    over_seeds = (trusted[name].to_numpy(float) for name in ("difference", "std", "seeds"))
    variance = effects["test_std"].fillna(0).to_numpy() ** 2
    users = Noise(variance, np.maximum(effects["test_users"].to_numpy(float) - 1, 1))
    return beyond_chance(*over_seeds, users)


def beyond_chance(
    difference: Float[np.ndarray, "*tables cells"],
    std: Float[np.ndarray, "*tables cells"],
    seeds: Num[np.ndarray, "*tables cells"],
    test_users: Noise = NO_USER_NOISE,
) -> Bool[np.ndarray, "*tables cells"]:
    """Whether a paired difference is significant at 5% among all cells of its table.

    By seeds, and by test users where their noise is given (`inference.tail`); Holm's adjustment
    over the cells holds although all of them share the base run. A difference without any spread
    counts as a test, and is never beyond chance.
    """
    p = tail(difference, of_runs(np.where(std > 0, std, np.nan), seeds), test_users)
    p = np.where(std > 0, p, 1.0)
    return holm(np.where(np.isnan(std), np.nan, p)) < LEVEL


def read_effects(path: Path, entries: Sequence[Entry]) -> pd.DataFrame:
    """Read what the command effects wrote.

    Raises:
        ValueError: not such a file, or of an entry or a value that the ledger does not have.
    """
    try:
        effects = pd.read_csv(
            path,
            dtype=EFFECT_COLUMNS,
            keep_default_na=False,
            na_values=dict.fromkeys(("std", "difference", "test_std"), [""]),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Make it again with the command effects.") from error
    if list(effects.columns) != list(EFFECT_COLUMNS):
        raise ValueError(f"{path}: the columns must be {', '.join(EFFECT_COLUMNS)}. Make it again.")
    values = {
        switch.id: [choice.value for choice in switch.choices] for switch in switches(entries)
    }
    for entry, value in zip(effects["entry"], effects["value"], strict=True):
        if json.loads(value) not in values.get(entry, []):
            raise ValueError(f"{path}: the ledger has no choice {value} of {entry!r}")
    return effects


# -------------------------------------------------------------------------------------- markdown


def to_markdown(entries: Sequence[Entry], effects: pd.DataFrame | None) -> str:
    """The ledger as GitHub Markdown: what it is, the effects where they are known, the entries."""
    others = [entry for entry in entries if isinstance(entry, OpenPoint)]
    parts = [INTRODUCTION.strip()]
    if effects is not None and len(effects):
        parts.append(effects_table(effects))
    parts.append("## Switches")
    parts += map(switch_section, switches(entries))
    if others:
        parts += ["## Without a switch", *map(open_section, others)]
    return "\n\n".join(parts) + "\n"


def effects_table(effects: pd.DataFrame) -> str:
    """One line per switch and value, one column per task: mean difference and its spread."""
    tasks = effects.drop_duplicates("task")
    marks = tasks["label"] + np.where(tasks["simulated"], SIMULATED, "")
    header = [
        f"{markdown_text(mark)}<br>{markdown_text(metric)}"
        for mark, metric in zip(marks, tasks["metric"], strict=True)
    ]
    first = effects.iloc[0]
    seeds = " to ".join(map(str, sorted({effects["seeds"].min(), effects["seeds"].max()})))
    lines = [
        "## How far each switch moves each task\n",
        "SIMULATED DATA: such figures say nothing about real users.\n"
        if effects["simulated"].any()
        else "",
        f"{markdown_text(first['data'])}. Test scores of AdaptSSR with one switch at another value "
        f"minus those of the run {code(first['base'])}, in points: mean±std over paired seeds "
        f"({seeds}). {beyond_statement(effects['clear'])} The run that a warm start comes from is "
        "the same in all of them.\n",
        markdown_line(["Switch", "instead of", *header]),
        markdown_line(["---", "---", *["---:"] * len(tasks)]),
    ]
    for _, own in effects.groupby("run", sort=False):
        cells = {row.task: effect_cell(row) for row in own.itertuples()}
        entry, value, against = own.iloc[0][["entry", "value", "against"]]
        name = f"[{markdown_text(entry)}](#{entry}) {code(flow(json.loads(value)))}"
        shown = [cells.get(task, "–") for task in tasks["task"]]
        lines.append(markdown_line([name, code(flow(json.loads(against))), *shown]))
    lines += held_out_lines(effects)
    if (effects["examples"] != effects["base_examples"]).any():
        lines.append("\n† Over other test examples than the base run: two splits are compared.")
    if effects["collapsed"].any():
        lines.append("\n‡ A seed of either run predicts one class only: the cell decides nothing.")
    return "\n".join(line for line in lines if line)


def held_out_lines(effects: pd.DataFrame) -> list[str]:
    """A line on each run and corpus of which users were left out, one on each such corpus."""
    some = effects[effects["held_out"] != ""]
    counts = some["held_out"].map(json.loads)
    corpus = counts.map(lambda told: told["corpus"]).astype(str)
    lines = [
        removed_line(own, counts[own.index[0]])
        for _, own in some.groupby([some["run"], corpus], sort=False)
    ]
    first = some.drop_duplicates("task")
    return lines + [
        tested_line(own, counts[own.index])
        for _, own in first.groupby(corpus[first.index], sort=False)
    ]


def removed_line(own: pd.DataFrame, counts: dict[str, Any]) -> str:
    """How many users a run left out and trained on, of rows of one corpus."""
    removed, left, missing = (counts[key]["train"] for key in ("removed", "left", "missing"))
    said = f"{removed:,} of {removed + left:,} training users were left out, {left:,} were left"
    if missing:
        said += f"; {missing:,} more should have been left out, but there are no others"
    entry, value = own["entry"].iloc[0], code(flow(json.loads(own["value"].iloc[0])))
    where = ", ".join(own["label"])
    return f"\n[{markdown_text(entry)}](#{entry}) {value} ({markdown_text(where)}): {said}."


def tested_line(own: pd.DataFrame, counts: pd.Series) -> str:
    """How many users of a corpus are tested, and how many of them fine-tuning trains on as well."""
    of_corpus, also = counts.iloc[0], []
    for row, told in zip(own.itertuples(), counts, strict=True):
        of_task = told["tasks"].get(row.task, {})
        if of_task.get("also_in_training"):
            share = of_task["also_in_training"] / of_task["test_users"]
            also.append(f"{row.label} {of_task['also_in_training']:,} ({share:.0%})")
    said = (
        f"{', '.join(own['label'])}: {of_corpus['tested']:,} users are in a test split, "
        f"{of_corpus['alike']:,} others have the behaviours of one of them."
    )
    if also:
        said += (
            f" So many test users of a task have training examples of it, too: {', '.join(also)}. "
            "Fine-tuning sees their behaviours."
        )
    return f"\n{markdown_text(said)}"


def beyond_statement(clear: pd.Series) -> str:
    """What bold means, and how many cells are."""
    how_many = {0: "none is", 1: "1 is"}.get(clear.sum(), f"{clear.sum()} are")
    return (
        "Bold: beyond chance, that is, the test paired by seed and by test user "
        "(docs/statistics.md) is significant at 5% after Holm's adjustment for all cells; of "
        f"{len(clear)} cells, {how_many}. A difference that is not bold may be there, but these "
        "seeds and test users cannot tell it from none."
    )


def effect_cell(effect: Any) -> str:
    """A difference as shown: signed, with its spread, bold where it is beyond chance."""
    sign = "+" if round(effect.difference, 2) > 0 else ""
    spread = "" if pd.isna(effect.std) else f"±{effect.std:.2f}"
    shown = f"{sign}{number(effect.difference)}{spread}"
    mark = "†" * (effect.examples != effect.base_examples) + "‡" * effect.collapsed
    return (f"**{shown}**" if effect.clear else shown) + mark


def switch_section(entry: ProtocolSwitch | MethodSwitch) -> str:
    """Question, the three answers, the switch, why, and the legal values."""
    meanings = {flow(choice.value): choice.means for choice in entry.choices}
    default = next(iter(meanings))
    here = f"{code(default)}: {markdown_text(meanings[default])}"
    key, place = "protocol", "at the top of a config for all runs, or under one run"
    if isinstance(entry, MethodSwitch):
        key, place = "overrides", f"under a run of {methods_of(entry)}"
    again = {"pretrain": "pre-training and fine-tuning", "finetune": "fine-tuning"}[entry.stage]
    values = [f"- {code(value)}: {markdown_text(means)}" for value, means in meanings.items()]
    if any(isinstance(choice.value, float) for choice in entry.choices):
        values.append("- or another number within its range")
    return "\n".join(
        [
            *heading(entry),
            answers(entry, f"{here} (default)"),
            "",
            f"The switch, {place}. A change runs {again} again:",
            "",
            "```yaml",
            f"{key}: {flow(entry.change(entry.choices[1].value))}",
            "```",
            "",
            f"Why this default: {markdown_text(entry.why)}",
            "",
            *values,
        ]
    )


def methods_of(entry: MethodSwitch) -> str:
    """The methods that have a switch, in words."""
    names = [code(name) for name in entry.methods] if "methods" in entry.model_fields_set else []
    *others, last = names or ["AdaptSSR"]
    return f"{', '.join(others)} or {last}" if others else last


def open_section(entry: OpenPoint) -> str:
    """Question, the three answers, and why there is no switch."""
    why = f"Why no switch: {markdown_text(entry.why)}"
    return "\n".join([*heading(entry), answers(entry, markdown_text(entry.here)), "", why])


def heading(entry: Entry) -> list[str]:
    """Name and question of an entry."""
    # Why not escaped: an underscore between letters is no markup, and links go to this name.
    return [f"### {entry.id}", "", markdown_text(entry.question), ""]


def answers(entry: Entry, here: str) -> str:
    """What paper, released code and this suite do, side by side."""
    told = [markdown_text(entry.paper), markdown_text(entry.released), here]
    header = ["Paper", "Released code", "Here"]
    return "\n".join(map(markdown_line, (header, ["---"] * 3, told)))


def flow(value: Any) -> str:
    """A value as one would write it into a config, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()


def code(text: str) -> str:
    """Text as code, in a table, too."""
    return f"`{text}`"


# -------------------------------------------------------------------------------------- commands


def page_command(args: argparse.Namespace) -> None:
    """Write the ledger as Markdown, with the effects where they are given."""
    entries = read_ledger(args.ledger)
    effects = read_effects(args.effects, entries) if args.effects else None
    artifact.write_text(args.out, to_markdown(entries, effects))
    read = [args.ledger, *([args.effects] if args.effects else [])]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))


def effects_command(args: argparse.Namespace) -> None:
    """Write how far each run is from the base run as CSV."""
    layout = layout_of(args.experiment, "effects")
    check_once((run["run"] for run in layout["runs"]), str(args.experiment))
    check_once((task["task"] for task in layout["tasks"]), str(args.experiment))
    scores = read_scores(args.scores)
    others = of_test_users(scores, layout, args.predictions) if args.predictions else None
    write_csv(args.out, measure(scores, layout, others, read_held_out(args.curves)))
    read = [args.scores, args.experiment, *args.predictions, *args.curves]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))


@command
def main(argv: list[str] | None = None) -> None:
    """Run one of the commands; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m userbench.report.ledger", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True)

    page = commands.add_parser("page", help="the ledger as Markdown")
    page.add_argument("--ledger", type=Path, required=True, help="the YAML file of all entries")
    page.add_argument("--effects", type=Path, help="CSV of the command effects")
    page.add_argument("--out", type=Path, required=True)
    page.set_defaults(run=page_command)

    effects = commands.add_parser("effects", help="how far each switch moves each task")
    effects.add_argument("--scores", type=Path, required=True, help="CSV of report.tables scores")
    effects.add_argument(
        "--predictions", type=Path, nargs="*", action="extend", default=[], metavar="FILE"
    )
    effects.add_argument(
        "--curves", type=Path, nargs="*", default=[], metavar="FILE", help="who was left out"
    )
    effects.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    effects.add_argument("--out", type=Path, required=True)
    effects.set_defaults(run=effects_command)

    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
