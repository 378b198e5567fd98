"""How often the statistics claim what is not so, and how often they see what is: simulations.

python tests/campaigns/significance.py --tables 2000

Tables are drawn whole: users who are right or wrong, seeds that shift a row, test sets that differ.
Printed beside each rate is that of the paired t test over seeds alone ("seeds alone"). The rates
are in docs/statistics.md; test_significance.py holds them to their bounds.
"""

import argparse
from typing import NamedTuple

import numpy as np
from scipy import stats

from userbench.report.statistics import command as statistics
from userbench.report.statistics import paired_scores, resampling, row_differences
from userbench.report.statistics.inference import LEVEL
from userbench.report.statistics.multiple_tests import holm, holm_over_all

DISAGREE = 0.2  # share of users on whom two rows disagree, with every seed
RIGHT = 0.6  # share of users that a row is right about
SEED_STD = 0.0097  # of a row's score over seeds, whatever the test set; of a difference 1.37 points
MAJORITY = 0.4  # score of a model that predicts one class only


class Rates(NamedTuple):
    """Share of tables with a claim, by the suite's test and by the seeds alone."""

    claimed: float
    seeds_alone: float


def right_users(
    rng: np.random.Generator, rows: int, seeds: int, users: int, gains: np.ndarray
) -> np.ndarray:
    """Whether each row and seed is right about each test user, (rows, seeds, users).

    Rows are equal in the population but for `gains`; each disagrees with a common core on users of
    its own, so that two rows disagree on DISAGREE of all users.
    """
    core = rng.random(users) < RIGHT
    own = rng.random((rows, users)) < RIGHT
    # Two rows differ where one of them, or both, left the core; a redrawn user differs from another
    # draw in 2 p (1 - p) of cases.
    apart = 2 * RIGHT * (1 - RIGHT)
    leaves = 1 - np.sqrt(1 - DISAGREE / apart)
    right = np.where(rng.random((rows, users)) < leaves, own, core)
    shift = rng.normal(0, SEED_STD, (rows, seeds)) + gains[:, None]
    # A seed turns so many users from wrong to right, or from right to wrong.
    target = np.where(shift[..., None] > 0, ~right[:, None], right[:, None])
    share = np.abs(shift) / np.where(shift > 0, 1 - RIGHT, RIGHT)
    turned = target & (rng.random((rows, seeds, users)) < share[..., None])
    return right[:, None] ^ turned


def table_of(
    rng: np.random.Generator,
    tasks: int,
    rows: int,
    seeds: int,
    users: int,
    gain: float = 0.0,
    collapse: float = 0.0,
) -> paired_scores.PairedScores:
    """A table in which the last row is better by `gain` and runs collapse with a probability."""
    gains = np.zeros(rows)
    gains[-1] = gain
    counts = resampling.draws(users).astype(np.float32)
    right = np.stack([right_users(rng, rows, seeds, users, gains) for _ in range(tasks)])
    collapsed = rng.random((tasks, rows, seeds)) < collapse
    majority = rng.random((tasks, 1, 1, users)) < MAJORITY
    right = np.where(collapsed[..., None], majority, right)
    drawn = right.reshape(-1, users).astype(np.float32) @ counts.T / users
    drawn = drawn.T.reshape(resampling.RESAMPLES, tasks, rows, seeds).astype(np.float64)
    return paired_scores.PairedScores(
        tasks=[{"task": f"t{n}", "metric": "accuracy"} for n in range(tasks)],
        entries=[{"run": f"r{n}", "label": f"R{n}"} for n in range(rows)],
        seeds=list(range(seeds)),
        values=100 * right.mean(-1),
        draws=100 * drawn,
        users=np.full(tasks, users),
        notes=np.where(collapsed.any(-1), "a seed predicts one class only", ""),
        n_rows=rows,
        compared_with=0,
    )


def p_values(found: paired_scores.PairedScores) -> tuple[np.ndarray, np.ndarray]:
    """P values of all rows against the first, (tasks, rows - 1): ours, and of seeds alone."""
    p = row_differences.differences(found, np.array([0])).p[:, 1:, 0]
    return p, paired_t(found.values[:, 1:] - found.values[:, :1])


def paired_t(differences: np.ndarray) -> np.ndarray:
    """P values of the paired t test over seeds, the last axis; of equal differences 0."""
    mean, error = differences.mean(-1), stats.sem(differences, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * stats.t.sf(np.abs(mean) / error, differences.shape[-1] - 1)


def two_rows(
    tables: int, users: int, seeds: int, gain: float = 0.0, collapse: float = 0.0
) -> Rates:
    """How often one of two rows is called better or worse than the other, in one task."""
    rng = np.random.default_rng([users, seeds])
    found = [p_values(table_of(rng, 1, 2, seeds, users, gain, collapse)) for _ in range(tables)]
    ours, alone = (np.concatenate(part).ravel() for part in zip(*found, strict=True))
    return Rates(float(np.mean(ours < LEVEL)), float(np.mean(alone < LEVEL)))


def whole_table(tables: int, users: int, seeds: int, gain: float = 0.0) -> dict[str, Rates]:
    """Ten rows and six tasks: any false claim in a table, and how often the gain is seen.

    "any": a row that is equal to the first is called better or worse, all cells corrected together
    (of the seeds alone: each row's six tasks). "cell", "row", "table": the share of the last row's
    cells that are seen at 5%, corrected over its tasks, and over the table.
    """
    rng = np.random.default_rng([users, seeds, 10])
    claims: dict[str, list[tuple[float, float]]] = {"any": [], "cell": [], "row": [], "table": []}
    for _ in range(tables):
        ours, alone = p_values(table_of(rng, 6, 10, seeds, users, gain))
        equal = slice(None) if gain == 0 else slice(-1)
        claims["any"].append(
            (np.any(holm_over_all(ours)[:, equal] < LEVEL), np.any(holm(alone.T)[equal] < LEVEL))
        )
        for name, adjust in (
            ("cell", lambda p: p),
            ("row", lambda p: holm(p.T).T),
            ("table", holm_over_all),
        ):
            claims[name].append(
                tuple(float(np.mean(adjust(p)[:, -1] < LEVEL)) for p in (ours, alone))
            )
    return {name: Rates(*np.mean(values, axis=0).tolist()) for name, values in claims.items()}


def best_of(tables: int, users: int, seeds: int) -> Rates:
    """How often one of ten equal rows is called better or worse than the others, in one task.

    Of the seeds alone: against the best other row, chosen by its score.
    """
    rng = np.random.default_rng([users, seeds, 11])
    claimed, alone = [], []
    for _ in range(tables):
        found = table_of(rng, 1, 10, seeds, users)
        # One task: corrected over the tasks is not corrected at all.
        claimed.append(np.mean(statistics.with_all_others(found)["p"] < LEVEL))
        values = found.values[0]
        means = np.where(np.eye(10, dtype=bool), -np.inf, values.mean(-1))
        against = values - values[means.argmax(-1)]
        alone.append(np.mean(paired_t(against) < LEVEL))
    return Rates(float(np.mean(claimed)), float(np.mean(alone)))


def standard_error(users: int, seeds: int) -> float:
    """True standard error of a difference of two rows over seeds and test users."""
    return float(np.sqrt(2 * SEED_STD**2 / seeds + DISAGREE / users))


def main() -> None:
    """Print all rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=2000)
    tables = parser.parse_args().tables

    def shown(rates: Rates) -> str:
        return f"{rates.claimed:.1%} | {rates.seeds_alone:.1%}"

    print("| two rows | test users | seeds | suite | seeds alone |\n|---|---:|---:|---:|---:|")
    for users in (96, 500, 2000):
        for seeds in (3, 5):
            error = standard_error(users, seeds)
            for name, gain in (("equal", 0), ("2 errors apart", 2), ("4 errors apart", 4)):
                rates = two_rows(tables, users, seeds, gain * error)
                print(f"| {name} | {users} | {seeds} | {shown(rates)} |", flush=True)
    for seeds in (3, 5):
        rates = two_rows(tables, 500, seeds, collapse=0.2)
        print(f"| equal, a fifth of runs collapse | 500 | {seeds} | {shown(rates)} |", flush=True)
    print("\n| ten equal rows, one task | users | seeds | suite | seeds alone |")
    print("|---|---:|---:|---:|---:|")
    for users, seeds in ((500, 3), (500, 5), (2000, 5)):
        rates = best_of(tables // 4, users, seeds)
        print(f"| a row better or worse than the others | {users} | {seeds} | {shown(rates)} |")
    print(
        "\n| ten rows, six tasks | users | seeds | suite | seeds alone |\n|---|---:|---:|---:|---:|"
    )
    for users, seeds in ((96, 3), (500, 3), (500, 5), (2000, 5)):
        for errors in (0, 2, 4):
            found = whole_table(tables // 2, users, seeds, errors * standard_error(users, seeds))
            for name in ("any",) if errors == 0 else ("cell", "row", "table"):
                label = f"{name}, {errors} errors" if errors else "any false claim"
                print(f"| {label} | {users} | {seeds} | {shown(found[name])} |", flush=True)


if __name__ == "__main__":
    main()
