"""Measurements -> summary, figure and page; also a command, for measurements made elsewhere.

python -m benchmarks.report --measurements measurements.csv --out results/benchmark
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from benchmarks import kernels_page, peer_page
from benchmarks.configurations import (
    CONFIGURATIONS,
    MACHINE,
    MEMORY_GROWTH,
    MEMORY_SIZES,
    SIDES,
    STAGES,
    TOTAL,
)
from benchmarks.page_text import conditions, measured_on, table
from userbench.errors import command
from userbench.results import artifact

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - the backend has to be chosen first

NUMBERS = ("seconds", "users", "tokens", "peak_memory_gib", "least_operations", "least_bytes")
KEYS = ("configuration", "side", "threads", "repetition", "stage")
# Okabe and Ito's colours, which colour-blind readers can distinguish.
COLOURS = {
    **{"ours": "#0072B2", "plain": "#E69F00", "batch": "#999999", "augment": "#CC79A7"},
    **{"forward": "#56B4E9", "backward": "#0072B2", "optimizer": "#D55E00", "rank": "#009E73"},
}
MEMORY_FILE = "memory.csv"


@command
def main(argv: list[str] | None = None) -> None:
    """Write summary, figure and page of measurements; an error ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--measurements", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of tables and figure")
    parser.add_argument("--page", type=Path, help="folder for the page, if not the same")
    args = parser.parse_args(argv)
    write(args.measurements, args.out, args.page or args.out)


def write(measurements: Path, out: Path, page_folder: Path) -> str:
    """Write everything that is made of measurements; say which promises are broken, if any.

    Memory is read from the file beside the measurements, where there is one.
    """
    frame = read(measurements)
    stages = stage_times(frame)
    summary = summarise(frame, stages)
    memory = read_memory(measurements.with_name(MEMORY_FILE))
    broken = "; ".join(filter(None, [verdict(summary), memory_verdict(memory)]))
    for name, rows in (("summary", summary), ("stages", stages)):
        text = rows.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        artifact.write_text(out / f"{name}.csv", text)
    for folder in {out, page_folder}:
        draw(summary, stages, folder)
    facts = artifact.provenance_of(measurements)
    text = page(frame, summary, stages, facts, broken)
    if not memory.empty:
        text += memory_section(memory)
    if (beside := page_folder / peer_page.KEPT).exists():
        text += peer_page.section(peer_page.read(beside), artifact.provenance_of(beside))
    if (counted := page_folder / kernels_page.KEPT).exists():
        measured = kernels_page.fastest(page_folder / kernels_page.MEASURED)
        text += kernels_page.section(pd.read_csv(counted), measured)
    if (scale := page_folder / "full-scale.csv").exists():
        text += full_scale(read_full_scale(scale), artifact.provenance_of(scale))
    artifact.write_text(page_folder / "performance.md", text)
    return broken


def read(path: Path) -> pd.DataFrame:
    """Measurements; ValueError for a file that is none, or that holds what is no measurement."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path}: cannot be read ({problem}). Run make benchmark") from None
    absent = {*KEYS, *NUMBERS} - {*frame.columns}
    if absent or frame.empty:
        raise ValueError(f"{path}: no measurements (lacks {', '.join(sorted(absent)) or 'rows'})")
    unknown = {*frame["configuration"]} - {*CONFIGURATIONS, MACHINE}
    if unknown:
        raise ValueError(f"{path}: unknown configuration {sorted(map(str, unknown))[0]!r}")
    numbers = frame[[*NUMBERS]].apply(pd.to_numeric, errors="coerce").to_numpy()
    wrong = ~(np.isfinite(numbers).all(1) & (numbers >= 0).all(1) & (frame["seconds"] != 0))
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0]) + 2
        raise ValueError(f"{path}, line {line}: a time has to be above 0, no number may be missing")
    if MACHINE not in set(frame["configuration"]):
        raise ValueError(f"{path}: the speed of the machine is missing. Run make benchmark")
    return frame


# ------------------------------------------------------------------------------------------ tables


def summarise(frame: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """One row per configuration and number of threads: medians, and how many times faster we are.

    The range of the ratio is that of the repetitions, each side beside the other's of its turn;
    `ratio_at_floor` is what it would be if we took no longer than the floor.
    """
    totals = stages[stages["stage"] == TOTAL].set_index(["threads", "configuration", "side"])
    whole = frame[frame["stage"] == TOTAL].copy()
    whole["users_per_second"] = whole["users"] / whole["seconds"]
    whole["tokens_per_second"] = whole["tokens"] / whole["seconds"]
    rows = []
    for (threads, name), part in whole.groupby(["threads", "configuration"], sort=False):
        configuration = CONFIGURATIONS[name]
        row: dict[str, Any] = {
            "configuration": name,
            "title": configuration.title,
            "threads": threads,
            "repetitions": part["repetition"].nunique(),
        }
        for side in SIDES:
            own = part[part["side"] == side]
            for measure in ("users_per_second", "tokens_per_second"):
                row[f"{side}_{measure}"] = own[measure].median()
            row[f"{side}_peak_memory_gib"] = own["peak_memory_gib"].max()
        rates = part.pivot(index="repetition", columns="side", values="users_per_second")
        paired = rates["ours"] / rates["plain"] if "plain" in rates else pd.Series(dtype=float)
        ratio = row["ours_users_per_second"] / row["plain_users_per_second"]
        row |= {"ratio": ratio, "ratio_low": paired.min(), "ratio_high": paired.max()}
        row["ratio_at_floor"] = np.nan
        if "plain" in rates:
            plain, ours = (totals.loc[threads, name, side] for side in ("plain", "ours"))
            row["ratio_at_floor"] = plain["ms_per_user"] / ours["floor_ms_per_user"]
        row["promised"] = configuration.promised
        row["kept"] = ""
        if configuration.promised is not None:
            row["kept"] = "yes" if ratio >= configuration.promised else "no"
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(summary: pd.DataFrame) -> str:
    """The broken promises of speed in one line; empty where none is."""
    broken = summary[summary["kept"] == "no"]
    parts = [
        f"{row.title} (threads: {row.threads}): {row.ratio:.1f} times as fast as plain, "
        f"not {row.promised:g}"
        for row in broken.itertuples()
    ]
    return "; ".join(parts)


def machine_speeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Operations and bytes per second of this machine at its best, by number of threads."""
    own = frame[frame["configuration"] == MACHINE]
    rates = own.assign(
        operations_per_second=own["least_operations"] / own["seconds"],
        bytes_per_second=own["least_bytes"] / own["seconds"],
    )
    medians = rates.groupby(["threads", "stage"])[["operations_per_second", "bytes_per_second"]]
    return medians.median().groupby("threads").max()  # a probe has 0 of what it does not measure


def stage_times(frame: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds per user of every stage, beside the least this machine could take."""
    speeds = machine_speeds(frame)
    sides = frame[frame["configuration"] != MACHINE].copy()
    per_user = 1e3 / sides["users"]
    sides["ms_per_user"] = sides["seconds"] * per_user
    sides["operations_per_user"] = sides["least_operations"] / sides["users"]
    sides["bytes_per_user"] = sides["least_bytes"] / sides["users"]
    fastest = speeds.loc[sides["threads"]]
    computing = sides["least_operations"].to_numpy() / fastest["operations_per_second"].to_numpy()
    moving = sides["least_bytes"].to_numpy() / fastest["bytes_per_second"].to_numpy()
    sides["floor_ms_per_user"] = np.maximum(computing, moving) * per_user
    measures = ["ms_per_user", "floor_ms_per_user", "operations_per_user", "bytes_per_user"]
    keys = ["threads", "configuration", "side", "stage"]
    stages = sides.groupby(keys, sort=False)[measures].median().reset_index()
    # The floor of a whole step is the sum of its stages', each bound by what it is bound by.
    parts = stages[stages["stage"] != TOTAL].groupby(keys[:3])["floor_ms_per_user"].sum()
    whole = stages["stage"] == TOTAL
    found = pd.MultiIndex.from_frame(stages.loc[whole, keys[:3]])
    stages.loc[whole, "floor_ms_per_user"] = parts.loc[found].to_numpy()
    return stages


def line(rows: list[dict[str, Any]], name: str, threads: int) -> str:
    """What was just measured, for whoever watches."""
    frame = pd.DataFrame(rows)
    own = frame[(frame["configuration"] == name) & (frame["threads"] == threads)]
    if name == MACHINE:
        speed = machine_speeds(own).iloc[0] / 1e9
        parts = [f"{speed.operations_per_second:.0f} GFLOP/s, {speed.bytes_per_second:.1f} GB/s"]
    else:
        whole = own[own["stage"] == TOTAL]
        rates = (whole["users"] / whole["seconds"]).groupby(whole["side"], sort=False).median()
        parts = [f"{side} {rate:,.0f} users/s" for side, rate in rates.items()]
        if len(rates) == 2:
            parts.append(f"{rates['ours'] / rates['plain']:.1f} times as fast")
    return f"{name}, threads {threads}: {', '.join(parts)}"


# ------------------------------------------------------------------------------------------ figure


def draw(summary: pd.DataFrame, stages: pd.DataFrame, out: Path) -> None:
    """Speed against plain, where the time goes, and users per second of every method."""
    most = summary["threads"].max()
    summary = summary[summary["threads"] == most]
    stages = stages[(stages["threads"] == most) & (stages["side"] == "ours")]
    compared, single = summary[summary["ratio"].notna()], summary[summary["ratio"].isna()]
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context({**style, "svg.hashsalt": "userbench"}):
        figure, panels = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
        draw_ratios(panels[0], compared)
        draw_stages(panels[1], stages, compared)
        draw_methods(panels[2], single)
        for kind in ("svg", "png"):
            metadata = {"Date": None} if kind == "svg" else None
            with artifact.atomic(out / f"performance.{kind}") as partial:
                figure.savefig(partial, format=kind, dpi=200, metadata=metadata)
        pyplot.close(figure)


def draw_ratios(axes: pyplot.Axes, compared: pd.DataFrame) -> None:
    """Times as fast as plain, with the range of the repetitions and what is promised."""
    places = np.arange(len(compared))[::-1]
    ratios = compared["ratio"].to_numpy()
    axes.barh(places, ratios, height=0.6, color=COLOURS["ours"])
    spread = np.abs(compared[["ratio_low", "ratio_high"]].to_numpy().T - ratios)
    axes.errorbar(ratios, places, xerr=spread, fmt="none", ecolor="black", capsize=2, lw=0.8)
    for place, ratio in zip(places, ratios, strict=True):  # in a column of their own, at the right
        axes.text(
            1, place, f"{ratio:.1f}", transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    wanted = compared["promised"].to_numpy(dtype=float)
    axes.vlines(wanted, places - 0.4, places + 0.4, color=COLOURS["optimizer"], lw=2)
    axes.set_yticks(places, compared["title"])
    longest = np.concatenate([compared["ratio_high"].to_numpy(), wanted, [1.0]])
    axes.set_xlim(0, 1.25 * np.nanmax(longest))
    axes.set_xlabel("times as fast as plain (line: promised)")


def draw_stages(axes: pyplot.Axes, stages: pd.DataFrame, compared: pd.DataFrame) -> None:
    """Share of each stage in our time, and the floor as a share of it."""
    places = np.arange(len(compared))[::-1]
    for place, name in zip(places, compared["configuration"], strict=True):
        own = stages[stages["configuration"] == name].set_index("stage")
        whole = own.loc[TOTAL, "ms_per_user"]
        left = 0.0
        for stage in STAGES:
            if stage in own.index:
                share = 100 * own.loc[stage, "ms_per_user"] / whole
                axes.barh(place, share, left=left, height=0.6, color=COLOURS[stage])
                left += share
        floor = 100 * own.loc[TOTAL, "floor_ms_per_user"] / whole
        axes.plot([floor, floor], [place - 0.4, place + 0.4], color="black", lw=2)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[stage]) for stage in STAGES]
    axes.legend(
        handles, STAGES, ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1)
    )
    axes.set_yticks(places, compared["title"])
    axes.set_xlabel("percent of our time (line: floor)")


def draw_methods(axes: pyplot.Axes, single: pd.DataFrame) -> None:
    """Users per second of what is measured alone."""
    places = np.arange(len(single))[::-1]
    bars = axes.barh(places, single["ours_users_per_second"], height=0.6, color=COLOURS["ours"])
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in single["ours_users_per_second"]], padding=2)
    axes.set_yticks(places, single["title"])
    axes.margins(x=0.15)
    axes.set_xlabel("users per second")


# ------------------------------------------------------------------------------------------ page


def page(
    frame: pd.DataFrame,
    summary: pd.DataFrame,
    stages: pd.DataFrame,
    facts: dict[str, Any],
    broken: str,
) -> str:
    """The page of all figures, with what they were measured on."""
    compared, single = summary[summary["ratio"].notna()], summary[summary["ratio"].isna()]
    return f"""# Performance

Generated by `make benchmark` from its measurements: edit `benchmarks/report.py`, not this page.

{conditions(facts)}

{verdict_line(summary, broken)}

![Speed against the plain implementation, shares of the stages, users per second](performance.svg)

## Against the plain implementation

{table(COMPARED, (compared_cells(row) for row in compared.itertuples()))}

*Plain* (`benchmarks/plain.py`) does what the released code of AdaptSSR does: one user at a time
through Python lists, every sequence padded to 150, attention probabilities in memory, element-wise
dropout, dense Adam, a sort of all candidates per user. The tests hold it to our numbers: equal
weights and views give equal losses, gradients and ranks. Both sides do the same mathematics on the
same simulated users (lengths and popularity as in TTL), are alive at once, and take turns. Figures
are medians; the range is that of the ratio over the turns. *Promised* are four fifths of the ratios
that were first published (2026-11-24: 5.2, 5.2, 3.7, 4.0, 5.3): a fifth is left to noise and to
other processors. *At the floor* is what the ratio would be if we took no longer than the floor
below: what lies beyond it nobody can promise. The item table has 4,048 rows where no number of
items is given. A token is a real behaviour of a user, before augmentation. Memory is the peak of
the side's own process, Python and torch included.

## Ours alone

{table(SINGLE, (single_cells(row) for row in single.itertuples()))}

Item table of 4,048 rows (padding among them) unless the row says otherwise; batches of 128; what
else there is to set is as the file in `methods/` has it.

## Where the time goes, and how far it is from the floor

{machine_lines(frame)}

The floor of a stage is the larger of two times: its operations at the first speed, its bytes at the
second. Counted are matrix products on real behaviours (no padding), ids, rows of the item table,
gradients and moments of all parameters, score matrices; not softmax, GELU, norms, dropout or
activations (`benchmarks/floor.py`). Of dense Adam it counts a read of weight, gradient and moments
and a write of weight and moments, once per step; of the item table, for the rows of the batch:
steps of others can be put off until they are read, which the plain side does not.

What lies between us and the floor is what it leaves out: passes over activations (softmax, GELU,
norms, dropout), of which the backward pass has as many again, and matrices 64 wide, whose products
run below the speed of large ones.

{table(STAGE_COLUMNS, stage_lines(stages))}
"""


def read_full_scale(path: Path) -> pd.DataFrame:
    """What `benchmarks.full_scale` wrote; ValueError for another file."""
    try:
        frame = pd.read_csv(path)
        frame[["count", "seconds", "core_seconds", "peak_memory_gib"]].astype(float)
        frame[["what", "of", "note"]]
    except (KeyError, ValueError) as problem:
        raise ValueError(f"{path}: {problem}. Make it again: make full-scale") from None
    return frame


def full_scale(frame: pd.DataFrame, facts: dict[str, Any]) -> str:
    """The section on the paper's full scale."""
    is_log = frame["what"] == "events"
    lines = map(full_scale_cells, frame[~is_log].to_dict("records"))
    logs = "".join(event_log_section(row, facts) for row in frame[is_log].to_dict("records"))
    return f"""
## At the paper's full scale

{measured_on(facts.get("earlier", facts))}

By `make full-scale`, on a simulated world with as many users and items as the paper has (1,470,149
users and 645,972 items of TTL, 1,575,837 users of App). Each line is a process of its own on one
thread; core seconds do not count what else the machine was doing. Steps are as many as `--steps` or
`--seconds` allowed, of the paper's batch size at full vocabulary; what a method would start from
has not been trained, which costs the same. Memory is the peak of the process, Python, torch and the
store included.

{table(FULL_SCALE_COLUMNS, lines)}
{logs}"""


def event_log_section(row: dict[str, Any], facts: dict[str, Any]) -> str:
    """The section on reading a log of events."""
    return f"""
## A log of events

{conditions(facts)}

By `make full-scale FLAGS="--only events"`: `userbench events corpus` on one Parquet file with texts
as ids, rows in the order of their times and half of these in whole hours; a 5-core, everybody's
last three events held out. Reading, sorting by user and time, the k-core, all counts of the
manifest and writing are in it. Memory is the peak of the process, of which the engine (DuckDB) may
take 2 GB before it goes to the disk; the rest is Python's arrays.

{table(FULL_SCALE_COLUMNS, [full_scale_cells(row)])}
"""


def full_scale_cells(row: dict[str, Any]) -> list[str]:
    """One line of the last table."""
    per_second = row["count"] / row["core_seconds"]
    return [
        f"{row['what']} {row['of']}",
        f"{row['count']:,.0f} {row['note']}",
        f"{row['seconds']:,.1f}",
        f"{row['core_seconds']:,.1f}",
        f"{per_second:,.2f}" if row["what"] in RATES else "",
        f"{row['peak_memory_gib']:.2f}",
    ]


def verdict_line(summary: pd.DataFrame, broken: str) -> str:
    """Whether promises are kept, where there are any."""
    if broken:
        return f"**Broken promises:** {broken}."
    promised = summary["promised"].notna().any()
    return "Every promise is kept." if promised else "Nothing was measured that is promised."


def read_memory(path: Path) -> pd.DataFrame:
    """What `benchmarks.level_memory` measured, or nothing; ValueError for another file."""
    columns = ["steps", "seconds", "resident_gib"]
    if not path.exists():
        return pd.DataFrame(columns=columns)
    try:
        frame = pd.read_csv(path)[columns].astype(float)
    except (KeyError, ValueError) as problem:
        raise ValueError(f"{path}: {problem}. Run make benchmark") from None
    if len(frame) < 2 or not (frame > 0).all(axis=None):
        raise ValueError(f"{path}: two rows of numbers above 0 are needed. Run make benchmark")
    return frame


def growth(memory: pd.DataFrame) -> float:
    """How many times the first row's memory the last one's is."""
    return memory["resident_gib"].iloc[-1] / memory["resident_gib"].iloc[0]


def memory_line(memory: pd.DataFrame) -> str:
    """Memory early and late in a training, in words."""
    early, late = memory.iloc[0], memory.iloc[-1]
    return (
        f"memory of a training: {late.resident_gib:.2f} GiB after {late.steps:,.0f} steps, "
        f"{growth(memory):.2f} times the {early.resident_gib:.2f} after {early.steps:,.0f}"
    )


def memory_verdict(memory: pd.DataFrame) -> str:
    """What memory breaks of its promise; empty where it keeps it or was not measured."""
    if memory.empty or growth(memory) <= MEMORY_GROWTH:
        return ""
    return f"{memory_line(memory)}, not at most {MEMORY_GROWTH:g}"


def memory_section(memory: pd.DataFrame) -> str:
    """The section on memory early and late in a training."""
    lines = (
        [f"{row.steps:,.0f}", f"{row.resident_gib:.2f}", f"{row.seconds:,.1f}"]
        for row in memory.itertuples()
    )
    return f"""
## Memory of a training on a CPU stays level

{table("after steps|resident, GiB|seconds", lines)}

Masked items in a process of its own: dim {MEMORY_SIZES["dim"]}, {MEMORY_SIZES["n_items"]:,} items,
batches of {MEMORY_SIZES["batch_size"]}, each of another shape. The last line holds
{growth(memory):.2f} times as much as the first; promised is at most {MEMORY_GROWTH:g}. Resident is
what the process holds at that moment, Python, torch and the users included
(`userbench.training.cpu_memory` says what keeps it level).
"""


COMPARED = (
    "|threads|ours, users/s|plain, users/s|times as fast|range|promised|at the floor|ours, tokens/s"
    "|plain, tokens/s|ours, GiB|plain, GiB"
)
SINGLE = "|threads|users/s|tokens/s|GiB"
STAGE_COLUMNS = (
    "configuration|threads|stage|MFLOP per user|MB per user|floor, ms per user|ours, ms per user"
    "|ours / floor|plain, ms per user"
)

RATES = ("steps", "rank", "events")  # what has a number per core second
FULL_SCALE_COLUMNS = "|of|seconds|core seconds|per core second|peak GiB"


def compared_cells(row: Any) -> list[str]:
    """One line of the first table."""
    return [
        row.title,
        str(row.threads),
        f"{row.ours_users_per_second:,.0f}",
        f"{row.plain_users_per_second:,.1f}",
        f"**{row.ratio:.1f}**",
        f"{row.ratio_low:.1f} to {row.ratio_high:.1f}",
        "" if pd.isna(row.promised) else f"{row.promised:.1f}",
        f"{row.ratio_at_floor:.1f}",
        f"{row.ours_tokens_per_second:,.0f}",
        f"{row.plain_tokens_per_second:,.0f}",
        f"{row.ours_peak_memory_gib:.2f}",
        f"{row.plain_peak_memory_gib:.2f}",
    ]


def single_cells(row: Any) -> list[str]:
    """One line of the second table."""
    return [
        row.title,
        str(row.threads),
        f"{row.ours_users_per_second:,.0f}",
        f"{row.ours_tokens_per_second:,.0f}",
        f"{row.ours_peak_memory_gib:.2f}",
    ]


def stage_lines(stages: pd.DataFrame) -> list[list[str]]:
    """Lines of the third table: configurations with two sides, stage by stage."""
    keys = ["threads", "configuration", "stage"]
    sides = {side: part.set_index(keys) for side, part in stages.groupby("side")}
    lines = []
    for (threads, name, stage), ours in sides["ours"].iterrows():
        if "plain" not in CONFIGURATIONS[name].sides:
            continue
        plain = sides["plain"]["ms_per_user"].get((threads, name, stage), float("nan"))
        times = ours.ms_per_user / ours.floor_ms_per_user if ours.floor_ms_per_user else np.inf
        lines.append(
            [
                CONFIGURATIONS[name].title,
                str(threads),
                stage,
                f"{ours.operations_per_user / 1e6:.3f}",
                f"{ours.bytes_per_user / 1e6:.3f}",
                f"{ours.floor_ms_per_user:.4f}",
                f"{ours.ms_per_user:.4f}",
                f"{times:.1f}",
                "" if np.isnan(plain) else f"{plain:.4f}",
            ]
        )
    return lines


def machine_lines(frame: pd.DataFrame) -> str:
    """What this machine can do, measured in the same run."""
    parts = [
        f"threads {threads}, {speed.operations_per_second / 1e9:,.1f} GFLOP/s in products of large "
        f"matrices and {speed.bytes_per_second / 1e9:,.1f} GB/s (read and written) in the "
        "faster of copies and changes in place"
        for threads, speed in machine_speeds(frame).iterrows()
    ]
    return "This machine, in the same run: " + "; ".join(parts) + "."


if __name__ == "__main__":
    main()
