"""Significance of Table 2: is a row better than the baseline, and than every other row?

python -m userbench.report.comparison --scores scores.csv --predictions FILE...
    --experiment experiment.json --csv statistics.csv --md statistics.md
    --aggregate-csv aggregate.csv --aggregate-md aggregate.md

The rows and tasks are those of Table 2. Every comparison of rows counts two kinds
of noise: that of the seeds, and that of the test users (`inference`, docs/statistics.md). The first
pair of files compares rows task by task, the second over all tasks.
"""

import argparse
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from userbench.errors import command
from userbench.report.headline import sentences
from userbench.report.inference import (
    LEVEL,
    MOST_SEEDS,
    NO_SPREAD,
    POWER,
    Estimate,
    Noise,
    against_all_others,
    average_rank,
    confidence_interval,
    effect_interval,
    holm,
    holm_over_all,
    percentile_interval,
    probability_of_improvement,
    sample,
    seed_draws,
    seed_noise,
    seeds_needed,
    tail,
    upper_power,
    user_noise,
)
from userbench.report.resampling import RESAMPLES, describe_seeds, resample
from userbench.report.statistics import check_comparable, origin, read_layout, read_scores
from userbench.report.tables import (
    SIMULATED,
    bullets,
    data_statement,
    interval,
    markdown_line,
    markdown_text,
    number,
    resolved,
    write_csv,
)
from userbench.results import artifact

DRAWS = 2000
DECIMALS = 4
AGAINST = ("baseline", "best_other")
BOUNDS = ("", "_low", "_high")
AGGREGATES = [
    *("run", "row", "data", "tasks", "seeds"),
    *(f"{name}{bound}" for name in ("rank", "improvement") for bound in BOUNDS),
    *(f"{name}.{key}" for name in AGAINST for key in ("run", *(f"probability{b}" for b in BOUNDS))),
]
STATISTICS_NOTES = (
    "A mean is followed by its 95% interval over seeds and test users: where the mean of other "
    "seeds, tested on other users, would lie. ± is the part of the test users, as a standard "
    "deviation: more seeds do not lower it.",
    "Over the baseline: difference paired by seed and by test user, with its 95% interval; p is "
    "adjusted over the tasks of the row (Holm). Over all others: difference to the best other row; "
    "better means better than every other row, worse means worse than at least one (corrected for "
    "their number), and p is adjusted over the tasks. No row is tested against the one that its "
    "score chose.",
    f"Undecided: p is not below {LEVEL}. The seeds needed are a guess, with its 90% interval in "
    "brackets: those of 80% power at the strictest of Holm's levels, were difference and noise the "
    "true ones. Where ten are truly needed, one guess of twenty from five seeds is 4 or less, and "
    "another near 100 or above. Set the number of seeds before the run: to run as many as were "
    "asked for and test again raises the error from 5% to between 7% and 11%, to add seeds one by "
    "one until the difference shows to between 12% and 23%.",
    "A seed that failed, or whose model predicts one class for everyone, leaves its comparisons "
    "undecided, and so do seeds that all differ by the same: no spread is no evidence.",
)
AGGREGATE_NOTES = (
    "Rank: mean over tasks, 1 is best. Above: the probability that a score of the row is above one "
    "of the other row, mean over tasks; the other row is chosen anew in every draw. The brackets "
    "hold the middle 95% of what comes out when seeds and test users are drawn again (bootstrap). "
    "They are no confidence intervals: those of ranks hold the rank of the true means in 51% to "
    "97% of cases (docs/statistics.md).",
    "Improvement: relative to the baseline, in percent, mean over tasks, with its 95% interval "
    "over seeds and test users (Student's t of each).",
)


class Scores(NamedTuple):
    """Test scores in percent of rows, then references, by seed; of the tasks that have any.

    NaN where a fit failed, and where a reference does not do a task; it does not depend on the
    seed. `draws` are the same scores on draws of test users, `users` their number by task, `notes`
    name the seeds of a cell that failed or predict the same for every example; mostly empty.
    """

    tasks: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    seeds: list[int]
    values: Float[np.ndarray, "tasks entries seeds"]
    draws: Float[np.ndarray, "resamples tasks entries seeds"]
    users: Int[np.ndarray, " tasks"]
    notes: np.ndarray
    n_rows: int
    baseline: int


def collect(scores: pd.DataFrame, layout: dict[str, Any], predictions: Sequence[Path]) -> Scores:
    """The test scores of a layout's rows and references, and their predictions resampled.

    Raises:
        ValueError: there are none, a row lacks a task or a seed that others have, rows differ in
            test examples, or predictions are missing or not those of the scores.
    """
    rows, references = ([entry["run"] for entry in layout[key]] for key in ("rows", "references"))
    test = scores[(scores["split"] == "test") & scores["run"].isin(rows + references)]
    tasks = [task for task in layout["tasks"] if task["task"] in set(test["task"])]
    if not tasks:
        raise ValueError("no test score of the layout's rows. Fine-tune them with a test split")
    for task in tasks:
        check_comparable(test[test["task"] == task["task"]], task, layout["rows"])
    test = test.merge(pd.DataFrame(tasks)[["task", "metric"]])
    seeds = sorted(test.loc[test["run"].isin(rows), "seed"].unique().tolist())
    there = set(zip(test["task"], test["run"], test["seed"], strict=True))
    names = [task["task"] for task in tasks]
    for cell in product(names, rows, seeds):
        if cell not in there:
            raise ValueError(missing_seed(*cell))
    found = resample(test, tasks, predictions)
    shape = (len(tasks), len(rows) + len(references), len(seeds))
    values, notes = np.full(shape, np.nan), np.full(shape[:2], "", dtype=object)
    draws = np.full((RESAMPLES, *shape), np.nan)
    scored = test.set_index(["task", "run", "seed"])["value"].to_dict()
    for (task, run, seed), value in scored.items():
        at = names.index(task), (rows + references).index(run)
        # A reference was scored once, with any seed, and is the same for all.
        at = (*at, seeds.index(seed) if run in rows else slice(None))
        values[at] = 100 * value
        if np.isfinite(value):
            draws[:, *at].T[...] = found[task].draws[run, seed]
    lost = test[test["value"].isna()].groupby(["task", "run"])["seed"].apply(list).to_dict()
    for (place, task), (entry, run) in product(enumerate(names), enumerate(rows + references)):
        notes[place, entry] = describe_seeds(found.get(task), run, lost.get((task, run), ()))
    return Scores(
        tasks,
        layout["rows"] + layout["references"],
        seeds,
        values,
        draws,
        np.array([found[name].users if name in found else 0 for name in names]),
        notes,
        len(rows),
        rows.index(layout["compared_with"]),
    )


def missing_seed(task: str, run: str, seed: int) -> str:
    """What to do where a row has no score of a seed that others have."""
    return (
        f"task {task!r}: run {run!r} has no score of seed {seed}, though others have. Give "
        f"finetune/{run}/{task}/seed{seed}.json to the command `scores`, too, or put the seed "
        "into the config's `seeds` and run the workflow: scores are paired by seed."
    )


# -------------------------------------------------------------------------------------- statistics


def statistics(found: Scores) -> pd.DataFrame:
    """A row per task and row or reference that has a score of it.

    In percent and points: `mean` over seeds, its `std` over seeds, `test_std`, the standard
    deviation that other test users would give the mean, its 95% interval `low` to `high` over both;
    `note`, why it cannot be compared. For both of AGAINST, after its name and a dot: the `run`
    compared with, the `difference`, `p`, `p_holm` adjusted over the tasks, `verdict`. For the
    baseline also `std`, `test_std`, `low`, `high` of the paired difference, and `p_table`, adjusted
    over all cells. What cannot be said is NaN.
    """
    over_seeds = sample(found.values)
    users = user_noise(found.draws.mean(-1), found.users[:, None])
    estimate = confidence_interval(over_seeds.mean, seed_noise(over_seeds), users)
    shape = over_seeds.mean.shape
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
        "test_std": np.sqrt(users.variance),
        "note": found.notes,
    }
    compared = {"baseline": over_baseline(found), "best_other": over_others(found)}
    for name, told in compared.items():
        columns |= {f"{name}.{key}": value for key, value in told.items()}
    table = pd.DataFrame({key: np.ravel(np.asarray(value)) for key, value in columns.items()})
    there = table["mean"].notna() | (table["note"] != "")
    return table[there].round(DECIMALS)


def column(
    entries: Iterable[dict[str, Any]], key: str, shape: tuple[int, ...], axis: int
) -> np.ndarray:
    """One key of the tasks (axis 0) or entries (axis 1), for every cell."""
    values = np.array([entry[key] for entry in entries], dtype=object)
    return np.broadcast_to(np.expand_dims(values, 1 - axis), shape)


class Differences(NamedTuple):
    """Differences of entries to opponents, the last axis; noise and p values of their means.

    `p` is NaN beside oneself, and where a note, one seed or the lack of spread forbids an answer.
    """

    mean: Float[np.ndarray, "tasks entries others"]
    std: Float[np.ndarray, "tasks entries others"]
    seeds: Noise
    users: Noise
    p: Float[np.ndarray, "tasks entries others"]


def differences(found: Scores, others: Int[np.ndarray, " others"]) -> Differences:
    """Every entry compared with each of these rows, paired by seed and by test user."""
    noted = found.notes != ""
    over_seeds = sample(found.values[:, :, None] - found.values[:, None, others])
    itself = np.arange(len(found.entries))[:, None] == others
    mean = np.where(itself, np.nan, over_seeds.mean)
    seeds = seed_noise(over_seeds._replace(mean=mean))
    means = found.draws.mean(-1)
    users = user_noise(means[:, :, :, None] - means[:, :, None, others], found.users[:, None, None])
    p = tail(mean, seeds, users)
    p = np.where(noted[:, :, None] | noted[:, None, others], np.nan, p)
    return Differences(mean, over_seeds.std, seeds, users, p)


def over_baseline(found: Scores) -> dict[str, Any]:
    """Columns of `statistics` on the differences to the baseline; empty beside itself."""
    tested = differences(found, np.array([found.baseline]))
    mean, std, p = (part[..., 0] for part in (tested.mean, tested.std, tested.p))
    seeds, users = (
        Noise(*(np.broadcast_to(part, tested.mean.shape)[..., 0] for part in noise))
        for noise in (tested.seeds, tested.users)
    )
    bounds = confidence_interval(np.where(np.isnan(p), np.nan, mean), seeds, users)
    p_holm = holm(p.T).T
    strictest = LEVEL / np.isfinite(p).sum(0).clip(1)  # of the levels that Holm goes through
    level = np.broadcast_to(strictest, p.shape)
    guesses = guess_seeds(mean, std, len(found.seeds), level, users)
    runs = [entry["run"] for entry in found.entries]
    other = np.arange(len(runs)) != found.baseline
    verdicts = np.full(p.shape, "", dtype=object)
    for task, entry in np.argwhere(np.broadcast_to(other, p.shape)):
        why = [
            f"{found.entries[of]['label']}: {found.notes[task, of]}"
            for of in (entry, found.baseline)
            if found.notes[task, of]
        ]
        guess = Guess(*(part[task, entry] for part in guesses))
        verdicts[task, entry] = verdict(
            mean[task, entry], std[task, entry], p_holm[task, entry], "; ".join(why), guess
        )
    return {
        "run": np.broadcast_to(np.where(other, runs[found.baseline], ""), p.shape),
        "difference": mean,
        "std": np.where(other, std, np.nan),
        "test_std": np.where(other, np.sqrt(users.variance), np.nan),
        "low": bounds.low,
        "high": bounds.high,
        "p": p,
        "p_holm": p_holm,
        "p_table": holm_over_all(p),
        "verdict": verdicts,
    }


def over_others(found: Scores) -> dict[str, Any]:
    """Columns of `statistics` on all other rows at once; empty for a lone row."""
    tested = differences(found, np.arange(found.n_rows))
    itself = np.eye(len(found.entries), found.n_rows, dtype=bool)
    # Why 0: nobody is better than every other row while one of them has a failed fit.
    p = against_all_others(np.where(itself, np.nan, np.nan_to_num(tested.mean)), tested.p)
    p_holm = holm(p.T).T
    shortfall = np.where(np.isnan(tested.mean), np.inf, tested.mean)
    best = shortfall.argmin(-1)  # the row of the highest mean is the one least exceeded
    difference = np.take_along_axis(tested.mean, best[..., None], axis=-1)[..., 0]
    runs = np.array([entry["run"] for entry in found.entries], dtype=object)
    decided = np.where(difference > 0, "better", "worse")
    verdicts = np.where(p_holm < LEVEL, decided, "undecided")
    return {
        "run": np.where(np.isnan(difference), "", runs[best]),
        "difference": difference,
        "p": p,
        "p_holm": p_holm,
        "verdict": np.where(np.isnan(difference), "", verdicts),
    }


class Guess(NamedTuple):
    """Seeds needed, more than there are, and the 90% interval of that guess; infinite: too many.

    NaN of one seed and without spread. `few_users`: no number of seeds is enough, as the noise of
    the test users alone is too large.
    """

    seeds: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    few_users: Bool[np.ndarray, "*cells"]


def guess_seeds(
    difference: Float[np.ndarray, "*cells"],
    std: Float[np.ndarray, "*cells"],
    seeds: int,
    level: Float[np.ndarray, "*cells"],
    users: Noise,
) -> Guess:
    """Seeds needed to see a paired difference of this size at this level."""
    std = np.where(std > NO_SPREAD, std, np.nan)
    smallest, largest = effect_interval(difference, std, seeds)
    guesses = [
        np.maximum(seeds_needed(size, std, level, users), seeds + 1)
        for size in (difference, largest, smallest)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(difference) / np.sqrt(users.variance)
    return Guess(*guesses, upper_power(far, np.asarray(users.df), level / 2) < POWER)


def verdict(difference: float, std: float, p: float, note: str, guess: Guess) -> str:
    """What the test of a difference says, in words; `note` says why it may not be tested."""
    if note:
        return f"undecided: {note}"
    if np.isnan(difference):
        return ""
    if np.isnan(std):
        return "undecided: one seed has no spread"
    if std <= NO_SPREAD:
        same = abs(difference) <= NO_SPREAD
        return "undecided: " + ("no difference" if same else "all seeds differ by the same")
    if p < LEVEL:
        return "better" if difference > 0 else "worse"
    if guess.few_users:
        return "undecided: too few test users, whatever the number of seeds"
    if np.isinf(guess.seeds):
        return f"undecided: more than {MOST_SEEDS:,} seeds needed"
    high = f"more than {MOST_SEEDS:,}" if np.isinf(guess.high) else f"{guess.high:.0f}"
    return f"undecided: about {guess.seeds:.0f} seeds needed ({guess.low:.0f} to {high})"


# --------------------------------------------------------------------------------------- aggregate


def aggregate(found: Scores) -> pd.DataFrame:
    """All tasks at once, a row (AGGREGATES) per row of the layout: values with their bounds.

    `rank`: mean over tasks; `improvement`: relative to the baseline in percent, mean over tasks;
    `baseline.probability`, `best_other.probability`: of a higher score than the baseline, and than
    the other row of the best rank, `best_other.run`. The bounds of an improvement are its 95%
    interval over seeds and test users, all others the middle 95% of draws of both. NaN beside
    oneself, and of bounds where there is one seed. A task in which a fit failed is left out; where
    every task has one, nothing is known.
    """
    entries = found.entries[: found.n_rows]
    whole = np.isfinite(found.values[:, : found.n_rows]).all((1, 2))
    columns: dict[str, Any] = {
        "run": [entry["run"] for entry in entries],
        "row": [entry["label"] for entry in entries],
        "data": origin([task for task, kept in zip(found.tasks, whole, strict=True) if kept]),
        "tasks": int(whole.sum()),
        "seeds": len(found.seeds),
    }
    if not whole.any():
        unknown = dict.fromkeys((f"{name}.run" for name in AGAINST), "")
        return pd.DataFrame(columns | unknown).reindex(columns=AGGREGATES)
    values, drawn = (part[..., whole, : found.n_rows, :] for part in (found.values, found.draws))
    n_seeds, itself = len(found.seeds), np.eye(found.n_rows, dtype=bool)
    counts = seed_draws(len(values), n_seeds, DRAWS)
    once = np.ones((1, *counts.shape[1:]), dtype=int)
    users = np.arange(DRAWS) % RESAMPLES  # draws of seeds and of test users are independent
    drawn = np.where(np.isfinite(drawn), drawn, values)[users]

    def ranks(values: np.ndarray, counts: np.ndarray) -> Float[np.ndarray, "draws rows"]:
        return average_rank(np.einsum("dtrs,dts->dtr", values, counts / n_seeds).round(DECIMALS))

    def best_others(rank: Float[np.ndarray, "draws rows"]) -> Int[np.ndarray, "draws rows"]:
        return np.where(itself, np.inf, rank[:, None, :]).argmin(-1)

    observed, redrawn = ranks(values[None], once), ranks(drawn, counts)
    columns |= with_bounds("rank", percentile_interval(observed[0], redrawn, n_seeds))
    columns |= with_bounds("improvement", improvement(found, whole))
    runs, rows = np.array(columns["run"], dtype=object), np.arange(found.n_rows)
    for name in AGAINST:
        if name == "baseline":
            opponents = (
                np.full_like(rank, found.baseline, dtype=int) for rank in (observed, redrawn)
            )
        else:
            opponents = (best_others(rank) for rank in (observed, redrawn))
        of_observed, of_redrawn = opponents
        chance = percentile_interval(
            probability_of_improvement(values[None], of_observed, once)[0],
            probability_of_improvement(drawn, of_redrawn, counts),
            n_seeds,
        )
        other = of_observed[0] != rows
        columns[f"{name}.run"] = np.where(other, runs[of_observed[0]], "")
        for key, bound in with_bounds(f"{name}.probability", chance).items():
            columns[key] = np.where(other, bound, np.nan)
    return pd.DataFrame(columns).round(DECIMALS)[AGGREGATES]


def improvement(found: Scores, whole: Bool[np.ndarray, " tasks"]) -> Estimate:
    """Mean over tasks of the improvement over the baseline in percent, with its 95% interval."""

    def relative(values: Float[np.ndarray, "*any rows"]) -> Float[np.ndarray, "*any rows"]:
        base = values[..., [found.baseline]]
        return 100 * (values - base) / level

    rows = np.moveaxis(found.values[whole, : found.n_rows], 1, -1)  # tasks, seeds, rows
    level = rows.mean(1)[:, [found.baseline]]
    level = np.where(level > 0, level, np.nan)[:, None]
    over_seeds = sample(relative(rows).mean(0).T)
    drawn = np.moveaxis(found.draws[:, whole, : found.n_rows], 2, -1)
    over_users = user_noise(relative(drawn).mean((1, 2)), int(found.users[whole].min()))
    estimate = confidence_interval(over_seeds.mean, seed_noise(over_seeds), over_users)
    itself = np.arange(found.n_rows) == found.baseline
    return Estimate(*(np.where(itself, np.nan, part) for part in estimate))


def with_bounds(name: str, estimate: Estimate) -> dict[str, Float[np.ndarray, " rows"]]:
    """Three columns: the value and its bounds."""
    return {f"{name}{bound}": part for bound, part in zip(BOUNDS, estimate, strict=True)}


# ------------------------------------------------------------------------------------------- pages


def statistics_page(table: pd.DataFrame, layout: dict[str, Any]) -> str:
    """`statistics` as Markdown: a table per task."""
    header = ["Row", "Mean", "Over the baseline", "p", "", "Best other", "Over it", "p", ""]
    rule = ["---", "---:", "---:", "---:", "---", "---", "---:", "---:", "---"]
    parts = [
        f"{markdown_text(data_statement(layout))}. In percent and points.",
        bullets(sentences(table, layout)).rstrip(),
    ]
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
    over = interval(*(cell[f"baseline.{key}"] for key in ("difference", "low", "high")))
    tested = {
        name: [
            "–" if pd.isna(cell[f"{name}.p_holm"]) else f"{cell[f'{name}.p_holm']:.3f}",
            markdown_text(cell[f"{name}.verdict"]),
        ]
        for name in AGAINST
    }
    mean = f"{interval(*cell[['mean', 'low', 'high']])} ± {number(cell['test_std'])}"
    note = f" ({cell['note']})" if cell["note"] else ""
    other = [markdown_text(cell["best_other.run"]), number(cell["best_other.difference"])]
    row = markdown_text(cell["row"] + note)
    return [row, mean, over, *tested["baseline"], *other, *tested["best_other"]]


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


# ----------------------------------------------------------------------------------------- command


@command
def main(argv: list[str] | None = None) -> None:
    """Write both tables, each with its page; a mistake in the input ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m userbench.report.comparison", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scores", type=Path, required=True, help="CSV of report.tables")
    parser.add_argument(
        "--predictions", type=Path, nargs="+", action="extend", required=True, metavar="FILE"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="experiment.json")
    for name in ("csv", "md", "aggregate-csv", "aggregate-md"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    layout = read_layout(args.experiment)
    # Why once for both: the test users of every prediction are drawn again here.
    found = collect(read_scores(args.scores), layout, args.predictions)
    read = artifact.fingerprints([args.scores, args.experiment, *args.predictions])
    for table, page, csv, md in (
        (statistics(found), statistics_page, args.csv, args.md),
        (aggregate(found), aggregate_page, args.aggregate_csv, args.aggregate_md),
    ):
        write_csv(csv, table)
        artifact.write_text(md, page(table, layout))
        artifact.record(csv, resolved(args), read, beside=[md])


if __name__ == "__main__":
    main()
