"""Rows of `benchmarks.gpu` -> one table and a page; also a command, for rows measured elsewhere.

python -m benchmarks.gpu_page --out results/gpu
python -m benchmarks.gpu_page --rows docs/results/gpu/h100.jsonl --commit e11d820 --page docs/gpu.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from userbench.errors import command
from userbench.results import artifact

SECTIONS = ("machine", "correctness", "methods", "softmax", "finetuning", "sharing", "profile")
SECTIONS += ("predicted", "variants", "waits")
# What was promised, the row it is promised of, and whether less is better.
TARGETS = (
    ("AdaptSSR, seconds per epoch", "adaptssr", "epoch_seconds", 15, "at most"),
    ("MLM with the exact softmax, seconds per epoch", "mlm", "epoch_seconds", 60, "at most"),
    ("AdaptSSR, times as fast as plain", "adaptssr", "times_plain", 30, "at least"),
)
GENERATED = (
    "Generated from the rows of `make gpu` by `benchmarks/gpu_page.py`. What is not here was not "
    "measured. [performance.md](performance.md) has what is predicted from counts; "
    "[sharing-a-gpu.md](sharing-a-gpu.md) says how several trainings share a GPU."
)
SPEED = {
    "what": "method",
    "set": "set",
    "kernels": "kernels",
    "precision": "precision",
    "capture": "capture",
    "users_per_second": "users/s",
    "tokens_per_second": "behaviours/s",
    "ms_per_step": "ms per step",
    "epoch_seconds": "s per epoch",
    "share_of_peak": "share of peak",
    "times_plain": "x plain",
    "peak_memory_gib": "GiB",
    "warm_up_seconds": "warm-up, s",
    "error": "error",
}
COLUMNS = {
    "machine": {"what": "what", "precision": "precision", "per_second": "per second"},
    "correctness": {
        "what": "method",
        "check": "check",
        "loss_error": "loss",
        "gradient_error": "gradients",
        "bf16_loss_error": "loss, bf16",
        "bf16_gradient_error": "gradients, bf16",
        "repeats": "same bits again",
        "captured_error": "captured",
        "table_error": "item table, absolute",
        "ok": "ok",
        "error": "error",
    },
    "methods": SPEED,
    "softmax": {
        "what": "by",
        "ms": "ms",
        "peak_memory_gib": "GiB",
        "loss_error": "loss",
        "gradient_error": "gradients",
        "chi_squared": "chi-squared",
        "ok": "ok",
        "skipped": "",
        "error": "error",
    },
    "waits": {"what": "method", "waits": "waits at", "ok": "ok", "skipped": "", "error": "error"},
    "variants": SPEED,
    "finetuning": {**SPEED, "what": "kind"},
    "profile": {
        "what": "step",
        "kernel": "kernel",
        "launches": "launches a step",
        "microseconds": "us a step",
        "error": "error",
    },
    "predicted": {
        "what": "step",
        "kernels": "kernels",
        "gigabytes": "GB",
        "predicted_ms": "ms, predicted",
        "ms_per_step": "ms, measured",
        "times_predicted": "measured / predicted",
        "error": "error",
    },
    "sharing": {
        "jobs": "jobs at once",
        "mps": "under MPS",
        "users_per_second": "users/s, together",
        "slowest_job": "users/s of the slowest",
        "error": "error",
    },
}
TITLES = {
    "machine": "This device: operations and bytes in a second",
    "correctness": "Errors, relative: GPU against CPU in fp32 (tolerances 1e-4 and 1e-3), bf16 "
    "against fp32 (5e-2), captured steps against others (1e-2), the item "
    "table after 300 steps (1e-6)",
    "methods": "Every method at full scale, and the plain way",
    "softmax": "The exact softmax at 2,304 predictions of 645,973 items, forward and backward: "
    "errors relative (tolerances 1e-4 and 1e-2); CCL's fills of as many places: chi-squared by its "
    "degrees of freedom",
    "waits": "Where a step waits for the device",
    "variants": "Precision, capture, kernels of our own or torch alone",
    "sharing": "AdaptSSR, several jobs on the device",
    "finetuning": "Fine-tuning of either kind, encoder and all",
    "profile": "Kernels of a step that is not captured, longest first",
    "predicted": "Steps as predicted from counts, and as measured (bf16, captured)",
}


@command
def main(argv: list[str] | None = None) -> None:
    """Write table and page of rows; an error ends it with one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder of the rows, for gpu.csv and gpu.md, too")
    parser.add_argument("--rows", type=Path, help="or: one file of rows")
    parser.add_argument("--page", type=Path, help="and the page to make of it")
    parser.add_argument("--commit", help="of rows that were measured outside a checkout")
    args = parser.parse_args(argv)
    if args.out:
        write(args.out)
    elif args.rows and args.page:
        rows, facts = read(args.rows)
        for fact in facts.values():
            fact["git"].setdefault("commit", args.commit or "")
        artifact.write_text(args.page, page(rows, facts))
    else:
        raise ValueError("say --out, or --rows and --page")


def write(folder: Path) -> None:
    """Write gpu.csv and gpu.md of all rows in a folder; ValueError where there are none."""
    rows, facts = read(folder)
    frame = pd.DataFrame(rows)
    artifact.write_text(folder / "gpu.csv", frame.to_csv(index=False, lineterminator="\n"))
    artifact.write_text(folder / "gpu.md", page(rows, facts))


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Rows of a file or of a folder of sections, and what each section was measured on.

    Rows get what follows from other rows. ValueError where there are none.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = sorted(map(json.loads, lines), key=lambda row: SECTIONS.index(row["section"]))
    facts = {row["section"]: row for row in found if row["what"] == "hardware"}
    rows = [row for row in found if row["what"] != "hardware"]
    if not rows:
        raise ValueError(f"{path}: no rows. Run python -m benchmarks.gpu")
    peaks = {r["precision"]: r.get("per_second") for r in rows if r["what"] == "matrix product"}
    plain = next((r.get("users_per_second") for r in rows if r["what"] == "plain"), None)
    for row in rows:
        speed, peak = row.get("users_per_second"), peaks.get(row.get("precision"))
        if speed and peak and "operations_per_user" in row:
            row["share_of_peak"] = speed * row["operations_per_user"] / peak
        if speed and plain and row["what"] == "adaptssr" and row["section"] != "sharing":
            row["times_plain"] = speed / plain
    compare_with_measured(rows)
    return rows, facts


def compare_with_measured(rows: list[dict[str, Any]]) -> None:
    """Put the measured time beside each predicted one."""
    measured = {
        f"finetune {row['what']}" if row["section"] == "finetuning" else row["what"]: row
        for row in rows
        if row["section"] in ("methods", "finetuning") and row.get("capture") == "graph"
    }
    for row in rows:
        found = measured.get(row["what"], {}).get("ms_per_step")
        if row["section"] == "predicted" and found and "predicted_ms" in row:
            row["ms_per_step"] = found
            row["times_predicted"] = found / row["predicted_ms"]


def page(rows: list[dict[str, Any]], facts: dict[str, dict[str, Any]]) -> str:
    """The page, in Markdown."""
    lines = ["# Training on a GPU", "", GENERATED, ""]
    for description in {describe(fact): None for fact in facts.values()}:
        lines += [description, ""]
    if any(fact.get("tiny") for fact in facts.values()):
        lines += ["**A toy corpus: no figure here means anything.**", ""]
    lines += [
        "Simulated users with lengths as in TTL: 1.47 million, 645,972 items, batches of 128. An "
        "epoch is nine tenths of the users. Share of peak: operations that the model needs, on "
        "real behaviours, over what matrix products of that precision reach here.",
        "",
        "| target | asked | best | by |",
        "|---|---:|---:|---|",
    ]
    lines += [target_line(rows, *target) for target in TARGETS]
    for name in SECTIONS:
        own = [row for row in rows if row["section"] == name]
        if own:
            lines += ["", f"## {TITLES[name]}", "", *table(own, COLUMNS[name])]
    return "\n".join(lines) + "\n"


def describe(fact: dict[str, Any]) -> str:
    """The machine and the code in one line."""
    machine, libraries = fact["hardware"], fact["libraries"]
    commit = fact["git"].get("commit", "")[:12] or "no checkout"
    return (
        f"{machine['gpu'] or machine['processor']}, torch {libraries['torch']}, Python "
        f"{fact['python']}, commit {commit}, {fact['finished'][:10]}."
    )


def target_line(
    rows: list[dict[str, Any]], title: str, what: str, number: str, asked: float, least: str
) -> str:
    """One target and the best row it is met or missed by; empty where nothing was measured."""
    found = [r for r in rows if r["what"] == what and number in r and "set" not in r]
    if not found:
        return f"| {title} | {least} {asked} | | |"
    best = (min if least == "at most" else max)(found, key=lambda row: row[number])
    met = best[number] <= asked if least == "at most" else best[number] >= asked
    how = f"{best['precision']}, {best['capture']}: {'met' if met else 'missed'}"
    return f"| {title} | {least} {asked} | {shown(best[number])} | {how} |"


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    """Lines of a Markdown table of the columns that any row has."""
    columns = {key: title for key, title in columns.items() if any(key in row for row in rows)}
    rows = [{**row, "mps": "yes" if row["mps"] else "no"} if "mps" in row else row for row in rows]
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(shown(row.get(key, "")) for key in columns) + " |")
    return lines


def shown(value: Any) -> str:
    """A value as a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(value) or "nowhere"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value).replace("|", "/")


if __name__ == "__main__":
    main()
