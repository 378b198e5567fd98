"""Write Table 1: corpora and tasks, counted here and, of those of the paper, published.

userbench table1 --store ttl=ttl/behaviours/manifest.json
    --examples age=ttl/tasks/age/manifest.json --experiment experiment.json --out table1.csv
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from userbench import command_line
from userbench.errors import command
from userbench.experiment.validation import read_json
from userbench.report.experiment import layout_of
from userbench.report.tables.published import DATASETS, QUANTITIES, published_table1
from userbench.results import artifact
from userbench.results.contents import BehaviourManifest, ExampleManifest
from userbench.results.tables import resolved, write_csv


def read_table1_layout(path: Path) -> dict[str, Any]:
    """Layout of Table 1 of experiment.json; ValueError where it names a task the paper lacks."""
    layout = layout_of(path, "table1")
    known = set(published_table1()["task"]) - {""}
    for name, task in layout["tasks"].items():
        if task["paper"] is not None and task["paper"] not in known:
            raise ValueError(f"{path}: {name}: the paper's Table 1 has no task {task['paper']!r}")
    return layout


def describe_corpora(
    corpora: dict[str, dict[str, Any]],
    examples: dict[str, dict[str, Any]],
    tasks: dict[str, dict[str, Any]],
    simulated: Sequence[str],
    logs: Mapping[str, str],
) -> pd.DataFrame:
    """Table 1: a row per corpus and per task, each quantity as published and as counted.

    `corpora` are the manifests of behaviours by corpus, `examples` those of examples by task;
    `tasks` by name with their `corpus` and, where the paper has the task, its name there as
    `paper`. What has no manifest has its published values only. Samples of a task are its rows,
    i.e. users, as in the paper. Corpora that are event `logs`, with the names they have in the
    table, follow; where there are no others, the published values are left out.

    Raises:
        ValueError: a corpus is called simulated that has no manifest, or a task that has one is of
            no corpus.
    """
    if unknown := sorted(set(examples) - set(tasks)):
        raise ValueError(f"--examples {unknown[0]}: the experiment has no task of this name")
    if unknown := sorted(set(simulated) - set(corpora)):
        raise ValueError(f"corpus {unknown[0]!r} is simulated, but no --store has this name")
    published = published_table1()
    if logs and not corpora.keys() - logs.keys():
        published = published.iloc[:0]
    rows = []
    for corpus, manifest in corpora.items():
        counts = manifest["counts"]
        data = "simulated" if corpus in simulated else "real"
        dataset = logs[corpus] if corpus in logs else DATASETS[manifest["format"]]
        here = {"dataset": dataset, "corpus": corpus, "data": data}
        whole = {
            "task": "",
            "behavior_sequences": counts["users"],
            "different_behaviors": counts["items"],
            "avg_sequence_length": round(counts["mean_length"], 2),
        }
        rows.append(here | whole)
        for name in (name for name in examples if tasks[name]["corpus"] == corpus):
            task = examples[name]["counts"]
            labels = task["candidates"] if "candidates" in task else len(task["classes"])
            shown = tasks[name].get("label") or tasks[name].get("paper") or name
            rows.append(here | {"task": shown, "samples": task["rows"], "labels_or_items": labels})
    columns = ["dataset", "corpus", "task", "data", *QUANTITIES]
    measured = pd.DataFrame(rows, columns=columns).astype(QUANTITIES)
    own = measured["corpus"].isin(logs)
    # Why apart: a log is compared with nothing published, whatever it is called.
    table, of_logs = (
        side.merge(part, on=["dataset", "task"], how=how, suffixes=(".paper", ".measured"))
        for side, part, how in (
            (published, measured[~own], "outer"),
            (published.iloc[:0], measured[own], "right"),
        )
    )
    # Backwards by dataset is the paper's order: TTL, App. A corpus (no task) precedes its tasks.
    table = table.sort_values(["dataset", "task", "corpus"], ascending=[False, True, True])
    pairs = [f"{quantity}.{side}" for quantity in QUANTITIES for side in ("paper", "measured")]
    table = pd.concat([part for part in (table, of_logs) if len(part)])
    return table[["dataset", "corpus", "task", "description", "data", *pairs]]


def named_files(flag: str, arguments: list[str]) -> dict[str, Path]:
    """Files by their names, of NAME=FILE; ValueError where one is not of this form."""
    files = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{flag} {argument}: write NAME=manifest.json")
        files[name] = Path(path)
    return files


@command
def main(argv: list[str] | None = None) -> None:
    """Write Table 1 as CSV; an error in the input is reported in one line."""
    parser = command_line.parser("table1", __doc__)
    manifests = {"nargs": "*", "action": "extend", "default": [], "metavar": "NAME=manifest.json"}
    parser.add_argument("--store", **manifests, help="of the behaviours of each corpus")
    parser.add_argument("--examples", **manifests, help="of the examples of each task")
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    corpora = named_files("--store", args.store)
    examples = named_files("--examples", args.examples)
    layout = read_table1_layout(args.experiment)
    table = describe_corpora(
        {corpus: read_json(path, BehaviourManifest) for corpus, path in corpora.items()},
        {task: read_json(path, ExampleManifest) for task, path in examples.items()},
        layout["tasks"],
        layout["simulated"],
        layout.get("logs", {}),
    )
    write_csv(args.out, table)
    read = artifact.fingerprints([args.experiment, *corpora.values(), *examples.values()])
    artifact.record(args.out, resolved(args), read)
