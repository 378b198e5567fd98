"""Content of YAML and JSON files, checked against pydantic models: errors are one line each.

A line names the place, what is wrong there and, where it is known, the remedy.
"""

import difflib
import json
import reprlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from userbench.errors import one_line

# Keys of configs that had another name once.
RENAMED = {"set": "overrides", "given": "inputs", "baseline": "compared_with"}
REMOVED = {"together": "seeds of one process are always trained one after the other"}


def parse_json(text: str | bytes, source: str) -> Any:
    """Parse JSON; NaN and the infinities, which Python would accept, are rejected.

    Raises:
        ValueError: the text is not JSON; the message names the source.
    """

    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; ValueError, naming it, where it is none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(one_line(f"{path}: not valid YAML: {error}")) from None


def read_json(path: Path, kind: Any) -> Any:
    """The content of a JSON file, as plain values; ValueError unless it is of this kind."""
    content = parse_json(path.read_bytes(), str(path))
    validated(content, kind, str(path))
    return content


def validated(content: Any, kind: Any, source: str) -> Any:
    """The content as an object of this kind: a model, or a type of models.

    Raises:
        ValueError: it is not of this kind; the message names source, place and reason.
    """
    try:
        return adapter(kind).validate_python(content)
    except ValidationError as errors:
        raise ValueError(one_line(f"{source}: {first_problem(errors, kind)}")) from None


@cache
def adapter(kind: Any) -> TypeAdapter:
    """The validator of a kind. Why cached: there are thousands of score files."""
    return TypeAdapter(kind)


def first_problem(errors: ValidationError, kind: Any) -> str:
    """The first thing that a kind rejects, with its place; an unknown key comes before all others.

    Of a value that may be of several types, the messages of all: only one of them was meant.
    """
    found = errors.errors(include_url=False)
    first = min(found, key=lambda error: error["type"] != "extra_forbidden")
    place = keys(first["loc"], kind)
    where, above = dotted(place), dotted(place[:-1])
    value = reprlib.repr(first["input"])
    if first["type"] == "extra_forbidden":
        return unknown_key(place, known_keys(first["loc"][:-1], kind))
    if first["type"] == "missing":
        return f"{above}: {place[-1]!r} is missing"
    if first["type"] == "union_tag_not_found":
        return f"{where}: {first['ctx']['discriminator']} is missing"
    if first["type"] == "union_tag_invalid":
        key = first["ctx"]["discriminator"].strip("'")
        found = reprlib.repr(first["input"][key])
        return f"{where}.{key}: {found} should be one of {first['ctx']['expected_tags']}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{where}: {value} is no mapping of keys to values"
    if place[-1:] == ["[key]"]:
        return f"{above}: {value} is no name of small letters, digits, _ and -"
    if " should " not in first["msg"]:
        return f"{where}: {value}: {first['msg']}"
    messages = [e["msg"] for e in found if e["loc"][: len(place)] == first["loc"][: len(place)]]
    wanted = " or ".join(dict.fromkeys(message.partition(" ")[2] for message in messages))
    return f"{where}: {value} {wanted}{hint(first['input'], wanted)}"


def dotted(place: Iterable[Any]) -> str:
    """A place as shown: keys and list indices with dots between them."""
    return ".".join(map(str, place)) or "top level"


def hint(value: Any, wanted: str) -> str:
    """How to write what YAML or the model takes for something else; mostly empty."""
    if "list" in wanted and isinstance(value, str):
        return f": write [{value}]"
    if "number" not in wanted and "integer" not in wanted:
        return ""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    if isinstance(value, str):
        dot = ", or 1.0e-3 for 1e-3" if "e" in value.lower() else ""
        return f". It is read as a text: write {number:g}{dot}"
    return f": write {number:g}" if "integer" in wanted and number.is_integer() else ""


def is_type_name(part: Any) -> bool:
    """Whether a part of a place is pydantic's name of one of several types, and no key."""
    return isinstance(part, str) and (part == "constrained-int" or part.startswith("literal["))


def unknown_key(place: list[Any], known: list[str]) -> str:
    """A key that does not exist, and one of the known ones that may have been meant."""
    *above, unknown = place
    where = dotted(above)
    if RENAMED.get(unknown) in known:
        return f"{where}: {unknown!r} is now called {RENAMED[unknown]!r}. Rename it"
    if unknown in REMOVED and not above:
        return f"{where}: {unknown!r} is no longer a key: {REMOVED[unknown]}. Delete it"
    if near := difflib.get_close_matches(unknown, known, n=1):
        return f"{where}: unknown key {unknown!r}; did you mean {near[0]!r}?"
    return f"{where}: unknown key {unknown!r}" + (f"; known: {', '.join(known)}" if known else "")


def keys(place: Iterable[Any], kind: Any) -> list[Any]:
    """The keys of a place that pydantic names, without the names of types among them."""
    return [key for key, _ in steps(place, kind) if key is not None]


def known_keys(place: Iterable[Any], kind: Any) -> list[str]:
    """The keys of the model at a place of this kind; none where its type depends on the value."""
    for _, there in steps(place, kind):
        kind = there
    kind = without_none(kind)
    return list(kind.model_fields) if is_model(kind) else []


def steps(place: Iterable[Any], kind: Any) -> Iterator[tuple[Any, Any]]:
    """Each key of a place with the type of what is there; the tag of a union of models is none."""
    for part in place:
        if part in (models := models_by_tag(kind)):
            kind = models[part]
            yield None, kind
        elif not is_type_name(part):
            kind = type_below(without_none(kind), part)
            yield part, kind


def type_below(kind: Any, key: Any) -> Any:
    """The type of what a model or a container of this type has at a key; None if it is unknown."""
    if is_model(kind):
        return kind.model_fields[key].annotation if key in kind.model_fields else None
    return get_args(kind)[-1] if get_origin(kind) in (list, dict) else None


def models_by_tag(kind: Any) -> dict[str, Any]:
    """The models of a union that are told apart by the value of a field; none of another type."""
    union, *about = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    fields = [of.discriminator for of in about if getattr(of, "discriminator", None)]
    return {
        tag: model
        for field in fields
        for model in get_args(union)
        for tag in get_args(model.model_fields[field].annotation)
    }


def without_none(kind: Any) -> Any:
    """A type without its annotation, and without the None that it may be instead."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is not UnionType:
        return kind
    others = [part for part in get_args(kind) if part is not NoneType]
    return others[0] if len(others) == 1 else kind


def is_model(kind: Any) -> bool:
    """Whether a type is a pydantic model."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
