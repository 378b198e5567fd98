"""`userbench <command>`: every command explains itself, and what needs no torch loads none."""

import argparse
import importlib
import subprocess
import sys

import pytest

from userbench.__main__ import COMMANDS, overview

NAMES = {name: module for group in COMMANDS.values() for name, module in group.items()}


def test_overview_lists_every_command_once_with_a_sentence():
    """Wrong: a newcomer does not find a command, or reads nothing of what it does."""
    text = overview()
    assert len(NAMES) == sum(map(len, COMMANDS.values()))
    for name in NAMES:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert line.endswith(".") and len(line) < 110


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_flag(name, monkeypatch, capsys):
    """Wrong: a flag has no explanation, or the usage names another command."""
    seen = []
    monkeypatch.setattr(
        argparse.ArgumentParser,
        "parse_args",
        lambda self, words: seen.append(self) or self.exit(),
    )
    module = importlib.import_module(f"userbench.{NAMES[name]}")
    with pytest.raises(SystemExit):
        module.main([])
    (parser,) = seen
    assert parser.prog == f"userbench {name}" and parser.description == module.__doc__
    for action in flags_of(parser):
        assert action.help, f"{name} {action.option_strings or action.dest}"


def flags_of(parser):
    """All flags of a parser and of its parts."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from flags_of(part)
        else:
            yield action


@pytest.mark.parametrize("words", [["--help"], ["check", "workflow/config/smoke.yaml"]])
def test_help_and_check_load_no_torch(words):
    """Wrong: to look at the commands takes the seconds that torch takes to load."""
    code = (
        "import sys; sys.argv[1:] = {!r}\n"
        "from userbench.__main__ import main\nmain()\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code.format(words)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_unknown_command_is_one_line():
    run = subprocess.run(
        [sys.executable, "-m", "userbench", "pretrian"], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr == "error: no command 'pretrian'. `userbench --help` lists all commands\n"
