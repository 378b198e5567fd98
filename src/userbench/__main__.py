"""`userbench <command>`: what is asked of the suite beside running its workflow."""

import importlib
import signal
import sys

COMMANDS = {
    "audit": ("report.audit", "whether every number of the results can be traced to its origin"),
    "check": ("experiment.check", "whether a config can be run, and if not, which key is wrong"),
    "methods": ("catalogue", "methods and views, their fields and defaults"),
    "plan": ("plan.command", "what a run of the workflow will cost, before anything is spent"),
    "schema": ("experiment.schema", "the JSON schema of a config, for editors"),
    "verify": ("report.verify", "which figures of the paper the results reproduce"),
}


def main() -> None:
    """Call the command that the first word names."""
    # Why: `userbench verify | head` is to end as other commands do when nobody reads on.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name not in COMMANDS:
        told = "\n".join(f"  {command}: {what}" for command, (_, what) in COMMANDS.items())
        sys.exit(f"usage: userbench <command> ...\n{told}")
    importlib.import_module(f"userbench.{COMMANDS[name][0]}").main(rest)


if __name__ == "__main__":
    main()
