"""Fields of a `Config`: what each type accepts, and what a message says of the rest."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

NAN = float("nan")


@pytest.fixture
def config():
    """One field of each type, with a value that it accepts."""
    from userbench.fields import Count, NotNegative, Positive, Progress, Ratio, check_values

    @dataclass(frozen=True)
    class Config:
        choice: Literal["dot", "cosine"] = "dot"
        positive: Positive = 1e-9
        weight: NotNegative = 0.0
        ratio: Ratio = 1.0
        share: Progress | None = None
        count: Count = 1
        free: float = -1.0

        def __post_init__(self):
            check_values(self)

    return Config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": "euclidean"}, "choice='euclidean': use one of dot, cosine"),
        ({"positive": 0.0}, "positive=0.0: must be above 0"),
        ({"positive": NAN}, "positive=nan: must be above 0"),
        ({"weight": -0.1}, "weight=-0.1: must be 0 or more"),
        ({"ratio": 0.0}, "ratio=0.0: must be above 0 and at most 1"),
        ({"ratio": 1.1}, "ratio=1.1: must be above 0 and at most 1"),
        ({"ratio": NAN}, "ratio=nan: must be above 0 and at most 1"),
        ({"share": 1.5}, "share=1.5: must be from 0 to 1"),
        ({"count": 0}, "count=0: must be 1 or more"),
    ],
)
def test_wrong_values_are_rejected(config, changes, message):
    """Else a wrong value would be noticed, if at all, in the middle of a training."""
    with pytest.raises(ValueError) as caught:
        replace(config, **changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [{}, {"choice": "cosine"}, {"share": 0.0}, {"share": 1.0}, {"ratio": 0.001}, {"free": NAN}],
)
def test_other_values_are_accepted(config, changes):
    """Else a bound would exclude its own end, or check a field that has none."""
    replace(config, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choise": "dot"}, "it has no hyper-parameter 'choise'. It has: choice, positive"),
        ({"positive": "low"}, "it: positive 'low' is no float"),
        ({"count": 1.5}, "it: count 1.5 is no int"),
        ({"count": True}, "it: count True is no int"),
        ({"share": "all"}, "it: share 'all' is no"),
        ({"choice": "euclidean"}, "choice='euclidean': use one of dot, cosine"),
        ({"choice": 1}, "choice=1: use one of dot, cosine"),
        ({"ratio": 0}, "ratio=0: must be above 0 and at most 1"),
    ],
)
def test_unknown_fields_and_other_types_are_rejected(config, changes, message):
    """Else a misspelt hyper-parameter of a config file would keep its default silently."""
    from userbench.fields import check_fields

    with pytest.raises(ValueError) as caught:
        check_fields(type(config), changes, "it")
    assert str(caught.value).startswith(message)


def test_fields_of_json_are_accepted(config):
    """Else a whole number would be no float, and null no value of an optional field."""
    from userbench.fields import check_fields

    check_fields(type(config), {"positive": 1, "share": None, "choice": "cosine"}, "it")
