"""All parameters of a simulated world, their ranges, and the defaults of each raw format.

docs/simulated-world.md has the equations, and what each parameter changes.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import numpy as np

WIDTH = 100  # ids in a line
SLOTS = 8  # most interests a user can have
ATTRIBUTES = ("age", "life", "gender")
TTL_USERS, APP_USERS = 1_470_149, 1_575_837  # full scale
# Users with 1, 2, ... targets in a real excerpt.
CLICK_COUNTS = (4753, 2284, 1365, 808, 280)
LIKE_COUNTS = (1625, 126, 4, 1)
Value = int | float | tuple  # of a parameter


@dataclass(frozen=True)
class World:
    """All parameters; the defaults are TTL at full scale."""

    items: int = 645_972  # size of the item catalogue
    click_targets: int = 17_879  # size of the click catalogue (TTL)
    like_targets: int = 7_539  # size of the like catalogue, a part of the click catalogue (TTL)
    interests: int = 48  # latent interests of the whole population
    diversity: float = 4.0  # mean number of interests drawn per user, 1..8
    persistence: float = 0.7  # probability that the next behaviour continues the session
    drift: float = 0.6  # how far interest weights move from the first to the last behaviour
    noise: float = 0.15  # share of behaviours drawn from global popularity
    head: float = 0.0007  # share of a cluster's members that are about as popular as its first
    tail: float = (
        1.33  # exponent of popularity below the head; higher: fewer items, used more often
    )
    rare: float = 0.04  # share of draws in a cluster that take any member, so that all are used
    lengths: tuple[tuple[float, float], ...] = (  # (share of users with n behaviours or fewer, n)
        (0.0, 0.0),
        (0.002, 6.0),
        (0.02, 9.0),
        (0.056, 10.0),
        (0.117, 12.0),
        (0.21, 16.0),
        (0.307, 22.0),
        (0.405, 31.0),
        (0.504, 45.0),
        (0.603, 68.0),
        (0.652, 84.0),
        (0.686, 99.0),
        (1.0, 100.0),
    )
    age_prior: tuple[float, ...] = (0.04, 0.17, 0.39, 0.2, 0.1, 0.06, 0.03, 0.01)
    life_prior: tuple[float, ...] = (0.4, 0.2, 0.15, 0.12, 0.08, 0.05)
    gender_prior: tuple[float, ...] = (0.731, 0.269)
    life_width: float = 0.35  # spread of life status at a given age; lower ties it closer to age
    age_interest: float = 1.2  # standard deviation of the log liking of an interest over ages
    life_interest: float = 0.8  # the same over life statuses
    gender_interest: float = 0.7  # the same over genders
    age_reveal: float = 0.015  # share of behaviours with items typical of the user's age
    life_reveal: float = 0.01  # the same for life status
    gender_reveal: float = 0.025  # the same for gender
    age_label_noise: float = 0.05  # share of age labels replaced by a random user's
    life_label_noise: float = 0.1  # the same for life status
    gender_label_noise: float = 0.02  # the same for gender
    target_recency: float = 0.3  # share of targets from the interest of the last session
    target_noise: float = 0.2  # share of targets drawn from global popularity
    target_tail: float = 1.05  # as `tail`, for targets
    conversion_rate: float = 0.2  # share of positive CVR labels, nearly (App)
    conversion_strength: float = 1.2  # slope of the CVR log odds on the user's interests (App)
    age_labelled: float = 1_470_147 / TTL_USERS  # share of the users whose age is known
    life_labelled: float = 1_020_277 / TTL_USERS  # the same for life status
    gender_labelled: float = 0.9984  # the same for gender
    click_labelled: float = 1_397_197 / TTL_USERS  # share of the users with clicks to recommend
    like_labelled: float = 255_646 / TTL_USERS  # the same for thumb-ups
    cvr_labelled: float = 564_940 / APP_USERS  # share of the users with a CVR label (App)

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its range."""
        shares = ["persistence", "drift", "noise", "rare", "target_recency", "target_noise"]
        shares += [f"{name}_{kind}" for name in ATTRIBUTES for kind in ("reveal", "label_noise")]
        labelled = [f.name for f in fields(self) if f.name.endswith("_labelled")]
        priors = [f"{name}_prior" for name in ATTRIBUTES]
        strengths = [f"{name}_interest" for name in ATTRIBUTES] + ["conversion_strength"]
        clusters = self.interests + sum(len(getattr(self, name)) for name in priors)
        reveals = sum(getattr(self, f"{name}_reveal") for name in ATTRIBUTES)
        rules = {
            **{f"{name} must lie in 0..1": 0 <= getattr(self, name) <= 1 for name in shares},
            **{
                f"{name} must be above 0 and at most 1": 0 < getattr(self, name) <= 1
                for name in labelled
            },
            **{
                f"{name} must be positive shares that sum to 1": is_prior(getattr(self, name))
                for name in priors
            },
            **{f"{name} must not be negative": getattr(self, name) >= 0 for name in strengths},
            f"items must lie in {2 * WIDTH}..9999999": 2 * WIDTH <= self.items < 10**7,
            f"items must be {clusters} or more, one per cluster": self.items >= clusters,
            "interests must be 2 or more": self.interests >= 2,
            "like_targets must lie in 10..click_targets": 10
            <= self.like_targets
            <= self.click_targets,
            "click_targets must lie in interests..9999999": self.interests
            <= self.click_targets
            < 10**7,
            f"diversity must lie in 1..{SLOTS}": 1 <= self.diversity <= SLOTS,
            "noise and reveals must sum to less than 1": self.noise + reveals < 1,
            "head must be positive": self.head > 0,
            "tail and target_tail must be positive and not 1": min(self.tail, self.target_tail) > 0
            and 1 not in (self.tail, self.target_tail),
            "life_width must be 0.1 or more": self.life_width >= 0.1,
            "conversion_rate must lie between 0 and 1": 0 < self.conversion_rate < 1,
            f"lengths must rise from [0, n] to [1, m], m at most {WIDTH}": is_quantile_table(
                self.lengths
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)


def is_prior(shares: tuple[float, ...]) -> bool:
    """Whether shares are positive and sum to one."""
    return min(shares, default=0) > 0 and abs(sum(shares) - 1) < 1e-9


def is_quantile_table(table: tuple[tuple[float, ...], ...]) -> bool:
    """Whether (share, length) pairs rise from share 0 to share 1."""
    if len(table) < 2 or {len(pair) for pair in table} != {2}:
        return False
    (first, least), (last, most) = table[0], table[-1]
    rises = bool((np.diff(table, axis=0) > 0).all())
    return rises and first == 0 and last == 1 and least >= 0 and most <= WIDTH


TTL = World()
APP = World(
    items=4_047,
    diversity=5.0,
    persistence=0.0,  # a set of installed apps has no sessions
    drift=0.0,
    lengths=(
        (0.0, 4.0),
        (0.01, 8.0),
        (0.05, 14.0),
        (0.25, 29.0),
        (0.5, 43.0),
        (0.75, 56.0),
        (0.95, 76.0),
        (0.99, 89.0),
        (1.0, 100.0),
    ),
    gender_prior=(0.55, 0.45),
    gender_interest=0.6,
    gender_reveal=0.01,
    gender_label_noise=0.08,
    gender_labelled=1_178_603 / APP_USERS,
)


class FullScale(NamedTuple):
    """The world of a raw format as large as the real corpus."""

    world: World
    users: int
    least: dict[str, int]  # catalogues that shrink with the users, down to this size


FULL_SCALE = {
    "ttl": FullScale(TTL, TTL_USERS, {"items": 2_000, "click_targets": 400, "like_targets": 200}),
    "app": FullScale(APP, APP_USERS, {}),
}


def choose_world(format: str, users: int, **changes: Value) -> World:
    """The world of a format with this many users: catalogues to scale, then the changes.

    Raises:
        ValueError: the format or a parameter is unknown, or a value does not fit.
    """
    if format not in FULL_SCALE:
        known = ", ".join(FULL_SCALE)
        raise ValueError(f"no world is simulated in format {format!r}. Choose one of: {known}")
    facts = FULL_SCALE[format]
    defaults = asdict(facts.world)
    for name in changes:
        if name not in defaults:
            known = ", ".join(field.name for field in fields(World))
            raise ValueError(f"a world has no parameter {name!r}. Choose one of: {known}")
    scaled = {
        name: max(least, round(defaults[name] * users / facts.users))
        for name, least in facts.least.items()
    }
    changed = {name: shape_like(defaults[name], value, name) for name, value in changes.items()}
    return replace(facts.world, **(scaled | changed))


def shape_like(default: Value, value: Value, name: str) -> Value:
    """The value with the types of a default, integers as floats where needed.

    Raises:
        ValueError: the parameter `name` has a value of another kind.
    """
    if isinstance(default, tuple) and isinstance(value, tuple):
        return tuple(shape_like(default[0], part, name) for part in value)
    if isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(default, int) and isinstance(value, int):
        return value
    kind = {tuple: "a list", float: "a number", int: "an integer"}[type(default)]
    raise ValueError(f"{name}: expected {kind}, not {value!r}")


def numbers(content: object) -> Value:
    """A number, or nested lists of numbers as tuples; ValueError for anything else."""
    if isinstance(content, list):
        return tuple(numbers(part) for part in content)
    if isinstance(content, int | float) and type(content) is not bool and math.isfinite(content):
        return content
    raise ValueError(f"not a number: {content!r}")
