"""Hyper-parameters as fields of a dataclass: types that bound their values, and the checks.

A field of type `Literal["masked", "next"]` has one of these values; one of type `Positive` is above
0. A dataclass that calls `check_values(self)` in `__post_init__` rejects everything else.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Bound(NamedTuple):
    """A condition on a number, and its wording in a message."""

    holds: Callable[[float], bool]
    text: str


Positive = Annotated[float, Bound(lambda value: value > 0, "above 0")]
NotNegative = Annotated[float, Bound(lambda value: value >= 0, "0 or more")]
Ratio = Annotated[float, Bound(lambda value: 0 < value <= 1, "above 0 and at most 1")]
Progress = Annotated[float, Bound(lambda value: 0 <= value <= 1, "from 0 to 1")]
Count = Annotated[int, Bound(lambda value: value >= 1, "1 or more")]


def check_values(config: Any) -> None:
    """Check the fields of a dataclass that have a value; ValueError for one outside its type."""
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        check_value(name, getattr(config, name), hint)


def check_value(name: str, value: Any, hint: Any) -> None:
    """ValueError for a value, other than None, that is none of a `Literal` or outside a `Bound`."""
    if value is None:
        return
    for part in (hint, *get_args(hint)):  # `Count | None` bounds one of its parts
        if get_origin(part) is Literal and value not in get_args(part):
            raise ValueError(f"{name}={value!r}: use one of {', '.join(get_args(part))}")
        for bound in getattr(part, "__metadata__", ()):
            if not bound.holds(value):
                raise ValueError(f"{name}={value}: must be {bound.text}")


def check_fields(kind: type, changes: dict[str, Any], of: str) -> None:
    """ValueError for a name that is no field of a dataclass, or a value outside its type."""
    known = [field.name for field in fields(kind) if field.init]
    unknown = sorted(changes.keys() - set(known))
    if unknown:
        raise ValueError(f"{of} has no hyper-parameter {unknown[0]!r}. It has: {', '.join(known)}")
    types, bounds = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for name, value in changes.items():
        if not has_type(value, types[name]):
            what = getattr(types[name], "__name__", types[name])
            raise ValueError(f"{of}: {name} {value!r} is no {what}")
        check_value(name, value, bounds[name])


def has_type(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON suits a field of this type: 1 a float, a dict a dataclass."""
    if get_origin(hint) is Literal:
        return True  # `check_value` reports the choices
    if get_origin(hint) is list:
        return isinstance(value, list) and all(has_type(v, *get_args(hint)) for v in value)
    if get_origin(hint) is dict:
        below = get_args(hint)[1]
        return isinstance(value, dict) and all(has_type(v, below) for v in value.values())
    if parts := get_args(hint):
        return any(has_type(value, part) for part in parts)
    if isinstance(value, bool):
        return hint is bool
    if is_dataclass(hint) and isinstance(value, dict):
        return True
    return isinstance(value, (float, int) if hint is float else hint)
