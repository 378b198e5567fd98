"""One file that tells all an experiment has found, and opens without a network: report.html.

python -m userbench.report.page --folder results/ttl10k --config workflow/config/ttl10k.yaml
    --out results/ttl10k/report.html

Of the folder it reads experiment.json and what is there: Table 2 and the story behind each of its
cells (scores.csv, by its provenance the score files, by theirs the checkpoints and their curves),
the benchmarks of the jobs, and the tables and figures of SECTIONS. What is not there is left out.

Every text goes through Jinja's escaping or, as JSON, through the browser's `textContent`. The page
forbids itself all requests and all scripts but its own (Content-Security-Policy).
"""

import argparse
import base64
import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
import vl_convert
import yaml

from userbench.errors import command
from userbench.report import fairness
from userbench.report.cells import number
from userbench.report.experiment import read_layouts
from userbench.report.inference import interval_of
from userbench.report.significance import UNTESTED, Significance, read_significance
from userbench.report.summary import summarise
from userbench.report.table2 import arrange
from userbench.report.table2_layout import read_table2_layout
from userbench.report.training import read_training_of_rows
from userbench.report.verdict_page import refusals
from userbench.report.verdict_table import NOT_COMPARED
from userbench.results import artifact
from userbench.results.scores import read_scores
from userbench.results.tables import resolved

HERE = Path(__file__).parent
VEGA_LITE = "6.4"
PAUSE = 600  # seconds without a job that the chart of jobs leaves out
LINES_OF_A_TABLE = 1000
MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


class Section(NamedTuple):
    """Tables and figures that are shown together, by their names in the experiment's folder."""

    name: str
    title: str
    caption: str
    tables: dict[str, tuple[str, ...]] = {}  # file: columns to show; none: all
    figures: tuple[str, ...] = ()
    summary: Callable[[pd.DataFrame], str] | None = None  # of a table, in a sentence above it
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # what of a table is shown


GUESS = (
    "Seeds needed are a guess, in brackets its 90% interval; who adds seeds until a difference "
    "shows is wrong more often than in 5%."
)


def counts(verdicts: pd.DataFrame) -> str:
    """How often each verdict occurs, on levels and on gains, and what is not compared."""
    said = []
    for column, name in (("verdict", "values"), ("gain_verdict", "gains over None")):
        own = verdicts[column].dropna()
        if len(found := own[own != NOT_COMPARED].value_counts()):
            said.append(f"{name}: " + ", ".join(f"{n} {verdict}" for verdict, n in found.items()))
    here = [f"Here, {'; '.join(said)}."] if said else []
    return " ".join([*here, *refusals(verdicts)])


def compared(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The values that are compared with the paper's: of all others one sentence is enough."""
    return verdicts[verdicts["verdict"] != NOT_COMPARED]


SECTIONS = (
    Section(
        "verdict",
        "Verdicts",
        "Every published value and ours: reproduced, better, worse, undecided or not comparable. "
        "The 90% interval of the difference, over seeds and test users, is held against a margin "
        "set before the run, task by task; so is the difference of the gains over None. " + GUESS,
        {
            "verdict.csv": (
                *("method", "task", "verdict", "published_mean", "published_std", "mean", "low"),
                *("high", "difference", "difference_low", "difference_high", "margin", "reason"),
                *("gain_verdict", "published_gain", "gain", "gain_difference", "margin_gain"),
                "gain_reason",
            )
        },
        summary=counts,
        prepare=compared,
    ),
    Section(
        "statistics",
        "Significance over seeds and test users",
        "Means with 95% intervals over seeds and test users, tests of each row against the "
        "baseline, and against all other rows at once. Paired by seed and by test user; p values "
        "corrected over the tasks of a row, p_table over the whole table. " + GUESS,
        {
            "statistics.csv": (
                *("row", "label", "mean", "low", "high", "test_std", "baseline.verdict"),
                *("baseline.difference", "baseline.low", "baseline.high", "baseline.p_holm"),
                *("baseline.p_table", "best_other.run", "best_other.verdict"),
                *("best_other.difference", "best_other.p_holm", "note"),
            )
        },
    ),
    Section(
        "aggregate",
        "All tasks at once",
        "Average ranks and probabilities of improvement, each with the middle 95% of what comes "
        "out when seeds and test users are drawn again (bootstrap; no confidence interval), and "
        "improvements with their 95% interval over seeds and test users (Student's t of each).",
        {
            "aggregate.csv": (
                *("row", "rank", "rank_low", "rank_high"),
                *("improvement", "improvement_low", "improvement_high"),
                *("baseline.probability", "baseline.probability_low", "baseline.probability_high"),
                *("best_other.run", "best_other.probability"),
                *("best_other.probability_low", "best_other.probability_high"),
            )
        },
    ),
    Section(
        "fairness",
        "What is behind each row",
        "Where each row starts, the epochs of pre-training behind it in all, and how many "
        "sequences encoders read per user: in an epoch of its own, and over all epochs. Controls "
        "have scores here and are not ranked in Table 2.",
        {"fairness.csv": ()},
        prepare=fairness.shown,
    ),
    Section(
        "agreement",
        "Order of the methods",
        "Kendall's tau between our order of the methods and the published one, task by task.",
        {"agreement.csv": ("label", "metric", "data", "rows", "tau", "p_value")},
    ),
    Section(
        "ablation",
        "Ablation",
        "AdaptSSR without each of its components, and with fixed coefficients (Figure 4).",
        {"ablation.csv": ()},
        ("figure4",),
    ),
    Section(
        "combination",
        "Combination",
        "AdaptSSR with the views of other methods, beside these methods alone (Figure 3).",
        {"figure3.csv": ()},
        ("figure3",),
    ),
    Section(
        "similarity",
        "Similarity",
        "Cosines between a user's vector and its dropout twin, its augmentations, and other users "
        "(Figure 5).",
        {"figure5.csv": ()},
        ("figure5",),
    ),
    Section(
        "worlds",
        "When augmentation hurts",
        "Differences between methods over the parameters of the simulated world.",
        {"figure6.csv": ()},
        ("figure6",),
    ),
    Section(
        "labels",
        "Fewer labels",
        "Scores with a share of the labels of fine-tuning.",
        {"figure7.csv": ()},
        ("figure7",),
    ),
    Section(
        "printed_curves",
        "Curves for print",
        "Losses of pre-training and validation scores of fine-tuning.",
        {"learning_curves.csv": ()},
        ("learning_curves",),
    ),
    Section("tuning", "Trials", "Trials of every row, by validation alone.", {"tuning.csv": ()}),
    Section(
        "effects",
        "Ambiguities",
        "How far each choice that the paper leaves open moves each task.",
        {"effects.csv": ()},
    ),
    Section("data", "Data", "What was read, beside the paper's Table 1.", {"table1.csv": ()}),
)


# ---------------------------------------------------------------------------------------- stories


def read_json(path: Path) -> Any:
    """Content of a JSON file; ValueError, naming it, where it is damaged."""
    artifact.check_recorded(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}. Run its rule again.") from error


class Told(NamedTuple):
    """A score file with its provenance, and the checkpoint its best epoch started from."""

    path: Path
    score: dict[str, Any]
    provenance: dict[str, Any]
    checkpoint: Path | None

    @property
    def trained(self) -> bool:
        """Whether it was fine-tuned, be it in vain; a reference was not."""
        return "failed" in self.score or self.score["best"]["epoch"] > 0


def told(path: Path) -> Told:
    """What a score file and the record beside it tell."""
    score, provenance = read_json(path), artifact.provenance_of(path)
    candidates = [Path(name) for name in provenance.get("config", {}).get("init") or []]
    # What failed has no best epoch, nor a checkpoint that it is due to.
    name = f"epoch{(score['best'] or {}).get('pretrain_epoch')}.safetensors"
    return Told(path, score, provenance, next((c for c in candidates if c.name == name), None))


def encoder_name(checkpoint: Path) -> str:
    """Run, corpus and seed of a checkpoint, from its path <run>/<corpus>/seed<k>/epoch<e>."""
    return "/".join(checkpoint.parts[-4:-1])


def describe_encoder(checkpoint: Path) -> dict[str, Any]:
    """Where an encoder comes from: config, code, machine, checksum, losses, and its warm start."""
    provenance = artifact.provenance_of(checkpoint)
    curve = checkpoint.with_name("curve.json")
    start = provenance.get("config", {}).get("init")
    return {
        "name": encoder_name(checkpoint),
        "run": checkpoint.parts[-4],
        "file": str(checkpoint),
        "epoch": provenance.get("epoch"),
        "sha256": provenance.get("sha256"),
        "start": {"file": start, "sha256": artifact.provenance_of(Path(start)).get("sha256")}
        if start
        else None,
        "config": provenance.get("config"),
        "environment": environment_of(provenance),
        "finished": provenance.get("finished"),
        "seconds": provenance.get("wall_seconds"),
        "curve": read_json(curve) if curve.exists() else [],
    }


def environment_of(provenance: dict[str, Any]) -> dict[str, Any]:
    """Code version, libraries and hardware of a record."""
    return {
        key: provenance[key]
        for key in ("userbench", "git", "python", "libraries", "hardware")
        if key in provenance
    }


def encoders_of(one: Told) -> list[Path]:
    """The checkpoint a score started from, and the one that this started from."""
    if one.checkpoint is None:
        return []
    start = artifact.provenance_of(one.checkpoint).get("config", {}).get("init")
    return [one.checkpoint, *([Path(start)] if start else [])]


def describe_seed(one: Told, config: Sequence[str]) -> dict[str, Any]:
    """Story of one score: its values, what it was asked, where, and how to run it again."""
    best = one.score["best"]
    stage = "finetune" if one.trained else "references"
    again = ["snakemake", "--cores", "1", "--configfile", *config, "--forcerun"]
    corpus, target = one.score["corpus"], ["--", str(one.path)]
    rule, trained = f"{stage}_{corpus}", encoders_of(one)
    return {
        "seed": one.score["seed"],
        "best": best,
        "examples": one.score["examples"],
        "scores": one.score["scores"],
        "encoder": encoder_name(one.checkpoint) if one.checkpoint else None,
        "config": one.provenance.get("config"),
        "environment": environment_of(one.provenance),
        "finished": one.provenance.get("finished"),
        "seconds": one.provenance.get("task_seconds"),
        "again": shlex.join([*again, rule, *target]),
        "again_all": shlex.join([*again, "pretrain", rule, *target]) if trained else None,
    }


def describe_cells(
    summary: pd.DataFrame, layout: dict[str, Any], stories: list[Told], config: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Every measured cell of Table 2, by <run>/<task>: its figures and the story of each seed."""
    cells = {}
    for row in summary.to_dict("records"):
        for task in layout["tasks"]:
            name = task["task"]
            mean, std, seeds = (row[f"{name}.{key}"] for key in ("mean", "std", "seeds"))
            if pd.isna(mean):
                continue
            paper = [row[f"{name}.paper_{key}"] for key in ("mean", "std")]
            bounds = interval_of(mean, std, seeds)
            own = [s for s in stories if (s.score["run"], s.score["task"]) == (row["run"], name)]
            cells[f"{row['run']}/{name}"] = {
                "label": row["label"],
                "task": task["label"],
                "metric": task["metric"],
                "improvement": number(row[f"{name}.improvement"]),
                "simulated": task["simulated"],
                "mean": mean,
                "interval": " to ".join(map(number, bounds)) if seeds > 1 else None,
                "paper": None if pd.isna(paper[0]) else "±".join(map(number, paper)),
                "seeds": [
                    describe_seed(one, config) for one in sorted(own, key=lambda s: s.score["seed"])
                ],
            }
    return cells


def add_verdicts(cells: dict[str, dict[str, Any]], path: Path, layout: dict[str, Any]) -> None:
    """Give each cell that the paper has its verdict, where there are verdicts."""
    if not path.exists():
        return
    tasks = {task["paper"]: task["task"] for task in layout["tasks"] if task["paper"]}
    for row in read_table(path).to_dict("records"):
        cell = cells.get(f"{row['run']}/{tasks.get(row['task'])}")
        if cell is not None:
            cell["verdict"] = row["verdict"]


# ------------------------------------------------------------------------------------------- jobs


class Job(NamedTuple):
    """One process of the workflow: what it did, when (seconds since 1970), and its peak memory."""

    stage: str
    run: str
    corpus: str
    seeds: tuple[int, ...]  # several may share a process (`together.py`), data have none
    start: float
    end: float
    memory_mib: float | None


def seconds_of(provenance: dict[str, Any]) -> tuple[float, float]:
    """Start and end of the process that left this record, in seconds since 1970."""
    end = datetime.strptime(provenance["finished"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    return end - provenance["wall_seconds"], end


def job(
    stage: str,
    run: str,
    corpus: str,
    seeds: tuple[int, ...],
    records: list[dict[str, Any]],
    tsv: Path,
) -> Job:
    """A job from all records that one process left, and from its benchmark, where there is one."""
    times = [seconds_of(record) for record in records]
    memory = read_table(tsv, "\t")["max_rss"].max() if tsv.exists() else None
    start, end = min(s for s, _ in times), max(e for _, e in times)
    return Job(stage, run, corpus, seeds, start, end, None if pd.isna(memory) else float(memory))


def seeds_of(provenance: dict[str, Any], seed: int) -> tuple[int, ...]:
    """The seeds that shared the process which left this record of one of them."""
    return tuple(provenance.get("process_seeds") or (seed,))


def benchmark_of(stage: str, run: str, corpus: str, seeds: tuple[int, ...]) -> str:
    """The file in which the workflow measured such a process."""
    if stage == "references":
        return f"references/{corpus}.tsv"
    folder = {"fine-tuning": "finetune", "pre-training": "pretrain"}[stage]
    return f"{folder}/{run}/{corpus}/{'seeds' if len(seeds) > 1 else f'seed{seeds[0]}'}.tsv"


def gather_jobs(folder: Path, stories: list[Told], checkpoints: Iterable[Path]) -> list[Job]:
    """Jobs behind these scores and checkpoints, and those that made the data, by their start."""
    benchmarks, jobs = folder / "benchmarks", []
    for manifest in sorted(folder.glob("*/**/manifest.json")):
        where = manifest.parent.relative_to(folder)
        record = read_json(manifest)
        if "finished" in record:
            tsv = benchmarks / where.with_name(where.name + ".tsv")
            of = "/".join(where.parts[1:])
            jobs.append(job("data", where.parts[0], of, (), [record], tsv))
    processes: dict[tuple[str, str, str, tuple[int, ...]], list[dict[str, Any]]] = {}
    for one in stories:
        run, corpus, seed = (one.score[key] for key in ("run", "corpus", "seed"))
        if one.trained:
            key = ("fine-tuning", run, corpus, seeds_of(one.provenance, seed))
        else:
            key = ("references", "references", corpus, (seed,))
        processes.setdefault(key, []).append(one.provenance)
    for checkpoint in checkpoints:
        run, corpus, seed = checkpoint.parts[-4:-1]
        provenance = artifact.provenance_of(checkpoint)
        key = ("pre-training", run, corpus, seeds_of(provenance, int(seed[4:])))
        processes.setdefault(key, []).append(provenance)
    for key, records in processes.items():
        if all("finished" in record for record in records):
            jobs.append(job(*key, records, benchmarks / benchmark_of(*key)))
    return sorted(jobs, key=lambda one: one.start)


def without_pauses(jobs: list[Job]) -> list[dict[str, Any]]:
    """Jobs in minutes since the first one's start, pauses longer than PAUSE left out."""
    shown, busy, left_out = [], jobs[0].start if jobs else 0.0, 0.0
    origin = busy
    for one in jobs:
        if one.start - busy > PAUSE:
            left_out += one.start - busy
        busy = max(busy, one.end)
        begin = (one.start - origin - left_out) / 60
        shown.append(
            one._asdict()
            | {
                "begin": round(begin, 3),
                "finish": round(begin + (one.end - one.start) / 60, 3),
                "minutes": round((one.end - one.start) / 60, 3),
                "started": datetime.fromtimestamp(one.start).astimezone().isoformat(" ", "minutes"),
            }
        )
    return shown


def cost_per_row(jobs: list[Job], encoders: dict[str, str], labels: dict[str, str]) -> pd.DataFrame:
    """Minutes of each row's own processes, a mean over seeds, and their peak memory in MiB.

    `encoders` says whose pre-training a run fine-tunes: its own, or that of another run.
    """
    rows = []
    for run, label in labels.items():
        own = {"fine-tuning": run, "pre-training": encoders.get(run)}
        used = [one for one in jobs if own.get(one.stage) == one.run]
        if not used:
            continue
        minutes = {stage: 0.0 for stage in ("pre-training", "fine-tuning")}
        for one in used:
            minutes[one.stage] += (one.end - one.start) / 60
        seeds = len({seed for one in used for seed in one.seeds})
        memory = [one.memory_mib for one in used if one.memory_mib is not None]
        rows.append(
            {"row": label, "seeds": seeds}
            | {f"{stage}, minutes": round(spent / seeds, 1) for stage, spent in minutes.items()}
            | {"peak memory, MiB": np.round(max(memory, default=np.nan))}
        )
    return pd.DataFrame(rows)


# ----------------------------------------------------------------------------------------- tables


class Shown(NamedTuple):
    """A table as shown: plain texts, and whether a column is of numbers."""

    title: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    left_out: int


def read_table(path: Path, separator: str = ",") -> pd.DataFrame:
    """A CSV file in which only an empty field is missing: `None` is a method's name.

    Raises:
        ValueError: the file is not a table.
    """
    try:
        return pd.read_csv(path, sep=separator, keep_default_na=False, na_values=["", "-"])
    except ValueError as error:
        raise ValueError(f"{path}: not a table: {error}. Run its rule again.") from error


def shown(title: str, frame: pd.DataFrame, columns: Sequence[str] = ()) -> Shown:
    """A frame as texts; of these columns those it has, all of them where it has none of them."""
    frame = frame[[name for name in columns if name in frame] or list(frame)].drop_duplicates()
    head = frame.head(LINES_OF_A_TABLE)
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
        for kind in head.dtypes
    ]
    fields = [
        numbers(head.iloc[:, place]) if is_number else head.iloc[:, place].fillna("–").map(str)
        for place, is_number in enumerate(numeric)
    ]
    names = [str(name).replace("_", " ").replace(".", ": ") for name in head]
    rows = [list(row) for row in zip(*fields, strict=True)]
    return Shown(title, names, numeric, rows, len(frame) - len(head))


def numbers(values: pd.Series) -> list[str]:
    """A column of numbers with as many decimals as it needs; a dash for NaN.

    Four decimals at most, two where a number is above 1: percentages and points.
    """
    most = 2 if values.astype(float).abs().max() > 1 else 4
    rounded = values.astype(float).round(most).tolist()
    needed = (
        f"{value:.{most}f}".rstrip("0").partition(".")[2] for value in rounded if value == value
    )
    decimals = max(map(len, needed), default=0)
    # Why + 0: minus zero must not show its sign.
    return [
        f"{value + 0:,.{decimals}f}".replace("-", "−") if value == value else "–"
        for value in rounded
    ]


class Picture(NamedTuple):
    """A figure as it is embedded, and the files for print that lie beside it."""

    name: str
    source: str
    files: list[str]


def picture(folder: Path, name: str) -> Picture | None:
    """A figure's SVG, else its PNG, as a data: address; None where it has neither."""
    for ending, media in MEDIA.items():
        path = folder / (name + ending)
        if path.exists():
            content = base64.b64encode(path.read_bytes()).decode()
            files = [p.name for p in sorted(folder.glob(f"{name}.*")) if p.suffix != ".json"]
            return Picture(name, f"data:{media};base64,{content}", files)
    return None


def filled(folder: Path) -> Iterator[dict[str, Any]]:
    """The sections that have anything to show, each with its tables and pictures."""
    for section in SECTIONS:
        frames = {
            name: read_table(folder / name) for name in section.tables if (folder / name).exists()
        }
        said = " ".join(map(section.summary, frames.values())) if section.summary else ""
        if section.prepare:
            frames = {name: section.prepare(frame) for name, frame in frames.items()}
        tables = [
            shown(name, frame, section.tables[name]) for name, frame in frames.items() if len(frame)
        ]
        pictures = [p for name in section.figures if (p := picture(folder, name))]
        if tables or pictures or said:
            yield section._asdict() | {"tables": tables, "pictures": pictures, "summary": said}


# ------------------------------------------------------------------------------------------- page


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed (BSD-3-Clause) as one script."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def script_hash(script: str) -> str:
    """How a Content-Security-Policy names a script that it allows."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render(context: dict[str, Any]) -> str:
    """The page as HTML; the texts of the context are escaped."""
    scripts = [vega(), (HERE / "page.js").read_text(encoding="utf-8")]
    # Why: inside of <script>, only these words would end it.
    assert not any("</script" in script.lower() for script in scripts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(
        context,
        scripts=[jinja2.utils.markupsafe.Markup(script) for script in scripts],
        hashes=[script_hash(script) for script in scripts],
        style=jinja2.utils.markupsafe.Markup((HERE / "page.css").read_text(encoding="utf-8")),
    )


def finite(content: Any) -> Any:
    """The same without NaN and infinities, which JSON does not have: null."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content.item() if isinstance(content, np.generic) else content


def table2_of(folder: Path, config: Sequence[str]) -> dict[str, Any]:
    """Table 2 with its stories and jobs; empty where the experiment has none.

    Raises:
        ValueError: a file is not what its rule writes.
    """
    csv, table2, experiment = (
        folder / name for name in ("scores.csv", "table2.csv", "experiment.json")
    )
    layouts = read_layouts(experiment)
    if layouts.table2 is None or not (csv.exists() and table2.exists()):
        return {}
    layout, scores = read_table2_layout(experiment), read_scores(csv)
    summary = summarise(scores, layout)
    layout["references"] = [
        row for row in layout["references"] if row["run"] in set(summary["run"])
    ]
    rows = layout["rows"] + layout["references"]
    labels = {row["run"]: row["label"] for row in rows}
    files = artifact.provenance_of(csv).get("config", {}).get("scores", [])
    stories = [one for one in map(told, map(Path, files)) if one.score["run"] in labels]
    chain = list({one.checkpoint: None for one in stories if one.checkpoint})
    encoders = {encoder_name(checkpoint): describe_encoder(checkpoint) for checkpoint in chain}
    starts = {Path(e["start"]["file"]) for e in encoders.values() if e["start"]}
    # One process trains all epochs of an encoder; several of its checkpoints may be in use.
    trained = {encoder_name(checkpoint): checkpoint for checkpoint in (*chain, *sorted(starts))}
    jobs = gather_jobs(folder, stories, trained.values())
    whose = {one.score["run"]: one.checkpoint.parts[-4] for one in stories if one.checkpoint}
    training = None
    if layouts.training is not None:
        curves = artifact.provenance_of(table2).get("config", {}).get("curves", [])
        training = read_training_of_rows(experiment, list(map(Path, curves)))
    facts = {one.score["task"]: one.score["facts"] for one in stories if "facts" in one.score}
    cells = describe_cells(summary, layout, stories, config)
    add_verdicts(cells, folder / "verdict.csv", layout)
    return {
        "table": arrange(summary, scores, layout, facts, significance_of(folder, layout), training),
        "layout": layout,
        "baseline": labels[layout["compared_with"]],
        "cells": cells,
        "encoders": encoders,
        "labels": labels,
        "jobs": without_pauses(jobs),
        "cost": shown("cost", cost_per_row(jobs, whose, labels)),
        "environments": distinct_environments(stories, encoders),
    }


def significance_of(folder: Path, layout: dict[str, Any]) -> Significance:
    """What the experiment's statistics say of its cells, as far as they are there."""
    statistics, agreement = folder / "statistics.csv", folder / "agreement.csv"
    if not statistics.exists():
        return UNTESTED
    return read_significance(statistics, layout, agreement if agreement.exists() else None)


def distinct_environments(
    stories: list[Told], encoders: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each environment that a score or an encoder was made in, with how many were."""
    found = [environment_of(one.provenance) for one in stories]
    found += [encoder["environment"] for encoder in encoders.values()]
    counts: dict[str, int] = {}
    for environment in found:
        text = json.dumps(environment, sort_keys=True)
        counts[text] = counts.get(text, 0) + 1
    return [json.loads(text) | {"files": count} for text, count in counts.items() if text != "{}"]


def page(folder: Path, config: Sequence[Path]) -> str:
    """The report of the experiment in `folder`, as HTML.

    Raises:
        ValueError: the folder has nothing to show, or a file is not what its rule writes.
    """
    table2, sections = table2_of(folder, [str(path) for path in config]), list(filled(folder))
    if not table2 and not sections:
        raise ValueError(f"{folder}: nothing to show. Make its tables first.")
    settings = [path.read_text(encoding="utf-8") for path in config]
    corpora = [(yaml.safe_load(text) or {}).get("corpora", {}) for text in settings]
    needs = {
        corpus["raw_env"] for each in corpora for corpus in each.values() if "raw_env" in corpus
    }
    keys = ("cells", "encoders", "jobs", "labels", "baseline")
    return render(
        {
            "experiment": folder.name,
            "table2": table2,
            "sections": sections,
            "settings": [(str(path), text) for path, text in zip(config, settings, strict=True)],
            "data": finite({key: table2.get(key, {}) for key in keys} | {"needs": sorted(needs)}),
        }
    )


@command
def main(argv: list[str] | None = None) -> None:
    """Write the page; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m userbench.report.page", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, required=True, help="results of the experiment")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="its YAML file")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    artifact.write_text(args.out, page(args.folder, args.config))
    read = [*args.config, args.folder / "experiment.json", *sorted(args.folder.glob("*.csv"))]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))


if __name__ == "__main__":
    main()
