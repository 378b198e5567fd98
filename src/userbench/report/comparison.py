"""What the seeds can tell of Table 2: is a row better than the baseline, and than the best other?

python -m userbench.report.comparison statistics --scores scores.csv --predictions FILE...
    --layout JSON --csv statistics.csv --md statistics.md
python -m userbench.report.comparison aggregate --scores scores.csv --layout JSON
    --csv aggregate.csv --md aggregate.md

The layout is that of Table 2 (`userbench.report.tables`). Two kinds of noise stay apart: that of
the seeds (`inference`) and that of the test users (`resampling`).
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from userbench import artifact
from userbench.mistakes import command
from userbench.predictions import Predictions, describe_predictions, read_predictions
from userbench.report.inference import (
    LEVEL,
    MOST_SEEDS,
    Estimate,
    average_rank,
    holm,
    paired_test,
    percentile_interval,
    probability_of_improvement,
    sample,
    seed_draws,
    seeds_needed,
    student_interval,
)
from userbench.report.resampling import RESAMPLES, resampled, weighted_metric
from userbench.report.statistics import check_comparable, origin, read_layout, read_scores
from userbench.report.tables import (
    SIMULATED,
    data_statement,
    interval,
    markdown_line,
    markdown_text,
    number,
    resolved,
    write_csv,
)

DRAWS = 2000
DECIMALS = 4
AGAINST = ("baseline", "best_other")
STATISTICS_NOTES = (
    "A mean is followed by its 95% interval over seeds (Student's t), and ± the standard deviation "
    "that other test users would give it (bootstrap over users): more seeds do not lower that.",
    "Differences are paired by seed, with 95% intervals; p is of the paired t test, adjusted over "
    "the tasks (Holm). The best other row is chosen by its test scores, in its own favour.",
    f"Undecided: p is not below {LEVEL}. The seeds needed are those of 80% power at the strictest "
    "of Holm's levels, were difference and spread the true ones.",
)
AGGREGATE_NOTES = (
    "Rank: mean over tasks, 1 is best. Above: the probability that a score of the row is above one "
    "of the other row, mean over tasks. Both with 95% intervals of a bootstrap over seeds, each "
    "task by itself; of so few seeds they are too narrow: about 86% of three, 92% of five.",
    "Improvement: relative to the baseline, in percent, mean over tasks, with its 95% interval "
    "over seeds (Student's t).",
)


class Scores(NamedTuple):
    """Test scores in percent of rows, then references, by seed; of the tasks that have any.

    NaN where a reference does not do a task; it does not depend on the seed.
    """

    tasks: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    seeds: list[int]
    values: Float[np.ndarray, "tasks entries seeds"]
    n_rows: int
    baseline: int


def collect(scores: pd.DataFrame, layout: dict[str, Any]) -> Scores:
    """The test scores of a layout's rows and references.

    Raises:
        ValueError: there are none, a row lacks a task or a seed that others have, or rows differ
            in test examples.
    """
    rows, references = ([entry["run"] for entry in layout[key]] for key in ("rows", "references"))
    test = scores[(scores["split"] == "test") & scores["run"].isin(rows + references)]
    tasks = [task for task in layout["tasks"] if task["task"] in set(test["task"])]
    if not tasks:
        raise ValueError("no test score of the layout's rows. Fine-tune them with a test split")
    names = [task["task"] for task in tasks]
    for name, task in zip(names, tasks, strict=True):
        check_comparable(test[test["task"] == name], task, layout["rows"])
    own = test.merge(pd.DataFrame(tasks)[["task", "metric"]])
    wide = own[own["run"].isin(rows)].pivot(index=["task", "run"], columns="seed", values="value")
    wide = wide.reindex(pd.MultiIndex.from_product([names, rows]))
    lacking = wide.isna().stack()
    if lacking.any():
        task, run, seed = lacking.idxmax()
        raise ValueError(
            f"task {task!r}: run {run!r} has no score of seed {seed}, though others have. Give "
            f"finetune/{run}/{task}/seed{seed}.json to the command `scores`, too, or put the seed "
            "into the config's `seeds` and run the workflow: scores are paired by seed."
        )
    values = wide.to_numpy().reshape(len(names), len(rows), -1)
    once = own.groupby(["task", "run"])["value"].mean()
    once = once.reindex(pd.MultiIndex.from_product([names, references])).to_numpy()
    once = once.reshape(len(names), len(references), 1).repeat(values.shape[-1], axis=-1)
    return Scores(
        tasks,
        layout["rows"] + layout["references"],
        wide.columns.tolist(),
        100 * np.concatenate([values, once], axis=1),
        len(rows),
        rows.index(layout["baseline"]),
    )


# -------------------------------------------------------------------------------------- statistics


def statistics(
    scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]
) -> pd.DataFrame:
    """A row per task and row or reference that has a score of it.

    In percent and points: `mean` over seeds, `std`, its 95% interval `low` to `high`, and
    `test_std`, the standard deviation of the mean over draws of test users. For both of AGAINST,
    after its name and a dot: the `run` compared with, paired `difference`, its `low`, `high` and
    `test_std`, `p`, `p_holm` adjusted over the tasks, `verdict`. What cannot be said is NaN.

    Raises:
        ValueError: see `collect`; predictions are missing or not those of the scores.
    """
    found = collect(scores, layout)
    test_means = np.stack(
        [
            resampled_means(found, place, predictions_of(task["task"], predictions))
            for place, task in enumerate(found.tasks)
        ],
        axis=1,
    )
    over_seeds = sample(found.values)
    estimate, shape = student_interval(over_seeds), over_seeds.mean.shape
    ranked = np.broadcast_to(np.arange(shape[1]) < found.n_rows, shape)
    columns = {
        **{key: column(found.tasks, key, shape, axis=0) for key in ("task", "label", "metric")},
        "data": [["simulated" if t["simulated"] else "real"] * shape[1] for t in found.tasks],
        "run": column(found.entries, "run", shape, axis=1),
        "row": column(found.entries, "label", shape, axis=1),
        "ranked": ranked.astype(int),
        "seeds": np.where(ranked, len(found.seeds), 1),
        "mean": estimate.value,
        "std": np.where(ranked, over_seeds.std, np.nan),
        "low": np.where(ranked, estimate.low, np.nan),
        "high": np.where(ranked, estimate.high, np.nan),
        "test_std": deviation(test_means),
    }
    opponents = (np.full(shape, found.baseline), best_other(found))
    for name, opponent in zip(AGAINST, opponents, strict=True):
        compared = compare(found, opponent, test_means)
        columns |= {f"{name}.{key}": value for key, value in compared.items()}
    table = pd.DataFrame({key: np.ravel(np.asarray(value)) for key, value in columns.items()})
    return table.dropna(subset="mean").round(DECIMALS)


def column(
    entries: Iterable[dict[str, Any]], key: str, shape: tuple[int, ...], axis: int
) -> np.ndarray:
    """One key of the tasks (axis 0) or entries (axis 1), for every cell."""
    values = np.array([entry[key] for entry in entries], dtype=object)
    return np.broadcast_to(np.expand_dims(values, 1 - axis), shape)


def best_other(found: Scores) -> Int[np.ndarray, "tasks entries"]:
    """The row of the highest mean beside the one in question, per task; of a lone row, itself."""
    means = found.values[:, : found.n_rows].mean(-1)
    itself = np.eye(len(found.entries), found.n_rows, dtype=bool)
    return np.where(itself, -np.inf, means[:, None, :]).argmax(-1)


def compare(
    found: Scores,
    opponent: Int[np.ndarray, "tasks entries"],
    test_means: Float[np.ndarray, "resamples tasks entries"],
) -> dict[str, Any]:
    """Columns of `statistics` on the differences to an opponent; empty beside oneself."""
    tasks = np.arange(len(found.tasks))[:, None]
    other = opponent != np.arange(len(found.entries))
    differences = found.values - found.values[tasks, opponent]
    differences[~other] = np.nan
    tested = paired_test(differences)
    p_holm = holm(tested.p.T).T
    strictest = LEVEL / np.isfinite(tested.p).sum(0).clip(1)  # of the levels that Holm goes through
    level = np.broadcast_to(strictest, tested.p.shape)
    needed = seeds_needed(tested.value, tested.std, level)
    needed = np.maximum(needed, len(found.seeds) + 1)
    test_std = deviation(test_means - test_means[:, tasks, opponent])
    runs = np.array([entry["run"] for entry in found.entries], dtype=object)
    return {
        "run": np.where(other, runs[opponent], ""),
        "difference": tested.value,
        "low": tested.low,
        "high": tested.high,
        "test_std": np.where(other, test_std, np.nan),
        "p": tested.p,
        "p_holm": p_holm,
        "verdict": np.vectorize(verdict, otypes=[object])(tested.value, tested.std, p_holm, needed),
    }


def verdict(difference: float, std: float, p: float, needed: float) -> str:
    """What a paired test says of a difference, in words."""
    if np.isnan(difference):
        return ""
    if np.isnan(std):
        return "undecided: one seed has no spread"
    if p < LEVEL:
        return "better" if difference > 0 else "worse"
    if difference == 0:
        return "undecided: no difference"
    if np.isinf(needed):
        return f"undecided: more than {MOST_SEEDS:,} seeds needed"
    return f"undecided: {needed:.0f} seeds needed"


# -------------------------------------------------------------------------------- noise of the test


def predictions_of(task: str, paths: Iterable[Path]) -> dict[tuple[str, int], Predictions]:
    """The predictions of a task by run and seed."""
    own = (path for path in paths if describe_predictions(path)["task"] == task)
    return {(found.run, found.seed): found for found in map(read_predictions, own)}


def resampled_means(
    found: Scores, place: int, predictions: dict[tuple[str, int], Predictions]
) -> Float[np.ndarray, "resamples entries"]:
    """Means over seeds, in percent, of the entries of the task at `place`, on draws of its users.

    Raises:
        ValueError: predictions are missing, or not those that were scored.
    """
    metric, name = found.tasks[place]["metric"], found.tasks[place]["task"]
    scored_with = dict(predictions.keys())  # a reference, with any one seed
    done = ~np.isnan(found.values[place])
    done[found.n_rows :, 1:] = False  # a reference was scored once
    rows = []
    for entry, seed in np.argwhere(done):
        run = found.entries[entry]["run"]
        of = (run, found.seeds[seed] if entry < found.n_rows else scored_with.get(run, 0))
        if of not in predictions:
            raise ValueError(f"task {name!r}: no --predictions of run {of[0]!r}, seed {of[1]}")
        rows.append(predictions[of].rows)
        again = 100 * weighted_metric(rows[-1], metric, np.ones((1, len(rows[-1]))))[0]
        scored = found.values[place, entry, seed]
        if not np.isclose(again, scored, rtol=0, atol=1e-6):
            raise ValueError(
                f"task {name!r}, run {of[0]!r}, seed {of[1]}: predictions of {metric} {again:.4f}, "
                f"but the score is {scored:.4f}. Fine-tune it again"
            )
    drawn = np.full((*done.shape, RESAMPLES), np.nan)
    drawn[done] = 100 * resampled(rows, metric).T
    drawn[found.n_rows :] = drawn[found.n_rows :, :1]
    return drawn.mean(1).T


def deviation(drawn: Float[np.ndarray, "resamples ..."]) -> Float[np.ndarray, "..."]:
    """Standard deviation over draws, those left out in which a metric is undefined."""
    flat = pd.DataFrame(drawn.reshape(len(drawn), -1)).std().to_numpy()
    return flat.reshape(drawn.shape[1:])


# --------------------------------------------------------------------------------------- aggregate


def aggregate(scores: pd.DataFrame, layout: dict[str, Any]) -> pd.DataFrame:
    """All tasks at once, a row per row of the layout: figures with 95% intervals (`low`, `high`).

    `rank`: mean over tasks; `improvement`: relative to the baseline in percent, mean over tasks;
    `baseline.probability`, `best_other.probability`: of a higher score than the baseline, and than
    the other row of the best rank, `best_other.run`. NaN beside oneself, and of intervals where
    there is one seed.

    Raises:
        ValueError: see `collect`.
    """
    found = collect(scores, layout)
    values, n_seeds = found.values[:, : found.n_rows], len(found.seeds)
    whole = np.ones((1, len(found.tasks), n_seeds), dtype=int)
    counts = seed_draws(len(found.tasks), n_seeds, DRAWS)

    def ranks(drawn: Int[np.ndarray, "draws tasks seeds"]) -> Float[np.ndarray, "draws rows"]:
        return average_rank(np.einsum("trs,dts->dtr", values, drawn / n_seeds).round(DECIMALS))

    rank = percentile_interval(ranks(whole)[0], ranks(counts), n_seeds)
    itself = np.arange(found.n_rows)
    base = values[:, [found.baseline]]
    level = base.mean(-1, keepdims=True)
    improvement = 100 * (values - base) / np.where(level > 0, level, np.nan)
    improvement[:, found.baseline] = np.nan
    columns = {
        "run": [entry["run"] for entry in layout["rows"]],
        "row": [entry["label"] for entry in layout["rows"]],
        "data": origin(found.tasks),
        "tasks": len(found.tasks),
        "seeds": n_seeds,
        **with_bounds("rank", rank),
        **with_bounds("improvement", student_interval(sample(improvement.mean(0)))),
    }
    others = np.where(np.eye(found.n_rows, dtype=bool), np.inf, rank.value).argmin(-1)
    opponents = (np.full_like(others, found.baseline), others)
    for name, opponent in zip(AGAINST, opponents, strict=True):
        chance = percentile_interval(
            probability_of_improvement(values, opponent, whole)[0],
            probability_of_improvement(values, opponent, counts),
            n_seeds,
        )
        runs = np.array(columns["run"], dtype=object)
        columns[f"{name}.run"] = np.where(opponent != itself, runs[opponent], "")
        for key, bound in with_bounds(f"{name}.probability", chance).items():
            columns[key] = np.where(opponent != itself, bound, np.nan)
    return pd.DataFrame(columns).round(DECIMALS)


def with_bounds(name: str, estimate: Estimate) -> dict[str, Float[np.ndarray, " rows"]]:
    """Three columns: the figure and the bounds of its interval."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


# ------------------------------------------------------------------------------------------- pages


def statistics_page(table: pd.DataFrame, layout: dict[str, Any]) -> str:
    """`statistics` as Markdown: a table per task."""
    header = ["Row", "Mean", "Over the baseline", "p", "", "Best other", "Over it", "p", ""]
    rule = ["---", "---:", "---:", "---:", "---", "---", "---:", "---:", "---"]
    parts = [f"{markdown_text(data_statement(layout))}. In percent and points."]
    for (label, metric, data), cells in table.groupby(["label", "metric", "data"], sort=False):
        title = label + SIMULATED * (data == "simulated")
        lines = [f"## {markdown_text(title)}, {metric}\n", markdown_line(header)]
        lines.append(markdown_line(rule))
        lines += [markdown_line(statistics_cells(cell)) for _, cell in cells.iterrows()]
        parts.append("\n".join(lines))
    parts.append("\n".join(f"- {markdown_text(note)}" for note in STATISTICS_NOTES))
    return "\n\n".join(parts) + "\n"


def statistics_cells(cell: pd.Series) -> list[str]:
    """One row of a task, as shown."""
    against = {
        name: [
            interval(*(cell[f"{name}.{key}"] for key in ("difference", "low", "high"))),
            "–" if pd.isna(cell[f"{name}.p_holm"]) else f"{cell[f'{name}.p_holm']:.3f}",
            cell[f"{name}.verdict"],
        ]
        for name in AGAINST
    }
    mean = f"{interval(*cell[['mean', 'low', 'high']])} ± {number(cell['test_std'])}"
    other = markdown_text(cell["best_other.run"])
    return [markdown_text(cell["row"]), mean, *against["baseline"], other, *against["best_other"]]


def aggregate_page(table: pd.DataFrame, layout: dict[str, Any]) -> str:
    """`aggregate` as Markdown."""
    header = ["Row", "Rank", "Improvement %", "Above the baseline", "Above the best other", "Other"]
    lines = [
        f"{markdown_text(data_statement(layout))}.\n",
        markdown_line(header),
        markdown_line(["---", *["---:"] * 4, "---"]),
    ]
    shown = ("rank", "improvement", *(f"{name}.probability" for name in AGAINST))
    for _, row in table.iterrows():
        figures = [interval(*row[[name, f"{name}_low", f"{name}_high"]]) for name in shown]
        other = markdown_text(row["best_other.run"])
        lines.append(markdown_line([markdown_text(row["row"]), *figures, other]))
    return "\n".join([*lines, "", *(f"- {markdown_text(n)}" for n in AGGREGATE_NOTES), ""])


# ---------------------------------------------------------------------------------------- commands


def statistics_command(args: argparse.Namespace) -> None:
    """Write the statistics of every cell."""
    layout = read_layout(args.layout)
    table = statistics(read_scores(args.scores), layout, args.predictions)
    write(args, layout, table, statistics_page(table, layout))


def aggregate_command(args: argparse.Namespace) -> None:
    """Write the statistics over all tasks."""
    layout = read_layout(args.layout)
    table = aggregate(read_scores(args.scores), layout)
    write(args, layout, table, aggregate_page(table, layout))


def write(args: argparse.Namespace, layout: dict[str, Any], table: pd.DataFrame, page: str) -> None:
    """Write both forms of a table, and what they were made from."""
    write_csv(args.csv, table)
    artifact.write_text(args.md, page)
    read = artifact.fingerprints([args.scores, *getattr(args, "predictions", [])])
    artifact.record(args.csv, resolved(args) | {"layout": layout}, read, beside=[args.md])


@command
def main(argv: list[str] | None = None) -> None:
    """Run one of the commands; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m userbench.report.comparison", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True)
    for name, run in (("statistics", statistics_command), ("aggregate", aggregate_command)):
        command = commands.add_parser(name, help=run.__doc__)
        command.add_argument("--scores", type=Path, required=True, help="CSV of report.tables")
        command.add_argument("--layout", required=True, help="JSON text, or the file that holds it")
        command.add_argument("--csv", type=Path, required=True)
        command.add_argument("--md", type=Path, required=True)
        command.set_defaults(run=run)
    commands.choices["statistics"].add_argument(
        "--predictions", type=Path, nargs="+", action="extend", required=True, metavar="FILE"
    )
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
