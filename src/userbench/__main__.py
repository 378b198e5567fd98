"""`userbench <command>`, or `python -m userbench <command>`: all commands of the suite."""

import ast
import importlib
import signal
import sys
from pathlib import Path

# Commands by group, each with the module whose `main` it calls.
COMMANDS = {
    "Data": {
        "inspect": "data.events.inspect.command",
        "simulate": "data.simulate",
        "ingest": "data.ingest",
        "events": "data.events.command",
        "split": "data.draw_splits",
        "neighbours": "data.neighbours",
    },
    "Training and testing": {
        "pretrain": "pretrain",
        "finetune": "finetune",
        "embed": "embed",
        "frozen": "frozen",
        "similarity": "similarity",
        "counts": "counts",
        "baselines": "baselines",
    },
    "Configs and methods": {
        "check": "experiment.check",
        "schema": "experiment.schema",
        "methods": "catalogue",
        "conformance": "conformance",
        "plan": "plan.command",
    },
    "Results": {
        "adopt": "adopt.command",
        "audit": "report.audit.command",
        "verify": "report.verdict.verify",
    },
    "Tables, figures and pages": {
        "experiment": "report.experiment",
        "scores": "results.scores",
        "table1": "report.tables.table1",
        "table2": "report.tables.table2",
        "statistics": "report.statistics.command",
        "agreement": "report.statistics.agreement",
        "verdict": "report.verdict.command",
        "headline": "report.tables.headline",
        "fairness": "report.tables.fairness",
        "tuning": "report.tables.tuning",
        "effects": "report.tables.effects",
        "ambiguities": "report.tables.ambiguities",
        "figure": "report.drawing.command",
        "page": "report.page.command",
        "readme": "report.readme",
    },
}
HERE = Path(__file__).parent


def main() -> None:
    """Call the command that the first word names."""
    # Why: `userbench verify | head` is to end as other commands do when nobody reads on.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, *words = sys.argv[1:] or ["--help"]
    modules = {name: module for group in COMMANDS.values() for name, module in group.items()}
    if name in ("-h", "--help"):
        print(overview())
    elif name not in modules:
        sys.exit(f"error: no command {name!r}. `userbench --help` lists all commands")
    else:
        importlib.import_module(f"userbench.{modules[name]}").main(words)


def overview() -> str:
    """All commands in their groups, each with the first line of its module's docstring."""
    lines = ["usage: userbench <command> ...", ""]
    for group, commands in COMMANDS.items():
        lines.append(group)
        lines += [f"  {name:<12} {summary(module)}" for name, module in commands.items()]
        lines.append("")
    return "\n".join([*lines, "userbench <command> --help names the flags of one."])


def summary(module: str) -> str:
    """The first line of a module's docstring; the module is not imported, which may load torch."""
    source = (HERE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)).partition("\n")[0]


if __name__ == "__main__":
    main()
