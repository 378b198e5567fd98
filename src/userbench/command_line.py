"""What commands share: parsers whose help names every default, and types of flags."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written, and the default of each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, [], {}):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser, and those of its subcommands, that know `~` in every path."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", Path, home_expanded)


def home_expanded(text: str) -> Path:
    """A path with its `~` expanded, which shells do not do in `--flag=~/x`."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # of a user that there is not: a name that begins with `~`
        return Path(text)


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of `userbench <name>`; `description` is the docstring of its module."""
    return Parser(prog=f"userbench {name}", description=description, formatter_class=HelpFormatter)


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number of `least` or more."""

    def number(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return number


def json_object(text: str) -> dict[str, Any]:
    """A type for argparse: a JSON object."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object, like {{"name": 1}}')
    return content


def string_mapping(flag: str, text: str) -> dict[str, str]:
    """A JSON object of strings from the command line; ValueError for anything else."""
    try:
        mapping = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{flag} {text}: not JSON ({error})") from error
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise ValueError(f'{flag} {text}: not a JSON object of strings, like {{"a.csv": "0f.."}}')
    return mapping
