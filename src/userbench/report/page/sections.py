"""The sections of the page below Table 2: tables and figures of the experiment that are there."""

import base64
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from userbench.experiment.figures import read_figure_file
from userbench.report.experiment import read_layouts
from userbench.report.page.shown import read_table, shown
from userbench.report.tables import fairness
from userbench.report.tables.cells import score_text
from userbench.report.verdict.page import refusals
from userbench.report.verdict.table import NOT_COMPARED

MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


class Section(NamedTuple):
    """Tables, or a figure and its numbers, by their names in the experiment's folder."""

    name: str
    title: str
    caption: str
    tables: dict[str, tuple[str, ...]] = {}  # file: columns to show; none: all
    figure: str | None = None  # its files without their endings
    summary: Callable[[pd.DataFrame], str] | None = None  # of a table, in a sentence above it
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # what of a table is shown


STATISTICS_SHOWN = (
    *("row", "label", "mean", "low", "high", "test_std", "baseline.verdict"),
    *("baseline.difference", "baseline.low", "baseline.high", "baseline.p_holm"),
    *("baseline.p_table", "best_other.run", "best_other.verdict"),
    *("best_other.difference", "best_other.p_holm", "note"),
)
GUESS = (
    "Seeds needed are a guess, in brackets its 90% interval; who adds seeds until a difference "
    "shows is wrong more often than in 5%."
)


def counts(verdicts: pd.DataFrame) -> str:
    """How often each verdict occurs, on levels and on gains, and what is not compared."""
    parts = []
    for column, name in (("verdict", "values"), ("gain_verdict", "gains over None")):
        own = verdicts[column].dropna()
        if len(found := own[own != NOT_COMPARED].value_counts()):
            parts.append(f"{name}: " + ", ".join(f"{n} {verdict}" for verdict, n in found.items()))
    here = [f"Here, {'; '.join(parts)}."] if parts else []
    return " ".join([*here, *refusals(verdicts)])


def compared(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The values that are compared with the paper's: of all others one sentence is enough."""
    return verdicts[verdicts["verdict"] != NOT_COMPARED]


def frozen_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The frozen table as shown: mean±std of each task, baselines last."""
    kinds = table["ranked"].map({True: "row", False: "reference"})
    shown_table = pd.DataFrame({"user vectors": table["label"], "kind": kinds})
    for name in table.columns[table.columns.str.endswith(".mean")]:
        task = name.removesuffix(".mean")
        pairs = zip(table[name], table[f"{task}.std"], strict=True)
        shown_table[task] = [score_text(*pair) for pair in pairs]
    return shown_table.assign(data=table["data"])


BEFORE_FIGURES = (
    Section(
        "frozen",
        "Frozen encoders",
        "The frozen protocol: encoders stay as pre-training left them, or user vectors are given, "
        "and the same head learns on all of them. Test scores in percent, mean±std over seeds; "
        "references are not ranked (frozen.md has the notes).",
        {"frozen.csv": ()},
        prepare=frozen_cells,
    ),
    Section(
        "frozen_statistics",
        "Frozen encoders: significance",
        "The comparisons of the frozen table, as those of Table 2 are made. " + GUESS,
        {"frozen_statistics.csv": STATISTICS_SHOWN},
    ),
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
        {"statistics.csv": STATISTICS_SHOWN},
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
)
AFTER_FIGURES = (
    Section("tuning", "Trials", "Trials of every row, by validation alone.", {"tuning.csv": ()}),
    Section(
        "effects",
        "Ambiguities",
        "How far each choice that the paper leaves open moves each task.",
        {"effects.csv": ()},
    ),
    Section("data", "Data", "What was read, beside the paper's Table 1.", {"table1.csv": ()}),
)


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


def sections(figures: Iterable[str]) -> list[Section]:
    """All sections, in their order, where the experiment has these figures of report/figures/."""
    found = []
    for file in map(read_figure_file, figures):
        numbers = {file.numbers: ()}
        found.append(Section(file.section, file.title, file.caption, numbers, figure=file.name))
    return [*BEFORE_FIGURES, *found, *AFTER_FIGURES]


def filled(folder: Path) -> Iterator[dict[str, Any]]:
    """The sections that have anything to show, each with its tables and its picture."""
    for section in sections(read_layouts(folder / "experiment.json").figures):
        frames = {
            name: read_table(folder / name) for name in section.tables if (folder / name).exists()
        }
        summary = " ".join(map(section.summary, frames.values())) if section.summary else ""
        if section.prepare:
            frames = {name: section.prepare(frame) for name, frame in frames.items()}
        tables = [
            shown(name, frame, section.tables[name]) for name, frame in frames.items() if len(frame)
        ]
        drawn = picture(folder, section.figure) if section.figure else None
        if tables or drawn or summary:
            yield section._asdict() | {"tables": tables, "picture": drawn, "summary": summary}
