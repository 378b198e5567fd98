"""Config files: YAML in which no key is there twice and every key is a text; several are merged."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from userbench.experiment.config import Fields
from userbench.experiment.validation import read_yaml


def read_configs(paths: Iterable[Path]) -> Fields:
    """What config files say together: of a key that several have, the last one counts.

    Raises:
        ValueError: a file is no YAML mapping, or has a key twice.
    """
    content: Fields = {}
    for path in paths:
        check_keys_once(path)
        read = read_yaml(path)
        if not isinstance(read, dict):
            raise ValueError(f"{path}: is no mapping of keys to values. See workflow/config/")
        content = updated(content, read)
    return content


def updated(content: Fields, changes: Fields) -> Fields:
    """The content with changes, mappings inside of it too: as Snakemake merges config files."""
    result = dict(content)
    for key, value in changes.items():
        before = result.get(key)
        both = isinstance(value, dict) and isinstance(before, dict)
        result[key] = updated(before, value) if both else value
    return result


def check_keys_once(path: Path) -> None:
    """ValueError where a key is there twice: of these, YAML takes the last without a word."""
    try:
        nodes = [yaml.compose(path.read_text(encoding="utf-8"))]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise ValueError(
                        f"{path}:{line}: {key.value!r} is there twice, first in line "
                        f"{lines[key.value]}. Remove one of them"
                    )
                lines[key.value] = line
                nodes.append(value)


def check_keys_are_texts(content: Any, where: tuple[Any, ...] = ()) -> None:
    """ValueError where YAML made a key a number (3) or a truth value (on, yes)."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        if isinstance(content, dict) and not isinstance(key, str):
            place = ".".join(map(str, where)) or "top level"
            raise ValueError(f"{place}: the key {key} is not a text. Put it in quotes")
        if isinstance(value, dict | list):
            check_keys_are_texts(value, (*where, key))
