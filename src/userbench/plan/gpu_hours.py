"""GPU-hours of Table 2, from steps measured on a GPU elsewhere, and from predicted ones.

`gpu_steps.csv` holds both (`benchmarks/gpu_steps.py` makes it), the paper's Table 1 the sizes of
corpora that are not at hand. Nothing runs, and nothing is read but the config.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from userbench.data.simulation.world import CLICK_COUNTS, LIKE_COUNTS
from userbench.experiment import settings
from userbench.experiment.check import read_experiment
from userbench.experiment.config import Task
from userbench.experiment.corpora import Corpus
from userbench.experiment.files import read_configs
from userbench.experiment.layouts import runs_behind
from userbench.experiment.runs import ResolvedExperiment, resolve
from userbench.report.tables.published import DATASETS, published_table1

STEPS = Path(__file__).with_name("gpu_steps.csv")
# Of the encoder whose steps the table holds; it reads sequences by their length.
SIZES = {"dim": 64, "layers": 2, "heads": 2}
# A step of a catalogue so many times as large or small is another step.
ALIKE = 2.0
# Why not more: 13 processes at once on one H100, without MPS, did at most so many times what one
# does; until `make gpu` has measured several jobs with MPS ("sharing" in the table).
SHARING_GAIN = 1.2
# Users with 1, 2, ... targets in a real excerpt; Table 1 counts users.
TARGETS = {"T3": CLICK_COUNTS, "T4": LIKE_COUNTS}
HELD_OUT, TRAINED, EVALUATED = 0.1, 0.6, 0.2
"""Of the users of pre-training; of the examples of a task, and those of each of two other parts."""
MS_PER_HOUR = 3_600_000
HOW = ("measured", "predicted")
# Runs with a sum of their own: their steps read all items.
DEAREST = {"mlm": "masked items", "ccl": "CCL"}


class Step(NamedTuple):
    """A step of the table."""

    ms: float
    items: int
    alike: bool
    """Whether it is one of a catalogue as large as was asked for."""
    source: str


class Line(NamedTuple):
    """What all trainings of a kind cost."""

    stage: str
    what: str
    corpus: str
    trainings: int
    measured: Step | None
    predicted: Step | None
    steps: float
    """Of one training; one that only goes forward counts as a part of one."""

    def hours(self, of: Step | None) -> float:
        """GPU-hours by these steps; NaN without."""
        return self.trainings * self.steps * of.ms / MS_PER_HOUR if of else math.nan


class Speeds:
    """Steps on one kind of GPU."""

    def __init__(self, gpu: str):
        table = pd.read_csv(STEPS)
        if gpu not in set(table["gpu"]):
            raise ValueError(f"--gpu {gpu}: steps are known of {', '.join(set(table['gpu']))}")
        self.steps = table[table["gpu"] == gpu]

    def step(self, name: str, how: str, batch_size: int, items: int) -> Step | None:
        """The step whose catalogue and batch are nearest; a larger batch takes as many of them."""
        own = self.steps[(self.steps["step"] == name) & (self.steps["how"] == how)]
        if own.empty:
            return None
        distances = [
            (abs(math.log(items / row.items)), abs(math.log(batch_size / row.batch_size)))
            for row in own.itertuples()
        ]
        row = own.iloc[distances.index(min(distances))]
        alike = min(distances)[0] <= math.log(ALIKE)
        scaled = float(row["ms"] * batch_size / row["batch_size"])
        return Step(scaled, int(row["items"]), alike, str(row["source"]))

    def forward(self, name: str) -> float:
        """The share of a step that goes forward: what evaluation has of it."""
        own = self.steps[(self.steps["step"] == name)].dropna(subset="forward")
        return float(own["forward"].iloc[0]) if len(own) else 1 / 3

    def start(self) -> float:
        """Milliseconds that a process takes to start."""
        return float(self.steps.set_index("step")["ms"].get("start", 0.0))

    def sharing_gain(self, mps: bool) -> float:
        """What several jobs at once do, with or without MPS, in the time that one takes alone."""
        shared = self.steps.set_index("step")["ms"].filter(regex="^sharing ")
        own = shared[[name.endswith(" mps") == mps for name in shared.index]]
        return SHARING_GAIN if own.empty else float(shared["sharing 1"] / own.min())


def gpu_hours(configs: list[Path], gpu: str) -> str:
    """The GPU-hours of the Table 2 of a config, as text.

    Raises:
        ValueError: there is no Table 2, or no step is known of what the config says.
    """
    source, speeds = ", ".join(map(str, configs)), Speeds(gpu)
    config = read_experiment(read_configs(configs), source)
    resolved = resolve(config)
    if config.table2 is None:
        raise ValueError(f"{source}: no table2: leave out --gpu")
    for name, value in SIZES.items():
        if getattr(config.encoder, name) != value:
            raise ValueError(f"{source}: encoder.{name}: steps on a GPU are known of {value}")
    for name in ("precision", "capture"):
        if getattr(config, name) != "auto":
            raise ValueError(f"{source}: {name}: steps on a GPU are known of auto")
    lines = [*pretrainings(resolved, speeds), *finetunings(resolved, speeds)]
    return page(lines, processes(resolved), speeds, gpu)


def pretrainings(resolved: ResolvedExperiment, speeds: Speeds) -> Iterator[Line]:
    """Every pre-training behind the rows of Table 2, on every corpus."""
    config = resolved.config
    for corpus, about in resolved.corpora.items():
        users, items = size_of(about)
        for run in runs_behind(resolved, config.table2.rows):
            method, batch_size = (
                resolved.runs[run].method,
                settings.batch_size(resolved, run, corpus),
            )
            evaluated = HELD_OUT * speeds.forward(method)
            steps = config.pretrain.epochs * users * (1 - HELD_OUT + evaluated) / batch_size
            kinds = (speeds.step(method, how, batch_size, items) for how in HOW)
            yield Line("pretrain", run, corpus, len(config.seeds), *kinds, steps)


def finetunings(resolved: ResolvedExperiment, speeds: Speeds) -> Iterator[Line]:
    """The fine-tunings of all rows of Table 2, task by task."""
    config = resolved.config
    rows = [resolved.runs[row] for row in config.table2.rows]
    for name, task in resolved.tasks.items():
        about = resolved.corpora[task.corpus]
        step = f"finetune {'top_n' if task.kind == 'top_n' else 'classification'}"
        epochs, forward = task.epochs or config.finetune.epochs, speeds.forward(step)
        of_fit = epochs * (TRAINED + EVALUATED * forward)
        tested = EVALUATED * forward * config.finetune.test / len(config.finetune.from_epochs)
        steps = examples_of(task, about) * (of_fit + tested) / task.batch_size
        fits = len(config.seeds) * sum(len(row.candidates) for row in rows)
        kinds = (speeds.step(step, how, task.batch_size, size_of(about)[1]) for how in HOW)
        yield Line("finetune", name, task.corpus, fits, *kinds, steps)


def size_of(corpus: Corpus) -> tuple[int, int]:
    """Users and items: of a simulated world, else those of the paper's Table 1.

    Raises:
        ValueError: the corpus is none of the paper's.
    """
    if corpus.simulate is not None:
        return corpus.simulate.users, corpus.simulate.items
    if corpus.format not in DATASETS:
        raise ValueError(
            f"corpora of format {corpus.format}: only of the paper's corpora and of simulated ones "
            "the size is known. Leave out --gpu"
        )
    published = published_table1().set_index(["dataset", "task"])
    row = published.loc[(DATASETS[corpus.format], "")]
    return int(row["behavior_sequences"]), int(row["different_behaviors"])


def examples_of(task: Task, corpus: Corpus) -> float:
    """Examples of a task, as many per user as in the paper's Table 1.

    Raises:
        ValueError: the task is none of the paper's.
    """
    if task.paper is None:
        raise ValueError(f"tasks.{task.label}: only of the paper's tasks the size is known")
    published = published_table1().set_index("task")
    dataset = published.loc[task.paper, "dataset"]
    of_corpus = published[published["dataset"] == dataset].loc["", "behavior_sequences"]
    counts = TARGETS.get(task.paper, (1,))
    per_user = sum(n * users for n, users in enumerate(counts, start=1)) / sum(counts)
    share = published.loc[task.paper, "samples"] / of_corpus
    return size_of(corpus)[0] * float(share) * per_user


def processes(resolved: ResolvedExperiment) -> int:
    """How many processes train."""
    config = resolved.config
    jobs = len(runs_behind(resolved, config.table2.rows)) + len(config.table2.rows)
    return jobs * len(resolved.corpora) * (1 if config.seeds_together else len(config.seeds))


def page(lines: list[Line], starts: int, speeds: Speeds, gpu: str) -> str:
    """The GPU-hours as text."""
    head = f"{'stage':<10} {'run or task':<12} {'corpus':<7} {'trainings':>9}"
    text = [
        f"GPU-hours of Table 2 on one {gpu}; a step is of a batch, in milliseconds.",
        f"{head} {'measured':>9} {'hours':>6} {'predicted':>10} {'hours':>6}",
    ]
    for line in sorted(lines, key=lambda line: line.stage != "pretrain"):
        # Why: where the catalogue was another one, what was measured says nothing here.
        measured = line.measured if line.measured and line.measured.alike else None
        cells = [f"{shown(measured):>9}", f"{hours(line.hours(measured)):>6}"]
        cells += [f"{shown(line.predicted):>10}", f"{hours(line.hours(line.predicted)):>6}"]
        text.append(
            f"{line.stage:<10} {line.what:<12} {line.corpus:<7} {line.trainings:>9} "
            + " ".join(cells)
        )
    return "\n".join([*text, *totals(lines, starts, speeds), *footnotes(lines, speeds)])


def totals(lines: list[Line], starts: int, speeds: Speeds) -> Iterator[str]:
    """Sums by stage and in all, one job at a time and several."""
    starting = starts * speeds.start() / MS_PER_HOUR
    sums: dict[str, tuple[float, float]] = {}
    for line in sorted(lines, key=group):
        each = (best_known(line), line.hours(line.predicted))
        before = sums.get(group(line), (0.0, 0.0))
        sums[group(line)] = tuple(
            total if math.isnan(more) else total + more
            for total, more in zip(before, each, strict=True)
        )
    sums[f"starts of {starts} processes"] = (starting, starting)
    both = [sum(column) for column in zip(*sums.values(), strict=True)]
    gain = speeds.sharing_gain(mps=True)
    sums["in all, one job at a time"] = (both[0], both[1])
    sums[f"in all, several under MPS (x {gain:.2g})"] = (both[0] / gain, both[1] / gain)
    yield ""
    yield f"{'hours':<32} {'where measured':>15} {'all predicted':>15}"
    for name, (best, predicted) in sums.items():
        yield f"{name:<32} {best:>15.1f} {predicted:>15.1f}"


def group(line: Line) -> str:
    """The sum that a line belongs to; the dearest methods have their own."""
    if line.stage == "finetune":
        return "fine-tuning"
    return f"pre-training, {DEAREST.get(line.what, 'the others')}"


def best_known(line: Line) -> float:
    """Hours as measured, else as predicted."""
    alike = line.measured is not None and line.measured.alike
    return line.hours(line.measured if alike else line.predicted)


def footnotes(lines: list[Line], speeds: Speeds) -> Iterator[str]:
    """What a reader must know of the numbers."""
    yield ""
    sources = dict.fromkeys(
        line.measured.source for line in lines if line.measured and line.measured.alike
    )
    yield "Where measured: a step as measured, where that was, else as predicted."
    yield from (f"  measured: {source}" for source in sources)
    fewer = [line for line in lines if line.predicted and not line.predicted.alike]
    for items in sorted({line.predicted.items for line in fewer}):
        names = dict.fromkeys(line.what for line in fewer if line.predicted.items == items)
        yield f"* counted with {items:,} items: {', '.join(names)}."
    unknown = dict.fromkeys(line.what for line in lines if math.isnan(best_known(line)))
    if unknown:
        yield f"Not known, and in no sum: {', '.join(unknown)}."
    yield "Sizes of real corpora are those of the paper's Table 1, whether they are here or not."
    yield (
        "Not counted: reading data, capturing steps anew at each twentieth of a training, and jobs "
        "of the CPU."
    )
    if speeds.sharing_gain(mps=True) == SHARING_GAIN:
        yield (
            f"Sharing: {SHARING_GAIN} times is the most that was measured, of 13 processes without "
            "MPS; with MPS it was not measured."
        )


def shown(step: Step | None) -> str:
    """Milliseconds of a step; a star where its catalogue is another one."""
    return "-" if step is None else f"{step.ms:.2f}{'' if step.alike else '*'}"


def hours(value: float) -> str:
    """Hours, or a dash."""
    return "-" if math.isnan(value) else f"{value:.2f}"
